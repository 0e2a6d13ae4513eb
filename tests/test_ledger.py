"""The ledger: what a plan becomes in rows, who may send, and what each end leaves behind."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial

import pytest

from promptlab import Cases, ParameterGrid, PromptTemplate, ledger, plans
from promptlab.attempts import SendError, from_reply, from_send_error
from promptlab.backends._base import BackendInfo
from promptlab.migrations import migrate
from promptlab.testing import error_reply, text_reply

NOW_S = 1_800_000_000.0
SOFTWARE = dict.fromkeys(
    ("promptlab_version", "openai_version", "python_version", "host", "notebook", "git_commit", "note", "tags"), "x"
)
ASK = PromptTemplate("ask", user="{{ q }}")


@pytest.fixture
def file():
    """A fresh file in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def planned(n=2, *, repeats=1, template=ASK, generation=0, **params):
    """Return a plan of n cases."""
    cases = Cases([{"q": f"q{number}"} for number in range(n)])
    grid = ParameterGrid({"model": "m", **params})
    return plans.validated([template], grid, cases, repeats=repeats, generation=generation, identity="here")


def registered(file, plan, *, name="run"):
    """Write a plan's rows, as the lab does, and return the run's id."""
    info = BackendInfo("scripted", "here")
    run_id = ledger.add_run(file, plan, name=name, info=info, environment=SOFTWARE, now_s=NOW_S)
    template_ids = ledger.add_templates(file, plan.templates, now_s=NOW_S)
    case_ids = ledger.add_cases(file, plan.cases)
    ledger.add_trials(file, plan, ledger.PlanRows(run_id, template_ids, case_ids), range(len(plan)))
    return run_id


def begun(file, plan, *, run_id=1, sample_id=1, owner="me:1:a", now_s=NOW_S):
    """Begin an attempt at the request of the plan's first trial."""
    begin = partial(ledger.begin_attempt, run_id=run_id, sample_ids=[sample_id], request=plan.request(0))
    return begin(file, owner=owner, now_s=now_s)


def finish(claim, outcome, settled, *, sample_id=1, owner="me:1:a", **more):
    """Return how an attempt ended."""
    return ledger.Finish(
        claim=claim,
        sample_ids=[sample_id],
        owner=owner,
        outcome=outcome,
        latency_ms=5.0,
        cost_usd=0.25,
        settled=settled,
        **more,
    )


def ended(file, how):
    """Store how an attempt ended."""
    ledger.write_finish(file, ledger.rows_of(how, now_s=NOW_S))


def answered(file, claim, text="yes", **more):
    """Store an answer."""
    outcome = from_reply(text_reply(text, {"model": "m", "messages": []}), model="m")
    ended(file, finish(claim, outcome, "done", **more))


def rows(file, sql, *parameters):
    """Return the rows of a query."""
    return file.execute(sql, parameters).fetchall()


SAMPLE = "select state, failure, reason, owner, lease_until from samples where id = 1"


@pytest.fixture
def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# A plan becomes rows


def test_a_plan_becomes_rows(file):
    """Each trial has its row, and equal requests share one, however many repeats are asked."""
    registered(file, planned(2, repeats=2))
    assert rows(file, "select position, case_index, repeat, sample_id, reused from trials") == [
        (0, 0, 0, 1, 0),
        (1, 0, 1, 2, 0),
        (2, 1, 0, 3, 0),
        (3, 1, 1, 4, 0),
    ]
    assert rows(file, "select id, repeat, generation, request_id, backend, state from samples") == [
        (1, 0, 0, 1, "here", "todo"),
        (2, 1, 0, 1, "here", "todo"),
        (3, 0, 0, 2, "here", "todo"),
        (4, 1, 0, 2, "here", "todo"),
    ]
    assert rows(file, "select endpoint, model, body, text from requests where id = 1") == [
        ("chat/completions", "m", '{"model":"m","messages":[{"role":"user","content":"q0"}]}', "q0")
    ]


def test_the_run_row_says_what_and_where(file):
    """The plan, the backend and the software are kept with a run, and a text id that sorts by time."""
    registered(file, planned(1))
    row = rows(file, "select uid, name, status, plan, backend, base_url, created_at, host from runs")[0]
    assert (row[0][:16], row[1:3], row[5:]) == (
        "20270115T080000-",
        ("run", "planned"),
        (None, "2027-01-15T08:00:00.000Z", "x"),
    )
    assert row[3:5] == (
        '{"templates":[["ask","' + ASK.key + '"]],"cells":[{"model":"m"}],"variables":[],"columns":["q"],"cases":1,'
        '"repeats":1,"generation":0,"estimate":null}',
        '{"kind":"scripted","identity":"here"}',
    )


def test_registering_again_adds_nothing(file):
    """An interrupted registration is completed, not doubled, and two kernels that register one plan share its run."""
    plan = planned(3)
    assert registered(file, plan) == registered(file, plan) == 1
    counts = "select (select count(*) from runs), (select count(*) from trials), (select count(*) from samples)"
    assert rows(file, counts) == [(1, 3, 3)]


def test_another_name_or_plan_is_another_run(file):
    """A run is known by its plan and its name."""
    ids = [registered(file, planned(1)), registered(file, planned(1), name="b"), registered(file, planned(2))]
    assert ids == [1, 2, 3]


def test_templates_are_numbered_per_name(file):
    """A name's versions count up as its text changes, and an old text keeps its number."""
    first, second, other = (PromptTemplate(name, user=text) for name, text in (("a", "x"), ("a", "y"), ("b", "x")))
    ids = ledger.add_templates(file, [first, second, other], now_s=NOW_S)
    assert ids == [1, 2, 3]
    assert ledger.add_templates(file, [second, first], now_s=NOW_S) == [2, 1]
    assert rows(file, "select name, version from templates order by id") == [("a", 1), ("a", 2), ("b", 1)]


def test_equal_requests_of_one_plan_are_one_sample(file):
    """Two trials that render to the same request share its answer, and the second is marked as reused."""
    plan = plans.validated(
        [PromptTemplate("a", user="{{ q }}"), PromptTemplate("b", user="{{ q }}")],
        ParameterGrid(model="m"),
        Cases([{"q": "same"}]),
        repeats=1,
        generation=0,
        identity="here",
    )
    registered(file, plan)
    assert rows(file, "select template_id, sample_id, reused from trials") == [(1, 1, 0), (2, 1, 1)]


def test_an_answered_sample_is_reused_from_the_start(file):
    """A trial whose answer the file holds is marked when its row is written."""
    plan = planned(1)
    registered(file, plan)
    answered(file, begun(file, plan))
    registered(file, plan, name="again")
    assert rows(file, "select run_id, reused from trials") == [(1, 0), (2, 1)]


def test_a_generation_has_samples_of_its_own(file):
    """The same request asked afresh is another sample of the same request."""
    for generation in (0, 1):
        registered(file, planned(1, generation=generation))
    assert rows(file, "select generation, request_id from samples") == [(0, 1), (1, 1)]


# Who may send


def test_a_claim_leases_the_sample_and_notes_the_attempt(file):
    """Before the request leaves, the attempt is there as sent, under the id that goes out with it."""
    plan = planned(1)
    registered(file, plan)
    claim = begun(file, plan)
    assert rows(file, SAMPLE) == [("leased", None, None, "me:1:a", NOW_S + 60)]
    assert rows(file, "select id, run_id, request_id, number, state, client_request_id, sent_at from attempts") == [
        (claim.attempt_id, 1, 1, 1, "sent", claim.client_request_id, "2027-01-15T08:00:00.000Z")
    ]
    assert rows(file, "select * from attempt_samples") == [(claim.attempt_id, 1, 0)]


def test_attempts_are_named_in_the_order_of_time(file):
    """So the index of their names grows at its end, which a large file is quicker to write."""
    plan = planned(1)
    registered(file, plan)
    names = [begun(file, plan, now_s=NOW_S + second).client_request_id for second in (0, 1, 1000)]
    assert names == sorted(names)
    assert {len(name) for name in names} == {37}


def test_the_holder_of_a_lease_may_send_again(file):
    """A retry is a new attempt under the same lease, with the next number."""
    plan = planned(1)
    registered(file, plan)
    claims = [begun(file, plan), begun(file, plan)]
    assert [claim.state for claim in claims] == ["sent", "sent"]
    assert rows(file, "select number from attempts order by id") == [(1,), (2,)]


def test_an_answered_sample_is_not_sent(file):
    """Whoever comes late takes the answer."""
    plan = planned(1)
    registered(file, plan)
    answered(file, begun(file, plan))
    assert begun(file, plan, owner="other:1:b") == ledger.Claim("done")


def test_a_live_lease_is_respected(file):
    """While another process on this machine holds the sample, nothing is sent."""
    plan = planned(1)
    registered(file, plan)
    begun(file, plan, owner=ledger.new_owner())
    assert begun(file, plan, owner="other:1:b", now_s=NOW_S + 59) == ledger.Claim("leased")
    assert rows(file, "select count(*) from attempts") == [(1,)]


def test_a_lease_that_ran_out_is_taken_over(file):
    """The attempt it left open becomes unknown, since it may have been billed."""
    plan = planned(1)
    registered(file, plan)
    begun(file, plan, owner=ledger.new_owner())
    assert begun(file, plan, owner="other:1:b", now_s=NOW_S + 60).state == "sent"
    assert rows(file, "select number, state, error_type from attempts") == [
        (1, "unknown", "abandoned"),
        (2, "sent", None),
    ]


def test_a_lease_of_a_dead_process_is_taken_over_at_once(file, gone):
    """Nobody waits a minute for a kernel that was killed on this machine."""
    plan = planned(1)
    registered(file, plan)
    host, _, pool = ledger.new_owner().rsplit(":", 2)
    begun(file, plan, owner=f"{host}:{gone}:{pool}")
    assert begun(file, plan, owner="other:1:b").state == "sent"


def test_a_lease_of_another_machine_is_waited_for(file, gone):
    """A process there cannot be seen to be gone."""
    plan = planned(1)
    registered(file, plan)
    begun(file, plan, owner=f"elsewhere:{gone}:a")
    assert begun(file, plan, owner="other:1:b").state == "leased"


def test_a_process_of_another_user_counts_as_alive(file):
    """That a signal may not be sent says that the process is there (init is everybody's example)."""
    plan = planned(1)
    registered(file, plan)
    host, _, pool = ledger.new_owner().rsplit(":", 2)
    begun(file, plan, owner=f"{host}:1:{pool}")
    assert begun(file, plan, owner="other:1:b").state == "leased"


def test_a_lease_is_held_on_to(file):
    """Renewing moves the end of every lease of one owner, and of no other."""
    plan = planned(1, repeats=2)
    registered(file, plan)
    begun(file, plan, owner="me:1:a")
    begun(file, plan, owner="you:1:b", sample_id=2)
    ledger.renew_leases(file, "me:1:a", now_s=NOW_S + 15)
    assert rows(file, "select lease_until from samples") == [(NOW_S + 75,), (NOW_S + 60,)]


def test_the_request_logged_is_the_one_sent(file):
    """Of two bodies that share a sample (1 and 1.0, another `user`) the attempt names the one that left."""
    first, second = planned(1, temperature=1, user="ann"), planned(1, temperature=1.0, user="bob")
    registered(file, first)
    registered(file, second)
    claim = begun(file, second, run_id=2)
    body = "select body from requests join attempts on attempts.request_id = requests.id where attempts.id = ?"
    assert rows(file, "select count(*) from samples") == [(1,)]
    assert rows(file, body, claim.attempt_id) == [(second.request(0).body,)]
    assert rows(file, "select request_id from samples") == [(2,)]


def test_an_attempt_that_never_left_is_forgotten(file):
    """Withdrawn, it has no row, and the sample stays with its holder."""
    plan = planned(1)
    registered(file, plan)
    ledger.withdraw_attempt(file, begun(file, plan))
    assert rows(file, "select count(*) from attempts") == rows(file, "select count(*) from attempt_samples") == [(0,)]
    assert rows(file, SAMPLE)[0][0] == "leased"


# What came back


def test_an_answer_is_stored_whole(file):
    """The exact bytes, what they say, the output and the sample's end are written together."""
    plan = planned(1)
    registered(file, plan)
    claim = begun(file, plan)
    reply = text_reply("yes", {"model": "m", "messages": []}, service_tier="default", system_fingerprint="fp")
    outcome = from_reply(reply, model="m")
    ended(file, finish(claim, outcome, "done"))
    columns = "state, latency_ms, http_status, error_type, redacted, model, system_fingerprint, service_tier"
    assert rows(file, f"select {columns} from attempts") == [("ok", 5.0, 200, None, 0, "m", "fp", "default")]  # noqa: S608 - columns above
    columns = "prompt_tokens, completion_tokens, cached_tokens, total_tokens, usage, cost_usd, headers, response"
    assert rows(file, f"select {columns} from attempts") == [  # noqa: S608 - columns above
        (
            1,
            1,
            None,
            2,
            '{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}',
            0.25,
            '{"content-type":"application/json"}',
            reply.content,
        )
    ]
    output = "attempt_id, sample_id, choice, text, finish_reason, flags, prompt_tokens, completion_tokens, cost_usd"
    assert rows(file, f"select {output} from outputs") == [(1, 1, 0, "yes", "stop", "[]", 1, 1, 0.25)]  # noqa: S608 - columns above
    assert rows(file, "select state, output_id, owner, lease_until from samples") == [("done", 1, None, None)]


def test_a_refusal_keeps_its_reason(file):
    """A failed sample says why, and its attempt what the server said."""
    plan = planned(1)
    registered(file, plan)
    outcome = from_reply(error_reply(400, "no", code="c", param="top_p"), model="m")
    failed = finish(begun(file, plan), outcome, "failed", failure="request", reason="HTTP 400: no")
    ended(file, failed)
    assert rows(file, SAMPLE) == [("failed", "request", "HTTP 400: no", None, None)]
    columns = "state, http_status, error_type, error_code, error_param, error_message"
    assert rows(file, f"select {columns} from attempts") == [  # noqa: S608 - columns above
        ("error", 400, "invalid_request_error", "c", "top_p", "no")
    ]


def test_an_attempt_before_a_retry_leaves_the_lease(file):
    """Between two attempts the sample stays with its holder."""
    plan = planned(1)
    registered(file, plan)
    cut = from_send_error(SendError("reset", "cut", maybe_paid=True))
    ended(file, finish(begun(file, plan), cut, None))
    assert (rows(file, SAMPLE)[0][0], rows(file, "select state, error_type from attempts")) == (
        "leased",
        [("unknown", "reset")],
    )


def test_an_answer_of_a_lost_lease_is_taken(file):
    """Who sleeps over its lease and then gets an answer has bought it: it counts, and the other's is kept beside."""
    plan = planned(1)
    registered(file, plan)
    slow = begun(file, plan, owner="slow:1:a")
    quick = begun(file, plan, owner="quick:1:b", now_s=NOW_S + 60)
    answered(file, slow, "first", owner="slow:1:a")
    answered(file, quick, "second", owner="quick:1:b")
    chosen = "select text from samples join outputs on outputs.id = output_id"
    assert rows(file, chosen) == [("first",)]
    assert rows(file, "select sample_id, text from outputs") == [(1, "first"), (1, "second")]
    assert rows(file, "select state from attempts") == [("ok",), ("ok",)]


@pytest.mark.parametrize("settled", ["failed", "todo"])
def test_the_failure_of_a_lost_lease_is_not_the_end(file, settled):
    """Without an answer the sample is its new holder's business, so that nobody sends a third time."""
    plan = planned(1)
    registered(file, plan)
    slow = begun(file, plan, owner="slow:1:a")
    begun(file, plan, owner="quick:1:b", now_s=NOW_S + 60)
    cut = from_send_error(SendError("reset", "cut", maybe_paid=True))
    ended(file, finish(slow, cut, settled, owner="slow:1:a"))
    assert rows(file, SAMPLE) == [("leased", None, None, "quick:1:b", NOW_S + 120)]


def test_an_answer_is_reused_by_every_other_run_that_waits_for_it(file):
    """When one run buys it, the trials of the others are marked, and its own is not."""
    plan = planned(1)
    registered(file, plan)
    registered(file, plan, name="waits")
    answered(file, begun(file, plan, run_id=2))
    assert rows(file, "select run_id, reused from trials") == [(1, 1), (2, 0)]


# The rest of a run


def test_a_run_begins_and_ends(file):
    """Its row says when it began first, when it ended last, and how."""
    registered(file, planned(1))
    ledger.start_run(file, 1, owner="me:1:a", now_s=NOW_S)
    ledger.finish_run(file, 1, status="stopped", reason="why", owner="me:1:a", now_s=NOW_S + 1)
    status = "select status, reason, started_at, finished_at from runs"
    assert rows(file, status) == [("stopped", "why", "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:01.000Z")]
    ledger.start_run(file, 1, owner="me:1:a", now_s=NOW_S + 2)
    assert rows(file, status) == [("running", None, "2027-01-15T08:00:00.000Z", None)]


def test_a_run_gives_back_what_it_holds(file):
    """At its end its open attempts are unknown and its samples free, those of others untouched."""
    plan = planned(1, repeats=2)
    registered(file, plan)
    begun(file, plan, owner="me:1:a")
    begun(file, plan, owner="you:1:b", sample_id=2)
    ledger.finish_run(file, 1, status="stopped", reason=None, owner="me:1:a", now_s=NOW_S)
    assert rows(file, "select state, owner from samples") == [("todo", None), ("leased", "you:1:b")]
    assert rows(file, "select state, error_type from attempts") == [("unknown", "cancelled"), ("sent", None)]


def test_a_run_with_nothing_to_ask_is_complete(file):
    """It is done, without the reason for which it once stopped, and with its first beginning."""
    registered(file, planned(1))
    ledger.start_run(file, 1, owner="me:1:a", now_s=NOW_S)
    ledger.finish_run(file, 1, status="stopped", reason="why", owner="me:1:a", now_s=NOW_S)
    ledger.complete_run(file, 1, now_s=NOW_S + 5)
    status = "select status, reason, started_at, finished_at from runs"
    assert rows(file, status) == [("done", None, "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:05.000Z")]


def test_stopping_leaves_alone_what_others_hold_or_have(file):
    """What is not to be asked is marked with the reason; answers, and samples that others are asking, are not."""
    plan = planned(1, repeats=4)
    registered(file, plan)
    answered(file, begun(file, plan, sample_id=1))
    begun(file, plan, owner="you:1:b", sample_id=2)
    begun(file, plan, owner="me:1:a", sample_id=3)
    ledger.stop_samples(file, [1, 2, 3, 4], failure="account", reason="no credit", owner="me:1:a")
    assert rows(file, "select state, failure, reason from samples") == [
        ("done", None, None),
        ("leased", None, None),
        ("stopped", "account", "no credit"),
        ("stopped", "account", "no credit"),
    ]


def test_owners_name_machine_process_and_pool():
    """Two pools of one process are two owners."""
    first, second = ledger.new_owner(), ledger.new_owner()
    assert first != second
    assert first.rsplit(":", 2)[:2] == [os.uname().nodename, str(os.getpid())]
