"""The plots of one run, or of several: `run.plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from promptlab import _text
from promptlab.errors import PlotError
from promptlab.plots import _contrasts, _curves, _fronts, _maps, _rows
from promptlab.plots._plot import Plot

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Better = Literal["higher", "lower"]

_COSTS = ("cost_usd", "latency_ms", "prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")


class Plots:
    """The plots of a frame of trials.

    A metric is any column of the frame that holds numbers: a scorer's, or `cost_usd`, `latency_ms`,
    `completion_tokens`, ... Means are over the trials that have a value; how many have none stands below each plot.

    Each plot is drawn into a figure of its own, or into the axes given as `ax=`, and comes as a `Plot`. Every one raises
    `PlotError` for a column that is not there and where there is nothing to draw.

    Parameters
    ----------
    frame
        One row a trial, as `run.frame()` returns it.
    axes
        The columns that vary by design, such as template and temperature.
    name
        Of the run, for titles.
    contrast, effects
        What makes the tables that `forest` and `effects` draw: `contrast(axis, metric)`, `effects(metric)`.
    attempts
        What reads the attempts, for `cost`: a frame with the columns sent_at, state, cost_usd.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        axes: Sequence[str],
        name: str,
        *,
        contrast: Callable[[str, str], pd.DataFrame] | None = None,
        effects: Callable[[str], pd.DataFrame] | None = None,
        attempts: Callable[[], pd.DataFrame] | None = None,
    ) -> None:
        self._frame, self._axes, self._name = frame, list(axes), name
        self._contrast, self._effects, self._attempts = contrast, effects, attempts

    def heatmap(
        self,
        metric: str,
        x: str | None = None,
        y: str | None = None,
        *,
        better: Better | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw the mean of a metric over two columns, each cell with its interval.

        Without x and y the two axes that vary are taken, where there are two. Dark cells are the worse ones; `better`
        says which end that is, and is `"lower"` for costs, latencies and tokens if not given.
        """
        across, down = self._two(x, y)
        return _maps.heatmap(self._some(), metric, across, down, better=_better(metric, better), ax=ax)

    def line(
        self,
        metric: str,
        x: str | None = None,
        by: str | None = "template",
        *,
        better: Better | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw the mean of a metric over x with intervals, one line a level of `by`; `by=None` draws one line.

        A column of numbers stands to scale on the x axis; of names each has its place, and marks are not joined. Without
        x the only other axis that varies is taken.
        """
        x = x if x is not None else self._one("x", besides=(by,))
        by = None if by == x or (by == "template" and by not in self._frame) else by
        return _curves.line(self._some(), metric, x, by, better=_better(metric, better), ax=ax)

    def pareto(
        self,
        metric: str,
        cost: str = "cost_usd",
        *,
        better: Better | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw each setting's metric against its `cost_usd` or `latency_ms`, and the frontier.

        On the frontier is what no other setting beats in both. It goes by the means: where intervals overlap, another
        sample may draw it otherwise.
        """
        return _fronts.pareto(self._some(), metric, cost, self._axes, better=_better(metric, better), ax=ax)

    def distribution(self, metric: str, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw how a metric is spread in each level of a column.

        Numbers are dots and a box, labels their shares with intervals, yes and no the share of yes.
        """
        return _rows.distribution(self._some(), metric, self._by(by), ax=ax)

    def latency(self, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw how long answers took, from sending to the whole answer, on a logarithmic axis."""
        return _rows.latency(self._some(), self._by(by), ax=ax)

    def tokens(self, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw the mean tokens of prompts and answers, cached and reasoning tokens apart."""
        return _rows.tokens(self._some(), self._by(by), ax=ax)

    def forest(
        self, contrast: pd.DataFrame | str = "template", metric: str | None = None, *, ax: Axes | None = None
    ) -> Plot:
        """Draw paired differences with their intervals: a table of `run.contrast`, or an axis and a metric.

        Filled marks have an adjusted p-value below 0.05.
        """
        if not isinstance(contrast, str):
            table = contrast if metric is None else contrast[contrast["metric"] == metric]
            return _contrasts.forest(table, ax=ax)
        if self._contrast is None or metric is None:
            msg = f"forest({contrast!r}) needs a metric, as in forest({contrast!r}, 'exact_match'), or a table of contrasts"
            raise PlotError(msg)
        return _contrasts.forest(self._contrast(contrast, metric), ax=ax)

    def effects(self, metric: str, *, ax: Axes | None = None) -> Plot:
        """Draw which axis matters: the share of a metric's variance that each axis, and each two together, explain."""
        if self._effects is None:
            msg = "effects() needs a run: take run.plot.effects(metric)"
            raise PlotError(msg)
        return _contrasts.effects(self._effects(metric), metric, ax=ax)

    def cost(self, *, ax: Axes | None = None) -> Plot:
        """Draw the money spent, added up over time, attempts without an answer included."""
        return _curves.cost(self._attempts() if self._attempts else None, self._name, ax=ax)

    def __repr__(self) -> str:
        names = ("heatmap", "line", "pareto", "distribution", "latency", "forest", "effects", "tokens", "cost")
        return f"<Plots of {_text.clipped(self._name, 60)!r}: {', '.join(f'.{name}' for name in names)}>"

    def _some(self) -> pd.DataFrame:
        if self._frame.empty:
            msg = f"{_text.clipped(self._name, 60)!r} has no trials, so there is nothing to draw"
            raise PlotError(msg)
        return self._frame

    def _by(self, by: str | None) -> str | None:
        """Return the column to divide by; where nothing was said and there is no template, all trials are one."""
        return None if by == "template" and by not in self._frame else by

    def _two(self, x: str | None, y: str | None) -> tuple[str, str]:
        across = x if x is not None else self._one("x", besides=(y,), last=y is None)
        down = y if y is not None else self._one("y", besides=(across,))
        return across, down

    def _one(self, role: str, *, besides: Sequence[str | None], last: bool = False) -> str:
        """Return the axis that is meant where none is named: the only one, or of two the last."""
        free = [name for name in self._axes if name not in besides]
        if len(free) == 1 or (last and len(free) == 2):  # noqa: PLR2004 - one for each side
            return free[-1]
        there = f"one of {', '.join(free)}" if free else "a column of the frame; no axis is left that varies"
        msg = f"{role}= is not given and not to be guessed; take {there}"
        raise PlotError(msg)


def _better(metric: str, better: Better | None) -> Better:
    if better not in ("higher", "lower", None):
        msg = f"better={_text.brief(better)} is neither 'higher' nor 'lower'"
        raise PlotError(msg)
    return better or ("lower" if metric in _COSTS else "higher")
