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

from promptlab._json import compact
from promptlab.comparison.axes import Axis
from promptlab.comparison.trials import STATUSES, chars_of

if TYPE_CHECKING:
    from promptlab.comparison.table import Table

_STATES = dict(zip(STATUSES, ("done", "failed", "stopped", "leased", "todo"), strict=True))
_FACTS = (
    *("run_id", "position", "state", "output", "finish_reason", "reused", "prompt_tokens", "completion_tokens"),
    *("cost_usd", "latency_ms", "trial_id", "output_id", "request_id"),
)
_CASE_ID = "(select case_id from trials where trials.id = trial_id)"
#: What predicates need besides: its name in the query -> what it is.
_KEPT = {"case_index": "case_index", "case_id": _CASE_ID, "case_values": '"case"'}
_NUL = r"\u0000"  # in JSON
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a name that `->>` takes for one, and never for a path


def select(table: Table) -> str:
    """Return the SELECT whose rows are the trials of the rows that are left."""
    return _Select(table).text()


class _Select:
    """The query of one table.

    `names` are the axes that are shown -> what they are called inside the query: by a name of its own where an axis'
    own is no plain one or that of a fact, which it would hide. `keys` are those with special values -> what tells
    their values apart.
    """

    def __init__(self, table: Table) -> None:
        self.table, self.layout, self.axes = table, table.layout, table.axes
        spec = self.layout.spec
        self.shown = [self.axes[name] for name in dict.fromkeys([*spec.rows, *spec.levels])]
        self.shown += [axis for axis in self.axes.varying if axis not in self.shown]
        self.names: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        taken = {*_FACTS, *_KEPT}
        for number, axis in enumerate(self.shown):
            is_plain = _PLAIN.fullmatch(axis.name) and axis.name.lower() not in taken
            self.names[axis.name] = _free(axis.name if is_plain else f"axis_{number}", taken)
            if _is_special(axis):
                self.keys[axis.name] = _free(f"key_{number}", taken)

    def text(self) -> str:
        """Return it."""
        axes = [axis.name for axis in self.shown if axis.name != "case"]
        inner = [f"{self.expression(name)} as {_name(self.names[name])}" for name in axes]
        inner += [f"{self.identity(name)} as {key}" for name, key in self.keys.items()]
        inner += [*(sql if sql == name else f"{sql} as {name}" for name, sql in _KEPT.items()), *_FACTS]
        outer = [_name(name) if name == self.names[name] else f"{self.names[name]} as {_name(name)}" for name in axes]
        outer += ['case_index as "case"', *(fact for fact in _FACTS if fact not in axes)]
        narrow = [f"run_id in ({', '.join(map(str, self.table.trials.run_ids))})", *self._narrow()]
        cells = f"select {', '.join(inner)}\n  from trials_view where {' and '.join(narrow)}"
        rows = [*self._rows()]
        where = f"\nwhere {' and '.join(rows)}" if rows else ""
        select = f"select {', '.join(outer)}\nfrom cells{where}\norder by cells.run_id, cells.position"
        return f"with cells as (\n  {cells}\n)\n{select}"

    # Values

    def expression(self, name: str) -> str:
        """Return what an axis is in `trials_view`."""
        axis, runs = self.axes[name], self.table.trials.runs
        if name == "run" and len({run.name for run in runs}) < len(runs):
            pairs = zip(self.table.trials.run_ids, axis.values, strict=True)
            return f"case run_id {' '.join(f'when {key} then {_literal(value)}' for key, value in pairs)} end"
        if axis.kind in {"run", "template", "repeat"}:
            return name
        document, key = self.axes.source(name)
        return f"{document} ->> {_literal(key)}" if _PLAIN.fullmatch(key) else _of_json(document, key, "value")

    def identity(self, name: str) -> str:
        """Return what two values of an axis have in common if they are one; a case has other places in other runs."""
        if name == "case":
            return _CASE_ID
        if not _is_special(self.axes[name]):
            return self.expression(name)
        document, key = self.axes.source(name)
        texts = f"when 'text' then iif(instr({document} -> fullkey, '{_NUL}'), {document} -> fullkey, value)"
        truth = "when 'true' then x'01' when 'false' then x'00'"
        return _of_json(document, key, f"case type {texts} {truth} else value end")

    def _is_one_of(self, name: str, values: Sequence[Any]) -> str:
        """Return that a trial has one of some values; such as the axis has not are none."""
        axis = self.axes[name]
        places = [place for place in map(axis.place, values) if place is not None]
        if name == "case":
            wanted = ", ".join(str(self.table.trials.case_ids[place]) for place in places)
            return f"{_CASE_ID} in ({wanted})"
        identity = self.identity(name)
        literal = _special if _is_special(axis) else _literal
        return f"({' or '.join(f'{identity} is {literal(axis.values[place])}' for place in places) or '0'})"

    def _key(self, axes: Sequence[Axis]) -> list[str]:
        """Return what tells rows, or columns, apart; NULL is a value like others."""
        own = ["case_id" if axis.name == "case" else self.keys.get(axis.name, self.names[axis.name]) for axis in axes]
        return [f"ifnull({_name(name)}, x'')" for name in own]

    # Predicates

    def _narrow(self) -> Iterator[str]:
        """Yield what takes trials out of the table altogether."""
        for name, values in self.layout.spec.filters.values.items():
            yield self._is_one_of(name, values)
        for values in self.layout.hidden:
            each = zip(self.layout.spec.levels, values, strict=True)
            yield f"not ({' and '.join(self._is_one_of(name, [value]) for name, value in each)})"

    def _rows(self) -> Iterator[str]:
        """Yield what takes rows out."""
        key = ", ".join(self._key(self.layout.row_axes))
        is_in = f"({key}) in (select {key} from cells"
        if conditions := [*_conditions(self.table)]:
            yield f"{is_in} where {' and '.join(conditions)})"
        show = self.layout.spec.filters.show
        if show in {"different", "same"}:
            yield from self._differing(show)
        elif show == "failed":
            yield f"{is_in} where state in ('failed', 'stopped'))"
        elif show == "pinned":
            yield f"{is_in} where {_PINNED})"
        elif show == "rated":
            yield f"{is_in} where {_rating(self.table)} is not null)"
        elif show == "unrated":
            by = ", ".join([key, *self._key(self.layout.column_axes)])
            yield f"{is_in} group by {by} having count({_rating(self.table)}) = 0 and sum(state = 'done') > 0)"

    def _differing(self, show: str) -> Iterator[str]:
        """Yield which rows hold answers that differ, or several that do not; see `filters._differing`."""
        key = self._key(self.layout.row_axes)
        row = f"({', '.join(key)})"
        places = ", ".join(f"row_{place}" for place in range(len(key)))
        named = ", ".join(f"{sql} as row_{place}" for place, sql in enumerate(key))
        if self.layout.spec.reference is not None:
            reference = _reference(self.table, self.layout.spec.reference)
            known = f"state = 'done' and {reference} is not null"
            groups = f"select {named}, output is not {reference} as is_different from cells where {known}"
            having = f"having max(is_different) = {int(show == 'different')}"
            yield f"{row} in (select {places} from ({groups}) group by {places} {having})"
            return
        baseline = self.layout.spec.column_baseline
        others = [axis for axis in self.layout.column_axes if baseline is not None and axis.name not in baseline]
        by = ", ".join([*key, *self._key(others)])
        counted = "count(distinct json_quote(output)) as answers, count(*) as number"
        groups = f"select {named}, {counted} from cells where state = 'done' group by {by}"
        different = f"{row} in (select {places} from ({groups}) where answers > 1)"
        if show == "different":
            yield different
        else:
            yield f"{row} in (select {places} from ({groups}) where number > 1) and not {different}"


def _free(name: str, taken: set[str]) -> str:
    """Return a name that nothing has yet, and take it; to SQLite large and small letters are the same."""
    while name.lower() in taken:
        name += "_"
    taken.add(name.lower())
    return name


def _is_special(axis: Axis) -> bool:
    """Whether `->>` does not tell all values apart: true is 1 to it, and older SQLite ends a text at a NUL."""
    return any(isinstance(value, bool) or (isinstance(value, str) and "\0" in value) for value in axis.values)


def _conditions(table: Table) -> Iterator[str]:
    """Yield what one trial has to meet for its row to stay."""
    filters = table.spec.filters
    if table.layout.search is not None:
        yield _searched(table)
    if filters.status:
        yield f"state in ({', '.join(_literal(_STATES[each]) for each in filters.status)})"
    if filters.finish_reason:
        reasons = " or ".join(f"finish_reason is {_literal(each)}" for each in filters.finish_reason)
        yield f"output_id is not null and ({reasons})"
    if filters.flags:
        wanted = ", ".join(map(_literal, filters.flags))
        of_output = "json_each((select flags from outputs where outputs.id = cells.output_id))"
        yield f"exists (select 1 from {of_output} where value in ({wanted}))"
    if filters.ratings:
        values = [f"{_rating(table)} is {_rating_literal(each)}" for each in filters.ratings]
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
    """Return the rater's own rating of an output: its scale and its value; NULL where there is none."""
    mine = f"ratings.output_id = cells.output_id and rater = {_literal(table.rater)}"
    return f"(select scale || ' ' || value from ratings where {mine} order by ratings.id desc limit 1)"


def _rating_literal(rating: tuple[str, float] | None) -> str:
    return _literal(None if rating is None else f"{rating[0]} {float(rating[1])}")


def _number(table: Table, name: str) -> str:
    if name == "length":
        return chars_of("output")
    if name != "score":
        return name
    key = _literal(table.trials.key_of(table.scorer))
    of = f"scores.output_id = cells.output_id and scores.case_id = cells.case_id and config_key = {key}"
    return f"(select value from scores where {of})"


def _reference(table: Table, column: str) -> str:
    """Return the reference answer of a trial's case: a text as it is, anything else as JSON."""
    _, key = table.axes.source(column)
    return _of_json("case_values", key, "iif(type in ('text', 'null'), value, case_values -> fullkey)")


def _of_json(document: str, key: str, value: str) -> str:
    """Return something about one value of a JSON object, whatever its name is."""
    named = f"key = {_literal(key)}" if "\0" not in key else f"fullkey = {_literal('$.' + compact(key))}"
    return f"(select {value} from json_each({document}) where {named})"


def _special(value: Any) -> str:
    """Return a value as `_Select.identity` has it for an axis with special ones."""
    if isinstance(value, bool):
        return f"x'0{int(value)}'"
    return _literal(compact(value) if isinstance(value, str) and _NUL in compact(value) else value)


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("'", "''")
    return f"'{text}'" if "\0" not in text else f"cast(x'{str(value).encode().hex()}' as text)"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\0", "\u2400") + '"'  # no query can hold a NUL
