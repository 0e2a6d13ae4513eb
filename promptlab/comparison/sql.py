"""The cells of a table as one SELECT on `trials_view`, for `lab.sql`: the same trials, in plan order.

Every predicate is the spec's own, so the query can be read, changed, and run on the file years later. Where the search
had to read texts through, which SQL cannot do alike, the outputs it found are listed.
"""

# ruff: noqa: S608 - every name and value goes through _name and _literal

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from promptlab.comparison.axes import Axis
from promptlab.comparison.trials import STATUSES

if TYPE_CHECKING:
    from promptlab.comparison.table import Table

_STATES = dict(zip(STATUSES, ("done", "failed", "stopped", "leased", "todo"), strict=True))
_FACTS = (
    *("run_id", "position", "state", "output", "finish_reason", "reused", "prompt_tokens", "completion_tokens"),
    *("cost_usd", "latency_ms", "trial_id", "output_id", "request_id"),
)
_PLAIN = re.compile(r"[^\"\\$][^\"\\]*")  # a name that `->>` takes as it stands


def select(table: Table) -> str:
    """Return the SELECT whose rows are the trials of the rows that are left."""
    layout, axes = table.layout, table.axes
    shown = [axes[name] for name in dict.fromkeys([*layout.spec.rows, *layout.spec.levels])]
    others = [axis for axis in axes.varying if axis not in shown]
    named = [(axis.name, expression(table, axis.name)) for axis in (*shown, *others) if axis.name != "case"]
    columns = [f"{sql} as {_name(name)}" for name, sql in named]
    runs = ", ".join(map(str, table.trials.run_ids))
    narrow = [f"run_id in ({runs})", *_narrow(table)]
    facts = [fact for fact in _FACTS if fact not in {name for name, _ in named}]
    inner = ", ".join([*columns, 'case_index as "case"', '"case" as case_values', *facts])
    query = (
        f"with cells as (\n  select {inner}\n  from trials_view where {' and '.join(narrow)}\n)\nselect * from cells"
    )
    rows = [*_rows(table)]
    where = f"\nwhere {' and '.join(rows)}" if rows else ""
    return f"{query}{where}\norder by run_id, position"


def expression(table: Table, name: str) -> str:
    """Return what an axis is in `trials_view`."""
    if name in {"run", "template", "version", "repeat"} and table.axes[name].kind != "case":
        if name == "run" and len({run.name for run in table.trials.runs}) < len(table.trials.runs):
            pairs = zip(table.trials.run_ids, table.axes[name].values, strict=True)
            return f"case run_id {' '.join(f'when {key} then {_literal(value)}' for key, value in pairs)} end"
        return name
    if name == "case":
        return "case_index"
    return _value(*table.axes.source(name))


def _narrow(table: Table) -> Iterator[str]:
    """Yield what takes trials out of the table altogether."""
    for name, values in table.spec.filters.values.items():
        one_of = [_is(expression(table, name), value) for value in values]
        yield f"({' or '.join(one_of) or '0'})"
    for values in table.layout.hidden:
        names = zip(table.spec.levels, values, strict=True)
        yield f"not ({' and '.join(_is(expression(table, name), value) for name, value in names)})"


def _rows(table: Table) -> Iterator[str]:
    """Yield what takes rows out."""
    key = _key(table.layout.row_axes)
    if conditions := [*_conditions(table)]:
        yield f"{key} in (select {key} from cells where {' and '.join(conditions)})"
    show = table.spec.filters.show
    state = "state = 'done'"
    if show in {"different", "same"}:
        yield from _differing(table, key, show)
    elif show == "failed":
        yield f"{key} in (select {key} from cells where state in ('failed', 'stopped'))"
    elif show == "pinned":
        yield f"{key} in (select {key} from cells where {_PINNED})"
    elif show == "rated":
        yield f"{key} in (select {key} from cells where {_rating(table)} is not null)"
    elif show == "unrated":
        by = f"{key}, {_key(table.layout.column_axes)}"
        none = f"count({_rating(table)}) = 0 and sum({state}) > 0"
        yield f"{key} in (select {key} from cells group by {by} having {none})"


def _differing(table: Table, key: str, show: str) -> Iterator[str]:
    """Yield which rows hold answers that differ, or several that do not; see `filters._differing`."""
    reference = table.spec.reference
    if reference is not None:
        of_case = _of_case(table, reference)
        known = f"state = 'done' and {of_case} is not null"
        groups = f"select {key} as row, output is not {of_case} as is_different from cells where {known}"
        is_different = int(show == "different")
        yield f"{key} in (select row from ({groups}) group by row having max(is_different) = {is_different})"
        return
    baseline = table.spec.column_baseline
    others = [axis for axis in table.layout.column_axes if baseline is not None and axis.name not in baseline]
    by = ", ".join([key, *([_key(others)] if others else [])])
    counted = "count(distinct quote(output)) as answers, count(*) as number"
    groups = f"select {key} as row, {counted} from cells where state = 'done' group by {by}"
    different = f"select row from ({groups}) where answers > 1"
    if show == "different":
        yield f"{key} in ({different})"
    else:
        yield f"{key} in (select row from ({groups}) where number > 1) and {key} not in ({different})"


def _conditions(table: Table) -> Iterator[str]:
    """Yield what one trial has to meet for its row to stay."""
    filters = table.spec.filters
    if table.layout.search is not None:
        yield _searched(table)
    if filters.status:
        yield f"state in ({', '.join(_literal(_STATES[each]) for each in filters.status)})"
    if filters.finish_reason:
        reasons = " or ".join(_is("finish_reason", each) for each in filters.finish_reason)
        yield f"output_id is not null and ({reasons})"
    if filters.flags:
        wanted = ", ".join(map(_literal, filters.flags))
        of_output = "json_each((select flags from outputs where outputs.id = cells.output_id))"
        yield f"exists (select 1 from {of_output} where value in ({wanted}))"
    if filters.ratings:
        values = [_is(_rating(table), each) for each in filters.ratings]
        yield f"state = 'done' and ({' or '.join(values)})"
    for name, (low, high) in filters.ranges.items():
        value = _number(table, name)
        yield f"{value} is not null" if low is None else f"{value} >= {low!r}"
        if high is not None:
            yield f"{value} <= {high!r}"


def _searched(table: Table) -> str:
    search = table.layout.search
    if search is not None and search.match is not None:
        return f"output_id in (select rowid from outputs_fts where outputs_fts match {_literal(search.match)})"
    ids = json.dumps(sorted(search.ranks) if search else [])
    return f"output_id in (select value from json_each({_literal(ids)}))"


_PINNED = "(select pinned from pins where pins.output_id = cells.output_id order by pins.id desc limit 1)"


def _rating(table: Table) -> str:
    mine = f"ratings.output_id = cells.output_id and rater = {_literal(table.rater)}"
    return f"(select value from ratings where {mine} order by ratings.id desc limit 1)"


def _number(table: Table, name: str) -> str:
    if name == "length":
        return "length(output)"
    if name != "score":
        return name
    case = "(select case_id from trials where trials.id = cells.trial_id)"
    of = f"scores.output_id = cells.output_id and scores.case_id = {case} and scorer = {_literal(table.scorer)}"
    return f"(select value from scores where {of} order by scores.id desc limit 1)"


def _of_case(table: Table, column: str) -> str:
    _, key = table.axes.source(column)
    return _value("case_values", key)


def _value(document: str, key: str) -> str:
    """Return one value of a JSON object; a name with quotes in it is none that `->>` could find."""
    if _PLAIN.fullmatch(key):
        return f"{document} ->> {_literal(key)}"
    return f"(select value from json_each({document}) where key = {_literal(key)})"


def _key(axes: Sequence[Axis]) -> str:
    """Return what tells rows, or columns, apart; a case by its values, since its place differs between runs."""
    return f"json_array({', '.join('case_values' if axis.name == 'case' else _name(axis.name) for axis in axes)})"


def _is(sql: str, value: Any) -> str:
    return f"{sql} is {_literal(value)}"


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("'", "''")
    return f"'{text}'" if "\0" not in text else f"cast(x'{str(value).encode().hex()}' as text)"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
