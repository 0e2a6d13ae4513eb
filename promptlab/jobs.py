"""What a runner works on: jobs, how far they have come, what stops them, and the time that goes by.

A job asks for samples of one request: for one, or for several that may ride on one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from promptlab import requests
from promptlab.attempts import Outcome, Usage, told
from promptlab.prices import most_completion
from promptlab.requests import Request
from promptlab.retries import Refusal, Stop, classify, refusal
from promptlab.tokens import BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Job:
    """Samples of one request to be answered: one, or several that may ride on one call.

    `params` are the request's parameters; `request` asks for one choice. `was_refused` says that the sample was asked
    for together with others, which the server refused.
    """

    sample_ids: tuple[int, ...]
    request: Request
    params: Mapping[str, Any]
    was_refused: bool = False

    @property
    def choices(self) -> int:
        """How many choices are asked for."""
        return len(self.sample_ids)

    @property
    def asked(self) -> Request:
        """The request as it is sent."""
        return self.request if self.choices == 1 else requests.repeated(self.request, self.choices)

    @property
    def most_prompt_tokens(self) -> int:
        """The most tokens that the prompt can count for: its bytes, since no token is shorter, and once a choice."""
        return self.choices * len(self.request.content)

    @property
    def likely_prompt_tokens(self) -> float:
        """How many tokens the prompt has by its length, as a server estimates them before it counts."""
        return len(self.request.content) / BYTES_PER_TOKEN

    @property
    def most_completion_tokens(self) -> int:
        """The most tokens that the answers can have; 0 where there is no bound."""
        return self.choices * (most_completion(self.params) or 0)

    def counted_tokens(self, usage: Usage) -> float | None:
        """Return what the answered job counts for in a limit on tokens; None while only its bound is known.

        Providers count what a request may take when it comes: an estimate from its characters, and `max_tokens`
        (OpenAI's guide to rate limits). So that is what it counts for, or its usage where that is more.
        """
        if usage.prompt_tokens is None:
            return None
        completion = max(self.most_completion_tokens, usage.completion_tokens or 0)
        return max(usage.prompt_tokens, self.likely_prompt_tokens) + completion

    def singly(self, *, after: int = 0, was_refused: bool = False) -> list[Job]:
        """Return the job of each sample but the first ones."""
        return [replace(self, sample_ids=(each,), was_refused=was_refused) for each in self.sample_ids[after:]]


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
    is_paused: bool = False

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
class Stops:
    """What will not be asked any more, and why: (kind of failure, reason)."""

    run: tuple[str, str] | None = None
    models: dict[str, str] = field(default_factory=dict)
    parameters: dict[Refusal, str] = field(default_factory=dict)

    def learn(self, stop: Stop, job: Job, outcome: Outcome) -> None:
        """Remember what an attempt says about later ones."""
        reason, failure = told(outcome), outcome.failure
        if stop.scope == "run":
            self.run = classify(outcome), reason
        elif stop.scope == "model":
            self.models[job.request.model] = reason
        elif stop.scope == "parameter" and failure and failure.param and failure.param in job.params:
            self.parameters[refusal(job.request.model, failure.param, failure.code, job.params)] = reason

    def reason(self, job: Job) -> tuple[str, str] | None:
        """Return (kind of failure, reason) when a job is not to be asked."""
        if self.run:
            return self.run
        if job.request.model in self.models:
            return "model", self.models[job.request.model]
        for refused, reason in self.parameters.items():
            if refused.concerns(job.request.model, job.params):
                return "parameter", reason
        return None

    @property
    def first(self) -> str | None:
        """The first reason for which something was not asked."""
        whole = [self.run[1]] if self.run else []
        return next(iter([*whole, *self.models.values(), *self.parameters.values()]), None)
