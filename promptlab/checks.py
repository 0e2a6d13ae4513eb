"""Checking a file: is it whole, does every row hang together, and does every stored value follow from what was sent.

Nothing is written. Rows are read one after another, so that memory stays flat; what is found is told in one sentence a
row, with its id, for the first `SHOWN` of a kind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from promptlab import _text, attempts, ledger, requests, signs
from promptlab._json import compact, digest, exact_digest
from promptlab.errors import StoreError
from promptlab.store import INDEXED, Store

if TYPE_CHECKING:
    import sqlite3

SHOWN = 20  # problems of one kind; more would hide the others


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    problems
        One sentence each, with the row's id.
    checked
        How many of what were looked at.
    notes
        What could not be checked, and why.
    """

    path: str
    problems: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def add(self, what: str, found: Iterator[str | None]) -> None:
        """Count what was looked at, each with its problem or None."""
        number = bad = 0
        for problem in found:
            number += 1
            if problem is not None:
                bad += 1
                if bad <= SHOWN:
                    self.problems.append(problem)
        if bad > SHOWN:
            self.problems.append(f"... and {bad - SHOWN:,} more problems with {what}")
        self.checked[what] = self.checked.get(what, 0) + number

    def __repr__(self) -> str:
        return "\n".join([f"<CheckReport {self._title()}>", *self.problems, *self.notes])

    def _repr_html_(self) -> str:
        rows = [(f"{number:,}", what) for what, number in self.checked.items()]
        remarks = _text.html_list([*self.problems, *self.notes]) if self.problems or self.notes else ""
        return _text.html_card(self._title(), remarks + _text.html_table(rows))

    def _title(self) -> str:
        found = "ok" if self.ok else _text.count(len(self.problems), "problem")
        return f"{self.path}: {found}; {sum(self.checked.values()):,} values checked"


def check(store: Store, *, now_s: float | None = None) -> CheckReport:
    """Look at everything in a file, and return what is wrong with it."""
    report = CheckReport(str(store.path))
    with suppress(StoreError):  # read only, or no space: told below
        store.index()
    with store.snapshot() as connection:
        _check_file(connection, report)
        _check_links(connection, report, time.time() if now_s is None else now_s)
        for what, sql, problem in _DERIVED:
            report.add(what, (_guarded(problem, what, row) for row in _rows(connection, sql)))
        whole = (run for run in _rows(connection, _PLANS) if run["trials"] == run["planned"])
        report.add("plans", (_guarded(partial(_plan_problem, connection), "plans", run) for run in whole))
    _check_index(store, report)
    return report


# The file, and what refers to what


def _check_file(connection: sqlite3.Connection, report: CheckReport) -> None:
    damage = (" ".join(row[0].split()) for row in connection.execute("pragma integrity_check"))
    report.add("pages", (f"the file is damaged: {line}" for line in damage if line != "ok"))
    report.checked["pages"] = connection.execute("pragma page_count").fetchone()[0]
    broken = connection.execute("pragma foreign_key_check")
    report.add(
        "references",
        (f"{table} {row}: it refers to a row of {parent} that is not there" for table, row, parent, _ in broken),
    )


#: Queries whose every row is a problem.
_LOOSE = {
    "samples": (
        (
            "select id from samples where not exists (select 1 from trials where sample_id = samples.id)",
            "sample {}: no trial uses it",
        ),
        (
            "select id from samples where (state = 'done') != (output_id is not null)",
            "sample {}: its state does not fit whether it has an output",
        ),
        (
            "select samples.id from samples join outputs on outputs.id = samples.output_id"
            " where outputs.sample_id != samples.id",
            "sample {}: its output is of another sample",
        ),
    ),
    "trials": (
        (
            "select trials.id from trials join outputs on outputs.id = trials.output_id"
            " where outputs.sample_id != trials.sample_id",
            "trial {}: its output is of another sample",
        ),
    ),
    "outputs": (
        (
            "select id from outputs where not exists (select 1 from attempt_samples"
            " where attempt_samples.attempt_id = outputs.attempt_id and attempt_samples.sample_id = outputs.sample_id)",
            "output {}: its attempt did not ask for its sample",
        ),
    ),
    "attempts": (
        (
            "select id from attempts where not exists (select 1 from attempt_samples where attempt_id = attempts.id)",
            "attempt {}: it belongs to no sample",
        ),
        (
            "select id from attempts where state = 'ok'"
            " and not exists (select 1 from outputs where attempt_id = attempts.id)",
            "attempt {}: it was answered, and its output is not there",
        ),
    ),
}
_OPEN = """
select attempts.id, samples.owner, samples.lease_until from attempts
join attempt_samples on attempt_id = attempts.id join samples on samples.id = sample_id
where attempts.state = 'sent'
"""


def _check_links(connection: sqlite3.Connection, report: CheckReport, now_s: float) -> None:
    for table, queries in _LOOSE.items():
        for sql, sentence in queries:
            report.add(table, (sentence.format(row[0]) for row in connection.execute(sql)))
        number = connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608 - names above
        report.checked[table] = number
    report.add("open attempts", (_open_problem(row, now_s) for row in _rows(connection, _OPEN)))


def _open_problem(row: Mapping[str, Any], now_s: float) -> str | None:
    if row["owner"] is not None and signs.is_held(row["owner"], row["lease_until"], now_s):
        return None
    return f"attempt {row['id']}: it was sent by a process that is gone; run its plan again, and it is asked anew"


# What follows from what


def _request_problem(row: Mapping[str, Any]) -> str | None:
    key = requests.exact_key(row["endpoint"], row["body"])
    return None if key == row["key"] else f"request {row['id']}: its key is not that of its bytes"


def _sample_problem(row: Mapping[str, Any]) -> str | None:
    key = requests.sample_key(row["backend"], row["endpoint"], json.loads(row["body"]))
    return None if key == row["key"] else f"sample {row['id']}: its key is not that of its request and backend"


def _template_problem(row: Mapping[str, Any]) -> str | None:
    key = digest(json.loads(row["messages"]))
    return None if key == row["key"] else f"template {row['id']}: its key is not that of its messages"


def _case_problem(row: Mapping[str, Any]) -> str | None:
    key = exact_digest(json.loads(row["inputs"]))
    return None if key == row["key"] else f"case {row['id']}: its key is not that of its values"


_USAGE = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")
_COPIED = ("model", "system_fingerprint", "service_tier")


def _reply_problem(row: Mapping[str, Any]) -> str | None:
    """Read a reply's bytes again, and compare what is stored of it."""
    reply = attempts.Reply(row["http_status"] or 200, json.loads(row["headers"] or "{}"), row["response"])
    outcome = attempts.from_reply(reply, model=row["asked"])
    if outcome.state != row["state"]:
        return f"attempt {row['id']}: its state is {row['state']}, and its reply says {outcome.state}"
    derived = {name: getattr(outcome.usage, name) for name in _USAGE} | {
        name: getattr(outcome, name) for name in _COPIED
    }
    wrong = [name for name, value in derived.items() if row[name] != value]
    return f"attempt {row['id']}: {', '.join(wrong)} not as in its reply" if wrong else None


def _output_problem(row: Mapping[str, Any]) -> str | None:
    """Read an output out of its reply's bytes again."""
    reply = attempts.Reply(row["http_status"] or 200, {}, row["response"] or b"")
    found = {output.choice: output for output in attempts.from_reply(reply, model=row["asked"]).outputs}
    output = found.get(row["choice"])
    if output is None:
        return f"output {row['id']}: its attempt's reply has no choice {row['choice']}"
    derived = {name: getattr(output, name) for name in ("text", "finish_reason", "refusal")}
    wrong = [name for name, value in derived.items() if row[name] != value]
    return f"output {row['id']}: {', '.join(wrong)} not as in its reply" if wrong else None


# Only a plan whose every trial is there can be told whole.
_PLANS = """
select id, plan_key, plan, backend, (select count(*) from trials where run_id = runs.id) as trials,
  iif(json_valid(plan), json_array_length(plan, '$.templates') * json_array_length(plan, '$.cells')
    * json_extract(plan, '$.cases') * json_extract(plan, '$.repeats'), 0) as planned
from runs where plan_key != ''
"""
_CASES_OF = """
select inputs from trials join cases on cases.id = trials.case_id where run_id = ?
group by case_index order by case_index
"""


def _plan_problem(connection: sqlite3.Connection, run: Mapping[str, Any]) -> str | None:
    cases = [json.loads(inputs) for (inputs,) in connection.execute(_CASES_OF, (run["id"],))]
    key = _plan_key(json.loads(run["plan"]), cases, json.loads(run["backend"])["identity"])
    return None if key == run["plan_key"] else f"run {run['id']}: its plan's key is not that of its plan"


def _plan_key(plan: Mapping[str, Any], cases: list[Mapping[str, Any]], identity: str) -> str:
    variables = set(plan["variables"])
    return digest(
        {
            "templates": plan["templates"],
            "cells": [
                [
                    {name: value for name, value in cell.items() if name not in variables and value is not None},
                    _exact({name: value for name, value in cell.items() if name in variables}),
                ]
                for cell in plan["cells"]
            ],
            "cases": [_exact(case) for case in cases],
            "repeats": plan["repeats"],
            "generation": plan["generation"],
            "backend": identity,
        }
    )


def _exact(values: Mapping[str, Any]) -> str:
    return compact(dict(sorted(values.items())))


def _counts_problem(run: Mapping[str, Any]) -> str | None:
    kept, found = json.loads(run["counts"]), json.loads(run["found"])
    wrong = ", ".join(name for name, value in found.items() if not _is_same(kept.get(name), value))
    return f"run {run['id']}: its counts of {wrong} are not those of its rows" if wrong else None


def _is_same(kept: Any, found: Any) -> bool:
    """Whether two figures are the same; sums of money depend on the order in the last digits."""
    if isinstance(kept, float) and isinstance(found, float):
        return abs(kept - found) <= 1e-9 * max(1.0, abs(found))
    return bool(kept == found)


_DERIVED: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str | None]], ...] = (
    ("keys of requests", "select id, key, endpoint, body from requests", _request_problem),
    (
        "keys of samples",
        "select samples.id, samples.key, backend, endpoint, body from samples"
        " join requests on requests.id = samples.request_id",
        _sample_problem,
    ),
    ("keys of templates", "select id, key, messages from templates", _template_problem),
    ("keys of cases", "select id, key, inputs from cases", _case_problem),
    (
        "replies",
        "select attempts.*, requests.model as asked from attempts join requests on requests.id = attempts.request_id"
        " where response is not null",
        _reply_problem,
    ),
    (
        "answers",
        "select outputs.*, http_status, response, requests.model as asked from outputs"
        " join attempts on attempts.id = outputs.attempt_id join requests on requests.id = attempts.request_id",
        _output_problem,
    ),
    (
        "counts of runs",
        f"select id, counts, ({ledger.COUNTS}) as found from runs where counts is not null",  # noqa: S608 - our own
        _counts_problem,
    ),
)


def _guarded(problem: Callable[[Mapping[str, Any]], str | None], what: str, row: Mapping[str, Any]) -> str | None:
    """Return a row's problem, also where its texts are no JSON, or JSON of another form."""
    try:
        return problem(row)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        return f"{what}, row {row['id']}: it cannot be read: {_text.clipped(str(exc), 80)}"


def _rows(connection: sqlite3.Connection, sql: str) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    yield from (dict(zip(names, row, strict=True)) for row in cursor)


# The search index


def _check_index(store: Store, report: CheckReport) -> None:
    """Let the index compare itself with the texts; to SQLite that is writing, which a read-only file does not allow."""
    if store.is_read_only or not store.is_indexed:
        why = "the file is read only" if store.is_read_only else "answers are coming in"
        report.notes.append(f"the search index was not compared with the texts, since {why}")
        return
    try:
        report.add("search indexes", (store.index_problem(table) for table in INDEXED))
    except StoreError as exc:  # somebody writes all the time
        report.notes.append(f"the search index was not compared with the texts: {exc}")
