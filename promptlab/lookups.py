"""What stands inside past runs: which hold a text, and their requests, a page at a time. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from promptlab import search
from promptlab.cases import brief
from promptlab.errors import NotFoundError
from promptlab.histories import cells_of, setting, varying
from promptlab.search import Hit
from promptlab.store import Store

MATCHES = 50_000  # (run, match) pairs that a search follows

# Full text, by run


@dataclass(frozen=True, slots=True)
class Matches:
    """What of a run holds a text: how many outputs and prompts, which, and the newest few as hits with snippets."""

    outputs: tuple[int, ...] = ()
    requests: tuple[int, ...] = ()
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """The runs that hold a text, by id, the newest first; `notes` say what may be missing."""

    runs: Mapping[int, Matches] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


HITS_SHOWN = 3  # of a run, with their snippets
_RUNS_OF_OUTPUTS = """
select outputs.id, trials.run_id from json_each(:ids)
cross join outputs on outputs.id = json_each.value
cross join samples on samples.id = outputs.sample_id
cross join trials on trials.sample_id = samples.id
where coalesce(trials.output_id, samples.output_id) = outputs.id limit :most
"""
_RUNS_OF_PROMPTS = """
select distinct samples.request_id, trials.run_id from json_each(:ids)
cross join samples on samples.request_id = json_each.value
cross join trials on trials.sample_id = samples.id limit :most
"""


def search_runs(
    store: Store, text: str, *, regex: bool = False, limit: int = search.LIMIT, most: int = MATCHES
) -> FoundRuns:
    """Return the runs whose prompts or outputs hold a text; see `promptlab.search` for what may be typed.

    An output that several runs share is found in each of them; of outputs, and of prompts, `most` such places count.
    """
    found = search.search(store, text, regex=regex, limit=limit)
    by_output = {hit.output_id: hit for hit in found if hit.matched == "output"}
    by_request = {hit.request_id: hit for hit in found if hit.matched == "prompt"}
    notes: list[str] = []
    outputs = _pairs(store, _RUNS_OF_OUTPUTS, by_output, notes, most)
    prompts = _pairs(store, _RUNS_OF_PROMPTS, by_request, notes, most)
    runs = {
        run_id: Matches(
            outputs=tuple(outputs.get(run_id, ())),
            requests=tuple(prompts.get(run_id, ())),
            hits=tuple(
                [
                    *(by_output[key] for key in outputs.get(run_id, ())[:HITS_SHOWN]),
                    *(by_request[key] for key in prompts.get(run_id, ())[:HITS_SHOWN]),
                ][:HITS_SHOWN]
            ),
        )
        for run_id in sorted({*outputs, *prompts}, reverse=True)
    }
    return FoundRuns(runs, (*found.notes, *notes))


def _pairs(store: Store, sql: str, ids: Collection[int | None], notes: list[str], most: int) -> dict[int, list[int]]:
    """Return run id -> the outputs, or requests, that it holds of these; note what was left out."""
    found: dict[int, list[int]] = {}
    rows = store.read(sql, {"ids": json.dumps(list(ids)), "most": most + 1})
    if len(rows) > most:
        notes.append(f"what is found stands in so many runs that only the first {most:,} places are counted")
    for key, run_id in rows[:most]:
        found.setdefault(run_id, []).append(key)
    return found


# The requests of a run


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One trial of a run, as a list of its requests shows it; `output` is cut to some hundred characters."""

    trial_id: int
    position: int
    template: str
    setting: str
    case: str
    repeat: int
    status: str
    error: str | None
    output: str | None
    finish_reason: str | None
    reused: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    output_id: int | None
    request_id: int


_OUTPUT_CHARS = 400
_CASE_CHARS = 200
_STATUS = {"done": "ok", "leased": "running"}
_ONLY = """
and (coalesce(trials.output_id, samples.output_id) in (select value from json_each(:outputs))
  or samples.request_id in (select value from json_each(:requests)))
"""
_REQUESTS = f"""
select trials.id, trials.position, templates.name || '@' || templates.version, trials.params, cases.inputs,
  trials.repeat, samples.state, samples.reason, substr(outputs.text, 1, {_OUTPUT_CHARS}), outputs.finish_reason,
  trials.reused, outputs.prompt_tokens, outputs.completion_tokens, outputs.cost_usd, attempts.latency_ms, outputs.id,
  coalesce(attempts.request_id, samples.request_id)
from trials
cross join samples on samples.id = trials.sample_id
join templates on templates.id = trials.template_id
join cases on cases.id = trials.case_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id
where trials.run_id = :run {{only}} order by trials.position limit :n offset :start
"""  # noqa: S608 - a query of our own
_NUMBER = """
select count(*) from trials cross join samples on samples.id = trials.sample_id where trials.run_id = :run {only}
"""


def requests(
    store: Store, run_id: int, *, start: int = 0, n: int = 100, matches: Matches | None = None
) -> list[RunRequest]:
    """Return some trials of a run in plan order, with `matches` only those that hold what was looked for."""
    names = varying(cells_of(store, run_id))
    words = cache(lambda params: ", ".join(setting(params, names)))
    rows = store.read(_REQUESTS.format(only=_ONLY if matches else ""), _asked(run_id, matches, start=start, n=n))
    return [_run_request(tuple(row), words) for row in rows]


def number_of_requests(store: Store, run_id: int, *, matches: Matches | None = None) -> int:
    """Return how many trials a run has, with `matches` only those that hold what was looked for."""
    sql = _NUMBER.format(only=_ONLY if matches else "")
    return int(store.read(sql, _asked(run_id, matches))[0][0])


def _asked(run_id: int, matches: Matches | None, *, start: int = 0, n: int = 0) -> dict[str, Any]:
    found = matches or Matches()
    ids = {"outputs": json.dumps(found.outputs), "requests": json.dumps(found.requests)}
    return {"run": run_id, "start": start, "n": n, **ids}


def _run_request(row: tuple[Any, ...], words: Callable[[str], str]) -> RunRequest:
    trial_id, position, template, params, inputs, repeat, state, reason, text, finish, reused, *rest = row
    return RunRequest(
        trial_id=trial_id,
        position=position,
        template=template,
        setting=words(params),
        case=brief(json.loads(inputs), _CASE_CHARS),
        repeat=repeat,
        status=_STATUS.get(state, state),
        error=reason,
        output=text,
        finish_reason=finish,
        reused=bool(reused),
        **dict(
            zip(
                ("prompt_tokens", "completion_tokens", "cost_usd", "latency_ms", "output_id", "request_id"),
                rest,
                strict=True,
            )
        ),
    )


_EXCHANGE = """
select coalesce(attempts.request_id, samples.request_id), attempts.id
from trials
cross join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = coalesce(outputs.attempt_id,
  (select max(attempt_id) from attempt_samples where attempt_samples.sample_id = samples.id))
where trials.id = ?
"""


def exchange_of(store: Store, trial_id: int) -> tuple[int, int | None]:
    """Return the request of a trial, and the attempt that answered it, else the last one; None before the first."""
    rows = store.read(_EXCHANGE, (trial_id,))
    if not rows:
        msg = f"no trial {trial_id!r} in {store.path}; the column trial_id of run.frame() has the ids"
        raise NotFoundError(msg)
    return rows[0][0], rows[0][1]
