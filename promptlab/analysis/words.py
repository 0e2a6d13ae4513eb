"""Figures and differences as text: rates in percent and points, the others in their unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptlab.stats import p_text

_UNITS = {"cost_usd": "USD", "latency_ms": "ms"}
_TOKENS = "_tokens"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric's figures are said.

    Attributes
    ----------
    factor
        What a figure is multiplied by: 100 for a rate.
    unit, unit_of_difference
        What stands behind: `%` and `points`, `ms`, `USD`, `tokens`, or nothing.
    """

    factor: float = 1.0
    unit: str = ""
    unit_of_difference: str = ""

    def value(self, figure: float) -> str:
        """Return a figure with its unit."""
        return _joined(number(figure * self.factor, self.factor), self.unit)

    def difference(self, figure: float) -> str:
        """Return the size of a difference with its unit."""
        said = number(figure * self.factor, self.factor)
        unit = self.unit_of_difference
        return _joined(said, "point" if unit == "points" and said in {"1", "-1"} else unit)

    def bare(self, figure: float) -> str:
        """Return a figure without its unit, for the ends of an interval."""
        return number(figure * self.factor, self.factor)


def scale(metric: str, *, is_binary: bool) -> Scale:
    """Return how a metric is said: a rate in percent, and its differences in points.

    >>> scale("exact_match", is_binary=True).value(0.125), scale("latency_ms", is_binary=False).difference(1234.5)
    ('12.5 %', '1,234 ms')
    """
    if is_binary:
        return Scale(100.0, "%", "points")
    unit = _UNITS.get(metric, "tokens" if metric.endswith(_TOKENS) else "")
    return Scale(1.0, unit, unit)


def number(figure: float, factor: float = 1.0) -> str:
    """Return a figure with three digits that count; percents with one decimal at most.

    >>> number(1234.5), number(0.012345), number(12.0, 100), number(float("nan"))
    ('1,234', '0.0123', '12', 'unknown')
    """
    if not math.isfinite(figure):
        return "unknown"
    if factor != 1:
        text = f"{figure:,.1f}"
    else:
        decimals = max(0, 2 - math.floor(math.log10(abs(figure)))) if figure else 0
        text = f"{figure:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def percent(confidence: float) -> str:
    """Return a confidence as it is said, e.g. `95 %`."""
    return f"{confidence * 100:g} %"


def p_cell(p: float) -> str:
    """Return a p-value for a table's cell."""
    return "unknown" if math.isnan(p) else p_text(p).removeprefix("p = ").removeprefix("p ")


def count_of(number_: float, of: int, noun: str) -> str:
    """Return `3 of 6 settings`."""
    return f"{number_:,} of {of:,} {noun}{'' if of == 1 else 's'}"


def _joined(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit and text != "unknown" else text
