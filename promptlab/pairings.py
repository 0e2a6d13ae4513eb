"""Pairings: which two answers are shown side by side, on which side, and in which order. No I/O: values in, values out.

A variant is what is compared: values of settings, e.g. `{"template": "terse"}`. An item is what both sides share: the
case, the repeat and every other setting. A session's pairings are drawn from all items that every two variants have
answered, by a seed:

- cases are spread: none comes again before each has come once;
- sides are balanced in blocks of two: of every two pairings of the same two variants, each is on the left once;
- some come back later with their sides exchanged, so that the rater's agreement with himself can be told;
- where both answers say the same there is nothing to ask: such pairings stand last and are tied.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from promptlab import _text
from promptlab._json import canonical, compact, plain
from promptlab.errors import RatingError

#: What is compared: values of settings, as the columns of `run.frame()` have them.
Variant = Mapping[str, Any]
#: Which answers are tied without asking: equal texts, or those that differ in white space at most.
Tied = Literal["identical", "whitespace"]

MIRRORED = 0.1  # of the pairings come back with their sides exchanged
MOST_VARIANTS = 20  # 190 pairs of variants; nobody votes that often


@dataclass(frozen=True, slots=True)
class Item:
    """What both sides of a pairing share; `settings` are those that no variant names."""

    case: int
    repeat: int
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a variant to an item."""

    output_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two answers to one item, side by side; `left` and `right` are the places of their variants."""

    item: Item
    left: int
    right: int
    left_id: int
    right_id: int
    is_identical: bool = False

    @property
    def key(self) -> str:
        """What it is a pairing of, as JSON; it never leaves the file."""
        item = {"case": self.item.case, "repeat": self.item.repeat, "settings": dict(self.item.settings)}
        return compact({**item, "variants": [self.left, self.right]})

    @property
    def pair(self) -> tuple[int, int]:
        """The two variants, whichever side they are on."""
        return (min(self.left, self.right), max(self.left, self.right))

    def mirrored(self) -> Pairing:
        """Return it with its sides exchanged."""
        return replace(self, left=self.right, right=self.left, left_id=self.right_id, right_id=self.left_id)

    @classmethod
    def of_key(cls, key: Mapping[str, Any], left_id: int, right_id: int, *, is_identical: bool) -> Pairing:
        """Return a pairing as its key and its outputs tell it."""
        item, (left, right) = Item(key["case"], key["repeat"], tuple(key["settings"].items())), key["variants"]
        return cls(item, left, right, left_id, right_id, is_identical)


@dataclass(frozen=True, slots=True)
class Draw:
    """A session's pairings in order; those that are tied without asking stand last.

    Attributes
    ----------
    possible
        How many there were to draw from.
    missing
        How many were none, since one side has no answer with a text.
    """

    pairings: tuple[Pairing, ...]
    possible: int
    missing: int


def labels(variants: Sequence[Variant]) -> list[str]:
    """Return the variants' names, all different."""
    said = [label(variant) for variant in variants]
    return said if len(set(said)) == len(said) else [compact(dict(variant)) for variant in variants]


def label(variant: Variant) -> str:
    """Return a variant as people name it.

    >>> label({"template": "v2.0", "temperature": 1.0})
    'v2.0, temperature 1'
    """
    return ", ".join(_said(name, value) for name, value in variant.items())


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool | None):
        return f"{name} {str(value).lower()}"
    said = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return said if name in {"template", "model"} else f"{name} {said}"


# Variants


def variants(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    a: Variant | None,
    b: Variant | None,
    by: str | Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Return what is to be compared: `a` and `b`, or every combination of values that the columns `by` have.

    Parameters
    ----------
    rows
        One mapping a trial.
    columns
        The settings that may tell variants apart.

    Raises
    ------
    RatingError
        When what is asked for is not there, or is not something to compare.
    """
    if by is not None and a is None and b is None:
        names = [by] if isinstance(by, str) else _listed(by)
        _check_columns(names, columns)
        found = {canonical(values): values for values in (_values(row, names) for row in rows)}
        return _checked(list(found.values()), f"by={by!r}")
    if by is not None or a is None or b is None:
        msg = 'name two variants, as in judge(a={"template": "terse"}, b={"template": "guided"}), or by="template"'
        raise RatingError(msg)
    if not isinstance(a, Mapping) or not isinstance(b, Mapping) or set(a) != set(b):
        msg = f"a={_text.brief(a)} and b={_text.brief(b)}: both are mappings with the same columns, {{column: value}}"
        raise RatingError(msg)
    _check_columns(list(a), columns)
    both = [{name: _plain(value) for name, value in variant.items()} for variant in (a, {name: b[name] for name in a})]
    for variant in both:
        _check_there(variant, rows)
    return _checked(both, "a and b")


def _listed(by: Any) -> list[Any]:
    if not isinstance(by, Iterable):
        msg = f"by={_text.brief(by)}: a column, or a list of columns, that tells variants apart is needed"
        raise RatingError(msg)
    return list(by)


def _plain(value: Any) -> Any:
    try:
        return plain(value)
    except TypeError as exc:
        msg = f"{_text.brief(value)} is no value of a setting"
        raise RatingError(msg) from exc


def _values(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: plain(row[name]) for name in names}


def _check_columns(names: Sequence[Any], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            near = _text.nearest(str(name), columns)
            hint = f"; did you mean {near!r}?" if near else ""
            msg = f"{_text.brief(name)} does not tell variants apart; these do: {', '.join(columns)}{hint}"
            raise RatingError(msg)


def _check_there(variant: Variant, rows: Sequence[Mapping[str, Any]]) -> None:
    if not any(_is_of(row, variant) for row in rows):
        names = list(variant)
        known = list(dict.fromkeys(compact(_values(row, names)) for row in rows))
        msg = f"the run has no trial with {_text.brief(dict(variant))}; it has {_text.clipped(', '.join(known), 300)}"
        raise RatingError(msg)


def _checked(found: list[dict[str, Any]], given: str) -> list[dict[str, Any]]:
    number = len({canonical(variant) for variant in found})
    if not 2 <= number <= MOST_VARIANTS:  # noqa: PLR2004 - to compare takes two
        msg = f"{given}: that is {_text.count(number, 'variant')}; between 2 and {MOST_VARIANTS} can be compared"
        raise RatingError(msg)
    return found


def _is_of(row: Mapping[str, Any], variant: Variant) -> bool:
    return all(canonical(plain(row[name])) == canonical(value) for name, value in variant.items())


# Items and answers


def answers(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], variants: Sequence[Variant]
) -> list[dict[Item, Answer]]:
    """Return each variant's answers by item; a trial without a text is none.

    Raises
    ------
    RatingError
        When a variant answered one item more than once: it has to name more settings.
    """
    named = set(variants[0])
    shared = [name for name in columns if name not in named and not (name == "version" and "template" in named)]
    place = {canonical(dict(variant)): number for number, variant in enumerate(variants)}
    found: list[dict[Item, Answer]] = [{} for _ in variants]
    for row in rows:
        number = place.get(canonical(_values(row, variants[0])))
        if number is None or not isinstance(row["output"], str):
            continue
        item = Item(int(row["case"]), int(row["repeat"]), tuple(_values(row, shared).items()))
        if item in found[number]:
            msg = f"{_text.brief(dict(variants[number]))} has two answers to one case and repeat; name the version too"
            raise RatingError(msg)
        found[number][item] = Answer(int(row["output_id"]), row["output"])
    return found


def drawn(
    answers: Sequence[Mapping[Item, Answer]],
    *,
    n: int,
    seed: int,
    tied: Tied = "identical",
    mirrored: float = MIRRORED,
) -> Draw:
    """Return n pairings drawn by a seed, or as many as there are, and the mirrored ones besides.

    >>> both = [{Item(case, 0): Answer(2 * case + side, f"{side}") for case in range(20)} for side in (0, 1)]
    >>> pairings = drawn(both, n=20, seed=1).pairings
    >>> len(pairings), sum(pairing.left == 0 for pairing in pairings)
    (22, 11)
    """
    rng = random.Random(seed)  # noqa: S311 - a shuffle that can be had again, no secret
    pairs = list(itertools.combinations(range(len(answers)), 2))
    shared = {pair: [item for item in answers[pair[0]] if item in answers[pair[1]]] for pair in pairs}
    possible = sum(map(len, shared.values()))
    missing = sum(len({*answers[i], *answers[j]}) for i, j in pairs) - possible
    chosen = list(itertools.islice(_in_turn({pair: _spread(shared[pair], rng) for pair in pairs}), n))
    rng.shuffle(chosen)
    found = [_paired(answers, pair, item, tied) for pair, item in chosen]
    asked = _balanced([pairing for pairing in found if not pairing.is_identical], rng)
    same = _balanced([pairing for pairing in found if pairing.is_identical], rng)
    return Draw((*_with_mirrors(asked, round(mirrored * len(asked)), rng), *same), possible, missing)


def _spread(items: Sequence[Item], rng: random.Random) -> list[Item]:
    """Return items in random order, no case again before every case has come as often."""
    shuffled = rng.sample(items, len(items))
    turns: defaultdict[int, itertools.count[int]] = defaultdict(itertools.count)
    turn = {item: next(turns[item.case]) for item in shuffled}
    return sorted(shuffled, key=turn.__getitem__)


def _in_turn(items: Mapping[tuple[int, int], Sequence[Item]]) -> Iterable[tuple[tuple[int, int], Item]]:
    """Yield an item of each pair of variants in turn, so that all pairs are asked as often."""
    for some in itertools.zip_longest(*items.values()):
        yield from ((pair, item) for pair, item in zip(items, some, strict=True) if item is not None)


def _paired(answers: Sequence[Mapping[Item, Answer]], pair: tuple[int, int], item: Item, tied: Tied) -> Pairing:
    left, right = (answers[variant][item] for variant in pair)
    is_same = left.text == right.text or (tied == "whitespace" and left.text.split() == right.text.split())
    return Pairing(item, pair[0], pair[1], left.output_id, right.output_id, is_same)


def _balanced(pairings: Iterable[Pairing], rng: random.Random) -> list[Pairing]:
    """Return the pairings with their sides drawn in blocks of two for each pair of variants."""
    owed: dict[tuple[int, int], bool] = {}  # what the second of a block has to be
    sided = []
    for pairing in pairings:
        if pairing.pair in owed:
            is_exchanged = owed.pop(pairing.pair)
        else:
            is_exchanged = rng.random() < 0.5  # noqa: PLR2004 - a coin
            owed[pairing.pair] = not is_exchanged
        sided.append(pairing.mirrored() if is_exchanged else pairing)
    return sided


def _with_mirrors(pairings: Sequence[Pairing], number: int, rng: random.Random) -> list[Pairing]:
    """Return the pairings with some of the first half come back mirrored, at least a quarter of the session later.

    Those whose side is in surplus are mirrored first, then either side in turn: so the whole stays balanced.
    """
    early = rng.sample(range(len(pairings) // 2), len(pairings) // 2)
    straight = [place for place in early if pairings[place].left < pairings[place].right]
    exchanged = [place for place in early if pairings[place].left > pairings[place].right]
    surplus = sum(1 if pairing.left < pairing.right else -1 for pairing in pairings)
    first, second = (straight, exchanged) if surplus >= 0 else (exchanged, straight)
    chosen = [place for both in itertools.zip_longest(first, second) for place in both if place is not None][:number]
    placed = [(float(place), pairing) for place, pairing in enumerate(pairings)]
    gap = len(pairings) / 4
    placed += [(rng.uniform(place + gap, len(pairings)), pairings[place].mirrored()) for place in chosen]
    return [pairing for _, pairing in sorted(placed, key=lambda each: each[0])]
