"""The scorer that reads one of several labels out of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from unicodedata import normalize

from promptlab import _text
from promptlab.errors import ScoreError
from promptlab.scorers._base import Score, Scorer
from promptlab.scorers._reading import Extract, extraction, folding, literals, reference, scoring_text, text_of


def choice(
    labels: Sequence[str] | Mapping[str, str | Sequence[str]],
    column: str | None = None,
    *,
    pick: Literal["only", "first", "last"] = "only",
    ignore_case: bool = True,
    words: bool = True,
    extract: Extract | None = None,
    name: str = "choice",
) -> Scorer:
    """Return a scorer: which label the answer names, and, given a reference, 1 where it is the right one, else 0.

    A label is named where it, or a synonym, stands in the answer as whole words; the longest counts, so that `not spam`
    names no `spam`. What is said about it is not understood: `no, not happy` names `happy`.

    Parameters
    ----------
    labels
        The labels, or label -> its synonyms, one text or several.
    column
        The column of the cases that holds the right label, or a synonym of it. Without it, scores have labels alone.
    pick
        Which one counts where several labels are named: `first` or `last`; with `only` the answer is unclear then. An
        unclear answer, or one that names none, scores 0 where there is a reference, and fails the score where not.
    words
        False also takes labels inside words, as languages without blanks need.
    ignore_case, extract, name
        As in `exact_match`.

    >>> from promptlab.scorers import Answered
    >>> mood = choice({"positive": ["good", "great"], "negative": "bad"}, "mood")
    >>> mood.score(Answered("It was great!", {"mood": "positive"}))
    Score(value=1.0, label='positive', detail={'extracted': 'great'})
    """
    synonyms = _synonyms(labels)
    if pick not in {"only", "first", "last"}:
        msg = f"pick={_text.brief(pick)}: it is 'only', 'first' or 'last'"
        raise ScoreError(msg)
    fold = folding(ignore_case=ignore_case, strip=True)
    label_of = _label_of(synonyms, fold)
    terms = [(label, term) for label, some in synonyms.items() for term in some]
    pattern = literals([term for _, term in terms], ignore_case=ignore_case, words=words)
    of, columns = reference("choice", column, None, option="column") if column is not None else (lambda _: None, ())
    taken = extraction(extract)

    def judge(found: str, expected: Any) -> Score:
        right = None if expected is None else _right(label_of, fold(text_of(expected)))
        hits = [(terms[int(hit.lastgroup[1:])][0], hit[0]) for hit in pattern.finditer(normalize("NFC", found))]
        named = list(dict.fromkeys(label for label, _ in hits))
        if not named or (pick == "only" and len(named) > 1):
            why = f"it names {', '.join(map(repr, named))}" if named else "it names no label"
            return Score.failed(why) if right is None else Score(0.0, detail={"reason": why})
        label, text = hits[-1 if pick == "last" else 0]
        return Score(None if right is None else float(label == right), label, {"extracted": text})

    options = {"pick": pick, "ignore_case": ignore_case, "words": words, "extract": taken.told}
    config = {"scorer": "choice", "labels": synonyms, "column": column, **options}
    return Scorer(name, config, scoring_text(taken, judge, of), columns)


def _synonyms(labels: Any) -> dict[str, list[str]]:
    """Return label -> what stands for it, itself first."""
    if isinstance(labels, str) or not isinstance(labels, Mapping | Sequence) or not labels:
        msg = f"choice({_text.brief(labels)}): give the labels in a list, or a mapping of labels to synonyms"
        raise ScoreError(msg)
    given = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ())
    found = {label: [label, *([some] if isinstance(some, str) else some)] for label, some in given.items()}
    if bad := [term for some in found.values() for term in some if not isinstance(term, str) or not term.strip()]:
        msg = f"choice: {_text.brief(bad[0])} is no label; labels and synonyms are texts"
        raise ScoreError(msg)
    return {label: list(dict.fromkeys(some)) for label, some in found.items()}


def _label_of(synonyms: Mapping[str, Sequence[str]], fold: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for label, some in synonyms.items():
        for term in some:
            if found.setdefault(fold(term), label) != label:
                msg = f"choice: {_text.brief(term)} stands for both {found[fold(term)]!r} and {label!r}"
                raise ScoreError(msg)
    return found


def _right(label_of: Mapping[str, str], text: str) -> str:
    if text not in label_of:
        msg = f"the reference {_text.brief(text)} is none of the labels"
        raise ValueError(msg)
    return label_of[text]
