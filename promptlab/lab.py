"""The lab: a backend and a store together, where everything starts."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from promptlab import (
    _loop,
    _text,
    checks,
    endpoints,
    estimates,
    forgetting,
    histories,
    merging,
    plans,
    results,
    search,
    unwritten,
    versions,
)
from promptlab.analyses import Runs
from promptlab.backends._base import Backend, Secret
from promptlab.backends.local import LocalModel
from promptlab.backends.offline import OfflineBackend
from promptlab.cases import Case, Cases
from promptlab.checks import CheckReport
from promptlab.errors import BackendError, PlanError, StoreError
from promptlab.forgetting import Forgotten
from promptlab.grids import ParameterGrid
from promptlab.histories import Show
from promptlab.jobs import Clock
from promptlab.launch import Launcher, OnError, Options, explained
from promptlab.limits import Allowance, RateLimits
from promptlab.merging import Merged
from promptlab.plans import Plan
from promptlab.prices import Price, PriceList
from promptlab.results import LoggedRequest
from promptlab.retries import RetryPolicy
from promptlab.run import Answer, Run
from promptlab.search import SearchResults, Since, Status
from promptlab.store import Store, Vacuumed
from promptlab.templates import PromptTemplate
from promptlab.versions import Versions

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd
    from openai import AsyncOpenAI

    from promptlab.panels.history import History
    from promptlab.panels.matrix import Matrix, MatrixOptions
    from promptlab.panels.versions import PromptDiff
    from promptlab.races import Race
    from promptlab.scorers import Scorer

_OPEN: weakref.WeakSet[Lab] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what was left open, so that no connection is cut and no log is left beside a file."""
    for lab in list(_OPEN):
        with suppress(Exception):  # whoever ends has heard of what went wrong
            lab.abort()
            lab.close()


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
    limits
        How fast the account may be asked, shared by all runs of this lab. Without them the server's own
        `x-ratelimit-*` headers steer.
    prices
        Your own prices by model, e.g. `{"my-model": Price(prompt=0.4, completion=1.6)}`; they go before the known ones.
    policy
        How patient to be with one request.
    clock
        The time, for tests; see `promptlab.testing.ManualClock`.

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
        limits: RateLimits | None = None,
        prices: Mapping[str, Price] | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        key, address = Secret(api_key), Secret(base_url)
        del api_key, base_url  # so that no traceback that prints variables can show them
        endpoints.check_options(backend=backend, limits=limits, prices=prices, policy=policy, clock=clock)
        if backend is not None and (key or address or client is not None):
            msg = "backend= is given beside base_url=, api_key= or client=; give one of them"
            raise BackendError(msg)
        is_named = bool(backend is not None or address or client is not None)
        asked = endpoints.endpoint(address, key, client) if backend is None and (is_named or not offline) else backend
        self.store = Store(path, create=not offline)
        self.backend: Backend = endpoints.stand_in(self.store, asked) if offline or asked is None else asked
        self._prices = PriceList(self.backend.info().base_url, dict(prices or {}), is_free=self.backend.is_free)
        self._launcher = Launcher(
            self.store,
            self.backend,
            policy=policy or RetryPolicy(),
            prices=self._prices,
            allowance=Allowance(limits or RateLimits()),
            clock=clock or Clock(),
            ask=self.run,
        )
        _OPEN.add(self)

    @property
    def last_run(self) -> Run | None:
        """The run that was started last, also when it was interrupted."""
        return self._launcher.last_run

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.store.path

    @property
    def limits(self) -> RateLimits:
        """How fast the account may be asked."""
        return self._launcher.allowance.limits

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
        plans.check_types(templates, grid)
        plan = plans.validated(
            [templates] if isinstance(templates, PromptTemplate) else list(templates),
            grid if isinstance(grid, ParameterGrid) else ParameterGrid(grid),
            cases if isinstance(cases, Cases) else Cases([{}] if cases is None else cases),
            repeats=repeats,
            generation=generation,
            identity=self.backend.identity,
            models=(self.backend.name,) if isinstance(self.backend, LocalModel) else (),
        )
        return estimates.estimated(
            plan,
            self.store,
            self.backend,
            prices=self._prices,
            limits=self.limits,
            explainer=partial(explained, self.store),
        )

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
        max_cost_usd: float | None = None,
        share_prompt: bool = False,
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
            How many requests are in flight at most. Left out, their number adapts: it begins at 32, grows while the
            server keeps up, and is halved when it says that it is asked too fast. The local model has its own.
        max_cost_usd
            What the run may cost at most, in USD, its earlier parts included. The worst case of each request is
            reserved before it leaves, so the cap is never passed; the run stops when the next one does not fit. Every
            model needs a price and every setting `max_tokens`.
        share_prompt
            Ask for the repeats of one request in one call (`n`), so that the prompt is paid once, where no seed is set.
            Servers that do not honour it are noticed, and asked one by one.
        retry_failed
            Ask again for what the server refused as such (400, 413, 422), and for what was not asked since the model
            refuses a parameter; other failures are asked again anyway.
        on_error
            `continue`: a failed trial is a row with its error. `stop`: the first one ends the run and raises
            `RunError`.
        progress
            Show how far it is: in Jupyter the run's monitor, elsewhere a bar; a run that sends nothing shows neither.
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
            max_cost_usd=max_cost_usd,
            share_prompt=share_prompt,
            retry_failed=retry_failed,
            on_error=on_error,
            progress=False,  # who waits shows it
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
        max_cost_usd: float | None = None,
        share_prompt: bool = False,
        retry_failed: bool = False,
        on_error: OnError = "continue",
        progress: bool = True,
    ) -> Run:
        """Start a run in the background and return it at once: `run.wait()`, `run.stop()`, `await run`; see `run`.

        In Jupyter its monitor is shown, unless `progress` is false. Closing the lab stops it.
        """
        plan = self._planned(templates, grid, cases=cases, repeats=repeats, generation=generation)
        options = Options(
            name=name,
            note=note,
            concurrency=concurrency,
            max_cost_usd=max_cost_usd,
            share_prompt=share_prompt,
            retry_failed=retry_failed,
            on_error=on_error,
        )
        run = self._launcher.start(plan, options)
        if progress:
            run.show()
        return run

    def race(
        self,
        templates: Plan | PromptTemplate | Iterable[PromptTemplate],
        grid: ParameterGrid | Mapping[str, Any] | None = None,
        cases: Cases | pd.DataFrame | Iterable[Case] | None = None,
        *,
        metric: str | Scorer | Callable[..., Any],
        repeats: int = 1,
        generation: int = 0,
        name: str | None = None,
        max_cost_usd: float | None = None,
        concurrency: int | None = None,
        confidence: float = 0.95,
        difference: float = 0.0,
        block: int = 8,
        seed: int = 0,
        lower_is_better: bool | None = None,
        progress: bool = True,
    ) -> Race:
        """Find the best template and setting with fewer requests: after each block of cases drop what is beaten.

        It is one run, which `run` and `load` know; see `run` for what is not told here. The same race again asks
        nothing that the file holds, and ends in the same way. Ctrl-C stops it cleanly, and the same call goes on.

        Parameters
        ----------
        metric
            What decides: a scorer or function, as `run.score` takes it, or a number of `frame()` such as `cost_usd`.
        confidence
            That the best is never dropped in the whole race; see `promptlab.racing.Rule` for what it finds and spends.
        difference
            What does not matter, in the metric's unit. What is not better by that much is dropped too.
        block
            How many cases are asked between two looks.
        seed
            Draws the order of the cases.
        lower_is_better
            Whether less of the metric is better; left out, it is of costs, latencies, tokens and lengths.

        Raises
        ------
        PlanError
            Listing every problem with the plan or the race, before anything is sent.
        """
        from promptlab.races import Course  # noqa: PLC0415 - with its statistics, as in run.judge

        plan = self._planned(templates, grid, cases=cases, repeats=repeats, generation=generation)
        course = Course(
            plan,
            metric,
            block=block,
            confidence=confidence,
            difference=difference,
            seed=seed,
            lower_is_better=lower_is_better,
        )
        options = Options(
            name=name or f"race: {plan.default_name}",
            note=course.note,
            concurrency=concurrency,
            max_cost_usd=max_cost_usd,
            course=course,
        )
        return course.race(self._launcher.start(plan, options).wait(progress=progress))

    def ask(self, template: PromptTemplate, case: Case | None = None, *, generation: int = 0, **params: Any) -> Answer:
        """Return one logged answer, for the first minute with a prompt; asking the same again costs nothing.

        With the local model, `model=` may be left out.
        """
        if "model" not in params and isinstance(self.backend, LocalModel):
            params = {"model": self.backend.name, **params}
        one_each = {name: [value] for name, value in params.items()}  # stop=["A", "B"] is one value here, not an axis
        plan = self.plan(template, ParameterGrid(one_each), cases=[case or {}], generation=generation)
        name = f"ask {template.name}"
        run = self._launcher.start(plan, Options(name=name, concurrency=1, retry_failed=True))
        return Answer(run.wait(progress=False))

    def models(self) -> list[str]:
        """Return the names of the models on offer."""
        self.backend.start()
        return _loop.run(self.backend.models())

    # What the file holds

    def runs(self, *, show: Show = "active") -> pd.DataFrame:
        """Return the runs in the file, one row each, the oldest first; see `promptlab.histories.COLUMNS`.

        Parameters
        ----------
        show
            `active` runs, those that were `archived`, or `all`.
        """
        return histories.runs_frame(self.store, show=show)

    def history(
        self,
        text: str = "",
        *,
        tag: str | None = None,
        model: str | None = None,
        template: str | None = None,
        show: Show = "active",
    ) -> History:
        """Return the history browser: past runs, the newest first, found by what was asked, answered and noted.

        In a notebook it is a panel; `?` shows its keys. A run opens into its requests, and a request into its exact
        exchange. Tags, notes and the archive mark are written to the file at once. Comparing, loading and running
        again are shown as code to copy: the panel runs nothing. `.frame()` has the runs as a DataFrame, `.selection`
        the ids of those marked. Without a kernel the newest runs stay readable as a table.

        Parameters
        ----------
        text
            Looked for in the runs' names, notes and tags, and in every prompt and output; see `search`.
        tag, model
            Only runs with this tag; only those that asked this model.
        template
            Only runs of a template, or of one version of it: `"support"` or `"support@7"`.
        show
            `active` runs, those that were `archived`, or `all`.

        Raises
        ------
        SearchError
            Listing every filter that cannot be understood.
        """
        from promptlab.panels.history import History, Wanted  # noqa: PLC0415 - loads pydantic

        return History(self.store, Wanted(text=text, tag=tag, model=model, template=template, show=show))

    def versions(self, name: str | None = None) -> Versions:
        """Return the versions of a template, the oldest first, or without a name those of all templates.

        Each says when it was first asked, by which runs, how many answers there are, and which version it was derived
        from. `.frame()` has them as a DataFrame, and `[0].template()` one of them to run again.

        Raises
        ------
        NotFoundError
            With the nearest name.
        """
        return versions.versions(self.store, name)

    def diff(self, before: str | PromptTemplate, after: str | PromptTemplate, *, by: str | None = None) -> PromptDiff:
        """Return how two versions of a prompt differ, and what that did to the answers.

        Messages are aligned by role and likeness, then lines, then words; a slot is one word, so that a renamed
        variable is seen. Below stand the parameters of their runs, and the effect on the answers that both gave for the
        same case, settings and repeat: changed, better, worse, same. `.result` has all of it as a value. The panel
        walks through versions with `[` and `]`; without a kernel the whole difference stays readable.

        Parameters
        ----------
        before, after
            `"support@6"`, or `"support"` for the newest version; or a template that was asked.
        by
            What says which answer is better: a scorer's name, or `"rating"`. Left out, a person's rating where both
            answers have one, else the newest scorer that valued both. More is better.

        Raises
        ------
        NotFoundError
            With the nearest name, or the versions there are.
        """
        from promptlab.panels.versions import PromptDiff  # noqa: PLC0415 - loads pydantic

        old, new = (versions.find(self.store, version) for version in (before, after))
        return PromptDiff(self.store, old, new, by=by)

    def load(self, name: str | int) -> Run:
        """Return a run by its id, or by its name (the newest of that name); one that goes on here as it is, live."""
        run_id = results.find_run(self.store, name).id
        return self._launcher.live_run(run_id) or Run(self.store, run_id, ask=self.run)

    def compare(self, runs: Iterable[Run | str | int], **layout: Unpack[MatrixOptions]) -> Matrix:
        """Return the comparison matrix of several runs, their cases aligned by value; see `Run.compare`."""
        from promptlab.panels.matrix import compare  # noqa: PLC0415 - panels are loaded where one is shown

        listed = [runs] if isinstance(runs, Run | str | int) else runs
        found = [results.find_run(self.store, run.id if isinstance(run, Run) else run) for run in listed]
        return compare(self.store, [run.id for run in found], **layout)

    def analysis(self, runs: Iterable[Run | str | int]) -> Runs:
        """Return several runs to be analysed together: summary, contrast, effects, best, variety, plot.

        The column `run` says which is which; the same case is known by its values.

        Parameters
        ----------
        runs
            Runs, or their names or ids.

        Raises
        ------
        NotFoundError
            With the nearest name.
        AnalysisError
            When there is no run, or one is given twice.
        """
        listed = [runs] if isinstance(runs, Run | str | int) else runs
        return Runs([run if isinstance(run, Run) else self.load(run) for run in listed])

    def request(self, request_id: int, *, attempt: int | None = None) -> LoggedRequest:
        """Return one logged request with every attempt: exact request, exact response, headers, `.as_curl()`.

        Parameters
        ----------
        attempt
            Whose response: the column `attempt_id` of a frame or of search results. Left out, that of the newest
            answer; repeats share a request, so say which when it matters.

        Raises
        ------
        NotFoundError
            With the attempts there are.
        """
        return results.logged_request(self.store, request_id, attempt=attempt)

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
            A run, its id, or its name where only one has it.

        Raises
        ------
        StoreError
            When several runs have the name, and while the run is being answered, here or by another process.
        """
        run_id = results.find_only(self.store, run.id if isinstance(run, Run) else run).id
        now_s = self._launcher.clock.wall_s()
        if dry_run:
            with self.store.snapshot() as connection:
                return forgetting.forget(connection, run_id, now_s=now_s, dry_run=True)
        self._refuse_live(run_id)
        forget = partial(forgetting.forget, run_id=run_id, now_s=now_s, dry_run=False)
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
        going = [run for key, (run, live) in self._launcher.live.items() if not live.is_ended and run_id in {None, key}]
        if going:
            msg = f"run {going[0].id} {going[0].name!r} is going on; wait for its end, or stop it with run.stop()"
            raise StoreError(msg)

    def abort(self) -> None:
        """Drop what is in flight in every live run; those attempts become unknown."""
        self._launcher.abort()

    def close(self) -> None:
        """Stop what runs, give back connections and the local model's server, and close the file.

        A lab that is used again opens again; one that is never closed is closed when Python ends.
        """
        try:
            self._launcher.settle()
            _loop.run(self.backend.aclose())
        finally:
            unwritten.let_go(self.store)
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
