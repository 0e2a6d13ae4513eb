"""Strengths from votes on pairs: the Bradley-Terry model."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promptlab.stats.intervals import CONFIDENCE, Interval, z_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        half = z_of(self.confidence) * math.sqrt(max(0.0, cov[i, i] + cov[j, j] - 2 * cov[i, j]))
        return Interval(_logistic(gap), _logistic(gap - half), _logistic(gap + half), self.confidence)

    def __repr__(self) -> str:
        rows = [f"{strength.name} {strength.log_odds.estimate:+.2f}" for strength in self.strengths]
        return f"<Ranking {' > '.join(rows)}{'' if self.is_bounded else ' (bounded by a prior)'}>"


def bradley_terry(
    games: Iterable[tuple[str, str, float]],
    groups: Iterable[Hashable] | None = None,
    *,
    confidence: float = CONFIDENCE,
) -> Ranking:
    """Return the maximum-likelihood strengths of players who met in pairs.

    Intervals come from the observed information; with `groups`, such as the case of each game, from how much the groups
    differ (a sandwich around it) where that is wider, since games on one case say less than as many on different ones.
    Of one group, or of strengths that are not bounded, nothing can be said so, and the information alone counts.

    Strengths sum to 0, so that 0 is a player of average strength. They are finite only when, for every way to split the
    players into two groups, each group has won something from the
    other (Ford 1957); where not, see `Ranking.is_bounded`.

    Parameters
    ----------
    games
        (one, other, score of the one): 1 a win, 0 a loss. A tie is a half: half a win for each.
    groups
        The group of each game.

    Source: Bradley and Terry (1952), Biometrika 39:324; Ford (1957), American Mathematical Monthly 64(8):28; the prior
    of virtual ties is that of Coulom's BayesElo (2005). The sandwich is that of Liang and Zeger (1986), Biometrika
    73:13, times G/(G-1).

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
    inverse = np.linalg.pinv(_information(found.x, wins, ghost), hermitian=True)
    covariance = _centred(inverse)
    if groups is not None and is_bounded:
        grouped = _centred(_sandwich(inverse, found.x, played, names, list(groups)))
        covariance = max(covariance, grouped, key=np.trace)
    log_odds, halves = found.x - found.x.mean(), z_of(confidence) * np.sqrt(np.diag(covariance))
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


def _sandwich(
    inverse: NDArray[np.floating[Any]],
    strength: NDArray[np.float64],
    played: Sequence[tuple[str, str, float]],
    names: Sequence[str],
    groups: Sequence[Hashable],
) -> NDArray[np.floating[Any]]:
    """Return the covariance of strengths as the scores of groups of games vary; all 0 of one group."""
    import numpy as np  # noqa: PLC0415 - see bradley_terry

    place = {name: number for number, name in enumerate(names)}
    scores: dict[Hashable, NDArray[np.float64]] = {}
    for (one, other, score), group in zip(played, groups, strict=True):
        surprise = score - _logistic(strength[place[one]] - strength[place[other]])
        total = scores.setdefault(group, np.zeros(len(names)))
        total[place[one]] += surprise
        total[place[other]] -= surprise
    found = np.array(list(scores.values()))
    meat = found.T @ found * len(found) / max(1, len(found) - 1)
    return inverse @ meat @ inverse if len(found) > 1 else 0 * inverse


def _centred(covariance: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the covariance of strengths of which the mean was taken away."""
    import numpy as np  # noqa: PLC0415 - see bradley_terry

    centre = np.eye(len(covariance)) - 1 / len(covariance)
    centred: NDArray[np.float64] = centre @ covariance @ centre
    return centred


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -_HUGE else 0.0


_HUGE = 700.0  # exp of more overflows a float
