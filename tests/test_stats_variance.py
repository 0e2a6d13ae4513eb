"""Shares of variance against statsmodels, and strengths from grouped votes."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from statsmodels.stats.anova import AnovaRM

from promptlab import stats


def design(cases=20, repeats=5, *, holes=False):
    """Return 1,200 made-up scores of 3 prompts by 4 temperatures: effects of each, of both together and of cases."""
    rng = np.random.default_rng(6)
    rows = [
        {"prompt": p, "temperature": t, "case": c, "y": 0.4 * (p == "b") + 0.2 * t * (p == "c") + 0.1 * t}
        for p in "abc" for t in range(4) for c in range(cases) for _ in range(repeats)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame["y"] += rng.normal(0, 1, cases)[frame["case"]] + rng.normal(0, 0.7, len(frame))
    return frame[rng.random(len(frame)) < 0.8].reset_index(drop=True) if holes else frame


def shares(frame):
    """Return our shares by term."""
    factors = {"prompt": frame["prompt"].tolist(), "temperature": frame["temperature"].tolist()}
    return {each.term: each for each in stats.shares_of_variance(frame["y"].tolist(), factors, frame["case"].tolist())}


@pytest.mark.parametrize("holes", [False, True])
def test_shares_are_those_of_statsmodels(holes):
    """On more than 900 rows, whole or with a fifth missing, each share is statsmodels' type II sum of squares."""
    frame = design(holes=holes)
    fit = smf.ols("y ~ C(prompt) * C(temperature) + C(case)", frame).fit()
    table = sm.stats.anova_lm(fit, typ=2)
    total = ((frame["y"] - frame["y"].mean()) ** 2).sum()
    found = shares(frame)
    theirs = {
        "prompt": "C(prompt)",
        "temperature": "C(temperature)",
        "prompt × temperature": "C(prompt):C(temperature)",
    }
    theirs |= {"case": "C(case)", "rest": "Residual"}
    assert list(found) == list(theirs)
    for ours, name in theirs.items():
        assert found[ours].share == pytest.approx(table.loc[name, "sum_sq"] / total, abs=1e-9)
        assert found[ours].df == table.loc[name, "df"]
    if not holes:
        assert sum(each.share for each in found.values()) == pytest.approx(1)


def test_p_values_are_those_of_repeated_measures():
    """Uncorrected they would be AnovaRM's; with two levels, where nothing is to be corrected, they are."""
    frame = design().query("prompt != 'c' and temperature < 2").reset_index(drop=True)
    theirs = AnovaRM(frame, "y", "case", within=["prompt", "temperature"], aggregate_func="mean").fit().anova_table
    found = shares(frame)
    names = {"prompt": "prompt", "temperature": "temperature", "prompt × temperature": "prompt:temperature"}
    for ours, name in names.items():
        assert found[ours].p == pytest.approx(theirs.loc[name, "Pr > F"], rel=1e-6)
    assert (found["case"].p, found["rest"].p) == (None, None)


def test_p_values_hold_their_level():
    """Without any effect, with cases that answer differently to prompts, 5 in 100 experiments show one."""
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scores = rng.normal(0, 1, (15, 1, 1)) + rng.normal(0, [0.2, 1, 2], (15, 3))[:, :, None]
        scores = scores + rng.normal(0, 0.5, (15, 3, 4))
        case, prompt, _ = np.indices(scores.shape)
        [term, *_] = stats.shares_of_variance(scores.ravel(), {"p": prompt.ravel().tolist()}, case.ravel().tolist())
        found.append(term.p <= 0.05)
    assert 0.02 <= np.mean(found) <= 0.08


def test_what_does_not_vary_has_no_share():
    """Equal values have no variance to share, and one case shows no chance."""
    same = stats.shares_of_variance([1.0] * 4, {"p": list("abab")}, [0, 0, 1, 1])
    assert [(each.term, each.share, each.p) for each in same] == [
        ("p", None, None), ("case", None, None), ("rest", None, None)
    ]  # fmt: skip
    [term, *_] = stats.shares_of_variance([1.0, 2.0, 3.0], {"p": list("aba")}, [0, 0, 0])
    assert (round(term.share, 4), term.p) == (0.0, None)


def test_what_always_changes_together_has_no_share_of_its_own():
    """Of two factors that say the same neither share nor chance is known."""
    levels = list("abab" * 10)
    values = np.random.default_rng(0).normal(0, 1, 40) + np.array([0, 1] * 20)
    found = stats.shares_of_variance(values.tolist(), {"p": levels, "q": levels}, np.repeat(range(20), 2).tolist())
    assert [(each.term, each.share, each.df, each.p) for each in found[:3]] == [
        ("p", None, 0, None), ("q", None, 0, None), ("p × q", None, 0, None)
    ]  # fmt: skip


def test_votes_on_one_case_count_as_one():
    """Five equal votes on each of ten cases widen the interval to nearly that of one vote a case."""
    rng = np.random.default_rng(4)
    wins = rng.random(30) < 0.7
    once = [("a", "b", float(win)) for win in wins]
    five = [game for game in once for _ in range(5)]
    groups = np.repeat(range(30), 5).tolist()
    widths = [
        ranking.strengths[0].log_odds.high - ranking.strengths[0].log_odds.low
        for ranking in (
            stats.bradley_terry(once, range(30)), stats.bradley_terry(five, groups), stats.bradley_terry(five)
        )
    ]  # fmt: skip
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)
    assert widths[2] == pytest.approx(widths[0] / 5**0.5, rel=0.05)


def test_grouped_strengths_are_a_logistic_regression():
    """Of two players the grouped interval is statsmodels' cluster-robust one of an intercept, on 1,000 games."""
    rng = np.random.default_rng(9)
    case = rng.integers(0, 40, 1000)
    won = rng.random(1000) < 1 / (1 + np.exp(-(0.4 + rng.normal(0, 1, 40)[case])))
    games = [("a", "b", float(each)) for each in won]
    found = stats.bradley_terry(games, case.tolist()).strengths[0].log_odds
    fit = sm.Logit(won.astype(float), np.ones(1000)).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": case, "use_correction": False}
    )
    error = fit.bse[0] * (40 / 39) ** 0.5
    gap = fit.params[0]
    assert found.estimate * 2 == pytest.approx(gap, abs=1e-6)  # strengths are half the gap on either side of 0
    assert (found.high - found.low) == pytest.approx(error * 1.959964, rel=1e-4)
