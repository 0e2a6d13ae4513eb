"""One or several runs, laid out: the trials, what is said of them, and the present layout.

A cell holds every trial of its row and column: its repeats, and whatever else varies that stands on neither side. What
it shows is its most frequent answer. Rows keep their order while a run fills them; `refresh` orders them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from promptlab import judgements, scorers, search
from promptlab.comparison import filters, order
from promptlab.comparison.axes import Axes
from promptlab.comparison.layout import Layout
from promptlab.comparison.spec import RATINGS, Spec
from promptlab.comparison.trials import MEASURES, NO_OUTPUT, Floats, Ints, Trials
from promptlab.judgements import Judgement
from promptlab.store import Store


class Table:
    """One or several runs, laid out as a spec says.

    Parameters
    ----------
    rater
        Whose ratings count where rows are filtered by them; the login name by default.

    Attributes
    ----------
    spec
        With the defaults filled in.
    version
        Goes up by one whenever rows, columns or their order may mean something else.
    """

    def __init__(
        self, store: Store, run_ids: Sequence[int], spec: Spec | None = None, *, rater: str | None = None
    ) -> None:
        self.store = store
        self.rater = judgements.rater_name(rater)
        self.version = 0
        self.trials = Trials(store, run_ids)
        self.axes = Axes(self.trials)
        self.lay_out(spec or Spec())

    @property
    def spec(self) -> Spec:
        """The present spec."""
        return self.layout.spec

    def lay_out(self, spec: Spec) -> None:
        """Take another spec; one that cannot be raises `ComparisonError` and changes nothing.

        The column that rows were sorted by already is let go where the spec has it no more.
        """
        before = getattr(self, "layout", None)
        self.trials.check()
        layout = Layout(self.trials, self.axes, spec.fitted(self.axes, self.trials.scorers if spec.scorer else ()))
        if before is not None and before.spec.sort == spec.sort and not layout.has_sort_column:
            self.lay_out(replace(spec, sort=replace(spec.sort, column=None)))
            return
        self.layout = layout
        try:
            self._search()
            self.layout.order = order.ordered(self, filters.rows_left(self))
        except BaseException:
            if before is not None:
                self.layout = before
            raise
        self.version += 1

    def refresh(self) -> None:
        """Lay out anew what the file holds now."""
        if self.trials.has_grown:
            self.trials = Trials(self.store, self.trials.run_ids)
            self.axes = Axes(self.trials)
        else:
            self.trials.update()
            self.trials.forget_scores()
        self.forget_judgements()
        self.lay_out(self.spec)

    def update(self) -> Ints:
        """Look for answers that came, and return the trials that changed; rows and their order stay as they are."""
        changed = self.trials.update()
        layout = self.layout
        if len(changed):
            layout.forget_answers()
            if layout.changes is not None:
                layout.changes[layout.cells_of(changed)] = np.nan
        self.forget_judgements()
        return changed

    @property
    def folded(self) -> list[str]:
        """The axes that are on neither side, though a row and a column hold several of their values."""
        of_no_interest = {*self.spec.rows, *self.spec.levels, "case"}
        on_rows = {self.axes[name].kind for name in self.spec.rows}
        return [
            axis.name
            for axis in self.axes.varying
            if axis.name not in of_no_interest and not (axis.kind == "case" and "case" in on_rows)
        ]

    def _search(self) -> None:
        if text := self.spec.search.strip():
            outputs = self.trials.output[self.layout.members]
            found = search.outputs_with(
                self.store, text, outputs[outputs != NO_OUTPUT].tolist(), is_ranked=self.spec.sort.by == "rank"
            )
            self.layout.search = found if found.patterns else None

    # Numbers, one a trial

    def measure(self, name: str) -> Floats:
        """Return latency_ms, cost_usd, completion_tokens, length, score or rating of each trial, NaN where unknown."""
        if name == "score":
            return self.trials.scores(self.scorer)
        return self.mean_ratings if name == "rating" else MEASURES[name](self.trials)

    @property
    def quality(self) -> Floats:
        """What tells how good each answer is: its score, or where nothing was scored the mean of its ratings."""
        return self.mean_ratings if self.scorer is None else self.measure("score")

    @property
    def scorer(self) -> str | None:
        """Whose scores are shown: the spec's, or else the one that scored last, of those that judge."""
        judging = (scorer for scorer in self.trials.scorers if scorer not in scorers.MEASURES)
        return self.spec.scorer or next(judging, None)

    # What people say

    @cached_property
    def judged(self) -> dict[int, Judgement]:
        """What people say now of the outputs of these runs."""
        outputs = self.trials.output[self.trials.output != NO_OUTPUT]
        if not len(outputs):
            return {}
        found = judgements.between(self.store, int(outputs.min()), int(outputs.max()))
        keys = np.array(list(found), np.int64)
        return {key: found[key] for key in keys[np.isin(keys, outputs)].tolist()}

    def forget_judgements(self) -> None:
        """Read them anew next time."""
        self.__dict__.pop("judged", None)

    def of_outputs(self, value: Callable[[Judgement], float], missing: float = np.nan) -> Floats:
        """Return a number a trial, made of what is said of its output."""
        column = np.full(len(self.trials), missing)
        said = {key: value(judgement) for key, judgement in self.judged.items()}
        places: Ints = np.flatnonzero(np.isin(self.trials.output, list(said)))
        column[places] = [said[key] for key in self.trials.output[places].tolist()]
        return column

    @property
    def my_ratings(self) -> Floats:
        """The rater's own rating of each trial's output as a place in `RATINGS`, NaN where there is none."""
        places = {(float(value), scale): float(place) for place, (scale, value) in enumerate(RATINGS)}
        return self.of_outputs(lambda said: places.get(said.ratings.get(self.rater, (np.nan, "")), np.nan))

    @property
    def mean_ratings(self) -> Floats:
        """The mean of everybody's ratings of each trial's output, on the scale that most are on."""
        scale = self.scale

        def mean(said: Judgement) -> float:
            values = [value for value, of in said.ratings.values() if of == scale]
            return sum(values) / len(values) if values else np.nan

        return self.of_outputs(mean)

    @property
    def scale(self) -> str | None:
        """The scale that most ratings are on."""
        scales = [scale for said in self.judged.values() for _, scale in said.ratings.values()]
        return max(dict.fromkeys(scales), key=scales.count) if scales else None
