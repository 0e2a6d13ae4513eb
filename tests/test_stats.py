"""The statistics of votes, each against a published example or an independent implementation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from promptlab import stats

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
#: Wins (row over column) of the American League East in 1987: Agresti, Categorical Data Analysis, 2nd ed., table 10.10.
WINS = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
#: Strengths against Baltimore with standard errors, as printed in the vignette of the R package BradleyTerry2.
PUBLISHED = {
    "Milwaukee": (1.5814, 0.3433),
    "Detroit": (1.4364, 0.3396),
    "Toronto": (1.2945, 0.3367),
    "New York": (1.2476, 0.3359),
    "Boston": (1.1077, 0.3339),
    "Cleveland": (0.6839, 0.3319),
}


def games(wins=WINS, names=TEAMS):
    """Return a table of wins as single games."""
    pairs = [(row, column) for row in range(len(names)) for column in range(len(names))]
    return [(names[row], names[column], 1.0) for row, column in pairs for _ in range(wins[row][column])]


def pairs(table):
    """Return a table of two raters' labels as pairs."""
    return [(i, j) for i, row in enumerate(table) for j, number in enumerate(row) for _ in range(number)]


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_as_published(successes, n, expected):
    """The four examples of Newcombe (1998), table I, method 3."""
    interval = stats.wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == expected
    assert interval.estimate == successes / n


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_as_scipy_has_it(confidence):
    """Every whole number of successes among 17 gives scipy's interval."""
    for successes in range(18):
        theirs = scipy_stats.binomtest(successes, 17).proportion_ci(confidence, method="wilson")
        ours = stats.wilson(successes, 17, confidence=confidence)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_takes_halves():
    """A tie can count half: the interval lies between those of the whole numbers beside it."""
    below, half, above = (stats.wilson(successes, 20) for successes in (7, 7.5, 8))
    assert below.low < half.low < above.low
    assert below.high < half.high < above.high
    assert repr(half) == "0.375 [0.2, 0.591]"


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_refuses_what_is_no_rate(successes, n):
    """More successes than trials, and no trials at all, are errors."""
    with pytest.raises(ValueError, match="between 0 and n successes"):
        stats.wilson(successes, n)


def test_scores_of_different_groups_are_plain_wilson():
    """One score a group is the interval of independent ones, halves too."""
    scores = [1, 0.5, 0, 1, 1, 0.5, 1]
    assert stats.grouped_rate(scores, range(7)) == stats.wilson(5, 7)


def test_the_same_said_four_times_counts_once():
    """Ten cases of four equal scores each say about as much as ten scores, and not as much as forty."""
    scores = [1, 1, 1, 0, 1, 0, 1, 1, 0, 1]
    repeated = stats.grouped_rate(
        [score for score in scores for _ in range(4)], [c for c in range(10) for _ in range(4)]
    )
    once, forty = stats.wilson(7, 10), stats.wilson(28, 40)
    assert repeated.estimate == pytest.approx(0.7)
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high), abs=0.02)
    assert forty.low - repeated.low > 0.1


def test_the_design_effect_as_computed_by_hand():
    """Totals about the mean of 0.75 are 0.5, -0.5, -0.5, 0.5: variance 1/64 * 4/3; single scores: 1.5 / 7 / 8."""
    effect = (1 / 64 * 4 / 3) / (1.5 / 7 / 8)
    found = stats.grouped_rate([1, 1, 1, 0, 0, 1, 1, 1], "aabbccdd")
    assert effect < 1  # scores within a group differ more than between groups: that is no reason to be surer
    assert found == stats.wilson(6, 8)
    found = stats.grouped_rate([1, 1, 0, 0, 1, 1, 1, 1], "aabbccdd")
    effect = ((0.5**2 * 3 + 1.5**2) / 64 * 4 / 3) / (1.5 / 7 / 8)
    assert effect == pytest.approx(7 / 3)
    assert (found.low, found.high) == pytest.approx(ends(stats.wilson(6 / effect, 8 / effect)))


def test_equal_scores_count_once_a_group():
    """Where everything was won, nothing shows how alike the groups are: each counts as one."""
    assert ends(stats.grouped_rate([1.0] * 12, np.repeat(range(4), 3).tolist())) == ends(stats.wilson(4, 4))
    assert ends(stats.grouped_rate([0.0, 1.0], ["one", "one"])) == ends(stats.wilson(0.5, 1))


def test_grouped_intervals_hold_their_level():
    """Of 400 made-up studies of 30 cases with 4 alike scores each about 95 in 100 hold the truth; plain ones fewer."""
    rng, held, plain = np.random.default_rng(2), 0, 0
    cases = np.repeat(np.arange(30), 4)
    for _ in range(400):
        scores = (rng.random(120) < np.repeat(rng.beta(0.9, 0.6, 30), 4)).astype(float)
        found, naive = stats.grouped_rate(scores.tolist(), cases.tolist()), stats.wilson(scores.sum(), 120)
        held += found.low <= 0.6 <= found.high
        plain += naive.low <= 0.6 <= naive.high
    assert held >= 0.92 * 400
    assert plain < 0.85 * 400


def ends(interval):
    """Return an interval's two ends."""
    return interval.low, interval.high


def test_sign_test_as_counted_by_hand():
    """Of 20 fair tosses, 15 or more heads come in 21,700 of 1,048,576 ways; both sides double that."""
    tail = sum(math.comb(20, heads) for heads in range(15, 21))
    assert tail == 21_700
    assert stats.sign_test(15, 5).p == pytest.approx(2 * tail / 2**20, rel=1e-12)
    assert stats.sign_test(5, 15).p == stats.sign_test(15, 5).p


def test_sign_test_of_nothing_decided():
    """Without wins and losses there is nothing to be surprised at."""
    assert stats.sign_test(0, 0) == stats.SignTest(0, 0, 1.0)


def test_kappa_as_published_by_fleiss():
    """Fleiss (1981), table 13.1: kappa 0.68 with a standard error of 0.088."""
    found = stats.cohen_kappa(pairs([(75, 1, 4), (5, 4, 1), (0, 0, 10)]))
    assert (found.agreed, found.n, round(found.kappa.estimate, 2)) == (89, 100, 0.68)
    assert (found.kappa.high - found.kappa.low) / 2 / 1.96 == pytest.approx(0.0877, abs=5e-5)


def test_kappa_as_sas_prints_it():
    """SAS's documentation of PROC FREQ, two dermatologists: 0.3449, 95 % limits 0.2030 and 0.4868."""
    kappa = stats.cohen_kappa(pairs([(10, 4, 1, 0), (5, 10, 12, 2), (2, 4, 12, 5), (0, 2, 6, 13)])).kappa
    assert (round(kappa.estimate, 4), round(kappa.low, 4), round(kappa.high, 4)) == (0.3449, 0.2030, 0.4868)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param([], "<Agreement 0 of 0, kappa unknown>", id="nothing"),
        pytest.param([("a", "a")] * 5, "<Agreement 5 of 5, kappa unknown>", id="one-label"),
        pytest.param([("a", "a"), ("b", "b")], "<Agreement 2 of 2, kappa 1 [-0.315, 1]>", id="full-of-two"),
        pytest.param([("a", "a"), ("b", "b")] * 3, "<Agreement 6 of 6, kappa 1 [0.219, 1]>", id="full-of-six"),
        pytest.param([("a", "a"), ("b", "b")] * 50, "<Agreement 100 of 100, kappa 1 [0.926, 1]>", id="full-of-many"),
        pytest.param([("a", "b"), ("b", "a")], "<Agreement 0 of 2, kappa -1 [-1, 0.315]>", id="none"),
        pytest.param([("a", "b")] * 5, "<Agreement 0 of 5, kappa 0 [0, 0.434]>", id="none-by-chance"),
    ],
)
def test_kappa_at_its_ends(labels, expected):
    """Where chance alone would agree fully, kappa is unknown; where all agree or none, its interval has a width."""
    assert repr(stats.cohen_kappa(labels)) == expected


def test_position_bias_counts_sides():
    """The left side's share comes with its interval and the exact test."""
    found = stats.position_bias(15, 5)
    assert (found.left, found.right, found.p) == (15, 5, stats.sign_test(15, 5).p)
    assert found.rate == stats.wilson(15, 20)
    assert repr(found) == "<PositionBias left 15 of 20, p = 0.041>"
    assert repr(stats.position_bias(0, 0)) == "<PositionBias unknown: nothing was decided>"


def test_bradley_terry_as_published():
    """Strengths and standard errors of seven baseball teams, to four digits."""
    ranking = stats.bradley_terry(games())
    strengths = {strength.name: strength.log_odds.estimate for strength in ranking.strengths}
    found = {}
    for team in PUBLISHED:
        beats = ranking.beats(team, "Baltimore")
        low, high = (math.log(p / (1 - p)) for p in (beats.low, beats.high))
        error = (high - low) / 2 / 1.959964
        found[team] = (round(strengths[team] - strengths["Baltimore"], 4), round(error, 4))
    assert found == PUBLISHED
    assert list(strengths) == list(TEAMS)
    assert sum(strengths.values()) == pytest.approx(0, abs=1e-9)
    assert ranking.is_bounded


def test_bradley_terry_solves_the_likelihood_equations():
    """Every player's expected score is the one it had: the defining property, checked without the solver."""
    ranking = stats.bradley_terry(games())
    strength = {each.name: each for each in ranking.strengths}
    for row, name in enumerate(TEAMS):
        expected = sum(
            (WINS[row][column] + WINS[column][row])
            / (1 + math.exp(strength[other].log_odds.estimate - strength[name].log_odds.estimate))
            for column, other in enumerate(TEAMS)
        )
        assert expected == pytest.approx(strength[name].score, abs=1e-6)


def test_two_players_are_a_binomial():
    """Of two players the probability is the plain rate, and its standard error on the logit scale 1/sqrt(n p q)."""
    ranking = stats.bradley_terry([("a", "b", 1)] * 6 + [("b", "a", 1)] * 2 + [("a", "b", 0.5)] * 2)
    beats = ranking.beats("a", "b")
    assert beats.estimate == pytest.approx(0.7, abs=1e-6)
    half = 1.959964 / math.sqrt(10 * 0.7 * 0.3)
    assert math.log(beats.high / (1 - beats.high)) == pytest.approx(math.log(0.7 / 0.3) + half, abs=1e-5)
    assert [(each.name, each.score, each.games) for each in ranking.strengths] == [("a", 7.0, 10), ("b", 3.0, 10)]


def test_who_wins_all_is_bounded_by_a_prior_and_it_says_so():
    """Ten wins of ten give a finite strength, the maximum of the likelihood with one tied game each against 0."""
    ranking = stats.bradley_terry([("a", "b", 1)] * 10)
    grid = np.linspace(0, 5, 500_001)
    height = -10 * np.log1p(np.exp(-2 * grid)) - np.log1p(np.exp(grid)) - np.log1p(np.exp(-grid))
    assert not ranking.is_bounded
    assert ranking.strengths[0].log_odds.estimate == pytest.approx(grid[height.argmax()], abs=1e-4)
    assert repr(ranking) == "<Ranking a +1.67 > b -1.67 (bounded by a prior)>"


def test_players_who_never_met_are_bounded_by_a_prior():
    """Two pairs without a game between them can be ranked only with a prior."""
    ranking = stats.bradley_terry([("a", "b", 1), ("a", "b", 0), ("c", "d", 0.5)])
    assert not ranking.is_bounded
    assert all(math.isfinite(strength.log_odds.high) for strength in ranking.strengths)


def test_intervals_hold_their_level():
    """Of 300 made-up tournaments of three players, about 95 in 100 intervals hold the true difference."""
    rng, truth = np.random.default_rng(1), {"a": 0.8, "b": 0.0, "c": -0.8}
    held = 0
    for _ in range(300):
        played = [
            (one, other, float(rng.random() < 1 / (1 + math.exp(truth[other] - truth[one]))))
            for one, other in (("a", "b"), ("a", "c"), ("b", "c"))
            for _ in range(40)
        ]
        beats = stats.bradley_terry(played).beats("a", "b")
        held += beats.low <= 1 / (1 + math.exp(-0.8)) <= beats.high
    assert 276 <= held <= 294


def test_no_games_no_ranking():
    """Nothing played gives an empty ranking."""
    assert stats.bradley_terry([]).strengths == ()


@pytest.mark.parametrize("game", [("a", "a", 1), ("a", "b", 2)])
def test_what_is_no_game_is_refused(game):
    """A player against itself, and a score above 1, are errors."""
    with pytest.raises(ValueError, match="is no game"):
        stats.bradley_terry([game])


@pytest.mark.parametrize(("p", "text"), [(1.0, "p = 1"), (0.0414, "p = 0.041"), (0.00099, "p < 0.001")])
def test_p_values_as_they_are_read(p, text):
    """Two digits, and no more below a thousandth."""
    assert stats.p_text(p) == text
