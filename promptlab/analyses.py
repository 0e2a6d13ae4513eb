"""The questions one can ask of results: the mixin that a run has, and several runs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.stats import CONFIDENCE

if TYPE_CHECKING:
    import pandas as pd

    from promptlab.analysis.frames import By
    from promptlab.analysis.tables import Table
    from promptlab.plots import Plots


class Analysis:
    """What can be asked of trials; whoever inherits it has their `frame` and their `axes`.

    Every answer is a `promptlab.analysis.tables.Table`: a DataFrame with documented columns, and a `.verdict` in words.
    """

    #: Axes that are not held equal when others are compared: trials that differ in them alone count as repeats.
    _pooled: ClassVar[tuple[str, ...]] = ()

    def frame(self) -> pd.DataFrame:
        """Return one row a trial."""
        raise NotImplementedError

    @property
    def axes(self) -> list[str]:
        """The columns of the frame that were varied on purpose: template, version, parameters; not case and repeat."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What a plot is headed with."""
        raise NotImplementedError

    def attempts(self) -> pd.DataFrame:
        """Return one row an attempt."""
        raise NotImplementedError

    @property
    def plot(self) -> Plots:
        """The plots: `.plot.heatmap(...)`, `.line`, `.pareto`, `.distribution`, `.latency`, `.forest`, `.effects`, ...

        Each returns a `promptlab.plots.Plot`, with its data, its axes and a sentence that says what is seen.
        """
        from promptlab.plots import Plots  # noqa: PLC0415 - loads pandas and matplotlib

        return Plots(*self._studied(), self.name, attempts=self.attempts)

    def _studied(self) -> tuple[pd.DataFrame, list[str]]:
        """Return the frame and its axes, read together."""
        return self.frame(), self.axes

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

        return summaries.summary(*self._studied(), by=by, metric=metric, failed_as=failed_as, confidence=confidence)

    def contrast(
        self,
        axis: str,
        metric: str | Sequence[str] | None = None,
        *,
        levels: Sequence[Any] | None = None,
        against: Any = None,
        by: By = None,
        lower_is_better: bool | None = None,
        resolve: float | None = None,
        failed_as: float | None = None,
        confidence: float = CONFIDENCE,
        seed: int = 0,
    ) -> Table:
        """Return by how much the levels of an axis differ, each with each: one row a pair and metric.

        Trials are paired: the same case under the same other settings. Repeats are averaged first, then a case's
        differences over its settings, so that a case counts once. With it come an interval, a permutation p-value, its
        adjustment over the table (Holm), McNemar's test where scores are single and binary, the pairs that had to be
        dropped, and how many cases more it would take. `.verdict` says it in words; it calls a difference shown only
        where the adjusted p-value and the interval both say so. The columns are those of
        `promptlab.analysis.contrasts.COLUMNS`.

        Parameters
        ----------
        axis
            One of `axes`, e.g. `"template"`.
        metric
            Scores, or other numeric columns; all scores by default.
        levels
            Only these values of the axis.
        against
            A baseline: only the contrasts with this value.
        by
            `"settings"`: one row for every combination of the other axes; or any columns, to contrast within each of
            their values. Left out, one row over all, and the verdict says in how many settings it holds.
        lower_is_better
            Less is better by default for cost, latency, length and tokens, more for all others.
        resolve
            The size of a difference, in the metric's unit (0.05 is 5 points of a rate), that `more_cases` is for; the
            observed one by default, which is itself uncertain.
        failed_as
            What a failed trial scores, e.g. 0; left out, its pairs are dropped and counted.

        Raises
        ------
        AnalysisError
            Where the axis did not vary, or a level or metric is not there.

        >>> import tempfile
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     table = lab.load("capitals").contrast("template", "completion_tokens")
        >>> table[["level", "against", "difference", "cases", "dropped_failed"]].to_dict("records")
        [{'level': 'chatty', 'against': 'terse', 'difference': 6.0, 'cases': 3, 'dropped_failed': 2}]
        """
        from promptlab.analysis import contrasts  # noqa: PLC0415 - loads pandas

        return contrasts.contrast(
            *self._studied(),
            axis,
            metric=metric,
            levels=levels,
            against=against,
            by=by,
            lower_is_better=lower_is_better,
            resolve=resolve,
            failed_as=failed_as,
            confidence=confidence,
            seed=seed,
            pooled=self._pooled,
        )

    def effects(self, metric: str | Sequence[str] | None = None, *, failed_as: float | None = None) -> Table:
        """Return how much of a metric's variance each axis explains, and each two together: one row a term.

        The columns are those of `promptlab.analysis.shares.COLUMNS`: metric, term, share, df, p. The case, and the
        rest (chance, and whatever is not named), stand last.

        Raises
        ------
        AnalysisError
            Where nothing varied, or the metric is not there.
        """
        from promptlab.analysis import shares  # noqa: PLC0415 - loads pandas

        return shares.effects(*self._studied(), metric=metric, failed_as=failed_as)

    def best(
        self,
        metric: str | None = None,
        *,
        by: By = None,
        at_most: Mapping[str, float] | None = None,
        lower_is_better: bool | None = None,
        failed_as: float | None = None,
        confidence: float = CONFIDENCE,
        seed: int = 0,
    ) -> Table:
        """Return the settings in order of a metric, the best first, and which of them may be the best.

        A setting is among the best unless its paired difference to the first is shown to be worse (p-values adjusted
        after Holm, and the interval apart from 0). The first was chosen by the same scores, so its own mean is likely
        too high, the more so the more settings there are: check it on new cases. The columns are those of
        `promptlab.analysis.rankings.COLUMNS`.

        Parameters
        ----------
        metric
            A score or another numeric column; the score by default, where there is only one.
        by
            The axes that make a setting; all by default.
        at_most
            Limits, e.g. `{"cost_usd": 0.001, "latency_ms": 800}`, held against the mean (the median of latency);
            settings that are above one, or of which it is unknown, are left out and counted.

        Raises
        ------
        AnalysisError
            Where the metric is not there or is one of several, or no setting is within the limits.
        """
        from promptlab.analysis import rankings  # noqa: PLC0415 - loads pandas

        return rankings.best(
            *self._studied(),
            metric=metric,
            by=by,
            at_most=at_most,
            lower_is_better=lower_is_better,
            failed_as=failed_as,
            confidence=confidence,
            seed=seed,
            pooled=self._pooled,
        )

    def variety(
        self,
        by: By = None,
        *,
        metric: str | None = None,
        k: int | Sequence[int] | None = None,
        answer: str = "output",
        confidence: float = CONFIDENCE,
        seed: int = 0,
    ) -> Table:
        """Return how alike the repeats of one request are, by group: one row a group and measure.

        `agreement` is the share of pairs of repeats that are equal (but for white space around them), `one_answer` the
        share of cells whose repeats are all equal, `distinct_1` and `distinct_2` the share of words and of pairs of
        words that are different. With a metric of right and wrong: `pass@k`, the chance that one of k samples is right,
        and `majority`, how often the answer that most repeats gave is. The columns are those of
        `promptlab.analysis.varieties.COLUMNS`.

        Parameters
        ----------
        by
            Any columns, e.g. `"temperature"`; the template and everything that varies by default.
        metric
            A score of 0 and 1.
        k
            The sizes for `pass@k`; 1 and the number of repeats by default.
        answer
            The column with the answers to compare; that of a scorer's label counts answers of one meaning as equal.

        Raises
        ------
        AnalysisError
            Where a column is not there, or the metric is neither 0 nor 1.
        """
        from promptlab.analysis import varieties  # noqa: PLC0415 - loads pandas

        return varieties.variety(
            *self._studied(),
            by=by,
            metric=metric,
            k=k,
            answer=answer,
            confidence=confidence,
            seed=seed,
            pooled=self._pooled,
        )


class Analysed(Protocol):
    """A run, as far as it is needed to analyse it with others."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def axes(self) -> list[str]:
        """What varied by plan."""

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that did not."""

    def frame(self) -> pd.DataFrame:
        """Return one row a trial."""

    def attempts(self) -> pd.DataFrame:
        """Return one row an attempt."""


class Runs(Analysis):
    """Several runs, analysed together: their trials are one frame, with an axis `run` more.

    The same case is known by its values in the columns that the runs share, so `contrast("run")` is paired. When
    another axis is contrasted, trials of several runs with the same setting count as repeats.

    Raises
    ------
    AnalysisError
        When there is no run, or one is given twice.
    """

    _pooled = ("run",)

    def __init__(self, runs: Sequence[Analysed]) -> None:
        twice = [key for key, number in Counter(run.id for run in runs).items() if number > 1]
        if twice or not runs:
            msg = f"run {twice[0]} is given twice" if twice else "no runs are given; name some, see lab.runs()"
            raise AnalysisError(msg)
        self._runs = list(runs)

    @property
    def name(self) -> str:
        """The names of the runs."""
        return ", ".join(self.labels)

    @property
    def labels(self) -> list[str]:
        """The values of the column `run`: the names, with the id behind a name that several have."""
        names = Counter(run.name for run in self._runs)
        return [run.name if names[run.name] == 1 else f"{run.name} #{run.id}" for run in self._runs]

    def frame(self) -> pd.DataFrame:
        """Return the trials of all runs: `run`, then the columns of a run's frame; `case` is the same for equal cases.

        A parameter that was the same all over one run, but not in another, has a column as well.
        """
        return self._studied()[0]

    def attempts(self) -> pd.DataFrame:
        """Return the attempts of all runs: `run`, then the columns of a run's own."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        parts = [run.attempts().assign(run=label) for label, run in zip(self.labels, self._runs, strict=True)]
        joined = pd.concat(parts, ignore_index=True)
        return joined[["run", *(name for name in joined.columns if name != "run")]]

    @property
    def axes(self) -> list[str]:
        """The columns that vary within or between runs: run, template, version, parameters."""
        return self._studied()[1]

    def _studied(self) -> tuple[pd.DataFrame, list[str]]:
        from promptlab.analysis import together  # noqa: PLC0415 - loads pandas

        return together.joined(
            [
                together.Part(label, run.frame(), run.axes, run.fixed)
                for label, run in zip(self.labels, self._runs, strict=True)
            ]
        )

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<Runs {_text.clipped(self.name, 200)}>"
