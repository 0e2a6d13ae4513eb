"""How a metric's figures are drawn and said: rates in percent, money for 1,000 answers, times in ms or s."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from promptlab import _text
from promptlab.plots import _style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axis import Axis

_ANSWERS = 1_000  # one answer costs so little that nobody can read it


@dataclass(frozen=True, slots=True)
class Unit:
    """A metric's unit.

    Attributes
    ----------
    factor
        What a figure is multiplied by where it is drawn; `.data` has it as it is.
    """

    metric: str
    kind: Literal["rate", "usd", "ms", "plain"]

    @property
    def factor(self) -> float:
        """Return 1,000 for money, else 1."""
        return float(_ANSWERS) if self.kind == "usd" else 1.0

    @property
    def label(self) -> str:
        """Return what stands at an axis."""
        names = {"usd": f"{self.metric} of {_ANSWERS:,} answers", "ms": "latency"}
        return _style.shown(names.get(self.kind, self.metric), 44)

    def bare(self, figure: float) -> str:
        """Return a figure as short as it can be understood beside its axis."""
        from promptlab.analysis import words  # noqa: PLC0415 - loads pandas

        if math.isnan(figure):
            return _text.UNKNOWN
        if self.kind == "usd":
            return _text.usd(figure * _ANSWERS)
        if self.kind == "ms":
            return f"{words.number(figure)} ms" if abs(figure) < 1000 else f"{words.number(figure / 1000)} s"  # noqa: PLR2004
        return words.number(figure * 100, 100) if self.kind == "rate" else words.number(figure)

    def text(self, figure: float) -> str:
        """Return a figure with its unit."""
        return f"{self.bare(figure)}{self._unit}"

    def ends(self, row: Any) -> str:
        """Return the ends of an interval, as short as they can be understood: a unit that both have stands once."""
        if math.isnan(row["low"]):
            return _text.UNKNOWN
        if self.kind == "rate":
            return f"{row['low'] * 100:.0f} – {row['high'] * 100:.0f}"
        low, high = self.bare(row["low"]), self.bare(row["high"])
        unit = high.partition(" ")[2]
        return f"{low.removesuffix(unit).rstrip() if unit and low.partition(' ')[2] == unit else low} – {high}"

    def difference(self, figure: float) -> str:
        """Return a difference with its sign, in `difference_unit`."""
        from promptlab.analysis import words  # noqa: PLC0415 - loads pandas

        size = words.number(abs(figure)) if self.kind == "ms" else self.bare(abs(figure))
        is_nothing = not size.strip("$0.,")
        return size if is_nothing else f"{'+' if figure > 0 else '−'}{size}"

    @property
    def difference_unit(self) -> str:
        """Return the unit of a difference."""
        return {"rate": "points", "ms": "ms"}.get(self.kind, "")

    def interval(self, row: Any) -> str:
        """Return a mean with its interval, as a sentence has it."""
        if math.isnan(row["low"]):
            return f"{self.text(row['mean'])} (interval unknown: one case)"
        return f"{self.text(row['mean'])} (95 % interval {self.bare(row['low'])} to {self.bare(row['high'])})"

    def format(self, axis: Axis, *, is_difference: bool = False) -> None:
        """Have an axis say its figures so; its numbers are multiplied by `factor` already."""
        from matplotlib.ticker import ScalarFormatter  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        if is_difference:
            axis.set_major_formatter(lambda at, _: self.difference(at / self.factor) if abs(at) > _DUST else "0")
        elif self.kind == "rate":
            axis.set_major_formatter(lambda at, _: f"{at * 100:.3g} %")
        elif self.kind == "ms":
            axis.set_major_formatter(lambda at, _: self.bare(at))
        elif self.kind == "usd":
            axis.set_major_formatter(_dollars())
        else:
            plain = ScalarFormatter(useOffset=False, useMathText=False)
            plain.set_powerlimits((-5, 6))
            axis.set_major_formatter(plain)

    @property
    def _unit(self) -> str:
        return {"rate": " %", "usd": f" for {_ANSWERS:,} answers"}.get(self.kind, "")


def unit_of(frame: pd.DataFrame, metric: str) -> Unit:
    """Return the unit of a metric: what is 0 or 1 only is a rate."""
    from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

    if metric == "cost_usd":
        return Unit(metric, "usd")
    if metric == "latency_ms":
        return Unit(metric, "ms")
    is_rate = metric in frame and frames.is_numeric(frame[metric]) and frames.is_binary(frames.values(frame, metric))
    return Unit(metric, "rate" if is_rate else "plain")


def log_axis(axis: Axis) -> None:
    """Have a logarithmic axis with names at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - as above

    axis._set_axes_scale("log")  # type: ignore[attr-defined]  # noqa: SLF001 - what set_xscale calls
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())


def _dollars() -> Any:
    from matplotlib.ticker import ScalarFormatter  # noqa: PLC0415 - as above

    class Dollars(ScalarFormatter):
        def __call__(self, at: float, pos: int | None = None) -> str:
            return f"${super().__call__(at, pos)}"

    found = Dollars(useOffset=False, useMathText=False)
    found.set_scientific(False)
    return found


_DUST = 1e-12  # what rounding leaves of 0
