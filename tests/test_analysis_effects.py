"""Effects: which axis matters, as shares of a metric's variance."""

import numpy as np
import pandas as pd
import pytest

from promptlab import AnalysisError, stats
from promptlab.analysis.shares import COLUMNS, effects
from scored import frame_of

AXES = ["template", "temperature"]
GRID = {"template": ["terse", "guided"], "temperature": [0.0, 1.0]}


def crossed(*, template, temperature, case, **_):
    """Let every axis, both together and the case add to the score."""
    return 2.0 * (template == "guided") + temperature + 3 * (template == "guided") * temperature + case % 3


def test_each_term_has_its_share():
    """The table is what `stats` finds in the trials, by the axes' names."""
    frame = frame_of(GRID, crossed, cases=12, repeats=2)
    table = effects(frame, AXES)
    known = stats.shares_of_variance(
        frame["right"].tolist(),
        {"template": frame["template"].tolist(), "temperature": [f"{each:g}" for each in frame["temperature"]]},
        frame["case"].tolist(),
    )
    assert list(table.columns) == list(COLUMNS)
    assert table["term"].tolist() == ["template", "temperature", "template × temperature", "case", "rest"]
    assert table["share"].tolist() == pytest.approx([each.share for each in known])
    assert table["share"].sum() == pytest.approx(1)


def test_shares_are_those_of_the_sums_of_squares():
    """In a balanced study a term's share is its sum of squares over all, as pandas computes it from the means."""
    frame = frame_of(GRID, crossed, cases=12, repeats=25)
    table = effects(frame, AXES).set_index("term")["share"]
    total = frame["right"].var(ddof=0)
    of_axis = {axis: frame.groupby(axis)["right"].transform("mean").var(ddof=0) for axis in [*AXES, "case"]}
    both = frame.groupby(AXES)["right"].transform("mean").var(ddof=0) - of_axis["template"] - of_axis["temperature"]
    assert len(frame) == 1200
    known = [of_axis["template"], of_axis["temperature"], both, of_axis["case"]]
    assert table.iloc[:4].tolist() == pytest.approx([each / total for each in known])


def test_the_verdict_names_the_largest():
    """Axes in order of their share, then the case and the rest."""
    frame = frame_of(GRID, lambda template, **_: float(template == "guided"), cases=10)
    assert effects(frame, AXES).verdict.startswith("of the variance of right: template 100 %, ")


def test_trials_without_a_value_are_counted():
    """What failed has no part in the variance, and is said."""
    frame = frame_of(GRID, lambda case, **trial: None if case == 0 else crossed(case=case, **trial), cases=10)
    assert effects(frame, AXES).verdict.endswith(" (4 of 40 trials left out: no value)")


def test_nothing_is_known_where_nothing_varies():
    """Equal scores have no variance to share."""
    table = effects(frame_of(GRID, lambda **_: 1.0), AXES)
    assert table["share"].isna().all()
    assert table.verdict == "unknown: right does not vary, or what has it does not"


def test_several_metrics_are_long():
    """All scores by default: a row a term and metric."""
    frame = frame_of(GRID, crossed, cases=10).assign(size=np.arange(40.0))
    assert effects(frame, AXES)["metric"].unique().tolist() == ["right", "size"]


def test_without_an_axis_there_is_no_effect():
    """Cases and repeats alone are no experiment."""
    with pytest.raises(AnalysisError, match="nothing varied by plan in this run but cases and repeats"):
        effects(frame_of({}, crossed_by_case), [])


def crossed_by_case(*, case, **_):
    """Score by the case alone."""
    return float(case % 2)


def test_axes_that_change_together_are_one_term():
    """Which of the two is behind it nobody can tell, so they share a term and its share."""
    rng = np.random.default_rng(3)
    rows = [
        {"model": model, "temperature": warmth, "case": case, "repeat": 0, "status": "ok", "s": gap + rng.normal()}
        for case in range(20)
        for model, warmth, gap in (("m1", 0, 0.0), ("m2", 1, 2.0))
    ]
    found = effects(pd.DataFrame(rows), ["model", "temperature"], metric="s")
    assert found["term"].tolist() == ["model = temperature", "case", "rest"]
    assert found["share"].iloc[0] > 0.3
