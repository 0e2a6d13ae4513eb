"""What votes and labels say: the sign test, agreement beyond chance, position bias."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from promptlab.stats.intervals import CONFIDENCE, Interval, wilson, z_of


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
    half = z_of(confidence) * _kappa_error(table, rows, columns, kappa)
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


def p_text(p: float) -> str:
    """Return a p-value as it is read: two digits, and nothing finer than a thousandth.

    >>> p_text(0.0414), p_text(0.0000012), p_text(1.0)
    ('p = 0.041', 'p < 0.001', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"  # noqa: PLR2004 - what nobody reads further


_FLAT = 1e-6  # an error this small is 0 and rounding, of which the root was taken
