"""Contrasts: paired differences between levels, what they show, and what they leave open."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_rel

from promptlab import AnalysisError, stats
from promptlab.analysis import contrasts
from promptlab.analysis.contrasts import COLUMNS, contrast
from scored import frame_of

TWO = {"template": ["terse", "guided"]}


def better(*, template, case, **_):
    """Score half of the cases with the terse template, three of four with the guided one."""
    return float(case % 4 < (3 if template == "guided" else 2))


def noisy(seed, gain=0.3, spread=0.2):
    """Return a score of its own for every case, that the guided template adds to."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.5, 0.5, 10_000)
    return lambda template, case, **_: level[case] + gain * (template == "guided") + rng.normal(0, spread)


def by_case(frame, name="right"):
    """Return the mean score of each template (column) and case (row), by pandas."""
    return frame.groupby(["case", "template"])[name].mean().unstack()


def test_a_row_says_everything_of_two_levels():
    """One row, whole."""
    table = contrast(frame_of(TWO, better, cases=40), ["template"], "template")
    gains = [float(case % 4 == 2) for case in range(40)]
    tested = stats.paired(gains, range(40))
    [row] = table.to_dict("records")
    assert list(row) == list(COLUMNS)
    assert row == {
        "metric": "right",
        "axis": "template",
        "level": "guided",
        "against": "terse",
        "setting": "",
        "difference": 0.25,
        "low": tested.difference.low,
        "high": tested.difference.high,
        "p": tested.p,
        "p_adjusted": tested.p,
        "cases": 40,
        "pairs": 40,
        "dropped": 0,
        "dropped_failed": 0,
        "wins": 10,
        "losses": 0,
        "ties": 30,
        "p_mcnemar": pytest.approx(2 * 0.5**10),
        "more_cases": max(0, stats.cases_needed(gains, range(40)) - 40),
        "verdict": table.verdict,
    }


def test_the_difference_is_that_of_a_paired_t_test():
    """Over 15 cases, 4 settings and 20 repeats, 2,400 rows: mean and t interval are scipy's, of the cases' means."""
    axes = {**TWO, "temperature": [0, 1], "top_p": [0.5, 1.0]}
    frame = frame_of(axes, noisy(1), cases=15, repeats=20)
    row = contrast(frame, list(axes), "template").iloc[0]
    means = by_case(frame)
    known = ttest_rel(means["guided"], means["terse"]).confidence_interval()
    gap = (means["guided"] - means["terse"]).mean()
    assert (len(frame), row["pairs"], row["cases"]) == (2400, 60, 15)
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([gap, known.low, known.high])


@pytest.mark.parametrize(
    ("cases", "tolerance"), [pytest.param(10, 1e-9, id="exact"), pytest.param(50, 0.015, id="drawn")]
)
def test_the_p_value_is_that_of_a_permutation_test(cases, tolerance):
    """Signs are flipped by case, as scipy does: all ways where there are few, else a sample of them."""
    frame = frame_of(TWO, noisy(3, gain=0.06), cases=cases, repeats=10)
    means = by_case(frame)
    known = permutation_test(
        (means["guided"], means["terse"]),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=100_000,
        rng=np.random.default_rng(0),
    )
    assert contrast(frame, ["template"], "template")["p"].iloc[0] == pytest.approx(known.pvalue, abs=tolerance)


def test_each_level_is_compared_with_each():
    """Three levels make three contrasts, and p-values are adjusted over all of them."""
    frame = frame_of({"template": ["a", "b", "c"]}, noisy(2), cases=25)
    table = contrast(frame, ["template"], "template")
    assert table[["level", "against"]].to_numpy().tolist() == [["b", "a"], ["c", "a"], ["c", "b"]]
    assert list(table["p_adjusted"]) == stats.holm(list(table["p"]))


def test_a_baseline_and_chosen_levels_make_fewer():
    """Only the contrasts that are asked for are made, and only they are adjusted for."""
    frame = frame_of({"temperature": [0, 0.5, 1]}, noisy(2), cases=25)
    table = contrast(frame, ["temperature"], "temperature", against=0.5)
    assert table[["level", "against"]].to_numpy().tolist() == [[0, 0.5], [1, 0.5]]
    table = contrast(frame, ["temperature"], "temperature", levels=[1, 0])
    assert table[["level", "against"]].to_numpy().tolist() == [[0, 1]]


def test_pairs_without_a_side_are_counted_by_why():
    """A failed side, a missing score and a trial that was not asked each drop a pair; none of them is a 0."""

    def score(*, template, case, **_):
        return None if (template, case) == ("guided", 0) else better(template=template, case=case)

    frame = frame_of(TWO, score, cases=20)
    frame.loc[(frame["case"] == 1) & (frame["template"] == "terse"), "right"] = np.nan
    frame = frame[~((frame["case"] == 2) & (frame["template"] == "terse"))]
    table = contrast(frame, ["template"], "template")
    assert table[["cases", "pairs", "dropped", "dropped_failed"]].to_numpy().tolist() == [[17, 17, 3, 1]]
    assert "17 paired cases, 3 pairs dropped: 1 failed, 2 missing)" in table.verdict


def test_failed_trials_can_count():
    """failed_as=0 takes a failure as wrong, so that its pair counts."""

    def score(*, template, case, **_):
        return None if template == "guided" and case % 2 else 1

    frame = frame_of(TWO, score, cases=30)
    assert contrast(frame, ["template"], "template")[["difference", "cases"]].to_numpy().tolist() == [[0, 15]]
    table = contrast(frame, ["template"], "template", failed_as=0)
    assert table[["difference", "cases", "dropped"]].to_numpy().tolist() == [[-0.5, 30, 0]]


def test_repeats_of_one_side_are_averaged_first():
    """A cell is one figure, however many of its repeats are there."""

    def score(*, template, repeat, **_):
        return (template == "guided") and repeat % 2

    frame = frame_of(TWO, score, cases=20, repeats=4)
    frame = frame[~((frame["template"] == "terse") & (frame["repeat"] > 0))]
    table = contrast(frame, ["template"], "template")
    assert table[["difference", "cases", "pairs"]].to_numpy().tolist() == [[0.5, 20, 20]]


def test_mcnemar_needs_single_scores():
    """Where a case has several pairs or repeats, its scores are no independent pairs."""
    for axes, repeats in (({**TWO, "temperature": [0, 1]}, 1), (TWO, 2)):
        table = contrast(frame_of(axes, better, repeats=repeats), list(axes), "template")
        assert math.isnan(table["p_mcnemar"].iloc[0])


def test_mcnemar_in_each_setting():
    """Within one setting a case is one pair again."""
    axes = {**TWO, "temperature": [0, 1]}
    table = contrast(frame_of(axes, better, cases=40), list(axes), "template", by="settings")
    assert table["setting"].tolist() == ["temperature=0", "temperature=1"]
    assert table["p_mcnemar"].tolist() == [pytest.approx(2 * 0.5**10)] * 2


def test_a_column_of_the_cases_splits():
    """`by` contrasts within each value of any column."""
    frame = frame_of(TWO, better, cases=40, case_columns={"lang": lambda case: "en" if case % 4 == 2 else "de"})
    table = contrast(frame, ["template"], "template", by="lang")
    assert table[["setting", "difference", "cases"]].to_numpy().tolist() == [["lang=de", 0, 30], ["lang=en", 1, 10]]


def test_less_is_better_of_what_is_paid():
    """Latency, cost and tokens are better when lower; `lower_is_better` says so of others."""
    frame = frame_of(
        TWO, better, cases=30, latency_ms=lambda template, case, **_: 100 + case + 50 * (template == "guided")
    )
    table = contrast(frame, ["template"], "template", "latency_ms")
    assert table[["difference", "wins", "losses"]].to_numpy().tolist() == [[50, 0, 30]]
    assert table.verdict == "terse beats guided by 50 ms (the same in each of 30 paired cases)"
    turned = contrast(frame, ["template"], "template", metric="latency_ms", lower_is_better=False)
    assert turned.verdict.startswith("guided beats terse by 50 ms")


# Words


def test_the_verdict_says_how_much_how_sure_and_where_it_is_open():
    """A difference over all settings, and in how many of them it is shown by itself."""
    axes = {**TWO, "temperature": [0, 1]}

    def score(*, template, temperature, case, **_):
        return float(case % 10 < (8 if template == "guided" and temperature == 0 else 3))

    table = contrast(frame_of(axes, score, cases=40), list(axes), "template")
    row = table.iloc[0]
    ends = f"{row['low'] * 100:.1f}".removesuffix(".0"), f"{row['high'] * 100:.1f}".removesuffix(".0")
    assert table.verdict == (
        f"guided beats terse by 25 points (95 % interval {ends[0]} to {ends[1]}, 40 paired cases);"
        " 1 of 2 settings remains open"
    )


def test_opposite_settings_are_told():
    """Where the settings disagree, the verdict over all does not hide it."""
    axes = {**TWO, "temperature": [0, 1]}

    def score(*, template, temperature, **_):
        return float((template == "guided") == (temperature == 0))

    table = contrast(frame_of(axes, score, cases=30), list(axes), "template")
    assert table.verdict == (
        "no difference shown: guided minus terse is 0 points (the same in each of 30 paired cases);"
        " guided is better in 1 of 2 settings, terse is better in 1 of 2 settings, none of 2 settings remains open"
    )


def test_an_open_contrast_says_what_would_settle_it():
    """No difference shown is no claim that there is none."""
    frame = frame_of(TWO, noisy(5, gain=0.02, spread=0.5), cases=40)
    row = contrast(frame, ["template"], "template").iloc[0]
    assert row["p"] > 0.05
    assert row["verdict"].startswith("no difference shown: guided minus terse is ")
    assert row["verdict"].endswith(f"; about {row['more_cases']:,.0f} more cases would show one of this size")


def test_the_size_to_resolve_can_be_given():
    """With resolve= the cases are those for that size, not for the one observed."""
    frame = frame_of(TWO, noisy(5, gain=0.02, spread=0.5), cases=40)
    differences = list(by_case(frame)["guided"] - by_case(frame)["terse"])
    row = contrast(frame, ["template"], "template", resolve=0.05).iloc[0]
    assert row["more_cases"] == stats.cases_needed(differences, range(40), difference=0.05) - 40
    assert row["verdict"].endswith("more cases would show one of 0.05")


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        pytest.param(1, "only 1 paired case", id="one"),
        pytest.param(0, "no paired case, 1 pair dropped: 1 failed", id="none"),
    ],
)
def test_too_few_cases_say_nothing(cases, said):
    """One case has no spread, so nothing is claimed and no figure stands for what is unknown."""
    frame = frame_of(TWO, lambda template, **_: None if not cases else template == "guided", cases=1)
    table = contrast(frame, ["template"], "template")
    assert table.verdict == f"guided against terse unknown: {said}"
    assert table[["low", "high", "p", "p_adjusted", "more_cases"]].isna().all(axis=None)


def test_what_no_permutation_can_show_needs_more_cases():
    """Of 3 cases all signs are equal in a quarter of all flips: 3 more are the fewest with which 5 % can be reached."""
    frame = frame_of(TWO, lambda template, **_: float(template == "guided"), cases=3)
    table = contrast(frame, ["template"], "template")
    assert table[["difference", "p", "more_cases"]].to_numpy().tolist() == [[1.0, 0.25, 3]]
    assert table.verdict == (
        "no difference shown: guided minus terse is 100 points (the same in each of 3 paired cases);"
        " about 3 more cases would show one of this size"
    )


def test_few_cases_have_a_t_interval_and_say_so():
    """Below 20 cases the interval is Student's."""
    frame = frame_of(TWO, noisy(1), cases=8)
    assert "(95 % t interval " in contrast(frame, ["template"], "template").verdict


def test_many_contrasts_are_counted():
    """A long table says how many are shown, and the clearest of them."""
    frame = frame_of({"temperature": [0, 1, 2, 3]}, lambda temperature, case, **_: temperature + case % 3, cases=20)
    lines = contrast(frame, ["temperature"], "temperature").verdict.splitlines()
    assert (lines[0], len(lines)) == ("6 of 6 contrasts shown", 5)
    assert lines[1].startswith("temperature=1 beats temperature=0 by 1 (")


def test_what_an_adjustment_undoes_is_said():
    """A contrast whose interval is apart from 0 can still be open among many."""
    row = {"level": "b", "against": "a", "difference": 0.1, "low": 0.01, "high": 0.2, "p": 0.03, "p_adjusted": 0.3}
    assert contrasts.outcome(row, less_is_better=False, confidence=0.95) == 0
    frame = frame_of({"template": list("abcdefghij")}, noisy(8, gain=0, spread=0.3), cases=25)
    table = contrast(frame, ["template"], "template")
    is_apart = (table["low"] > 0) | (table["high"] < 0)
    undone = table[(table["p"] < 0.05) & (table["p_adjusted"] > 0.05) & is_apart]
    assert len(undone) > 0
    assert undone["verdict"].str.contains("not after adjusting for the other contrasts").all()


# Axes that cannot be held equal


def test_what_goes_with_a_level_is_named():
    """A setting that each level has one value of its own in cannot be held equal, and the verdict says so."""
    frame = frame_of(TWO, better, cases=30)
    frame["model"] = frame["template"].map({"terse": "small", "guided": "large"})
    table = contrast(frame, ["template", "model"], "template", "right")
    assert table["cases"].tolist() == [30]
    assert table.verdict.splitlines()[1] == "each level of template has its own model, so that this differs as well"


def test_a_level_that_is_unset_has_a_name():
    """A parameter that some settings do not have is a level as well."""
    frame = frame_of({"top_p": [None, 0.5]}, lambda top_p, case, **_: case + (top_p == 0.5), cases=20)
    table = contrast(frame, ["top_p"], "top_p")
    assert table[["level", "against", "difference"]].to_numpy().tolist() == [[0.5, None, 1.0]]
    assert table.verdict.startswith("top_p=0.5 beats top_p=unset by 1 (")


# Properties

CELLS = st.lists(st.tuples(*[st.one_of(st.none(), st.integers(-3, 3))] * 4), min_size=2, max_size=12)


def frame_of_cells(rows):
    """Return a frame of two templates x two temperatures, one row of scores a case; None failed."""
    places = {("terse", 0): 0, ("guided", 0): 1, ("terse", 1): 2, ("guided", 1): 3}
    axes = {**TWO, "temperature": [0, 1]}
    return frame_of(
        axes, lambda template, temperature, case, **_: rows[case][places[template, temperature]], cases=len(rows)
    )


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_swapping_the_levels_turns_the_contrast(rows):
    """The other way round every sign turns, wins are losses, and all counts stay."""
    frame = frame_of_cells(rows)
    ways = [
        contrast(frame, ["template", "temperature"], "template", levels=levels).iloc[0]
        for levels in (["terse", "guided"], ["guided", "terse"])
    ]
    one, other = ways
    same = ["cases", "pairs", "dropped", "dropped_failed", "ties"]
    assert one[same].tolist() == other[same].tolist()
    assert one[["wins", "losses"]].tolist() == other[["losses", "wins"]].tolist()
    assert one["difference"] == pytest.approx(-other["difference"], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(CELLS, st.integers(0, 99))
def test_counts_and_difference_are_pandas_own_in_any_order_of_rows(rows, seed):
    """Whatever is missing, and however rows stand: each cell is a pair or dropped, the mean is over cases."""
    frame = frame_of_cells(rows)
    row = contrast(
        frame.sample(frac=1, random_state=seed), ["template", "temperature"], "template", levels=["terse", "guided"]
    ).iloc[0]
    wide = frame.pivot_table(index=["case", "temperature"], columns="template", values="right", dropna=False)
    wide = wide.reindex(columns=["terse", "guided"])
    gap = (wide["guided"] - wide["terse"]).dropna()
    assert row["pairs"] + row["dropped"] == 2 * len(rows)
    assert (row["pairs"], row["cases"]) == (len(gap), gap.index.get_level_values("case").nunique())
    known = gap.groupby("case").mean().mean()
    assert row["difference"] == pytest.approx(known, nan_ok=True)


# Errors


@pytest.mark.parametrize(
    ("axis", "options", "said"),
    [
        pytest.param("templat", {}, "'templat' is no axis; did you mean 'template'?", id="misspelt"),
        pytest.param("lang", {}, "'lang' did not vary by plan within a case; 'template' vary", id="case-column"),
        pytest.param(
            "template", {"against": "trese"}, "'trese' is no level of 'template'; there are 'terse'", id="level"
        ),
        pytest.param("template", {"levels": ["terse"]}, "'template' has one level here, 'terse'", id="one"),
        pytest.param("template", {"resolve": 0}, "resolve=0 is no size of a difference", id="resolve"),
        pytest.param("template", {"metric": "lang"}, "metric 'lang' is not a number", id="metric"),
        pytest.param("template", {"by": "nothing"}, "by 'nothing' is no column", id="by"),
    ],
)
def test_a_bad_argument_is_one_clear_error(axis, options, said):
    """What is wrong is said with its value and what there is."""
    frame = frame_of(TWO, better, case_columns={"lang": lambda _: "en"})
    with pytest.raises(AnalysisError) as caught:
        contrast(frame, ["template"], axis, **options)
    assert str(caught.value).startswith(said)


def test_without_a_score_a_metric_is_asked_for():
    """A run that was not scored says what to do."""
    frame = frame_of(TWO, better).drop(columns="right")
    with pytest.raises(AnalysisError) as caught:
        contrast(frame, ["template"], "template")
    assert str(caught.value) == (
        "nothing has been scored yet: run.score(...) first, or name a column, e.g. metric='latency_ms'"
    )


def test_text_from_data_is_text():
    """Markup and mathematics in a level stay text in the rich form."""
    frame = frame_of({"template": ["$a$", "<i>b</i>"]}, better, cases=20)
    html = contrast(frame, ["template"], "template")._repr_html_()
    assert "<i>" not in html
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore"')


def test_a_table_is_a_plain_frame_to_pandas():
    """It is saved, copied and selected as any other; the verdict goes along where the whole table does."""
    table = contrast(frame_of(TWO, better), ["template"], "template")
    assert type(table[table["p"] < 2]) is pd.DataFrame
    assert table["verdict"].tolist() == [table.verdict]
