"""How two texts differ: line by line, and in changed lines word by word. A slot of a template is one word.

Lines that are equal hold the two texts together; between them, lines that are alike stand beside each other, and what
has no counterpart was removed or added. So both sides come out whole: the pieces of one side, joined, are its text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeVar

T = TypeVar("T")

Kind = Literal["same", "removed", "added"]

ALIKE = 0.35  # of two lines' words that must be common for them to stand beside each other
MAX_PAIRS = 10_000  # combinations that are compared; beyond it, lines stand beside each other in their order
MAX_WORDS = 4_000_000  # product of the lengths of two lines in words, above which they are shown whole (about a second)


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


def lines(before: str, after: str) -> tuple[LinePair, ...]:
    """Return the lines of two texts beside each other.

    >>> [pair] = lines("Be kind to {{ who }}.", "Be fair to {{ who }}.")
    >>> [(piece.kind, piece.text) for piece in pair.after]
    [('same', 'Be '), ('added', 'fair'), ('same', ' to '), ('same', '{{ who }}'), ('same', '.')]
    """
    old, new = before.split("\n"), after.split("\n")
    return tuple(
        _line_pair(None if here is None else old[here], None if there is None else new[there])
        for here, there in _line_places(old, new)
    )


def alone(text: str, kind: Kind) -> tuple[LinePair, ...]:
    """Return the lines of a text that the other side has nothing beside."""
    whole = [_joined([(kind, words(line))]) for line in text.split("\n")]
    return tuple(LinePair(line, None) if kind == "removed" else LinePair(None, line) for line in whole)


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
_SLOT = r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}"
_TOKEN = re.compile(rf"({_SLOT})|[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\S\n]+|.", re.DOTALL)
_IS_SLOT = re.compile(rf"(?:{_SLOT})\Z", re.DOTALL)
_IS_WORD = re.compile(r"\w")
_SLOT_START = re.compile(r"(\{\{|\{%|\{#).*", re.DOTALL)


def words(text: str) -> list[str]:
    """Return a text as words, blanks, signs and whole slots.

    >>> words("Hi, {{ name | title }}!")
    ['Hi', ',', ' ', '{{ name | title }}', '!']
    """
    return [found[0] for found in _TOKEN.finditer(text)]


def count_words(pieces: Sequence[Piece]) -> int:
    """Return how many words and slots some pieces have."""
    return sum(1 for piece in pieces for word in words(piece.text) if _IS_WORD.search(word))


def likeness(before: str, after: str) -> float:
    """Return which part of two texts' words is common to both, between 0 and 1, whatever their order.

    Slots are all alike, so that one whose variable was renamed still stands beside itself.

    >>> likeness("a b c", "c b d"), likeness("{{ question }}", "{{ query }}")
    (0.6666666666666666, 1.0)
    """
    if before == after:
        return 1.0
    here, there = (
        Counter(_SLOT_START.sub(r"\1", word) for word in words(text) if not word.isspace()) for text in (before, after)
    )
    total = here.total() + there.total()
    return 2 * (here & there).total() / total if total else 0.0


def _line_places(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, here, here_end, there, there_end in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(range(here, here_end), range(there, there_end), strict=True)
            continue
        for i, j in aligned(old[here:here_end], new[there:there_end], likeness, least=ALIKE):
            yield None if i is None else here + i, None if j is None else there + j


def _line_pair(old: str | None, new: str | None) -> LinePair:
    if old is None or new is None:
        whole = alone(new or "", "added") if old is None else alone(old, "removed")
        return whole[0]
    before, after = words(old), words(new)
    if old == new:
        return LinePair(_joined([("same", before)]), _joined([("same", after)]))
    runs = _runs(before, after)
    return LinePair(
        _joined([(kind, some) for kind, some in runs if kind != "added"]),
        _joined([(kind, some) for kind, some in runs if kind != "removed"]),
    )


def _runs(before: Sequence[str], after: Sequence[str]) -> list[tuple[Kind, Sequence[str]]]:
    """Return runs of words that are the same, removed or added; blanks alone do not divide what changed."""
    if len(before) * len(after) > MAX_WORDS:
        return [("removed", before), ("added", after)]
    found: list[tuple[Kind, Sequence[str]]] = []
    codes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for place, (tag, here, here_end, there, there_end) in enumerate(codes):
        old, new = before[here:here_end], after[there:there_end]
        if tag == "equal" and not ("".join(old).isspace() and 0 < place < len(codes) - 1):
            found.append(("same", old))
        else:
            found += [("removed", old), ("added", new)]
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
            yield "removed", removed
            yield "added", added
            yield "same", list(some)
            removed, added = [], []


def _joined(runs: Sequence[tuple[Kind, Sequence[str]]]) -> Pieces:
    """Return words as few pieces: those of a run together, slots by themselves."""
    found: list[Piece] = []
    for kind, some in runs:
        first = len(found)
        for word in some:
            is_slot = bool(_IS_SLOT.match(word))
            if len(found) > first and not (is_slot or found[-1].is_slot):
                found[-1] = Piece(kind, found[-1].text + word)
            else:
                found.append(Piece(kind, word, is_slot))
    return tuple(found)
