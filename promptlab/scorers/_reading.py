"""How scorers read texts: references, what is extracted from an answer, and when two texts are the same."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from promptlab import _text
from promptlab._json import compact
from promptlab.errors import ScoreError
from promptlab.scorers._base import Answered


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
