"""Scorers that measure an answer instead of judging it."""

from __future__ import annotations

from typing import Any, Literal

from promptlab import _text
from promptlab.errors import ScoreError
from promptlab.scorers._base import Answered, Score, Scorer
from promptlab.scorers._reading import Extract, extraction, scoring_text

#: What these are called; a run has no best setting by them.
MEASURES = ("length", "cost", "latency")


def length(
    unit: Literal["chars", "words", "tokens"] = "chars", *, extract: Extract | None = None, name: str = "length"
) -> Scorer:
    """Return a scorer: how long the answer is, in characters, in words between white space, or in tokens.

    Tokens are those of the whole completion as the server counted them; where it did not, the score fails.

    >>> from promptlab.scorers import Answered
    >>> length("words").score(Answered("It is Paris.", {})).value
    3.0
    """
    if unit not in {"chars", "words", "tokens"}:
        msg = f"length({_text.brief(unit)}): the unit is 'chars', 'words' or 'tokens'"
        raise ScoreError(msg)
    if unit == "tokens" and extract is not None:
        msg = "length('tokens'): the server counted the whole answer; leave out extract="
        raise ScoreError(msg)
    taken = extraction(extract)

    def judge(found: str, _: Any) -> Score:
        return Score(float(len(found) if unit == "chars" else len(found.split())))

    def counted(answer: Answered) -> Score:
        return _known(answer.completion_tokens, "tokens")

    config = {"scorer": "length", "unit": unit, "extract": taken.told}
    return Scorer(name, config, counted if unit == "tokens" else scoring_text(taken, judge))


def cost(*, name: str = "cost") -> Scorer:
    """Return a scorer: what the answer cost when it was bought, in USD; where that is unknown, the score fails."""
    return Scorer(name, {"scorer": "cost"}, lambda answer: _known(answer.cost_usd, "cost"))


def latency(*, name: str = "latency") -> Scorer:
    """Return a scorer: how long the answer took, in milliseconds; where that is unknown, the score fails."""
    return Scorer(name, {"scorer": "latency"}, lambda answer: _known(answer.latency_ms, "latency"))


def _known(value: float | None, what: str) -> Score:
    return Score.failed(f"{what} unknown") if value is None else Score(float(value))
