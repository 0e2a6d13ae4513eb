"""The demo study: one instruction, given in five ways, and how much that matters to a small model.

Forty short reviews are to be told apart as positive or negative, by SmolLM2-135M-Instruct on this machine. Five prompts
give it the same instruction or its like: as the system message, before the review, after it, with its two labels
swapped, and by two worked examples instead. At temperature 0 the model is right from a third of the time, which is
worse than guessing, to nine times in ten; a warm temperature costs the best prompt much of its lead.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from promptlab.cases import Cases
from promptlab.grids import ParameterGrid
from promptlab.templates import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

NAME = "sentiment of reviews"
QUESTION = "One instruction, given in five ways: which one lets a small model tell good reviews from bad ones?"
LABELS = ("positive", "negative")

_INSTRUCTION = "Classify the sentiment of the review. Answer with one word: positive or negative."
_SWAPPED = "Classify the sentiment of the review. Answer with one word: negative or positive."
_HELPFUL = ("system", "You are a helpful assistant.")
_EXAMPLES = (
    ("user", "Lovely music and a warm welcome."),
    ("assistant", "positive"),
    ("user", "Rude staff and dirty tables."),
    ("assistant", "negative"),
)


def reviews() -> Cases:
    """Return the forty reviews: `review`, and for scoring its `sentiment`; twenty are positive, twenty negative."""
    with as_file(files("promptlab") / "data" / "reviews.csv") as path:
        return Cases.from_csv(path)


def templates() -> list[PromptTemplate]:
    """Return the five prompts."""
    question = ("system", "Is the review positive or negative?")
    return [
        PromptTemplate("system", system=_INSTRUCTION, user="{{ review }}"),
        PromptTemplate("before", messages=[_HELPFUL, ("user", f"{_INSTRUCTION}\n\n{{{{ review }}}}")]),
        PromptTemplate("after", messages=[_HELPFUL, ("user", f"{{{{ review }}}}\n\n{_INSTRUCTION}")]),
        PromptTemplate("swapped", messages=[_HELPFUL, ("user", f"{_SWAPPED}\n\n{{{{ review }}}}")]),
        PromptTemplate("examples", messages=[question, *_EXAMPLES, ("user", "{{ review }}")]),
    ]


def grid() -> ParameterGrid:
    """Return the settings: a cold and a warm one."""
    return ParameterGrid(model="smollm2-135m", temperature=[0, 0.8], max_tokens=8)


def label(text: object) -> str | None:
    """Return which of the two labels an answer names first, or None when it names neither.

    >>> label("Negative. The staff was rude."), label("I am glad to hear that!")
    ('negative', None)
    """
    if not isinstance(text, str):
        return None
    found = {text.lower().find(name): name for name in LABELS if name in text.lower()}
    return found[min(found)] if found else None


def accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a prompt and temperature, in plan order: how many answers are right, of how many, and tokens.

    Parameters
    ----------
    frame
        A trial frame with the columns template, temperature, sentiment, output, status, prompt_tokens,
        completion_tokens and latency_ms. Trials without an answer count as failed, not as wrong.
    """
    labels = frame["output"].map(label)
    counted = frame.assign(
        right=(labels == frame["sentiment"]) & (frame["status"] == "ok"),
        no_label=labels.isna() & (frame["status"] == "ok"),
        said_positive=labels == "positive",
        is_ok=frame["status"] == "ok",
        tokens=frame["prompt_tokens"] + frame["completion_tokens"],
        seconds=frame["latency_ms"] / 1000,
    )
    groups = counted.groupby(["template", "temperature"], sort=False)
    table = groups[["right", "is_ok", "no_label", "said_positive", "tokens", "seconds"]].sum()
    table["failed"] = groups.size() - table["is_ok"]
    table = table.rename(columns={"is_ok": "n"}).reset_index()
    order = ["template", "temperature", "right", "n", "failed", "no_label", "said_positive", "tokens", "seconds"]
    return table[order].astype({"tokens": "int64", "seconds": "float64"})


def verdict(frame: pd.DataFrame) -> str:
    """Return what the study shows, in one sentence: the best and the worst setting, counted."""
    table = accuracy(frame).sort_values("right", kind="stable")
    if not table["n"].sum():
        return "No answer came, so nothing can be said."
    worst, best = table.iloc[0], table.iloc[-1]
    return (
        f"Best: {best['template']!r} at temperature {best['temperature']:g}, {best['right']} of {best['n']} right. "
        f"Worst: {worst['template']!r} at temperature {worst['temperature']:g}, {worst['right']} of {worst['n']}; "
        f"guessing would give about {best['n'] // 2}."
    )
