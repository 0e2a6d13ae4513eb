"""Rate and money, against a server that keeps its own clock and ledger: limits, throttles, caps, shared prompts.

What is asserted is counted by the server; nothing here is timed. The full sizes run with `make soak`.
"""

from collections import Counter

import pytest

from promptlab import Lab, PlanError, Price, PromptTemplate, RateLimits
from promptlab.prices import most_completion
from reckoning import disagreements
from studies import BRISK, plan_of
from sweeps import KEY

pytestmark = pytest.mark.slow

WINDOW_S = 3.0
DEAR = Price(prompt=100, completion=400)  # USD for a million tokens: ten tokens of an answer cost 0.4 cents


@pytest.fixture
def lab_of(tmp_path, fault_server):
    """Return a function that opens a lab on one file, which asks the fault server."""
    labs = []

    def lab_of(**options):
        labs.append(Lab(tmp_path / "lab.db", base_url=fault_server.base_url, api_key=KEY, policy=BRISK, **options))
        return labs[-1]

    yield lab_of
    for lab in labs:
        lab.close()


def soak(*values):
    """Return a parameter of the full size."""
    return pytest.param(*values, id="soak", marks=pytest.mark.soak)


def statuses(server):
    """Return how often the server answered with each status."""
    return Counter(entry["status"] for entry in server.ledger())


def busiest(server):
    """Return the most that the server saw in any window, of requests and of tokens."""
    ((_, load),) = server.busiest(WINDOW_S).items()
    return load


# Limits of the user's own


@pytest.mark.parametrize("latency_ms", [pytest.param(10, id="quick"), pytest.param(900, id="slow")])
def test_a_limit_on_requests_is_never_exceeded(lab_of, fault_server, latency_ms):
    """By the server's clock no window holds more than the limit, with 64 that would go at once."""
    fault_server.set(latency_ms=latency_ms)
    lab = lab_of(limits=RateLimits(requests_per_minute=30, window_s=WINDOW_S))
    run = lab.run(plan_of(lab, 70), concurrency=64, progress=False)
    assert (run.status, len(fault_server.ledger()), busiest(fault_server).requests) == ("done", 70, 30)


@pytest.mark.soak
def test_most_of_an_allowed_rate_is_used(lab_of, fault_server):
    """On a long run at least 95 % of the allowed requests are sent, by the server's clock."""
    fault_server.set(latency_ms=50)
    lab = lab_of(limits=RateLimits(requests_per_minute=60, window_s=WINDOW_S))
    lab.run(plan_of(lab, 1200), concurrency=256, progress=False)
    times = [entry["t"] for entry in fault_server.ledger()]
    allowed = 60 * (max(times) - min(times)) / WINDOW_S
    assert busiest(fault_server).requests <= 60
    assert (len(times) - 60) / allowed >= 0.95  # the first window's are sent at once


def test_a_limit_on_tokens_is_never_exceeded(lab_of, fault_server):
    """By the server's clock and count, failed requests and all; bounds alone would let no more than six pass."""
    fault_server.set(latency_ms=10, default="mix:0.1=500;rest=ok")
    lab = lab_of(limits=RateLimits(tokens_per_minute=600, window_s=WINDOW_S))
    run = lab.run(plan_of(lab, 40), concurrency=64, progress=False)
    load = busiest(fault_server)
    assert (run.status, load.tokens <= 600, load.requests > 12) == ("done", True, True)
    assert disagreements(lab, fault_server) == []


def test_limits_hold_across_runs_and_kernels(lab_of, fault_server):
    """What another lab on this file sent a moment ago counts, and so does the run before."""
    for word in ("a", "b", "c"):
        lab = lab_of(limits=RateLimits(requests_per_minute=10, window_s=WINDOW_S))
        lab.run(plan_of(lab, 7, word=word), progress=False)
        lab.run(plan_of(lab, 3, word=word * 2), progress=False)
    assert (len(fault_server.ledger()), busiest(fault_server).requests) == (30, 10)


def test_a_limit_a_day_counts_a_day_back(lab_of, fault_server):
    """The requests of the last 24 hours use it up; the run waits, and a stop ends the wait with nothing sent."""
    lab = lab_of(limits=RateLimits(requests_per_day=5))
    lab.run(plan_of(lab, 5), progress=False)
    run = lab.start(plan_of(lab, 6))
    run.stop()
    assert (run.wait(progress=False).status, len(fault_server.ledger())) == ("stopped", 5)


def test_a_limit_on_concurrency_is_the_most_in_flight(lab_of, fault_server):
    """The smaller of the lab's number and the run's own."""
    fault_server.set(latency_ms=20)
    lab = lab_of(limits=RateLimits(concurrency=5))
    lab.run(plan_of(lab, 60), progress=False)
    lab.run(plan_of(lab, 60, word="b"), concurrency=9, progress=False)
    assert fault_server.stats()["peak_in_flight"] == 5
    lab.run(plan_of(lab, 60, word="c"), concurrency=3, progress=False)
    assert fault_server.stats()["peak_in_flight"] == 5


def test_the_runs_of_a_lab_share_its_concurrency(lab_of, fault_server):
    """Three that go on at once have no more in flight together than the limit says."""
    fault_server.set(latency_ms=20)
    lab = lab_of(limits=RateLimits(concurrency=4))
    runs = [lab.start(plan_of(lab, 30, word=word)) for word in "abc"]
    assert [run.wait(progress=False).status for run in runs] == ["done"] * 3
    assert fault_server.stats()["peak_in_flight"] == 4


def test_a_limit_on_tokens_holds_for_answers_slower_than_its_window(lab_of, fault_server):
    """An answer that comes when its window is long over gives nothing back twice."""
    fault_server.set(latency_ms=1500)
    lab = lab_of(limits=RateLimits(tokens_per_minute=1000, window_s=0.3))
    run = lab.run(plan_of(lab, 30), concurrency=64, progress=False)
    ((_, load),) = fault_server.busiest(0.3).items()
    assert (run.status, load.tokens <= 1000) == ("done", True)


def test_what_could_never_pass_a_limit_is_told(lab_of, fault_server):
    """Settings without a bound are refused before anything is written; one long prompt fails by itself."""
    lab = lab_of(limits=RateLimits(tokens_per_minute=100))
    with pytest.raises(PlanError) as caught:
        lab.run(plan_of(lab, 2, max_tokens=[None, 100]), progress=False)
    assert caught.value.problems == (
        "tokens_per_minute=100 cannot be kept without max_tokens; add max_tokens to the grid",
        "max_tokens=100 alone is more than tokens_per_minute=100 allows; lower it",
    )
    assert len(lab.runs()) == 0
    long = lab.plan(PromptTemplate("ask", user="{{ q }}"), {"model": "m", "max_tokens": 4}, cases=[{"q": "x" * 200}])
    run = lab.run(long, progress=False)
    assert "would never let it pass" in run.errors["error"][0]
    assert fault_server.ledger() == []


# The server's limits


@pytest.mark.parametrize(
    "requests", [pytest.param(630, id="suite"), pytest.param(900, id="soak", marks=pytest.mark.soak)]
)
def test_bucket_rpm_600(lab_of, fault_server, requests):
    """More requests than a bucket of 600 holds, 64 at once: its headers steer, so that at most 1 % are refused."""
    fault_server.set(rpm=600, latency_ms=20)
    lab = lab_of()
    run = lab.run(plan_of(lab, requests), concurrency=64, progress=False)
    assert run.status == "done"
    assert statuses(fault_server)[429] <= requests / 100


@pytest.mark.parametrize(
    "requests", [pytest.param(440, id="suite"), pytest.param(900, id="soak", marks=pytest.mark.soak)]
)
def test_bucket_tpm(lab_of, fault_server, requests):
    """The same by tokens; what the server counts for a request is not known here, so the first ones may be refused."""
    fault_server.set(tpm=9_000, latency_ms=20)
    lab = lab_of()
    run = lab.run(plan_of(lab, requests), concurrency=64, progress=False)
    assert run.status == "done"
    assert statuses(fault_server)[429] <= 64


def test_slow_down_ramp(lab_of, fault_server):
    """After one `slow_down` half as many are in flight, and the number grows again while all is well."""
    fault_server.set(schedule=[{"from_req": 200, "to_req": 200, "fault": "slow_down"}], latency_ms=5)
    lab = lab_of()
    run = lab.start(plan_of(lab, 900))
    paces = {runner_pace(run)}
    while run.status in ("planned", "running"):
        paces.add(runner_pace(run))
    assert run.wait(progress=False).status == "done"
    assert statuses(fault_server) == {200: 900, 429: 1}
    assert min(paces) < 32 < max(paces)
    assert runner_pace(run) > min(paces)


def runner_pace(run):
    """Return how many requests a live run may have in flight."""
    return run._live.runner.pace.in_flight


def test_a_server_that_takes_few_at_a_time_is_found_out(lab_of, fault_server):
    """Without a number of the user's the number in flight adapts: few requests are refused, and all are answered."""
    fault_server.set(max_concurrent=40, latency_ms=5)
    lab = lab_of()
    run = lab.run(plan_of(lab, 1500), progress=False)
    assert (run.status, statuses(fault_server)[200]) == ("done", 1500)
    assert fault_server.stats()["peak_in_flight"] > 32
    assert statuses(fault_server)[429] <= 30


# Money


def paid(server, price=DEAR):
    """Return what the server billed, in USD."""
    stats = server.stats()
    return price.cost_usd(prompt=stats["prompt_tokens"], completion=stats["completion_tokens"])


def test_budget_cap(lab_of, fault_server):
    """With 64 that would go at once the server never bills more than the cap, and the run says what stopped it."""
    fault_server.set(latency_ms=20)
    lab = lab_of(prices={"m": DEAR})
    plan = plan_of(lab, 300)
    run = lab.run(plan, concurrency=64, max_cost_usd=0.25, progress=False)
    assert 0.2 < paid(fault_server) <= 0.25
    assert run.cost_usd == pytest.approx(paid(fault_server))
    assert (run.status, run.reason.startswith("max_cost_usd=0.25 is reached: $0.2")) == ("stopped", True)
    assert set(run.frame()["status"]) == {"ok", "stopped"}

    lab.run(plan, concurrency=64, max_cost_usd=0.3, progress=False)  # a higher cap goes on, and counts what was spent
    assert 0.25 < paid(fault_server) <= 0.3
    assert lab.run(plan, concurrency=64, progress=False).frame()["status"].eq("ok").all()
    assert len(fault_server.ledger()) == 300


@pytest.mark.parametrize("bills", [False, True], ids=["billed when done", "billed when left"])
def test_what_may_have_been_billed_counts_against_the_cap(lab_of, fault_server, bills):
    """Answers that were lost keep their worst case, in the next part of the run as well: the cap holds for the bill."""
    fault_server.set(latency_ms=5, default="mix:0.3=served_then_reset;0.2=500;rest=ok", bill_on_disconnect=bills)
    lab = lab_of(prices={"m": DEAR})
    plan = plan_of(lab, 300)
    for cap_usd in (0.1, 0.2, 0.4):
        run = lab.run(plan, concurrency=64, max_cost_usd=cap_usd, progress=False)
        assert paid(fault_server) <= cap_usd
    spent = run.usage
    assert (run.status, spent.unknown > 0) == ("stopped", True)
    assert spent.cost_usd + spent.reserved_usd <= 0.4
    assert "maybe billed for up to $" in repr(run)


@pytest.mark.parametrize("shared", [False, True], ids=["one by one", "together"])
def test_two_kernels_on_one_run_keep_one_cap(lab_of, fault_server, shared):
    """Each lab has the cap, and both together spend no more: what one reserves the other cannot have."""
    fault_server.set(latency_ms=20)
    labs = [lab_of(prices={"m": DEAR}) for _ in range(2)]
    plans = [plan_of(lab, 60, repeats=2, temperature=1) for lab in labs]
    options = {"max_cost_usd": 0.4, "share_prompt": shared, "name": "one"}
    runs = [lab.start(plan, **options) for lab, plan in zip(labs, plans, strict=True)]
    ends = [run.wait(progress=False) for run in runs]
    assert (ends[0].id, ends[0].status) == (ends[1].id, "stopped")
    assert 0.3 < paid(fault_server) <= 0.4


def test_usage_that_is_known_to_be_too_small_is_no_cost(lab_of, fault_server):
    """Where the first choice's tokens stand for all, the worst case is counted, and the cap holds for the real bill."""
    fault_server.set(default="usage_first_choice")
    lab = lab_of(prices={"m": DEAR})
    run = lab.run(plan_of(lab, 40, repeats=4, temperature=1), share_prompt=True, max_cost_usd=0.5, progress=False)
    assert (run.status, paid(fault_server) <= 0.5) == ("stopped", True)


def test_best_of_counts_every_answer(lab_of, fault_server):
    """What the server writes and does not hand out is billed as well."""
    body = {"max_tokens": 10, "best_of": 20}
    assert [most_completion(each) for each in (body, {"max_tokens": 10}, {"best_of": 2})] == [200, 10, None]


def test_a_cap_that_cannot_be_kept_is_refused(lab_of, fault_server):
    """Without a price, without max_tokens, with parts nobody can count beforehand: every reason, and nothing sent."""
    lab = lab_of(prices={"known": DEAR})
    picture = [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]
    template = PromptTemplate("look", messages=[{"role": "user", "content": picture}])
    grid = {"model": ["known", "new"], "max_tokens": [8, None], "service_tier": "priority"}
    with pytest.raises(PlanError) as caught:
        lab.run(template, grid, max_cost_usd=1, progress=False)
    told = " ".join(caught.value.problems)
    for reason in (
        "'new' has no known price; give it: Lab(prices={'new': Price(prompt=..., completion=...)})",
        "'known' is asked without max_tokens",
        "service_tier='priority' is priced otherwise",
        "template 'look' holds images",
    ):
        assert f"max_cost_usd=1 cannot be kept: {reason}" in told
    with pytest.raises(PlanError, match=r"max_cost_usd=0: an amount in USD above 0 is needed"):
        lab.run(plan_of(lab, 1), max_cost_usd=0, progress=False)
    assert fault_server.ledger() == []


def test_the_estimate_stands_beside_what_was_spent(lab_of):
    """A run says what its plan said, and a run of the same kind is then estimated by what the first showed."""
    lab = lab_of(prices={"m": DEAR})
    run = lab.run(plan_of(lab, 20), progress=False)
    beforehand = "estimated at 20 requests, about 90 + at most 320 tokens, up to about $0.14"
    assert f"20 requests sent, 170 + 200 tokens, $0.097; {beforehand}" in repr(run)
    again = plan_of(lab, 20, word="r").estimate
    assert (again.prompt_tokens, again.completion_tokens, again.completion_is_bound) == (170, 200, False)


# Repeats that ride on n


def test_repeats_share_their_prompt(lab_of, fault_server):
    """Four samples of a request are one call, each its own output; sums stay exact, and asking again sends nothing."""
    lab = lab_of(prices={"m": DEAR})
    plan = plan_of(lab, 5, repeats=4, temperature=1)
    run = lab.run(plan, share_prompt=True, progress=False)
    frame, stats = run.frame(), fault_server.stats()
    assert (stats["requests"], len(set(frame["output"])), frame["status"].eq("ok").all()) == (5, 20, True)
    assert (frame["prompt_tokens"].sum(), frame["completion_tokens"].sum()) == (
        stats["prompt_tokens"],
        stats["completion_tokens"],
    )
    assert (frame["cost_usd"].sum(), run.cost_usd) == (
        pytest.approx(paid(fault_server)),
        pytest.approx(paid(fault_server)),
    )
    assert [entry["params"]["n"] for entry in fault_server.ledger()] == [4] * 5
    assert disagreements(lab, fault_server) == []
    assert lab.run(plan_of(lab, 5, repeats=5, temperature=1), progress=False).frame()["reused"].sum() == 20
    assert len(fault_server.ledger()) == 10  # the fifth repeat of each, by itself


def test_a_seed_keeps_repeats_apart(lab_of, fault_server):
    """One seed would make all choices of a call alike; such repeats are asked one by one."""
    lab = lab_of()
    lab.run(plan_of(lab, 2, repeats=3, temperature=1, seed=7), share_prompt=True, progress=False)
    assert [entry["params"].get("n") for entry in fault_server.ledger()] == [None] * 6


@pytest.mark.parametrize(
    ("fault", "flag"),
    [
        pytest.param("no_n", "fewer_choices", id="one choice whatever n says"),
        pytest.param("usage_first_choice", "usage_of_first_choice", id="usage of one choice"),
        pytest.param("refuse_n", "", id="n refused"),
    ],
)
def test_a_server_that_does_not_honour_n_is_asked_singly(lab_of, fault_server, fault, flag):
    """It is noticed at its first answer, which is kept and flagged; the rest is asked without n, and nothing twice."""
    fault_server.set(default=fault)
    lab = lab_of()
    run = lab.run(plan_of(lab, 10, repeats=4, temperature=1), concurrency=1, share_prompt=True, progress=False)
    frame, ledger = run.frame(), fault_server.ledger()
    shared = [entry for entry in ledger if entry["params"].get("n")]
    answered = {"no_n": 1, "usage_first_choice": 4, "refuse_n": 0}[fault]
    assert (len(shared), len(ledger)) == (1, 1 + 40 - answered)
    assert (frame["status"].eq("ok").all(), frame["flags"].str.contains(flag).sum() if flag else 0) == (True, answered)
    assert disagreements(lab, fault_server) == []
    assert plan_of(lab, 1, temperature=1).learned == ()


def test_a_shared_call_that_fails_is_one_attempt_for_all(lab_of, fault_server):
    """It is retried as a whole, and a refusal of the request ends all its samples."""
    fault_server.set(default="500|reset_body|ok", key_by="body")
    lab = lab_of()
    run = lab.run(plan_of(lab, 3, repeats=4, temperature=1), share_prompt=True, progress=False)
    assert (run.status, len(fault_server.ledger()), run.usage.unknown) == ("done", 9, 3)


def test_a_call_that_is_refused_is_asked_singly(lab_of, fault_server):
    """It may be `n` that the server does not take, whatever words it has for that; else each sample is refused."""
    lab = lab_of()
    fault_server.set(default="context_length")
    refused = lab.run(plan_of(lab, 2, repeats=2, temperature=1), share_prompt=True, progress=False)
    assert (refused.status, set(refused.frame()["status"]), refused.usage.attempts) == ("done", {"failed"}, 6)


def test_a_call_for_several_that_is_too_large_is_asked_singly(lab_of, fault_server):
    """A group beyond the limit on tokens, or beyond what is left of the cap, leaves one by one."""
    lab = lab_of(limits=RateLimits(tokens_per_minute=1000, window_s=1), prices={"m": DEAR})
    run = lab.run(plan_of(lab, 1, repeats=8, max_tokens=100), share_prompt=True, progress=False)
    assert (run.status, [entry["params"].get("n") for entry in fault_server.ledger()]) == ("done", [None] * 8)
    fault_server.reset()
    other = lab_of(prices={"m": DEAR})
    run = other.run(plan_of(other, 1, repeats=8, word="b"), share_prompt=True, max_cost_usd=0.03, progress=False)
    assert (run.status, len(fault_server.ledger()) > 1, paid(fault_server) <= 0.03) == ("stopped", True, True)


def test_a_limit_that_stops_something_is_the_runs_reason(lab_of):
    """A run that left out what could never pass says so, and does not blame its user."""
    lab = lab_of(limits=RateLimits(tokens_per_minute=50))
    run = lab.run(plan_of(lab, 1), progress=False)
    assert (run.status, "would never let it pass" in run.reason) == ("stopped", True)
