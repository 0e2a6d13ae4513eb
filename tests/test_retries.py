"""What follows a failed attempt: every error of the layer below ends in one kind, and no wait is without bounds."""

import re

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import RetryPolicy
from promptlab.attempts import Failure, Outcome
from promptlab.errors import PlanError
from promptlab.retries import History, Outage, Retry, Stop, classify, decide, refusal

POLICY = RetryPolicy()

#: What becomes of every status that the openai client has a class for.
KINDS = {
    400: "request",
    401: "account",
    403: "account",
    404: "model",
    409: "transient",
    422: "request",
    429: "throttle",
    500: "transient",
}


def failed(status=None, *, state="error", retry_after_s=None, **failure):
    """Return the outcome of a failed attempt."""
    facts = Failure(failure.pop("type", "error"), "message", **failure)
    return Outcome(state=state, failure=facts, http_status=status, retry_after_s=retry_after_s)


def classes(root=openai.APIStatusError):
    """Yield every class of the client's errors that has a status."""
    for kind in root.__subclasses__():
        yield kind
        yield from classes(kind)


def status_of(kind):
    """Return the status that a class of errors stands for."""
    if kind is openai.InternalServerError:
        return 500  # which has no status of its own: it stands for all from 500
    declared = next(
        base.__annotations__["status_code"] for base in kind.__mro__ if "status_code" in base.__annotations__
    )
    return int(re.search(r"\d+", str(declared))[0])


def decided(outcome, history=None, *, policy=POLICY, now_s=0.0, drawn=1.0, outage=None):
    """Return the decision after an attempt, with every random draw the same."""
    history = history or History().after(classify(outcome), now_s=5.0)
    return decide(outcome, history, policy, now_s=now_s, outage=outage, random=lambda: drawn)


# Kinds


@pytest.mark.parametrize("kind", sorted(classes(), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_has_a_kind(kind):
    """A class that openai adds shows here first."""
    status = status_of(kind)
    assert classify(failed(status)) == KINDS[status]


def test_every_kind_of_the_table_belongs_to_an_error():
    """No line of the table is left over."""
    assert {status_of(kind) for kind in classes()} == set(KINDS)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        pytest.param(failed(402), "account", id="402"),
        pytest.param(failed(408), "transient", id="408"),
        pytest.param(failed(413), "request", id="413"),
        pytest.param(failed(425), "transient", id="425"),
        pytest.param(failed(199), "request", id="before the 2xx"),
        pytest.param(failed(299), "bad_reply", id="last of the 2xx"),
        pytest.param(failed(300), "request", id="after the 2xx"),
        pytest.param(failed(307), "request", id="redirect"),
        pytest.param(failed(502), "transient", id="502"),
        pytest.param(failed(503), "transient", id="503"),
        pytest.param(failed(503, retry_after_s=2), "throttle", id="503 with a time to wait"),
        pytest.param(failed(529), "transient", id="529"),
        pytest.param(failed(), "transient", id="nothing was sent"),
        pytest.param(failed(state="unknown"), "unknown", id="maybe paid"),
        pytest.param(failed(200), "bad_reply", id="200 without an answer"),
        pytest.param(Outcome(state="error", http_status=200), "bad_reply", id="no failure given"),
        pytest.param(failed(400, code="context_length_exceeded", param="messages"), "request", id="too long"),
        pytest.param(failed(400, code="unsupported_parameter"), "request", id="parameter not named"),
        pytest.param(failed(400, code="unsupported_parameter", param="top_p"), "parameter", id="parameter"),
        pytest.param(failed(400, code="unsupported_value", param="temperature"), "parameter", id="value"),
        pytest.param(failed(400, code="unknown_parameter", param="top_k"), "parameter", id="unknown parameter"),
        pytest.param(failed(400, code="model_not_found"), "model", id="400 for a model"),
        pytest.param(failed(403, code="model_not_found"), "model", id="403 for a model"),
        pytest.param(failed(429, code="rate_limit_exceeded", type="requests"), "throttle", id="rate limit"),
        pytest.param(failed(429, code="slow_down"), "throttle", id="slow down"),
    ],
)
def test_a_failure_has_one_kind(outcome, kind):
    """The kind says who is meant: everybody, a model, a parameter, one request, or nobody."""
    assert classify(outcome) == kind


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"type": "insufficient_quota", "code": "anything"}, id="type"),
        pytest.param({"code": "insufficient_quota"}, id="code"),
        pytest.param({"code": "credit_balance_exhausted"}, id="credit"),
        pytest.param({"code": "project_spend_limit_exceeded"}, id="spend limit"),
        pytest.param({"code": "billing_hard_limit_reached"}, id="hard limit"),
        pytest.param({"code": "billing_not_active"}, id="billing"),
        pytest.param({"code": "access_terminated"}, id="terminated"),
    ],
)
def test_an_empty_account_stops_the_run_whatever_the_status(status, failure):
    """Quota is told by type and code: its message changes, and its status is that of a rate limit."""
    assert decided(failed(status, **failure)) == Stop("run")


@given(st.integers(100, 599), st.none() | st.text(), st.none() | st.text(), st.text())
def test_every_failure_has_a_kind(status, code, param, kind):
    """Whatever a server says, the runner knows what to do."""
    decision = decided(failed(status, code=code, param=param, type=kind))
    assert isinstance(decision, Retry | Stop)


# Decisions


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [
        pytest.param(failed(401), "run", id="key"),
        pytest.param(failed(404), "model", id="model"),
        pytest.param(failed(400, code="unsupported_value", param="top_p"), "parameter", id="parameter"),
        pytest.param(failed(400), "trial", id="request"),
    ],
)
def test_what_will_not_change_is_not_asked_again(outcome, scope):
    """The scope says what else is not asked."""
    assert decided(outcome) == Stop(scope)


@pytest.mark.parametrize(
    ("outcome", "for_all"),
    [
        pytest.param(failed(500), False, id="server"),
        pytest.param(failed(), False, id="connection"),
        pytest.param(failed(state="unknown"), False, id="unknown"),
        pytest.param(failed(200), False, id="bad reply"),
        pytest.param(failed(429), True, id="rate limit"),
        pytest.param(failed(503, retry_after_s=0.5), True, id="overload"),
    ],
)
def test_what_may_change_is_asked_again(outcome, for_all):
    """Only a rate limit makes all workers wait."""
    assert decided(outcome) == Retry(0.5, for_all=for_all)


def test_the_bound_of_a_wait_doubles_up_to_the_longest():
    """Full jitter: a wait is drawn evenly below the bound, throttled attempts counting as well."""
    policy = RetryPolicy(attempts=99, first_wait_s=0.5, longest_wait_s=6.0)
    histories = [History(counted=1), History(1, 1), History(3), History(4), History(4, 1), History(0, 9)]
    bounds = [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]
    assert [decided(failed(500), history, policy=policy) for history in histories] == [Retry(bound) for bound in bounds]
    halves = [decided(failed(500), history, policy=policy, drawn=0.5) for history in histories]
    assert halves == [Retry(bound / 2) for bound in bounds]


@given(
    st.integers(1, 5),
    st.integers(0, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.001, 10),
    st.floats(0.001, 100),
)
def test_no_wait_is_longer_than_the_longest(counted, throttled, drawn, first, longest):
    """However long a request has been throttled, the wait stays in its bounds."""
    policy = RetryPolicy(first_wait_s=first, longest_wait_s=longest)
    decision = decided(failed(429), History(counted=counted, uncounted=throttled), policy=policy, drawn=drawn)
    assert isinstance(decision, Retry)
    assert 0 <= decision.wait_s <= longest


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_names_the_wait_is_obeyed(status):
    """Neither earlier nor later, whatever has been tried before."""
    assert decided(failed(status, retry_after_s=42.5), History(counted=3)).wait_s == 42.5


def test_a_wait_of_zero_is_no_wait_named():
    """A server that says 0 with every 429 would be asked without a pause."""
    assert decided(failed(429, retry_after_s=0.0)) == Retry(0.5, for_all=True)


def test_attempts_end_at_the_sixth():
    """A request is sent so often at most."""
    decisions = [decided(failed(500), History(counted=n)) for n in range(1, 7)]
    assert decisions == [Retry(0.5), Retry(1.0), Retry(2.0), Retry(4.0), Retry(8.0), Stop("trial")]


def test_throttled_attempts_are_not_counted():
    """A rate limit is no fault of the request."""
    history = History()
    for _ in range(50):
        history = history.after("throttle", now_s=5.0)
    assert history == History(uncounted=50, since_s=5.0)
    assert decided(failed(429), history) == Retry(30.0, for_all=True)


def test_a_policy_needs_numbers():
    """All that is wrong is told at once."""
    with pytest.raises(PlanError) as caught:
        RetryPolicy(attempts=0, outage_s=float("nan"), deadline_s="soon")
    assert caught.value.problems == (
        "RetryPolicy(attempts=0): a whole number from 1 is needed",
        "RetryPolicy(outage_s=nan): a number of seconds is needed",
        "RetryPolicy(deadline_s='soon'): a number of seconds is needed",
    )


def outage(requests=8, *, since_s=100.0, probes=0):
    """Return what so many different requests that failed in a row amount to."""
    found = Outage()
    for request in [*range(requests), *range(probes)]:
        found.failed(request, f"prompt {request}", workers=32, now_s=since_s)
    return found


def test_an_outage_is_several_requests_failing_in_a_row():
    """One request that fails eight times is its own fault; a reply to the point ends what seemed an outage."""
    stubborn = Outage()
    for _ in range(20):
        stubborn.failed(7, "prompt", workers=32, now_s=1.0)
    assert (stubborn.is_on, outage(7).is_on, outage(8).is_on) == (False, False, True)
    over = outage(8, probes=3)
    over.ended("another")
    assert over == Outage(answered={"another"})


@pytest.mark.parametrize(("workers", "needed"), [(1, 2), (3, 3), (200, 8)])
def test_few_workers_notice_an_outage_too(workers, needed):
    """With fewer than eight at work so many failures are enough, but never a single one."""
    found, seen = Outage(), []
    for request in range(8):
        found.failed(request, f"prompt {request}", workers=workers, now_s=1.0)
        seen.append(found.is_on)
    assert seen.index(True) + 1 == needed


def test_a_prompt_that_breaks_the_server_is_no_outage():
    """Where other prompts were answered, requests that share one have themselves to blame."""
    found = Outage()
    found.ended("good")
    for request in range(20):
        found.failed(request, "bad", workers=32, now_s=1.0)
    assert not found.is_on
    found.failed(99, "good", workers=32, now_s=1.0)
    assert found.is_on


def test_an_outage_is_waited_for_by_all():
    """Its attempts use up no patience, and the waits grow with the probes, whoever's turn it was."""
    history = History().after("transient", now_s=100.0, is_outage=True)
    assert history == History(uncounted=1, since_s=100.0)
    waits = [decided(failed(503), history, outage=outage(probes=probes)) for probes in (0, 1, 6)]
    assert waits == [Retry(0.5, for_all=True), Retry(1.0, for_all=True), Retry(30.0, for_all=True)]


def test_what_may_be_billed_uses_up_patience_in_an_outage_too():
    """A time-out costs money perhaps, so that a request is sent six times at most."""
    history = History(counted=5).after("unknown", now_s=100.0, is_outage=True)
    lost = Outcome(state="unknown", failure=Failure("timeout", "no reply"))
    assert decided(lost, history, now_s=100.0, outage=outage()) == Stop("trial")


@pytest.mark.parametrize("outcome", [failed(503), failed(429)], ids=["failing", "throttled"])
def test_an_outage_that_lasts_too_long_stops_the_run(outcome):
    """After ten minutes without any answer nothing more is asked; what was not asked can be resumed."""
    history = History(uncounted=9, since_s=100.0)
    late = {"now_s": 699.6, "outage": outage()}
    assert decided(outcome, history, **late) == Stop("run")


def test_a_bad_reply_is_asked_for_once_more():
    """It was paid for, so it is not tried as often as what was not."""
    once = History().after("bad_reply", now_s=5.0)
    assert decided(failed(200), once) == Retry(0.5)
    assert decided(failed(200), once.after("bad_reply", now_s=5.0)) == Stop("trial")
    assert decided(failed(500), once.after("transient", now_s=5.0)) == Retry(1.0)


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [
        pytest.param(699.5, Retry(0.5), id="within"),
        pytest.param(699.6, Stop("trial"), id="beyond"),
    ],
)
def test_an_outage_ends_after_ten_minutes(now_s, expected):
    """The next attempt, too, has to fall within the time, counted from the first."""
    assert decided(failed(500), History(counted=1, since_s=100.0), now_s=now_s) == expected


def test_a_wait_beyond_the_outage_is_not_begun():
    """A server that says "tomorrow" is not waited for; as a throttle concerns all, the run ends."""
    assert decided(failed(429, retry_after_s=86_400.0)) == Stop("run")
    assert decided(failed(500, retry_after_s=86_400.0)) == Stop("trial")


def test_a_throttle_is_waited_for_while_others_are_answered():
    """However long one request is throttled, the run goes on as long as answers come."""
    unlucky = History(uncounted=9, since_s=0.0)
    ends = [
        decide(failed(429), unlucky, RetryPolicy(), now_s=5000.0, answered_s=answered_s, random=lambda: 0.0)
        for answered_s in (0.0, 4990.0)
    ]
    assert ends == [Stop("run"), Retry(0.0, for_all=True)]


def test_an_unsupported_value_speaks_of_that_value_only():
    """Another value of the same parameter may be taken; an unsupported parameter is refused whatever its value."""
    params = {"model": "m", "temperature": 0}
    value, any_value = (refusal("m", "temperature", f"unsupported_{what}", params) for what in ("value", "parameter"))
    assert [value.concerns("m", {"temperature": at}) for at in (0, 0.0, 1)] == [True, True, False]
    assert [any_value.concerns("m", {"temperature": at}) for at in (0, 1, None)] == [True, True, False]
    assert not any_value.concerns("n", {"temperature": 0})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("transient", History(3, 1, 1, 7.0), id="transient"),
        pytest.param("throttle", History(2, 2, 1, 7.0), id="throttle"),
        pytest.param("bad_reply", History(3, 1, 2, 7.0), id="bad reply"),
    ],
)
def test_a_history_grows_by_one_attempt(kind, expected):
    """The start stays, and the history before is left as it was."""
    before = History(counted=2, uncounted=1, bad_replies=1, since_s=7.0)
    assert before.after(kind, now_s=5.0) == expected
    assert before == History(2, 1, 1, 7.0)
