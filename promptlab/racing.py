"""The rule of a race: after every block of cases, which candidates are dropped, by whom.

Pure: a matrix of scores in, drops out. Candidates are compared in pairs, on the cases that both have a score for, so
that easy and hard cases favour neither. The rule keeps one promise, the confidence: a candidate that is better than
every other (by at least `difference`, where that is given) is dropped, ever in the whole race, with a probability of at
most one minus it, however many the others are and however often one looks.

Sources: racing is that of Maron and Moore (1994), NIPS 6:59, in blocks and by paired differences as in Moore and Lee
(1994), ICML 11:190. The test is the sum of the differences over the root of the sum of their squares (Efron 1969, JASA
64:1278): Student's t in another form, which for few cases cannot be large. All looks share one critical value (Pocock
1977, Biometrika 64:191), found by the recursion of Armitage, McPherson and Rowe (1969), JRSS A 132:235; the opponents
share the error by Bonferroni. A difference that does not matter is the indifference zone of Paulson (1964), AMS 35:174.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POINTS = 300  # of the grid on which the recursion integrates: the critical value is good to three decimals
_MUTE_CASES = 8  # without a score, until a candidate is out: one failure is no reason
_FAR = 8.0  # standard deviations below which nothing is integrated


@dataclass(frozen=True, slots=True)
class Drop:
    """A candidate that is out.

    Attributes
    ----------
    candidate, by
        Places of the candidate and of what it was compared with; `by` is None where it has no score at all.
    after
        How many cases had been played.
    is_beaten
        Whether the other was shown to be better; else only that this one is not better by `difference`.
    """

    candidate: int
    by: int | None
    after: int
    is_beaten: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """When a candidate is dropped.

    With 12 candidates over 200 cases of right or wrong, blocks of 8, at 95 % (simulated, `tests/test_racing.py`): where
    the means are spread out and the best is 10 points ahead of the second, the best is found in at least 95 % of races
    with at most half of the requests; the same holds where it is 20 points ahead of eleven equal ones, or 10 points
    with `difference=0.1`. Ten points ahead of eleven equal ones without `difference` takes nearly all requests, since
    200 such cases hardly show it. Where the two best are closer than that, both are still there at the end.

    Parameters
    ----------
    candidates, cases
        How many there are.
    block
        Cases between two looks.
    confidence
        Of the whole race, between 0.5 and 1.
    difference
        What does not matter, in the metric's unit: a candidate is dropped as well when it is shown not to be better by
        that much than one that is ahead of it. 0: only what is beaten is dropped.
    """

    candidates: int
    cases: int
    block: int = 8
    confidence: float = 0.95
    difference: float = 0.0
    looks: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", (*range(self.block, self.cases, self.block), self.cases))

    @property
    def critical(self) -> float:
        """The value of the test from which a candidate is out, in standard errors."""
        return critical_value(self.looks, (1 - self.confidence) / max(1, self.candidates - 1))

    def dropped(self, scores: NDArray[np.float64], alive: Sequence[int]) -> list[Drop]:
        """Return who of those alive is out, given the scores so far.

        Parameters
        ----------
        scores
            Candidates x cases played; more is better, NaN where there is no score.
        """
        import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

        after, here = scores.shape[1], scores[list(alive)]
        is_early = after < min(_MUTE_CASES, self.cases)
        has_scores = [bool(np.isfinite(row).any()) for row in here]
        if not any(has_scores):
            return []
        found = []
        for place, candidate in enumerate(alive):
            if not has_scores[place] and not is_early:
                found.append(Drop(candidate, None, after, is_beaten=False))
            elif (lost := self._lost(here, place)) is not None:
                found.append(Drop(candidate, alive[lost[0]], after, is_beaten=lost[1]))
        return found

    def _lost(self, here: NDArray[np.float64], place: int) -> tuple[int, bool] | None:
        """Return against whom a candidate is out, and whether it is beaten; None when it stays."""
        behind = here - here[place]
        tests = _tests(behind)
        worst = int(tests.argmax())
        if tests[worst] >= self.critical:
            return worst, True
        spread = _spread(here)
        if not self.difference or not spread:  # where all scores are equal, nothing says how much they can differ
            return None
        tests = _tests(behind + self.difference, least=self.difference * max(0.0, spread - self.difference))
        tests[~_are_ahead(behind, place)] = -math.inf
        worst = int(tests.argmax())
        return (worst, False) if tests[worst] >= self.critical else None


def _spread(scores: NDArray[np.float64]) -> float:
    """Return how far the scores lie apart that were seen."""
    import numpy as np  # noqa: PLC0415 - see Rule.dropped

    return float(np.nanmax(scores) - np.nanmin(scores))


def _tests(differences: NDArray[np.float64], *, least: float = 0.0) -> NDArray[np.float64]:
    """Return the test of each row: its sum over the root of its sum of squares; 0 where nothing differs.

    `least` is the variance that a difference has at least. One of right and wrong whose mean is m is 1 in a share m of
    the cases or more, and 0 else: its variance is at least m (1 - m), however many of the cases seen are equal.
    """
    import numpy as np  # noqa: PLC0415 - see Rule.dropped

    known = np.nan_to_num(differences)
    roots = np.sqrt(np.maximum((known**2).sum(axis=1), least * np.isfinite(differences).sum(axis=1)))
    tests: NDArray[np.float64] = np.divide(known.sum(axis=1), roots, out=np.zeros(len(known)), where=roots > 0)
    return tests


def _are_ahead(differences: NDArray[np.float64], place: int) -> NDArray[np.bool_]:
    """Return which are ahead of the one at a place, by their differences to it; of two that are level, the first is."""
    import numpy as np  # noqa: PLC0415 - see Rule.dropped

    totals, places = np.nansum(differences, axis=1), np.arange(len(differences))
    ahead: NDArray[np.bool_] = (totals > 0) | ((totals == 0) & (places < place))
    return ahead


def race(scores: NDArray[np.float64], rule: Rule) -> Iterator[tuple[list[int], list[Drop]]]:
    """Yield who is left and who was dropped after each look, until one is left or the cases are used up.

    Parameters
    ----------
    scores
        Candidates x cases, the cases in the order in which they are played. Those that have been dropped are not read.

    >>> import numpy as np
    >>> right, wrong = np.ones((1, 40)), np.zeros((1, 40))
    >>> [left for left, _ in race(np.vstack([right, wrong, right]), Rule(3, 40, block=10))]
    [[0, 2], [0, 2], [0, 2], [0, 2]]
    """
    alive = list(range(rule.candidates))
    for look in rule.looks:
        drops = rule.dropped(scores[:, :look], alive)
        out = {drop.candidate for drop in drops}
        alive = [candidate for candidate in alive if candidate not in out]
        yield alive, drops
        if len(alive) == 1:
            return


@cache
def critical_value(looks: tuple[int, ...], error: float) -> float:
    """Return the value that a sum of equal normal steps, over its standard deviation, reaches at some look by chance.

    One-sided; `looks` are the numbers of steps, `error` the probability. Pocock's own table has 2.413 for five looks
    and 0.05 on two sides:

    >>> round(critical_value((1, 2, 3, 4, 5), 0.025), 2)
    2.41
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    return float(brentq(lambda value: _crossing(value, looks) - error, 0.0, 9.0, xtol=1e-4))


def _crossing(value: float, looks: Sequence[int]) -> float:
    """Return the probability that the sum is at or above `value` standard deviations at some look."""
    import numpy as np  # noqa: PLC0415 - see Rule.dropped
    from scipy.special import ndtr  # noqa: PLC0415 - see critical_value

    crossed, sums, mass, before = 0.0, np.zeros(1), np.ones(1), 0
    for look in looks:
        step, bound = math.sqrt(look - before), value * math.sqrt(look)
        crossed += float(mass @ ndtr((sums - bound) / step))
        ends = np.linspace(-_FAR * math.sqrt(look), bound, _POINTS)
        weights = np.full(_POINTS, ends[1] - ends[0])
        weights[[0, -1]] /= 2
        density = np.exp(-(((ends[:, None] - sums) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        sums, mass, before = ends, (density @ mass) * weights, look
    return crossed
