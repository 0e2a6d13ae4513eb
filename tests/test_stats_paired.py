"""Means, paired comparison and repeats, against scipy, statsmodels and published examples."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from promptlab import stats


def clustered(rows=1000, groups=50, seed=3):
    """Return made-up values in groups of unequal size, and the groups."""
    rng = np.random.default_rng(seed)
    codes = np.sort(rng.integers(0, groups, rows))
    return (rng.normal(0, 1, groups)[codes] + rng.normal(0.3, 1, rows)).tolist(), codes.tolist()


def test_the_error_of_a_mean_is_that_of_statsmodels():
    """On 1,000 values in groups Student's interval is the cluster-robust one of an ordinary least squares fit."""
    import statsmodels.api as sm

    values, groups = clustered(groups=15)
    found = stats.mean_interval(values, groups)
    fit = sm.OLS(values, np.ones(len(values))).fit()
    theirs = fit.get_robustcov_results("cluster", groups=np.array(groups), use_correction=True, df_correction=True)
    half = theirs.bse[0] * scipy_stats.t.ppf(0.975, 14)
    assert found.method == "Student's t, 15 cases"
    mean = float(np.mean(values))
    assert (found.estimate, found.low, found.high) == pytest.approx((mean, mean - half, mean + half), rel=1e-3)


def test_the_bootstrap_is_that_of_plain_resampling():
    """On 1,000 values in 50 groups the ends are those of a bootstrap-t written as a loop, within its noise."""
    values, groups = clustered()
    found = stats.mean_interval(values, groups)
    assert found.method == "bootstrap-t by case"
    parts = [np.array([v for v, g in zip(values, groups, strict=True) if g == group]) for group in sorted(set(groups))]

    def mean_and_error(sample):
        n, mean = sum(map(len, sample)), np.concatenate(sample).mean()
        squares = sum(((part - mean).sum()) ** 2 for part in sample)
        return mean, math.sqrt(squares * len(sample) / (len(sample) - 1)) / n

    mean, error = mean_and_error(parts)
    rng, ratios = np.random.default_rng(11), []
    for _ in range(2000):
        drawn = mean_and_error([parts[place] for place in rng.integers(0, len(parts), len(parts))])
        ratios.append((drawn[0] - mean) / drawn[1])
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert found.estimate == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - high * error, mean - low * error), abs=0.05 * error * 2)


@pytest.mark.parametrize(
    ("values", "groups", "method"),
    [
        ([], [], "unknown: no value"),
        ([1.0, 2.0], "aa", "unknown: only one case"),
        ([0.5] * 30, range(30), "unknown: all cases equal"),
    ],
)
def test_what_cannot_be_known_has_no_ends(values, groups, method):
    """No value, one case, or no spread: the ends are NaN, and the method says why."""
    found = stats.mean_interval(values, groups)
    assert (math.isnan(found.low), math.isnan(found.high), found.method) == (True, True, method)


def test_means_do_not_depend_on_the_order_of_repeats():
    """Within a group values may stand in any order, and the same seed gives the same ends."""
    values, groups = clustered()
    order = np.lexsort((values, groups))
    again = stats.mean_interval(np.array(values)[order].tolist(), np.array(groups)[order].tolist())
    found = stats.mean_interval(values, groups)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    assert stats.mean_interval(values, groups, seed=1).low != found.low


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf]])
def test_unknown_values_are_refused(values):
    """A value that is not a number is not averaged."""
    with pytest.raises(ValueError, match="NaN or infinite"):
        stats.mean_interval(values, "ab")


def test_groups_must_be_as_many_as_values():
    """One group for each value."""
    with pytest.raises(ValueError, match="2 values in 1 groups"):
        stats.mean_interval([1.0, 2.0], "a")


def test_exact_sign_flips_are_scipys():
    """With few groups p is that of scipy's exact permutation test."""
    differences = [0.5, -0.2, 0.7, 0.1, 0.4, -0.3, 0.6, 0.2, 0.9]
    theirs = scipy_stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    found = stats.paired(differences, range(9))
    assert (found.p, found.method, found.n) == (pytest.approx(theirs.pvalue), "exact", 9)


def test_drawn_sign_flips_are_near_the_exact_ones():
    """On 1,000 differences in 40 groups p is near scipy's, which draws as well, and near the normal one."""
    values, groups = clustered(groups=40)
    shifted = (np.array(values) - 0.05).tolist()
    found = stats.paired(shifted, groups)
    totals = np.bincount(groups, weights=shifted)
    theirs = scipy_stats.permutation_test(
        (totals,), np.sum, permutation_type="samples", vectorized=True, n_resamples=20_000, rng=np.random.default_rng(5)
    )
    assert found.method == "10,000 random sign flips"
    assert found.p == pytest.approx(theirs.pvalue, abs=0.012)


def test_darwins_plants():
    """Fisher's own example, section 21: of the 32,768 patterns 1,726 reach Darwin's total, p = 0.05267."""
    darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    exact = np.mean([abs(np.dot(signs, darwin)) >= sum(darwin) for signs in product((1, -1), repeat=15)])
    assert exact == pytest.approx(1726 / 32768)
    assert stats.paired(darwin, range(15)).p == pytest.approx(exact, abs=0.007)
    assert stats.paired(darwin[:14], range(14)).method == "exact"


def test_no_difference_at_all():
    """Where nothing differs p is 1 and the interval unknown."""
    found = stats.paired([0.0] * 5, range(5))
    assert (found.p, found.n, math.isnan(found.difference.low)) == (1.0, 5, True)
    assert repr(stats.paired([1, 1, 1], "abc")) == "<Paired 1 [nan, nan], 3 cases, p = 0.25>"


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_that_of_statsmodels(wins, losses):
    """For any counts p is that of statsmodels' exact test."""
    theirs = their_mcnemar([[10, wins], [losses, 10]], exact=True).pvalue if wins + losses else 1.0
    assert stats.mcnemar(wins, losses) == pytest.approx(min(1.0, theirs), abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_that_of_statsmodels(p_values):
    """For any p-values the adjusted ones are those of statsmodels."""
    assert stats.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_holm_on_a_thousand():
    """Also for 1,000 of them, and for none."""
    p_values = np.random.default_rng(0).beta(0.3, 3, 1000)
    assert stats.holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert stats.holm([]) == []


@pytest.mark.parametrize("difference", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_cases_needed_are_those_of_statsmodels(difference, power):
    """The number is the least for which statsmodels' paired t-test has the power."""
    differences = np.random.default_rng(2).normal(0.2, 1, 1000)
    needed = stats.cases_needed(differences.tolist(), range(1000), difference=difference, power=power)
    effect, theirs = difference / differences.std(ddof=1), TTestPower()
    assert theirs.power(effect, needed, 0.05) >= power > theirs.power(effect, needed - 1, 0.05)


def test_cases_needed_for_what_was_observed():
    """Without a size it is the mean observed; without a spread, a size or a second case it is unknown."""
    differences = [0.4, -0.1, 0.3, 0.2, -0.2, 0.5, 0.1, 0.0]
    assert stats.cases_needed(differences, range(8)) == stats.cases_needed(differences, range(8), difference=0.15)
    unknown = [([1.0], "a"), ([1.0, 1.0], "ab"), ([1.0, -1.0], "ab")]
    assert [stats.cases_needed(*each) for each in unknown] == [None, None, None]
    assert stats.cases_needed([1.0, -1.0, 1e-9], "abc") is None


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets(sizes):
    """It is the published formula as a product, for all small n."""
    n, correct, k = sizes
    product_form = 1.0 if n - correct < k else 1.0 - np.prod(1.0 - k / np.arange(n - correct + 1, n + 1))
    assert stats.pass_at_k(n, correct, k) == pytest.approx(product_form)


@pytest.mark.parametrize("sizes", [(5, 6, 1), (5, 1, 6), (5, 1, 0), (5, -1, 1)])
def test_pass_at_k_refuses_what_cannot_be(sizes):
    """More right than samples, or k outside 1 to n."""
    with pytest.raises(ValueError, match="are needed"):
        stats.pass_at_k(*sizes)


def test_pass_at_k_is_unbiased():
    """Over 4,000 draws of ten samples its mean is the true chance of pass@3."""
    right = np.random.default_rng(8).binomial(10, 0.3, 4000)
    assert np.mean([stats.pass_at_k(10, int(each), 3) for each in right]) == pytest.approx(1 - 0.7**3, abs=0.01)


def test_majority_names_ties():
    """The label given most often, and how many share that place."""
    assert stats.majority(["b", "a", "a", "b", "c"]) == stats.Majority("b", 2, 5, 2)
    assert stats.majority([]) is None


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=30))
def test_agreement_is_the_share_of_equal_pairs(labels):
    """It is what counting all pairs gives."""
    pairs = [one == other for place, one in enumerate(labels) for other in labels[:place]]
    assert stats.agreement(labels) == pytest.approx(np.mean(pairs))


def test_distinct_n_counts_words_as_they_are_separated():
    """Case does not matter, short texts have no pairs, no text has none."""
    assert stats.distinct_n(["to be or not to be"], 1) == pytest.approx(4 / 6)
    assert stats.distinct_n(["to be or not to be"], 2) == pytest.approx(4 / 5)
    assert (stats.distinct_n(["one"], 2), stats.distinct_n([], 1)) == (None, None)
