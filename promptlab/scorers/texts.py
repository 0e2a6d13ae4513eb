"""Scorers that compare an answer's text with a reference, or look for something in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args
from unicodedata import normalize

from promptlab import _text
from promptlab._json import plain
from promptlab.errors import ScoreError
from promptlab.scorers._base import Score, Scorer
from promptlab.scorers._reading import (
    Extract,
    Pattern,
    extraction,
    folding,
    literals,
    reference,
    scoring_text,
    text_of,
)

Ratio = Literal["levenshtein", "indel", "partial", "token_sort", "token_set", "jaro_winkler"]

_LONGEST = 100_000  # characters to compare: two texts of that length take 0.1 s, and time grows with the square


def exact_match(
    column: str | None = None,
    *,
    text: str | None = None,
    ignore_case: bool = False,
    strip: bool | str = True,
    extract: Extract | None = None,
    name: str = "exact_match",
) -> Scorer:
    r"""Return a scorer: 1 where the answer is the reference, else 0.

    Parameters
    ----------
    column
        The column of the cases that holds the reference.
    text
        Instead: one reference for all.
    ignore_case
        Whether `PARIS` is `Paris`, by Unicode's case folding.
    strip
        What is left out around both texts: white space, or these characters: `strip=" .!"`; False leaves them as they
        are. Both are compared in Unicode's normal form C.
    extract
        What to look at instead of the whole answer: `"last_line"`, `"first_line"`, `"code_block"` (the last one; the
        whole text without one), a regular expression (what it finds first, or its one group there), or a function of
        the text. What was extracted is kept with the score; where there is nothing, the score is 0.
    name
        What the scores are called.

    Raises
    ------
    ScoreError
        When an option is not as said here.

    >>> from promptlab.scorers import Answered
    >>> exact_match("capital").score(Answered(" Paris", {"capital": "Paris"})).value
    1.0
    >>> exact_match("capital", extract=r"is (\w+)").score(Answered("It is Lima.", {"capital": "Paris"}))
    Score(value=0.0, label=None, detail={'extracted': 'Lima'})
    """
    of, columns = reference("exact_match", column, text, option="text")
    fold = folding(ignore_case=ignore_case, strip=strip)
    taken = extraction(extract)

    def judge(found: str, expected: Any) -> Score:
        return Score(float(fold(found) == fold(_one(expected))))

    config = {"scorer": "exact_match", "column": column, "text": text, "ignore_case": ignore_case, "strip": strip}
    return Scorer(name, {**config, "extract": taken.told}, scoring_text(taken, judge, of), columns)


def _one(expected: Any) -> str:
    if isinstance(expected, list):
        msg = "the reference is a list; one_of(column) takes any of it"
        raise TypeError(msg)
    return text_of(expected)


def one_of(
    values: str | Sequence[str],
    *,
    ignore_case: bool = False,
    strip: bool | str = True,
    extract: Extract | None = None,
    name: str = "one_of",
) -> Scorer:
    """Return a scorer: 1 where the answer is one of several texts, else 0.

    `values` are the texts, or the name of a column of the cases that holds a list of them. The options are those of
    `exact_match`.

    >>> from promptlab.scorers import Answered
    >>> one_of(["yes", "no"], strip=" .").score(Answered("yes.", {})).value
    1.0
    """
    column = values if isinstance(values, str) else None
    given = None if isinstance(values, str) else _texts("one_of", values)
    of, columns = reference("one_of", column, given, option="values")
    fold = folding(ignore_case=ignore_case, strip=strip)
    taken = extraction(extract)

    def judge(found: str, expected: Any) -> Score:
        if not isinstance(expected, list):
            msg = f"the reference {_text.brief(expected)} is no list; exact_match takes a single one"
            raise TypeError(msg)
        return Score(float(fold(found) in {fold(text_of(each)) for each in expected}))

    config = {"scorer": "one_of", "column": column, "values": given, "ignore_case": ignore_case, "strip": strip}
    return Scorer(name, {**config, "extract": taken.told}, scoring_text(taken, judge, of), columns)


def _texts(kind: str, values: Any) -> list[Any]:
    try:
        found = plain(list(values))
    except TypeError as exc:
        msg = f"{kind}({_text.brief(values)}): give a list of texts, or the name of a column that holds one"
        raise ScoreError(msg) from exc
    if not found:
        msg = f"{kind}: the list is empty; give at least one text"
        raise ScoreError(msg)
    return list(found)


def contains(
    column: str | None = None,
    *,
    text: str | None = None,
    ignore_case: bool = False,
    words: bool = False,
    extract: Extract | None = None,
    name: str = "contains",
) -> Scorer:
    """Return a scorer: 1 where the reference stands somewhere in the answer, else 0.

    Where the reference is a list, any of it counts. `words` leaves out what stands inside a word, as Rome in Romeo. A
    blank in the reference stands for any white space. The other options are those of `exact_match`.

    >>> from promptlab.scorers import Answered
    >>> contains("capital", ignore_case=True).score(Answered("It is PARIS.", {"capital": "Paris"})).value
    1.0
    """
    of, columns = reference("contains", column, text, option="text")
    taken = extraction(extract)

    def judge(found: str, expected: Any) -> Score:
        wanted = [text_of(each) for each in (expected if isinstance(expected, list) else [expected])]
        if not wanted or not all(each.strip() for each in wanted):
            msg = f"the reference {_text.brief(expected)} has nothing to look for"
            raise ValueError(msg)
        pattern = literals(wanted, ignore_case=ignore_case, words=words)
        return Score(float(pattern.search(normalize("NFC", found)) is not None))

    config = {"scorer": "contains", "column": column, "text": text, "ignore_case": ignore_case, "words": words}
    return Scorer(name, {**config, "extract": taken.told}, scoring_text(taken, judge, of), columns)


def regex(
    pattern: str,
    *,
    match: Literal["anywhere", "whole"] = "anywhere",
    extract: Extract | None = None,
    name: str = "regex",
) -> Scorer:
    r"""Return a scorer: 1 where a regular expression is found in the answer, or is the whole of it, else 0.

    What it found (its one group, where it has one) is kept with the score as `extracted`. The syntax is that of the
    package `regex`, which is Python's and more; flags stand in the pattern: `(?i)`. A search that takes more than a
    second fails that score.

    >>> from promptlab.scorers import Answered
    >>> regex(r"(?i)answer:\s*(\w+)").score(Answered("Answer: 42", {}))
    Score(value=1.0, label=None, detail={'extracted': '42'})
    """
    if match not in {"anywhere", "whole"}:
        msg = f"match={_text.brief(match)}: it is 'anywhere' or 'whole'"
        raise ScoreError(msg)
    compiled = Pattern(pattern, "pattern")
    taken = extraction(extract)

    def judge(found: str, _: Any) -> Score:
        hit = compiled.search(found, whole=match == "whole")
        if hit is None:
            return Score(0.0)
        group = hit[1] if compiled.groups == 1 else hit[0]
        return Score(1.0, detail={} if group is None else {"extracted": group})

    config = {"scorer": "regex", "pattern": pattern, "match": match, "extract": taken.told}
    return Scorer(name, config, scoring_text(taken, judge))


def similarity(
    column: str | None = None,
    *,
    text: str | None = None,
    ratio: Ratio = "levenshtein",
    ignore_case: bool = False,
    strip: bool | str = True,
    extract: Extract | None = None,
    name: str = "similarity",
) -> Scorer:
    """Return a scorer: how like the reference the answer is, from 0 to 1.

    Parameters
    ----------
    ratio
        `levenshtein`: 1 less the number of edits (insert, delete, replace a character) over the longer length;
        `indel`: the same without replacing, over both lengths; `partial`: `indel` of the best fitting part;
        `token_sort`, `token_set`: `indel` of the sorted words, or of those shared; `jaro_winkler`. All by rapidfuzz.

    The other options are those of `exact_match`. Texts of more than 100,000 characters fail the score.

    >>> from promptlab.scorers import Answered
    >>> similarity("capital").score(Answered("Pariss", {"capital": "Paris"})).value
    0.8333333333333334
    """
    if ratio not in get_args(Ratio):
        msg = f"ratio={_text.brief(ratio)}: it is one of {', '.join(get_args(Ratio))}"
        raise ScoreError(msg)
    of, columns = reference("similarity", column, text, option="text")
    fold = folding(ignore_case=ignore_case, strip=strip)
    taken, like = extraction(extract), _ratio(ratio)

    def judge(found: str, expected: Any) -> Score:
        both = fold(found), fold(_one(expected))
        if max(map(len, both)) > _LONGEST:
            msg = f"a text has more than {_LONGEST:,} characters; extract= what is to be compared"
            raise ValueError(msg)
        return Score(like(*both))

    options = {"ratio": ratio, "ignore_case": ignore_case, "strip": strip, "extract": taken.told}
    config = {"scorer": "similarity", "column": column, "text": text, **options}
    return Scorer(name, config, scoring_text(taken, judge, of), columns)


def _ratio(ratio: Ratio) -> Callable[[str, str], float]:
    from rapidfuzz import distance, fuzz  # noqa: PLC0415 - costs 20 ms, so only where it is used

    plain_ratios: dict[str, Callable[[str, str], float]] = {
        "levenshtein": distance.Levenshtein.normalized_similarity,
        "indel": distance.Indel.normalized_similarity,
        "jaro_winkler": distance.JaroWinkler.normalized_similarity,
    }
    if ratio in plain_ratios:
        return plain_ratios[ratio]
    found: Callable[[str, str], float] = getattr(fuzz, f"{ratio}_ratio")
    return lambda first, second: found(first, second) / 100
