"""The wire: what becomes of a run when the server, the account, a parameter or the connection fails it for a while.

What the file says is held against the server's ledger throughout (`reckoning`). Waits are measured by the server's own
clock; the bounds on lateness are those of the acceptance suite only in a soak, which has the machine to itself.
`cut_streams` has no test: streaming is not offered. Every fault on its own is in `test_acceptance_faults`.
"""

import socket
from contextlib import closing
from dataclasses import replace

import openai
import pytest

from faultserver import FaultServer
from processes import wait_until
from promptlab import Lab, ParameterGrid, Price, RetryPolicy, _loop
from reckoning import attempts_of, disagreements
from studies import ASK, BRISK, cases, plan_of
from wire import Wire

KEY = "sk-test-1234567890"
EARLY_S = 0.01
PRICE = Price(prompt=0.4, completion=1.6)  # USD a million tokens
MIX = (
    "mix:0.05=429:retry_after=0.02:ms=1;0.08=500;0.05=reset_before;0.05=reset_body;0.05=truncated_json;"
    "0.03=served_then_reset;0.03=close_before;0.03=captive_portal;0.02=null_choices;rest=ok"
)

#: How late something may be, in seconds: hardly bounded in the suite, whose machine may be busy.
punctually = pytest.mark.parametrize(
    "late_s", [pytest.param(20.0, id="in-the-suite"), pytest.param(None, id="punctually", marks=pytest.mark.soak)]
)


@pytest.fixture
def path(tmp_path):
    """Where the file is."""
    return tmp_path / "lab.db"


@pytest.fixture
def lab(path, fault_server):
    """A lab that asks the fault server."""
    with Lab(path, base_url=fault_server.base_url, api_key=KEY, policy=BRISK, prices={"m": PRICE}) as lab:
        yield lab


def finished(lab, plan, **options):
    """Run a plan to its end without a progress bar."""
    return lab.run(plan, progress=False, **options)


def counts(run):
    """Return how many trials of a run have which status."""
    return run.frame()["status"].value_counts().to_dict()


# Throttled


@punctually
@pytest.mark.parametrize(
    ("said", "asked_s"),
    [
        pytest.param(("429,retry_after=1", 0), 1.0, id="seconds"),
        pytest.param(("429,retry_after=0.25,ms=1", 0), 0.25, id="milliseconds"),
        pytest.param(("retry_after_date,s=1", 0), 1.0, id="date"),
        pytest.param(("retry_after_date,s=1", 3600), 1.0, id="date-of-a-clock-ahead"),
        pytest.param(("retry_after_date,s=1", -3600), 1.0, id="date-of-a-clock-behind"),
        pytest.param(("429,retry_after=", 0), None, id="none"),
        pytest.param(("retry_after_garbage", 0), None, id="garbage"),
        pytest.param(("503,retry_after=1", 0), 1.0, id="overloaded"),
    ],
)
def test_retry_after(lab, fault_server, said, asked_s, late_s):
    """By the server's clock nobody sends before it may, nor much later, however the server words the wait."""
    fault, skew_s = said
    fault_server.set(schedule=[_only(1, fault), _only(2, "ok,ms=300")], clock_skew_s=skew_s)
    run = finished(lab, plan_of(lab, 8), concurrency=2)
    first, _in_flight, *later = fault_server.ledger()
    waited_s = min(entry["t"] for entry in later) - first["t"]
    assert (attempts_of(lab)[0]["retry_after_s"], counts(run), len(later)) == (asked_s, {"ok": 8}, 7)
    assert (asked_s or 0.0) - EARLY_S <= waited_s <= (asked_s or 0.0) + (late_s or 1.0)
    assert disagreements(lab, fault_server) == []


def _only(number, fault):
    """Return the line of a schedule that has one request meet a fault."""
    return {"from_req": number, "to_req": number, "fault": fault}


# Refused


def _stops(lab, fault_server, fault):
    """Meet a refusal of the account after ten answers; then, when it is lifted, go on."""
    fault_server.set(schedule=[{"from_req": 11, "fault": fault}], latency_ms=20)
    run = finished(lab, plan_of(lab, 100), concurrency=5)
    ledger = fault_server.ledger()
    refused = [entry for entry in ledger if not entry["billed"]]
    assert 1 <= len(refused) <= 5
    assert len({entry["body_sha256"] for entry in ledger}) == len(ledger)  # nothing was asked again
    assert (run.status, counts(run)) == (
        "stopped",
        {"ok": len(ledger) - len(refused), "failed": len(refused), "stopped": 100 - len(ledger)},
    )
    assert run.reason.startswith("HTTP 4")
    assert run.reason[:60] in repr(run)
    fault_server.set(schedule=[])
    assert counts(finished(lab, plan_of(lab, 100))) == {"ok": 100}
    assert fault_server.stats()["requests"] == 100 + len(refused)
    assert disagreements(lab, fault_server) == []


@pytest.mark.parametrize(
    "fault", ["insufficient_quota", "credit_balance_exhausted", "project_spend_limit_exceeded", "402"]
)
def test_quota_stops(lab, fault_server, fault):
    """When the money is gone no more are refused than were in flight; paid up, the run asks for what is missing."""
    _stops(lab, fault_server, fault)


@pytest.mark.parametrize("fault", ["401", "403", "proxy_403_html"])
def test_auth_stops(lab, fault_server, fault):
    """A key that is refused is shown no more often than once a worker, and the answers before it are kept."""
    _stops(lab, fault_server, fault)


@pytest.mark.parametrize(
    ("refused", "accepted"),
    [
        pytest.param({"temperature": 0.2}, {"temperature": 1}, id="value"),
        pytest.param({"max_tokens": 16}, {"max_completion_tokens": 16}, id="parameter"),
    ],
)
def test_bad_param_breaker(lab, fault_server, refused, accepted):
    """A model that refuses a parameter is asked with it once a worker; the rest is answered, the next plan warns."""
    fault_server.set(strict=True, latency_ms=20)
    grid = ParameterGrid([{"model": model, **params} for model in ("gpt-5", "m") for params in (refused, accepted)])
    run = finished(lab, lab.plan(ASK, grid, cases=cases(25)), concurrency=4)
    statuses = [entry["status"] for entry in fault_server.ledger()]
    failed = statuses.count(400)
    assert 1 <= failed <= 4
    assert (statuses.count(200), counts(run)) == (75, {"ok": 75, "stopped": 25 - failed, "failed": failed})

    (name,) = refused
    again = lab.plan(ASK, grid, cases=cases(25, "other"))
    what = "temperature=0.2" if name == "temperature" else name
    assert f"gpt-5 was seen to refuse {what}; requests with both will fail" in again.warnings
    assert len(fault_server.ledger()) == len(statuses)
    assert disagreements(lab, fault_server) == []


# Out of order for a while


@pytest.mark.parametrize(
    ("fault", "cells", "outage_s"),
    [
        pytest.param("503", 60, 2.0, id="in-the-suite"),
        pytest.param("503", 500, 60.0, id="whole", marks=pytest.mark.soak),
        pytest.param("503,retry_after=", 500, 60.0, id="unsaid", marks=pytest.mark.soak),
    ],
)
def test_outage_60s(path, fault_server, fault, cells, outage_s):
    """A server that is out of order is waited for: all is answered in the end, at three requests a trial at most."""
    fault_server.set(schedule=[{"from_s": 0, "to_s": outage_s, "fault": fault}])
    with Lab(path, base_url=fault_server.base_url, api_key=KEY) as lab:
        plan = plan_of(lab, cells)
        fault_server.reset()
        run = finished(lab, plan)
        assert disagreements(lab, fault_server) == []
        assert counts(run) == {"ok": cells}
    assert cells < len(fault_server.ledger()) <= 3 * cells


def test_nobody_there_for_a_while(path):
    """A server that is not up yet refuses connections, at no cost; when it comes, everything is asked."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    policy = RetryPolicy(first_wait_s=0.05, longest_wait_s=0.05, attempts=1000)
    with Lab(path, base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, policy=policy) as lab:
        run = lab.start(plan_of(lab, 4), concurrency=2)
        wait_until(lambda: run.progress.attempts >= 4, "four refused connections")
        with FaultServer(port=port) as server:
            run.wait(progress=False)
            ledger = server.ledger()
        refused = [row for row in attempts_of(lab) if row["http_status"] is None]
    assert {(row["state"], row["error_type"]) for row in refused} == {("error", "connect")}
    assert (counts(run), run.usage.unknown, len(ledger)) == ({"ok": 4}, 0, 4)


# Late


@punctually
@pytest.mark.parametrize(
    "fault", ["hang", "hang_after_headers", "served_then_hang", "slow,s=60", "drip,bytes=1,gap=0.05"]
)
def test_total_deadline(path, fault_server, fault, late_s):
    """A reply that does not come whole in time is let go, however busily its bytes trickle; the server sees it."""
    fault_server.set(default=fault)
    policy = replace(BRISK, attempts=1, deadline_s=0.5)
    with Lab(path, base_url=fault_server.base_url, api_key=KEY, policy=policy) as lab:
        run = finished(lab, plan_of(lab, 3), concurrency=3)
        assert disagreements(lab, fault_server) == []
        attempts = attempts_of(lab)
    assert [row["state"] for row in attempts] == ["unknown"] * 3
    assert {row["error_type"] for row in attempts} <= {"deadline", "timeout"}  # both end at the same moment
    assert (counts(run), run.usage.unknown) == ({"failed": 3}, 3)
    entries = fault_server.ledger()
    assert [entry["client_gone"] for entry in entries] == [True] * 3
    assert max(entry["ms"] for entry in entries) <= 500 + 1000 * (late_s or 0.5)


# Connections


def test_stale_keepalive(lab, fault_server):
    """A server that drops the connections it promised to keep costs neither an answer nor a second bill."""
    fault_server.set(default="stale_keepalive", key_by="body")
    run = finished(lab, plan_of(lab, 200), concurrency=8)
    stats = fault_server.stats()
    assert (counts(run), stats["billed"], stats["billed_more_than_once"]) == ({"ok": 200}, 200, 0)
    assert disagreements(lab, fault_server) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("of_the_user", [pytest.param(False, id="ours"), pytest.param(True, id="users")])
def test_redirect_refused(path, fault_server, of_the_user, status):
    """The prompt is not handed to another origin, not even by a client that would; the trial says what happened."""
    client = openai.AsyncOpenAI(base_url=fault_server.base_url, api_key=KEY) if of_the_user else None
    given = {"client": client} if of_the_user else {"base_url": fault_server.base_url, "api_key": KEY}
    with Wire() as other, Lab(path, policy=BRISK, **given) as lab:
        fault_server.set(default=f"redirect,to={other.base_url}/chat/completions,status={status}")
        run = finished(lab, plan_of(lab, 3))
        assert (other.crossed, [row["http_status"] for row in attempts_of(lab)]) == ([], [status] * 3)
        assert disagreements(lab, fault_server) == []
    assert (counts(run), set(run.errors["error"])) == ({"failed": 3}, {f"HTTP {status}: empty body"})
    if client:
        _loop.run(client.close())


# Money


def test_cost_reconciles(lab, fault_server):
    """Tokens in the file and in the ledger are the same, attempt by attempt; what is missing is named, to the token."""
    fault_server.set(default=MIX)
    run = finished(lab, plan_of(lab, 100, repeats=2))
    rows = {row["client_request_id"]: row for row in attempts_of(lab)}
    billed = {entry["client_request_id"]: entry["usage"] for entry in fault_server.ledger() if entry["billed"]}
    counted = {each: _tokens(row) for each, row in rows.items() if row["prompt_tokens"] is not None}
    missing = [rows[each] for each in billed.keys() - counted.keys()]
    assert counted == {each: billed[each] for each in counted}
    prompt = sum(tokens["prompt_tokens"] for tokens in counted.values())
    completion = sum(tokens["completion_tokens"] for tokens in counted.values())
    assert (run.usage.prompt_tokens, run.usage.completion_tokens) == (prompt, completion)
    assert run.cost_usd == pytest.approx((0.4 * prompt + 1.6 * completion) / 1e6, abs=1e-12)
    assert {(row["state"], row["error_code"], row["cost_usd"]) for row in missing} == {
        ("unknown", None, None),
        ("error", "not_json", None),
    }
    assert disagreements(lab, fault_server) == []


def _tokens(row):
    return {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
