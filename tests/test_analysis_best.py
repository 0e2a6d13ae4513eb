"""The ranking of settings: order, limits, and which of them may be the best."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from promptlab import AnalysisError
from promptlab.analysis.rankings import COLUMNS, best
from scored import frame_of

AXES = ["template", "temperature"]
GRID = {"template": ["terse", "guided"], "temperature": [0.0, 1.0]}


def graded(*, template, temperature, case, **_):
    """Score 80, 70, 30 and 20 % of the cases right: guided before terse, cold before warm."""
    return float(case % 10 < (7 if template == "guided" else 2) + (temperature == 0))


def test_settings_stand_in_order():
    """The best is first, with the summary's figures and its paired lead."""
    table = best(frame_of(GRID, graded, cases=40), AXES)
    assert list(table.columns) == ["rank", *AXES, *list(COLUMNS)[1:]]
    assert table[["rank", *AXES, "mean", "difference", "paired_cases"]].to_numpy().tolist() == [
        [1, "guided", 0.0, 0.8, 0.0, 40],
        [2, "guided", 1.0, 0.7, pytest.approx(-0.1), 40],
        [3, "terse", 0.0, 0.3, -0.5, 40],
        [4, "terse", 1.0, 0.2, pytest.approx(-0.6), 40],
    ]


def test_those_that_cannot_be_told_from_the_best_are_among_it():
    """Among the best are the first and what it is not shown to beat."""
    rng = np.random.default_rng(2)
    frame = frame_of(GRID, lambda template, **_: rng.normal(template == "guided", 0.5), cases=40)
    table = best(frame, AXES)
    assert table[["template", "among_best"]].to_numpy().tolist() == [
        ["guided", True],
        ["guided", True],
        ["terse", False],
        ["terse", False],
    ]
    assert math.isnan(table["p_adjusted"].iloc[0])
    wide = frame.set_index(["case", *AXES])["right"].unstack(AXES)
    first, second = (tuple(table.loc[place, AXES]) for place in (0, 1))
    assert table["difference"].iloc[1] == pytest.approx((wide[second] - wide[first]).mean())
    assert table["p_adjusted"].iloc[1] == pytest.approx(ttest_rel(wide[second], wide[first]).pvalue, abs=0.03)


def test_the_verdict_warns_of_the_winners_curse():
    """Who was chosen by a score has too good a one."""
    lines = best(frame_of(GRID, graded, cases=40), AXES).verdict.splitlines()
    assert lines[0].startswith("first of 4 settings is template=guided, temperature=0: right 80 % (95 % interval ")
    assert lines[2] == "it was chosen by the same scores, so its own is likely too high: check it on new cases"


def test_less_is_better_of_what_is_paid():
    """The cheapest is the best by cost."""
    frame = frame_of(GRID, graded, cost_usd=lambda temperature, case, **_: 0.01 * (1 + temperature) + case / 1000)
    table = best(frame, AXES, metric="cost_usd", by="temperature")
    assert table[["temperature", "difference"]].to_numpy().tolist() == [[0.0, 0.0], [1.0, pytest.approx(0.01)]]
    assert table["among_best"].tolist() == [True, False]


def test_limits_leave_out_what_is_above_them_or_unknown():
    """A setting of unknown cost is not known to be cheap enough."""

    def cost(*, template, temperature, **_):
        return {("guided", 0.0): 0.05, ("guided", 1.0): math.nan}.get((template, temperature), 0.01)

    table = best(frame_of(GRID, graded, cases=20, cost_usd=cost), AXES, at_most={"cost_usd": 0.02})
    assert table["template"].tolist() == ["terse", "terse"]
    assert table.verdict.splitlines()[-1] == "2 settings left out: cost_usd above 0.02, or unknown"


def test_a_setting_without_a_value_stands_last():
    """What failed all over has no mean, and is not shown to be worse."""
    frame = frame_of(GRID, lambda template, **_: None if template == "terse" else 1, cases=20)
    table = best(frame, AXES, by="template")
    assert table["template"].tolist() == ["guided", "terse"]
    last = table.iloc[1]
    assert (math.isnan(last["mean"]), last["failed"], last["paired_cases"], last["among_best"]) == (True, 40, 0, True)


def test_without_any_value_nothing_is_known():
    """No answer, no best."""
    table = best(frame_of(GRID, lambda **_: None).assign(right=np.nan), AXES)
    assert table.verdict == "unknown: no setting has a value of right"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"metric": None}, "which metric? there are 'right', 'size'; say metric='right'", id="several"),
        pytest.param({"metric": "right", "by": "case"}, "'case' did not vary by plan, so it makes no setting", id="by"),
        pytest.param(
            {"metric": "right", "at_most": {"cost_usd": 0.001}}, "no setting is known to have at most", id="limit"
        ),
        pytest.param({"metric": "right", "at_most": {"price": 1}}, "metric 'price' is no column", id="limit-of-what"),
    ],
)
def test_a_bad_argument_is_one_clear_error(options, said):
    """What is wrong is said with its value and what there is."""
    with pytest.raises(AnalysisError) as caught:
        best(frame_of(GRID, graded).assign(size=1.0), AXES, **options)
    assert str(caught.value).startswith(said)
