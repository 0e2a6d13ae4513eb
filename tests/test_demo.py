"""The demo study: its data, its scorer and its table."""

import pandas as pd
import pytest

from promptlab import demo


def frame(*rows):
    """Return a trial frame of (template, temperature, sentiment, output, status) rows."""
    table = pd.DataFrame(rows, columns=["template", "temperature", "sentiment", "output", "status"])
    return table.assign(prompt_tokens=10, completion_tokens=2, latency_ms=500.0)


def test_reviews_are_forty_and_balanced():
    """Forty different reviews, half of them positive, none with blank text."""
    table = demo.reviews().frame()
    assert table["review"].is_unique
    assert (table["review"].str.strip() == table["review"]).all()
    assert table["sentiment"].value_counts().to_dict() == {"positive": 20, "negative": 20}


def test_every_prompt_reads_the_review_alone():
    """The prompts differ in words, not in what they are given."""
    assert {template.variables for template in demo.templates()} == {("review",)}


def test_swapped_is_before_with_its_labels_swapped():
    """Two prompts differ in one line, and in that line only the order of the labels."""
    before, swapped = (next(t for t in demo.templates() if t.name == name) for name in ("before", "swapped"))
    lines = [line for line in before.diff(swapped).splitlines() if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    assert lines == [
        "-Classify the sentiment of the review. Answer with one word: positive or negative.",
        "+Classify the sentiment of the review. Answer with one word: negative or positive.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("positive", "positive"),
        ("Negative.", "negative"),
        ("It is negative, not positive.", "negative"),
        ("I am glad to hear that!", None),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_label_is_the_first_one_named(text, expected):
    """The scorer takes whichever of the two labels comes first, in any case."""
    assert demo.label(text) == expected


def test_accuracy_counts_right_failed_and_unlabelled_answers():
    """A trial without an answer is failed, not wrong; one without a label is counted apart."""
    table = demo.accuracy(
        frame(
            ("a", 0, "positive", "positive", "ok"),
            ("a", 0, "negative", "Well, well", "ok"),
            ("a", 0, "negative", None, "failed"),
            ("b", 0, "negative", "negative", "ok"),
        )
    )
    assert table.to_dict("records") == [
        {
            "template": "a",
            "temperature": 0,
            "right": 1,
            "n": 2,
            "failed": 1,
            "no_label": 1,
            "said_positive": 1,
            "tokens": 36,
            "seconds": 1.5,
        },
        {
            "template": "b",
            "temperature": 0,
            "right": 1,
            "n": 1,
            "failed": 0,
            "no_label": 0,
            "said_positive": 0,
            "tokens": 12,
            "seconds": 0.5,
        },
    ]


def test_verdict_names_the_best_and_the_worst_setting():
    """One sentence with counts."""
    study = frame(("a", 0, "positive", "positive", "ok"), ("b", 0.8, "positive", "negative", "ok"))
    assert demo.verdict(study) == (
        "Best: 'a' at temperature 0, 1 of 1 right. Worst: 'b' at temperature 0.8, 0 of 1; guessing would give about 0."
    )


def test_verdict_without_answers_says_nothing():
    """Where no answer came there is no best."""
    assert demo.verdict(frame(("a", 0, "positive", None, "failed"))) == "No answer came, so nothing can be said."
