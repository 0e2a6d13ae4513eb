"""Forgetting a run: what only it uses goes, in one transaction; what other runs use stays.

Answers belong to samples, and runs share samples; so a sample goes when no other run has a trial of it, and with it
whatever hangs on it alone. Where other runs live on answers that the forgotten one bought, the attempts stay, and the
run's row stays under them as `forgotten`, without its plan and its note: money that was spent stays accounted for.
Templates stay: they are the history of a prompt, not of a run. A rating session goes with the last of its pairings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlab import _text, signs
from promptlab.errors import NotFoundError, StoreError

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting a run deletes, or would delete.

    Attributes
    ----------
    counts
        Rows by table.
    bytes
        The size of their texts and replies; `lab.vacuum()` gives it back to the disk.
    kept
        How many of the run's answers stay, since other runs use them.
    is_done
        False after a dry run.
    """

    run_id: int
    name: str
    counts: Mapping[str, int]
    bytes: int
    kept: int
    is_done: bool

    def __repr__(self) -> str:
        return f"<Forgotten {self._title()}: {'; '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        return _text.html_card(f"Forgotten: {self._title()}", _text.html_list(self._facts()))

    def _title(self) -> str:
        return f"run {self.run_id} {self.name!r}{'' if self.is_done else ' (dry run)'}"

    def _facts(self) -> list[str]:
        going = ", ".join(_text.counts(self.counts)) or "nothing"
        is_kept = f"{_text.count(self.kept, 'answer')} kept, since other runs use them" if self.kept else ""
        next_step = "" if self.is_done else f"lab.forget({self.run_id}, dry_run=False) does it"
        facts = (
            f"{going} {'deleted' if self.is_done else 'to delete'}",
            f"{_text.size(self.bytes)} of texts and replies",
            is_kept,
            next_step,
        )
        return [fact for fact in facts if fact]


_FIND = (
    """
insert into temp.gone_samples
select distinct sample_id from trials where run_id = :run
  and not exists (select 1 from trials as other where other.sample_id = trials.sample_id and other.run_id != :run)
""",
    # Where two files had answered one sample, a merged run shows its own output of a sample that stays.
    """
insert into temp.gone_outputs
select id from outputs where sample_id in (select id from temp.gone_samples)
union
select output_id from trials where run_id = :run and output_id is not null
  and not exists (select 1 from samples where samples.id = trials.sample_id and samples.output_id = trials.output_id)
  and not exists (
    select 1 from trials as other
    where other.sample_id = trials.sample_id and other.output_id = trials.output_id and other.run_id != :run)
""",
    # An attempt may have answered several samples: it goes when all that it answered goes.
    """
insert into temp.gone_attempts
select id from (
  select attempt_id as id from attempt_samples where sample_id in (select id from temp.gone_samples)
  union select attempt_id from outputs where id in (select id from temp.gone_outputs)) as found
where not exists (
  select 1 from attempt_samples as link
  where link.attempt_id = found.id and link.sample_id not in (select id from temp.gone_samples)
    and not exists (
      select 1 from outputs
      where outputs.attempt_id = found.id and outputs.sample_id = link.sample_id
        and outputs.id in (select id from temp.gone_outputs)))
""",
    """
insert into temp.gone_requests
select id from (
  select request_id as id from samples where id in (select id from temp.gone_samples)
  union select request_id from attempts where id in (select id from temp.gone_attempts)) as found
where not exists (
    select 1 from samples where request_id = found.id and samples.id not in (select id from temp.gone_samples))
  and not exists (
    select 1 from attempts where request_id = found.id and attempts.id not in (select id from temp.gone_attempts))
""",
    """
insert into temp.gone_cases
select case_id from trials where run_id = :run except select case_id from trials where run_id != :run
""",
    """
insert into temp.gone_pairings
select id from pairings
where left_id in (select id from temp.gone_outputs) or right_id in (select id from temp.gone_outputs)
""",
)
_FOUND = ("samples", "outputs", "attempts", "requests", "cases", "pairings")
_OF_OUTPUT = "output_id in (select id from temp.gone_outputs)"
# The name of such a view is judge:SESSION, and a session's name has 16 characters.
_SESSIONS = """
name glob 'judge:*'
and exists (select 1 from pairings
  where session = substr(views.name, 7, 16) and id in (select id from temp.gone_pairings))
and not exists (select 1 from pairings
  where session = substr(views.name, 7, 16) and id not in (select id from temp.gone_pairings))
"""
_LINKS = "attempt_samples"  # says which attempt asked for which sample; nobody counts that
#: Which rows go, in an order in which nothing refers to a row that is gone.
_GOING = {
    "trials": "run_id = :run",
    "views": _SESSIONS,
    "votes": "pairing_id in (select id from temp.gone_pairings)",
    "pairings": "id in (select id from temp.gone_pairings)",
    "scores": "output_id in (select id from temp.gone_outputs) or case_id in (select id from temp.gone_cases)",
    "ratings": _OF_OUTPUT,
    "notes": _OF_OUTPUT,
    "pins": _OF_OUTPUT,
    "outputs": "id in (select id from temp.gone_outputs)",
    _LINKS: "attempt_id in (select id from temp.gone_attempts) or sample_id in (select id from temp.gone_samples)",
    "attempts": "id in (select id from temp.gone_attempts)",
    "samples": "id in (select id from temp.gone_samples)",
    "requests": "id in (select id from temp.gone_requests)",
    "cases": "id in (select id from temp.gone_cases)",
}
_TEXTS = {
    "outputs": ("text", "tool_calls", "logprobs"),
    "attempts": ("response", "headers", "usage", "sent_body"),
    "requests": ("body", "text"),
    "cases": ("inputs",),
}
_KEPT = """
select count(distinct sample_id) from trials join samples on samples.id = trials.sample_id
where run_id = :run and samples.state = 'done' and sample_id not in (select id from temp.gone_samples)
"""
_LEASES = """
select distinct owner, lease_until from samples
where state = 'leased' and id in (select sample_id from trials where run_id = :run)
"""
# The index is told the text that it holds: of rows that it does not know yet it must not hear.
_UNINDEX = """
insert into {table}_fts ({table}_fts, rowid, text)
select 'delete', id, coalesce(text, '') from {table}
where id in (select id from temp.gone_{table}) and id in (select id from {table}_fts_docsize)
"""
_LET_GO = (
    "update samples set output_id = null where id in (select id from temp.gone_samples)",
    _UNINDEX.format(table="outputs"),
    _UNINDEX.format(table="requests"),
)
_EMPTY_PLAN = '{"templates":[],"cells":[],"variables":[],"columns":[],"cases":0,"repeats":1,"generation":0}'
_CLOSE = (
    f"delete from views where name glob '{signs.PREFIX}' || :run || ':*'",  # noqa: S608 - see above; of dead processes
    f"""
update runs set status = 'forgotten', archived = 1, plan_key = '', plan = '{_EMPTY_PLAN}', note = '', tags = '[]',
  reason = null, counts = null
where id = :run
""",  # noqa: S608 - texts of our own, here and below
    """
delete from runs where status = 'forgotten' and not exists (select 1 from attempts where attempts.run_id = runs.id)
  and not exists (select 1 from trials where trials.run_id = runs.id)
""",
)


def forget(connection: sqlite3.Connection, run_id: int, *, now_s: float, dry_run: bool) -> Forgotten:
    """Delete what only this run uses, or with `dry_run` only count it.

    Raises
    ------
    StoreError
        When the run is being answered, or goes on and is paused.
    NotFoundError
        When it was forgotten meanwhile.
    """
    run = {"run": run_id}
    row = connection.execute("select name from runs where id = :run", run).fetchone()
    if row is None:
        msg = f"run {run_id} is gone: another kernel forgot it meanwhile"
        raise NotFoundError(msg)
    name, leases = row[0], connection.execute(_LEASES, run).fetchall()
    if signs.is_executed(connection, run_id, now_s=now_s) or any(
        signs.is_held(owner, until_s, now_s) for owner, until_s in leases
    ):
        msg = f"run {run_id} {name!r} is being answered right now; stop it first, then forget it"
        raise StoreError(msg)
    for table in _FOUND:
        connection.execute(f"create temp table gone_{table} (id integer primary key)")
    for statement in _FIND:
        connection.execute(statement, run)
    counts = {table: _number(connection, "count(*)", table, run) for table in _GOING if table != _LINKS}
    size = sum(_number(connection, _bytes(columns), table, run) for table, columns in _TEXTS.items())
    kept = connection.execute(_KEPT, run).fetchone()[0]
    if not dry_run:
        _delete(connection, run)
    for table in _FOUND:
        connection.execute(f"drop table temp.gone_{table}")
    return Forgotten(run_id, name, counts, size, kept, is_done=not dry_run)


# SQLite looks for rows that still refer to each row that goes. Without these, columns that have no index would be read
# whole each time (measured, 10,000 answers of a million: not done in 90 s, with them 1.8 s). They go before the commit.
_WAYS_BACK = {
    "forgetting_outputs": "samples (output_id)",
    "forgetting_own_outputs": "trials (output_id)",
    "forgetting_cases": "trials (case_id)",
    "forgetting_scored_cases": "scores (case_id)",
    "forgetting_left": "pairings (left_id)",
    "forgetting_right": "pairings (right_id)",
    "forgetting_undone": "votes (undone_by)",
}


def _delete(connection: sqlite3.Connection, run: Mapping[str, int]) -> None:
    for name, column in _WAYS_BACK.items():
        connection.execute(f"create index {name} on {column}")
    for statement in _LET_GO:
        connection.execute(statement)
    for table, condition in _GOING.items():
        connection.execute(f"delete from {table} where {condition}", run if ":run" in condition else {})  # noqa: S608
    for statement in _CLOSE:
        connection.execute(statement, run if ":run" in statement else {})
    for name in _WAYS_BACK:
        connection.execute(f"drop index {name}")


def _number(connection: sqlite3.Connection, what: str, table: str, run: Mapping[str, int]) -> int:
    condition = _GOING[table]
    sql = f"select {what} from {table} where {condition}"  # noqa: S608 - texts of our own
    return connection.execute(sql, run if ":run" in condition else {}).fetchone()[0] or 0


def _bytes(columns: tuple[str, ...]) -> str:
    return f"sum({' + '.join(f'coalesce(length(cast({column} as blob)), 0)' for column in columns)})"
