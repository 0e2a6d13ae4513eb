"""The runner: takes samples to the backend and what comes back to the store, and knows when to stop.

Workers share one stream of jobs on promptlab's event loop; how many there are is the pace. Before a job leaves it waits
its turn at one gate: what the user's limits, the server's own, a rate limit that was met, the cap on money and a pause
allow.
Each attempt is committed as sent before it leaves, and its outcome before it is told to anyone. What stops a run, a
model, or a model with a parameter is remembered, and the rest goes on. An answer that the file does not take ends the
run and is kept elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from promptlab import ledger, unwritten
from promptlab.attempts import Outcome, from_reply, from_send_error, redact, told
from promptlab.backends._base import Backend, SendError
from promptlab.errors import PromptlabError, StoreError
from promptlab.jobs import Clock, Job, Progress, Stops
from promptlab.limits import Allowance, Budget, Pace, RateLimits, Taken
from promptlab.prices import PriceList, most_completion
from promptlab.retries import History, Kind, Outage, Retry, RetryPolicy, Stop, classify, decide
from promptlab.sharing import oddity
from promptlab.store import Store
from promptlab.writer import Operation

T = TypeVar("T")

POLL_S = 0.5  # how often a sample that another kernel is asking is looked at
_NO_MORE: Iterator[Iterable[Job]] = iter(())
SHORT_POLL_S = 0.05  # how often a run looks whether another run of its lab has left room


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a job holds from the gate until it has an end: its place in the limits, and money."""

    taken: Taken
    worst_usd: float | None
    at_s: float


class Runner:
    """Answers jobs through one backend, into one store.

    Parameters
    ----------
    pace
        How many requests are in flight.
    policy
        How patient to be with one request.
    prices
        What answers cost.
    allowance
        The limits that all runs of a lab share.
    budget
        The cap on what this run may spend.
    stops_at_failure
        Whether the first failed sample stops the run.
    """

    def __init__(
        self,
        backend: Backend,
        store: Store,
        *,
        pace: Pace,
        policy: RetryPolicy | None = None,
        prices: PriceList | None = None,
        allowance: Allowance | None = None,
        budget: Budget | None = None,
        stops_at_failure: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.backend = backend
        self.store = store
        self.pace = pace
        self.policy = policy or RetryPolicy()
        self.prices = prices or PriceList(backend.info().base_url, is_free=backend.is_free)
        self.allowance = allowance or Allowance(RateLimits())
        self.budget = budget
        self.clock = clock or Clock()
        self.progress = Progress()
        self.stops = Stops()
        self.stops_at_failure = stops_at_failure
        self.failure: str | None = None  # of the first failed sample
        self.owner = ledger.new_owner()
        self._stopping = asyncio.Event()
        self._never = asyncio.Event()
        self._turn = asyncio.Lock()  # whose turn it is at the gate
        self._settled = asyncio.Event()  # an answer came: money and tokens that it did not need are free again
        self._paused_s: float | None = None  # since when, on the monotonic clock
        self._rested_s = 0.0  # how long earlier pauses took
        self._gate_opens_s = 0.0  # on the monotonic clock: nothing is sent before
        self._limits_open_s = 0.0  # the same, for jobs that have not passed the gate yet
        self._answered_s = -math.inf  # when the last answer came
        self._outage = Outage()
        self._is_throttled = False  # nobody was answered since the last throttle
        self._has_ended = False  # whether the workers are gone
        self._is_cut = False  # some job was not taken to an end
        self._gave_up: str | None = None  # why the first sample was not asked
        self._passes = 0  # jobs past the gate, and not settled
        self._refuse_n: set[str] = set()  # models that do not honour n
        self._workers: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._unwritten: list[ledger.Rows] = []  # what came back, and the file did not take
        self._run_id = 0
        self._jobs: Iterator[Job] = iter(())

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is sent any more."""
        return self._stopping.is_set()

    @property
    def waiting_s(self) -> float:
        """How long nothing is sent, for a server that was asked too fast, or for limits that are used up."""
        return max(0.0, max(self._gate_opens_s, self._limits_open_s) - self.clock.monotonic_s())

    @property
    def waiting_for(self) -> str | None:
        """What keeps the gate closed, while it is."""
        if not self.waiting_s:
            return None
        if self._outage.is_on:
            return "the server, which answers nobody"
        return "the server, which was asked too fast" if self._is_shut else "its rate limits"

    def pause(self) -> None:
        """Send nothing new until `resume`; what is in flight is awaited and stored. Call it on the loop."""
        if self._paused_s is None and not self.is_stopping and not self._has_ended:
            self._paused_s, self.progress.is_paused = self.clock.monotonic_s(), True

    def resume(self) -> None:
        """Go on sending after `pause`. Call it on the loop."""
        if self._paused_s is not None:
            self._rested_s += self.clock.monotonic_s() - self._paused_s
            self._paused_s, self.progress.is_paused = None, False
            self._settled.set()

    def stop(self) -> None:
        """Start nothing new; what is in flight is awaited. Call it on the loop."""
        self._stopping.set()
        self.resume()
        self._settled.set()

    def abort(self) -> None:
        """Drop what is in flight; those attempts become unknown. Call it on the loop."""
        self.stop()
        for worker in self._workers:
            worker.cancel()

    async def execute(self, run_id: int, jobs: Iterable[Job], later: Iterator[Iterable[Job]] = _NO_MORE) -> None:
        """Answer the jobs of a run, and keep its own row true to how that begins and ends; see `arun`."""
        start = partial(ledger.start_run, run_id=run_id, owner=self.owner, now_s=self.clock.wall_s())
        start = partial(start, has_cap=self.budget is not None)
        await self._noted(partial(start, uncounted_usd=self.budget.uncounted_usd if self.budget else 0.0))
        status, reason = "failed", "the run was cut off"
        try:
            await self.arun(run_id, jobs, later)
            is_cut = self._is_cut or self.stops.run or self._gave_up is not None
            status, reason = ("stopped", self._why_stopped()) if is_cut else ("done", "")
        except Exception as exc:
            reason = self._redacted(f"{type(exc).__name__}: {exc}")
            raise
        finally:
            try:
                await self._finish(run_id, status, reason or None)
            except StoreError:  # a store that cannot be written has been reported already
                self.store.unreturned.append((run_id, self.owner))

    async def _finish(self, run_id: int, status: str, reason: str | None) -> None:
        finish = partial(ledger.finish_run, run_id=run_id, status=status, reason=reason)
        await self._noted(partial(finish, owner=self.owner, now_s=self.clock.wall_s()))

    async def arun(self, run_id: int, jobs: Iterable[Job], later: Iterator[Iterable[Job]] = _NO_MORE) -> None:
        """Answer every job; the store tells what became of each.

        `later` has further jobs, which may depend on what became of the first: each time that all have an end, it is
        asked for the next ones, in another thread, since it may read and reckon.
        """
        self._run_id = run_id
        heartbeat = asyncio.create_task(self._renew_leases())
        try:
            more: Iterable[Job] | None = jobs
            while more is not None:
                await self._work_off(more)
                more = None if self._is_cut or self.stops.run else await asyncio.to_thread(next, later, None)
        finally:
            heartbeat.cancel()
            self._has_ended = True
            self.resume()
        if self._unwritten:
            await self._keep_elsewhere()
        if self.stops.run and self._broken is None:
            await self._give_up([sample_id for job in self._jobs for sample_id in job.sample_ids], *self.stops.run)
        if isinstance(self._broken, Exception):
            raise self._broken

    # Workers

    async def _work_off(self, jobs: Iterable[Job]) -> None:
        """Take jobs to an end; those that may not begin any more are left."""
        self._jobs = iter(jobs)
        self._hire()
        while self._workers:
            await asyncio.wait(self._workers)
        self._is_cut |= not self.stops.run and next(self._jobs, None) is not None

    @property
    def _may_begin(self) -> bool:
        return not (self.is_stopping or self.stops.run)

    def _hire(self) -> None:
        """Have as many workers as the pace allows; each begins with a job of its own."""
        while self._may_begin and len(self._workers) < self.pace.in_flight:
            job = self._next()
            if job is None:
                return
            self._workers.add(asyncio.create_task(self._work(job)))

    def _next(self) -> Job | None:
        try:
            return next(self._jobs, None)
        except Exception as exc:  # noqa: BLE001 - whatever broke in making a request ends the run
            self._break(exc)
            return None

    async def _work(self, first: Job) -> None:
        job: Job | None = first
        try:
            while job is not None:
                is_ended = await self._answer(job)  # before the flag is read: others set it meanwhile
                self._is_cut |= not is_ended
                job = self._next() if self._may_begin and len(self._workers) <= self.pace.in_flight else None
        except BaseException as exc:
            self._break(exc)
            if not isinstance(exc, Exception):
                raise
        finally:
            self._workers.discard(asyncio.current_task())  # at once: others count themselves

    def _break(self, exc: BaseException) -> None:
        """End the run for an abort, a store that cannot be written, or a fault of ours: start nothing new."""
        self._is_cut = True
        self._broken = self._broken or exc
        self.stop()

    async def _answer(self, job: Job) -> bool:
        """Take one job to an end: answered, failed or stopped; return False when it is left for later."""
        parts = [job]
        while parts:
            part = parts.pop()
            if part.choices > 1 and part.request.model in self._refuse_n:
                parts += part.singly()
                continue
            left = await self._answer_part(part)
            if left is None:
                return False
            parts += left
        return True

    async def _answer_part(self, job: Job) -> list[Job] | None:
        """Ask until a job has an end; return what of it is to be asked singly, or None when it is left for later."""
        history = History()
        while not self.is_stopping:
            if (left := await self._beforehand(job)) is not None:
                return left
            leave = await self._admitted(job)
            if leave is None:
                continue
            claim = await self._claimed(job, leave)
            if claim.state != "sent":
                self._give_back(leave)
                if (left := await self._unclaimed(job, claim, leave)) is not None:
                    return left
            elif self._is_barred(job, claim):
                self._give_back(leave)
                await self._noted(partial(ledger.withdraw_attempt, claim=claim))
            else:
                retry, history, left = await self._attempt(job, claim, leave, history)
                if retry is None:
                    return left
                if not retry.for_all:
                    await self.clock.wait(self._stopping, retry.wait_s)
        return None

    async def _beforehand(self, job: Job) -> list[Job] | None:
        """Return what of a job is left when it is not to be sent as it is: nothing, or its samples singly."""
        if job.choices > 1 and self._is_too_much(job):
            return job.singly()
        if stopped := self.stops.reason(job) or self._too_large(job):
            await self._give_up(job.sample_ids, *stopped)
            return []
        return None

    async def _unclaimed(self, job: Job, claim: ledger.Claim, leave: _Pass) -> list[Job] | None:
        """Return what is left of a job whose samples are not to be had; None to try again after a while."""
        if job.choices > 1:
            return job.singly()
        if claim.state == "done":
            self.progress.answered_before += 1
            return []
        if claim.state == "dear" and self.budget and not self._passes:  # the cap is used up by other kernels as well
            self.stops.run = "cost", self.budget.told(leave.worst_usd or 0.0)
        await self.clock.wait(self._stopping, POLL_S)
        return None

    def _is_too_much(self, job: Job) -> bool:
        """Whether a call for several samples can never leave, so that only one after the other may fit."""
        is_dear = not self._passes and not self._affords(self._worst_usd(job))
        return is_dear or self._too_large(job) is not None

    def _too_large(self, job: Job) -> tuple[str, str] | None:
        most = job.most_prompt_tokens + job.most_completion_tokens
        if not self.allowance.never_fits(most):
            return None
        limit = self.allowance.limits.tokens_per_minute
        return "limit", f"this request can take {most:,} tokens, and tokens_per_minute={limit} would never let it pass"

    def _is_barred(self, job: Job, claim: ledger.Claim) -> bool:
        """Whether a job may not be sent after all: for what others met meanwhile, or since its lease was slept away."""
        has_overslept = self.clock.wall_s() >= claim.until_s
        is_held = self.is_stopping or self.progress.is_paused or self._is_shut
        return is_held or has_overslept or self.stops.reason(job) is not None

    # The gate

    async def _admitted(self, job: Job) -> _Pass | None:
        """Wait until a job may leave, one worker after the other; return None when it may not leave at all."""
        counts, worst_usd = self._counts(job), self._worst_usd(job)
        async with self._turn:
            while self._may_begin and self.stops.reason(job) is None:
                wait_s = self._wait_s(job, counts)
                self._settled.clear()
                if self.progress.is_paused:
                    await self._settled.wait()
                elif wait_s > 0:
                    await self.clock.wait(self._settled, wait_s)
                elif self._passes and (self._is_probing or not self._affords(worst_usd)):
                    await self._settled.wait()
                elif self.allowance.is_full:  # of other runs of this lab
                    await self.clock.wait(self._settled, SHORT_POLL_S)
                elif self._affords(worst_usd):
                    return self._let_pass(job, counts, worst_usd)
                elif job.choices > 1:
                    return None
                elif self.budget:
                    self.stops.run = "cost", self.budget.told(worst_usd or 0.0)
        return None

    def _wait_s(self, job: Job, counts: Mapping[str, float]) -> float:
        """Return how long a job has to wait for its turn; who comes after it waits behind it."""
        now_s = self.clock.monotonic_s()
        self._limits_open_s = now_s + self.allowance.wait_s(job.request.model, **counts, now_s=now_s)
        return self.waiting_s

    def _affords(self, worst_usd: float | None) -> bool:
        return self.budget is None or self.budget.fits(worst_usd or 0.0)

    @property
    def _is_probing(self) -> bool:
        """Whether one request at a time is sent, until an answer shows that the server answers again."""
        return self._outage.is_on or self._is_throttled

    @property
    def _is_shut(self) -> bool:
        """Whether a throttle keeps everybody back, also who has passed the gate."""
        return self._gate_opens_s > self.clock.monotonic_s()

    def _let_pass(self, job: Job, counts: Mapping[str, float], worst_usd: float | None) -> _Pass:
        now_s = self.clock.monotonic_s()
        taken = self.allowance.take(job.request.model, **counts, now_s=now_s)
        if self.budget:
            self.budget.reserve(worst_usd or 0.0)
        self._passes += 1
        self.allowance.in_flight += 1
        return _Pass(taken, worst_usd, now_s)

    def _counts(self, job: Job) -> dict[str, float]:
        return {
            "most_tokens": job.most_prompt_tokens + job.most_completion_tokens,
            "likely_tokens": job.likely_prompt_tokens + job.most_completion_tokens,
        }

    def _worst_usd(self, job: Job) -> float | None:
        """Return what a job can cost at most, or None when that is not known."""
        if self.budget is None and not self.prices.is_free and not most_completion(job.params):
            return None
        return self.prices.price(
            job.request.model, prompt=job.most_prompt_tokens, completion=job.most_completion_tokens
        )

    def _give_back(self, leave: _Pass) -> None:
        """Take a pass back from a job that does not leave."""
        leave.taken.give_back()
        self._settle_money(leave, 0.0)

    def _settle_money(self, leave: _Pass, cost_usd: float | None) -> None:
        self._passes -= 1
        self.allowance.in_flight -= 1
        if self.budget:
            self.budget.settle(leave.worst_usd or 0.0, cost_usd=cost_usd)
        self._settled.set()

    @property
    def _patience_s(self) -> float:
        """The monotonic clock without the time of pauses, so that they use up nobody's patience with the server."""
        now_s = self.clock.monotonic_s() if self._paused_s is None else self._paused_s
        return now_s - self._rested_s

    # One attempt

    async def _claimed(self, job: Job, leave: _Pass) -> ledger.Claim:
        claim = partial(ledger.begin_attempt, run_id=self._run_id, sample_ids=job.sample_ids, request=job.asked)
        claim = partial(claim, owner=self.owner, now_s=self.clock.wall_s(), reserved_usd=leave.worst_usd)
        claim = partial(claim, cap_usd=self.budget.cap_usd if self.budget else None)
        try:
            return await self._noted(claim, is_fleeting=True)
        except BaseException:
            self._give_back(leave)
            raise

    async def _attempt(
        self, job: Job, claim: ledger.Claim, leave: _Pass, history: History
    ) -> tuple[Retry | None, History, list[Job]]:
        """Send once and store what came back; return how to go on (None: settled) and what is to be asked singly."""
        sent_s = self.clock.monotonic_s()
        leave.taken.leave(now_s=sent_s)
        outcome = await self._exchanged(job, claim, leave)
        now_s = self.clock.monotonic_s()
        leave.taken.settle(answered_s=now_s, tokens=job.counted_tokens(outcome.usage))
        self.allowance.learn(job.request.model, outcome.headers, sent_s=leave.at_s, now_s=now_s)
        odd = oddity(outcome, job.choices, job.params) if job.choices > 1 and outcome.state == "ok" else None
        cost_usd = None if odd == "usage_of_first_choice" else self._cost_usd(job, outcome)
        finish = ledger.Finish(
            claim, job.sample_ids, self.owner, outcome, (now_s - sent_s) * 1000, cost_usd, settled=None
        )
        try:
            if outcome.state == "ok":
                return None, history, await self._answered(job, replace(finish, flags=[odd] if odd else []))
            return await self._unanswered(job, finish, history, sent_s=sent_s)
        finally:
            self._settle_money(leave, cost_usd)  # only now: the file, which other kernels look at, has it too

    async def _unanswered(
        self, job: Job, finish: ledger.Finish, history: History, *, sent_s: float
    ) -> tuple[Retry | None, History, list[Job]]:
        """Store an attempt without an answer, and decide how to go on."""
        outcome, now_s = finish.outcome, self._patience_s
        kind = classify(outcome)
        self._note_silence(job, kind)
        history = history.after(kind, now_s=now_s, is_outage=self._outage.is_on)
        finish = replace(finish, failure=kind, reason=told(outcome))
        decision = self._decided(outcome, history, now_s)
        if isinstance(decision, Retry):
            self._slow_down(kind, decision, sent_s=sent_s)
            await self._store(replace(finish, settled="todo" if self.is_stopping else None))
            return decision, history, []
        if job.choices > 1 and kind in {"request", "parameter"}:  # perhaps it is n that the server does not take
            await self._store(finish)
            return None, history, job.singly(was_refused=True)
        await self._failed(job, finish, decision)
        return None, history, []

    def _note_silence(self, job: Job, kind: Kind) -> None:
        """Note a failure that may be an outage, or a refusal, which shows that somebody is there."""
        if kind in {"transient", "unknown"}:
            prompt, workers = job.request.text, len(self._workers)
            self._outage.failed(job.sample_ids[0], prompt, workers=workers, now_s=self._patience_s)
        elif kind not in {"throttle", "bad_reply"}:
            self._end_outage(job)

    def _decided(self, outcome: Outcome, history: History, now_s: float) -> Retry | Stop:
        known = {"now_s": now_s, "answered_s": self._answered_s}
        return decide(outcome, history, self.policy, **known, outage=self._outage, random=self.clock.random)

    async def _answered(self, job: Job, finish: ledger.Finish) -> list[Job]:
        """Store an answer; return the samples that it leaves without one."""
        self._answered_s = self._patience_s
        self._end_outage(job)
        self.pace.answered(in_flight=len(self._workers))
        self._hire()
        if finish.flags or job.was_refused:
            self._refuse_n.add(job.request.model)
        await self._store(replace(finish, settled="done"))
        return job.singly(after=len(finish.outcome.outputs))

    async def _failed(self, job: Job, finish: ledger.Finish, stop: Stop) -> None:
        self.stops.learn(stop, job, finish.outcome)
        if self.stops_at_failure:
            self.failure = self.failure or finish.reason
            self.stop()
        await self._store(replace(finish, settled="failed"))

    def _end_outage(self, job: Job) -> None:
        self._outage.ended(job.request.text)
        self._is_throttled = False

    def _slow_down(self, kind: Kind, retry: Retry, *, sent_s: float) -> None:
        """Shut the gate at once where all have to wait: while the outcome is being written others would go on."""
        if retry.for_all:
            self._gate_opens_s = max(self._gate_opens_s, self.clock.monotonic_s() + retry.wait_s)
        if kind == "throttle":
            self._is_throttled = True
            self.pace.throttled(sent_s=sent_s, now_s=self.clock.monotonic_s())

    async def _exchanged(self, job: Job, claim: ledger.Claim, leave: _Pass) -> Outcome:
        """Send once; whatever happens has an outcome, also when the run is aborted meanwhile."""
        self.progress.in_flight += 1
        request, sent_as = job.asked, claim.client_request_id
        try:
            reply = await self.backend.send(request, client_request_id=sent_as, timeout_s=self.policy.deadline_s)
            return from_reply(reply, model=request.model, secrets=self.backend.secrets)
        except SendError as exc:
            return from_send_error(exc, secrets=self.backend.secrets)
        except asyncio.CancelledError:
            told_cut = "the run was aborted before an answer came; it may have been billed"
            await self._cut_off(job, claim, leave, SendError("cancelled", told_cut, maybe_paid=True))
            raise
        except PromptlabError as exc:  # the backend itself is not to be had: nothing was sent
            await self._cut_off(job, claim, leave, SendError("backend", str(exc), maybe_paid=False))
            raise
        finally:
            self.progress.in_flight -= 1

    async def _cut_off(self, job: Job, claim: ledger.Claim, leave: _Pass, error: SendError) -> None:
        outcome = from_send_error(error, secrets=self.backend.secrets)
        cost_usd = self._cost_usd(job, outcome)
        self._settle_money(leave, cost_usd)
        finish = ledger.Finish(claim, job.sample_ids, self.owner, outcome, None, cost_usd, settled="todo")
        await self._store(replace(finish, failure=classify(outcome), reason=told(outcome)))

    async def _store(self, finish: ledger.Finish) -> None:
        """Have the outcome written; when the file does not take it, keep it and end the run."""
        rows = ledger.rows_of(finish, now_s=self.clock.wall_s())
        try:
            await self._noted(partial(ledger.write_finish, rows=rows))
        except asyncio.CancelledError:
            self._count(finish)
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it was, what came back was paid for
            self._unwritten.append(rows)
            self._break(exc)
        else:
            self._count(finish)

    async def _keep_elsewhere(self) -> None:
        """Try once more, now that nothing is in flight, to write what the file did not take; else keep it beside it."""
        try:
            await self._noted(partial(unwritten.write_all, finishes=self._unwritten))
        except StoreError as exc:
            where = await asyncio.to_thread(unwritten.keep, self.store, self._unwritten)
            told_first = self._broken if isinstance(self._broken, StoreError) else exc
            msg = f"{told_first}. {where}"
            self._broken = StoreError(msg)

    def _cost_usd(self, job: Job, outcome: Outcome) -> float | None:
        """Return what the attempt cost: nothing when it was refused, None when that cannot be known."""
        if self.prices.is_free or outcome.is_unpaid:
            return 0.0
        return self.prices.cost_usd(job.request.model, outcome.usage, service_tier=outcome.service_tier)

    def _count(self, finish: ledger.Finish) -> None:
        progress, outcome = self.progress, finish.outcome
        answered = min(len(outcome.outputs), len(finish.sample_ids))
        progress.attempts += 1
        progress.unknown += outcome.state == "unknown"
        progress.done += answered if finish.settled == "done" else 0
        progress.failed += len(finish.sample_ids) if finish.settled == "failed" else 0
        progress.prompt_tokens += outcome.usage.prompt_tokens or 0
        progress.completion_tokens += outcome.usage.completion_tokens or 0
        progress.cost_usd += finish.cost_usd or 0.0
        progress.has_unknown_cost |= finish.cost_usd is None
        progress.last_error = finish.reason or progress.last_error

    async def _give_up(self, sample_ids: Iterable[int], failure: str, reason: str) -> None:
        given_up = list(sample_ids)
        self._gave_up = self._gave_up or reason
        stop = partial(ledger.stop_samples, sample_ids=given_up, failure=failure, reason=reason, owner=self.owner)
        await self._noted(stop)
        self.progress.stopped += len(given_up)

    async def _renew_leases(self) -> None:
        while True:
            await self.clock.wait(self._never, ledger.RENEW_EVERY_S)
            renew = partial(ledger.renew_leases, owner=self.owner, only_sent=self.progress.is_paused)
            with contextlib.suppress(StoreError):  # a missed renewal costs nothing; the lease lasts four of them
                await self._noted(partial(renew, now_s=self.clock.wall_s()))

    async def _noted(self, operation: Operation[T], *, is_fleeting: bool = False) -> T:
        """Have the store write, and wait for its commit; an abort does not keep it from being written."""
        write = self.store.write_awaited(operation, is_fleeting=is_fleeting)
        try:
            return await asyncio.shield(write)
        except asyncio.CancelledError:
            while not write.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([write])
            write.result()
            raise

    def _redacted(self, text: str) -> str:
        clean, _ = redact(text.encode(errors="replace"), self.backend.secrets, key_like=True)
        return clean.decode(errors="replace")

    def _why_stopped(self) -> str:
        if self.failure:
            return f"stopped at its first failed trial: {self.failure}"
        return self.stops.first or self._gave_up or "stopped by its user"
