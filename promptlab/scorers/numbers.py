"""The scorer that reads a number out of an answer."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, Literal

from promptlab import _text
from promptlab.errors import ScoreError
from promptlab.scorers._base import Score, Scorer
from promptlab.scorers._reading import Extract, extraction, reference, scoring_text

_CHARS = 200  # of a number as it is kept


def numeric(
    column: str | None = None,
    *,
    number: float | None = None,
    absolute: float = 0.0,
    relative: float = 1e-9,
    pick: Literal["last", "first"] = "last",
    decimal: Literal[".", ","] = ".",
    extract: Extract | None = None,
    name: str = "numeric",
) -> Scorer:
    """Return a scorer: 1 where the last number in the answer is the reference, within a tolerance, else 0.

    Read are `1234.5`, `1,234.5` (commas between groups of three digits; also non-breaking blanks), `.5`, `1.2e-3`,
    `1.2 × 10^-3`, and a sign before it, also `−` and before a currency: `-$5`. A hyphen after a digit or letter is no
    sign (`2020-11`), digits after a letter are no number (`H2O`). A percent sign changes nothing: `45 %` is 45. The
    number is kept with the score, as it was written; an answer without one scores 0.

    Parameters
    ----------
    column
        The column of the cases that holds the reference: a number, or a text that is one.
    number
        Instead: one reference for all.
    absolute, relative
        How far off it may be: by the larger of `absolute` and `relative` times the reference.
    pick
        Which number counts; models come to their answer last.
    decimal
        `","` reads `1.234,5`.
    extract, name
        As in `exact_match`.

    >>> from promptlab.scorers import Answered
    >>> numeric("total", absolute=0.5).score(Answered("2 + 2 makes −1,234.4", {"total": -1234}))
    Score(value=1.0, label=None, detail={'extracted': '−1,234.4'})
    """
    for option, value in {"absolute": absolute, "relative": relative}.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
            msg = f"{option}={_text.brief(value)}: a tolerance is a number from 0 up"
            raise ScoreError(msg)
    if pick not in {"last", "first"} or decimal not in {".", ","}:
        msg = f"pick={_text.brief(pick)}, decimal={_text.brief(decimal)}: pick is 'last' or 'first', decimal '.' or ','"
        raise ScoreError(msg)
    if number is not None:
        _number(number, decimal, error=ScoreError)
    of, columns = reference("numeric", column, number, option="number")
    taken = extraction(extract)

    def judge(found: str, expected: Any) -> Score:
        wanted = _number(expected, decimal, error=ValueError)
        texts = [hit[0] for hit in _pattern(decimal).finditer(found)]
        if not texts:
            return Score(0.0, detail={"reason": "there is no number in the answer"})
        text = texts[-1 if pick == "last" else 0]
        is_near = abs(_read(text, decimal) - wanted) <= max(absolute, relative * abs(wanted))
        return Score(float(is_near), detail={"extracted": text[:_CHARS]})

    options = {"absolute": absolute, "relative": relative, "pick": pick, "decimal": decimal, "extract": taken.told}
    config = {"scorer": "numeric", "column": column, "number": number, **options}
    return Scorer(name, config, scoring_text(taken, judge, of), columns)


@cache
def _pattern(decimal: str) -> re.Pattern[str]:
    point, comma = re.escape(decimal), re.escape("," if decimal == "." else ".")
    groups = rf"[0-9]{{1,3}}(?:(?P<gap>[{comma}\u00a0\u2009\u202f])[0-9]{{3}}(?:(?P=gap)[0-9]{{3}})*)(?![0-9])"
    whole = rf"(?:{groups}|[0-9]+)(?:{point}[0-9]+)?|{point}[0-9]+"
    power = r"(?:[eE][+\-\u2212]?[0-9]+|\s?[×x·*]\s?10\^\{?[+\-\u2212]?[0-9]+\}?)?"
    sign = r"(?:(?<![\w)])[+\-\u2212][$€£¥]?)?"
    return re.compile(rf"{sign}(?<!\w)(?<![0-9]{point})(?:{whole}){power}")


_SIGNS = str.maketrans({"\u2212": "-", "{": "", "}": ""})
_POWER = re.compile(r"[×x·*]10\^")
_BETWEEN = re.compile(r"[\s$€£¥+]")


def _read(text: str, decimal: str) -> float:
    """Return the number that a match of the pattern stands for; infinite where a float cannot hold it."""
    text = _POWER.sub("e", _BETWEEN.sub("", text.translate(_SIGNS)))
    text = text.replace(",", "") if decimal == "." else text.replace(".", "").replace(",", ".")
    return float(text)


def _number(value: Any, decimal: str, *, error: type[Exception]) -> float:
    number = value
    if isinstance(value, str):
        found = _pattern(decimal).fullmatch(value.strip().removesuffix("%").rstrip())
        number = None if found is None else _read(found[0], decimal)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        msg = f"the reference {_text.brief(value)} is no number"
        raise error(msg)
    return float(number)
