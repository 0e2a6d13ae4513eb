"""What repeats of one request show: how often one of them is right, which answer is given most, how they vary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the probability that at least one of k samples is right, when `correct` of n were.

    The estimate is unbiased: the share of all subsets of k of the n samples that hold a right one.

    Source: Chen et al. (2021), Evaluating Large Language Models Trained on Code, arXiv:2107.03374, equation 1.

    >>> pass_at_k(5, 2, 1), pass_at_k(5, 2, 3)
    (0.4, 0.9)
    """
    if not (0 <= correct <= n and 1 <= k <= n):
        msg = f"pass_at_k({n!r}, {correct!r}, {k!r}): 0 to n right of n samples, and k from 1 to n, are needed"
        raise ValueError(msg)
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


@dataclass(frozen=True, slots=True)
class Majority:
    """The label given most often; of several given as often, the first met.

    Attributes
    ----------
    tied
        How many labels were given as often as this one; 1 where it alone was.
    """

    label: Hashable
    votes: int
    n: int
    tied: int


def majority(labels: Sequence[Hashable]) -> Majority | None:
    """Return the label given most often, or None where there is none (self-consistency; Wang et al. 2022, 2203.11171).

    >>> majority(["Paris", "Lyon", "Paris"])
    Majority(label='Paris', votes=2, n=3, tied=1)
    """
    counts = Counter(labels)
    if not counts:
        return None
    label, votes = counts.most_common(1)[0]
    return Majority(label, votes, len(labels), sum(count == votes for count in counts.values()))


def agreement(labels: Sequence[Hashable]) -> float | None:
    """Return the share of all pairs of labels that are equal; None for fewer than two.

    It is what two repeats agree by, unbiased for any number of them (one less Simpson's index of diversity; Simpson
    1949, Nature 163:688).

    >>> agreement(["a", "a", "b"]), agreement(["a"])
    (0.3333333333333333, None)
    """
    n = len(labels)
    if n < _PAIR:
        return None
    return sum(count * (count - 1) for count in Counter(labels).values()) / (n * (n - 1))


def distinct_n(texts: Sequence[str], n: int = 2) -> float | None:
    """Return the share of the n-grams of texts that are different; None where no text has n words.

    Words are what white space separates, in any case. Compare only texts of like length and number: more text repeats
    more.

    Source: Li et al. (2016), A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL.

    >>> distinct_n(["the cat sat", "The cat ran"], 1), distinct_n(["the cat sat", "The cat ran"], 2)
    (0.6666666666666666, 0.75)
    """
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        words = text.lower().split()
        grams.update(zip(*(words[start:] for start in range(n)), strict=False))
    return len(grams) / grams.total() if grams else None


_PAIR = 2
