"""Where everything stands: rows, columns and cells. Places and codes only.

A layout is made once for a spec, and rows keep their place while a run fills them; which rows are left, and in which
order they are shown, is found by `filters.py` and `order.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from promptlab import _text
from promptlab._json import compact
from promptlab.comparison.axes import Axes, Axis
from promptlab.comparison.spec import MOST_COLUMNS, Spec
from promptlab.comparison.trials import NO_OUTPUT, OK, Floats, Ints, Mask, Trials, text_key
from promptlab.errors import ComparisonError

if TYPE_CHECKING:
    from promptlab.search import Found

NOWHERE = -1
_NAMED = 12  # columns in a message


class Layout:
    """The cells of a table as a spec lays them out.

    Attributes
    ----------
    members
        The trials in the table as places in `Trials`, those of a cell together, in plan order.
    member_row, member_column
        Where each of them stands; rows in plan order, whatever the order in which they are shown.
    cell_row, cell_column, starts
        Every cell that has a trial, and where its members begin; `starts` has the end of the last one too.
    order
        The rows that are left, as they are shown.
    search
        What the search found, if there is one.
    changes
        How far each cell is from its baseline, once something asked for it.
    """

    def __init__(self, trials: Trials, axes: Axes, spec: Spec) -> None:
        self._trials, self._axes = trials, axes
        self.spec = spec
        self.row_axes = [axes[name] for name in spec.rows]
        self.column_axes = [axes[name] for name in spec.levels]
        self._arrange()
        self.baselines = [self._baseline_of(column) for column in range(len(self.columns))]
        if self.columns and spec.column_baseline is not None and all(base is None for base in self.baselines):
            self._check_baseline(spec.column_baseline)
        self.order: Ints = np.arange(self.rows_in_all)
        self.search: Found | None = None
        self.changes: Floats | None = None

    def _arrange(self) -> None:
        included = np.ones(len(self._trials), bool)
        for name, values in self.spec.filters.values.items():
            included &= self._axes[name].holding(values)
        combined = _combined(self.column_axes)
        hidden = [_code_of(values, self.column_axes) for values in self.hidden]
        included &= ~np.isin(combined, np.array(hidden, np.int64))
        places = np.flatnonzero(included)
        column_codes, columns = np.unique(combined[places], return_inverse=True)
        if len(column_codes) > MOST_COLUMNS:
            on = " and ".join(map(repr, self.spec.levels))
            msg = (
                f"{on} on the columns makes {len(column_codes):,} of them; {MOST_COLUMNS} are possible; put it on rows"
            )
            raise ComparisonError(msg)
        self._column_codes: Ints = column_codes
        row_codes, rows = np.unique(_combined(self.row_axes)[places], return_inverse=True)
        self._row_codes = _divided(row_codes, self.row_axes)
        self.columns = [self._values(codes) for codes in _divided(column_codes, self.column_axes)]
        cells = rows * max(1, len(self.columns)) + columns
        by_cell = np.argsort(cells, kind="stable")
        self.members: Ints = places[by_cell]
        self.member_row, self.member_column = rows[by_cell], columns[by_cell]
        self._cells, starts = np.unique(cells[by_cell], return_index=True)
        self.starts: Ints = np.append(starts, len(places))
        self.cell_row, self.cell_column = np.divmod(self._cells, max(1, len(self.columns)))

    @cached_property
    def hidden(self) -> list[tuple[Any, ...]]:
        """The columns that are hidden, of those there are; one that others are compared with never is."""
        there = [values for values in map(self._known, self.spec.hidden) if values is not None]
        return [values for values in there if not self._is_baseline(values)]

    def _known(self, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return values of the column axes in the form that they have there, None where one is none of them."""
        places = [axis.place(value) for axis, value in zip(self.column_axes, values, strict=False)]
        if len(values) != len(self.column_axes) or None in places:
            return None
        return self._values([place for place in places if place is not None])

    def _is_baseline(self, values: Sequence[Any]) -> bool:
        baseline = self.spec.column_baseline or {}
        named = dict(zip(self.spec.levels, values, strict=True))
        return bool(baseline) and all(self._axes[name].is_same(named[name], value) for name, value in baseline.items())

    def _check_baseline(self, baseline: Mapping[str, Any]) -> None:
        """Raise where no column is the baseline: its values are there, but not together, or a filter took it out."""
        if not any(map(self._is_baseline, self.columns)):
            there = ", ".join(_text.brief(values, 40) for values in self.columns[:_NAMED])
            msg = f"baseline={_text.brief(dict(baseline))}: no column that is left has this; there are {there}"
            raise ComparisonError(msg)

    def _values(self, codes: Sequence[int]) -> tuple[Any, ...]:
        return tuple(axis.values[code] for axis, code in zip(self.column_axes, codes, strict=True))

    def _baseline_of(self, column: int) -> int | None:
        """Return the column that one is compared with; a baseline itself has none."""
        baseline = self.spec.column_baseline
        if baseline is None:
            return None
        values = dict(zip(self.spec.levels, self.columns[column], strict=True))
        found = self.column_of(list({**values, **baseline}.values()))
        return None if found == column else found

    # Rows, columns, cells

    @property
    def rows_in_all(self) -> int:
        """How many rows there are before filters take some out."""
        return len(self._row_codes)

    def column_of(self, values: Sequence[Any]) -> int | None:
        """Return the column of these values, None where there is none: equal values are equal in whatever form."""
        code = _code_of(values, self.column_axes)
        at = np.flatnonzero(self._column_codes == (NOWHERE if code is None else code))
        return int(at[0]) if len(at) else None

    @property
    def has_sort_column(self) -> bool:
        """Whether the column that rows are sorted by is there, if one is named."""
        return self.spec.sort.column is None or self.column_of(self.spec.sort.column) is not None

    @property
    def sort_column(self) -> int | None:
        """The column that rows are sorted by, if one is named; one that is not there is an error."""
        values = self.spec.sort.column
        place = None if values is None else self.column_of(values)
        if values is not None and place is None:
            there = ", ".join(_text.brief(column, 40) for column in self.columns[:_NAMED]) or "none"
            msg = f"sort['column']={_text.brief(values)}: there is no such column; there are {there}"
            raise ComparisonError(msg)
        return place

    def labels(self, row: int) -> list[Any]:
        """Return the value of each row axis."""
        return [axis.values[code] for axis, code in zip(self.row_axes, self._row_codes[row].tolist(), strict=True)]

    def key(self, row: int) -> str:
        """Return a row's name, which is the same in every order and under every filter."""
        return "r" + ".".join(map(str, self._row_codes[row].tolist()))

    def row_of_key(self, key: str) -> int | None:
        """Return the row of a key."""
        return self._rows_of_keys.get(key)

    @cached_property
    def _rows_of_keys(self) -> Mapping[str, int]:
        return {self.key(row): row for row in range(self.rows_in_all)}

    def row_of_labels(self, labels: Sequence[Any]) -> int | None:
        """Return the row of these values."""
        code = _code_of(labels, self.row_axes)
        if code is None:
            return None
        found = np.flatnonzero(_joined(self._row_codes, self.row_axes) == code)
        return int(found[0]) if len(found) else None

    @cached_property
    def index_of(self) -> Ints:
        """Where each row is shown; `NOWHERE` when a filter took it out. Asked for when the order is found."""
        index = np.full(self.rows_in_all, NOWHERE)
        index[self.order] = np.arange(len(self.order))
        return index

    def cell(self, row: int, column: int) -> int | None:
        """Return the cell at a row and a column, None where nothing was planned."""
        wanted = row * len(self.columns) + column
        at = int(np.searchsorted(self._cells, wanted))
        return at if at < len(self._cells) and self._cells[at] == wanted else None

    def trials_in(self, cell: int) -> Ints:
        """Return the trials of a cell, in plan order."""
        return self.members[self.starts[cell] : self.starts[cell + 1]]

    def trials_of_row(self, row: int) -> Ints:
        """Return the trials of a row."""
        first, end = np.searchsorted(self._cells, [row * len(self.columns), (row + 1) * len(self.columns)])
        return self.members[self.starts[first] : self.starts[end]]

    def cells_of(self, trials: Ints) -> Ints:
        """Return the cells that hold some trials."""
        at = np.flatnonzero(np.isin(self.members, trials))
        return np.unique(np.searchsorted(self.starts, at, side="right") - 1)

    @cached_property
    def member_cell(self) -> Ints:
        """The cell of each member."""
        return np.repeat(np.arange(len(self._cells)), np.diff(self.starts))

    def rows_with(self, members: Mask) -> Mask:
        """Return which rows have at least one of these members."""
        found = np.zeros(self.rows_in_all, bool)
        found[self.member_row[members]] = True
        return found

    @property
    def kept_members(self) -> Mask:
        """Which members stand in rows that are left."""
        kept: Mask = self.index_of[self.member_row] != NOWHERE
        return kept

    def variants(self, cell: int) -> list[Ints]:
        """Return a cell's trials by what they answered, the most frequent answer first, then those without one."""
        trials = self.trials_in(cell)
        if len(trials) == 1:
            return [trials]
        outputs = self._trials.output[trials].tolist()
        self._trials.texts.learn(outputs)
        groups: dict[Any, list[int]] = {}
        for place, output, status in zip(trials.tolist(), outputs, self._trials.status[trials].tolist(), strict=True):
            key = -1 - status if status != OK else self._trials.texts.hashes[output]
            groups.setdefault((status != OK, key), []).append(place)
        ranked = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]), group[1][0]))
        return [np.array(places, np.int64) for _, places in ranked]

    @cached_property
    def mains(self) -> Ints:
        """The trial that each cell shows first."""
        sizes = np.diff(self.starts)
        mains = self.members[self.starts[:-1]].copy()
        several = np.flatnonzero(sizes > 1).tolist()
        if several:
            self._trials.texts.learn(self._trials.output[self.members].tolist())
        for cell in several:
            mains[cell] = self.variants(cell)[0][0]
        return mains

    @cached_property
    def references(self) -> list[str | None] | None:
        """The reference answer of each case, with a reference as the baseline."""
        name = self.spec.reference
        if name is None:
            return None
        column = self._axes.case_columns[name]
        return [shown(case.get(column)) for case in self._trials.cases]

    def forget_answers(self) -> None:
        """Find anew, next time, what each cell shows first: answers came."""
        for name in ("mains", "base_cells"):
            self.__dict__.pop(name, None)

    def base_of(self, cell: int) -> int | None:
        """Return the cell that one is compared with, None where there is none: the row's first without a baseline."""
        if self.spec.column_baseline is None:
            first = int(self.base_cells[cell])
            return None if first == NOWHERE else first
        base = self.baselines[self.cell_column[cell]]
        return None if base is None else self.cell(int(self.cell_row[cell]), base)

    def is_equal(self, cell: int, trial: int | None = None) -> bool | None:
        """Whether a cell's answer is in whole that which it is compared with; None without an answer on both sides.

        It is the answer that the cell shows first, unless another of its trials is given.
        """
        mine = int(self.variants(cell)[0][0]) if trial is None else trial
        if self.references is not None:
            reference = self.references[self._trials.case[mine]]
            other = None if reference is None else text_key(reference)
        else:
            base = self.base_of(cell)
            other = None if base is None else self._key_of(int(self.variants(base)[0][0]))
        key = self._key_of(mine)
        return None if key is None or other is None else key == other

    def _key_of(self, trial: int) -> int | None:
        """Return what is equal where texts are, None without an answer."""
        output = int(self._trials.output[trial])
        self._trials.texts.learn([output])
        return None if self._trials.status[trial] != OK else self._trials.texts.hashes[output]

    @cached_property
    def base_cells(self) -> Ints:
        """The cell that each is compared with or `NOWHERE`; without a baseline, the row's first answer."""
        if self.spec.column_baseline is not None:
            bases = np.array([NOWHERE if base is None else base for base in self.baselines], np.int64)[self.cell_column]
            wanted = np.where(bases == NOWHERE, NOWHERE, self.cell_row * len(self.columns) + bases)
            at = np.minimum(np.searchsorted(self._cells, wanted), len(self._cells) - 1)
            return np.where(self._cells[at] == wanted, at, NOWHERE)
        answered = np.flatnonzero(self._trials.output[self.mains] != NO_OUTPUT)
        first = np.full(self.rows_in_all, NOWHERE)
        first[self.cell_row[answered][::-1]] = answered[::-1]
        base = first[self.cell_row]
        return np.where(base == np.arange(len(self._cells)), NOWHERE, base)


def shown(value: Any) -> str | None:
    """Return a case's value as a text to compare with."""
    return value if value is None or isinstance(value, str) else compact(value)


def _combined(axes: Sequence[Axis]) -> Ints:
    """Return one code a trial for the values of several axes; in the order of the first, then of the second, ..."""
    return _joined(np.stack([axis.codes for axis in axes], axis=1), axes)


def _joined(codes: Ints, axes: Sequence[Axis]) -> Ints:
    joined = np.zeros(len(codes), np.int64)
    for place, axis in enumerate(axes):
        joined = joined * max(1, len(axis.values)) + codes[:, place]
    return joined


def _divided(codes: Ints, axes: Sequence[Axis]) -> Ints:
    """Return the codes of each axis again: one row for each combined code."""
    columns = []
    for axis in reversed(axes):
        codes, code = np.divmod(codes, max(1, len(axis.values)))
        columns.append(code)
    return np.stack(columns[::-1], axis=1) if columns else np.zeros((len(codes), 0), np.int64)


def _code_of(values: Sequence[Any], axes: Sequence[Axis]) -> int | None:
    """Return the combined code of some values, None where one of them is none of its axis."""
    if len(values) != len(axes):
        return None
    code = 0
    for value, axis in zip(values, axes, strict=True):
        place = axis.place(value)
        if place is None:
            return None
        code = code * max(1, len(axis.values)) + place
    return code
