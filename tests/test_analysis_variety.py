"""Variety: what repeats of one request say."""

import itertools
import math

import numpy as np
import pytest

from promptlab import AnalysisError
from promptlab.analysis.varieties import COLUMNS, variety
from scored import frame_of

GRID = {"temperature": [0, 1]}
WORDS = ["red", "green", "blue", "red"]


def answer(*, temperature, case, repeat, **_):
    """Say the same at temperature 0, and one of three words at 1."""
    return "red " if temperature == 0 else WORDS[(case + repeat) % 4]


def right(*, temperature, case, repeat, **_):
    """Only red is right."""
    return answer(temperature=temperature, case=case, repeat=repeat).strip() == "red"


def measured(table):
    """Return group, measure and mean as rows."""
    return {(row["temperature"], row["measure"]): row["mean"] for row in table.to_dict("records")}


def test_each_measure_of_each_group():
    """Four repeats red, green, blue, red: one of six pairs is equal, three of four words differ."""
    table = variety(frame_of(GRID, right, repeats=4, output=answer), ["temperature"], by="temperature", metric="right")
    assert list(table.columns) == ["temperature", *COLUMNS]
    assert measured(table) == {
        (0, "agreement"): 1,
        (0, "one_answer"): 1,
        (0, "distinct_1"): 0.25,
        (0, "pass@1"): 1,
        (0, "pass@4"): 1,
        (0, "majority"): 1,
        (1, "agreement"): pytest.approx(1 / 6),
        (1, "one_answer"): 0,
        (1, "distinct_1"): 0.75,
        (1, "pass@1"): 0.5,
        (1, "pass@4"): 1,
        (1, "majority"): 1,
    } | {(level, "distinct_2"): pytest.approx(math.nan, nan_ok=True) for level in (0, 1)}
    assert (
        table.verdict == "two repeats agree most in 100 % (temperature=0) and least in 16.7 % (temperature=1) of pairs"
    )


def test_pass_at_k_counts_every_way_to_draw():
    """The mean over all draws of k from the repeats, counted one by one."""
    rng = np.random.default_rng(0)
    frame = frame_of({}, lambda **_: float(rng.random() < 0.4), cases=200, repeats=6)
    table = variety(frame, [], by=[], metric="right", k=[2, 3])
    found = dict(zip(table["measure"], table["mean"], strict=True))
    for k in (2, 3):
        draws = [
            max(draw)
            for _, scores in frame.groupby("case")["right"]
            for draw in itertools.combinations(scores.tolist(), k)
        ]
        assert found[f"pass@{k}"] == pytest.approx(np.mean(draws))
    assert len(frame) == 1200


def test_intervals_are_over_cases():
    """A case asked in many settings is one observation: the interval is as wide as that of its settings' mean."""
    frame = frame_of({"top_p": [0.1, 0.5, 1.0]}, right_by_case, cases=30, repeats=2, output=by_case)
    one = variety(frame[frame["top_p"] == 1.0], ["top_p"], by=[]).iloc[0]
    all_three = variety(frame, ["top_p"], by=[]).iloc[0]
    assert (one["cells"], all_three["cells"], all_three["cases"]) == (30, 90, 30)
    assert all_three["high"] - all_three["low"] == pytest.approx(one["high"] - one["low"], rel=0.05)


def by_case(*, case, repeat, **_):
    """Agree with oneself in even cases alone."""
    return "same" if case % 2 == 0 else f"other {repeat}"


def right_by_case(*, case, **_):
    """Be right in even cases."""
    return float(case % 2 == 0)


def test_cells_with_too_few_answers_are_left_out_and_counted():
    """One answer of a cell agrees with nothing; failures are counted."""
    frame = frame_of({}, lambda case, repeat, **_: None if case == 0 and repeat else 1, cases=10, repeats=3)
    table = variety(frame, [], by=[], metric="right")
    rows = {row["measure"]: (row["cells"], row["left_out"], row["failed"]) for row in table.to_dict("records")}
    assert rows["agreement"] == rows["one_answer"] == rows["pass@3"] == (9, 1, 2)
    assert rows["pass@1"] == rows["majority"] == (10, 0, 2)


def test_a_tied_majority_counts_its_share():
    """Two answers with one vote each, one of them right, are right by half."""
    frame = frame_of({}, lambda repeat, **_: float(repeat), repeats=2, output=lambda repeat, **_: f"answer {repeat}")
    table = variety(frame, [], by=[], metric="right").set_index("measure")
    assert table.loc["majority", "mean"] == 0.5


def test_labels_can_be_compared_instead():
    """Answers that mean the same agree where their label is compared."""
    frame = frame_of({}, lambda **_: 1, repeats=2, output=lambda repeat, **_: f"It is {repeat}").assign(label="yes")
    shares = [variety(frame, [], by=[], answer=name)["mean"].iloc[0] for name in ("output", "label")]
    assert shares == [0, 1]


def test_without_repeats_nothing_is_known():
    """One answer a case has no variety to tell."""
    table = variety(frame_of(GRID, right, output=answer), ["temperature"])
    assert table["mean"].isna().all()
    assert table.verdict == "unknown: no case was answered twice in one setting; run it with repeats= of 2 or more"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"metric": "latency_ms"}, "metric 'latency_ms' is not 0 or 1", id="metric"),
        pytest.param({"answer": "text"}, "answer='text' is no column", id="answer"),
        pytest.param({"metric": "right", "k": [0]}, "k=[0] is no number of samples", id="k"),
    ],
)
def test_a_bad_argument_is_one_clear_error(options, said):
    """What is wrong is said with its value and what there is."""
    with pytest.raises(AnalysisError) as caught:
        variety(frame_of(GRID, right), ["temperature"], **options)
    assert str(caught.value).startswith(said)
