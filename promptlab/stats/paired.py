"""Paired comparison: two settings on the same cases, how they differ and whether that could be chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlab.stats.intervals import CONFIDENCE, Interval, by_group, mean_interval
from promptlab.stats.votes import p_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Paired:
    """What differences between two settings on the same cases show.

    Attributes
    ----------
    difference
        The mean difference, with the interval of `mean_interval`.
    p
        How often a mean at least as far from 0 would come about if each case's difference had either sign by chance.
    n
        The number of cases (groups).
    method
        How p was found: `exact`, or by random sign flips.
    """

    difference: Interval
    p: float
    n: int
    method: str

    def __repr__(self) -> str:
        return f"<Paired {self.difference!r}, {self.n} cases, {p_text(self.p)}>"


def paired(
    differences: Sequence[float], groups: Sequence[Hashable], *, confidence: float = CONFIDENCE, seed: int = 0
) -> Paired:
    """Return the mean of paired differences with an interval, and a permutation test against 0.

    The test flips the sign of all differences of a group together: exactly, over every pattern, where at most 14 groups
    differ from 0 at all, else over 10,000 patterns drawn by the seed, the one observed counted with them.

    Source: Fisher (1935), The Design of Experiments, section 21; the count of drawn patterns after Phipson and Smyth
    (2010), Statistical Applications in Genetics and Molecular Biology 9(1):39.

    >>> paired([1, 1, 1, 0, 1, -1, 1, 1], "abcdefgh")
    <Paired 0.625 [0.00298, 1.25], 8 cases, p = 0.12>
    """
    interval = mean_interval(differences, groups, confidence=confidence, seed=seed)
    totals, _ = by_group(differences, groups)
    decided = totals[totals != 0]
    if not len(decided):
        return Paired(interval, 1.0, len(totals), "exact")
    if len(decided) <= _MOST_EXACT:
        return Paired(interval, _exact_p(decided), len(totals), "exact")
    return Paired(interval, _drawn_p(decided, seed), len(totals), f"{FLIPS:,} random sign flips")


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: could those that changed have changed either way by chance.

    Source: McNemar (1947), Psychometrika 12:153, by the binomial distribution.

    >>> round(mcnemar(10, 2), 4)
    0.0386
    """
    if wins + losses == 0:
        return 1.0
    from scipy.stats import binomtest  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    return float(binomtest(wins, wins + losses).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are, so that one wrong claim among all stays as rare as said.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.

    >>> holm([0.01, 0.04, 0.03, 0.005])
    [0.03, 0.06, 0.06, 0.02]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def cases_needed(
    differences: Sequence[float],
    groups: Sequence[Hashable],
    *,
    difference: float | None = None,
    power: float = 0.8,
    confidence: float = CONFIDENCE,
) -> int | None:
    """Return how many cases a study needs to show a mean difference of a size, with so much power.

    The cases' spread is that of the differences given, which are few: take the number for its order of magnitude.

    Parameters
    ----------
    difference
        The size to be shown; the mean observed by default.

    Returns
    -------
    int or None
        The number of cases (groups) in all; None where it is unknown: fewer than two groups, no spread, no difference.

    Source: the paired t-test's power by the noncentral t distribution; Cohen (1988), Statistical Power Analysis,
    section 2.3.

    >>> cases_needed([0.4, -0.1, 0.3, 0.2, -0.2, 0.5, 0.1, 0.0], "abcdefgh")
    23
    """
    totals, counts = by_group(differences, groups)
    if len(totals) < _FEWEST:
        return None
    mean = float(totals.sum() / counts.sum())
    parts = (totals - mean * counts) / counts.mean()
    spread = math.sqrt(float((parts**2).sum()) / (len(totals) - 1))
    size = abs(mean if difference is None else difference)
    if spread <= _FLAT or size <= _FLAT:
        return None
    low, high = _FEWEST - 1, _FEWEST
    while _power(size / spread, high, confidence) < power:
        low, high = high, 2 * high
        if high > _MOST_CASES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(size / spread, middle, confidence) >= power else (middle, high)
    return high


def _power(effect: float, n: int, confidence: float) -> float:
    """Return how often a paired t-test on n cases shows an effect of so many standard deviations."""
    from scipy.stats import nct, t  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    critical, shift = t.ppf((1 + confidence) / 2, n - 1), effect * math.sqrt(n)
    if shift > _CERTAIN:
        return 1.0
    return float(nct.sf(critical, n - 1, shift) + nct.cdf(-critical, n - 1, shift))


def _exact_p(totals: NDArray[np.float64]) -> float:
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    sums = np.zeros(1)
    for total in totals:
        sums = np.concatenate([sums + total, sums - total])
    return float((np.abs(sums) >= _reached(totals)).mean())


def _drawn_p(totals: NDArray[np.float64], seed: int) -> float:
    import numpy as np  # noqa: PLC0415 - see _exact_p

    generator, least, extreme = np.random.default_rng(seed), _reached(totals), 0
    size = max(1, min(FLIPS, _CELLS // len(totals)))
    for start in range(0, FLIPS, size):
        signs = generator.integers(0, 2, (min(size, FLIPS - start), len(totals)), dtype=np.int8)
        sums = totals.sum() - 2 * (signs @ totals)
        extreme += int((np.abs(sums) >= least).sum())
    return (extreme + 1) / (FLIPS + 1)


def _reached(totals: NDArray[np.float64]) -> float:
    """Return the observed sum, less what rounding could add to an equal one."""
    return abs(float(totals.sum())) - _FLAT * float(abs(totals).sum())


FLIPS = 10_000
_MOST_EXACT = 14  # groups: 16,384 patterns
_CELLS = 4_000_000  # signs drawn at a time
_FEWEST = 2
_FLAT = 1e-12
_MOST_CASES = 10_000_000
_CERTAIN = 40.0  # a shift of the t distribution beyond which the power is 1 to the last digit
