"""How two texts differ: line by line, and in changed lines word by word. A slot of a template is one word.

Lines that are equal hold the two texts together; between them, lines that are alike stand beside each other, and what
has no counterpart was removed or added. So both sides come out whole: the pieces of one side, joined, are its text.

A whole diff, of however many texts, has one `Budget`, so that none takes long. What it cannot pay for is shown more
coarsely: a line whole instead of its words, lines in their order instead of the most alike ones, a block of lines
removed and another added; `Budget.is_spent` says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import eq
from typing import Literal, TypeVar

T = TypeVar("T")

Kind = Literal["same", "removed", "added"]

ALIKE = 0.35  # of two lines' words that must be common for them to stand beside each other
MAX_PAIRS = 10_000  # combinations that are compared; beyond it, lines stand beside each other in their order
BUDGET = (
    600_000_000  # of one diff, about in nanoseconds; comparing two lists of words costs the product of their lengths
)
_PAIR, _WORD = 4_000, 100  # what the likeness of two lines costs, and each word of the shorter
_LINE, _CHAR = 8_000, 100  # what a changed line costs to be divided into words, and each of its characters


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of one side, and whether the other side has it too; a slot of a template is a piece of its own."""

    kind: Kind
    text: str
    is_slot: bool = False


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class LinePair:
    """Two lines beside each other; None where one side has none."""

    before: Pieces | None
    after: Pieces | None

    @property
    def is_changed(self) -> bool:
        """Whether the two differ."""
        return any(piece.kind != "same" for side in (self.before, self.after) for piece in side or ()) or (
            self.before is None or self.after is None
        )


@dataclass(slots=True)
class Budget:
    """How much a diff may still compare, and whether it had to do without some of it."""

    left: int = BUDGET
    is_spent: bool = False

    def pays(self, price: int) -> bool:
        """Take a price, and return whether there was enough for it."""
        if price > self.left:
            self.is_spent = True
            return False
        self.left -= price
        return True


def lines(before: str, after: str, budget: Budget | None = None) -> tuple[LinePair, ...]:
    """Return the lines of two texts beside each other, as finely as the budget allows.

    >>> [pair] = lines("Be kind to {{ who }}.", "Be fair to {{ who }}.")
    >>> [(piece.kind, piece.text) for piece in pair.after]
    [('same', 'Be '), ('added', 'fair'), ('same', ' to '), ('same', '{{ who }}'), ('same', '.')]
    """
    budget = budget or Budget()
    old, new = before.split("\n"), after.split("\n")
    return tuple(
        _line_pair(None if here is None else old[here], None if there is None else new[there], budget)
        for here, there in _line_places(old, new, budget)
    )


def alone(text: str, kind: Kind) -> tuple[LinePair, ...]:
    """Return the lines of a text that the other side has nothing beside."""
    whole = [_pieces(kind, line) for line in text.split("\n")]
    return tuple(LinePair(line, None) if kind == "removed" else LinePair(None, line) for line in whole)


def beside(
    before: Sequence[str],
    after: Sequence[str],
    budget: Budget,
    *,
    least: float,
    weigh: Callable[[int, int, float], float] = lambda _here, _there, likeness: likeness,
) -> list[tuple[int | None, int | None]]:
    """Return which of two lists of texts stand beside each other, see `aligned`; beyond the budget, in their order.

    `weigh` makes of two places and the likeness of their words what counts.
    """
    if len(before) * len(after) > MAX_PAIRS:
        budget.is_spent = True
        return _in_order(len(before), len(after))
    if not budget.pays(_CHAR * sum(map(len, [*before, *after]))):
        return _in_order(len(before), len(after))
    old, new = [bag(text) for text in before], [bag(text) for text in after]
    shorter = min(len(new) * sum(map(len, old)), len(old) * sum(map(len, new)))
    if not budget.pays(_PAIR * len(old) * len(new) + _WORD * shorter):
        return _in_order(len(before), len(after))
    return aligned(
        range(len(old)),
        range(len(new)),
        lambda here, there: weigh(here, there, likeness(old[here], new[there])),
        least=least,
    )


def aligned(
    before: Sequence[T], after: Sequence[T], likeness: Callable[[T, T], float], *, least: float
) -> list[tuple[int | None, int | None]]:
    """Return which of two sequences stand beside each other, in order: those pairs that are most alike together.

    Pairs less alike than `least` are none.

    >>> aligned("abc", "bcd", lambda here, there: float(here == there), least=0.5)
    [(0, None), (1, 0), (2, 1), (None, 2)]
    """
    if len(before) * len(after) > MAX_PAIRS:
        return _in_order(len(before), len(after))
    like = [[likeness(here, there) for there in after] for here in before]
    best = [[0.0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i in range(len(before) - 1, -1, -1):
        for j in range(len(after) - 1, -1, -1):
            together = like[i][j] + best[i + 1][j + 1] if like[i][j] >= least else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], together)
    return list(_walk(like, best, least))


def _walk(
    like: Sequence[Sequence[float]], best: Sequence[Sequence[float]], least: float
) -> Iterator[tuple[int | None, int | None]]:
    i, j, ends = 0, 0, (len(best) - 1, len(best[0]) - 1)
    while (i, j) != ends:
        if i < ends[0] and j < ends[1] and like[i][j] >= least and best[i][j] == like[i][j] + best[i + 1][j + 1]:
            yield i, j
            i, j = i + 1, j + 1
        elif i < ends[0] and (j == ends[1] or best[i][j] == best[i + 1][j]):
            yield i, None
            i += 1
        else:
            yield None, j
            j += 1


def _in_order(before: int, after: int) -> list[tuple[int | None, int | None]]:
    return [(n if n < before else None, n if n < after else None) for n in range(max(before, after))]


# Slots of Jinja2; characters of scripts without blanks, one by one; words; blanks; anything else
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff"
# (a slot ends before another begins, so that braces without an end are read through once, not once a brace).
_SLOT = r"\{\{(?:(?!\{\{).)*?\}\}|\{%(?:(?!\{%).)*?%\}|\{#(?:(?!\{#).)*?#\}"
_TOKEN = re.compile(rf"{_SLOT}|[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\S\n]+|.", re.DOTALL)
_IS_WORD = re.compile(r"\w")
_DIVIDED = re.compile(f"({_SLOT})", re.DOTALL)
_SLOT_STARTS = ("{{", "{%", "{#")


def words(text: str) -> list[str]:
    """Return a text as words, blanks, signs and whole slots.

    >>> words("Hi, {{ name | title }}!")
    ['Hi', ',', ' ', '{{ name | title }}', '!']
    """
    return _TOKEN.findall(text)


def count_words(pieces: Sequence[Piece]) -> int:
    """Return how many words and slots some pieces have."""
    return sum(1 for piece in pieces for word in words(piece.text) if _IS_WORD.search(word))


def bag(text: str) -> Counter[str]:
    """Return how often each word stands in a text. Slots are all alike, so that a renamed one stands beside itself."""
    found = (word for word in words(text) if not word.isspace())
    return Counter(word[:2] if word.startswith(_SLOT_STARTS) else word for word in found)


def likeness(before: Counter[str], after: Counter[str]) -> float:
    """Return which part of two texts' words is common to both, between 0 and 1, whatever their order.

    >>> likeness(bag("a b c"), bag("c b d")), likeness(bag("{{ question }}"), bag("{{ query }}"))
    (0.6666666666666666, 1.0)
    """
    total = before.total() + after.total()
    few, many = sorted((before, after), key=len)
    return 2 * sum(min(number, many[word]) for word, number in few.items()) / total if total else 1.0


def _line_places(old: Sequence[str], new: Sequence[str], budget: Budget) -> Iterator[tuple[int | None, int | None]]:
    here = there = 0
    for i, j, length in _common(old, new, budget):
        for above, below in beside(old[here:i], new[there:j], budget, least=ALIKE):
            yield None if above is None else here + above, None if below is None else there + below
        yield from zip(range(i, i + length), range(j, j + length), strict=True)
        here, there = i + length, j + length


def _common(before: Sequence[str], after: Sequence[str], budget: Budget) -> list[tuple[int, int, int]]:
    """Return what is common to both in order, as places and lengths; the last is where both end.

    Between the common beginning and the common end it is the longest common subsequence, if the budget allows it.
    (`difflib` takes a second for lines of 900 words, and for texts of few words grows with the third power.)
    """
    from rapidfuzz.distance import Indel  # noqa: PLC0415 - only where there is something to compare

    head = _same_start(before, after)
    tail = _same_start(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    found = [(0, 0, head)]
    if old and new and budget.pays(len(old) * len(new)):
        number: dict[str, int] = {}  # rapidfuzz compares hashes: small numbers have no collisions
        codes = [[number.setdefault(each, len(number)) for each in side] for side in (old, new)]
        found += [(i + head, j + head, size) for i, j, size in Indel.opcodes(*codes).as_matching_blocks()]
    ends = (len(before) - tail, len(after) - tail, tail)
    return [block for block in [*found, ends] if block[2]] + [(len(before), len(after), 0)]


def _same_start(before: Sequence[str], after: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(bool, map(eq, before, after)))


def _line_pair(old: str | None, new: str | None, budget: Budget) -> LinePair:
    if old is None or new is None:
        return LinePair(
            None if old is None else _pieces("removed", old), None if new is None else _pieces("added", new)
        )
    if old == new:
        return LinePair(_pieces("same", old), _pieces("same", new))
    if not budget.pays(_LINE + _CHAR * (len(old) + len(new))):
        return LinePair(_pieces("removed", old), _pieces("added", new))
    runs = _runs(words(old), words(new), budget)
    return LinePair(
        _joined([(kind, some) for kind, some in runs if kind != "added"]),
        _joined([(kind, some) for kind, some in runs if kind != "removed"]),
    )


def _runs(before: Sequence[str], after: Sequence[str], budget: Budget) -> list[tuple[Kind, Sequence[str]]]:
    """Return runs of words that are the same, removed or added; blanks alone do not divide what changed."""
    found: list[tuple[Kind, Sequence[str]]] = []
    here = there = 0
    for i, j, length in _common(before, after, budget):
        found += [("removed", before[here:i]), ("added", after[there:j])]
        here, there = i + length, j + length
        same = before[i:here]
        is_inside = i + j > 0 and (here, there) != (len(before), len(after))
        if is_inside and "".join(same).isspace():
            found += [("removed", same), ("added", same)]
        else:
            found.append(("same", same))
    return [(kind, some) for kind, some in _gathered(found) if some]


def _gathered(runs: Sequence[tuple[Kind, Sequence[str]]]) -> Iterator[tuple[Kind, list[str]]]:
    """Yield what stands between two runs that are the same as one removal and one addition."""
    removed: list[str] = []
    added: list[str] = []
    for kind, some in [*runs, ("same", ())]:
        if kind == "removed":
            removed += some
        elif kind == "added":
            added += some
        else:
            blank = [removed.pop()] if removed and removed[-1:] == added[-1:] and removed[-1].isspace() else []
            yield "removed", removed
            yield "added", added[: len(added) - len(blank)]
            yield "same", [*blank, *some]
            removed, added = [], []


def _pieces(kind: Kind, text: str) -> Pieces:
    """Return a text as pieces of one kind: slots by themselves, all else between them together."""
    divided = enumerate(_DIVIDED.split(text))
    return tuple(Piece(kind, some, is_slot=place % 2 == 1) for place, some in divided if some)


def _joined(runs: Sequence[tuple[Kind, Sequence[str]]]) -> Pieces:
    return tuple(piece for kind, some in runs for piece in _pieces(kind, "".join(some)))
