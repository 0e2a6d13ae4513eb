"""A spec as browsers know it: a value of an axis is its place there and a label, `{"at": 3, "label": "How do I ..."}`.

So a value may be as long as a document, or a number that JavaScript cannot hold, and is still told and chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptlab.comparison.cells import value_of, values_of
from promptlab.errors import ComparisonError

if TYPE_CHECKING:
    from promptlab.comparison.axes import Axis
    from promptlab.comparison.table import Table

MOST_VALUES = 50  # of one filter; the others go by together, and stay as they are


def told(table: Table) -> dict[str, Any]:
    """Return the present spec as it is told to browsers; values that are not there are left out."""
    spec, axes = table.spec.json(), table.axes
    levels = table.layout.column_axes
    if table.spec.column_baseline is not None:
        spec["baseline"] = {name: _told(axes[name], [value])[0] for name, value in table.spec.column_baseline.items()}
    values = {name: _filter(axes[name], some) for name, some in table.spec.filters.values.items()}
    column = table.spec.sort.column
    return {
        **spec,
        "filters": {**spec["filters"], "values": values},
        "sort": {**spec["sort"], "column": None if column is None else values_of(levels, column)},
        "hidden": [values_of(levels, column) for column in table.layout.hidden],
    }


def meant(table: Table, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the change of a spec that a browser asks for, with the values themselves.

    Raises
    ------
    ComparisonError
        When an axis has no value at a place.
    """
    sides = {name: change[name] for name in ("columns", "repeats") if name in change}
    levels = table.spec.changed(sides).levels if sides else table.spec.levels
    found = dict(change)
    if isinstance(baseline := found.get("baseline"), Mapping):
        found["baseline"] = {name: _meant(table, name, value) for name, value in baseline.items()}
    if isinstance(hidden := found.get("hidden"), list):
        found["hidden"] = [_column(table, levels, column) for column in hidden]
    if isinstance(sort := found.get("sort"), Mapping):
        found["sort"] = {**sort, "column": _column(table, levels, sort.get("column"))}
    filters = found.get("filters")
    if isinstance(filters, Mapping) and isinstance(values := filters.get("values"), Mapping):
        found["filters"] = {**filters, "values": {name: _values(table, name, some) for name, some in values.items()}}
    return found


def _told(axis: Axis, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [value_of(axis, place) for place in map(axis.place, values) if place is not None]


def _filter(axis: Axis, values: Sequence[Any]) -> list[dict[str, Any]]:
    more = len(values) - MOST_VALUES
    rest = [{"more": more, "label": f"{more:,} more"}] if more > 0 else []
    return [*_told(axis, values[:MOST_VALUES]), *rest]


def _values(table: Table, name: str, values: Any) -> Any:
    """Return the values of a filter; `more` stands for those of the present one that were not told."""
    if not isinstance(values, list):
        return values
    present = table.spec.filters.values.get(name, ())
    rest = present[MOST_VALUES:] if any(isinstance(each, Mapping) and "more" in each for each in values) else ()
    chosen = [each for each in values if not (isinstance(each, Mapping) and "more" in each)]
    return [*(_meant(table, name, value) for value in chosen), *rest]


def _column(table: Table, levels: Sequence[str], values: Any) -> Any:
    if not isinstance(values, list) or len(values) != len(levels):
        return values
    return [_meant(table, name, value) for name, value in zip(levels, values, strict=True)]


def _meant(table: Table, name: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or "at" not in value or name not in table.axes.names:
        return value
    axis, place = table.axes[name], value["at"]
    if not isinstance(place, int) or not 0 <= place < len(axis.values):
        msg = f"{name!r} has no value {place!r}: it has {len(axis.values):,}, counted from 0"
        raise ComparisonError(msg)
    return axis.values[place]
