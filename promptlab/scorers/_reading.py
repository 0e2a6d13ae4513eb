"""How scorers read texts: references, what is extracted from an answer, and when two texts are the same.

Patterns meet texts that models wrote, on which some never end: each search is given a second.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from promptlab import _text
from promptlab._json import compact
from promptlab.errors import ScoreError
from promptlab.scorers._base import Answered, Score
from promptlab.scorers.functions import source_key


class MissingReferenceError(Exception):
    """A case has no value in the column that a scorer compares with."""

    def __init__(self, column: str) -> None:
        super().__init__(f"this case has no {column!r}")

    def __str__(self) -> str:
        return str(self.args[0])


Reference = Callable[[Answered], Any]


def reference(kind: str, column: str | None, given: Any, *, option: str) -> tuple[Reference, tuple[str, ...]]:
    """Return what gives an answer's reference, from a column of its case or as given, and the columns needed."""
    if (column is None) == (given is None):
        msg = f"{kind}: name the column of the cases that holds the reference, or give {option}=, one of the two"
        raise ScoreError(msg)
    if column is None:
        return lambda _: given, ()
    if not isinstance(column, str):
        msg = f"{kind}({_text.brief(column)}): the first argument is the name of a column of the cases"
        raise ScoreError(msg)
    return lambda answer: value_of(answer.case, column), (column,)


def value_of(case: Mapping[str, Any], column: str) -> Any:
    """Return the case's value, or raise that it has none."""
    value = case.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise MissingReferenceError(column)
    return value


def text_of(value: Any) -> str:
    """Return a value of a case as text; 42.0 is 42, since a column with gaps makes floats of integers.

    >>> text_of(42.0), text_of("42.0"), text_of(True), text_of(["a"])
    ('42', '42.0', 'True', '["a"]')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return compact(value) if isinstance(value, list | dict) else str(value)


def folding(*, ignore_case: bool, strip: bool | str) -> Callable[[str], str]:
    """Return the function that makes texts that count as equal the same: NFC, and what the options leave out.

    >>> folding(ignore_case=True, strip=" .")("Straße. ")
    'strasse'
    """
    if not isinstance(strip, bool | str):
        msg = f"strip={_text.brief(strip)}: True leaves out white space around a text, a text these characters"
        raise ScoreError(msg)

    def fold(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        text = unicodedata.normalize("NFC", text.casefold()) if ignore_case else text
        return text if strip is False else text.strip() if strip is True else text.strip(strip)

    return fold


# Extraction

#: What to look at: `last_line`, `first_line`, the last `code_block` (the whole text without one), what a pattern
#: finds (its group, where it has one), or what a function of the text returns.
Extract = str | Callable[[str], str | None]

_KEPT_CHARS = 10_000
_TIMEOUT_S = 1.0
_FENCE = r"(?ms)^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$"


@dataclass(frozen=True, slots=True)
class Extraction:
    """How to get from an answer to what is scored; `told` is what the configuration says of it."""

    told: str | None
    take: Callable[[str], str | None]


def extraction(extract: Extract | None) -> Extraction:
    """Return the extraction that was asked for.

    Raises
    ------
    ScoreError
        When a pattern is none, or a function's source does not tell all that it does.
    """
    if extract is None:
        return Extraction(None, lambda text: text)
    if callable(extract):
        return _by_function(extract)
    if not isinstance(extract, str):
        msg = f"extract={_text.brief(extract)}: give 'last_line', 'first_line', 'code_block', a pattern or a function"
        raise ScoreError(msg)
    take = _NAMED.get(extract)
    return Extraction(extract, take or partial(_by_pattern, Pattern(extract, "extract", most_groups=1)))


def _by_function(function: Callable[[str], str | None]) -> Extraction:
    def take(text: str) -> str | None:
        found = function(text)
        if found is not None and not isinstance(found, str):
            msg = f"extract returned {_text.brief(found)}, no text"
            raise TypeError(msg)
        return found

    try:
        return Extraction(f"source {source_key(function)}", take)
    except ValueError as exc:
        msg = f"extract: {exc}; write a plain function, or a scorer of your own with version="
        raise ScoreError(msg) from exc


def _by_pattern(pattern: Pattern, text: str) -> str | None:
    found = pattern.search(text)
    return None if found is None else found[pattern.groups]


def _line(place: int, text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[place] if lines else None


def _code_block(text: str) -> str | None:
    import regex  # noqa: PLC0415 - as in Pattern

    found = regex.findall(_FENCE, text, timeout=_TIMEOUT_S)
    return found[-1][1] if found else text


_NAMED: Mapping[str, Callable[[str], str | None]] = {
    "last_line": partial(_line, -1),
    "first_line": partial(_line, 0),
    "code_block": _code_block,
}


class Pattern:
    """A regular expression of the package `regex`, whose searches end."""

    def __init__(self, pattern: str, option: str, *, most_groups: int | None = None) -> None:
        import regex  # noqa: PLC0415 - costs 20 ms, so only where it is used

        if not isinstance(pattern, str):
            msg = f"{option}={_text.brief(pattern)}: a pattern is a text; write flags into it, e.g. '(?i)yes'"
            raise ScoreError(msg)
        try:
            self._compiled = regex.compile(pattern)
        except regex.error as exc:
            msg = f"{option}={_text.brief(pattern)}: {exc}"
            raise ScoreError(msg) from exc
        self.groups = int(self._compiled.groups)
        if most_groups is not None and self.groups > most_groups:
            msg = f"{option}={_text.brief(pattern)} has {self.groups} groups; leave one, and write the others (?:...)"
            raise ScoreError(msg)

    def search(self, text: str, *, whole: bool = False) -> Any:
        """Return the first match, or with `whole` that of the whole text, or None.

        Raises
        ------
        TimeoutError
            When it takes longer than a second.
        """
        look = self._compiled.fullmatch if whole else self._compiled.search
        try:
            return look(text, timeout=_TIMEOUT_S)
        except TimeoutError as exc:
            msg = f"the pattern took longer than {_TIMEOUT_S:g} s on a text of {len(text):,} characters"
            raise TimeoutError(msg) from exc


def scoring_text(
    extract: Extraction, judge: Callable[[str, Any], Score], of: Reference = lambda _: None
) -> Callable[[Answered], Score]:
    """Return a function that scores what is extracted from an answer against its reference, and keeps it.

    Nothing to extract is 0: it is the answer that lacks it.
    """

    def score(answer: Answered) -> Score:
        expected = of(answer)
        found = extract.take(answer.text)
        if found is None:
            return Score(0.0, detail={"reason": "there is nothing to extract in the answer"})
        scored = judge(found, expected)
        kept = {} if extract.told is None else {"extracted": found[:_KEPT_CHARS]}
        return replace(scored, detail={**kept, **scored.detail})

    return score


# Words


def literals(texts: list[str], *, ignore_case: bool, words: bool) -> Any:
    """Return a compiled pattern that finds the longest of some texts, a group each, in a text in normal form C.

    Blanks stand for any white space; `words` leaves out what stands inside a word.
    """
    import regex  # noqa: PLC0415 - as in Pattern

    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    parts = [r"\s+".join(map(regex.escape, unicodedata.normalize("NFC", texts[place]).split())) for place in order]
    either = "|".join(f"(?P<t{place}>{part})" for place, part in zip(order, parts, strict=True))
    pattern = rf"(?<!\w)(?:{either})(?!\w)" if words else either
    return regex.compile(pattern, regex.IGNORECASE | regex.FULLCASE if ignore_case else 0)
