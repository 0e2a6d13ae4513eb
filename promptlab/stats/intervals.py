"""Confidence intervals of rates and means, for scores that come in groups: the repeats and settings of one case."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST_FOR_BOOTSTRAP = 20  # groups; of fewer, the spread of what is drawn again is too unsteady
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the two ends of its confidence interval.

    Attributes
    ----------
    method
        How the ends were found; they are NaN where that cannot be done, and then it says why.
    """

    estimate: float
    low: float
    high: float
    confidence: float = CONFIDENCE
    method: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


def wilson(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the rate of successes among n trials, with Wilson's score interval.

    It stays within 0 and 1 and holds its level for small n and extreme rates. `successes` may be a fraction, so that a
    tie can count half; the interval is then wider than need be, since halves vary less than wins and losses do.

    Source: Wilson (1927), JASA 22:209; Newcombe (1998), Statistics in Medicine 17:857, method 3.

    >>> wilson(81, 263)
    0.308 [0.255, 0.366]
    """
    if not 0 <= successes <= n + _DUST or n <= 0:
        msg = f"wilson({successes!r}, {n!r}): between 0 and n successes, of at least one trial, are needed"
        raise ValueError(msg)
    z, rate = z_of(confidence), min(1.0, successes / n)
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return Interval(rate, max(0.0, middle - half), min(1.0, middle + half), confidence, "Wilson")


def grouped_rate(scores: Sequence[float], groups: Sequence[Hashable], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of scores between 0 and 1, with an interval for scores in groups, such as several of one case.

    Scores of one group are alike, so they say less than as many of different groups would. Wilson's interval is taken
    for the number of independent scores that would say as much: n divided by the design effect, which is never below 1.
    Where all scores are equal the effect cannot be seen, and each group counts as one score.

    Source: Rao and Scott (1992), Biometrics 48:577, with the scores' own variance instead of p (1 - p), for ties.

    >>> grouped_rate([1, 1, 0, 0, 1, 1, 1, 1], "abcdefgh"), grouped_rate([1, 1, 0, 0, 1, 1, 1, 1], "aabbccdd")
    (0.75 [0.409, 0.929], 0.75 [0.277, 0.959])
    """
    n, mean, number = len(scores), math.fsum(scores) / len(scores), len(set(groups))
    spread = math.fsum((score - mean) ** 2 for score in scores) / max(1, n - 1) / n
    totals: dict[Hashable, float] = dict.fromkeys(groups, 0.0)
    for score, group in zip(scores, groups, strict=True):
        totals[group] += score - mean
    grouped = math.fsum(total**2 for total in totals.values()) / n**2 * number / max(1, number - 1)
    effect = grouped / spread if spread and number > 1 else n / number
    independent = n if number == n else n / max(1.0, effect)
    found = wilson(mean * independent, independent, confidence=confidence)
    return found if number == n else replace(found, method="Wilson, by case")


def mean_interval(
    values: Sequence[float], groups: Sequence[Hashable], *, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """Return the mean of values in groups, such as repeats of one case, and an interval for other such groups.

    Groups are drawn again with replacement, and each drawn sample's mean is divided by its own error (the bootstrap-t,
    which holds its level for skewed values too). Below 20 groups that is unsteady: there Student's t is taken, with the
    error between the groups and one degree of freedom less than there are groups. `method` says which. One group says
    nothing of others, and equal values nothing of how they vary: the ends are NaN then.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 12.5, the groups resampled as a whole
    (Davison and Hinkley 1997, section 3.8); the error between groups is that of Liang and Zeger (1986), Biometrika
    73:13, for a mean, times G/(G-1).

    >>> mean_interval([0.2, 0.4, 0.3, 0.9, 0.5, 0.6], "aabbcc")
    0.483 [0.0841, 0.883]
    """
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    totals, counts = by_group(values, groups)
    if not len(totals):
        return Interval(math.nan, math.nan, math.nan, confidence, "unknown: no value")
    mean = float(totals.sum() / counts.sum())
    error = float(_errors(np.ones((1, len(totals))), totals, counts)[0]) if len(totals) > 1 else 0.0
    if len(totals) == 1:
        return Interval(mean, math.nan, math.nan, confidence, "unknown: only one case")
    if error <= _FLAT * max(1.0, abs(mean)):
        return Interval(mean, math.nan, math.nan, confidence, "unknown: all cases equal")
    low, high = _t_ends(len(totals), confidence)
    method = f"Student's t, {len(totals)} cases"
    if len(totals) >= FEWEST_FOR_BOOTSTRAP:
        drawn = _studentised(totals, counts, confidence, seed)
        if drawn is not None:
            (low, high), method = drawn, "bootstrap-t by case"
    return Interval(mean, mean - high * error, mean - low * error, confidence, method)


def by_group(values: Sequence[float], groups: Sequence[Hashable]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the total and the number of the values of each group, in the order in which groups are first met."""
    import numpy as np  # noqa: PLC0415 - see mean_interval

    places: dict[Hashable, int] = {}
    codes = [places.setdefault(group, len(places)) for group in groups]
    if len(codes) != len(values):
        msg = f"{len(values)} values in {len(codes)} groups: give the group of each value"
        raise ValueError(msg)
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        msg = "a value is NaN or infinite: leave out what is unknown, and count it"
        raise ValueError(msg)
    counts = np.bincount(codes, minlength=len(places)).astype(np.float64)
    totals: NDArray[np.float64] = np.bincount(codes, weights=numbers, minlength=len(places)).astype(np.float64)
    return totals, counts


def _errors(
    weights: NDArray[np.float64], totals: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the standard error, between groups, of the mean of each row of group weights."""
    import numpy as np  # noqa: PLC0415 - see mean_interval

    n = weights @ counts
    means = weights @ totals / n
    squares = weights @ totals**2 - 2 * means * (weights @ (totals * counts)) + means**2 * (weights @ counts**2)
    number = len(totals)
    errors: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0) * number / (number - 1)) / n
    return errors


def _t_ends(number: int, confidence: float) -> tuple[float, float]:
    from scipy.stats import t  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    high = float(t.ppf((1 + confidence) / 2, number - 1))
    return -high, high


def _studentised(
    totals: NDArray[np.float64], counts: NDArray[np.float64], confidence: float, seed: int
) -> tuple[float, float] | None:
    """Return between which errors from the mean the means of drawn samples lie; None where too many do not vary."""
    import numpy as np  # noqa: PLC0415 - see mean_interval

    number, generator = len(totals), np.random.default_rng(seed)
    mean = totals.sum() / counts.sum()
    found = []
    for _ in range(0, RESAMPLES, size := max(1, min(RESAMPLES, _CELLS // number))):
        weights = generator.multinomial(number, np.full(number, 1 / number), size=size).astype(np.float64)
        errors = _errors(weights, totals, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((weights @ totals / (weights @ counts) - mean) / errors)
    ratios = np.concatenate(found)
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) < 0.99 * RESAMPLES:
        return None
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def z_of(confidence: float) -> float:
    """Return how many standard errors a two-sided interval reaches."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


_CELLS = 4_000_000  # numbers drawn at a time
_DUST = 1e-9  # what rounding adds to a count
_FLAT = 1e-12  # an error this small is 0 and rounding
