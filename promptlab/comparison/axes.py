"""What varies over some runs, so that it can stand on rows and columns, and what does not.

The names are those of `run.frame()`'s columns, with `run` beside them; values stand in the order of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from promptlab import results
from promptlab._json import compact
from promptlab.comparison.spec import MOST_COLUMNS
from promptlab.comparison.trials import Ints, Mask, Trials

Kind = Literal["run", "template", "parameter", "case", "repeat"]

_LEVELS = 2  # of columns, where none are asked for


@dataclass(frozen=True)
class Axis:
    """One thing that trials differ in, or not: its values, and each trial's as a place among them."""

    name: str
    kind: Kind
    values: tuple[Any, ...]
    codes: Ints

    def has(self, value: Any) -> bool:
        """Whether it is one of the values."""
        return self.place(value) is not None

    def place(self, value: Any) -> int | None:
        """Return the place of a value, None for one that is none."""
        return self._places.get(_key(value))

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether two values are one."""
        return self.place(one) == self.place(other)

    def holding(self, values: Sequence[Any]) -> Mask:
        """Return which trials have one of these values."""
        places = {self._places[key] for key in map(_key, values) if key in self._places}
        return np.isin(self.codes, list(places))

    @cached_property
    def _places(self) -> Mapping[Any, int]:
        return {_key(value): place for place, value in enumerate(self.values)}


class Axes:
    """Every axis of some runs, by name: runs, templates, parameters, columns of the cases, the case itself, repeats."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        cells = [cell for run in trials.runs for cell in run.plan["cells"]]
        parameters = results.column_names(results.varying(cells), "param", taken={*results.COLUMNS, "run"})
        all_names = dict.fromkeys(name for cell in cells for name in cell)
        taken = {*results.COLUMNS, "run", *parameters.values(), *all_names}
        constant = [name for name in all_names if name not in {*results.COLUMNS, "run", *parameters}]
        columns = list(dict.fromkeys(name for run in trials.runs for name in run.plan["columns"]))
        self._case_names = results.column_names(columns, "case", taken=taken)
        self.case_columns: Mapping[str, str] = {column: name for name, column in self._case_names.items()}
        columns_of = {**parameters, **{name: name for name in constant}}
        self._parameters: Mapping[str, str] = {column: name for name, column in columns_of.items()}
        self._axes = {axis.name: axis for axis in self._all(columns_of)}

    def _all(self, parameters: Mapping[str, str]) -> list[Axis]:
        trials = self._trials
        names, versions = zip(*trials.templates, strict=True) if trials.templates else ((), ())
        repeats, codes = np.unique(trials.repeat, return_inverse=True)
        return [
            _axis("run", "run", _run_names(trials), trials.run),
            _axis("template", "template", names, trials.template),
            _axis("version", "template", versions, trials.template),
            *(
                _axis(column, "parameter", [cell.get(name) for cell in trials.cells], trials.cell)
                for name, column in parameters.items()
            ),
            *(
                _axis(column, "case", [case.get(name) for case in trials.cases], trials.case)
                for column, name in self.case_columns.items()
            ),
            Axis("case", "case", tuple(_case_names(trials.case_indexes)), trials.case),
            Axis("repeat", "repeat", tuple(repeats.tolist()), codes),
        ]

    def __getitem__(self, name: str) -> Axis:
        return self._axes[name]

    def source(self, name: str) -> tuple[str, str]:
        """Return which JSON column of `trials_view` holds a parameter or a column of the cases, and under which key."""
        return ('"case"', self.case_columns[name]) if name in self.case_columns else ("params", self._parameters[name])

    @property
    def names(self) -> list[str]:
        """Every name, also of what does not vary."""
        return list(self._axes)

    @property
    def varying(self) -> list[Axis]:
        """Those with more than one value."""
        return [axis for axis in self._axes.values() if len(axis.values) > 1]

    @property
    def constants(self) -> list[tuple[str, Any]]:
        """Those with one value, and that."""
        of_no_interest = {"case", "repeat"}
        return [
            (axis.name, axis.values[0])
            for axis in self._axes.values()
            if len(axis.values) == 1 and axis.name not in of_no_interest
        ]

    @property
    def usual_rows(self) -> tuple[str, ...]:
        """What stands on the rows where nothing is asked for: what the templates are asked with, if it tells all.

        That is the one column of the cases that is a variable of the templates, where no two cases share a value of it.
        """
        used = [column for column, name in self.case_columns.items() if name in self._trials.variables]
        is_telling = len(used) == 1 and len(self._axes[used[0]].values) == len(self._trials.cases)
        return (used[0] if is_telling else "case",)

    def usual_columns(self, rows: Sequence[str]) -> tuple[str, ...]:
        """Return what stands on the columns where nothing is asked for: the first two settings that vary and fit.

        Where none fits, or none varies, it is the setting with the fewest values.
        """
        settings = [axis for axis in self._axes.values() if axis.kind != "case" and axis.name not in rows]
        chosen: list[Axis] = []
        for axis in settings:
            is_setting = axis.kind != "repeat" and len(axis.values) > 1
            if is_setting and len(chosen) < _LEVELS and _combinations([*chosen, axis]) <= MOST_COLUMNS:
                chosen.append(axis)
        fewest = sorted(settings, key=lambda axis: (len(axis.values), axis.kind == "run"))[:1]
        return tuple(axis.name for axis in chosen or fewest)


def _combinations(axes: Sequence[Axis]) -> int:
    """Return how many different combinations of the values of these axes the trials have."""
    return len(np.unique(np.stack([axis.codes for axis in axes]), axis=1).T) if len(axes[0].codes) else 0


def _axis(name: str, kind: Kind, values: Sequence[Any], codes: Ints) -> Axis:
    """Return the axis of values that a table has, equal ones taken together."""
    shown = [compact(value) if isinstance(value, list | dict) else value for value in values]
    places: dict[Any, int] = {}
    merged = np.array([places.setdefault(_key(value), len(places)) for value in shown], np.int64)
    firsts = dict(zip(reversed(merged.tolist()), reversed(shown), strict=True))
    distinct = tuple(firsts[place] for place in range(len(places)))
    return Axis(name, kind, distinct, merged[codes] if len(distinct) != len(shown) else codes)


def _key(value: Any) -> Any:
    """Return what tells values apart: 1 and 1.0 are one, True and 1 are two."""
    if isinstance(value, bool):
        return (bool, value)
    return compact(value) if isinstance(value, list | dict) else value


def _run_names(trials: Trials) -> list[str]:
    names = [run.name for run in trials.runs]
    return [run.name if names.count(run.name) == 1 else f"{run.name} ({run.id})" for run in trials.runs]


def _case_names(indexes: Sequence[int]) -> list[Any]:
    """Return the place of each case among those given; runs may have different cases in one place."""
    seen: dict[int, int] = {}
    names: list[Any] = []
    for index in indexes:
        seen[index] = seen.get(index, 0) + 1
        names.append(index if seen[index] == 1 else f"{index} ({seen[index]})")
    return names
