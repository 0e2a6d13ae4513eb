"""How fast to ask, and how much to spend: pure accounts of what was sent, the clock passed in.

    RateLimits      what the user allows; never exceeded in any window
    Window          a sliding count against one such limit
    Meter           what the server's own `x-ratelimit-*` headers say is left, as a bucket that refills
    Pace            how many requests are in flight when the user names no number: additive increase, multiplicative
                    decrease (Chiu and Jain 1989, the rule of TCP)
    Budget          a cap on money, with the worst case of what is in flight reserved

A request is counted from before it leaves until a window after it arrived. When it arrived is only known to lie
between sending and the answer, so its place is given back a window after the answer, or, when the answer takes longer,
a window and `MARGIN` of one after sending. The server's own clock then sees the limit kept, unless a request needs
longer than the margin just to arrive, and of a minute's rate 96 % can still be used with a slow model.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from promptlab.errors import PlanError

DAY_S = 86_400.0
DUST_USD = 1e-12  # what sums of floats leave over
MARGIN = 0.04  # of a window: how long a request may need to arrive
SHORTEST_MARGIN_S, LONGEST_MARGIN_S = (
    1.0,
    60.0,
)  # however short or long the window; a busy machine was seen to need 0.2 s

FIRST_PACE = 32  # requests in flight to begin with
TOP_PACE = 256  # the client's CPU is the limit from here on (measured: flat from 64 to 256)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one account may ask for; a number left out is no limit.

    Parameters
    ----------
    requests_per_minute, tokens_per_minute, requests_per_day
        Never exceeded in any minute or day, attempts that fail included. Of tokens the most that a request can take is
        counted: its bytes, until the answer tells the prompt's real tokens, and `max_tokens`, however short the answer
        is (so do providers).
    concurrency
        How many requests are in flight at most. Without it their number adapts to what the server takes.
    window_s
        How long the minute is, in seconds, for a server that counts over another time.

    Raises
    ------
    PlanError
        For numbers that allow nothing.

    >>> RateLimits(requests_per_minute=500, tokens_per_minute=200_000)
    RateLimits(requests_per_minute=500, tokens_per_minute=200000)
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    concurrency: int | None = None
    window_s: float = 60.0

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise PlanError(problems)

    def _problems(self) -> Iterator[str]:
        for name in ("requests_per_minute", "tokens_per_minute", "requests_per_day", "concurrency"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                yield f"RateLimits({name}={value!r}): a whole number from 1 is needed, or None for no limit"
        if isinstance(self.window_s, bool) or not 0 < self.window_s < math.inf:
            yield f"RateLimits(window_s={self.window_s!r}): a number of seconds above 0 is needed"

    @classmethod
    def published(cls, tier: str, *, model: str, provider: str = "openai") -> RateLimits:
        """Return the limits that a provider publishes for a tier and a model, as of the date in `published_limits()`.

        Providers change them, and an account may have its own: its page at the provider is the truth.

        >>> RateLimits.published("build", model="gpt-4o-mini").requests_per_minute
        5000

        Raises
        ------
        PlanError
            Listing the tiers and models that are known.
        """
        known = [row for row in published_limits() if row["provider"] == provider]
        found = [row for row in known if (row["tier"], row["model"]) == (tier, model)]
        if not found:
            tiers = ", ".join(dict.fromkeys(repr(row["tier"]) for row in known)) or "none"
            models = ", ".join(dict.fromkeys(row["model"] for row in known)) or "none"
            msg = f"no published limits of {provider} for {tier!r} and {model!r}; tiers: {tiers}; models: {models}"
            raise PlanError(msg)
        return cls(**{name: found[0][name] for name in _PUBLISHED if name in found[0]})

    def least_s(self, requests: int, tokens: int) -> float:
        """Return how long so many requests with so many tokens take at least under these limits, in seconds."""
        spans = (
            (requests, self.requests_per_minute, self.window_s),
            (tokens, self.tokens_per_minute, self.window_s),
            (requests, self.requests_per_day, DAY_S),
        )
        waits = (max(0, math.ceil(amount / limit) - 1) * window_s for amount, limit, window_s in spans if limit)
        return max(waits, default=0.0)

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.__slots__}
        shown = [f"{name}={value!r}" for name, value in given.items() if value not in (None, 60.0)]
        return f"RateLimits({', '.join(shown)})"


_PUBLISHED = ("requests_per_minute", "tokens_per_minute", "requests_per_day")


@cache
def published_limits() -> tuple[Mapping[str, Any], ...]:
    """Return every published limit that is known: provider, tier, model, limits, `source`, and when that was `read`."""
    text = resources.files("promptlab").joinpath("data/rate_limits.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["tier"])


# What the user allows


@dataclass(slots=True)
class Slot:
    """An amount taken from a window; it counts until `until_s`, and is over then for good."""

    amount: float
    until_s: float
    is_over: bool = False


def whole_s(window_s: float) -> float:
    """Return how long a request counts at most: its window, and the time that it may need to arrive."""
    return window_s + min(max(MARGIN * window_s, SHORTEST_MARGIN_S), LONGEST_MARGIN_S)


class Window:
    """At most `limit` in any `window_s` seconds."""

    def __init__(self, limit: float, window_s: float) -> None:
        self.limit = limit
        self._window_s = window_s
        self._slots: deque[Slot] = deque()
        self._used = 0.0

    def wait_s(self, amount: float, *, now_s: float) -> float:
        """Return how long until the amount fits, were nothing else taken meanwhile."""
        self._release(now_s)
        free, until_s = self.limit - self._used, now_s
        for slot in self._slots:
            if free >= amount:
                break
            free, until_s = free + slot.amount, max(until_s, slot.until_s)
        return max(0.0, until_s - now_s) if free >= amount else math.inf

    def take(self, amount: float, *, sent_s: float) -> Slot:
        """Count an amount that leaves now, or that left at some time before."""
        slot = Slot(amount, sent_s + whole_s(self._window_s))
        self._slots.append(slot)
        self._used += amount
        return slot

    def leave(self, slot: Slot, *, now_s: float) -> None:
        """Note that an amount leaves only now: it counts from now on."""
        if not slot.is_over:
            slot.until_s = now_s + whole_s(self._window_s)

    def settle(self, slot: Slot, *, answered_s: float, amount: float | None = None) -> None:
        """Note when the answer came, and what the request really took where that is known."""
        if slot.is_over:  # the answer took longer than the window
            return
        slot.until_s = min(slot.until_s, answered_s + self._window_s)
        if amount is not None:
            self._used += amount - slot.amount
            slot.amount = amount

    def give_back(self, slot: Slot) -> None:
        """Take back an amount that never left."""
        if slot.is_over:
            return
        self._used -= slot.amount
        slot.amount = 0.0

    def _release(self, now_s: float) -> None:
        while self._slots and self._slots[0].until_s <= now_s:
            slot = self._slots.popleft()
            slot.is_over = True
            self._used -= slot.amount


@dataclass(frozen=True, slots=True)
class Taken:
    """What one request holds of every window."""

    slots: tuple[tuple[Window, Slot], ...] = ()
    metered: tuple[tuple[Meter, float], ...] = ()
    at_s: float = 0.0

    def leave(self, *, now_s: float) -> None:
        """Note that the request leaves only now, after whatever it had to wait for when it was let pass."""
        for window, slot in self.slots:
            window.leave(slot, now_s=now_s)

    def settle(self, *, answered_s: float, tokens: float | None) -> None:
        """Note the answer, and the tokens that it counts for where they are known now, in every window."""
        for window, slot in self.slots:
            real = tokens if isinstance(window, _TokenWindow) else None
            window.settle(slot, answered_s=answered_s, amount=real)

    def give_back(self) -> None:
        """Give everything back: the request never left."""
        for window, slot in self.slots:
            window.give_back(slot)
        for meter, amount in self.metered:
            meter.give_back(amount, at_s=self.at_s)


class _TokenWindow(Window):
    """Counts tokens instead of requests."""


class Allowance:
    """The windows of a user's limits, and what the server says of its own; shared by all runs of a lab.

    `wait_s` first, then `take`; `settle` the taken when the answer is there, and `learn` from its headers.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self.in_flight = 0  # of all runs; who sends counts itself
        self._meters: dict[tuple[str, str], Meter] = {}
        self.start_over(())

    def start_over(self, sent: Iterable[tuple[float, float]]) -> None:
        """Count anew what was sent before: (when, tokens) of each request, the oldest first."""
        limits = self.limits
        self._requests = [
            Window(limit, window_s)
            for limit, window_s in (
                (limits.requests_per_minute, limits.window_s),
                (limits.requests_per_day, DAY_S),
            )
            if limit is not None
        ]
        tokens = limits.tokens_per_minute
        self._tokens = [] if tokens is None else [_TokenWindow(tokens, limits.window_s)]
        for sent_s, amount in sent:
            for window in self._requests:
                window.take(1, sent_s=sent_s)
            for window in self._tokens:
                window.take(amount, sent_s=sent_s)

    @property
    def looks_back_s(self) -> float:
        """How far in the past a request still counts, in seconds."""
        limits = self.limits
        if limits.requests_per_day is not None:
            return whole_s(max(DAY_S, limits.window_s))
        return whole_s(limits.window_s) if self._requests or self._tokens else 0.0

    @property
    def is_full(self) -> bool:
        """Whether as many requests are in flight as may be."""
        return self.limits.concurrency is not None and self.in_flight >= self.limits.concurrency

    def never_fits(self, most_tokens: float) -> bool:
        """Whether a request can take more tokens than a whole window allows."""
        return any(most_tokens > window.limit for window in self._tokens)

    def wait_s(self, model: str, *, most_tokens: float, likely_tokens: float, now_s: float) -> float:
        """Return how long until a request may leave: bound by `most_tokens` here, by `likely_tokens` at the server."""
        waits = [window.wait_s(1, now_s=now_s) for window in self._requests]
        waits += [window.wait_s(most_tokens, now_s=now_s) for window in self._tokens]
        for kind, amount in (("requests", 1.0), ("tokens", likely_tokens)):
            meter = self._meters.get((model, kind))
            if meter is not None:
                waits.append(meter.wait_s(amount, now_s=now_s))
        return max(waits, default=0.0)

    def take(self, model: str, *, most_tokens: float, likely_tokens: float, now_s: float) -> Taken:
        """Count a request that leaves now."""
        metered = []
        for kind, amount in (("requests", 1.0), ("tokens", likely_tokens)):
            meter = self._meters.get((model, kind))
            if meter is not None:
                meter.take(amount, now_s=now_s)
                metered.append((meter, amount))
        requests = [(window, window.take(1, sent_s=now_s)) for window in self._requests]
        tokens = [(window, window.take(most_tokens, sent_s=now_s)) for window in self._tokens]
        return Taken((*requests, *tokens), tuple(metered), now_s)

    def learn(self, model: str, headers: Mapping[str, str], *, sent_s: float, now_s: float) -> None:
        """Take in what the headers of a reply to a request sent at `sent_s` say."""
        for kind in ("requests", "tokens"):
            said = stated(headers, kind)
            if said is not None:
                meter = self._meters.setdefault((model, kind), Meter())
                meter.learn(said, sent_s=sent_s, now_s=now_s)


# What the server says


@dataclass(frozen=True, slots=True)
class Stated:
    """One limit as a reply's headers state it; `reset_s` is the time until the bucket would be full again."""

    limit: float
    remaining: float
    reset_s: float


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(text: str) -> float | None:
    """Return a duration as OpenAI's headers write it, in seconds, or None for anything else.

    >>> [duration_s(text) for text in ("12ms", "1s", "6m0s", "1h2m3.5s", "7", "")]
    [0.012, 1.0, 360.0, 3723.5, 7.0, None]
    """
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return _number(text)


def stated(headers: Mapping[str, str], kind: str) -> Stated | None:
    """Return what a reply says of its limit on `requests` or `tokens`; Azure's -1 and absent ones say nothing."""
    limit, remaining = (_number(headers.get(f"x-ratelimit-{name}-{kind}", "")) for name in ("limit", "remaining"))
    reset_s = duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
    if not limit or remaining is None or reset_s is None or remaining > limit:
        return None
    return Stated(limit, remaining, reset_s)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


_STALE_S = 60.0  # one request then tries whether it still holds: some servers state nonsense
_TELLING = 0.02  # of a bucket: emptier than this, its reset tells the rate (they are rounded)


class Meter:
    """A server's bucket as seen from here: what its newest reply said, less what has been sent since.

    How fast it refills follows from what is missing and the time until it would be full, so a limit a day and a limit a
    minute need no telling apart.
    """

    def __init__(self) -> None:
        self._level = math.inf
        self._capacity = math.inf
        self._per_s = 0.0
        self._at_s = -math.inf
        self._said_s = -math.inf  # when the request left whose reply was taken in last
        self._heard_s = -math.inf  # when that was, or when it was last tried whether it still holds
        self._sent: deque[tuple[float, float]] = deque()  # (when, how much) since then

    def wait_s(self, amount: float, *, now_s: float) -> float:
        """Return how long until the amount is there; one larger than the whole bucket is for the server to judge."""
        self._refill(now_s)
        missing = min(amount, self._capacity) - self._level
        if missing <= 0 or not self._per_s:
            return 0.0
        return min(missing / self._per_s, max(0.0, self._heard_s + _STALE_S - now_s))

    def take(self, amount: float, *, now_s: float) -> None:
        """Count what leaves now."""
        self._refill(now_s)
        self._level -= amount
        self._sent.append((now_s, amount))
        if now_s >= self._heard_s + _STALE_S:
            self._heard_s = now_s

    def give_back(self, amount: float, *, at_s: float) -> None:
        """Take back what was counted at a time and never left."""
        if (at_s, amount) in self._sent:
            self._sent.remove((at_s, amount))
            self._level += amount

    def learn(self, said: Stated, *, sent_s: float, now_s: float) -> None:
        """Take in a reply to a request that left at `sent_s`; of replies out of order the newest request's counts."""
        self._learn_rate(said)
        if sent_s < self._said_s:
            return
        self._said_s = sent_s
        while self._sent and self._sent[0][0] <= sent_s:
            self._sent.popleft()
        self._capacity, self._at_s, self._heard_s = said.limit, now_s, now_s
        self._level = said.remaining - sum(amount for _, amount in self._sent)

    def _learn_rate(self, said: Stated) -> None:
        missing = said.limit - said.remaining
        if said.reset_s > 0 and (missing > _TELLING * said.limit or not self._per_s):
            self._per_s = missing / said.reset_s or self._per_s

    def _refill(self, now_s: float) -> None:
        if now_s > self._at_s:
            if math.isfinite(self._level):
                self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s


# How many at a time


@dataclass(slots=True)
class Pace:
    """How many requests may be in flight: one more for each round without a throttle, half as many after one.

    `is_fixed` for a number that the user gave, or that the backend cannot exceed.
    """

    limit: float
    top: float = TOP_PACE
    is_fixed: bool = False
    _cut_s: float = field(default=-math.inf, repr=False)

    @property
    def in_flight(self) -> int:
        """The whole number that is allowed now."""
        return max(1, int(self.limit))

    def answered(self, *, in_flight: int) -> None:
        """Note a good answer; a pace that is not used up has no reason to grow."""
        if not self.is_fixed and in_flight >= self.in_flight:
            self.limit = min(self.top, self.limit + 1 / self.limit)

    def throttled(self, *, sent_s: float, now_s: float) -> None:
        """Note that the server refused a request for its rate; those sent before the last cut tell nothing new."""
        if not self.is_fixed and sent_s > self._cut_s:
            self.limit, self._cut_s = max(1.0, self.limit / 2), now_s


# How much money


@dataclass(slots=True)
class Budget:
    """A cap in USD, what was spent of it, and what is reserved for requests whose cost is not known yet.

    `uncounted_usd` is the part of what was spent before of which the file holds no amount.
    """

    cap_usd: float
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    uncounted_usd: float = 0.0

    @property
    def left_usd(self) -> float:
        """What can still be reserved."""
        return self.cap_usd - self.spent_usd - self.reserved_usd

    def fits(self, worst_usd: float) -> bool:
        """Whether a request that costs this much at worst can be sent without passing the cap."""
        return worst_usd <= self.left_usd + DUST_USD

    def reserve(self, worst_usd: float) -> None:
        """Hold back the worst case of a request that is about to leave."""
        self.reserved_usd += worst_usd

    def settle(self, worst_usd: float, *, cost_usd: float | None) -> None:
        """Replace a reservation by the real cost; where that is not known, the worst case counts as spent."""
        self.reserved_usd -= worst_usd
        self.spent_usd += worst_usd if cost_usd is None else cost_usd

    def told(self, worst_usd: float) -> str:
        """Say why a request that can cost this much is not sent."""
        if not self.spent_usd:
            return (
                f"max_cost_usd={self.cap_usd:g} is too low for a single request, which can cost up to ${worst_usd:.6f}"
            )
        return (
            f"max_cost_usd={self.cap_usd:g} is reached: ${self.spent_usd:.6f} was spent or may have been, and the next"
            f" request can cost up to ${worst_usd:.6f}; run it again with a higher cap to go on"
        )
