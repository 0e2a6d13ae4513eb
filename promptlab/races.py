"""Races: a plan asked in blocks of cases, without the candidates that earlier blocks have shown to be beaten.

A race is one run of one plan. What it decides follows from the scores of the blocks that were asked, in an order drawn
by its seed, and is worked out anew each time: so a race that is run again asks nothing that the file holds, and ends as
it did. Trials that it leaves out are `stopped`, with the reason.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from promptlab import _text, analysis, racing, scoring
from promptlab.analysis import frames
from promptlab.errors import PlanError, ScoreError
from promptlab.launch import Round
from promptlab.plans import Plan
from promptlab.run import Run
from promptlab.scorers import Scorer, scorer
from promptlab.stats import Interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Status = Literal["winner", "tied", "open", "dropped"]

#: Columns of a frame that a race can be run on without a scorer.
METRICS = (
    *("cost_usd", "latency_ms", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    "total_tokens",
)
_WANTED = f"give a scorer, e.g. exact_match('capital'), or one of {', '.join(map(repr, METRICS))}"
_LABEL_CHARS = 120


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a candidate stands: a template in a setting.

    Attributes
    ----------
    settings
        Template, version, and what varies.
    status
        `winner`: the only one left. `tied`: one of several that could not be told apart on all cases. `open`: still in
        a race that has not come to its end. `dropped`.
    cases
        How many cases it was played on.
    mean
        Over those cases, with an interval that is this candidate's alone; None where nothing was scored.
    missing
        Trials on those cases without a score: no answer, or a score that failed.
    requests
        Trials that were asked, or that the file held.
    """

    candidate: str
    settings: Mapping[str, Any]
    status: Status
    cases: int
    mean: Interval | None
    missing: int
    requests: int
    reason: str

    @property
    def told(self) -> str:
        """The candidate with its mean."""
        return f"{self.candidate} ({'no score' if self.mean is None else f'{self.mean.estimate:.3g}'})"


@dataclass(frozen=True)
class Race:
    """A race and how it ended; `lab.race` makes one.

    Attributes
    ----------
    run
        Every trial of the plan; those that were left out are `stopped`, with the reason.
    metric
        The name of what was compared.
    standings
        The candidates: those that are left, the best mean first, then those that were dropped, the last one first.
    after, cases
        How many cases were played by those that are left, and how many there are.
    saved
        The share of the full sweep's requests that was not needed.
    is_over
        False where it was stopped early: by its user, the cap on money, or a failure.
    """

    run: Run
    metric: str
    standings: tuple[Standing, ...]
    after: int
    cases: int
    requests: int
    full_requests: int
    is_over: bool
    rule: racing.Rule = field(repr=False)

    @property
    def winner(self) -> str | None:
        """The only candidate that is left, None where there are several; see `verdict` for what that means."""
        first = self.standings[0]
        return first.candidate if first.status == "winner" else None

    @property
    def saved(self) -> float:
        """The share of the full sweep's requests that was not needed, from 0 to 1."""
        return 1 - self.requests / self.full_requests

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a candidate, as in `standings`.

        The columns are candidate, template, version, what varies, status, cases, mean, low, high (of its interval),
        missing, requests, reason.
        """
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        rows = []
        for each in self.standings:
            ends = (math.nan,) * 3 if each.mean is None else (each.mean.estimate, each.mean.low, each.mean.high)
            told = dict(zip(("mean", "low", "high"), ends, strict=True))
            counts = {"missing": each.missing, "requests": each.requests, "reason": each.reason}
            stands = {"status": each.status, "cases": each.cases}
            rows.append({"candidate": each.candidate, **each.settings, **stands, **told, **counts})
        return pd.DataFrame(rows)

    @property
    def verdict(self) -> str:
        """What the race showed, in words, with what it did not show."""
        return " ".join([*self._ends(), *self._dropped(), self._saving(), *self._cautions()])

    def _ends(self) -> Iterator[str]:
        left, cases = [each for each in self.standings if each.status != "dropped"], _text.count(self.after, "case")
        names = ", ".join(each.told for each in left)
        if not self.is_over:
            why = f" ({_text.clipped(self.run.reason, 200)})" if self.run.reason else ""
            yield f"The race stopped after {self.after:,} of {_text.count(self.cases, 'case')}{why}."
            yield f"Still open, by {self.metric}: {names}. Run the same again to go on."
        elif len(left) == 1:
            yield f"{left[0].told} is the one left, by {self.metric}, after {cases}."
        else:
            yield f"{len(left)} candidates cannot be told apart by {self.metric} after all {cases}: {names}."

    def _dropped(self) -> Iterator[str]:
        out = [each for each in self.standings if each.status == "dropped"]
        beaten = sum(": beaten by " in each.reason for each in out)
        near = [each.candidate for each in out if ": not better by " in each.reason]
        mute = len(out) - beaten - len(near)
        if beaten:
            confidence = f"{self.rule.confidence:.4g}"
            yield f"{_text.count(beaten, 'candidate')} beaten (confidence {confidence} for the whole race)."
        if near:
            margin, names = f"{self.rule.difference:g}", ", ".join(near)
            yield f"Dropped since not better by {margin}, which may mean as good or better by less: {names}."
        if mute:
            yield f"{_text.count(mute, 'candidate')} dropped without a single score; run.errors tells why."

    def _saving(self) -> str:
        asked, full = f"{self.requests:,}", _text.count(self.full_requests, "request")
        return f"{asked} of {full} of the full sweep were needed: {self.saved:.0%} saved."

    def _cautions(self) -> Iterator[str]:
        if missing := sum(each.missing for each in self.standings):
            yield f"{_text.count(missing, 'trial')} without a score; pairs that lack a side were left out."
        if self.is_over:
            yield (
                "The best of several looks better than it is, since chance helped to choose it: ask it on fresh cases"
                " before you quote its mean."
            )

    def __repr__(self) -> str:
        rows = [self._row(each) for each in self.standings]
        return (
            f"<Race {self.run.id} {_text.brief(self.run.name)}>\n{_text.text_table(rows, head=_HEAD)}\n{self.verdict}"
        )

    def _repr_html_(self) -> str:
        body = _text.html_table([self._row(each) for each in self.standings], head=_HEAD)
        title = f"Race · run {self.run.id} {self.run.name}"
        return _text.html_card(title, body + _text.html_list([self.verdict]), note=f"by {self.metric}")

    def _row(self, each: Standing) -> tuple[str, ...]:
        mean = each.mean
        told = "" if mean is None else f"{mean.estimate:.3g} [{mean.low:.3g}, {mean.high:.3g}]"
        return (
            each.candidate,
            each.status,
            f"{each.cases:,}",
            told,
            f"{each.missing:,}",
            f"{each.requests:,}",
            each.reason,
        )


_HEAD = ("candidate", "status", "cases", "mean [interval]", "missing", "requests", "why")


class Course:
    """In which order the trials of a race are asked, and which are left out; also how it stands.

    Parameters
    ----------
    metric
        A scorer, a function as `run.score` takes it, or one of `METRICS`.
    lower_is_better
        Whether less is better, as of costs.

    Raises
    ------
    PlanError
        Listing every problem with the race, before anything is sent.
    """

    is_over: bool
    _alive: list[int]
    _drops: list[racing.Drop]
    _played: int
    _values: NDArray[np.float64]  # candidates x cases x repeats: the plan's own order

    def __init__(
        self,
        plan: Plan,
        metric: str | Scorer | Callable[..., Any],
        *,
        block: int = 8,
        confidence: float = 0.95,
        difference: float = 0.0,
        seed: int = 0,
        lower_is_better: bool | None = None,
    ) -> None:
        self.candidates = len(plan.templates) * len(plan.grid)
        chosen = {"block": block, "confidence": confidence, "difference": difference, "seed": seed}
        if problems := [*_problems(self.candidates, metric, **chosen)]:
            raise PlanError(problems)
        self.metric = metric if isinstance(metric, str) else _scorer(metric, plan)
        self.rule = racing.Rule(self.candidates, len(plan.cases), block, confidence, difference)
        self._plan = plan
        self._named: Mapping[int, tuple[str, dict[str, Any]]] = {}
        self._sign = -1.0 if frames.less_is_better(self.name, lower_is_better) else 1.0
        self._order = list(range(len(plan.cases)))
        random.Random(seed).shuffle(self._order)  # noqa: S311 - a design, not a secret
        self._start_over()

    @property
    def name(self) -> str:
        """What the metric is called."""
        return self.metric if isinstance(self.metric, str) else self.metric.name

    @property
    def note(self) -> str:
        """The race in one line, kept with its run."""
        rule = self.rule
        margin = f", difference {rule.difference:g}" if rule.difference else ""
        return f"race by {self.name}: {rule.confidence:g} confidence{margin}, blocks of {rule.block}"

    def rounds(self, run: Run) -> Iterator[Round]:
        """Yield a block of cases for the candidates that are left, until one is left or the cases are used up."""
        self._start_over()
        left_out: dict[int, str] = {}
        for look in self.rule.looks:
            positions = list(self._positions(self._alive, self._order[self._played : look]))
            yield Round(positions, left_out)
            self._read(run, positions)
            self._played = look
            left_out = dict(self._judged(run))
            if len(self._alive) == 1:
                break
        self.is_over = True
        yield Round((), left_out)

    def race(self, run: Run) -> Race:
        """Return how the race stands, after its rounds were asked as far as they were."""
        frame = run.frame()
        asked = frame["status"].isin(["ok", "failed"]).to_numpy(copy=True).reshape(self._shape)
        outs = {drop.candidate: drop for drop in self._drops}
        for candidate in range(self.candidates):  # later blocks may be answered from other runs
            asked[candidate, self._order[self._reached(outs.get(candidate)) :]] = False
        names = self._names(run)
        standings = [self._standing(place, names, outs.get(place), int(asked[place].sum())) for place in names]
        standings.sort(key=self._rank)
        needed = frame["sample_id"].to_numpy()[asked.ravel()]
        return Race(
            run,
            self.name,
            tuple(standings),
            self._played,
            len(self._order),
            len(set(needed)),
            frame["sample_id"].nunique(),
            self.is_over,
            self.rule,
        )

    def _start_over(self) -> None:
        import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

        self.is_over = False
        self._alive = list(range(self.candidates))
        self._drops = []
        self._played = 0
        self._values = np.full(self._shape, math.nan)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.candidates, len(self._plan.cases), self._plan.repeats

    def _reached(self, drop: racing.Drop | None) -> int:
        """Return how many cases a candidate may have been asked on."""
        if drop:
            return drop.after
        is_going = not self.is_over
        return next((look for look in self.rule.looks if is_going and look > self._played), self._played)

    def _positions(self, candidates: Sequence[int], cases: Sequence[int]) -> Iterator[int]:
        """Yield the positions of candidates on cases, prompt by prompt, so that a provider's cache can help."""
        settings = len(self._plan.grid)
        for template in range(len(self._plan.templates)):
            own = [each for each in candidates if each // settings == template]
            for case in cases:
                for candidate in own:
                    first = (candidate * len(self._order) + case) * self._plan.repeats
                    yield from range(first, first + self._plan.repeats)

    def _read(self, run: Run, positions: Sequence[int]) -> None:
        """Score what was answered, unless the scores of these trials are at hand."""
        import numpy as np  # noqa: PLC0415 - see _start_over

        if not np.isfinite(self._values.ravel()[positions]).all():
            self._values = _scores(run, self.metric, len(self._plan)).reshape(self._shape)

    def _judged(self, run: Run) -> Iterator[tuple[int, str]]:
        """Drop who is beaten; yield the trials that are left out by that, each with the reason."""
        rest = self._order[self._played :]
        means = _means(self._values[:, self._order[: self._played]]) * self._sign
        drops = self.rule.dropped(means, self._alive)
        names = self._names(run) if drops else {}
        self._drops += drops
        for drop in drops:
            self._alive.remove(drop.candidate)
            reason = self._reason(drop, names)
            yield from ((position, reason) for position in self._positions([drop.candidate], rest))
        if len(self._alive) == 1:
            reason = f"not needed: the race was decided after {_text.count(self._played, 'case')}"
            yield from ((position, reason) for position in self._positions(self._alive, rest))

    def _reason(self, drop: racing.Drop, names: Mapping[int, tuple[str, Mapping[str, Any]]]) -> str:
        dropped = f"dropped by the race after {_text.count(drop.after, 'case')}"
        if drop.by is None:
            return f"{dropped}: none of them has a score"
        other = names[drop.by][0]
        margin = "" if drop.is_beaten else f"{self.rule.difference:g} than "
        return f"{dropped}: {'beaten by' if drop.is_beaten else 'not better by'} {margin}{other}"

    def _names(self, run: Run) -> Mapping[int, tuple[str, dict[str, Any]]]:
        """Return candidate -> what it is called, and its settings; of one plan they are always the same."""
        self._named = self._named or self._read_names(run)
        return self._named

    def _read_names(self, run: Run) -> dict[int, tuple[str, dict[str, Any]]]:
        frame, columns = run.frame(), run.setting_columns
        first = frame.iloc[:: len(self._order) * self._plan.repeats][columns].to_dict("records")
        settings: list[dict[str, Any]] = [{str(name): value for name, value in each.items()} for each in first]
        versions = {(each["template"], each["version"]) for each in settings}
        is_shared = len(versions) > len({name for name, _ in versions})
        return {place: (_label(each, is_shared=is_shared), each) for place, each in enumerate(settings)}

    def _standing(
        self, place: int, names: Mapping[int, tuple[str, dict[str, Any]]], drop: racing.Drop | None, requests: int
    ) -> Standing:
        import numpy as np  # noqa: PLC0415 - see _start_over

        left: Status = "open" if not self.is_over else "winner" if len(self._alive) == 1 else "tied"
        cases = drop.after if drop else self._played
        values = self._values[place, self._order[:cases]]
        return Standing(
            *names[place],
            status="dropped" if drop else left,
            cases=cases,
            mean=_estimate(values, self.name),
            missing=int(np.isnan(values).sum()),
            requests=requests,
            reason=self._reason(drop, names) if drop else "",
        )

    def _rank(self, each: Standing) -> tuple[bool, int, bool, float]:
        mean = math.nan if each.mean is None else each.mean.estimate * self._sign
        return each.status == "dropped", -each.cases, math.isnan(mean), -mean


def _problems(
    candidates: int, metric: object, *, block: object, confidence: object, difference: object, seed: object
) -> Iterator[str]:
    """Yield what is wrong with a race, one sentence each."""
    if candidates < 2:  # noqa: PLR2004 - a race needs two
        yield "a race needs at least two candidates: give several templates, or a grid with several settings"
    if isinstance(metric, str) and metric not in METRICS:
        near = _text.nearest(metric, METRICS)
        hint = f"did you mean {near!r}? " if near else ""
        yield f"metric={_text.brief(metric)}: {hint}{_WANTED}"
    elif not isinstance(metric, str) and not callable(metric) and not isinstance(metric, Scorer):
        yield f"metric={_text.brief(metric)}: {_WANTED}"
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        yield f"block={_text.brief(block)}: a whole number of cases from 1 is needed"
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.5 <= confidence < 1:  # noqa: PLR2004 - a coin's
        yield f"confidence={_text.brief(confidence)}: a number from 0.5 to below 1 is needed, e.g. 0.95"
    if isinstance(seed, bool) or not isinstance(seed, int):
        yield f"seed={_text.brief(seed)}: a whole number is needed"
    is_number = isinstance(difference, int | float) and not isinstance(difference, bool)
    if not is_number or not 0 <= difference < math.inf:  # type: ignore[operator]  # is_number says that it is one
        yield f"difference={_text.brief(difference)}: a number from 0 is needed, in the metric's unit"


def _scorer(metric: Scorer | Callable[..., Any], plan: Plan) -> Scorer:
    """Return what scores, if it finds what it needs in the plan's cases."""
    made = scorer(metric)
    problems = [*scoring.problems_of(made, plan.cases.columns, whose="the cases")]
    if problems:
        raise PlanError(problems)
    return made


def _label(settings: Mapping[str, Any], *, is_shared: bool) -> str:
    template, version, *others = settings.items()
    name = f"{template[1]}@{version[1]}" if is_shared else str(template[1])
    return _text.clipped(", ".join([name, *(f"{key}={value}" for key, value in others)]), _LABEL_CHARS)


def _scores(run: Run, metric: str | Scorer, trials: int) -> NDArray[np.float64]:
    """Return one number a trial, NaN where there is none; what has no score yet is scored."""
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    if isinstance(metric, str):
        return run.frame()[metric].to_numpy(dtype=np.float64, na_value=math.nan)
    run.score(metric)
    scores = run.scores()
    own = scores[scores["config_key"] == metric.key]
    if len(own) and own["value"].isna().all() and own["label"].notna().any():
        msg = f"{metric.name} gives labels, and a race needs numbers: let the scorer return a bool or a number"
        raise ScoreError(msg)
    values = np.full(trials, math.nan)
    values[own["position"].to_numpy(dtype=np.intp)] = own["value"].to_numpy()
    return values


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means over repeats, of those that have a score; NaN where none has."""
    import numpy as np  # noqa: PLC0415 - see _scores

    known = np.isfinite(values)
    counts = known.sum(axis=-1)
    means = np.full(counts.shape, math.nan)
    np.divide(np.where(known, values, 0).sum(axis=-1), counts, out=means, where=counts > 0)
    return means


def _estimate(values: NDArray[np.float64], metric: str) -> Interval | None:
    """Return the mean of cases x repeats with its 95 % interval, as in `run.summary`; None where none has a score."""
    import numpy as np  # noqa: PLC0415 - see _scores

    known = np.isfinite(values)
    if not known.any():
        return None
    return analysis.estimate(values[known].tolist(), np.nonzero(known)[0].tolist(), metric=metric)
