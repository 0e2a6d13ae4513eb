"""The order of the rows. What is not known of a row puts it last, whichever way the order goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from promptlab.comparison.trials import NO_OUTPUT, OK, Floats, Ints, Mask

if TYPE_CHECKING:
    from promptlab.comparison.layout import Layout
    from promptlab.comparison.table import Table

_COMPARED_CHARS = 2_000  # of each text, for how much it changed
_LEAST_CHANGE = 1 / (2 * _COMPARED_CHARS)  # of texts that differ after these: one character of both
_CLIPPED = """
select outputs.id, substr(cast(text as blob), 1, 4 * ?)
from json_each(?) as wanted cross join outputs on outputs.id = wanted.value
"""  # as bytes, since SQLite's substr ends at a NUL; no character has more than four


def ordered(table: Table, rows: Ints) -> Ints:
    """Return rows in the order that the spec asks for; equals stay in plan order."""
    sort, layout = table.layout.spec.sort, table.layout
    place = layout.sort_column
    if sort.by == "plan":
        return rows[::-1] if sort.is_descending else rows
    if sort.by == "label":
        ranked = sorted(rows.tolist(), key=lambda row: [_sortable(value) for value in layout.labels(row)])
        return np.array(ranked[::-1] if sort.is_descending else ranked, np.int64)
    values = _row_values(table, place)[rows]
    return rows[np.argsort(-values if sort.is_descending else values, kind="stable")]


def _sortable(value: Any) -> tuple[int, Any]:
    """Return a value that sorts with all others: numbers first, then texts, then None."""
    if value is None:
        return (2, "")
    return (0, value) if isinstance(value, int | float) else (1, str(value).casefold())


def _row_values(table: Table, place: int | None) -> Floats:
    """Return what rows are sorted by, NaN where unknown; of one column, where the sort names one."""
    layout, trials, by = table.layout, table.trials, table.layout.spec.sort.by
    chosen = np.ones(len(layout.members), bool) if place is None else layout.member_column == place
    if by == "changed":
        cells = np.ones(len(layout.cell_row), bool) if place is None else layout.cell_column == place
        return _means(changes(table)[cells], layout.cell_row[cells], layout.rows_in_all)
    if by == "disagreement":
        return _disagreement(table, chosen, is_of_row=place is None)
    if by == "regressions":
        return _worst_change(table, place)
    if by == "rank":
        ranks = {} if layout.search is None else layout.search.ranks
        found = [ranks.get(key, np.nan) for key in trials.output[layout.members[chosen]].tolist()]
        best = np.full(layout.rows_in_all, np.nan)
        np.fmin.at(best, layout.member_row[chosen], np.array(found, float))
        return best
    values = (table.quality if by == "score" else table.measure(by))[layout.members[chosen]]
    if by == "cost_usd":
        return _sums(values, layout.member_row[chosen], layout.rows_in_all)
    return _means(values, layout.member_row[chosen], layout.rows_in_all)


def _sums(values: Floats, groups: Ints, n: int) -> Floats:
    known = ~np.isnan(values)
    is_known = np.bincount(groups[known], minlength=n) > 0
    return np.where(is_known, np.bincount(groups[known], values[known], n), np.nan)


def _means(values: Floats, groups: Ints, n: int) -> Floats:
    """Return the mean of the known values of each group, NaN where there is none."""
    known = ~np.isnan(values)
    number = np.bincount(groups[known], minlength=n)
    return np.where(number > 0, np.bincount(groups[known], values[known], n) / np.maximum(number, 1), np.nan)


def _disagreement(table: Table, chosen: Mask, *, is_of_row: bool) -> Floats:
    """Return the share of answers that differ from the others: within cells that have several, else over the row."""
    layout = table.layout
    answered = chosen & (table.trials.status[layout.members] == OK)
    cells, hashes = layout.member_cell[answered], table.trials.hashes[layout.members][answered]
    has_several = np.bincount(cells, minlength=1).max(initial=0) > 1
    if has_several or not is_of_row:
        return _means(_variety(cells, hashes, len(layout.cell_row)), layout.cell_row, layout.rows_in_all)
    return _variety(layout.member_row[answered], hashes, layout.rows_in_all)


def _variety(groups: Ints, values: Ints, n: int) -> Floats:
    """Return for each group 0 when its values are all the same, 1 when all differ; NaN for one value or none."""
    order = np.lexsort((values, groups))
    groups, values = groups[order], values[order]
    is_new = np.append(True, (np.diff(groups) != 0) | (np.diff(values) != 0))[: len(groups)]
    distinct, number = np.bincount(groups[is_new], minlength=n), np.bincount(groups, minlength=n)
    return np.where(number > 1, (distinct - 1) / np.maximum(number - 1, 1), np.nan)


def _worst_change(table: Table, place: int | None) -> Floats:
    """Return a row's largest loss against the baseline; without one, against the first column."""
    layout = table.layout
    worst = np.full(layout.rows_in_all, np.nan)
    values = table.quality
    for column in range(len(layout.columns)) if place is None else [place]:
        base = layout.baselines[column] if layout.spec.column_baseline is not None else 0
        if base is not None and base != column:
            worst = np.fmin(worst, row_means(layout, values, column) - row_means(layout, values, base))
    return worst


def row_means(layout: Layout, values: Floats, column: int) -> Floats:
    """Return the mean of a measure of the trials in each row of a column, NaN where unknown."""
    chosen = layout.member_column == column
    return _means(values[layout.members[chosen]], layout.member_row[chosen], layout.rows_in_all)


# How much a cell changed


def changes(table: Table) -> Floats:
    """Return how far each cell's answer is from that of its baseline, from 0 (the same) to 1; NaN without a pair.

    It is the normalised edit distance (insertions and deletions) of the first characters of both. Without a baseline
    each answer is compared with the first of its row. It is reckoned once a layout.
    """
    layout = table.layout
    if layout.changes is None:
        layout.changes = _distances(table)
    return layout.changes


def _distances(table: Table) -> Floats:
    from rapidfuzz.distance import Indel  # noqa: PLC0415 - only where it is asked for
    from rapidfuzz.process import cpdist  # noqa: PLC0415 - see above

    layout = table.layout
    here = table.trials.output[layout.mains]
    texts, pairs = _clipped(table, here), []
    references, cases = layout.references, table.trials.case[layout.mains].tolist()
    for cell, (output, base, case) in enumerate(zip(here.tolist(), layout.base_cells.tolist(), cases, strict=True)):
        other = texts.get(int(here[base]) if base >= 0 else NO_OUTPUT) if references is None else references[case]
        if output != NO_OUTPUT and other is not None:
            pairs.append((cell, texts[output], other[:_COMPARED_CHARS]))
    found = np.full(len(here), np.nan)
    if pairs:
        cells, mine, others = zip(*pairs, strict=True)
        found[list(cells)] = cpdist(mine, others, scorer=Indel.normalized_distance, dtype=np.float64)
    alike = [cell for cell, text, _ in pairs if found[cell] == 0 and len(text) == _COMPARED_CHARS]
    of_these = np.array(alike, np.int64)
    table.trials.texts.learn(here[np.concatenate([of_these, layout.base_cells[of_these]])].tolist())
    found[np.array([cell for cell in alike if not layout.is_equal(cell)], np.int64)] = _LEAST_CHANGE
    return found


def _clipped(table: Table, outputs: Ints) -> dict[int, str]:
    asked = (_COMPARED_CHARS, json.dumps(np.unique(outputs[outputs != NO_OUTPUT]).tolist()))
    found = (row for rows in table.store.batches(_CLIPPED, asked) for row in rows)
    return {key: (text or b"").decode(errors="ignore")[:_COMPARED_CHARS] for key, text in found}
