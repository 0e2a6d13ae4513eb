"""The runner: takes samples to the backend and what comes back to the store, and knows when to stop.

Bounded workers share one stream of jobs on promptlab's event loop. Each attempt is committed as sent before it leaves,
and its outcome before it is told to anyone. A wait that concerns all (a rate limit) closes one gate for all. What
stops a run, a model, or a model with a parameter is remembered, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from promptlab import ledger
from promptlab.attempts import Failure, Outcome, from_reply, from_send_error, redact
from promptlab.backends._base import Backend, SendError
from promptlab.errors import PromptlabError, StoreError
from promptlab.prices import cost_usd
from promptlab.requests import Request
from promptlab.retries import History, Refusal, Retry, RetryPolicy, Stop, classify, decide, refusal
from promptlab.store import Store
from promptlab.writer import Operation

T = TypeVar("T")

POLL_S = 0.5  # how often a sample that another kernel is asking is looked at


@dataclass(frozen=True, slots=True)
class Job:
    """One sample to be answered; `params` are the request's parameters."""

    sample_id: int
    request: Request
    params: Mapping[str, Any]


@dataclass(slots=True)
class Progress:
    """Where a run stands; counts are of samples, money and tokens of attempts.

    `answered_before` counts what the file held or another run answered meanwhile.
    """

    total: int = 0
    answered_before: int = 0
    done: int = 0
    failed: int = 0
    stopped: int = 0
    in_flight: int = 0
    attempts: int = 0
    unknown: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    has_unknown_cost: bool = False
    last_error: str | None = None

    @property
    def finished(self) -> int:
        """Samples that will not be asked again."""
        return self.answered_before + self.done + self.failed + self.stopped


async def _wait(event: asyncio.Event, wait_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the runner needs it, so that a test can bring its own; `wait` ends early when its event is set."""

    wall_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = _wait
    random: Callable[[], float] = random.random


@dataclass(slots=True)
class _Stops:
    """What will not be asked any more, and why."""

    run: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    parameters: dict[Refusal, str] = field(default_factory=dict)

    def learn(self, stop: Stop, job: Job, outcome: Outcome) -> None:
        reason, failure = told(outcome), outcome.failure
        if stop.scope == "run":
            self.run = reason
        elif stop.scope == "model":
            self.models[job.request.model] = reason
        elif stop.scope == "parameter" and failure and failure.param and failure.param in job.params:
            self.parameters[refusal(job.request.model, failure.param, failure.code, job.params)] = reason

    def reason(self, job: Job) -> tuple[str, str] | None:
        """Return (kind of failure, reason) when a job is not to be asked."""
        if self.run:
            return "account", self.run
        if job.request.model in self.models:
            return "model", self.models[job.request.model]
        for refused, reason in self.parameters.items():
            if refused.concerns(job.request.model, job.params):
                return "parameter", reason
        return None

    @property
    def first(self) -> str | None:
        """The first reason for which something was not asked."""
        return next(iter([*filter(None, [self.run]), *self.models.values(), *self.parameters.values()]), None)


class Runner:
    """Answers jobs through one backend, into one store.

    Parameters
    ----------
    concurrency
        How many requests are in flight at most.
    policy
        How patient to be with one request.
    stops_at_failure
        Whether the first failed sample stops the run.
    """

    def __init__(
        self,
        backend: Backend,
        store: Store,
        *,
        concurrency: int,
        policy: RetryPolicy | None = None,
        stops_at_failure: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.backend = backend
        self.store = store
        self.concurrency = concurrency
        self.policy = policy or RetryPolicy()
        self.clock = clock or Clock()
        self.progress = Progress()
        self.stops = _Stops()
        self.stops_at_failure = stops_at_failure
        self.failure: str | None = None  # of the first failed sample
        self.owner = ledger.new_owner()
        self._base_url = backend.info().base_url
        self._stopping = asyncio.Event()
        self._never = asyncio.Event()
        self._gate_opens_s = 0.0  # on the monotonic clock: nothing is sent before
        self._answered_s = -math.inf  # when the last answer came
        self._is_cut = False  # some job was not taken to an end
        self._workers: list[asyncio.Task[None]] = []

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is sent any more."""
        return self._stopping.is_set()

    @property
    def waiting_s(self) -> float:
        """How long the gate that all workers share stays closed."""
        return max(0.0, self._gate_opens_s - self.clock.monotonic_s())

    def stop(self) -> None:
        """Start nothing new; what is in flight is awaited. Call it on the loop."""
        self._stopping.set()

    def abort(self) -> None:
        """Drop what is in flight; those attempts become unknown. Call it on the loop."""
        self._stopping.set()
        for worker in self._workers:
            worker.cancel()

    async def execute(self, run_id: int, jobs: Iterable[Job]) -> None:
        """Answer the jobs of a run, and keep its own row true to how that begins and ends."""
        await self._noted(partial(ledger.start_run, run_id=run_id, now_s=self.clock.wall_s()))
        status, reason = "failed", "the run was cut off"
        try:
            await self.arun(run_id, jobs)
            is_cut = self._is_cut or self.stops.run or self.progress.stopped
            status, reason = ("stopped", self.stops.first or self._why_stopped()) if is_cut else ("done", "")
        except Exception as exc:
            reason = self._redacted(f"{type(exc).__name__}: {exc}")
            raise
        finally:
            with contextlib.suppress(StoreError):  # a store that cannot be written has been reported already
                await self._finish(run_id, status, reason or None)

    async def _finish(self, run_id: int, status: str, reason: str | None) -> None:
        finish = partial(ledger.finish_run, run_id=run_id, status=status, reason=reason)
        await self._noted(partial(finish, owner=self.owner, now_s=self.clock.wall_s()))

    async def arun(self, run_id: int, jobs: Iterable[Job]) -> None:
        """Answer every job; the store tells what became of each."""
        stream = iter(jobs)
        heartbeat = asyncio.create_task(self._renew_leases())
        try:
            self._workers = [asyncio.create_task(self._work(run_id, stream)) for _ in range(self.concurrency)]
            ended = await asyncio.gather(*self._workers, return_exceptions=True)
        finally:
            heartbeat.cancel()
        if self.stops.run:
            await self._give_up([job.sample_id for job in stream], "account", self.stops.run)
        self._is_cut |= next(stream, None) is not None
        broken = [end for end in ended if isinstance(end, Exception)]
        if broken:
            raise broken[0]

    async def _work(self, run_id: int, stream: Iterator[Job]) -> None:
        try:
            while not (self.is_stopping or self.stops.run):
                job = next(stream, None)
                if job is None:
                    return
                is_ended = await self._answer(run_id, job)  # before the flag is read: others set it meanwhile
                self._is_cut |= not is_ended
        except BaseException:
            self._is_cut = True
            self.stop()  # an abort, a store that cannot be written, or a fault of ours: start nothing new
            raise

    async def _answer(self, run_id: int, job: Job) -> bool:
        """Take one job to an end: answered, failed or stopped; return False when it is left for later."""
        history = History()
        while not self.is_stopping:
            if stopped := self.stops.reason(job):
                await self._give_up([job.sample_id], *stopped)
                return True
            if self.waiting_s:
                await self.clock.wait(self._stopping, self.waiting_s)
                continue
            claim = await self._claim(run_id, job)
            if claim.state == "done":
                self.progress.answered_before += 1
                return True
            if claim.state == "leased":
                await self.clock.wait(self._stopping, POLL_S)
            elif self._is_barred(job):
                await self._noted(partial(ledger.withdraw_attempt, claim=claim))
            else:
                retry, history = await self._attempt(job, claim, history)
                if retry is None:
                    return True
                if not retry.for_all:
                    await self.clock.wait(self._stopping, retry.wait_s)
        return False

    def _is_barred(self, job: Job) -> bool:
        """Whether a job may not be sent after all: what others met while its claim was being written."""
        return self.is_stopping or self.waiting_s > 0 or self.stops.reason(job) is not None

    async def _attempt(self, job: Job, claim: ledger.Claim, history: History) -> tuple[Retry | None, History]:
        """Send once and store what came back; return how to go on (None: the sample is settled)."""
        started_s = self.clock.monotonic_s()
        outcome = await self._exchanged(job, claim)
        latency_ms = (self.clock.monotonic_s() - started_s) * 1000
        if outcome.state == "ok":
            self._answered_s = self.clock.monotonic_s()
            await self._store(job, claim, outcome, latency_ms, settled="done")
            return None, history
        history = history.after(classify(outcome), now_s=self.clock.monotonic_s())
        decision = self._decided(outcome, history)
        if isinstance(decision, Retry):
            self._shut_gate(decision)  # at once: while the outcome is being written others would go on sending
            settled: Literal["todo"] | None = "todo" if self.is_stopping else None
            await self._store(job, claim, outcome, latency_ms, settled=settled)
            return decision, history
        self.stops.learn(decision, job, outcome)
        if self.stops_at_failure:
            self.failure = self.failure or told(outcome)
            self.stop()
        await self._store(job, claim, outcome, latency_ms, settled="failed")
        return None, history

    def _decided(self, outcome: Outcome, history: History) -> Retry | Stop:
        now_s, answered_s = self.clock.monotonic_s(), self._answered_s
        return decide(outcome, history, self.policy, now_s=now_s, answered_s=answered_s, random=self.clock.random)

    async def _exchanged(self, job: Job, claim: ledger.Claim) -> Outcome:
        """Send once; whatever happens has an outcome, also when the run is aborted meanwhile."""
        self.progress.in_flight += 1
        request, sent_as = job.request, claim.client_request_id
        try:
            reply = await self.backend.send(request, client_request_id=sent_as, timeout_s=self.policy.deadline_s)
            return from_reply(reply, model=request.model, secrets=self.backend.secrets)
        except SendError as exc:
            return from_send_error(exc, secrets=self.backend.secrets)
        except asyncio.CancelledError:
            told_cut = "the run was aborted before an answer came; it may have been billed"
            cut = SendError("cancelled", told_cut, maybe_paid=True)
            await self._store(job, claim, from_send_error(cut), None, settled="todo")
            raise
        except PromptlabError as exc:  # the backend itself is not to be had: nothing was sent
            unsent = SendError("backend", str(exc), maybe_paid=False)
            await self._store(job, claim, from_send_error(unsent, secrets=self.backend.secrets), None, settled="todo")
            raise
        finally:
            self.progress.in_flight -= 1

    async def _claim(self, run_id: int, job: Job) -> ledger.Claim:
        claim = partial(ledger.begin_attempt, run_id=run_id, sample_id=job.sample_id, request_key=job.request.key)
        claim = partial(claim, owner=self.owner, is_free=self.backend.is_free)
        return await self._noted(partial(claim, now_s=self.clock.wall_s()))

    async def _store(
        self,
        job: Job,
        claim: ledger.Claim,
        outcome: Outcome,
        latency_ms: float | None,
        *,
        settled: Literal["done", "failed", "todo"] | None,
    ) -> None:
        finish = ledger.Finish(
            attempt_id=claim.attempt_id,
            sample_id=job.sample_id,
            owner=self.owner,
            outcome=outcome,
            latency_ms=latency_ms,
            cost_usd=self._cost_usd(job, outcome),
            settled=settled,
            failure=None if outcome.state == "ok" else classify(outcome),
            reason=None if outcome.state == "ok" else told(outcome),
        )
        await self._noted(partial(ledger.finish_attempt, finish=finish, now_s=self.clock.wall_s()))
        self._count(finish)

    def _cost_usd(self, job: Job, outcome: Outcome) -> float | None:
        """Return what the attempt cost: nothing when it was refused, None when that cannot be known."""
        if self.backend.is_free or _is_refusal(outcome):
            return 0.0
        return cost_usd(job.request.model, outcome.usage, base_url=self._base_url)

    def _count(self, finish: ledger.Finish) -> None:
        progress, outcome = self.progress, finish.outcome
        progress.attempts += 1
        progress.unknown += outcome.state == "unknown"
        progress.done += finish.settled == "done"
        progress.failed += finish.settled == "failed"
        progress.prompt_tokens += outcome.usage.prompt_tokens or 0
        progress.completion_tokens += outcome.usage.completion_tokens or 0
        progress.cost_usd += finish.cost_usd or 0.0
        progress.has_unknown_cost |= finish.cost_usd is None
        progress.last_error = finish.reason or progress.last_error

    async def _give_up(self, sample_ids: list[int], failure: str, reason: str) -> None:
        stop = partial(ledger.stop_samples, sample_ids=sample_ids, failure=failure, reason=reason, owner=self.owner)
        await self._noted(stop)
        self.progress.stopped += len(sample_ids)

    def _shut_gate(self, retry: Retry) -> None:
        if retry.for_all:
            self._gate_opens_s = max(self._gate_opens_s, self.clock.monotonic_s() + retry.wait_s)

    async def _renew_leases(self) -> None:
        while True:
            await self.clock.wait(self._never, ledger.RENEW_EVERY_S)
            with contextlib.suppress(StoreError):  # a missed renewal costs nothing; the lease lasts four of them
                await self._noted(partial(ledger.renew_leases, owner=self.owner, now_s=self.clock.wall_s()))

    async def _noted(self, operation: Operation[T]) -> T:
        """Have the store write, and wait for its commit; an abort does not keep it from being written."""
        return await asyncio.shield(asyncio.wrap_future(self.store.write(operation)))

    def _redacted(self, text: str) -> str:
        clean, _ = redact(text.encode(errors="replace"), self.backend.secrets, key_like=True)
        return clean.decode(errors="replace")

    def _why_stopped(self) -> str:
        return f"stopped at its first failed trial: {self.failure}" if self.failure else "stopped by its user"


def _is_refusal(outcome: Outcome) -> bool:
    """Whether an attempt surely cost nothing: it never arrived, or the server answered with an error and no usage.

    A reply with status 200 that cannot be read was paid for, nobody knows how much.
    """
    is_success = outcome.http_status is not None and 200 <= outcome.http_status < 300  # noqa: PLR2004 - 2xx
    return outcome.state == "error" and outcome.usage.whole is None and not is_success


def told(outcome: Outcome) -> str:
    """Return one sentence on why an attempt has no answer."""
    failure = outcome.failure or Failure("unknown", "")
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    kind = "" if failure.type == status else failure.type
    code = f" ({failure.code})" if failure.code and failure.code != failure.type else ""
    hint = "; check the base URL: it should end as the server's documents say, often in /v1" if kind == "" else ""
    wait = f" (it asks to wait {outcome.retry_after_s:g} s)" if outcome.retry_after_s else ""
    return (
        f"{' '.join(filter(None, [status, kind]))}{code}: {failure.message}{hint if status == 'HTTP 404' else ''}{wait}"
    )
