"""What the server knows: its switches, its ledger, its rate limits and how often each request was tried."""

import hashlib
import json
import os
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from faultserver.answers import complete
from faultserver.catalogue import Json
from faultserver.specs import Fault, resolve

Headers = list[tuple[str, str]]
REFUSED_COST = 0.1  # of a request: OpenAI counts failed requests against the limit too


@dataclass(frozen=True, slots=True)
class Switches:
    """How the server behaves; all can be changed while it runs."""

    default: str = "ok"
    schedule: list[Json] = field(default_factory=list)
    latency_ms: float = 0.0
    jitter_ms: float = 0.0  # mean of an exponential added to the latency
    rpm: int = 0
    tpm: int = 0
    max_concurrent: int = 0
    seed: int = 0
    require_key: str | None = None
    models: list[str] | None = None  # any other gets 404 model_not_found
    strict: bool = False
    idempotency: bool = False
    bill_on_disconnect: bool = False
    echo: str = "hash"  # or "last": the last message comes back as the answer
    clock_skew_s: float = 0.0  # how far this server's clock, its Date and its dates to come back at, is ahead
    key_by: str = "auto"  # or "body", "client_id", "idempotency": what makes two requests the same


class Bucket:
    """A token bucket that refills with time."""

    def __init__(self, limit: float) -> None:
        self.limit, self.level = limit, float(limit)
        self._per_s = limit / 60
        self._filled_at = time.monotonic()

    def wait_s(self, amount: float) -> float:
        """Return how long until the amount can be taken."""
        self._refill()
        return max(0.0, (amount - self.level) / self._per_s)

    def take(self, amount: float) -> None:
        """Take the amount, whether it is there or not."""
        self._refill()
        self.level -= amount

    def reset_s(self) -> float:
        """Return how long until the bucket is full."""
        self._refill()
        return (self.limit - self.level) / self._per_s

    def _refill(self) -> None:
        now = time.monotonic()
        self.level = min(self.limit, self.level + (now - self._filled_at) * self._per_s)
        self._filled_at = now


def openai_duration(seconds: float) -> str:
    """Return a duration the way OpenAI writes x-ratelimit-reset-*.

    >>> [openai_duration(seconds) for seconds in (0.012, 1, 360, 61.5)]
    ['12ms', '1s', '6m0s', '1m1.5s']
    """
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(seconds, 60)
    shown = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{shown}" if minutes else shown


class Load(NamedTuple):
    """What came within a window; tokens as the limit `tpm` counts them."""

    requests: int
    tokens: int


def _busiest(entries: list[Json], window_s: float) -> Load:
    """Return the most requests, and the most tokens, of any half-open window."""
    most, window = Load(0, 0), deque[Json]()
    tokens = 0
    for entry in sorted(entries, key=itemgetter("t")):
        window.append(entry)
        tokens += entry["tokens"]
        while entry["t"] - window[0]["t"] >= window_s:
            tokens -= window.popleft()["tokens"]
        most = Load(max(most.requests, len(window)), max(most.tokens, tokens))
    return most


class Service:
    """The state behind every connection."""

    def __init__(self, *, ledger_path: str | Path | None = None, keep_ledger: bool = True, **switches: Any) -> None:
        self.switches = Switches(**switches)
        self._random = random.Random(self.switches.seed)
        self._keep = keep_ledger
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._ledger_fd = os.open(ledger_path, flags, 0o600) if ledger_path else None
        self.reset()

    def reset(self) -> None:
        """Forget everything served so far; the switches stay."""
        self.entries: list[Json] = []
        self.attempts: Counter[str] = Counter()
        self.replies: dict[str, tuple[str, bytes]] = {}  # by Idempotency-Key: hash of the request, reply
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._serial = self.requests = self.in_flight = self.peak_in_flight = 0
        self._started = time.monotonic()

    def set(self, **switches: Any) -> None:
        """Change switches; the rate limits start afresh."""
        self.switches = replace(self.switches, **switches)
        self._buckets.clear()

    def close(self) -> None:
        """Close the ledger file."""
        if self._ledger_fd is not None:
            os.close(self._ledger_fd)
            self._ledger_fd = None

    def count_attempt(self, key: str) -> int:
        """Count a request; return how often its key has been tried, this time included."""
        self.requests += 1
        self.attempts[key] += 1
        return self.attempts[key]

    def admit(self, entry: Json) -> None:
        """Open the ledger entry of a request that has arrived."""
        if self._keep:
            self.entries.append(entry)
        self.write(entry, "recv")
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def dismiss(self, entry: Json) -> None:
        """Close the ledger entry of a request that has ended."""
        self.in_flight -= 1
        self.write(entry, "end")

    def write(self, entry: Json, event: str) -> None:
        """Write an event of an entry to the ledger file, if there is one, before anything else happens."""
        entry["event"] = event
        if self._ledger_fd is not None:
            os.write(self._ledger_fd, (json.dumps(entry) + "\n").encode())

    def key_of(self, headers: dict[str, str], raw: bytes) -> str:
        """Return what makes two requests the same logical request: an id the client sent, else the body."""
        by = self.switches.key_by
        if by in ("auto", "client_id") and headers.get("x-client-request-id"):
            return "c:" + headers["x-client-request-id"]
        if by in ("auto", "idempotency") and headers.get("idempotency-key"):
            return "i:" + headers["idempotency-key"]
        return "b:" + hashlib.sha256(raw).hexdigest()[:32]

    def choose(
        self, headers: dict[str, str], path_spec: str | None, body: Any, key: str, attempt: int
    ) -> tuple[Fault, str]:
        """Return the fault for an attempt, and where it was asked for."""
        spec, source = self._spec(headers, path_spec, body)
        return resolve(spec, key, attempt, self.switches.seed), source

    def _spec(self, headers: dict[str, str], path_spec: str | None, body: Any) -> tuple[str, str]:
        if "x-fault" in headers:
            return headers["x-fault"], "header"
        model = body.get("model") if isinstance(body, dict) else None
        if isinstance(model, str) and model.startswith("fault:"):
            return model.removeprefix("fault:"), "model"
        if path_spec:
            return path_spec, "path"
        for rule in self.switches.schedule:
            if self._is_due(rule):
                return rule["fault"], "schedule"
        return self.switches.default, "default"

    def _is_due(self, rule: Json) -> bool:
        elapsed_s = time.monotonic() - self._started
        return bool(
            rule.get("from_req", 0) <= self.requests <= rule.get("to_req", self.requests)
            and rule.get("from_s", 0) <= elapsed_s <= rule.get("to_s", elapsed_s)
            and self.requests % rule.get("every", 1) == 0
        )

    def delay_ms(self) -> float:
        """Return the latency of the next answer."""
        jitter_ms = self.switches.jitter_ms
        return self.switches.latency_ms + (self._random.expovariate(1 / jitter_ms) if jitter_ms else 0)

    def bill(self, body: Json, fault: Fault, entry: Json) -> Json:
        """Do the model's work, and charge for it."""
        self._serial += 1
        answer = complete(body, fault, key=entry["key"], serial=self._serial, echo=self.switches.echo)
        usage = {name: answer["usage"][name] for name in ("prompt_tokens", "completion_tokens")}
        entry.update(billed=True, id=answer["id"], usage=usage, choices=len(answer["choices"]))
        return answer

    def clock_s(self, at_s: float) -> float:
        """Return a time as this server's clock shows it."""
        return at_s + self.switches.clock_skew_s

    def spend(self, auth: str, model: str, tokens: int) -> tuple[Headers, tuple[str, float] | None]:
        """Take a request from its rate limits; return the headers, and the limit that is passed with its wait."""
        headers: Headers = []
        passed: tuple[str, float] | None = None
        for kind, limit, need in (("requests", self.switches.rpm, 1), ("tokens", self.switches.tpm, tokens)):
            if not limit:
                continue
            bucket = self._buckets.setdefault((auth, model, kind), Bucket(limit))
            wait_s = bucket.wait_s(need)
            if wait_s > 0 and passed is None:
                passed = (kind, wait_s)
            if passed is None:
                bucket.take(need)
            elif kind == "requests":
                bucket.take(REFUSED_COST)
            headers += [
                (f"x-ratelimit-limit-{kind}", str(limit)),
                (f"x-ratelimit-remaining-{kind}", str(max(0, int(bucket.level)))),
                (f"x-ratelimit-reset-{kind}", openai_duration(bucket.reset_s())),
            ]
        return headers, passed

    def busiest(self, window_s: float) -> dict[tuple[str | None, str | None], Load]:
        """Return the most that came within any `window_s` seconds, by key (as in the ledger) and model."""
        entries: dict[tuple[str | None, str | None], list[Json]] = {}
        for entry in self.entries:
            entries.setdefault((entry["api_key_sha8"], entry["model"]), []).append(entry)
        return {whose: _busiest(received, window_s) for whose, received in entries.items()}

    def stats(self) -> Json:
        """Return the ledger in figures."""
        billed = [entry for entry in self.entries if entry["billed"]]
        bills = Counter(entry["key"] for entry in billed)
        return {
            "requests": len(self.entries),
            "billed": len(billed),
            "delivered": sum(entry["delivered"] for entry in self.entries),
            "billed_not_delivered": sum(not entry["delivered"] for entry in billed),
            "distinct_keys": len({entry["key"] for entry in self.entries}),
            "distinct_billed_keys": len(bills),
            "billed_more_than_once": sum(count > 1 for count in bills.values()),
            "prompt_tokens": sum(entry["usage"]["prompt_tokens"] for entry in billed),
            "completion_tokens": sum(entry["usage"]["completion_tokens"] for entry in billed),
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "faults": dict(Counter(entry["fault"] for entry in self.entries)),
            "status": dict(Counter(str(entry["status"]) for entry in self.entries if entry["status"] is not None)),
        }
