"""The lab: a backend and a store together, where everything starts."""

from __future__ import annotations

import atexit
import os
import platform
import subprocess
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from promptlab import (
    _loop,
    _text,
    checks,
    estimates,
    forgetting,
    ledger,
    merging,
    plans,
    results,
    search,
)
from promptlab.backends._base import Backend, Secret
from promptlab.backends.http import HttpBackend
from promptlab.backends.local import LocalModel
from promptlab.backends.offline import OfflineBackend
from promptlab.cases import Case, Cases
from promptlab.checks import CheckReport
from promptlab.errors import BackendError, OfflineError, PlanError, ReadOnlyError, RunError, StoreError
from promptlab.forgetting import Forgotten
from promptlab.grids import ParameterGrid
from promptlab.merging import Merged
from promptlab.plans import Plan, Trial
from promptlab.results import LoggedRequest, RunRow
from promptlab.retries import RetryPolicy
from promptlab.run import LiveRun, OnError, Run, began
from promptlab.runner import Job, Runner
from promptlab.search import SearchResults, Since, Status
from promptlab.store import Store, Vacuumed
from promptlab.templates import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd
    from openai import AsyncOpenAI

_OPEN: weakref.WeakSet[Lab] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what was left open, so that no connection is cut and no log is left beside a file."""
    for lab in list(_OPEN):
        with suppress(Exception):  # whoever ends has heard of what went wrong
            lab.abort()
            lab.close()


TRIALS_A_WRITE = 1_000  # so that Ctrl-C is heard while a large plan is being written


class Lab:
    """Where everything starts: what answers requests, and the file that keeps them.

    Parameters
    ----------
    path
        The SQLite file, made when it is not there. No other folder is searched for it.
    backend
        What answers, e.g. `LocalModel()`; else an OpenAI-compatible endpoint is used.
    base_url, api_key
        The endpoint, else `OPENAI_BASE_URL` and `OPENAI_API_KEY` from the environment or from `.env` in this folder.
    client
        An `AsyncOpenAI` of your own (Azure, a gateway), not used elsewhere.
    offline
        Answer from the file only. A request it does not hold is an error that names the nearest one.
    policy
        How patient to be with one request.

    Raises
    ------
    StoreError
        When the file cannot be opened.
    BackendError
        When the endpoint's address or the client cannot be used. A missing key is reported when something is to be
        sent.
    """

    def __init__(
        self,
        path: str | Path = "experiments.db",
        *,
        backend: Backend | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        client: AsyncOpenAI | None = None,
        offline: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        key, address = Secret(api_key), Secret(base_url)
        del api_key, base_url  # so that no traceback that prints variables can show them
        if backend is not None and (key or address or client is not None):
            msg = "backend= is given beside base_url=, api_key= or client=; give one of them"
            raise BackendError(msg)
        is_named = bool(backend is not None or address or client is not None)
        asked = _endpoint(address, key, client) if backend is None and (is_named or not offline) else backend
        self.store = Store(path, create=not offline)
        self.backend: Backend = _stand_in(self.store, asked) if offline or asked is None else asked
        self.policy = policy or RetryPolicy()
        self.last_run: Run | None = None
        self._live: dict[int, tuple[Run, LiveRun]] = {}
        _OPEN.add(self)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.store.path

    @property
    def is_offline(self) -> bool:
        """Whether nothing is ever sent."""
        return isinstance(self.backend, OfflineBackend)

    # Plans

    def plan(
        self,
        templates: PromptTemplate | Iterable[PromptTemplate],
        grid: ParameterGrid | Mapping[str, Any],
        *,
        cases: Cases | pd.DataFrame | Iterable[Case] | None = None,
        repeats: int = 1,
        generation: int = 0,
    ) -> Plan:
        """Return the plan of templates x settings x cases x repeats, with what it will take. Nothing is sent.

        Parameters
        ----------
        cases
            Rows for the templates' variables; left out for templates without variables.
        repeats
            How many independent samples of each request.
        generation
            0 takes answers that the file holds; 1, 2, ... sample afresh, and are themselves kept and taken again.

        Raises
        ------
        PlanError
            Listing every problem: missing variables with the nearest column, equal cases, no model, ...
        """
        _check_types(templates, grid)
        plan = plans.validated(
            [templates] if isinstance(templates, PromptTemplate) else list(templates),
            grid if isinstance(grid, ParameterGrid) else ParameterGrid(grid),
            cases if isinstance(cases, Cases) else Cases([{}] if cases is None else cases),
            repeats=repeats,
            generation=generation,
            identity=self.backend.identity,
            models=(self.backend.name,) if isinstance(self.backend, LocalModel) else (),
        )
        return estimates.estimated(plan, self.store, self.backend, explainer=self._explain)

    # Runs

    def run(
        self,
        templates: Plan | PromptTemplate | Iterable[PromptTemplate],
        grid: ParameterGrid | Mapping[str, Any] | None = None,
        *,
        cases: Cases | pd.DataFrame | Iterable[Case] | None = None,
        repeats: int = 1,
        generation: int = 0,
        name: str | None = None,
        note: str = "",
        concurrency: int | None = None,
        retry_failed: bool = False,
        on_error: OnError = "continue",
        progress: bool = True,
    ) -> Run:
        """Execute a plan, or templates with a grid, and return the run when every trial has an end.

        What the file holds is not asked again. An identical plan under the same name is the same run: a finished one is
        returned as it is, an unfinished one goes on where it stopped.

        Parameters
        ----------
        name
            What the run is called; made from the templates' names when left out.
        concurrency
            How many requests are in flight at most: 32 for a server, the number of slots for the local model.
        retry_failed
            Ask again for what the server refused as such (400, 413, 422), and for what was not asked since the model
            refuses a parameter; other failures are asked again anyway.
        on_error
            `continue`: a failed trial is a row with its error. `stop`: the first one ends the run and raises
            `RunError`.
        """
        return self.start(
            templates,
            grid,
            cases=cases,
            repeats=repeats,
            generation=generation,
            name=name,
            note=note,
            concurrency=concurrency,
            retry_failed=retry_failed,
            on_error=on_error,
        ).wait(progress=progress)

    def start(
        self,
        templates: Plan | PromptTemplate | Iterable[PromptTemplate],
        grid: ParameterGrid | Mapping[str, Any] | None = None,
        *,
        cases: Cases | pd.DataFrame | Iterable[Case] | None = None,
        repeats: int = 1,
        generation: int = 0,
        name: str | None = None,
        note: str = "",
        concurrency: int | None = None,
        retry_failed: bool = False,
        on_error: OnError = "continue",
    ) -> Run:
        """Start a run in the background and return it at once: `run.wait()`, `run.stop()`, `await run`; see `run`.

        Closing the lab stops it.
        """
        plan = self._planned(templates, grid, cases=cases, repeats=repeats, generation=generation)
        return self._started(
            plan, name=name, note=note, concurrency=concurrency, retry_failed=retry_failed, on_error=on_error
        )

    def ask(self, template: PromptTemplate, case: Case | None = None, *, generation: int = 0, **params: Any) -> Answer:
        """Return one logged answer, for the first minute with a prompt; asking the same again costs nothing.

        With the local model, `model=` may be left out.
        """
        if "model" not in params and isinstance(self.backend, LocalModel):
            params = {"model": self.backend.name, **params}
        one_each = {name: [value] for name, value in params.items()}  # stop=["A", "B"] is one value here, not an axis
        plan = self.plan(template, ParameterGrid(one_each), cases=[case or {}], generation=generation)
        name = f"ask {template.name}"
        run = self._started(plan, name=name, note="", concurrency=1, retry_failed=True, on_error="continue")
        return Answer(run.wait(progress=False))

    def models(self) -> list[str]:
        """Return the names of the models on offer."""
        self.backend.start()
        return _loop.run(self.backend.models())

    # What the file holds

    def runs(self) -> pd.DataFrame:
        """Return every run in the file, one row each, the oldest first."""
        return results.runs_frame(self.store)

    def load(self, name: str | int) -> Run:
        """Return a past run by its id, or by its name (the newest of that name)."""
        return Run(self.store, results.find_run(self.store, name).id)

    def request(self, request_id: int) -> LoggedRequest:
        """Return one logged request with every attempt: exact request, exact response, headers, `.as_curl()`."""
        return results.logged_request(self.store, request_id)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Return the result of a query on the file, as a DataFrame.

        The query can neither write nor reach another file, and is ended when it takes too long. `trials_view` has one
        flat row a trial.
        """
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        columns, rows = self.store.query(query, parameters)
        return pd.DataFrame(rows, columns=columns)

    def search(
        self,
        text: str,
        *,
        model: str | None = None,
        template: str | None = None,
        since: Since | None = None,
        status: Status | None = None,
        regex: bool = False,
        limit: int = search.LIMIT,
    ) -> SearchResults:
        """Return the newest outputs and the newest prompts that hold a text, of all that was ever logged.

        All words must be there; `"two words"` stand side by side, and `refund*` begins so. Case and accents do not
        count. Any text is safe to type. See `promptlab.search`; `.frame()` has the results as a DataFrame.

        Parameters
        ----------
        model, template
            Only what was asked of this model, or with the template of this name.
        since
            Only what is newer: `"2026-11-24"` or a time (UTC where no zone is named), or a `timedelta` back from now.
        status
            Only trials that are `ok`, `failed`, `stopped`, `running` or `todo`.
        regex
            Take the text as a regular expression. It is tried on the newest texts first, for a second on outputs and
            for a second on prompts.
        limit
            At most so many outputs, and as many prompts. Where there may be more, `.notes` says so.
        """
        return search.search(
            self.store, text, model=model, template=template, since=since, status=status, regex=regex, limit=limit
        )

    # Care of the file

    def backup(self, path: str | Path) -> Path:
        """Write a copy of the file, also while runs go on: compact, searchable, fit for git and read-only media.

        It has every answer that was there when it began, and never overwrites another file.
        """
        return self.store.copy_to(path)

    def check(self) -> CheckReport:
        """Look at everything in the file: is it whole, and does every key and every answer follow from what was sent.

        Nothing is written. `.ok` says whether all is well, `.problems` has one sentence each.
        """
        return checks.check(self.store)

    def vacuum(self) -> Vacuumed:
        """Give the space of deleted rows back to the disk; it takes as much space again meanwhile.

        Raises
        ------
        StoreError
            While a run of this lab goes on, or when the file cannot be written.
        """
        self._refuse_live()
        return self.store.vacuum()

    def forget(self, run: Run | str | int, *, dry_run: bool = True) -> Forgotten:
        """Delete a run, and every answer that no other run uses; without `dry_run=False` only say what would go.

        Answers that other runs use stay, and with them, as `forgotten`, the row of the run that bought them. Templates
        stay. `lab.vacuum()` gives the space back to the disk.

        Parameters
        ----------
        run
            A run, its id, or its name (the newest of that name).

        Raises
        ------
        StoreError
            While the run is being answered, here or by another process.
        """
        run_id = results.find_run(self.store, run.id if isinstance(run, Run) else run).id
        if dry_run:
            with self.store.snapshot() as connection:
                return forgetting.forget(connection, run_id, now_s=time.time(), dry_run=True)
        self._refuse_live(run_id)
        forget = partial(forgetting.forget, run_id=run_id, now_s=time.time(), dry_run=False)
        return self.store.write(forget).result()

    def merge(self, path: str | Path) -> Merged:
        """Bring in everything from another file that is not in this one; merging it again changes nothing.

        The other file is only read. Where both answered one request, this file's answer stays, and their runs keep
        showing theirs.

        Raises
        ------
        StoreError
            When the other file is this one, was written by a newer promptlab, or is being answered right now.
        """
        return merging.merge(self.store, path)

    def _refuse_live(self, run_id: int | None = None) -> None:
        going = [run for key, (run, live) in self._live.items() if not live.is_ended and run_id in {None, key}]
        if going:
            msg = f"run {going[0].id} {going[0].name!r} is going on; wait for its end, or stop it with run.stop()"
            raise StoreError(msg)

    def abort(self) -> None:
        """Drop what is in flight in every live run; those attempts become unknown."""
        for _, live in self._live.values():
            live.abort()

    def close(self) -> None:
        """Stop what runs, give back connections and the local model's server, and close the file.

        A lab that is used again opens again; one that is never closed is closed when Python ends.
        """
        try:
            while self._live:
                self._live.popitem()[1][1].settle()
            _loop.run(self.backend.aclose())
        finally:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lab {', '.join(value for _, value in self._facts())}>"

    def _repr_html_(self) -> str:
        return _text.html_card(f"Lab · {self.path}", _text.html_table(self._facts()))

    def _facts(self) -> list[tuple[str, str]]:
        runs, answers = results.sizes(self.store)
        held = f"{_text.count(runs, 'run')} and {_text.count(answers, 'answer')}"
        return [("file", str(self.path)), ("holds", held), ("answers from", repr(self.backend).strip("<>"))]

    # How a plan becomes a run

    def _planned(self, templates: Any, grid: Any, *, cases: Any, repeats: int, generation: int) -> Plan:
        if not isinstance(templates, Plan):
            if grid is None:
                msg = "give a plan, or templates and a grid: lab.run([terse], ParameterGrid(model=...), cases=cases)"
                raise PlanError(msg)
            return self.plan(templates, grid, cases=cases, repeats=repeats, generation=generation)
        if grid is not None or cases is not None or (repeats, generation) != (1, 0):
            msg = "a plan has its grid, cases, repeats and generation already; give them to lab.plan(...)"
            raise PlanError(msg)
        if templates.identity != self.backend.identity:
            msg = (
                f"this plan was made for {templates.identity}, and this lab asks {self.backend.identity};"
                " make it anew with lab.plan(...)"
            )
            raise PlanError(msg)
        return templates

    def _started(
        self, plan: Plan, *, name: str | None, note: str, concurrency: int | None, retry_failed: bool, on_error: OnError
    ) -> Run:
        concurrency = self.backend.concurrency if concurrency is None else concurrency
        _check_options(concurrency, on_error)
        name = name or plan.default_name
        found = results.run_of_plan(self.store, plan.key, name)
        self._live = {key: (run, live) for key, (run, live) in self._live.items() if not live.is_ended}
        if found and found.id in self._live:  # the cell was run again meanwhile: it is the same run
            self.last_run = self._live[found.id][0]
            return self.last_run
        states = results.sample_states(self.store, found.id) if found else {}
        todo = _todo(plan, states, retry_failed=retry_failed)
        if found and not todo:
            self._check_failures(found, on_error)
        if found and not todo and self._is_final(found):
            self.last_run = Run(self.store, found.id)
            return self.last_run
        self._make_ready(plan, asks=bool(todo) if found else self._lacks(plan))
        run_id = self._registered(plan, found, name, note, is_whole=len(states) == len(plan))
        self.last_run = Run(self.store, run_id)
        stops = on_error == "stop"
        return self._begun(self.last_run, plan, concurrency=concurrency, retry_failed=retry_failed, stops=stops)

    def _check_failures(self, found: RunRow, on_error: OnError) -> None:
        """Raise again what `on_error="stop"` raised when the run was made: a cell run again must not pass."""
        failure = results.first_failure(self.store, found.id) if on_error == "stop" else None
        if failure:
            self.last_run = Run(self.store, found.id)
            msg = f"run {found.name!r} has a failed trial: {failure}; retry_failed=True asks again"
            raise RunError(msg)

    def _is_final(self, found: RunRow) -> bool:
        """Whether a run without anything left to ask says so; another run or kernel may have asked for the rest."""
        return found.status == "done" or self.store.is_read_only

    def _make_ready(self, plan: Plan, *, asks: bool) -> None:
        """Raise when a plan cannot be answered from here; nothing has been written then."""
        if self.store.read_only_because:
            raise ReadOnlyError(self.store.read_only_because)
        if self.is_offline:
            self._check_held(plan)
        elif asks:
            self.backend.start()

    def _lacks(self, plan: Plan) -> bool:
        """Whether some answer of a plan is not in the file."""
        return next(estimates.unanswered(plan, self.store), None) is not None

    def _check_held(self, plan: Plan) -> None:
        """Raise when the file lacks an answer, naming the stored request that is nearest to the first one missing."""
        missing = list(estimates.unanswered(plan, self.store))
        if not missing:
            return
        near = results.nearest(self.store, plan.request(missing[0]))
        hint = "it holds none like it"
        if near:
            hint = f"the nearest is request {near.request_id}: {near.difference or _elsewhere(plan)}"
        lacks = f"lacks {_text.count(len(missing), 'answer')} of {len(plan):,}"
        msg = f"offline: {self.path} {lacks}; first {plan[missing[0]]!r}: {hint}"
        raise OfflineError(msg, nearest=near.request_id if near else None, differs=near.fields if near else ())

    def _registered(self, plan: Plan, found: RunRow | None, name: str, note: str, *, is_whole: bool) -> int:
        """Write the plan's rows, as far as they are not there yet, and return the run's id."""
        if found is not None and is_whole:
            return found.id
        now_s, write = time.time(), self.store.write
        software = {**_software(), "note": note, "tags": "[]"}
        add = partial(ledger.add_run, plan=plan, name=name, info=self.backend.info(), environment=software)
        run_id = write(partial(add, now_s=now_s)).result()
        template_ids = write(partial(ledger.add_templates, templates=plan.templates, now_s=now_s)).result()
        case_ids = write(partial(ledger.add_cases, cases=plan.cases)).result()
        rows = ledger.PlanRows(run_id, template_ids, case_ids)
        for start in range(0, len(plan), TRIALS_A_WRITE):
            positions = range(start, min(start + TRIALS_A_WRITE, len(plan)))
            write(partial(ledger.add_trials, plan=plan, rows=rows, positions=positions)).result()
        return run_id

    def _begun(self, run: Run, plan: Plan, *, concurrency: int, retry_failed: bool, stops: bool) -> Run:
        states = results.sample_states(self.store, run.id)
        todo = _todo(plan, states, retry_failed=retry_failed)
        if not todo:
            self.store.write(partial(ledger.complete_run, run_id=run.id, now_s=time.time())).result()
            return run
        runner = Runner(self.backend, self.store, concurrency=concurrency, policy=self.policy, stops_at_failure=stops)
        samples = {sample_id: state for sample_id, state, _ in states.values()}
        runner.progress.total = len(samples)
        runner.progress.answered_before = sum(state == "done" for state in samples.values())
        runner.progress.failed = len(samples) - runner.progress.answered_before - len(todo)
        self._live[run.id] = run, began(run, runner, runner.execute(run.id, _jobs(plan, states, todo)))
        return run

    def _explain(self, trial: Trial, plan: Plan) -> str:
        held = results.answered(self.store, [trial.request.sample_key], plan.generation)
        if (trial.request.sample_key, trial.repeat) in held:
            return f"{trial!r} is answered in {self.path} and costs nothing"
        others = sorted(repeat for _, repeat in held)
        if others:
            return f"{trial!r} is not answered: this request is, but only its repeats {', '.join(map(str, others))}"
        near = results.nearest(self.store, trial.request)
        if near is None:
            return f"{trial!r} is not answered: {self.path} holds no answer from POST /{trial.request.endpoint}"
        why = near.difference or _elsewhere(plan)
        return f"{trial!r} is not answered; the nearest answered request is {near.request_id}: {why}"


class Answer:
    """One answer: its text, and the run that logged it.

    Attributes
    ----------
    text
        What the model wrote; empty when there is no text.
    run
        The run of this one trial; `run.frame()` has its tokens, cost and ids.

    Raises
    ------
    BackendError
        When no answer came; the message says why.
    """

    def __init__(self, run: Run) -> None:
        row = run.frame().iloc[0]
        if row["status"] != "ok":
            msg = f"no answer: {_text_or_none(row['error']) or run.reason or row['status']}"
            raise BackendError(msg)
        self.run = run
        self.text = _text_or_none(row["output"]) or ""
        self.finish_reason = _text_or_none(row["finish_reason"])
        self.flags: str = row["flags"]
        self.request_id = int(row["request_id"])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return _text.visible(self.text) + (f"\n[{self.flags}]" if self.flags else "")


def _text_or_none(cell: Any) -> str | None:
    """Return a cell's text; pandas holds a missing one as NaN."""
    return cell if isinstance(cell, str) else None


def _elsewhere(plan: Plan) -> str:
    """Say how a request can be the same and its answer not the one asked for."""
    return f"the same, but as another repeat or generation, or of another backend than {plan.identity}"


def _check_types(templates: object, grid: object) -> None:
    found = list(templates) if isinstance(templates, list | tuple) else [templates]
    problems = [
        f"{template!r} is no template; write PromptTemplate('name', user=...)"
        for template in found
        if isinstance(template, str) or template is None
    ]
    if grid is None:
        problems.append("there is no grid; give ParameterGrid(model=..., temperature=[0, 0.7]), or a mapping")
    if problems:
        raise PlanError(problems)


def _check_options(concurrency: int, on_error: str) -> None:
    problems = []
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        problems.append(f"concurrency={concurrency!r}: a whole number from 1 is needed")
    if on_error not in get_args(OnError):
        problems.append(f"on_error={on_error!r}: one of {', '.join(map(repr, get_args(OnError)))} is needed")
    if problems:
        raise PlanError(problems)


def _todo(plan: Plan, states: Mapping[int, tuple[int, str, str | None]], *, retry_failed: bool) -> list[int]:
    """Return the positions to be asked, in sending order: those without an answer, one a sample."""
    found: dict[int, int] = {}
    for position in plan.sending_order():
        sample_id, state, failure = states.get(position, (-1 - position, "todo", None))
        if state != "done" and (retry_failed or not _is_refused(state, failure)):
            found.setdefault(sample_id, position)
    return list(found.values())


def _is_refused(state: str, failure: str | None) -> bool:
    """Whether a sample's end was the request's own fault, so that asking again would end in the same way."""
    return state == "failed" and failure in {"request", "parameter"}


def _jobs(plan: Plan, states: Mapping[int, tuple[int, str, str | None]], todo: Iterable[int]) -> Iterator[Job]:
    for position in todo:
        cell = plan.grid[plan.place(position)[1]]
        yield Job(states[position][0], plan.request(position), cell.params)


def _endpoint(address: Secret, key: Secret, client: AsyncOpenAI | None) -> HttpBackend:
    """Return the backend for what was given, completed by the environment."""
    if client is not None:
        return HttpBackend(base_url=address, api_key=key, client=client)
    settings = {name: Secret(value) for name, value in environment().items()}
    return HttpBackend(
        base_url=address or settings.get("OPENAI_BASE_URL"), api_key=key or settings.get("OPENAI_API_KEY")
    )


def _stand_in(store: Store, backend: Backend | None) -> OfflineBackend:
    """Return the backend that stands for the one whose answers the file holds; the file is closed when none can."""
    if backend is not None:
        return OfflineBackend(backend.identity)
    held = results.identities(store)
    if len(held) != 1:
        store.close()
        choice = "; name one with base_url= or backend=: " + ", ".join(held) if held else ": nothing was asked yet"
        msg = f"offline: {store.path} holds answers of {len(held)} backends{choice}"
        raise OfflineError(msg)
    return OfflineBackend(held[0])


def environment() -> dict[str, str]:
    """Return the settings of the endpoint: the environment's, else those of `.env` in this folder."""
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    in_file = _dotenv()
    return {name: value for name in names if (value := os.environ.get(name, in_file.get(name)))}


def _dotenv() -> dict[str, str | None]:
    """Return what `.env` says. Errors are not chained: their frames hold the file's text."""
    from dotenv import dotenv_values  # noqa: PLC0415 - only where it is used

    try:
        return dotenv_values(".env")
    except (OSError, ValueError) as exc:
        kind = type(exc).__name__
    msg = f"{Path('.env').absolute()} cannot be read ({kind}); make it a text file in UTF-8, or remove it"
    raise BackendError(msg)


def _software() -> dict[str, Any]:
    """Return what is logged about the machine with every run: versions, host name, notebook and commit, no paths."""
    return {
        "promptlab_version": _version("promptlab-notebook"),
        "openai_version": _version("openai"),
        "python_version": platform.python_version(),
        "host": platform.node(),
        "notebook": Path(os.environ.get("JPY_SESSION_NAME", "")).name or None,
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _git_commit() -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=2,
            check=True,
        )
        return found.stdout.strip() or None
    return None
