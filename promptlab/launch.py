"""How a plan becomes a run: what is asked for is checked, what is to be asked is registered, and the workers start.

Everything that could be wrong is told before anything is written or sent. A plan that is run again under its name is
the same run: a finished one is handed back as it is, an unfinished one goes on.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from promptlab import _text, accounts, estimates, ledger, results, unwritten
from promptlab.backends._base import Backend
from promptlab.backends.offline import OfflineBackend
from promptlab.errors import OfflineError, PlanError, ReadOnlyError, RunError
from promptlab.jobs import Clock, Job, Progress
from promptlab.limits import Allowance, Budget, Pace
from promptlab.live import LiveRun
from promptlab.plans import Plan, Trial
from promptlab.prices import PriceList, most_completion
from promptlab.results import RunRow
from promptlab.retries import RetryPolicy
from promptlab.run import Run, began
from promptlab.runner import Runner
from promptlab.sharing import MOST_CHOICES
from promptlab.store import Store

OnError = Literal["continue", "stop"]

TRIALS_A_WRITE = 1_000  # so that Ctrl-C is heard while a large plan is being written

#: position -> (sample id, state, kind of failure)
States = Mapping[int, tuple[int, str, str | None]]


@dataclass(frozen=True, slots=True)
class Round:
    """What a course asks next.

    `positions` are those to be asked, as far as the file has no answer; `left_out` are those that are not asked any
    more, each with the reason.
    """

    positions: Sequence[int]
    left_out: Mapping[int, str]


class Course(Protocol):
    """In which order the trials of a plan are asked, where that, and which are left out, depends on the answers."""

    def rounds(self, run: Run) -> Iterator[Round]:
        """Yield the rounds from the first one on; each is asked before the next one is taken."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a plan is to be run; see `Lab.run`. Without a course everything is asked, in the plan's sending order."""

    name: str | None = None
    note: str = ""
    concurrency: int | None = None
    max_cost_usd: float | None = None
    share_prompt: bool = False
    retry_failed: bool = False
    on_error: OnError = "continue"
    course: Course | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the options themselves."""
        number, cap = self.concurrency, self.max_cost_usd
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            yield f"concurrency={number!r}: a whole number from 1 is needed, or None to let it adapt"
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 < cap < math.inf):
            yield f"max_cost_usd={cap!r}: an amount in USD above 0 is needed"
        if self.on_error not in get_args(OnError):
            yield f"on_error={self.on_error!r}: one of {', '.join(map(repr, get_args(OnError)))} is needed"


@dataclass
class Launcher:
    """Starts runs on one store and backend, and knows those that are live."""

    store: Store
    backend: Backend
    policy: RetryPolicy
    prices: PriceList
    allowance: Allowance
    clock: Clock
    ask: Callable[..., Run]  # runs templates with a grid over cases; what a run of this lab asks a model judge with
    live: dict[int, tuple[Run, LiveRun]] = field(default_factory=dict)
    last_run: Run | None = None
    _gate: threading.Lock = field(default_factory=threading.Lock)  # a panel's retry, or the end: one after the other
    _closings: int = 0

    def live_run(self, run_id: int) -> Run | None:
        """Return a run that goes on here."""
        run, live = self.live.get(run_id, (None, None))
        return run if live is not None and not live.is_ended else None

    def start(self, plan: Plan, options: Options) -> Run:
        """Return the run of a plan: one that is live or finished, else a new or resumed one that has just begun."""
        if problems := [*options.problems(), *self._cap_problems(plan, options), *self._limit_problems(plan)]:
            raise PlanError(problems)
        name = options.name or plan.default_name
        found = results.run_of_plan(self.store, plan.key, name)
        self.live = {key: (run, live) for key, (run, live) in self.live.items() if not live.is_ended}
        if found and found.id in self.live:  # the cell was run again meanwhile: it is the same run
            self.last_run = self.live[found.id][0]
            return self.last_run
        if not self.store.is_read_only:
            unwritten.bring_in(self.store)
        states = results.sample_states(self.store, found.id) if found else {}
        asks = self._asks(plan, found, states, options)
        if found and not asks:
            self._check_failures(found, options.on_error)
        if found and not asks and self._is_final(found):
            self.last_run = Run(self.store, found.id, is_as_it_was=True, ask=self.ask)
            return self.last_run
        self._make_ready(plan, asks=asks)
        run_id = self._registered(plan, found, name, options.note, is_whole=len(states) == len(plan))
        self.last_run = Run(self.store, run_id, ask=self.ask)
        return self._begun(self.last_run, plan, options)

    def abort(self) -> None:
        """Drop what is in flight in every live run; those attempts become unknown."""
        for _, live in self.live.values():
            live.abort()

    def settle(self) -> None:
        """Stop every live run, and wait until what is in flight is logged; no panel starts one of before again."""
        with self._gate:
            self._closings += 1
        while self.live:
            run, live = self.live.popitem()[1]
            live.settle()
            run.leave()

    def _start_again(self, plan: Plan, options: Options, closings: int) -> Run:
        """Start a plan for a panel, which may be clicked at any time, also after the user closed the lab."""
        with self._gate:
            if closings != self._closings:
                msg = "the lab was closed, and its panels send nothing; run the plan again: lab.run(plan)"
                raise PlanError(msg)
            return self.start(plan, options)

    # Checks

    def _cap_problems(self, plan: Plan, options: Options) -> Iterator[str]:
        """Yield why a cap on money could not be kept, one sentence each."""
        if options.max_cost_usd is None or self.prices.is_free:
            return
        reasons = (why for cell in plan.grid for why in self.prices.unbounded(str(cell["model"]), cell.params))
        for why in dict.fromkeys(reasons):
            yield f"max_cost_usd={options.max_cost_usd!r} cannot be kept: {why}"
        for template in plan.templates:
            if any(_has_parts(message) for message in template.messages):
                yield (
                    f"max_cost_usd={options.max_cost_usd!r} cannot be kept: template {template.name!r} holds images or"
                    " other parts whose tokens are not known beforehand; run it without a cap"
                )

    def _limit_problems(self, plan: Plan) -> Iterator[str]:
        """Yield which settings could never be sent under the limit on tokens."""
        limit = self.allowance.limits.tokens_per_minute
        if limit is None:
            return
        for most in dict.fromkeys(most_completion(cell.params) for cell in plan.grid):
            if most is None:
                yield f"tokens_per_minute={limit} cannot be kept without max_tokens; add max_tokens to the grid"
            elif most >= limit:
                yield f"max_tokens={most} alone is more than tokens_per_minute={limit} allows; lower it"

    def _check_failures(self, found: RunRow, on_error: OnError) -> None:
        """Raise again what `on_error="stop"` raised when the run was made: a cell run again must not pass."""
        failure = results.first_failure(self.store, found.id) if on_error == "stop" else None
        if failure:
            self.last_run = Run(self.store, found.id, ask=self.ask)
            msg = f"run {found.name!r} has a failed trial: {failure}; retry_failed=True asks again"
            raise RunError(msg)

    def _asks(self, plan: Plan, found: RunRow | None, states: States, options: Options) -> bool:
        """Whether something is left to ask for a plan, in a course as far as the answers in the file lead it."""
        if found is None:
            return self._lacks(plan)
        if len(states) < len(plan):  # it was cut off while it was being written
            return True
        return next(self._rounds(Run(self.store, found.id), plan, states, options), None) is not None

    def _is_final(self, found: RunRow) -> bool:
        """Whether a run without anything left to ask says so; another run or kernel may have asked for the rest."""
        return found.status == "done" or self.store.is_read_only

    def _make_ready(self, plan: Plan, *, asks: bool) -> None:
        """Raise when a plan cannot be answered from here; nothing has been written then."""
        if self.store.read_only_because:
            raise ReadOnlyError(self.store.read_only_because)
        if isinstance(self.backend, OfflineBackend):
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
            hint = f"the nearest is request {near.request_id}: {near.difference or elsewhere(plan)}"
        lacks = f"lacks {_text.count(len(missing), 'answer')} of {len(plan):,}"
        msg = f"offline: {self.store.path} {lacks}; first {plan[missing[0]]!r}: {hint}"
        raise OfflineError(msg, nearest=near.request_id if near else None, differs=near.fields if near else ())

    # What is written, and what is asked

    def _registered(self, plan: Plan, found: RunRow | None, name: str, note: str, *, is_whole: bool) -> int:
        """Write the plan's rows, as far as they are not there yet, and return the run's id."""
        if found is not None and is_whole:
            return found.id
        now_s, write = self.clock.wall_s(), self.store.write
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

    def _begun(self, run: Run, plan: Plan, options: Options) -> Run:
        runner = self._runner(run, options)
        states = results.sample_states(self.store, run.id)
        samples = {sample_id: state for sample_id, state, _ in states.values()}
        unanswered = _todo(plan.sending_order(), states, retry_failed=options.retry_failed)
        runner.progress.total = len(samples)
        runner.progress.answered_before = sum(state == "done" for state in samples.values())
        runner.progress.failed = len(samples) - runner.progress.answered_before - len(unanswered)
        rounds = self._rounds(run, plan, states, options, progress=runner.progress)
        first = next(rounds, None)
        if first is None:
            self.store.write(partial(ledger.complete_run, run_id=run.id, now_s=self.clock.wall_s())).result()
            return run
        again = partial(self._start_again, plan, replace(options, retry_failed=True), self._closings)
        self.live[run.id] = run, began(run, runner, runner.execute(run.id, first, rounds), again=again)
        return run

    def _rounds(
        self, run: Run, plan: Plan, states: States, options: Options, *, progress: Progress | None = None
    ) -> Iterator[Iterator[Job]]:
        """Yield the jobs of each round that has any; with a `progress`, write and count what a course leaves out."""
        gone: dict[int, str] = {}
        for each in options.course.rounds(run) if options.course else [_all(plan)]:
            gone.update(each.left_out)
            if progress is not None and each.left_out:
                progress.stopped += self._leave_out(each.left_out, gone, states)
            if todo := _todo(each.positions, states, retry_failed=options.retry_failed):
                yield _jobs(plan, states, todo, share_prompt=options.share_prompt)
                states = results.sample_states(self.store, run.id)

    def _leave_out(self, left_out: Mapping[int, str], gone: Mapping[int, str], states: States) -> int:
        """Write why trials are not asked any more; return how many samples that are without an answer."""
        needed = {sample_id for position, (sample_id, *_) in states.items() if position not in gone}
        reasons: dict[str, set[int]] = {}
        for position, reason in left_out.items():
            sample_id, state, failure = states[position]
            if sample_id not in needed and state != "done" and not _is_refused(state, failure):
                reasons.setdefault(reason, set()).add(sample_id)
        for reason, sample_ids in reasons.items():
            stop = partial(ledger.stop_samples, sample_ids=sorted(sample_ids), failure="course", reason=reason)
            self.store.write(partial(stop, owner="")).result()
        return sum(map(len, reasons.values()))

    def _runner(self, run: Run, options: Options) -> Runner:
        self._look_back()
        return Runner(
            self.backend,
            self.store,
            pace=self._pace(options.concurrency),
            policy=self.policy,
            prices=self.prices,
            allowance=self.allowance,
            budget=None if options.max_cost_usd is None else self._budget(run, options.max_cost_usd),
            stops_at_failure=options.on_error == "stop",
            clock=self.clock,
        )

    def _pace(self, given: int | None) -> Pace:
        """Return the number in flight: the user's, within the limits; else one that adapts where the backend allows."""
        limit = self.allowance.limits.concurrency
        if given is not None or limit is not None:
            numbers = [number for number in (given, limit) if number is not None]
            return Pace(min(numbers), is_fixed=True)
        first, top = self.backend.concurrency, self.backend.most_concurrency
        return Pace(first, top=top, is_fixed=first == top)

    def _budget(self, run: Run, cap_usd: float) -> Budget:
        """Return the cap, and what earlier parts of the run cost, or may have cost where that is not known."""
        counted, uncounted = run.usage.cost_usd or 0.0, 0.0
        for row in accounts.unknown_costs(self.store, run.id):
            if row.reserved_usd is None:
                bound = self.prices.price(row.model, prompt=row.most_prompt, completion=row.most_completion)
                uncounted += bound or 0.0
            else:
                counted += row.reserved_usd
        return Budget(cap_usd, spent_usd=counted + uncounted, uncounted_usd=uncounted)

    def _look_back(self) -> None:
        """Have the limits count what the file says was sent a short time ago, by this kernel or another."""
        if self.live or not self.allowance.looks_back_s:
            return
        wall_s, now_s = self.clock.wall_s(), self.clock.monotonic_s()
        since = ledger.timestamp(wall_s - self.allowance.looks_back_s)
        sent = accounts.sent_since(self.store, self.backend.identity, since)
        self.allowance.start_over((now_s - (wall_s - at_s), tokens) for at_s, tokens in sent)


def explained(store: Store, trial: Trial, plan: Plan) -> str:
    """Return why a trial is answered or not: the field that differs from the nearest stored request."""
    held = results.answered(store, [trial.request.sample_key], plan.generation)
    if (trial.request.sample_key, trial.repeat) in held:
        return f"{trial!r} is answered in {store.path} and costs nothing"
    others = sorted(repeat for _, repeat in held)
    if others:
        return f"{trial!r} is not answered: this request is, but only its repeats {', '.join(map(str, others))}"
    near = results.nearest(store, trial.request)
    if near is None:
        return f"{trial!r} is not answered: {store.path} holds no answer from POST /{trial.request.endpoint}"
    why = near.difference or elsewhere(plan)
    return f"{trial!r} is not answered; the nearest answered request is {near.request_id}: {why}"


def elsewhere(plan: Plan) -> str:
    """Say how a request can be the same and its answer not the one asked for."""
    return f"the same, but as another repeat or generation, or of another backend than {plan.identity}"


def _has_parts(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)


def _all(plan: Plan) -> Round:
    return Round(list(plan.sending_order()), {})


def _todo(positions: Iterable[int], states: States, *, retry_failed: bool) -> list[int]:
    """Return which of the positions are to be asked: those without an answer, one a sample."""
    found: dict[int, int] = {}
    for position in positions:
        sample_id, state, failure = states.get(position, (-1 - position, "todo", None))
        if state != "done" and (retry_failed or not _is_refused(state, failure)):
            found.setdefault(sample_id, position)
    return list(found.values())


def _is_refused(state: str, failure: str | None) -> bool:
    """Whether a sample's end was the request's own fault, so that asking again would end in the same way."""
    return state == "failed" and failure in {"request", "parameter"}


def _jobs(plan: Plan, states: States, todo: Iterable[int], *, share_prompt: bool) -> Iterator[Job]:
    """Yield a job for each position to be asked, or one for the repeats that may ride on one call."""
    for place, positions in groupby(todo, lambda position: position // plan.repeats):
        params = plan.grid[plan.place(place * plan.repeats)[1]].params
        most = MOST_CHOICES if share_prompt and params.get("seed") is None else 1
        for some in results.chunks(list(positions), most):
            yield Job(tuple(states[position][0] for position in some), plan.request(some[0]), params)


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
