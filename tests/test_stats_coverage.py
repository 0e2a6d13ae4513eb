"""Simulated experiments: intervals hold the truth as often as they say, and tests err as seldom as they say.

2,000 experiments of each kind, made up from fixed seeds; the truth is known, since it was put in. The 2,000 have an
error of half a point themselves.
"""

import numpy as np
import pytest

from promptlab import stats

EXPERIMENTS = 2000


def skewed(cases, repeats):
    """Return a maker of skewed scores with mean 1.5: some cases are far above the others."""

    def made(rng):
        return rng.exponential(1, cases)[:, None] + rng.exponential(0.5, (cases, repeats))

    return made


def normal(cases, repeats):
    """Return a maker of scores with mean 0, of which half the variance is the case's."""

    def made(rng):
        return rng.normal(0, 1, cases)[:, None] + rng.normal(0, 1, (cases, repeats))

    return made


def binary(cases, repeats, *, right=2.0, wrong=1.0):
    """Return a maker of right and wrong answers: each case has a chance of its own, Beta(right, wrong)."""

    def made(rng):
        return (rng.random((cases, repeats)) < rng.beta(right, wrong, cases)[:, None]).astype(float)

    return made


def coverage(made, estimate, truth):
    """Return the share of experiments whose interval holds the truth."""
    held = 0
    for seed in range(EXPERIMENTS):
        scores = made(np.random.default_rng((2026, seed)))
        groups = np.repeat(np.arange(len(scores)), scores.shape[1]).tolist()
        interval = estimate(scores.ravel().tolist(), groups)
        held += interval.low <= truth <= interval.high
    return held / EXPERIMENTS


@pytest.mark.parametrize(
    ("made", "estimate", "truth"),
    [
        pytest.param(skewed(40, 5), stats.mean_interval, 1.5, id="mean of skewed scores, 40 cases"),
        pytest.param(normal(40, 5), stats.mean_interval, 0.0, id="mean of normal scores, 40 cases"),
        pytest.param(normal(10, 5), stats.mean_interval, 0.0, id="mean, 10 cases, Student's t"),
        pytest.param(binary(40, 5), stats.mean_interval, 2 / 3, id="mean of binary scores, 40 cases"),
        pytest.param(binary(40, 5), stats.grouped_rate, 2 / 3, id="rate, 40 cases"),
        pytest.param(binary(40, 1), stats.grouped_rate, 2 / 3, id="rate, 40 cases once"),
        pytest.param(binary(40, 5, right=0.3, wrong=0.3), stats.grouped_rate, 0.5, id="rate, each case nearly fixed"),
    ],
)
def test_intervals_cover(made, estimate, truth):
    """95 % intervals hold the truth in 93 to 97 % of 2,000 experiments."""
    assert 0.93 <= coverage(made, estimate, truth) <= 0.97


def test_few_skewed_cases_are_covered_less():
    """Of ten skewed cases nothing holds its level; the interval says that it is Student's t."""
    found = coverage(skewed(10, 5), stats.mean_interval, 1.5)
    assert 0.89 <= found <= 0.95
    interval = stats.mean_interval([1.0, 2.0, 4.0], "abc")
    assert interval.method == "Student's t, 3 cases"


def false_alarms(made):
    """Return the share of experiments without a difference in which the paired test shows one at 5 %."""
    found = 0
    for seed in range(EXPERIMENTS):
        rng = np.random.default_rng((2026, seed))
        differences = made(rng).mean(axis=1)
        found += stats.paired(differences.tolist(), range(len(differences))).p <= 0.05
    return found / EXPERIMENTS


@pytest.mark.parametrize("cases", [10, 40])
def test_the_paired_test_keeps_its_level(cases):
    """Where there is no difference it shows one in 5 % of experiments, within what 2,000 can tell."""
    assert 0.035 <= false_alarms(normal(cases, 3)) <= 0.065


def test_the_paired_test_is_careful_with_ties():
    """With right and wrong answers, of which many pairs are equal, it errs less often, never more."""

    def made(rng):
        chance = rng.beta(2, 1, 40)[:, None]
        return (rng.random((40, 3)) < chance).astype(float) - (rng.random((40, 3)) < chance)

    assert 0.02 <= false_alarms(made) <= 0.055
