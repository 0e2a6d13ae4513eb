"""What to do after an attempt without an answer: wait and ask again, give up, or stop more than one trial.

Pure: the history comes in, the decision goes out. A quota error is told from a rate limit by its type and code, never
by its message; every error class of the API ends in exactly one kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from promptlab._json import canonical
from promptlab.attempts import Failure, Outcome
from promptlab.errors import PlanError

#: throttle: too fast. account: nobody will be answered. model: this model will not answer. parameter: not with this
#: parameter. request: not this request. transient: surely unpaid. unknown: maybe paid. bad_reply: paid, and no answer.
Kind = Literal["throttle", "account", "model", "parameter", "request", "transient", "unknown", "bad_reply"]

#: What a decision to stop applies to.
Scope = Literal["trial", "parameter", "model", "run"]

QUOTA_CODES = frozenset(
    {"insufficient_quota", "credit_balance_exhausted", "project_spend_limit_exceeded", "billing_hard_limit_reached"}
    | {"billing_not_active", "access_terminated"}
)
PARAMETER_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
MODEL_CODE = "model_not_found"  # comes with 404, and with 403 where a project may not use the model
_TRANSIENT = frozenset({408, 409, 425})
_SCOPES: dict[Kind, Scope] = {"account": "run", "model": "model", "parameter": "parameter", "request": "trial"}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be with one request.

    Attributes
    ----------
    attempts
        How often one request is sent at most; throttled attempts are not counted, nor those that met an outage.
    outage_s
        How long one request is retried at most, in seconds, and how long a server may answer nobody before the run
        stops.
    first_wait_s, longest_wait_s
        The bound of the first wait and of any wait; the bound doubles, and a wait is drawn evenly below it ("full
        jitter", AWS Architecture Blog 2015).
    bad_replies
        How often a reply that cannot be read, and was paid for, is asked for again.
    deadline_s
        How long one attempt may take in all.

    Raises
    ------
    PlanError
        For numbers that are none.
    """

    attempts: int = 6
    outage_s: float = 600.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    bad_replies: int = 1
    deadline_s: float = 600.0

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise PlanError(problems)

    def _problems(self) -> Iterator[str]:
        for name, least in (("attempts", 1), ("bad_replies", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                yield f"RetryPolicy({name}={value!r}): a whole number from {least} is needed"
        for name in ("outage_s", "first_wait_s", "longest_wait_s", "deadline_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                yield f"RetryPolicy({name}={value!r}): a number of seconds is needed"


@dataclass(frozen=True, slots=True)
class History:
    """What one request has been through in this run; `since_s` is when its first attempt failed, None before that."""

    counted: int = 0
    uncounted: int = 0
    bad_replies: int = 0
    since_s: float | None = None

    def after(self, kind: Kind, *, now_s: float, is_outage: bool = False) -> History:
        """Return the history with one more attempt of this kind, which has just failed.

        Throttles are not counted, nor what surely cost nothing while nobody is answered: that is no request's fault.
        """
        is_free = kind == "throttle" or (is_outage and kind == "transient")
        return History(
            counted=self.counted + (not is_free),
            uncounted=self.uncounted + is_free,
            bad_replies=self.bad_replies + (kind == "bad_reply"),
            since_s=now_s if self.since_s is None else self.since_s,
        )


_FEW = 8  # requests that fail in a row by an accident of their own; more are no accident


@dataclass(slots=True)
class Outage:
    """Whether nobody is answered any more: several different requests failed in a row, without an answer between.

    Requests with one prompt, where others were answered, are the prompt's fault: it may be one that breaks the server.

    Attributes
    ----------
    failing
        The requests that failed in a row, and the prompt of each.
    answered
        Two prompts that were answered in this run, or fewer.
    since_s, probes
        When the first of them failed, and how many attempts failed since the outage was noticed.
    """

    failing: dict[int, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    since_s: float = math.inf
    probes: int = 0
    is_on: bool = False

    def failed(self, request: int, prompt: str, *, workers: int, now_s: float) -> None:
        """Note that an attempt at a request failed, with so many workers at work."""
        if not self.failing:
            self.since_s = now_s
        self.failing[request] = prompt
        self.probes += self.is_on
        self.is_on = len(self.failing) >= max(2, min(_FEW, workers)) and not self._is_one_prompts_fault()

    def ended(self, prompt: str) -> None:
        """Note a reply to the point: the server is there."""
        self.failing.clear()
        self.since_s, self.probes, self.is_on = math.inf, 0, False
        if len(self.answered) < 2:  # noqa: PLR2004 - one of two differs from any third
            self.answered.add(prompt)

    def _is_one_prompts_fault(self) -> bool:
        prompts = set(self.failing.values())
        return len(prompts) == 1 and bool(self.answered - prompts)


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask again after a wait; `for_all` pauses every worker, since the wait concerns them all."""

    wait_s: float
    for_all: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Do not ask again, for the whole of the scope."""

    scope: Scope


def classify(outcome: Outcome) -> Kind:
    """Return the kind of a failed attempt."""
    failure = outcome.failure or Failure("bad_reply", "")
    if outcome.state == "unknown":
        return "unknown"
    if outcome.http_status is None:
        return "transient"
    if 200 <= outcome.http_status < 300:  # noqa: PLR2004 - 2xx
        return "account" if _is_quota(failure) else "bad_reply"
    return _by_status(outcome.http_status, failure, outcome)


def decide(
    outcome: Outcome,
    history: History,
    policy: RetryPolicy,
    *,
    now_s: float,
    answered_s: float = -math.inf,
    outage: Outage | None = None,
    random: Callable[[], float],
) -> Retry | Stop:
    """Return what to do after a failed attempt.

    `history` and `outage` include it, `answered_s` is when the last answer to any request came, and `random` draws from
    [0, 1). A throttle concerns every request, and so does an outage: either ends the run when nothing was answered for
    as long as an outage may last, or when the server asks to wait longer than that.
    """
    kind = classify(outcome)
    if kind in _SCOPES:
        return Stop(_SCOPES[kind])
    outage = outage or Outage()
    wait_s = _wait_s(
        outcome, outage.probes + 1 if outage.is_on else history.counted + history.uncounted, policy, random
    )
    since_s = now_s if history.since_s is None else history.since_s
    if kind == "throttle":
        is_over = now_s + wait_s - max(since_s, answered_s) > policy.outage_s
        return Stop("run") if is_over else Retry(wait_s, for_all=True)
    if outage.is_on and now_s + wait_s - outage.since_s > policy.outage_s:
        return Stop("run")
    if outage.is_on and kind == "transient":
        return Retry(wait_s, for_all=True)
    spent = history.counted >= policy.attempts or history.bad_replies > policy.bad_replies
    return Stop("trial") if spent or now_s + wait_s - since_s > policy.outage_s else Retry(wait_s)


@dataclass(frozen=True, slots=True)
class Refusal:
    """That a model was seen to refuse a parameter, or one value of it (canonical JSON; None: any value)."""

    model: str
    param: str
    value: str | None

    def concerns(self, model: str, params: Mapping[str, Any]) -> bool:
        """Whether a request to a model with these parameters would be refused as well."""
        value = params.get(self.param)
        return self.model == model and value is not None and self.value in {None, canonical(value)}


def refusal(model: str, param: str, code: str | None, params: Mapping[str, Any]) -> Refusal:
    """Return what an error says about later requests: `unsupported_value` speaks of one value only."""
    return Refusal(model, param, canonical(params.get(param)) if code == "unsupported_value" else None)


def _by_status(status: int, failure: Failure, outcome: Outcome) -> Kind:
    if _is_quota(failure):
        return "account"
    if status == 404 or failure.code == MODEL_CODE:  # noqa: PLR2004 - HTTP's own numbers
        return "model"
    if status in {401, 402, 403}:
        return "account"
    if status == 429 or (status == 503 and outcome.retry_after_s is not None):  # noqa: PLR2004 - HTTP's own numbers
        return "throttle"
    if status in _TRANSIENT or status >= 500:  # noqa: PLR2004 - HTTP's own numbers
        return "transient"
    return "parameter" if failure.param and failure.code in PARAMETER_CODES else "request"


def _is_quota(failure: Failure) -> bool:
    return bool({failure.type, failure.code} & QUOTA_CODES)


def _wait_s(outcome: Outcome, failures: int, policy: RetryPolicy, random: Callable[[], float]) -> float:
    if outcome.retry_after_s:  # 0 says nothing (Azure sends it), and would have a throttled request sent without pause
        return outcome.retry_after_s
    bound_s = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
    return bound_s * random()


_MOST_DOUBLINGS = 64  # far above any wait; a float overflows at 1,024
