"""What the store says: runs, trials and requests, as rows and DataFrames. Nothing here writes.

`COLUMNS` declares every column that a trial frame has besides the case's own and the varying parameters.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from promptlab import _text, diffs
from promptlab._json import canonical, compact, indented, texts, utf8
from promptlab.errors import NotFoundError, StoreError
from promptlab.requests import Request
from promptlab.retries import Refusal, refusal
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

T = TypeVar("T")

#: The columns of `run.frame()`, in order; the case's columns and the varying parameters stand where the dots are.
#: A column of the cases that has one of these names, or a parameter's, is called `case.NAME`; a swept template variable
#: or provider's parameter that has one of them, `param.NAME`.
COLUMNS: Mapping[str, str] = {
    "position": "place in the plan, from 0",
    "template": "name of the template",
    "version": "its version, numbered per name in this file",
    "...": "the columns of the cases, then every parameter and template variable that varies",
    "case": "place of the case in the cases given, from 0",
    "repeat": "which of the independent samples, from 0",
    "output": "what the model wrote; missing when there is no answer, or none with text",
    "finish_reason": "why the model stopped: stop, length, ...",
    "flags": "what to know before trusting the output, e.g. length, refusal, blank; joined by commas",
    "status": "ok, failed (asked, no answer), stopped (not asked, see error), running, todo (not asked yet)",
    "error": "why there is no answer",
    "prompt_tokens": "tokens of the prompt, as the server counted them",
    "cached_tokens": "those of them that the provider had cached",
    "completion_tokens": "tokens of the answer",
    "reasoning_tokens": "those of them that were reasoning",
    "total_tokens": "both together",
    "cost_usd": "what the answer cost when it was bought, in USD",
    "latency_ms": "time from sending to the whole answer, in milliseconds",
    "reused": "whether the answer was bought by another run or trial, so that this one cost nothing",
    "trial_id": "row ids in the file, for lab.request(request_id, attempt=attempt_id) and lab.sql",
    "sample_id": "",
    "output_id": "",
    "attempt_id": "the attempt that answered, or else the last one",
    "request_id": "",
}

_STATUS = {"done": "ok", "leased": "running"}
_COUNTED = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")
_DTYPES = (
    dict.fromkeys((*_COUNTED, "output_id", "attempt_id"), "Int64")
    | dict.fromkeys(("cost_usd", "latency_ms"), "float64")
    | {"reused": "bool"}
)


# Runs


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run's own row."""

    id: int
    uid: str
    name: str
    status: str
    reason: str | None
    plan_key: str
    plan: Mapping[str, Any]
    backend: Mapping[str, Any]
    base_url: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    note: str
    tags: tuple[str, ...]
    archived: bool


_RUN = f"select {', '.join(RunRow.__slots__)} from runs"  # noqa: S608 - our own column names


def run_row(store: Store, run_id: int) -> RunRow:
    """Return the row of a run by its id.

    Raises
    ------
    NotFoundError
        When the run was forgotten meanwhile.
    """
    rows = store.read(f"{_RUN} where id = ?", (run_id,))
    if not rows:
        msg = f"run {run_id} is gone from {store.path}: it was forgotten; lab.runs() lists the runs that are there"
        raise NotFoundError(msg)
    return _run_row(rows[0])


_NAMES = "select name from runs where status != 'forgotten' group by name order by max(id) desc"


def find_run(store: Store, name: str | int) -> RunRow:
    """Return the run of an id, a uid or a name (the newest of that name).

    Raises
    ------
    NotFoundError
        With the nearest name, or those of the newest runs.
    """
    if isinstance(name, Integral):  # also numpy's, as a frame hands them out
        rows = store.read(f"{_RUN} where id = ?", (int(name),))
    else:
        named = f"{_RUN} where (name = :name or uid = :name) and status != 'forgotten' order by id desc limit 1"
        rows = store.read(named, {"name": name})
    if rows:
        return _run_row(rows[0])
    names = [row[0] for row in store.read(_NAMES)]
    near = _text.nearest(name, names) if isinstance(name, str) else None
    others = ", ".join([repr(each) for each in names if each != near][:5])
    meant = f"did you mean {near!r}?" if near else ""
    newest = f"the newest are {others}" if others else "" if near else "it holds none yet"
    msg = f"no run {name!r} in {store.path}; {' '.join(filter(None, [meant, newest]))}"
    raise NotFoundError(msg)


def find_only(store: Store, name: str | int) -> RunRow:
    """Return the run of an id, or of a name that only one has: a shared name is no way to say which one is to go."""
    found = find_run(store, name)
    if found.status == "forgotten":
        msg = f"run {found.id} {found.name!r} is forgotten already; its row stays for the money of what others use"
        raise NotFoundError(msg)
    same = runs_named(store, name) if isinstance(name, str) else []
    if len(same) > 1:
        ids = ", ".join(map(str, same))
        msg = f"{len(same)} runs are called {name!r}; name the one to forget by its id: {ids} (lab.runs() lists them)"
        raise StoreError(msg)
    return found


def runs_named(store: Store, name: str) -> list[int]:
    """Return the ids of all runs of a name, the oldest first."""
    return [row[0] for row in store.read(f"{_RUN} where name = ? and status != 'forgotten' order by id", (name,))]


def run_of_plan(store: Store, plan_key: str, name: str) -> RunRow | None:
    """Return the newest run of a plan under a name, if there is one."""
    rows = store.read(f"{_RUN} where plan_key = ? and name = ? order by id desc limit 1", (plan_key, name))
    return _run_row(rows[0]) if rows else None


def _run_row(row: sqlite3.Row) -> RunRow:
    values = dict(row)
    parsed = {"plan": json.loads(values["plan"]), "backend": json.loads(values["backend"])}
    return RunRow(**{**values, **parsed, "tags": texts(values["tags"]), "archived": bool(values["archived"])})


_SIZES = """
select (select count(*) from runs where status != 'forgotten'), (select count(*) from samples where state = 'done')
"""


def sizes(store: Store) -> tuple[int, int]:
    """Return how many runs and how many answers the file holds."""
    runs, answers = store.read(_SIZES)[0]
    return runs, answers


# Trials

_FRAME = """
select trials.position, trials.template_id, trials.case_id, trials.params, trials.case_index, trials.repeat,
  outputs.text, outputs.finish_reason, outputs.flags, samples.state, samples.reason,
  outputs.prompt_tokens, attempts.cached_tokens, outputs.completion_tokens, attempts.reasoning_tokens,
  attempts.total_tokens, outputs.cost_usd, attempts.latency_ms, trials.reused, trials.id, samples.id, outputs.id,
  attempts.id, coalesce(attempts.request_id, samples.request_id)
from trials
join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = coalesce(outputs.attempt_id,
  (select max(attempt_id) from attempt_samples where attempt_samples.sample_id = samples.id))
where trials.run_id = ? order by trials.position
"""
_READ = (
    *("position", "template_id", "case_id", "params", "case", "repeat", "output", "finish_reason", "flags", "status"),
    *("error", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens", "cost_usd"),
    *("latency_ms", "reused", "trial_id", "sample_id", "output_id", "attempt_id", "request_id"),
)
_TEMPLATES = """
select id, name, version from templates where id in (select template_id from trials where run_id = ?)
"""
_CASES = "select id, inputs from cases where id in (select case_id from trials where run_id = ?)"


def trial_frame(store: Store, run: RunRow) -> pd.DataFrame:
    """Return one row a trial in plan order, with the columns that `COLUMNS` declares.

    It is put together column by column: of 100,000 trials, rows as objects would take most of the time and memory.
    """
    import pandas as pd  # noqa: PLC0415 - see _typed

    read = _trial_columns(store, run)
    if not read["position"]:
        return pd.DataFrame(columns=[name for name in COLUMNS if name != "..."])
    named = {row[0]: (row[1], row[2]) for row in store.read(_TEMPLATES, (run.id,))}
    read["template"], read["version"] = map(list, zip(*(named[key] for key in read["template_id"]), strict=True))
    middle = _case_columns(store, read["case_id"], run) | _varying_columns(read["params"], run)
    at = list(COLUMNS).index("...")
    left, right = list(COLUMNS)[:at], list(COLUMNS)[at + 1 :]
    columns = {name: read[name] for name in left} | middle | {name: read[name] for name in right}
    return pd.DataFrame({name: _typed(column, _DTYPES.get(name)) for name, column in columns.items()})


def _trial_columns(store: Store, run: RunRow) -> dict[str, list[Any]]:
    """Read the trials of a run as columns; equal texts are one object."""
    cells = {compact(cell): cell for cell in run.plan["cells"]}
    shared: dict[str, Callable[[Any], Any]] = {
        "params": cache(lambda text: cells[text] if text in cells else json.loads(text)),
        "flags": cache(lambda text: ", ".join(json.loads(text)) if text else ""),
        "status": cache(lambda state: _STATUS.get(state, state)),
        **dict.fromkeys(("finish_reason", "error"), cache(lambda text: text)),
    }
    read: dict[str, list[Any]] = {name: [] for name in _READ}
    for rows in store.batches(_FRAME, (run.id,)):
        for name, values in zip(_READ, zip(*rows, strict=True), strict=True):
            read[name] += map(shared[name], values) if name in shared else values
    return read


def _case_columns(store: Store, case_ids: Iterable[int], run: RunRow) -> dict[str, list[Any]]:
    parsed = {row[0]: _inputs(row[1]) for row in store.read(_CASES, (run.id,))}
    cases = [parsed[key] for key in case_ids]
    return {column: [case.get(name) for case in cases] for column, name in case_columns(run).items()}


def case_columns(run: RunRow) -> dict[str, str]:
    """Return the columns of a trial frame that hold the cases' values, each with its name in the case."""
    names = column_names(run.plan["columns"], "case", taken={*COLUMNS, *_swept_names(run), *_all_names(run)})
    return {column: name for name, column in names.items()}


def setting_columns(run: RunRow) -> list[str]:
    """Return the columns of a trial frame that hold its settings: template, version, and what varies."""
    return ["template", "version", *_swept_names(run)]


def axes(store: Store, run: RunRow) -> list[str]:
    """Return the columns of a trial frame by which its trials differ on purpose: `setting_columns` that vary."""
    named = [(row[1], row[2]) for row in store.read(_TEMPLATES, (run.id,))]
    names = {name for name, _ in named}
    varies = {"template": len(names) > 1, "version": len(named) > len(names)}
    return [column for column in setting_columns(run) if varies.get(column, True)]


def fixed(run: RunRow) -> dict[str, Any]:
    """Return the parameters and template variables that are the same in all trials, by the columns they would have."""
    cells, varied = run.plan["cells"], set(varying(run.plan["cells"]))
    names = [name for cell in cells[:1] for name in cell if name not in varied]
    columns = column_names(names, "param", taken=set(COLUMNS))
    return {column: _groupable(cells[0][name]) for name, column in columns.items()}


def _inputs(text: str) -> dict[str, Any]:
    return {name: _holdable(value) for name, value in json.loads(text).items()}


def _varying_columns(cells: Sequence[Mapping[str, Any]], run: RunRow) -> dict[str, list[Any]]:
    names = column_names(varying(run.plan["cells"]), "param", taken=set(COLUMNS))
    return {column: [_groupable(cell.get(name)) for cell in cells] for name, column in names.items()}


def column_names(names: Sequence[str], kind: str, *, taken: set[str]) -> dict[str, str]:
    """Return name -> column; a name that is taken, or that looks as if it had been, has its kind put before it."""
    found: dict[str, str] = {}
    for name in names:
        column = utf8(name)
        while column in taken or column in found.values() or (column != utf8(name) and column in names):
            column = f"{kind}.{column}"
        found[name] = column
    return found


def _swept_names(run: RunRow) -> list[str]:
    return list(column_names(varying(run.plan["cells"]), "param", taken=set(COLUMNS)).values())


def _all_names(run: RunRow) -> set[str]:
    return {name for cell in run.plan["cells"] for name in cell}


def varying(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names whose values differ between cells, in the order first met."""
    names = dict.fromkeys(name for cell in cells for name in cell)
    return [name for name in names if len({canonical(cell.get(name)) for cell in cells}) > 1]


def _groupable(value: Any) -> Any:
    """Return a value that can be grouped by: of lists and dicts, which cannot, the JSON text."""
    return compact(value) if isinstance(value, list | dict) else _holdable(value)


def _holdable(value: Any) -> Any:
    """Return a value that pandas can hold and write: texts are UTF-8, which has no place for half a surrogate pair."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, list):
        return [_holdable(item) for item in value]
    if isinstance(value, dict):
        return {utf8(name): _holdable(item) for name, item in value.items()}
    return value


def _typed(column: list[Any], dtype: str | None) -> Any:
    """Return a column as pandas holds it; what is not declared is told by its values."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    return column if dtype is None else pd.array(column, dtype=dtype)  # type: ignore[call-overload]  # stubs want a literal


_PENDING = """
select trials.position, trials.sample_id, samples.state, samples.failure
from trials join samples on samples.id = trials.sample_id where trials.run_id = ?
"""


def sample_states(store: Store, run_id: int) -> dict[int, tuple[int, str, str | None]]:
    """Return position -> (sample id, state, kind of failure) of a run's trials."""
    return {row[0]: (row[1], row[2], row[3]) for row in store.read(_PENDING, (run_id,))}


_COUNTS = """
select samples.state, count(*) from trials join samples on samples.id = trials.sample_id
where run_id = ? group by samples.state
"""
_ERRORS = """
select samples.reason, count(*) as number from trials join samples on samples.id = trials.sample_id
where run_id = ? and samples.reason is not null group by samples.reason order by number desc, samples.reason limit 5
"""


def counts(store: Store, run_id: int) -> dict[str, int]:
    """Return how many trials are ok, failed, stopped, running or todo; those that are none are left out."""
    found = {row[0]: row[1] for row in store.read(_COUNTS, (run_id,))}
    order = ("done", "failed", "stopped", "leased", "todo")
    return {_STATUS.get(state, state): found[state] for state in order if state in found}


def error_counts(store: Store, run_id: int) -> list[tuple[str, int]]:
    """Return the five most frequent reasons for having no answer, with their counts."""
    return [(row[0], row[1]) for row in store.read(_ERRORS, (run_id,))]


_FIRST_FAILURE = """
select samples.reason from trials join samples on samples.id = trials.sample_id
where run_id = ? and samples.state in ('failed', 'stopped') order by trials.position limit 1
"""


def first_failure(store: Store, run_id: int) -> str | None:
    """Return why the first trial without an answer has none, or None when no trial failed."""
    rows = store.read(_FIRST_FAILURE, (run_id,))
    return rows[0][0] if rows else None


# Answers that are there already

_CHUNK = 500  # keys in one query; SQLite takes 32,766 variables at most


def answered(store: Store, keys: Collection[str], generation: int) -> set[tuple[str, int]]:
    """Return the (sample key, repeat) pairs among these keys that have an answer."""
    found: set[tuple[str, int]] = set()
    for some in chunks(list(keys), _CHUNK):
        marks = ", ".join("?" * len(some))
        sql = f"select key, repeat from samples where state = 'done' and generation = ? and key in ({marks})"  # noqa: S608
        found.update((row[0], row[1]) for row in store.read(sql, (generation, *some)))
    return found


def identities(store: Store) -> list[str]:
    """Return the backend identities whose answers the file holds."""
    return [row[0] for row in store.read("select distinct backend from samples where state = 'done' order by backend")]


_SAME_TEXT = """
select requests.id, body from requests join samples on samples.request_id = requests.id
where endpoint = ? and text = ? and state = 'done' order by requests.id desc limit 200
"""
_SAME_MODEL = """
select requests.id, body from requests join samples on samples.request_id = requests.id
where endpoint = ? and state = 'done' order by model = ? desc, requests.id desc limit 300
"""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The stored, answered request that differs least from one asked for."""

    request_id: int
    fields: list[str]
    difference: str


def nearest(store: Store, request: Request) -> Nearest | None:
    """Return the answered request that differs in the fewest fields, or None when there is none at that endpoint."""
    asked = json.loads(request.body)
    rows = store.read(_SAME_TEXT, (request.endpoint, request.text))
    rows = rows or store.read(_SAME_MODEL, (request.endpoint, request.model))
    bodies = [(row[0], json.loads(row[1])) for row in rows]
    if not bodies:
        return None
    best = min(bodies, key=lambda found: diffs.distance(asked, found[1]))
    return Nearest(best[0], diffs.differing_fields(asked, best[1]), diffs.describe(asked, best[1]))


# What the file knows of a model


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What this file's own answers say of a model at one backend; None where there are none."""

    tokens_per_byte: float | None
    completion_tokens: float | None
    latency_ms: float | None


# Only the newest attempts are looked at: for a model that the file does not know all of a million would be (0.7 s).
_FACTS = """
select sum(a.prompt_tokens) * 1.0 / nullif(sum(length(cast(r.text as blob))), 0), avg(a.completion_tokens),
  avg(a.latency_ms)
from (
  select attempts.request_id, attempts.prompt_tokens, attempts.completion_tokens, attempts.latency_ms
  from attempts join requests on requests.id = attempts.request_id
  where attempts.id > (select max(id) from attempts) - 50000
    and requests.model = ? and attempts.state = 'ok' and attempts.prompt_tokens is not null and exists (
    select 1 from attempt_samples join samples on samples.id = sample_id
    where attempt_id = attempts.id and samples.backend = ?)
  order by attempts.id desc limit 500) as a
join requests as r on r.id = a.request_id
"""
_REFUSALS = """
select distinct requests.model, error_param, error_code, requests.body from attempts
join requests on requests.id = attempts.request_id
join attempt_samples on attempt_samples.attempt_id = attempts.id join samples on samples.id = attempt_samples.sample_id
where http_status = 400 and error_param is not null
  and error_code in ('unsupported_parameter', 'unsupported_value', 'unknown_parameter') and samples.backend = ?
"""


def model_facts(store: Store, model: str, identity: str) -> ModelFacts:
    """Return what the newest 500 answers of a model at one backend say, of the newest 50,000 attempts."""
    return ModelFacts(*store.read(_FACTS, (model, identity))[0])


def refusals(store: Store, identity: str) -> set[Refusal]:
    """Return the parameters, or values of them, that models of a backend were seen to refuse."""
    rows = store.read(_REFUSALS, (identity,))
    return {refusal(model, param, code, json.loads(body)) for model, param, code, body in rows}


_REFUSED = """
select count(*) from samples where state = 'failed' and failure = 'request' and generation = :generation
  and repeat < :repeats and key in (select value from json_each(:keys))
"""


def refused(store: Store, keys: Iterable[str], *, repeats: int, generation: int) -> int:
    """Return how many samples of requests with these keys the server refused as such."""
    some = {"keys": json.dumps(sorted(set(keys))), "repeats": repeats, "generation": generation}
    return int(store.read(_REFUSED, some)[0][0])


# One logged exchange

_LOGGED = "select id, endpoint, model, body, text from requests where id = ?"
_ATTEMPTS_OF = """
select attempts.*, runs.base_url from attempts join runs on runs.id = attempts.run_id
where request_id = ? order by attempts.id
"""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it is stored, with every attempt at it.

    Attributes
    ----------
    body
        The JSON text, exactly as it was sent.
    attempts
        One mapping an HTTP exchange, the oldest first, with the columns of the table `attempts`. Repeats of a request
        share it, so these are all of theirs.
    attempt
        The id of the one whose reply is shown; None for the newest that was answered, or else the newest of all.
    """

    id: int
    endpoint: str
    model: str
    body: str
    text: str
    attempts: tuple[Mapping[str, Any], ...]
    attempt: int | None = None

    @property
    def answer(self) -> Mapping[str, Any] | None:
        """The attempt that was asked for, or else the newest that was answered, or else the newest of all."""
        if self.attempt is not None:
            return next(attempt for attempt in self.attempts if attempt["id"] == self.attempt)
        good = [attempt for attempt in self.attempts if attempt["state"] == "ok"]
        return (good or self.attempts or (None,))[-1]

    @property
    def response(self) -> bytes | None:
        """The exact bytes of the reply to that attempt."""
        return self.answer["response"] if self.answer else None

    @property
    def headers(self) -> dict[str, str]:
        """The kept headers of that reply."""
        return json.loads((self.answer or {}).get("headers") or "{}")  # type: ignore[no-any-return]  # JSON of our own

    def as_curl(self) -> str:
        """Return a shell command that sends the same request; the key is read from `$OPENAI_API_KEY`."""
        base = (self.answer or {}).get("base_url")
        address = shlex.quote(f"{base}/{self.endpoint}") if base else f'"$OPENAI_BASE_URL/{self.endpoint}"'
        lines = [f"curl {address}", '-H "Authorization: Bearer $OPENAI_API_KEY"', "-H 'Content-Type: application/json'"]
        return " \\\n  ".join([*lines, f"--data-raw {shlex.quote(self.body)}"])

    def shown(self) -> str:
        """Return in words which of several attempts the response is of; an empty text where there is only one."""
        answer = self.answer or {}
        others = [attempt["id"] for attempt in self.attempts if attempt["id"] != answer["id"]]
        if not others:
            return ""
        newest = "" if self.attempt else ", the newest answer" if answer["state"] == "ok" else ", the newest"
        there = f"there {'is 1 other' if len(others) == 1 else f'are {len(others)} others'}"
        return f"response of attempt {answer['id']}{newest}; {there}, e.g. lab.request({self.id}, attempt={others[-1]})"

    def code(self) -> str:
        """Return Python that gives it again."""
        return f"lab.request({self.id}{'' if self.attempt is None else f', attempt={self.attempt}'})"

    def __repr__(self) -> str:
        head = f"<LoggedRequest {self.id}: {self.model}, {_text.count(len(self.attempts), 'attempt')}>"
        return "\n".join(filter(None, [head, self._table(), self.shown()]))

    def _repr_html_(self) -> str:
        body = _text.html_messages([("request", _pretty(self.body)), ("response", _pretty(self.response or b""))])
        rows = _text.html_table([attempt_facts(attempt) for attempt in self.attempts], head=ATTEMPT_HEAD)
        note = "; ".join(filter(None, [self.model, self.shown()]))
        return _text.html_card(f"Request {self.id} · POST /{self.endpoint}", body + rows, note=note)

    def _table(self) -> str:
        return _text.text_table([attempt_facts(attempt) for attempt in self.attempts], head=ATTEMPT_HEAD)


#: What is shown of an attempt.
ATTEMPT_HEAD = ("attempt", "state", "HTTP", "sent at", "latency", "tokens", "error")


def logged_request(store: Store, request_id: int, *, attempt: int | None = None) -> LoggedRequest:
    """Return one logged request, with the reply to one attempt at it.

    Raises
    ------
    NotFoundError
        When there is no request of that id, or no such attempt at it.
    """
    rows = store.read(_LOGGED, (int(request_id),))  # a frame hands out numpy's integers
    if not rows:
        msg = f"no request {request_id!r} in {store.path}; the column request_id of run.frame() has the ids"
        raise NotFoundError(msg)
    attempts = tuple(dict(row) for row in store.read(_ATTEMPTS_OF, (rows[0]["id"],)))
    there = [each["id"] for each in attempts]
    if attempt is not None and (not isinstance(attempt, Integral) or attempt not in there):
        newest = f"its newest are {', '.join(map(str, there[-5:]))}" if there else "it was never sent"
        msg = f"no attempt {attempt!r} at request {rows[0]['id']} in {store.path}; {newest}"
        raise NotFoundError(msg)
    return LoggedRequest(**dict(rows[0]), attempts=attempts, attempt=None if attempt is None else int(attempt))


_ATTEMPTS_OF_TRIAL = """
select attempt_id from attempt_samples where sample_id = (select sample_id from trials where id = ?) order by attempt_id
"""


def attempts_of(store: Store, trial_id: int) -> list[int]:
    """Return the attempts at a trial, the oldest first: a request is shared by its repeats, an attempt is not."""
    return [row[0] for row in store.read(_ATTEMPTS_OF_TRIAL, (trial_id,))]


def attempt_facts(attempt: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return an attempt as a row under `ATTEMPT_HEAD`."""
    latency = "" if attempt["latency_ms"] is None else _text.duration(attempt["latency_ms"] / 1000)
    counts = (attempt["prompt_tokens"], attempt["completion_tokens"])
    tokens = "" if counts == (None, None) else " + ".join("?" if count is None else str(count) for count in counts)
    error = _text.clipped(attempt["error_message"] or "", 80)
    status = attempt["http_status"] or ""
    return (attempt["id"], attempt["state"], status, attempt["sent_at"], latency, tokens, error)


def _pretty(content: str | bytes) -> str:
    text = indented(content if isinstance(content, str) else content.decode(errors="replace"))
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… (.body and .response have all of it)"


_SHOWN_CHARS = 5_000


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield a sequence in parts of a size; the last one may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
