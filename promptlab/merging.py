"""Merging another file into this one, in one transaction; the other file is only read.

Rows are told apart by what they are, not by their ids: runs by uid, requests by the hash of their bytes, samples by
key, repeat and generation, attempts by the id that went out with them, the rest by what it says of those. So merging a
file again brings in nothing. Where both files answered one sample, ours stays its answer, and their runs keep showing
theirs (`trials.output_id`). What is unanswered here and answered there is answered afterwards. A run that both have
gets the tags of both and, where ours says nothing, their note; whether it is archived is for this file to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptlab import _text, ledger, signs
from promptlab._json import compact, texts
from promptlab.errors import StoreError
from promptlab.migrations import SCHEMA_VERSION
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge brought in.

    Attributes
    ----------
    counts
        New rows by table.
    answered
        How many samples of this file got an end that they had only in the other one.
    remarked
        How many runs of both files got tags, or a note, that they had only in the other one.
    """

    source: str
    counts: Mapping[str, int]
    answered: int
    remarked: int = 0

    def __repr__(self) -> str:
        return f"<Merged {self.source}: {', '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        return _text.html_card(f"Merged {self.source}", _text.html_list(self._facts()))

    def _facts(self) -> list[str]:
        settled = [f"{_text.count(self.answered, 'sample')} of this file settled"] if self.answered else []
        remarked = [f"tags or notes of {_text.count(self.remarked, 'run')}"] if self.remarked else []
        return [*_text.counts(self.counts), *settled, *remarked] or ["nothing that was not here"]


@dataclass(frozen=True, slots=True)
class _Table:
    """How the rows of one table come over.

    `key` are the columns that tell rows apart, all of them where none are named; `refers` maps columns to the tables
    they point to; `reads` replaces columns where they are read, `writes` where they are written; `only` says which
    rows are read; `later` columns are left NULL.
    """

    name: str
    key: tuple[str, ...] = ()
    refers: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    only: str = "true"
    later: frozenset[str] = frozenset()


_ABANDONED = "'the process that sent this ended before an answer was stored; it may have been billed'"
_OUTPUT = {"output_id": "outputs"}
_ORDER_OF_ENDS = "'stopped failed done'"  # a later one is worth more, and all are more than todo and leased

_BEFORE_ENDS = (
    _Table(
        "runs",
        key=("uid",),
        reads={
            "status": "iif(status = 'running', 'stopped', status)",
            "reason": "iif(status = 'running', 'it was running when it was merged', reason)",
            "counts": "null",
        },
    ),
    _Table(
        "templates",
        key=("name", "key"),
        writes={"version": "(select coalesce(max(version), 0) + 1 from templates where name = :name)"},
    ),
    _Table("cases", key=("key",)),
    _Table("requests", key=("key",)),
    _Table(
        "samples",
        key=("key", "repeat", "generation"),
        refers={"request_id": "requests"},
        reads={"state": "iif(state = 'leased', 'todo', state)", "owner": "null", "lease_until": "null"},
        later=frozenset({"output_id"}),
    ),
    _Table(
        "attempts",
        key=("client_request_id",),
        refers={"run_id": "runs", "request_id": "requests"},
        reads={
            "state": "iif(state = 'sent', 'unknown', state)",
            "error_type": "iif(state = 'sent', 'abandoned', error_type)",
            "error_message": f"iif(state = 'sent', {_ABANDONED}, error_message)",
        },
    ),
    _Table(
        "attempt_samples",
        key=("attempt_id", "sample_id"),
        refers={"attempt_id": "attempts", "sample_id": "samples"},
    ),
    _Table(
        "outputs",
        key=("attempt_id", "sample_id", "choice"),
        refers={"attempt_id": "attempts", "sample_id": "samples"},
    ),
)
_OUR_SAMPLE = "from samples where id = (select ours from temp.their_samples where theirs = :sample_id)"
_OUR_OUTPUT = "(select ours from temp.their_outputs where theirs = :output_id)"
_AFTER_ENDS = (
    _Table(
        "trials",
        key=("run_id", "position"),
        refers={"run_id": "runs", "template_id": "templates", "case_id": "cases", "sample_id": "samples"},
        reads={"output_id": "coalesce(output_id, (select output_id from samples where id = trials.sample_id))"},
        writes={
            "output_id": f"nullif({_OUR_OUTPUT}, (select output_id {_OUR_SAMPLE}))",
            "reused": f"max(:reused, :output_id is null and (select state = 'done' {_OUR_SAMPLE}))",
        },
    ),
    _Table("scores", key=("output_id", "case_id", "config_key"), refers={"output_id": "outputs", "case_id": "cases"}),
    _Table("ratings", refers=_OUTPUT),
    _Table("notes", refers=_OUTPUT),
    _Table("pins", refers=_OUTPUT),
    _Table("pairings", key=("session", "position"), refers={"left_id": "outputs", "right_id": "outputs"}),
    _Table(
        "votes",
        key=("pairing_id", "rater", "choice", "strength", "reasons", "ms", "created_at"),
        refers={"pairing_id": "pairings"},
        later=frozenset({"undone_by"}),
    ),
    _Table("views", only=f"name not glob '{signs.PREFIX}*'"),
)
#: Tables that others refer to: of their rows it is kept under which id they are here.
_MAPPED = ("runs", "templates", "cases", "requests", "samples", "attempts", "outputs", "pairings", "votes")

_THEIR_ENDS = "create temp table their_ends (sample integer primary key, state, failure, reason, output)"
_READ_ENDS = "select id, state, failure, reason, output_id from samples where state in ('stopped', 'failed', 'done')"
_ADD_END = """
insert into temp.their_ends
select ours, :state, :failure, :reason, (select ours from temp.their_outputs where theirs = :output_id)
from temp.their_samples where theirs = :id
"""
_SETTLED = f"""
insert into temp.settled
select samples.id, samples.state, their_ends.state from samples join temp.their_ends on sample = samples.id
where instr({_ORDER_OF_ENDS}, their_ends.state) > instr({_ORDER_OF_ENDS}, samples.state)
  and samples.id not in (select id from temp.held)
"""  # noqa: S608
_ABANDON = f"""
update attempts set state = 'unknown', error_type = 'abandoned', error_message = {_ABANDONED}
where state = 'sent' and id in (
  select attempt_id from attempt_samples where sample_id in (select id from temp.settled where was = 'leased'))
"""  # noqa: S608
_SETTLE = """
update samples set (state, failure, reason, output_id) = (
    select state, failure, reason, output from temp.their_ends where sample = samples.id), owner = null,
  lease_until = null
where id in (select id from temp.settled)
"""
_POINT = """
update samples set output_id = (select output from temp.their_ends where sample = samples.id)
where state = 'done' and output_id is null and id in (select sample from temp.their_ends where output is not null)
"""
# What another run bought costs ours nothing.
_SHARE = """
update trials set reused = 1
where reused = 0 and sample_id in (select id from temp.settled where becomes = 'done') and run_id != (
  select attempts.run_id from samples join outputs on outputs.id = samples.output_id
  join attempts on attempts.id = outputs.attempt_id where samples.id = trials.sample_id)
"""
_OPEN = "select client_request_id from attempts where state in ('sent', 'unknown')"
_RUN_ENDED = """
update runs set status = :status, reason = :reason, started_at = :started_at, finished_at = :finished_at
where uid = :uid and status != 'forgotten' and :status != 'forgotten' and :finished_at > coalesce(finished_at, '')
"""
_TOUCHED = """
select ours from temp.their_runs
union select run_id from trials where sample_id in (select id from temp.settled)
"""
_FORGET_COUNTS = f"update runs set counts = null where id in ({_TOUCHED})"  # noqa: S608
_KEEP_COUNTS = f"""
update runs set counts = ({ledger.COUNTS})
where id in ({_TOUCHED}) and status in ('done', 'stopped', 'failed')
"""  # noqa: S608


def merge(store: Store, path: str | Path, *, now_s: float | None = None) -> Merged:
    """Bring in every row of another file that is not here yet.

    Raises
    ------
    StoreError
        When the file is this one, is of a newer promptlab, or is being answered right now.
    """
    now_s = time.time() if now_s is None else now_s
    with closing(Store(path, create=False, write=False)) as source:
        _check(store, source)
        with source.snapshot() as theirs:
            return store.write(partial(_merge, theirs=theirs, source=source.path, now_s=now_s)).result()


def _check(store: Store, source: Store) -> None:
    if store.file.samefile(source.file):
        msg = f"{source.path} is this lab's own file; name the other one"
        raise StoreError(msg)
    if source.schema > SCHEMA_VERSION:
        msg = f"{source.read_only_because}, and to merge it"
        raise StoreError(msg)


def _merge(connection: sqlite3.Connection, *, theirs: sqlite3.Connection, source: Path, now_s: float) -> Merged:
    held = _held(theirs, now_s)
    if held or signs.is_executed(theirs, now_s=now_s):
        requests = _text.count(len(held), "request")
        msg = f"{source} is being answered right now ({requests}); merge it when its run has ended"
        raise StoreError(msg)
    for name in _MAPPED:
        connection.execute(f"create temp table their_{name} (theirs integer primary key, ours integer not null)")
    counts = {table.name: _copied(connection, theirs, table) for table in _BEFORE_ENDS}
    updated = _updated(connection, theirs)
    remarked = _remarked(connection, theirs)
    answered = _settled(connection, theirs, now_s)
    counts |= {table.name: _copied(connection, theirs, table) for table in _AFTER_ENDS}
    updated += _undone(connection, theirs)
    if updated or answered or any(counts.values()):
        connection.execute(_FORGET_COUNTS)
        connection.execute(_KEEP_COUNTS)
    for name in (*(f"their_{name}" for name in _MAPPED), "their_ends", "settled", "held"):
        connection.execute(f"drop table temp.{name}")
    del counts["attempt_samples"]  # says which attempt asked for which sample; nobody counts that
    return Merged(str(source), counts, answered, remarked)


def _held(connection: sqlite3.Connection, now_s: float) -> list[int]:
    """Return the samples that some process may be working on."""
    leased = connection.execute("select id, owner, lease_until from samples where state = 'leased'")
    return [sample_id for sample_id, owner, until in leased if signs.is_held(owner, until, now_s)]


def _copied(connection: sqlite3.Connection, theirs: sqlite3.Connection, table: _Table) -> int:
    """Insert the rows that are not here, note under which id each is here, and return how many were new."""
    columns = [row[1] for row in connection.execute(f"pragma table_info({table.name})") if row[1] != "id"]
    kept = [column for column in columns if column not in table.later]
    key = [(column, _written(table, column)) for column in table.key or kept]
    is_here = " and ".join(f"{table.name}.{column} is {value}" for column, value in key)
    insert = (
        f"insert into {table.name} ({', '.join(kept)}) select {', '.join(_written(table, column) for column in kept)}"  # noqa: S608
        f" where not exists (select 1 from {table.name} where {is_here})"
    )
    added = connection.executemany(insert, _read(theirs, table, kept)).rowcount
    if table.name in _MAPPED:
        note = f"insert into temp.their_{table.name} select :id, id from {table.name} where {is_here} limit 1"  # noqa: S608
        connection.executemany(note, _read(theirs, table, ["id", *(column for column, _ in key)]))
    return max(0, added)


def _written(table: _Table, column: str) -> str:
    """Return what a column gets, for a row of theirs."""
    if column in table.writes:
        return table.writes[column]
    if column in table.refers:
        return f"(select ours from temp.their_{table.refers[column]} where theirs = :{column})"  # noqa: S608
    return f":{column}"


def _read(theirs: sqlite3.Connection, table: _Table, columns: list[str]) -> Iterator[dict[str, Any]]:
    values = ", ".join(f"{table.reads.get(column, column)} as {column}" for column in columns)
    order = "attempt_id" if table.name == "attempt_samples" else f"{table.name}.id"
    yield from _rows(theirs, f"select {values} from {table.name} where {table.only} order by {order}")  # noqa: S608


def _rows(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    yield from (dict(zip(names, row, strict=True)) for row in cursor)


def _updated(connection: sqlite3.Connection, theirs: sqlite3.Connection) -> int:
    """Take over what went on there with rows that both files have: runs that ended, attempts whose end came."""
    runs = _rows(theirs, "select uid, status, reason, started_at, finished_at from runs where status != 'running'")
    changed = max(0, connection.executemany(_RUN_ENDED, runs).rowcount)
    return changed + _revived(connection, theirs) + _ended(connection, theirs)


def _revived(connection: sqlite3.Connection, theirs: sqlite3.Connection) -> int:
    """Bring back runs that were forgotten here: whoever merges a file wants what it holds."""
    forgotten = connection.execute("select uid from runs where status = 'forgotten'").fetchall()
    return sum(_replaced(connection, theirs, _BEFORE_ENDS[0], uid, "status != 'forgotten'") for (uid,) in forgotten)


def _ended(connection: sqlite3.Connection, theirs: sqlite3.Connection) -> int:
    """Take the end of attempts that are open here, and were answered before the other file was copied from this one."""
    attempts = next(table for table in _BEFORE_ENDS if table.name == "attempts")
    unfinished = connection.execute(_OPEN).fetchall()
    return sum(_replaced(connection, theirs, attempts, key, "state in ('ok', 'error')") for (key,) in unfinished)


_THEIR_REMARKS = "select uid, tags, note from runs where status != 'forgotten' and (tags != '[]' or note != '')"
_OUR_REMARKS = "select tags, note from runs where uid = ? and status != 'forgotten'"


def _remarked(connection: sqlite3.Connection, theirs: sqlite3.Connection) -> int:
    """Add the tags that a run of both files has there, and its note where it has none here; return for how many."""
    changes = []
    for uid, tags, note in theirs.execute(_THEIR_REMARKS):
        our_tags, our_note = connection.execute(_OUR_REMARKS, (uid,)).fetchone()
        held, added = texts(our_tags), texts(tags)
        lacks_tags, lacks_note = not set(added) <= set(held), bool(note and not our_note)
        if lacks_tags or lacks_note:
            both = compact(list(dict.fromkeys([*held, *added]))) if lacks_tags else our_tags
            changes.append((both, our_note or note, uid))
    connection.executemany("update runs set tags = ?, note = ? where uid = ? and status != 'forgotten'", changes)
    return len(changes)


def _replaced(
    connection: sqlite3.Connection, theirs: sqlite3.Connection, table: _Table, key: str, condition: str
) -> int:
    """Give our row of a key the values of theirs, where theirs is as asked; return how many were replaced."""
    columns = [row[1] for row in connection.execute(f"pragma table_info({table.name})")]
    kept = [column for column in columns if column not in {"id", *table.key, *table.refers}]
    values = ", ".join(f"{table.reads.get(column, column)} as {column}" for column in kept)
    find = f"select {values}, {table.key[0]} from {table.name} where {table.key[0]} = ? and {condition}"  # noqa: S608
    change = ", ".join(f"{column} = :{column}" for column in kept)
    update = f"update {table.name} set {change} where {table.key[0]} = :{table.key[0]}"  # noqa: S608
    return max(0, connection.executemany(update, list(_rows(theirs, find, (key,)))).rowcount)


def _settled(connection: sqlite3.Connection, theirs: sqlite3.Connection, now_s: float) -> int:
    """Give samples the end they have there, where it is worth more; return for how many of ours."""
    connection.execute(_THEIR_ENDS)
    connection.execute("create temp table settled (id integer primary key, was, becomes)")
    connection.execute("create temp table held (id integer primary key)")
    connection.executemany("insert into temp.held values (?)", [(sample,) for sample in _held(connection, now_s)])
    connection.executemany(_ADD_END, _rows(theirs, _READ_ENDS))
    connection.execute(_POINT)
    settled = connection.execute(_SETTLED).rowcount
    for statement in (_ABANDON, _SETTLE, _SHARE):
        connection.execute(statement)
    return settled


_UNDONE = """
update votes set undone_by = (select ours from temp.their_votes where theirs = :undone_by)
where id = (select ours from temp.their_votes where theirs = :id) and undone_by is null
"""


def _undone(connection: sqlite3.Connection, theirs: sqlite3.Connection) -> int:
    undone = _rows(theirs, "select id, undone_by from votes where undone_by is not null")
    return max(0, connection.executemany(_UNDONE, undone).rowcount)
