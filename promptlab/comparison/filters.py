"""Which rows are left: those in which one trial meets all that is asked of trials, and that are as `show` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from promptlab._json import compact
from promptlab.comparison.spec import RATINGS
from promptlab.comparison.trials import FAILED, OK, STATUSES, STOPPED, Floats, Ints, Mask, text_key

if TYPE_CHECKING:
    from promptlab.comparison.layout import Layout
    from promptlab.comparison.table import Table


def rows_left(table: Table) -> Ints:
    """Return the rows that the filters and the search leave, in plan order."""
    layout = table.layout
    kept = np.ones(layout.rows_in_all, bool)
    if conditions := _conditions(table):
        kept &= layout.rows_with(np.logical_and.reduce(conditions))
    show = layout.spec.filters.show
    return np.flatnonzero(kept if show == "all" else kept & _SHOWN[show](table))


def _conditions(table: Table) -> list[Mask]:
    """Return what one trial has to meet, all of it, for its row to stay: a mask of the members for each demand."""
    filters, trials, members = table.layout.spec.filters, table.trials, table.layout.members
    conditions = []
    if table.layout.search is not None:
        conditions.append(np.isin(trials.output[members], list(table.layout.search.ranks)))
    if filters.status:
        conditions.append(np.isin(trials.status[members], [STATUSES.index(each) for each in filters.status]))
    if filters.finish_reason:
        conditions.append(trials.endings.having_reason(filters.finish_reason)[members])
    if filters.flags:
        conditions.append(trials.endings.having_flag(filters.flags)[members])
    if filters.ratings:
        mine, wanted = table.my_ratings[members], [each for each in filters.ratings if each is not None]
        is_unrated = np.isnan(mine) & (trials.status[members] == OK) & (None in filters.ratings)
        conditions.append(is_unrated | np.isin(mine, [RATINGS.index(each) for each in wanted]))
    for name, (low, high) in filters.ranges.items():
        conditions.append(_within(table.measure(name)[members], low, high))
    return conditions


def _within(values: Floats, low: float | None, high: float | None) -> Mask:
    with np.errstate(invalid="ignore"):
        above = ~np.isnan(values) if low is None else values >= low
        return above & (~np.isnan(values) if high is None else values <= high)


def _failed(table: Table) -> Mask:
    return table.layout.rows_with(np.isin(table.trials.status[table.layout.members], [FAILED, STOPPED]))


def _rated(table: Table) -> Mask:
    return table.layout.rows_with(~np.isnan(table.my_ratings[table.layout.members]))


def _unrated(table: Table) -> Mask:
    """Return the rows with a cell that has an answer and no rating of the rater's."""
    layout = table.layout
    rated = ~np.isnan(table.my_ratings[layout.members])
    is_rated = np.bincount(layout.member_cell[rated], minlength=len(layout.cell_row)) > 0
    return layout.rows_with((table.trials.status[layout.members] == OK) & ~is_rated[layout.member_cell])


def _pinned(table: Table) -> Mask:
    return table.layout.rows_with(table.of_outputs(lambda said: float(said.pinned), 0.0)[table.layout.members] > 0)


def _different(table: Table) -> Mask:
    return _differing(table)[0]


def _same(table: Table) -> Mask:
    return _differing(table)[1]


def _differing(table: Table) -> tuple[Mask, Mask]:
    """Return which rows hold answers that differ, and which hold several that are all the same.

    All answers of a row are compared with one another; with a baseline, only those with their baseline's. Each is
    compared with the reference of its own case.
    """
    layout = table.layout
    answered = table.trials.status[layout.members] == OK
    hashes, rows = table.trials.hashes[layout.members][answered], layout.member_row[answered]
    groups = rows
    baseline = layout.spec.column_baseline
    if baseline is not None:
        groups = rows * len(layout.columns) + _compared(layout, baseline)[layout.member_column[answered]]
    if layout.references is not None:
        keys = np.array([text_key(text) for text in layout.references], np.int64)
        mine = keys[table.trials.case[layout.members]]
        has_both = answered & (mine != text_key(None))
        different = layout.rows_with(has_both & (table.trials.hashes[layout.members] != mine))
        return different, layout.rows_with(has_both) & ~different
    return _unequal(groups, hashes, rows, layout.rows_in_all)


def _compared(layout: Layout, baseline: Mapping[str, Any]) -> Ints:
    """Return a number for each column, equal for those that differ in the axes of the baseline alone."""
    kept = [place for place, name in enumerate(layout.spec.levels) if name not in baseline]
    seen: dict[str, int] = {}
    texts = [compact([values[place] for place in kept]) for values in layout.columns]
    return np.array([seen.setdefault(text, len(seen)) for text in texts], np.int64)


def _unequal(groups: Ints, values: Ints, rows: Ints, n: int) -> tuple[Mask, Mask]:
    """Return which rows have a group whose values differ, and which have one of several values and none such."""
    different, several = np.zeros(n, bool), np.zeros(n, bool)
    if len(groups):
        order = np.argsort(groups, kind="stable")
        starts = np.unique(groups[order], return_index=True)[1]
        lows, highs = np.minimum.reduceat(values[order], starts), np.maximum.reduceat(values[order], starts)
        row_of = rows[order][starts]
        different[row_of[lows != highs]] = True
        several[row_of[np.diff(np.append(starts, len(order))) > 1]] = True
    return different, several & ~different


_SHOWN: Mapping[str, Callable[[Table], Mask]] = {
    "different": _different,
    "same": _same,
    "failed": _failed,
    "rated": _rated,
    "unrated": _unrated,
    "pinned": _pinned,
}
