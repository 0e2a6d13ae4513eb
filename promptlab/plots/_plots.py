"""The plots of one run, or of several: `run.plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _contrasts, _curves, _fronts, _maps, _rows, _units
from promptlab.plots._plot import Plot

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NAMES = ("heatmap", "line", "pareto", "distribution", "latency", "forest", "effects", "tokens", "cost")


class Plots:
    """The plots of a frame of trials.

    A metric is any column of the frame that holds numbers: a scorer's, or `cost_usd`, `latency_ms`,
    `completion_tokens`, ... Means are over the trials that have a value; how many have none stands below each plot.

    Each plot is drawn into a figure of its own, or into the axes given as `ax=`, and comes as a `Plot`. All raise
    `AnalysisError` for a column that is not there, and where there is nothing to draw.

    Parameters
    ----------
    frame
        One row a trial, as `run.frame()` returns it.
    axes
        The columns that vary by design, such as template and temperature.
    name
        Of the run, for titles.
    attempts
        What reads the attempts, for `cost`: it returns a frame with the columns sent_at, state and cost_usd.

    >>> import tempfile
    >>> from promptlab.testing import sample_lab
    >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
    ...     plots = Plots(lab.load("capitals").frame(), ["template", "temperature"], "capitals")
    >>> plot = plots.tokens()
    >>> plot, plot.data["mean"].round(2).to_list()
    (<Plot tokens: tokens by template>, [27.0, 33.0])
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        axes: Sequence[str],
        name: str,
        *,
        attempts: Callable[[], pd.DataFrame] | None = None,
    ) -> None:
        self._frame, self._axes, self._name, self._attempts = frame, list(axes), name, attempts

    def heatmap(
        self,
        metric: str,
        x: str | None = None,
        y: str | None = None,
        *,
        lower_is_better: bool | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw the mean of a metric over two columns, each cell with its interval.

        Without x and y the two axes that vary are taken, where there are two. The bright end is the better one:
        `lower_is_better` says which that is, and is true of cost, latency and tokens where it is not given.
        """
        across, down = self._two(x, y)
        return _maps.heatmap(self._some(), metric, across, down, lower_is_better=lower_is_better, ax=ax)

    def line(
        self,
        metric: str,
        x: str | None = None,
        by: str | None = "template",
        *,
        lower_is_better: bool | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw the mean of a metric over x with intervals, one line a level of `by`; `by=None` draws one line.

        Numbers stand to scale on the x axis; names have a place each, and their marks are not joined. Without x the
        only other axis that varies is taken. Of more than seven lines the seven best are coloured.
        """
        across = x if x is not None else self._one("x", besides=(by,))
        return _curves.line(
            self._some(), metric, across, None if by == across else by, lower_is_better=lower_is_better, ax=ax
        )

    def pareto(
        self,
        metric: str,
        cost: str = "cost_usd",
        *,
        lower_is_better: bool | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw each setting's metric against its `cost_usd` or `latency_ms`, and the frontier.

        On the frontier is what no other setting beats in both. It goes by the means: where intervals overlap, another
        sample may draw it otherwise.
        """
        return _fronts.pareto(self._some(), metric, cost, self._axes, lower_is_better=lower_is_better, ax=ax)

    def distribution(self, metric: str, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw how a metric is spread in each level of a column; `by=None` takes all trials together.

        Numbers are dots and a box, labels their shares with intervals, yes and no (1 and 0) the share of yes.
        """
        return _rows.distribution(self._some(), metric, by, ax=ax)

    def latency(self, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw how long answers took, from sending to the whole answer, on a logarithmic axis."""
        return _rows.latency(self._some(), by, ax=ax)

    def tokens(self, by: str | None = "template", *, ax: Axes | None = None) -> Plot:
        """Draw the mean tokens of prompts and answers, cached and reasoning tokens apart."""
        return _rows.tokens(self._some(), by, ax=ax)

    def forest(
        self,
        contrast: pd.DataFrame | str = "template",
        metric: str | None = None,
        *,
        by: str | Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Plot:
        """Draw paired differences with their intervals: of an axis, or those of a table of `run.contrast`.

        Filled marks have an adjusted p-value below 0.05. `by="settings"` draws the differences within each setting of
        the other axes; of a table, `metric` chooses the rows.
        """
        if isinstance(contrast, str):
            from promptlab.analysis import contrasts  # noqa: PLC0415 - loads pandas

            contrast = contrasts.contrast(self._some(), self._axes, contrast, metric=metric, by=by)
        elif metric is not None:
            contrast = contrast[contrast["metric"] == metric]
        unit = _units.unit_of(self._frame, _contrasts.metric_of(contrast))
        return _contrasts.forest(contrast, unit, ax=ax)

    def effects(self, metric: str, *, ax: Axes | None = None) -> Plot:
        """Draw which axis matters: the share of a metric's variance that each, and each two together, explain."""
        from promptlab.analysis import shares  # noqa: PLC0415 - loads pandas

        return _contrasts.effects(shares.effects(self._some(), self._axes, metric=metric), metric, ax=ax)

    def cost(self, *, ax: Axes | None = None) -> Plot:
        """Draw the money spent, added up over time, attempts without an answer included."""
        return _curves.cost(self._attempts() if self._attempts else None, self._name, ax=ax)

    def __repr__(self) -> str:
        return f"<Plots of {_text.clipped(self._name, 60)!r}: {', '.join(f'.{name}' for name in _NAMES)}>"

    def _some(self) -> pd.DataFrame:
        if self._frame.empty:
            msg = f"{_text.clipped(self._name, 60)!r} has no trials, so there is nothing to draw"
            raise AnalysisError(msg)
        return self._frame

    def _two(self, x: str | None, y: str | None) -> tuple[str, str]:
        """Return the columns of a map; where neither is named, the first axis goes down and the second across."""
        if x is None and y is None and len(self._axes) == 2:  # noqa: PLR2004 - one for each side
            return self._axes[1], self._axes[0]
        across = x if x is not None else self._one("x", besides=(y,))
        return across, y if y is not None else self._one("y", besides=(across,))

    def _one(self, role: str, *, besides: Sequence[str | None]) -> str:
        """Return the axis that is meant where none is named: the only one that is left."""
        free = [name for name in self._axes if name not in besides]
        if len(free) == 1:
            return free[0]
        there = f"{role}= has to be one of {', '.join(free)}" if free else f"no axis varies that {role}= could be"
        msg = f"{there}, or any other column of the frame"
        raise AnalysisError(msg)
