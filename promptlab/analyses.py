"""The questions one can ask of results: the mixin that a run has, and several runs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptlab.stats import CONFIDENCE

if TYPE_CHECKING:
    import pandas as pd

    from promptlab.analysis.frames import By
    from promptlab.analysis.tables import Table


class Analysis:
    """What can be asked of trials; whoever inherits it has their `frame` and their `axes`."""

    def frame(self) -> pd.DataFrame:
        """Return one row a trial."""
        raise NotImplementedError

    @property
    def axes(self) -> list[str]:
        """The columns of the frame that were varied on purpose: template, version, parameters; not case and repeat."""
        raise NotImplementedError

    def summary(
        self,
        by: By = None,
        *,
        metric: str | Sequence[str] | None = None,
        failed_as: float | None = None,
        confidence: float = CONFIDENCE,
    ) -> Table:
        """Return what each group of trials scored, cost and took: one row a group and metric.

        The columns are those of `by`, then those of `promptlab.analysis.summaries.COLUMNS`: mean, low, high, n, cases,
        failed, missing, mean cost, median latency, mean tokens.

        Parameters
        ----------
        by
            Any columns of `frame()`, those of the cases too; the template and everything that varies by default.
        metric
            Scores, or other numeric columns; all scores by default, and where there is none only cost, latency and
            tokens.
        failed_as
            What a failed trial counts as, e.g. 0; left out, means are over the trials with a value.
        confidence
            Of the intervals, which are over cases: repeats of one case are alike.

        Raises
        ------
        AnalysisError
            Where a name is no column, or a metric no number.
        """
        from promptlab.analysis import summaries  # noqa: PLC0415 - loads pandas

        return summaries.summary(
            self.frame(), self.axes, by=by, metric=metric, failed_as=failed_as, confidence=confidence
        )
