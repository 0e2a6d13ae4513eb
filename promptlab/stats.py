"""Statistics of votes: rates and their intervals, the sign test, Bradley-Terry strengths, agreement, position bias.

Pure functions of numbers, on scipy and numpy, which are loaded where they are first used. Each names its source. What
cannot be known is None (an agreement beyond chance when there is no chance to differ), never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the two ends of its confidence interval."""

    estimate: float
    low: float
    high: float
    confidence: float = CONFIDENCE

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
    z, rate = _z(confidence), min(1.0, successes / n)
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return Interval(rate, max(0.0, middle - half), min(1.0, middle + half), confidence)


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
    return wilson(mean * independent, independent, confidence=confidence)


@dataclass(frozen=True, slots=True)
class SignTest:
    """Whether wins and losses could be a fair coin's.

    Attributes
    ----------
    p
        How often a fair coin would give a split at least as uneven, counted on both sides; 1 where nothing was decided.
    """

    wins: int
    losses: int
    p: float

    def __repr__(self) -> str:
        return f"<SignTest {self.wins} to {self.losses}: {p_text(self.p)}>"


def sign_test(wins: int, losses: int) -> SignTest:
    """Return the exact two-sided sign test; ties are left out of it beforehand.

    Source: Dixon and Mood (1946), JASA 41:557; the exact binomial test of scipy.stats.binomtest.

    >>> sign_test(15, 5)
    <SignTest 15 to 5: p = 0.041>
    """
    if wins + losses == 0:
        return SignTest(0, 0, 1.0)
    from scipy.stats import binomtest  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    return SignTest(wins, losses, float(binomtest(wins, wins + losses).pvalue))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two series of labels agree, and how far beyond chance.

    Attributes
    ----------
    agreed, n
        How many of the n pairs of labels are equal.
    kappa
        Cohen's kappa with its interval: 1 is full agreement, 0 what chance would give. None where it is not defined:
        no pairs, or one label everywhere.
    """

    agreed: int
    n: int
    kappa: Interval | None

    def __repr__(self) -> str:
        beyond = "unknown" if self.kappa is None else repr(self.kappa)
        return f"<Agreement {self.agreed} of {self.n}, kappa {beyond}>"


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]], *, confidence: float = CONFIDENCE) -> Agreement:
    """Return the agreement of two raters, or of one rater with himself, over pairs of labels.

    The interval is the large-sample one. Where its standard error is 0 (all agree, or none do) it would have no width,
    however few the pairs: there it is Wilson's interval of the share that agrees, with chance held as it was seen.

    Source: Cohen (1960), Educational and Psychological Measurement 20:37, who holds chance so too; the standard error
    is that of Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72:323.

    >>> cohen_kappa([("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15)
    <Agreement 35 of 50, kappa 0.4 [0.151, 0.649]>
    """
    table = Counter(pairs)
    n, agreed = table.total(), sum(count for (one, other), count in table.items() if one == other)
    rows, columns = Counter[Hashable](), Counter[Hashable]()
    for (one, other), count in table.items():
        rows[one] += count
        columns[other] += count
    chance = sum(rows[label] * columns[label] for label in rows) / n**2 if n else 1.0
    if chance == 1:
        return Agreement(agreed, n, None)
    kappa = (agreed / n - chance) / (1 - chance)
    half = _z(confidence) * _kappa_error(table, rows, columns, kappa)
    low, high = kappa - half, kappa + half
    if half < _FLAT:
        share = wilson(agreed, n, confidence=confidence)
        low, high = ((end - chance) / (1 - chance) for end in (share.low, share.high))
    return Agreement(agreed, n, Interval(kappa, max(-1.0, low), min(1.0, high), confidence))


def _kappa_error(
    table: Counter[tuple[Hashable, Hashable]], rows: Counter[Hashable], columns: Counter[Hashable], kappa: float
) -> float:
    """Return kappa's standard error, by the formula of Fleiss, Cohen and Everitt."""
    n = table.total()
    chance = sum(rows[label] * columns[label] for label in rows) / n**2
    on, off = 0.0, 0.0
    for (one, other), count in table.items():
        if one == other:
            on += count / n * (1 - (rows[one] + columns[one]) / n * (1 - kappa)) ** 2
        else:
            off += count / n * ((columns[one] + rows[other]) / n) ** 2
    variance = on + (1 - kappa) ** 2 * off - (kappa - chance * (1 - kappa)) ** 2
    return math.sqrt(max(0.0, variance) / n) / (1 - chance)


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Whether the side on which an answer was shown decided, whatever it said.

    Attributes
    ----------
    left, right
        How often each side was preferred; ties are left out.
    rate
        The share of the left side with its Wilson interval; None where nothing was decided.
    p
        The exact test of whether that could be chance. Sides have to be balanced for that, so that neither answer
        stands more on the left than the other.
    """

    left: int
    right: int
    rate: Interval | None
    p: float

    def __repr__(self) -> str:
        if self.rate is None:
            return "<PositionBias unknown: nothing was decided>"
        return f"<PositionBias left {self.left} of {self.left + self.right}, {p_text(self.p)}>"


def position_bias(left: int, right: int, *, confidence: float = CONFIDENCE) -> PositionBias:
    """Return how often the left side was preferred, with Wilson's interval and the exact binomial test against a half.

    >>> position_bias(26, 24)
    <PositionBias left 26 of 50, p = 0.89>
    """
    decided = left + right
    rate = wilson(left, decided, confidence=confidence) if decided else None
    return PositionBias(left, right, rate, sign_test(left, right).p)


# Bradley-Terry


@dataclass(frozen=True, slots=True)
class Strength:
    """What one player's games say of it.

    Attributes
    ----------
    log_odds
        Its strength: the log-odds of beating a player of average strength (0), with an interval.
    score
        What it won: 1 a win, a half a tie.
    """

    name: str
    log_odds: Interval
    score: float
    games: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Bradley-Terry strengths, the strongest first.

    Attributes
    ----------
    is_bounded
        False where the games alone give no finite strengths (someone won everything, or two groups never met). Then
        every player is given one tied game against a player of average strength; the intervals say how little that is.
    """

    strengths: tuple[Strength, ...]
    is_bounded: bool
    confidence: float = CONFIDENCE
    _covariance: Any = field(default=None, repr=False, compare=False)

    def beats(self, one: str, other: str) -> Interval:
        """Return the probability that one beats the other, by the fitted strengths, with an interval."""
        names = [strength.name for strength in self.strengths]
        i, j = names.index(one), names.index(other)
        gap = self.strengths[i].log_odds.estimate - self.strengths[j].log_odds.estimate
        cov = self._covariance
        half = _z(self.confidence) * math.sqrt(max(0.0, cov[i, i] + cov[j, j] - 2 * cov[i, j]))
        return Interval(_logistic(gap), _logistic(gap - half), _logistic(gap + half), self.confidence)

    def __repr__(self) -> str:
        rows = [f"{strength.name} {strength.log_odds.estimate:+.2f}" for strength in self.strengths]
        return f"<Ranking {' > '.join(rows)}{'' if self.is_bounded else ' (bounded by a prior)'}>"


def bradley_terry(games: Iterable[tuple[str, str, float]], *, confidence: float = CONFIDENCE) -> Ranking:
    """Return the maximum-likelihood strengths of players who met in pairs.

    Intervals come from the observed information. Strengths sum to 0, so that 0 is a player of average strength. They
    are finite only when, for every way to split the players into two groups, each group has won something from the
    other (Ford 1957); where not, see `Ranking.is_bounded`.

    Parameters
    ----------
    games
        (one, other, score of the one): 1 a win, 0 a loss. A tie is a half: half a win for each.

    Source: Bradley and Terry (1952), Biometrika 39:324; Ford (1957), American Mathematical Monthly 64(8):28; the prior
    of virtual ties is that of Coulom's BayesElo (2005).

    >>> ranking = bradley_terry([("a", "b", 1), ("a", "b", 1), ("a", "b", 0), ("b", "c", 1), ("b", "c", 0.5)])
    >>> [strength.name for strength in ranking.strengths], ranking.is_bounded
    (['a', 'b', 'c'], True)
    """
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used
    from scipy.optimize import minimize  # noqa: PLC0415 - as above

    played = [(one, other, float(score)) for one, other, score in games]
    names = list(dict.fromkeys(name for one, other, _ in played for name in (one, other)))
    if not names:
        return Ranking((), is_bounded=True, confidence=confidence)
    wins = _wins(played, names)
    is_bounded = _is_bounded(wins)
    ghost = 0.0 if is_bounded else 1.0  # games against a player of strength 0, each of them tied
    found = minimize(
        _loss, np.zeros(len(names)), args=(wins, ghost), jac=_slope, hess=_curvature, method="trust-exact", tol=1e-10
    )
    covariance = _centred(np.linalg.pinv(_information(found.x, wins, ghost), hermitian=True))
    log_odds, halves = found.x - found.x.mean(), _z(confidence) * np.sqrt(np.diag(covariance))
    order = sorted(range(len(names)), key=lambda place: (-log_odds[place], place))
    strengths = [
        Strength(
            names[place],
            _around(float(log_odds[place]), float(halves[place]), confidence),
            float(wins[place].sum()),
            round(float(wins[place].sum() + wins[:, place].sum())),
        )
        for place in order
    ]
    return Ranking(tuple(strengths), is_bounded, confidence, covariance[np.ix_(order, order)])


def _around(middle: float, half: float, confidence: float) -> Interval:
    return Interval(middle, middle - half, middle + half, confidence)


def _wins(played: Sequence[tuple[str, str, float]], names: Sequence[str]) -> NDArray[np.float64]:
    """Return how often each player (row) beat each other (column)."""
    import numpy as np  # noqa: PLC0415 - see bradley_terry

    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for one, other, score in played:
        if not 0 <= score <= 1 or one == other:
            msg = f"({one!r}, {other!r}, {score!r}) is no game: two players and a score between 0 and 1 are needed"
            raise ValueError(msg)
        wins[place[one], place[other]] += score
        wins[place[other], place[one]] += 1 - score
    return wins


def _is_bounded(wins: NDArray[np.float64]) -> bool:
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - see bradley_terry

    return bool(connected_components(wins > 0, connection="strong", return_labels=False) == 1)


# The likelihood is the same whatever is added to all strengths. `_loss` therefore holds their sum at 0 by a term of its
# own, which changes no difference between them; under the prior it is small beside what the ghost does.


def _loss(strength: NDArray[np.float64], wins: NDArray[np.float64], ghost: float) -> float:
    import numpy as np  # noqa: PLC0415 - see bradley_terry

    gaps = strength[:, None] - strength[None, :]
    against_ghost = ghost * (np.logaddexp(0, strength) + np.logaddexp(0, -strength)).sum() / 2
    held = strength.sum() ** 2 / 2 if not ghost else 0.0
    return float((wins * np.logaddexp(0, -gaps)).sum() + against_ghost + held)


def _slope(strength: NDArray[np.float64], wins: NDArray[np.float64], ghost: float) -> NDArray[np.float64]:
    from scipy.special import expit  # noqa: PLC0415 - see bradley_terry

    expected = (wins + wins.T) * expit(strength[:, None] - strength[None, :])
    held = strength.sum() if not ghost else 0.0
    slope: NDArray[np.float64] = (expected - wins).sum(axis=1) + ghost * (expit(strength) - 0.5) + held
    return slope


def _curvature(strength: NDArray[np.float64], wins: NDArray[np.float64], ghost: float) -> NDArray[np.float64]:
    return _information(strength, wins, ghost) + (0.0 if ghost else 1.0)


def _information(strength: NDArray[np.float64], wins: NDArray[np.float64], ghost: float) -> NDArray[np.float64]:
    """Return the observed information: how sharply the likelihood bends at these strengths."""
    import numpy as np  # noqa: PLC0415 - see bradley_terry
    from scipy.special import expit  # noqa: PLC0415 - see bradley_terry

    chance = expit(strength[:, None] - strength[None, :])
    bend = (wins + wins.T) * chance * (1 - chance)
    own = expit(strength)
    information: NDArray[np.float64] = np.diag(bend.sum(axis=1) + ghost * own * (1 - own)) - bend
    return information


def _centred(covariance: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the covariance of strengths of which the mean was taken away."""
    import numpy as np  # noqa: PLC0415 - see bradley_terry

    centre = np.eye(len(covariance)) - 1 / len(covariance)
    centred: NDArray[np.float64] = centre @ covariance @ centre
    return centred


def p_text(p: float) -> str:
    """Return a p-value as it is read: two digits, and nothing finer than a thousandth.

    >>> p_text(0.0414), p_text(0.0000012), p_text(1.0)
    ('p = 0.041', 'p < 0.001', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"  # noqa: PLR2004 - what nobody reads further


def _z(confidence: float) -> float:
    """Return how many standard errors a two-sided interval reaches."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -_HUGE else 0.0


_DUST = 1e-9  # what rounding adds to a count
_FLAT = 1e-6  # an error this small is 0 and rounding, of which the root was taken
_HUGE = 700.0  # exp of more overflows a float
