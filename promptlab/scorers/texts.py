"""Scorers that compare an answer's text with a reference: 1 or 0."""

from __future__ import annotations

from promptlab.scorers._base import Answered, Score, Scorer
from promptlab.scorers._reading import folding, reference, text_of


def exact_match(
    column: str | None = None,
    *,
    text: str | None = None,
    ignore_case: bool = False,
    strip: bool | str = True,
    name: str = "exact_match",
) -> Scorer:
    """Return a scorer: 1 where the answer is the reference, else 0.

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

    >>> exact_match("capital").score(Answered(" Paris", {"capital": "Paris"})).value
    1.0
    """
    of, columns = reference("exact_match", column, text, option="text")
    fold = folding(ignore_case=ignore_case, strip=strip)

    def score(answer: Answered) -> Score:
        return Score(float(fold(answer.text) == fold(text_of(of(answer)))))

    config = {"scorer": "exact_match", "column": column, "text": text, "ignore_case": ignore_case, "strip": strip}
    return Scorer(name, config, score, columns)
