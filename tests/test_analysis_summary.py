"""The summary of trials: figures by group, with what failed and what is missing."""

import math

import numpy as np
import pandas as pd
import pytest

from promptlab import AnalysisError, stats
from promptlab.analysis import estimate, summaries
from scored import frame_of

COLUMNS = [*summaries.COLUMNS]


def half(*, case, **_):
    """Be right in every other case."""
    return case % 2


def test_a_row_says_everything_of_its_group():
    """One row, whole."""
    table = summaries.summary(frame_of({}, half, cases=8), [])
    rate = stats.wilson(4, 8)
    assert table.to_dict("records") == [
        {
            "template": "terse",
            "metric": "right",
            "mean": 0.5,
            "low": rate.low,
            "high": rate.high,
            "n": 8,
            "cases": 8,
            "failed": 0,
            "missing": 0,
            "cost_usd": pytest.approx(0.01),
            "latency_ms": 100.0,
            "total_tokens": 20.0,
        }
    ]
    assert list(table.columns) == ["template", *COLUMNS]


def test_groups_are_the_template_and_every_axis_in_plan_order():
    """Without `by` a row is a setting; rows stand in the order of the plan, not of the alphabet."""
    frame = frame_of({"template": ["terse", "guided"], "temperature": [1.0, 0.0]}, half)
    table = summaries.summary(frame, ["template", "temperature"])
    assert table[["template", "temperature"]].to_numpy().tolist() == [
        ["terse", 1.0],
        ["terse", 0.0],
        ["guided", 1.0],
        ["guided", 0.0],
    ]


def test_any_column_groups():
    """Cases' own columns group as well, lists by what they hold; all rows are one group with by=[]."""
    frame = frame_of({}, half, case_columns={"tags": lambda case: ["even", "odd"][case % 2 :][:1]})
    table = summaries.summary(frame, [], by="tags")
    assert table[["tags", "mean", "n"]].to_numpy().tolist() == [['["even"]', 0.0, 5], ['["odd"]', 1.0, 5]]
    assert summaries.summary(frame, [], by=[])[["mean", "n"]].to_numpy().tolist() == [[0.5, 10]]


def test_a_group_of_a_figures_name_keeps_its_values():
    """A case's column called `mean` does not hide the mean."""
    frame = frame_of({}, half, case_columns={"mean": lambda case: case % 2})
    table = summaries.summary(frame, [], by="mean")
    assert table[["by.mean", "mean"]].to_numpy().tolist() == [[0, 0], [1, 1]]


def test_failed_and_missing_trials_are_counted():
    """A mean is over what has a value; the others are counted by why they have none, and said."""
    frame = frame_of({}, lambda case, **_: None if case == 0 else 1, cases=6)
    frame.loc[1, "status"], frame.loc[2, "right"] = "stopped", np.nan
    frame.loc[1, "right"] = np.nan
    table = summaries.summary(frame, [])
    assert table[["mean", "n", "cases", "failed", "missing"]].to_numpy().tolist() == [[1.0, 3, 3, 1, 2]]
    assert table.verdict.splitlines() == [
        "1 trial failed and 1 trial not asked of 6; means are over the others",
        "1 value missing: answers without a score",
    ]


def test_failed_trials_can_count():
    """failed_as=0 counts a failed trial as wrong; one that was not asked stays missing."""
    frame = frame_of({}, lambda case, **_: None if case == 0 else 1, cases=4)
    frame.loc[1, ["status", "right"]] = "todo", np.nan
    table = summaries.summary(frame, [], failed_as=0)
    assert table[["mean", "n", "failed", "missing"]].to_numpy().tolist() == [[pytest.approx(2 / 3), 3, 1, 1]]


def test_nothing_is_known_of_a_group_without_values():
    """Where all failed, the figures are missing, not 0."""
    table = summaries.summary(frame_of({}, lambda **_: None), [])
    figures = table.loc[0, ["mean", "low", "high", "cost_usd", "latency_ms", "total_tokens"]]
    assert figures.isna().all()
    assert table.loc[0, ["n", "cases", "failed"]].tolist() == [0, 0, 10]


def test_without_scores_there_are_cost_latency_and_tokens():
    """A run that was not scored has a summary as well."""
    frame = frame_of({}, half).drop(columns="right")
    table = summaries.summary(frame, [])
    assert list(table.columns) == ["template", *COLUMNS[4:]]
    assert table.loc[0, ["n", "failed", "missing"]].tolist() == [10, 0, 0]


def test_several_metrics_are_long():
    """All scores by default: a row a group and metric."""
    frame = frame_of({}, half).assign(size=7.0, label="yes")
    table = summaries.summary(frame, [])
    assert table[["metric", "mean"]].to_numpy().tolist() == [["right", 0.5], ["size", 7.0]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"metric": "rihgt"}, "metric 'rihgt' is no column; did you mean 'right'?", id="misspelt"),
        pytest.param({"metric": "output"}, "metric 'output' is not a number", id="text"),
        pytest.param({"metric": "position"}, "metric 'position' is a name or a place", id="place"),
        pytest.param({"metric": []}, "metric=[] names nothing", id="none"),
        pytest.param({"by": "tempalte"}, "by 'tempalte' is no column; did you mean 'template'?", id="group"),
        pytest.param({"confidence": 95}, "confidence=95 is not between 0 and 1", id="confidence"),
        pytest.param({"metric": "latency_ms", "failed_as": 0}, "failed_as=0 is for scores", id="failed-as"),
    ],
)
def test_a_bad_argument_is_one_clear_error(options, said):
    """What is wrong is said with its value and what there is."""
    with pytest.raises(AnalysisError) as caught:
        summaries.summary(frame_of({}, half), [], **options)
    assert str(caught.value).startswith(said)


def test_figures_are_those_of_pandas():
    """On 4,000 trials means, counts and medians are what groupby gives."""
    rng = np.random.default_rng(0)
    frame = frame_of(
        {"template": ["a", "b"], "temperature": [0, 1]},
        lambda **_: None if rng.random() < 0.1 else float(rng.integers(2)),
        cases=200,
        repeats=5,
        latency_ms=lambda **_: rng.gamma(2, 100),
    )
    table = summaries.summary(frame, ["template", "temperature"])
    grouped = frame.groupby(["template", "temperature"], sort=False)
    known = pd.DataFrame(
        {"mean": grouped["right"].mean(), "n": grouped["right"].count(), "latency_ms": grouped["latency_ms"].median()}
    )
    found = table.set_index(["template", "temperature"])[["mean", "n", "latency_ms"]]
    pd.testing.assert_frame_equal(found, known)
    assert (len(frame), int(table["failed"].sum())) == (4000, int(frame["right"].isna().sum()))


def test_text_from_data_is_text():
    """Markup and dollar signs in a level are shown as they are, and no mathematics is read into them."""
    frame = frame_of({"template": ["<b>$x^2$</b>"]}, half)
    html = summaries.summary(frame, [])._repr_html_()
    assert "&lt;b&gt;$x^2$&lt;/b&gt;" in html
    assert "<b>$x" not in html
    assert 'class="tex2jax_ignore mathjax_ignore"' in html


def test_what_pandas_makes_of_it_is_a_plain_frame():
    """A verdict is one on the whole table, so a part of it has none."""
    table = summaries.summary(frame_of({}, half), [])
    assert (type(table.head(1)), type(table[["mean"]])) == (pd.DataFrame, pd.DataFrame)
    assert table.verdict == ""


def test_an_estimate_of_nothing_is_unknown():
    """No values, no figure."""
    found = estimate([], [])
    assert all(map(math.isnan, (found.estimate, found.low, found.high)))
