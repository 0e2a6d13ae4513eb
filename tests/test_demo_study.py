"""The demo study's reviews as a data set, and its table where the study is cut short."""

import pandas as pd

from promptlab import demo


def frame(*rows):
    """Return a trial frame of (template, sentiment, output, status) rows at temperature 0."""
    table = pd.DataFrame(rows, columns=["template", "sentiment", "output", "status"])
    return table.assign(temperature=0, prompt_tokens=50, completion_tokens=4, latency_ms=250.0)


def test_reviews_have_a_text_and_a_label_only():
    """The columns are those that the prompts and the scorer read, whose labels are the scorer's."""
    table = demo.reviews().frame()
    assert list(table.columns) == ["review", "sentiment"]
    assert set(table["sentiment"]) == set(demo.LABELS)


def test_reviews_are_balanced_in_every_four():
    """The first 4, 8, 12 ... reviews are half positive, so that a shortened demo is no lopsided one."""
    is_positive = demo.reviews().frame()["sentiment"] == "positive"
    assert is_positive.groupby(is_positive.index // 4).sum().tolist() == [2] * 10


def test_reviews_are_short():
    """Each has 8 to 22 words: the demo's time is mostly that of reading prompts."""
    words = demo.reviews().frame()["review"].str.split().str.len()
    assert words.between(8, 22).all()


def test_no_review_names_a_label():
    """A label in an answer was given by the model, not repeated from the review."""
    assert demo.reviews().frame()["review"].map(demo.label).isna().all()


def test_label_is_found_inside_json():
    """An answer under a JSON schema is scored like any other."""
    assert demo.label('{\n  "sentiment": "negative"\n}') == "negative"


def test_accuracy_keeps_plan_order():
    """Settings come as the trials do: neither by name nor best first."""
    study = frame(("b", "positive", "no idea", "ok"), ("a", "positive", "positive", "ok"))
    assert demo.accuracy(study)[["template", "right"]].to_numpy().tolist() == [["b", 0], ["a", 1]]


def test_accuracy_of_trials_without_usage():
    """What failed has no tokens and no latency, which adds nothing to the sums of the others."""
    study = frame(("a", "positive", "positive", "ok"), ("a", "positive", None, "failed"))
    study.loc[1, ["prompt_tokens", "completion_tokens", "latency_ms"]] = float("nan")
    row = demo.accuracy(study).iloc[0]
    assert row[["right", "n", "failed", "no_label", "tokens", "seconds"]].tolist() == [1, 1, 1, 0, 54, 0.25]
