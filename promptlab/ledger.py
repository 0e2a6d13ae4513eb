"""What is written, and when: operations for the store's writer, in the order a run needs them.

    add_run -> add_trials            a plan becomes rows; nothing was sent
    start_run                        where it has a cap: what it has committed so far
    begin_attempt                    committed before the request leaves: lease, attempt `sent`, its worst case reserved
    write_finish                     one transaction: what came back, the outputs, the samples' new state
    withdraw_attempt                 it never left after all: as if it had not begun
    finish_run

A lease on a sample keeps two kernels from paying for it twice. Its holder renews it; a lease that ran out, or whose
process on this machine is gone, is taken over, and the attempt it left open becomes `unknown`: it may have been billed.
A run that goes on gives a sign of life besides: see signs.py.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from promptlab import signs
from promptlab._json import compact, exact_digest
from promptlab.attempts import Outcome, Output
from promptlab.backends._base import BackendInfo
from promptlab.cases import Case
from promptlab.errors import NotFoundError, StoreError
from promptlab.limits import DUST_USD
from promptlab.plans import Plan
from promptlab.requests import Request
from promptlab.sharing import Share, shares
from promptlab.templates import PromptTemplate

LEASE_S = 60.0
RENEW_EVERY_S = 15.0


def new_owner() -> str:
    """Return a name for one run's worker pool: which machine, which process, which pool."""
    return f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def timestamp(at_s: float) -> str:
    """Return a time as it is stored: UTC, ISO-8601, milliseconds.

    >>> timestamp(0)
    '1970-01-01T00:00:00.000Z'
    """
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# A plan becomes rows

_FIND_RUN = "select id from runs where plan_key = ? and name = ? order by id desc limit 1"
_ADD_RUN = """
insert into runs (uid, name, status, plan_key, plan, backend, base_url, created_at, promptlab_version, openai_version,
  python_version, sqlite_version, host, notebook, git_commit, note, tags)
values (:uid, :name, 'planned', :plan_key, :plan, :backend, :base_url, :created_at, :promptlab_version, :openai_version,
  :python_version, :sqlite_version, :host, :notebook, :git_commit, :note, :tags)
"""
_ADD_TEMPLATE = """
insert into templates (key, name, version, messages, created_at, parent_key, note)
values (:key, :name, (select coalesce(max(version), 0) + 1 from templates where name = :name), :messages, :created_at,
  :parent_key, :note)
on conflict (name, key) do nothing
"""
_ADD_REQUEST = """
insert into requests (key, endpoint, model, body, text) values (?, ?, ?, ?, ?) on conflict (key) do nothing
"""
_ADD_SAMPLE = """
insert into samples (key, repeat, generation, backend, request_id)
values (:sample_key, :repeat, :generation, :backend, (select id from requests where key = :request_key))
on conflict (key, repeat, generation) do nothing
"""
_ADD_TRIAL = """
insert into trials (run_id, position, template_id, case_id, case_index, params, repeat, sample_id, reused)
select :run_id, :position, :template_id, :case_id, :case_index, :params, :repeat, id,
  state = 'done' or exists (select 1 from trials where run_id = :run_id and sample_id = samples.id)
from samples where key = :sample_key and repeat = :repeat and generation = :generation
on conflict (run_id, position) do nothing
"""


def add_run(
    connection: sqlite3.Connection,
    plan: Plan,
    *,
    name: str,
    info: BackendInfo,
    environment: dict[str, Any],
    now_s: float,
) -> int:
    """Return the id of the run of a plan under a name, whose row is inserted unless another kernel was quicker."""
    found = connection.execute(_FIND_RUN, (plan.key, name)).fetchone()
    return (
        found[0] if found else _inserted(connection.execute(_ADD_RUN, _run_row(plan, name, info, environment, now_s)))
    )


def _run_row(plan: Plan, name: str, info: BackendInfo, environment: dict[str, Any], now_s: float) -> dict[str, Any]:
    return {
        "uid": f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        "name": name,
        "plan_key": plan.key,
        "plan": compact(described(plan)),
        "backend": compact({"kind": info.kind, "identity": info.identity, **info.details}),
        "base_url": info.base_url,
        "created_at": timestamp(now_s),
        "sqlite_version": sqlite3.sqlite_version,
        **environment,
    }


def described(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is kept with its run: enough to read it, the cases being rows of their own."""
    return {
        "templates": [[template.name, template.key] for template in plan.templates],
        "cells": [dict(cell) for cell in plan.grid],
        "variables": sorted({name for cell in plan.grid for name in cell.variable_names}),
        "columns": list(plan.cases.columns),
        "cases": len(plan.cases),
        "repeats": plan.repeats,
        "generation": plan.generation,
        "estimate": None if plan.estimate is None else asdict(plan.estimate),
    }


def add_templates(connection: sqlite3.Connection, templates: Sequence[PromptTemplate], *, now_s: float) -> list[int]:
    """Insert the templates that are new, each with the next version of its name, and return their ids."""
    rows = [
        {
            "key": template.key,
            "name": template.name,
            "messages": compact(template.messages),
            "created_at": timestamp(now_s),
            "parent_key": template.parent,
            "note": template.note,
        }
        for template in templates
    ]
    connection.executemany(_ADD_TEMPLATE, rows)
    found = "select id from templates where name = ? and key = ?"
    return [connection.execute(found, (template.name, template.key)).fetchone()[0] for template in templates]


def add_cases(connection: sqlite3.Connection, cases: Iterable[Case]) -> list[int]:
    """Insert the cases that are new and return their ids."""
    keyed = [(exact_digest(case), compact(case)) for case in cases]
    connection.executemany("insert into cases (key, inputs) values (?, ?) on conflict (key) do nothing", keyed)
    return [connection.execute("select id from cases where key = ?", (key,)).fetchone()[0] for key, _ in keyed]


@dataclass(frozen=True, slots=True)
class PlanRows:
    """The ids under which a plan's parts are stored."""

    run_id: int
    template_ids: Sequence[int]
    case_ids: Sequence[int]


def add_trials(connection: sqlite3.Connection, plan: Plan, rows: PlanRows, positions: range) -> None:
    """Insert the requests, samples and trials at some positions; those already there are left as they are."""
    requests: dict[str, Request] = {}
    described_trials = []
    for position in positions:
        template, cell, case, repeat = plan.place(position)
        request = plan.request(position)
        key = request.key
        requests[key] = request
        described_trials.append(
            {
                "run_id": rows.run_id,
                "position": position,
                "template_id": rows.template_ids[template],
                "case_id": rows.case_ids[case],
                "case_index": case,
                "params": compact(dict(plan.grid[cell])),
                "repeat": repeat,
                "generation": plan.generation,
                "backend": plan.identity,
                "sample_key": request.sample_key,
                "request_key": key,
            }
        )
    connection.executemany(_ADD_REQUEST, map(_request_row, requests.items()))
    connection.executemany(_ADD_SAMPLE, described_trials)
    connection.executemany(_ADD_TRIAL, described_trials)


def _request_row(keyed: tuple[str, Request]) -> tuple[str, str, str, str, str]:
    key, request = keyed
    return key, request.endpoint, request.model, request.body, request.text


# An attempt

_IS_THERE = "select 1 from runs where id = ? and status != 'forgotten'"
_SAMPLE = """
select state, owner, lease_until, request_id, requests.key
from samples join requests on requests.id = request_id where samples.id = ?
"""
_LEASE = """
update samples set state = 'leased', owner = :owner, lease_until = :until, failure = null, reason = null,
  request_id = :request_id
where id = :sample_id
"""
_ABANDON = """
update attempts set state = 'unknown', error_type = 'abandoned',
  error_message = 'the process that sent this ended before an answer was stored; it may have been billed'
where state = 'sent' and id in (select attempt_id from attempt_samples where sample_id = ?)
"""
_ADD_ATTEMPT = """
insert into attempts (run_id, request_id, number, state, client_request_id, sent_at, cost_usd, reserved_usd)
values (:run_id, :request_id,
  1 + (select count(*) from attempt_samples where sample_id = :sample_id), 'sent', :client_request_id, :sent_at,
  :cost_usd, :reserved_usd)
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of claiming samples: `sent` (ours to send now), `done` (answered by another), `leased` (wait), `dear`.

    `dear` says that the run's cap has no room for them. For several samples at once `done` and `leased` say that at
    least one is not to be had; none is leased then. `until_s` is when the lease ends, on the wall clock.
    """

    state: Literal["sent", "done", "leased", "dear"]
    attempt_id: int = 0
    client_request_id: str = ""
    until_s: float = 0.0


def begin_attempt(
    connection: sqlite3.Connection,
    *,
    run_id: int,
    sample_ids: Sequence[int],
    request: Request,
    owner: str,
    now_s: float,
    reserved_usd: float | None = None,
    cap_usd: float | None = None,
) -> Claim:
    """Lease samples and note the attempt as sent; the commit comes before the request leaves.

    `request` is the one that is about to be sent; with several samples it asks for as many choices. Requests that
    differ only in what their sample's key leaves out (`user`, 1 for 1.0, `n`) share a sample, so the sample's row may
    so far name another one. `reserved_usd` is what the attempt can cost at most; None if that is not known. With a cap
    it must fit into what the run, in all kernels together, has left.

    Raises
    ------
    NotFoundError
        When the run was forgotten meanwhile.
    """
    if connection.execute(_IS_THERE, (run_id,)).fetchone() is None:
        raise NotFoundError(_gone(run_id))
    abandoned = []
    request_id, request_key, key = 0, "", request.key  # all of one request: the last sample's are those of each
    for sample_id in sample_ids:
        state, holder, until, request_id, request_key = connection.execute(_SAMPLE, (sample_id,)).fetchone()
        if state == "done":
            return Claim("done")
        if state == "leased" and holder != owner:
            if until > now_s and signs.may_live(holder):
                return Claim("leased")
            abandoned.append((sample_id,))
    if cap_usd is not None and not _fits(connection, run_id, reserved_usd or 0.0, cap_usd):
        return Claim("dear")
    if abandoned:
        connection.executemany(_ABANDON, abandoned)
    if request_key != key:
        connection.execute(_ADD_REQUEST, _request_row((key, request)))
        request_id = connection.execute("select id from requests where key = ?", (key,)).fetchone()[0]
    row: dict[str, Any] = {
        "run_id": run_id,
        "sample_id": sample_ids[0],
        "request_id": request_id,
        "owner": owner,
        "until": now_s + LEASE_S,
        "client_request_id": _client_request_id(now_s),
        "sent_at": timestamp(now_s),
        "cost_usd": 0.0 if reserved_usd == 0 else None,
        "reserved_usd": reserved_usd,
    }
    attempt_id = _inserted(connection.execute(_ADD_ATTEMPT, row))
    for choice, sample_id in enumerate(sample_ids):
        connection.execute(_LEASE, {**row, "sample_id": sample_id})
        connection.execute("insert into attempt_samples values (?, ?, ?)", (attempt_id, sample_id, choice))
    return Claim("sent", attempt_id, row["client_request_id"], row["until"])


def _client_request_id(now_s: float) -> str:
    """Return a name that no other attempt has, and that sorts by time: the index of a large file grows at its end."""
    return f"plab-{int(now_s * 1000):012x}{os.urandom(10).hex()}"


_COMMIT = """
update runs set committed_usd = committed_usd + :reserved_usd
where id = :run_id and committed_usd + :reserved_usd <= :cap_usd
"""
# What an attempt reserved is replaced by its cost, where that is known.
_BOOK = """
update runs set committed_usd = committed_usd + (
  select coalesce(:cost_usd, reserved_usd, 0) - coalesce(reserved_usd, 0) from attempts where id = :id)
where committed_usd is not null and id = (select run_id from attempts where id = :id)
"""


def _fits(connection: sqlite3.Connection, run_id: int, reserved_usd: float, cap_usd: float) -> bool:
    """Commit a run to an amount, if its cap has room for it."""
    amounts = {"run_id": run_id, "reserved_usd": reserved_usd, "cap_usd": cap_usd + DUST_USD}
    return connection.execute(_COMMIT, amounts).rowcount == 1


def withdraw_attempt(connection: sqlite3.Connection, claim: Claim) -> None:
    """Forget an attempt that never left; its sample stays leased."""
    connection.execute(_BOOK, {"cost_usd": 0.0, "id": claim.attempt_id})
    connection.execute("delete from attempt_samples where attempt_id = ?", (claim.attempt_id,))
    connection.execute("delete from attempts where id = ?", (claim.attempt_id,))


_FINISH_ATTEMPT = """
update attempts set state = :state, latency_ms = :latency_ms, http_status = :http_status, error_type = :error_type,
  error_code = :error_code, error_param = :error_param, error_message = :error_message, retry_after_s = :retry_after_s,
  openai_request_id = :openai_request_id, headers = :headers, sent_body = :sent_body, response = :response,
  redacted = :redacted, model = :model, system_fingerprint = :system_fingerprint, service_tier = :service_tier,
  prompt_tokens = :prompt_tokens, cached_tokens = :cached_tokens, completion_tokens = :completion_tokens,
  reasoning_tokens = :reasoning_tokens, total_tokens = :total_tokens, usage = :usage, cost_usd = :cost_usd
where id = :id and client_request_id = :client_request_id and state != 'ok'
"""
_ADD_OUTPUT = """
insert into outputs (attempt_id, sample_id, choice, text, finish_reason, refusal, tool_calls, logprobs, flags,
  prompt_tokens, completion_tokens, cost_usd, created_at)
values (:attempt_id, :sample_id, :choice, :text, :finish_reason, :refusal, :tool_calls, :logprobs, :flags,
  :prompt_tokens, :completion_tokens, :cost_usd, :created_at)
"""
# An answer is taken whoever holds the lease by now; any other end is only its holder's to tell.
_SETTLE = """
update samples set state = :state, failure = :failure, reason = :reason, owner = null, lease_until = null,
  output_id = :output_id
where id = :sample_id and state != 'done' and (:state = 'done' or owner = :owner)
"""
# The trials of other runs that wanted this answer as well take it without paying.
_SHARE = """
update trials set reused = 1
where sample_id = :sample_id and reused = 0 and run_id != (select run_id from attempts where id = :attempt_id)
"""


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended, and what becomes of its samples.

    `settled` is the samples' new state, or None when they stay leased for another attempt; of an answer with fewer
    choices than samples the last ones stay so. `failure` is the kind of failure, `reason` one sentence on it. `flags`
    are added to those of every output.
    """

    claim: Claim
    sample_ids: Sequence[int]
    owner: str
    outcome: Outcome
    latency_ms: float | None
    cost_usd: float | None
    settled: Literal["done", "failed", "stopped", "todo"] | None
    failure: str | None = None
    reason: str | None = None
    flags: Sequence[str] = ()


#: A finish as it is written: rows by table, in JSON's types but for the bytes of the response.
Rows = dict[str, Any]


def rows_of(finish: Finish, *, now_s: float) -> Rows:
    """Return what a finish writes, so that it can also be kept beside a file that takes nothing for now."""
    answered = list(zip(finish.sample_ids, finish.outcome.outputs, strict=False))  # one choice a sample
    parts = shares([output for _, output in answered], finish.outcome, finish.cost_usd)
    settled = {"state": finish.settled, "failure": finish.failure, "reason": finish.reason, "owner": finish.owner}
    is_done = finish.settled == "done"
    return {
        "attempt": _attempt_row(finish),
        "outputs": [
            {"sample_id": sample_id, **_output_row(finish, output, part, now_s)}
            for (sample_id, output), part in zip(answered, parts, strict=True)
        ],
        "samples": [
            {"sample_id": sample_id, **settled}
            for sample_id in (finish.sample_ids[: len(answered)] if is_done else finish.sample_ids)
            if finish.settled is not None
        ],
    }


def write_finish(connection: sqlite3.Connection, rows: Rows) -> None:
    """Store what came back, with an answer its outputs and the samples' state in the same transaction.

    The rows are those of `rows_of`; an attempt that has its answer already is left alone.
    """
    attempt = rows["attempt"]
    if not connection.execute(_FINISH_ATTEMPT, attempt).rowcount:
        if not knows(connection, rows):
            msg = f"the file does not know attempt {attempt['client_request_id']}: it is not the one it was sent from"
            raise StoreError(msg)
        return
    connection.execute(_BOOK, attempt)
    outputs = {row["sample_id"]: _inserted(connection.execute(_ADD_OUTPUT, row)) for row in rows["outputs"]}
    for settled in rows["samples"]:
        sample_id = settled["sample_id"]
        is_taken = connection.execute(_SETTLE, {**settled, "output_id": outputs.get(sample_id)}).rowcount
        connection.execute(_FORGET_COUNTS, (sample_id,))
        if settled["state"] == "done" and is_taken:
            connection.execute(_SHARE, {"sample_id": sample_id, "attempt_id": attempt["id"]})


def knows(connection: sqlite3.Connection, rows: Rows) -> bool:
    """Whether a finish is of an attempt that was sent from this file."""
    mine = "select 1 from attempts where id = :id and client_request_id = :client_request_id"
    return connection.execute(mine, rows["attempt"]).fetchone() is not None


def _attempt_row(finish: Finish) -> Rows:
    outcome, failure, usage = finish.outcome, finish.outcome.failure, finish.outcome.usage
    return {
        "id": finish.claim.attempt_id,
        "client_request_id": finish.claim.client_request_id,
        "state": outcome.state,
        "latency_ms": finish.latency_ms,
        "http_status": outcome.http_status,
        "error_type": failure and failure.type,
        "error_code": failure and failure.code,
        "error_param": failure and failure.param,
        "error_message": failure and failure.message,
        "retry_after_s": outcome.retry_after_s,
        "openai_request_id": outcome.headers.get("x-request-id"),
        "headers": compact(dict(outcome.headers)) if outcome.headers else None,
        "sent_body": outcome.sent,
        "response": outcome.response,
        "redacted": int(outcome.redacted),
        "model": outcome.model,
        "system_fingerprint": outcome.system_fingerprint,
        "service_tier": outcome.service_tier,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
        "usage": None if usage.whole is None else json.dumps(usage.whole),
        "cost_usd": finish.cost_usd,
    }


def _output_row(finish: Finish, output: Output, part: Share, now_s: float) -> Rows:
    return {
        "attempt_id": finish.claim.attempt_id,
        "choice": output.choice,
        "text": output.text,
        "finish_reason": output.finish_reason,
        "refusal": output.refusal,
        "tool_calls": None if output.tool_calls is None else json.dumps(output.tool_calls),
        "logprobs": None if output.logprobs is None else json.dumps(output.logprobs),
        "flags": json.dumps([*output.flags, *finish.flags]),
        "prompt_tokens": part.prompt_tokens,
        "completion_tokens": part.completion_tokens,
        "cost_usd": part.cost_usd,
        "created_at": timestamp(now_s),
    }


# The rest of a run

_STOP = """
update samples set state = 'stopped', failure = ?, reason = ?, owner = null, lease_until = null
where id = ? and (state in ('todo', 'failed', 'stopped') or (state = 'leased' and owner = ?))
"""
_RENEW = "update samples set lease_until = ? where state = 'leased' and owner = ?"
_RENEW_SENT = """
update samples set lease_until = ? where state = 'leased' and owner = ? and exists (
  select 1 from attempt_samples join attempts on attempts.id = attempt_id
  where sample_id = samples.id and attempts.state = 'sent')
"""
_ABANDON_ALL = """
update attempts set state = 'unknown', error_type = 'cancelled', error_message = 'the run ended before an answer came'
where state = 'sent' and id in (
  select attempt_id from attempt_samples join samples on samples.id = sample_id
  where samples.state = 'leased' and samples.owner = ?)
"""
_RELEASE = "update samples set state = 'todo', owner = null, lease_until = null where state = 'leased' and owner = ?"
_START = """
update runs set status = 'running', reason = null, started_at = coalesce(started_at, ?), finished_at = null,
  counts = null, committed_usd = null
where id = ? and status != 'forgotten'
"""
_COMMITTED = """
update runs set committed_usd = :uncounted_usd + (
  select coalesce(sum(coalesce(cost_usd, reserved_usd, 0)), 0) from attempts where run_id = runs.id)
where id = :run_id
"""
_FINISH = "update runs set status = ?, reason = ?, finished_at = ? where id = ? and status != 'forgotten'"
_COMPLETE = """
update runs set status = 'done', reason = null, started_at = coalesce(started_at, :now), finished_at = :now
where id = :id
"""


#: What `lab.runs()` shows of a run, as JSON; a run that has ended keeps it in its row. Money is None where no price is
#: known; `sent` attempts have no known end yet.
COUNTS = """
select json_object('trials', trials, 'ok', ok, 'failed', failed, 'reused', reused, 'attempts', attempts,
  'prompt_tokens', iif(attempts, prompt_tokens, 0), 'completion_tokens', iif(attempts, completion_tokens, 0),
  'cost_usd', iif(attempts, cost_usd, 0.0))
from (
  select count(*) as trials, coalesce(sum(state = 'done'), 0) as ok, coalesce(sum(state = 'failed'), 0) as failed,
    coalesce(sum(reused), 0) as reused
  from trials join samples on samples.id = trials.sample_id where run_id = runs.id), (
  select count(*) as attempts, sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens,
    case when sum(cost_usd) > 0 or sum(cost_usd is null and state != 'sent') = 0
      then coalesce(sum(cost_usd), 0.0) end as cost_usd
  from attempts where run_id = runs.id)
"""
_KEEP_COUNTS = f"update runs set counts = ({COUNTS}) where id = ?"  # noqa: S608 - a query of our own
# What becomes of a sample changes the counts of every run that shares it.
_FORGET_COUNTS = """
update runs set counts = null
where counts is not null and id in (select run_id from trials where sample_id = ?)
"""


def stop_samples(
    connection: sqlite3.Connection, sample_ids: Iterable[int], *, failure: str, reason: str, owner: str
) -> None:
    """Mark samples that will not be asked, with the reason."""
    stopped = list(sample_ids)
    connection.executemany(_STOP, [(failure, reason, sample_id, owner) for sample_id in stopped])
    connection.executemany(_FORGET_COUNTS, [(sample_id,) for sample_id in stopped])


def renew_leases(connection: sqlite3.Connection, owner: str, *, now_s: float, only_sent: bool = False) -> None:
    """Hold on to every sample of this owner for another while, or only to those in flight, and give a sign of life."""
    connection.execute(_RENEW_SENT if only_sent else _RENEW, (now_s + LEASE_S, owner))
    signs.renew(connection, owner, until_s=now_s + LEASE_S)


def start_run(
    connection: sqlite3.Connection,
    run_id: int,
    *,
    owner: str,
    now_s: float,
    has_cap: bool = False,
    uncounted_usd: float = 0.0,
) -> None:
    """Note that a run is being executed, by whom, and under a cap what it has committed so far.

    `uncounted_usd` is what attempts may have cost of which the file holds no amount.

    Raises
    ------
    NotFoundError
        When the run was forgotten meanwhile.
    """
    if not connection.execute(_START, (timestamp(now_s), run_id)).rowcount:
        raise NotFoundError(_gone(run_id))
    signs.give(connection, run_id, owner, at=timestamp(now_s), until_s=now_s + LEASE_S, now_s=now_s)
    if has_cap:
        connection.execute(_COMMITTED, {"run_id": run_id, "uncounted_usd": uncounted_usd})


def finish_run(
    connection: sqlite3.Connection, run_id: int, *, status: str, reason: str | None, owner: str, now_s: float
) -> None:
    """Give back what is still leased and note how the run ended."""
    give_back(connection, run_id, owner)
    connection.execute(_FINISH, (status, reason, timestamp(now_s), run_id))
    connection.execute(_KEEP_COUNTS, (run_id,))


def give_back(connection: sqlite3.Connection, run_id: int, owner: str) -> None:
    """Give back what an owner still leases, and its sign of life."""
    connection.execute(_ABANDON_ALL, (owner,))
    connection.execute(_RELEASE, (owner,))
    signs.take_back(connection, run_id, owner)


def complete_run(connection: sqlite3.Connection, run_id: int, *, now_s: float) -> None:
    """Note that a run had nothing to ask: every answer was there."""
    connection.execute(_COMPLETE, {"now": timestamp(now_s), "id": run_id})
    connection.execute(_KEEP_COUNTS, (run_id,))


def _inserted(cursor: sqlite3.Cursor) -> int:
    if cursor.lastrowid is None:  # pragma: no cover - an insert that did not raise has one
        msg = "the insert gave no id"
        raise sqlite3.DatabaseError(msg)
    return cursor.lastrowid


def _gone(run_id: int) -> str:
    return f"run {run_id} was forgotten while it went on, here or by another kernel; run its plan again"
