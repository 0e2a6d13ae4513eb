"""The rule of a race: its critical value against Pocock's table, what it drops, and simulated races.

A simulated candidate has a rate at which it answers rightly. Half of what decides an answer is the case's difficulty,
which all candidates share (a Gaussian copula with correlation 0.5), as with real prompts on one set of cases.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import ndtri

from promptlab.racing import Drop, Rule, critical_value, race

RACES = 300
CASES = 200
SPREAD = (0.85, *np.linspace(0.75, 0.25, 11))  # the best 10 points ahead of the second, which leads by 5
NEAR_TIE = (0.80, 0.79, *np.linspace(0.7, 0.3, 10))


@dataclass(frozen=True, slots=True)
class Shares:
    """What came of many simulated races, as shares of them; the best candidate is the one given last."""

    found: float  # the best is left, and has the best mean of those left
    dropped_best: float
    claimed: float  # one is left, and all others were shown to be beaten
    wrongly_alone: float  # one is left, and it is another than the best
    asked: float  # of the full sweep's requests


@pytest.mark.parametrize(
    ("looks", "value"),
    [pytest.param(1, 1.960, id="1"), pytest.param(2, 2.178, id="2"), pytest.param(10, 2.555, id="10")],
)
def test_the_critical_value_is_pocock_s(looks, value):
    """It agrees with the table of Pocock (1977), which is for 5 % on two sides."""
    assert critical_value(tuple(range(1, looks + 1)), 0.025) == pytest.approx(value, abs=2e-3)


def test_the_critical_value_holds_for_walks():
    """20,000 simulated random walks pass it at some look as often as it says, also where the last block is short."""
    looks = (*range(8, 100, 8), 100)
    value = critical_value(looks, 0.05)
    walks = np.random.default_rng(0).standard_normal((20_000, 100)).cumsum(axis=1)
    at = np.array(looks) - 1
    crossed = (walks[:, at] / np.sqrt(at + 1) >= value).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.005)


def test_looks_end_with_the_cases():
    """There is one after each block, and the last is after the last case, however few are left for it."""
    assert Rule(2, 20, block=8).looks == (8, 16, 20)
    assert Rule(2, 5, block=8).looks == (5,)


def test_what_is_beaten_is_dropped():
    """Who loses on every case is out as soon as the cases are enough to say so, and by whom is told."""
    scores = np.vstack([np.ones(40), np.zeros(40)])
    assert list(race(scores, Rule(2, 40, block=8))) == [([0], [Drop(1, 0, 8, is_beaten=True)])]


def test_equal_candidates_stay():
    """Without a difference there is nothing to drop, however many cases there are."""
    left, drops = list(race(np.ones((3, 400)), Rule(3, 400)))[-1]
    assert (left, drops) == ([0, 1, 2], [])


def test_of_equal_candidates_the_first_stays_where_small_differences_do_not_matter():
    """With a `difference` two that never differ are not asked to the end, and neither is said to be beaten.

    Forty cases without a loss of the first show that the second is not better by 0.1: sqrt(40 x 0.1 / 0.9) is 2.1.
    """
    scores = np.tile([0.0, 1.0, 1.0, 1.0], (2, 20))
    ends = list(race(scores, Rule(2, 80, block=20, difference=0.1)))
    assert ends == [([0, 1], []), ([0], [Drop(1, 0, 40, is_beaten=False)])]


def test_nothing_is_known_while_all_scores_are_equal():
    """Where everything was right, rare losses cannot have been seen, and nobody is dropped for a `difference`."""
    assert list(race(np.ones((2, 80)), Rule(2, 80, difference=0.5)))[-1] == ([0, 1], [])


def test_who_is_ahead_is_never_dropped_as_not_better():
    """Two that are closer than the difference do not throw out each other: the one behind goes."""
    scores = np.vstack([np.tile([0.0, 1.0], 200), np.tile([1.0, 0.5], 200)])
    left, drops = list(race(scores, Rule(2, 400, difference=0.6)))[-1]
    assert (left, [(drop.candidate, drop.is_beaten) for drop in drops]) == ([1], [(0, False)])


def test_pairs_that_lack_a_side_are_left_out():
    """A candidate that failed on the easy cases is compared on the others alone."""
    hard, easy = np.zeros(40), np.ones(20)
    whole, failing = np.concatenate([hard, easy]), np.concatenate([hard, np.full(20, math.nan)])
    assert list(race(np.vstack([whole, failing]), Rule(2, 60)))[-1] == ([0, 1], [])


def test_who_has_no_score_is_dropped_after_eight_cases():
    """There is nothing to compare it by; one failure is no reason, and when nobody has a score, all stay."""
    none = np.full(16, math.nan)
    drop = Drop(1, None, 8, is_beaten=False)
    assert next(race(np.vstack([np.ones(16), none, np.ones(16)]), Rule(3, 16))) == ([0, 2], [drop])
    assert next(race(np.vstack([np.ones(16), none]), Rule(2, 16, block=1))) == ([0, 1], [])
    assert list(race(np.vstack([none, none]), Rule(2, 16)))[-1] == ([0, 1], [])


def test_later_scores_are_not_looked_at():
    """What a look decides does not depend on cases that come after it."""
    scores = rights(SPREAD, seed=0)
    changed = scores.copy()
    changed[:, 40:] = 1 - changed[:, 40:]
    rule = Rule(12, CASES, block=40)
    assert next(race(scores, rule)) == next(race(changed, rule))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_does_not_matter(scale):
    """Costs of a millionth of a dollar race as scores of a million do."""
    scores = rights(SPREAD, seed=1)
    assert list(race(scores * scale, Rule(12, CASES))) == list(race(scores, Rule(12, CASES)))


@pytest.mark.parametrize(
    ("rates", "difference"),
    [
        pytest.param(SPREAD, 0.0, id="spread out"),
        pytest.param((0.8, *[0.6] * 11), 0.0, id="20 points ahead of equals"),
        pytest.param((0.8, *[0.7] * 11), 0.1, id="10 points ahead of equals, and less does not matter"),
    ],
)
def test_the_best_of_12_is_found_with_half_the_requests(rates, difference):
    """In at least 95 % of 300 races, with at most half of what the full sweep takes."""
    shares = simulated(rates, difference=difference)
    assert (shares.found >= 0.95, shares.asked <= 0.5, shares.dropped_best <= 0.05) == (True, True, True), shares


def test_ten_points_ahead_of_equals_takes_nearly_all_requests():
    """200 such cases hardly show it, so little is dropped; but the best leads at the end in 95 % of races."""
    shares = simulated((0.8, *[0.7] * 11))
    assert (shares.found >= 0.95, shares.dropped_best, shares.asked > 0.8) == (True, 0, True), shares


def test_a_near_tie_is_not_claimed():
    """Of two that are a point apart, none is said to be beaten by the other in more than 5 % of races."""
    shares = simulated(NEAR_TIE)
    assert (shares.claimed <= 0.05, shares.dropped_best <= 0.05) == (True, True), shares


@pytest.mark.parametrize("rate", [0.7, 0.95])
def test_of_equals_none_is_claimed(rate):
    """Where none is better, any one is dropped in at most 5 % of races, and in at most 5 % a winner is claimed."""
    shares = simulated((rate,) * 12)
    assert (shares.claimed <= 0.05, shares.dropped_best <= 0.05) == (True, True), shares


def test_a_best_that_never_loses_a_case_is_kept():
    """Where the best is right wherever another is, and on a tenth of the cases alone, `difference=0.1` keeps it too."""
    shares = simulated((0.8, *[0.7] * 11), difference=0.1, alike=1.0)
    assert (shares.dropped_best <= 0.05, shares.found >= 0.95) == (True, True), shares


def simulated(rates, *, difference=0.0, alike=0.5):
    """Return what comes of `RACES` races over cases of right or wrong; `alike` is the candidates' correlation.

    The rates are given from the best one on.
    """
    rule, best = Rule(len(rates), CASES, difference=difference), len(rates) - 1
    ends = [
        _end(rights(rates[::-1], seed, alike), rule) for seed in range(RACES)
    ]  # of two that are level the first leads
    return Shares(
        found=sum(leader == best for leader, *_ in ends) / RACES,
        dropped_best=sum(best not in left for _, left, *_ in ends) / RACES,
        claimed=sum(beaten == len(rates) - 1 for *_, beaten, _ in ends) / RACES,
        wrongly_alone=sum(len(left) == 1 and best not in left for _, left, *_ in ends) / RACES,
        asked=sum(asked for *_, asked in ends) / RACES / (CASES * len(rates)),
    )


def _end(scores, rule):
    """Return who leads, who is left, how many were beaten, and how many requests that took."""
    asked, before, playing, beaten = 0, 0, list(range(len(scores))), 0
    for look, (left, drops) in zip(rule.looks, race(scores, rule), strict=False):
        asked, before = asked + len(playing) * (look - before), look
        playing, beaten = left, beaten + sum(drop.is_beaten for drop in drops)
    return max(playing, key=lambda each: scores[each, :before].mean()), playing, beaten, asked


def rights(rates, seed, alike=0.5):
    """Return candidates x cases of 1 (right) or 0."""
    draws = np.random.default_rng(seed)
    shared, own = draws.standard_normal(CASES), draws.standard_normal((len(rates), CASES))
    latent = math.sqrt(alike) * shared + math.sqrt(1 - alike) * own
    return (latent < ndtri(np.array(rates))[:, None]).astype(float)
