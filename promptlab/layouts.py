"""Where the trials of a plan stand on a map: rows are templates and models, columns the other settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptlab import _text, results
from promptlab._json import canonical

#: More trials than these are shown as heat cells, one a row and column, and never more cells than these.
MOST_SQUARES = 2_000
_MOST_ROWS = 500
_LABEL_CHARS = 48


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a plan's trials stand on the map: rows are templates x models, columns the other settings, in plan order.

    `places` has the row and column of each template x setting; `per_place` is how many trials each has.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    per_place: int

    @classmethod
    def of(cls, plan: Mapping[str, Any], templates: Sequence[str]) -> Layout:
        """Return the layout of a plan as its run's row holds it."""
        cells: Sequence[Mapping[str, Any]] = plan["cells"]
        models = list(dict.fromkeys(str(cell.get("model")) for cell in cells))
        names = [name for name in results.varying(cells) if name != "model"]
        keys = [canonical({name: cell[name] for name in names if name in cell}) for cell in cells]
        columns = {key: _setting(cell, names) for key, cell in zip(keys, cells, strict=True)}
        parts = [(name, model) if len(models) > 1 else (name,) for name in templates for model in models]
        rows = tuple(" · ".join(_text.clipped(part, _LABEL_CHARS) for part in some) for some in parts)
        column_of, row_of = ({each: place for place, each in enumerate(some)} for some in (columns, models))
        places = tuple(
            (template * len(models) + row_of[str(cell.get("model"))], column_of[key])
            for template in range(len(templates))
            for cell, key in zip(cells, keys, strict=True)
        )
        return cls(rows, tuple(columns.values()), places, plan["cases"] * plan["repeats"]).merged()

    @property
    def size(self) -> int:
        """How many trials there are."""
        return len(self.places) * self.per_place

    @property
    def is_heat(self) -> bool:
        """Whether there are too many trials for a square each."""
        return self.size > MOST_SQUARES

    def merged(self) -> Layout:
        """Return it with neighbours joined until there are no more cells than can be drawn."""
        if not self.is_heat or len(self.rows) * len(self.columns) <= MOST_SQUARES:
            return self
        by_row = math.ceil(len(self.rows) / _MOST_ROWS)
        rows = _joined(self.rows, by_row)
        by_column = math.ceil(len(self.columns) / (MOST_SQUARES // len(rows)))
        places = tuple((row // by_row, column // by_column) for row, column in self.places)
        return Layout(rows, _joined(self.columns, by_column), places, self.per_place)

    def cell(self, position: int) -> int:
        """Return the number of the heat cell in which a trial stands."""
        row, column = self.places[position // self.per_place]
        return row * len(self.columns) + column

    def told(self, position: int) -> str:
        """Return the row and column of a trial in words."""
        row, column = self.places[position // self.per_place]
        return " · ".join(filter(None, (self.rows[row], self.columns[column])))


def _setting(cell: Mapping[str, Any], names: Iterable[str]) -> str:
    return _text.clipped(", ".join(f"{name}={cell[name]!r}" for name in names if name in cell), _LABEL_CHARS)


def _joined(labels: Sequence[str], size: int) -> tuple[str, ...]:
    parts = [labels[start : start + size] for start in range(0, len(labels), size)]
    return tuple(part[0] if len(part) == 1 else f"{part[0]} … {part[-1]}" for part in parts)
