"""What is counted of a run's attempts as they come: latencies, errors by type, money and tokens. Nothing here reads."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from promptlab import _text


class Attempt(NamedTuple):
    """An attempt as far as it counts here, and one of the samples it is for."""

    id: int
    state: str
    http_status: int | None
    error_type: str | None
    error_code: str | None
    error_message: str | None
    latency_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    sample_id: int


class Latencies:
    """Times to an answer, counted in bins that are 5 % wide, so that a quantile is right to 2.5 %."""

    _STEP = math.log(1.05)

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()

    def add(self, latency_ms: float) -> None:
        """Count one."""
        self._bins[math.floor(math.log(max(latency_ms, 0.01)) / self._STEP)] += 1

    def summary(self, columns: int = 16) -> dict[str, Any]:
        """Return n, p50_ms, p95_ms, and a histogram on a logarithmic axis from `from_ms` to `to_ms`."""
        number = self._bins.total()
        if not number:
            return {"n": 0, "p50_ms": None, "p95_ms": None, "histogram": [], "from_ms": None, "to_ms": None}
        first, last = min(self._bins), max(self._bins)
        width = math.ceil((last - first + 1) / columns)
        histogram = [0] * math.ceil((last - first + 1) / width)
        for place, count in self._bins.items():
            histogram[(place - first) // width] += count
        return {
            "n": number,
            "p50_ms": self._quantile(0.5, number),
            "p95_ms": self._quantile(0.95, number),
            "histogram": histogram,
            "from_ms": self._edge_ms(first),
            "to_ms": self._edge_ms(first + width * len(histogram)),
        }

    def _quantile(self, share: float, number: int) -> float:
        rest = share * number
        for place in sorted(self._bins):
            rest -= self._bins[place]
            if rest <= 0:
                break
        return self._edge_ms(place + 0.5)

    def _edge_ms(self, place: float) -> float:
        return round(math.exp(place * self._STEP), 2)


@dataclass(slots=True)
class Errors:
    """Failed attempts of one type: how many, and what became of the samples that met it."""

    attempts: int = 0
    message: str = ""
    fates: Counter[str] = field(default_factory=Counter)  # of the samples that met it

    def told(self, name: str) -> dict[str, Any]:
        """Return it as a mapping.

        Of the samples that met it, `passed` were answered later, `failed` have no answer for this error, `open` may
        still get one; those that failed for another error in the end are counted there.
        """
        fates = {fate: self.fates[fate] for fate in ("passed", "failed", "open")}
        return {"type": name, "attempts": self.attempts, "message": self.message, **fates}


@dataclass(slots=True)
class Spent:
    """Attempts that have ended, their money and their tokens; what is not known is counted apart."""

    attempts: int = 0
    unknown: int = 0
    unpriced: int = 0
    uncounted: int = 0
    cost_usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, attempt: Attempt) -> None:
        """Count an attempt that has ended."""
        self.attempts += 1
        self.unknown += attempt.state == "unknown"
        self.unpriced += attempt.cost_usd is None and attempt.state != "unknown"
        self.uncounted += attempt.prompt_tokens is None and attempt.state == "ok"
        self.cost_usd += attempt.cost_usd or 0.0
        self.prompt_tokens += attempt.prompt_tokens or 0
        self.completion_tokens += attempt.completion_tokens or 0

    def told(self) -> dict[str, Any]:
        """Return it as a mapping; money and tokens are None where nothing is known of them."""
        is_priced = self.cost_usd > 0 or not (self.unknown or self.unpriced)
        is_counted = self.prompt_tokens > 0 or not self.uncounted
        return {
            "attempts": self.attempts,
            "unknown": self.unknown,
            "unpriced": self.unpriced,
            "uncounted": self.uncounted,
            "cost_usd": self.cost_usd if is_priced else None,
            "prompt_tokens": self.prompt_tokens if is_counted else None,
            "completion_tokens": self.completion_tokens if is_counted else None,
        }


def error_type(attempt: Attempt) -> str:
    """Return what an error is called: the HTTP status, and the API's own code or type, or promptlab's."""
    http = f"HTTP {attempt.http_status}" if attempt.http_status else ""
    name = attempt.error_code or attempt.error_type or ""
    billed = " (maybe billed)" if attempt.state == "unknown" else ""
    return _text.clipped(" ".join(filter(None, [http, "" if name == http else name])) or "unknown", 80) + billed
