"""Limits: what the user allows is never passed, what the server says steers, and a cap on money is kept."""

import heapq
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab.errors import PlanError
from promptlab.limits import (
    DAY_S,
    Allowance,
    Budget,
    Meter,
    Pace,
    RateLimits,
    Stated,
    Window,
    duration_s,
    published_limits,
    stated,
    whole_s,
)

# What a user writes


def test_limits_show_what_was_given():
    """Their repr is what one would write."""
    assert repr(RateLimits(requests_per_minute=3, window_s=10)) == "RateLimits(requests_per_minute=3, window_s=10)"
    assert repr(RateLimits()) == "RateLimits()"


def test_limits_that_allow_nothing_are_refused():
    """All problems at once, each with its value and what is needed."""
    with pytest.raises(PlanError) as caught:
        RateLimits(requests_per_minute=0, tokens_per_minute=1.5, concurrency=True, window_s=math.inf)
    assert caught.value.problems == (
        "RateLimits(requests_per_minute=0): a whole number from 1 is needed, or None for no limit",
        "RateLimits(tokens_per_minute=1.5): a whole number from 1 is needed, or None for no limit",
        "RateLimits(concurrency=True): a whole number from 1 is needed, or None for no limit",
        "RateLimits(window_s=inf): a number of seconds above 0 is needed",
    )


def test_published_limits_are_dated_and_sourced():
    """Each row names provider, tier, model, at least one limit, where it was read and when."""
    for row in published_limits():
        assert {"provider", "tier", "model", "source", "read"} < set(row)
        assert row["source"].startswith("https://")
        limits = RateLimits.published(row["tier"], model=row["model"], provider=row["provider"])
        assert limits != RateLimits()


def test_an_unknown_tier_is_told_with_those_known():
    """The error lists tiers and models."""
    with pytest.raises(PlanError, match=r"no published limits of openai for 'tier 9'.*'build'.*gpt-4o-mini"):
        RateLimits.published("tier 9", model="gpt-4o")


# Windows


def sent_through(window, requests, *, latency_s):
    """Send as fast as a window allows; return when each request left, and when its answer came."""
    now_s, times, answers = 0.0, [], []
    for number in range(requests):
        while (wait_s := window.wait_s(1, now_s=now_s)) > 0:
            now_s = min(now_s + wait_s, answers[0][0] if answers else math.inf)
            while answers and answers[0][0] <= now_s:
                answered_s, _, slot = heapq.heappop(answers)
                window.settle(slot, answered_s=answered_s)
        slot = window.take(1, sent_s=now_s)
        answered_s = now_s + latency_s(number)
        heapq.heappush(answers, (answered_s, number, slot))
        times.append((now_s, answered_s))
    return times


def busiest(times_s, window_s):
    """Return the most of these times that lie in any window."""
    ordered = sorted(times_s)
    first, most = 0, 0
    for last, time_s in enumerate(ordered):
        while ordered[first] <= time_s - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@given(
    limit=st.integers(1, 40),
    window_s=st.sampled_from([1.0, 3.0, 60.0]),
    seed=st.integers(0, 1000),
    slowest_s=st.sampled_from([0.001, 0.1, 5.0, 400.0]),
)
def test_no_window_at_the_server_sees_more_than_the_limit(limit, window_s, seed, slowest_s):
    """Wherever between sending and answer a request arrives, but for delays above the margin, the limit is kept."""
    chance = random.Random(seed)
    times = sent_through(Window(limit, window_s), 4 * limit, latency_s=lambda _: chance.uniform(0, slowest_s))
    latest = [(sent_s, min(answered_s, sent_s + whole_s(window_s) - window_s)) for sent_s, answered_s in times]
    for arrived in (lambda a, _: a, lambda _, b: b, chance.uniform):
        assert busiest([arrived(*span) for span in latest], window_s * (1 - 1e-12)) <= limit


@given(limit=st.integers(1, 40), latency_s=st.sampled_from([0.0, 0.5, 30.0, 500.0]))
def test_most_of_an_allowed_rate_is_used(limit, latency_s):
    """On a long run at least 95 % of what the limit allows is sent, however slow the answers are."""
    windows = 30
    times = sent_through(Window(limit, 60), limit * windows, latency_s=lambda _: latency_s)
    last_s = times[-1][0]
    assert limit * windows >= 0.95 * limit * last_s / 60


def test_a_window_counts_what_was_taken_at_last():
    """An estimate is replaced by the real amount, and what never left is given back."""
    window = Window(100, 60)
    first, second = window.take(60, sent_s=0), window.take(40, sent_s=0)
    assert window.wait_s(1, now_s=1) == pytest.approx(61.4)
    window.settle(first, answered_s=1, amount=10)
    assert window.wait_s(50, now_s=1) == 0
    window.give_back(second)
    assert window.wait_s(90, now_s=1) == 0
    assert window.wait_s(101, now_s=1) == math.inf
    assert window.wait_s(100, now_s=1) == 60
    assert window.wait_s(100, now_s=70) == 0


def test_what_is_let_pass_counts_from_when_it_leaves():
    """Between the two the request was noted as sent, which takes its time."""
    window = Window(1, 60)
    slot = window.take(1, sent_s=0)
    window.leave(slot, now_s=5)
    assert window.wait_s(1, now_s=10) == pytest.approx(57.4)


def test_an_answer_that_takes_longer_than_a_window_changes_nothing_any_more():
    """Its place was given back when the window was over; correcting it then would let too much pass for good."""
    window = Window(100, 60)
    late, withdrawn = window.take(50, sent_s=0), window.take(50, sent_s=0)
    assert window.wait_s(100, now_s=63) == 0
    window.settle(late, answered_s=70, amount=10)
    window.give_back(withdrawn)
    window.take(100, sent_s=71)
    assert window.wait_s(1, now_s=71) > 0


# All limits of an account


def test_every_limit_is_waited_for():
    """The longest wait counts: a minute's requests, a minute's tokens, a day's requests."""
    limits = RateLimits(requests_per_minute=2, tokens_per_minute=100, requests_per_day=3)
    allowance = Allowance(limits)
    take = {"most_tokens": 40, "likely_tokens": 10}
    for now_s in (0, 0):
        assert allowance.wait_s("m", **take, now_s=now_s) == 0
        allowance.take("m", **take, now_s=now_s).settle(answered_s=1, tokens=5)
    assert allowance.wait_s("m", **take, now_s=1) == 60
    assert allowance.wait_s("m", most_tokens=91, likely_tokens=1, now_s=61) == 0
    allowance.take("m", **take, now_s=61)
    assert allowance.wait_s("m", **take, now_s=70) == DAY_S + 1 - 70
    assert (allowance.never_fits(100), allowance.never_fits(101)) == (False, True)


def test_what_was_sent_before_counts():
    """Requests of earlier runs take their places, and starting over forgets what was counted twice."""
    allowance = Allowance(RateLimits(requests_per_minute=2, tokens_per_minute=100))
    assert allowance.looks_back_s == pytest.approx(62.4)
    for _ in range(2):
        allowance.start_over([(-30.0, 20), (-10.0, 70)])
    assert allowance.wait_s("m", most_tokens=1, likely_tokens=1, now_s=0) == pytest.approx(32.4)
    assert allowance.wait_s("m", most_tokens=31, likely_tokens=1, now_s=33) == pytest.approx(19.4)


def test_without_limits_nothing_waits_and_nothing_is_looked_up():
    """An account without limits has no past either."""
    allowance = Allowance(RateLimits(concurrency=4))
    assert (allowance.looks_back_s, allowance.wait_s("m", most_tokens=1e9, likely_tokens=1e9, now_s=0)) == (0, 0)


# What the server says


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("6m0s", 360.0, id="minutes"),
        pytest.param("8.64s", 8.64, id="fraction"),
        pytest.param("17h12m5s", 61925.0, id="hours"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("30", 30.0, id="plain number"),
        pytest.param("-1", None, id="Azure's none"),
        pytest.param("soon", None, id="words"),
        pytest.param("nan", None, id="not a number"),
    ],
)
def test_a_reset_is_read(text, expected):
    """Durations as OpenAI writes them, plain seconds as others do, and nothing else."""
    assert duration_s(text) == expected


def said(limit="100", remaining="40", reset="6s"):
    """Return headers on requests."""
    names = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{name}-requests": value for name, value in names.items() if value is not None}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(said(), Stated(100, 40, 6), id="whole"),
        pytest.param(said(remaining=None), None, id="no remaining"),
        pytest.param(said(limit="0", remaining="0"), None, id="Azure's zero"),
        pytest.param(said(limit="-1", remaining="-1"), None, id="Azure's minus one"),
        pytest.param(said(remaining="101"), None, id="nonsense"),
        pytest.param({}, None, id="none"),
    ],
)
def test_only_a_whole_statement_counts(headers, expected):
    """A limit is steered by only when its headers make sense together."""
    assert stated(headers, "requests") == expected


def test_a_meter_waits_for_the_servers_bucket():
    """What is left, less what was sent since, refilled at the rate that the reset implies."""
    meter = Meter()
    assert meter.wait_s(1, now_s=0) == 0
    meter.take(1, now_s=0)
    meter.take(1, now_s=0.5)
    meter.learn(Stated(100, 1, 9.9), sent_s=0, now_s=1)  # ten a second; the one sent since has taken the last
    assert meter.wait_s(1, now_s=1) == pytest.approx(0.1)
    assert meter.wait_s(1, now_s=1.1) == pytest.approx(0)
    assert meter.wait_s(500, now_s=1) == pytest.approx(9.9)  # more than a bucket: the server may say so


def test_an_older_reply_tells_a_meter_nothing():
    """Replies come out of order; the one to the newest request counts."""
    meter = Meter()
    for sent_s in (0, 1):
        meter.take(1, now_s=sent_s)
    meter.learn(Stated(100, 0, 10), sent_s=1, now_s=2)
    meter.learn(Stated(100, 50, 5), sent_s=0, now_s=3)
    assert meter.wait_s(1, now_s=2) == pytest.approx(0.1)


def test_what_never_left_is_given_back_to_a_meter():
    """A claim that was withdrawn takes nothing from the server."""
    allowance = Allowance(RateLimits())
    allowance.learn("m", said(remaining="1", reset="10s"), sent_s=0, now_s=0)
    take = {"most_tokens": 1, "likely_tokens": 1, "now_s": 0}
    taken = allowance.take("m", **take)
    assert allowance.wait_s("m", **take) > 0
    taken.give_back()
    assert allowance.wait_s("m", **take) == 0


def test_a_reset_that_makes_no_sense_is_tried_after_a_minute():
    """A server that states a point in time where others state a duration is not waited for for days."""
    meter = Meter()
    meter.learn(Stated(100, 0, 1.8e9), sent_s=0, now_s=0)
    assert meter.wait_s(1, now_s=0) == 60
    assert meter.wait_s(1, now_s=60) == 0
    meter.take(1, now_s=60)
    assert meter.wait_s(1, now_s=61) == 59


def test_each_model_has_its_meter():
    """One model's empty bucket holds no other back."""
    allowance = Allowance(RateLimits())
    allowance.learn("a", said(remaining="0", reset="60s"), sent_s=0, now_s=0)
    waits = [allowance.wait_s(model, most_tokens=1, likely_tokens=1, now_s=0) for model in ("a", "b")]
    assert waits == [pytest.approx(0.6), 0]


# How many at a time


def test_a_pace_grows_by_one_a_round_and_halves_once_for_a_burst():
    """Additive increase while it is used up; one decrease for all requests that were in flight together."""
    pace = Pace(8, top=9.5)
    for _ in range(8):
        pace.answered(in_flight=8)
    assert pace.in_flight == 8
    pace.answered(in_flight=8)
    assert pace.in_flight == 9
    pace.answered(in_flight=3)
    assert pace.in_flight == 9
    for sent_s in (1.0, 1.5, 2.0):
        pace.throttled(sent_s=sent_s, now_s=2.0)
    assert pace.in_flight == 4
    pace.throttled(sent_s=2.1, now_s=3.0)
    assert pace.in_flight == 2
    for _ in range(10_000):
        pace.answered(in_flight=99)
    assert pace.limit == 9.5


def test_a_pace_ends_at_one():
    """However often the server throttles, one request may be sent."""
    pace = Pace(4)
    for now_s in range(1, 9):
        pace.throttled(sent_s=now_s - 0.5, now_s=now_s)
    assert pace.in_flight == 1


def test_a_number_that_was_given_stays():
    """What the user set neither grows nor shrinks."""
    pace = Pace(5, is_fixed=True)
    pace.answered(in_flight=5)
    pace.throttled(sent_s=1, now_s=2)
    assert pace.limit == 5


# How much money


def test_a_budget_reserves_the_worst_case():
    """What is in flight counts at its worst; an answer frees the rest, an unknown end nothing."""
    budget = Budget(1.0, spent_usd=0.1)
    assert (budget.fits(0.9), budget.fits(0.91)) == (True, False)
    budget.reserve(0.4)
    budget.reserve(0.4)
    assert (budget.fits(0.1), budget.fits(0.11)) == (True, False)
    budget.settle(0.4, cost_usd=0.05)
    assert budget.left_usd == pytest.approx(0.45)
    budget.settle(0.4, cost_usd=None)
    assert (budget.left_usd, budget.spent_usd) == (pytest.approx(0.45), pytest.approx(0.55))


@given(st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 1), st.booleans()), max_size=60))
def test_a_budget_is_never_passed(requests):
    """Whatever requests cost within their worst case, the sum stays within the cap."""
    budget = Budget(1.0)
    for worst_usd, share, is_known in requests:
        if budget.fits(worst_usd):
            budget.reserve(worst_usd)
            budget.settle(worst_usd, cost_usd=worst_usd * share if is_known else None)
    assert budget.spent_usd <= 1.0 + 1e-9
