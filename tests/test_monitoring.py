"""How a run stands: the map of its trials, what is counted on the way, and what looking again costs."""

import json
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import pytest

from promptlab import Lab, ParameterGrid, PromptTemplate, RetryPolicy, ledger, monitoring
from promptlab.attempts import SendError, from_reply, from_send_error
from promptlab.jobs import Progress
from promptlab.layouts import Layout
from promptlab.limits import Budget, Pace
from promptlab.monitoring import Watch
from promptlab.store import Store
from promptlab.tallies import Latencies
from promptlab.testing import ScriptedBackend, error_reply, sample_lab, text_reply
from studies import ASK, cases, plan_of
from test_runner import registered

OWNER = "me:1:a"
NOW_S = 1_800_000_000.0


@dataclass
class Workers:
    """A runner as far as a watch asks it."""

    progress: Progress = field(default_factory=Progress)
    pace: Pace = field(default_factory=lambda: Pace(8, is_fixed=True))
    budget: Budget | None = None
    is_stopping: bool = False
    waiting_s: float = 0.0
    waiting_for: str | None = None


@dataclass
class Live:
    """A run that a test moves on by hand."""

    runner: Workers = field(default_factory=Workers)
    is_ended: bool = False
    elapsed_s: float = 30.0
    is_awaited: bool = False


@dataclass
class Time:
    """A monotonic clock that stands still."""

    now_s: float = 100.0

    def __call__(self):
        """Return the time."""
        return self.now_s


@pytest.fixture
def lab(tmp_path):
    """A lab for making plans and their rows."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        yield lab


@dataclass
class ByHand:
    """A run whose attempts a test begins and ends one by one."""

    store: Store
    jobs: list

    def begin(self, trial, *, reserved_usd=None):
        """Note that a trial's request is sent."""
        job = self.jobs[trial]
        begin = partial(ledger.begin_attempt, run_id=1, sample_ids=job.sample_ids, request=job.request, owner=OWNER)
        return self.store.write(partial(begin, now_s=NOW_S, reserved_usd=reserved_usd)).result()

    def end(self, trial, claim, reply, *, settled="done", cost_usd=0.0, latency_ms=100.0):
        """Note what came back."""
        broke = isinstance(reply, SendError)
        outcome = from_send_error(reply) if broke else from_reply(reply, model="m")
        samples = self.jobs[trial].sample_ids
        why = (None, None) if settled == "done" else ("request", "it failed")
        end = ledger.Finish(claim, samples, OWNER, outcome, latency_ms, cost_usd, settled, *why)
        rows = ledger.rows_of(end, now_s=NOW_S)
        self.store.write(partial(ledger.write_finish, rows=rows)).result()

    def answer(self, *trials, text="yes"):
        """Have some trials answered."""
        for trial in trials:
            self.end(trial, self.begin(trial), text_reply(text, {"model": "m", "messages": []}))

    def withdraw(self, claim):
        """Have a request stay after all."""
        self.store.write(partial(ledger.withdraw_attempt, claim=claim)).result()


@pytest.fixture
def by_hand(lab):
    """Return a function that registers a plan and hands its run over."""

    def by_hand(plan):
        return ByHand(lab.store, registered(lab.store, plan))

    return by_hand


def letters(watch):
    """Return the letters of all trials, in plan order."""
    return "".join(place[1] for row in watch.board()["cells"] for place in row)


# The map


def described(templates, cells, *, cases=2, repeats=1):
    """Return a plan as its run's row has it."""
    return {"templates": [[name, name] for name in templates], "cells": cells, "cases": cases, "repeats": repeats}


def test_rows_are_templates_and_models_and_columns_the_other_settings():
    """In plan order; what does not vary is in no label."""
    cells = [{"model": model, "temperature": t, "max_tokens": 9} for model in ("m", "n") for t in (0, 1)]
    layout = Layout.of(described(["a", "b"], cells), ["a", "b"])
    assert layout == Layout(
        rows=("a · m", "a · n", "b · m", "b · n"),
        columns=("temperature=0", "temperature=1"),
        places=((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)),
        per_place=2,
    )
    assert (layout.size, layout.told(5), layout.cell(5)) == (16, "a · n · temperature=0", 2)


def test_a_model_may_lack_a_setting():
    """Models with different settings share the columns that are equal."""
    cells = [{"model": "m", "top_p": 0.5}, {"model": "m"}, {"model": "n", "top_p": 0.5}]
    layout = Layout.of(described(["a"], cells), ["a"])
    assert (layout.rows, layout.columns) == (("a · m", "a · n"), ("top_p=0.5", ""))
    assert layout.places == ((0, 0), (0, 1), (1, 0))


def test_settings_that_look_alike_stay_apart():
    """Two long values that begin alike are two columns, however they are cut."""
    cells = [{"model": "m", "persona": "x" * 100 + end} for end in "ab"]
    assert Layout.of(described(["a"], cells), ["a"]).places == ((0, 0), (0, 1))


@pytest.mark.parametrize(
    ("templates", "settings"),
    [
        pytest.param(1, 5_000, id="columns"),
        pytest.param(3_000, 1, id="rows"),
        pytest.param(900, 700, id="both"),
    ],
)
def test_a_map_is_never_larger_than_can_be_drawn(templates, settings):
    """Neighbours are joined, and every trial still has its cell."""
    names = [f"t{number}" for number in range(templates)]
    layout = Layout.of(described(names, [{"model": "m", "seed": seed} for seed in range(settings)]), names)
    cells = len(layout.rows) * len(layout.columns)
    assert layout.is_heat
    assert 500 <= cells <= 2_000
    assert {layout.cell(at) for at in range(0, layout.size, layout.per_place)} <= set(range(cells))
    assert layout.told(layout.size - 1).count(" … ") >= 1


# How a run stands


def test_a_finished_run_is_told_whole(tmp_path):
    """Counts, tokens, errors by type and the map of the sample study; nothing is left that only workers know."""
    with closing(sample_lab(tmp_path / "sample.db")) as lab:
        told = monitoring.status(lab.store, 1)
    latest = told.pop("latest")
    latency = told.pop("latency")
    assert told == {
        "id": 1,
        "name": "capitals",
        "status": "done",
        "reason": None,
        "is_over": True,
        "is_here": False,
        "is_awaited": False,
        "total": 16,
        "ended": 16,
        "counts": {"ok": 12, "running": 0, "todo": 0, "failed": 4, "stopped": 0},
        "reused": 0,
        "rate_per_s": None,
        "eta_s": None,
        "elapsed_s": None,
        "attempts": 16,
        "unknown": 0,
        "unpriced": 0,
        "uncounted": 0,
        "cost_usd": 0.0,
        "prompt_tokens": 312,
        "completion_tokens": 48,
        "in_flight": 0,
        "concurrency": None,
        "waiting_for": None,
        "waiting_s": None,
        "cap_usd": None,
        "capped_usd": None,
        "reserved_usd": None,
        "errors": [
            {
                "type": "HTTP 400 content_policy_violation",
                "attempts": 4,
                "passed": 0,
                "failed": 4,
                "open": 0,
                "message": "this question is refused",
            }
        ],
        "not_asked": [],
        "map": {
            "kind": "squares",
            "rows": ["terse", "chatty"],
            "columns": ["temperature=0", "temperature=1"],
            "cells": [[[0, "ooof"], [4, "ooof"]], [[8, "ooof"], [12, "ooof"]]],
        },
    }
    assert json.dumps(told)
    assert (latency["n"], latency["p50_ms"] <= latency["p95_ms"]) == (12, True)
    assert (latest["where"], latest["case"]) == ("chatty · temperature=1", "Peru")
    assert (latest["text"], latest["completion_tokens"]) == ("The capital of Peru is Lima.", 7)


def test_only_what_changed_is_told_again(lab, by_hand):
    """A trial that is sent, one that is answered, and nothing when nothing happened."""
    run = by_hand(plan_of(lab, 4))
    watch = Watch(lab.store, 1, Live())
    assert (letters(watch), watch.changes()) == ("qqqq", [])
    claim = run.begin(2)
    watch.look()
    assert watch.changes() == [[2, "r"]]
    run.answer(0)
    run.end(2, claim, error_reply(400), settled="failed")
    watch.look()
    assert (watch.changes(), letters(watch)) == ([[0, "o"], [2, "f"]], "oqfq")
    watch.look()
    assert watch.changes() == []


def test_many_trials_are_cells_of_counts(lab, by_hand):
    """Above 2,000 trials a cell has how many of each kind: ok, reused, running, todo, failed, stopped."""
    run = by_hand(lab.plan(ASK, {"model": "m", "temperature": [0, 1]}, cases=cases(1_001)))
    run.answer(0, 1)
    watch = Watch(lab.store, 1, Live())
    assert watch.board() == {
        "kind": "heat",
        "rows": ["ask"],
        "columns": ["temperature=0", "temperature=1"],
        "cells": [[[2, 0, 0, 999, 0, 0], [0, 0, 0, 1001, 0, 0]]],
    }
    watch.changes()
    run.begin(1_001)
    watch.look()
    assert watch.changes() == [[1, [0, 0, 1, 1000, 0, 0]]]
    assert watch.inside(0, most=3) == [[2, "q"], [3, "q"], [4, "q"]]
    assert watch.inside(1, most=1) == [[1001, "r"]]


def test_equal_requests_are_one_sample_and_two_trials(lab, by_hand):
    """Both templates render alike: one is answered, the other reused, whoever looks."""
    plan = lab.plan(
        [PromptTemplate("a", user="{{ q }}"), PromptTemplate("b", user="{{ q }}")], {"model": "m"}, cases=cases(1)
    )
    run = by_hand(plan)
    watch = Watch(lab.store, 1, Live())
    run.answer(0)
    watch.look()
    assert (letters(watch), watch.status()["counts"]["ok"], watch.status()["reused"]) == ("oc", 2, 1)


def test_what_never_left_is_queued_again(lab, by_hand):
    """An attempt that was withdrawn is deleted, and SQLite gives its id to the next: neither is confused."""
    time = Time()
    run = by_hand(plan_of(lab, 3))
    watch = Watch(lab.store, 1, Live(), now_s=time)
    run.withdraw(run.begin(0))
    claim = run.begin(0)
    watch.look()
    run.withdraw(claim)
    again = run.begin(1)
    assert again.attempt_id == claim.attempt_id
    time.now_s += 2
    watch.look()
    assert letters(watch) == "qrq"
    run.end(1, again, text_reply("yes", {"model": "m", "messages": []}))
    watch.look()
    assert (letters(watch), watch.status()["attempts"]) == ("qoq", 1)


def test_errors_are_told_by_type_with_what_became_of_them(lab, by_hand):
    """Answered later, failed, still open; a sample that failed for another error is counted there."""
    run = by_hand(plan_of(lab, 4))
    watch = Watch(lab.store, 1, Live())
    slow, broken = (
        error_reply(429, "slow down", code="rate_limit_exceeded"),
        error_reply(400, "too long", code="too_long"),
    )
    for trial in (0, 1, 2):
        run.end(trial, run.begin(trial), slow, settled=None)
    run.end(0, run.begin(0), slow, settled=None)
    watch.look()
    run.answer(0)
    run.end(1, run.begin(1), broken, settled="failed")
    run.end(3, run.begin(3), SendError("reset", "cut", maybe_paid=True), settled=None, cost_usd=None)
    watch.look()
    expected = [
        {
            "type": "HTTP 429 rate_limit_exceeded",
            "attempts": 4,
            "message": "slow down",
            "passed": 1,
            "failed": 0,
            "open": 1,
        },
        {"type": "HTTP 400 too_long", "attempts": 1, "message": "too long", "passed": 0, "failed": 1, "open": 0},
        {"type": "reset (maybe billed)", "attempts": 1, "message": "cut", "passed": 0, "failed": 0, "open": 1},
    ]
    assert watch.status()["errors"] == expected
    assert Watch(lab.store, 1).status()["errors"] == expected


def test_unknown_stays_unknown(lab, by_hand):
    """Without a price and without usage there is no 0 to be read; what may have been billed is counted apart."""
    run = by_hand(plan_of(lab, 3))
    run.end(0, run.begin(0), text_reply("yes", {"model": "m", "messages": []}, usage=None), cost_usd=None)
    run.end(1, run.begin(1), SendError("timeout", "late", maybe_paid=True), settled="failed", cost_usd=None)
    told = monitoring.status(lab.store, 1, Live())
    assert (told["cost_usd"], told["prompt_tokens"], told["completion_tokens"]) == (None, None, None)
    assert (told["unknown"], told["unpriced"], told["uncounted"], told["latency"]["n"]) == (1, 1, 1, 1)


def test_workers_tell_what_the_file_does_not(lab, by_hand):
    """The number allowed in flight, the gate, the cap and what is held back."""
    by_hand(plan_of(lab, 3))
    budget = Budget(5.0, spent_usd=1.5, reserved_usd=0.25)
    workers = Workers(Progress(total=3, in_flight=2), budget=budget, waiting_s=2.14, waiting_for="its rate limits")
    told = monitoring.status(lab.store, 1, Live(workers))
    assert {name: told[name] for name in ("status", "in_flight", "concurrency", "waiting_for", "waiting_s")} == {
        "status": "running",
        "in_flight": 2,
        "concurrency": 8,
        "waiting_for": "its rate limits",
        "waiting_s": 2.1,
    }
    assert (told["cap_usd"], told["capped_usd"], told["reserved_usd"]) == (5.0, 1.5, 0.25)


@pytest.mark.parametrize(
    ("is_paused", "is_stopping", "word"),
    [
        pytest.param(False, False, "running", id="running"),
        pytest.param(True, False, "paused", id="paused"),
        pytest.param(False, True, "stopping", id="stopping"),
    ],
)
def test_a_live_run_has_a_word_for_how_it_goes(lab, by_hand, is_paused, is_stopping, word):
    """While its workers are there, they are asked; the row says only that it runs."""
    by_hand(plan_of(lab, 1))
    live = Live(Workers(Progress(is_paused=is_paused), is_stopping=is_stopping))
    assert monitoring.status(lab.store, 1, live)["status"] == word


def test_rate_and_time_left_are_of_the_last_ten_seconds(lab, by_hand):
    """Two answers a second after a slow start; while it is paused no time left is told, and at the end none of them."""
    time, live = Time(), Live(Workers(Progress(total=40)))
    run = by_hand(plan_of(lab, 40))
    watch = Watch(lab.store, 1, live, now_s=time)
    assert (watch.status()["rate_per_s"], watch.status()["eta_s"]) == (None, None)
    time.now_s += 20
    watch.look()
    for second in range(10):
        run.answer(2 * second, 2 * second + 1)
        live.runner.progress.done += 2
        time.now_s += 1
        watch.look()
    told = watch.status()
    assert (told["rate_per_s"], told["eta_s"], told["elapsed_s"]) == (2.0, 10.0, 30.0)
    live.runner.progress.is_paused = True
    assert watch.status()["eta_s"] is None
    lab.store.write(lambda c: c.execute("update runs set status = 'stopped', reason = 'enough'")).result()
    live.is_ended = True
    watch.look()
    time.now_s += 60
    told = watch.status()
    assert (told["rate_per_s"], told["eta_s"], told["elapsed_s"]) == (None, None, 30.0)
    assert (told["status"], told["reason"], told["is_over"]) == ("stopped", "enough", True)


def test_what_leaves_no_attempt_is_seen(lab, by_hand):
    """Samples that were given up, and answers of another run, once the workers say that there are some."""
    time, live = Time(), Live()
    by_hand(plan_of(lab, 3))
    watch = Watch(lab.store, 1, live, now_s=time)
    stop = partial(ledger.stop_samples, sample_ids=[1, 2], failure="account", reason="no credit", owner=OWNER)
    lab.store.write(stop).result()
    time.now_s += 2
    watch.look()
    assert letters(watch) == "qqq"  # nobody said so: all trials are not read for nothing
    live.runner.progress.stopped = 2
    watch.look()
    assert (letters(watch), watch.status()["not_asked"]) == ("ssq", [{"reason": "no credit", "trials": 2}])


def test_a_run_of_another_kernel_is_followed_through_the_file(tmp_path, lab, by_hand):
    """Another connection sees its answers, whoever gave them, and its end."""
    time = Time()
    run = by_hand(plan_of(lab, 3))
    lab.store.write(partial(ledger.start_run, run_id=1, owner="a:1:b", now_s=NOW_S)).result()
    with closing(Store(tmp_path / "lab.db")) as other:
        watch = Watch(other, 1, now_s=time)
        run.answer(0)
        run.begin(1)
        stop = partial(ledger.stop_samples, sample_ids=[3], failure="account", reason="no", owner=OWNER)
        lab.store.write(stop).result()
        time.now_s += 1
        watch.look()
        told = watch.status()
        assert (letters(watch), told["status"], told["is_here"], told["in_flight"]) == ("ors", "running", False, 1)
        finish = partial(ledger.finish_run, run_id=1, status="stopped", reason="no", owner=OWNER, now_s=NOW_S)
        lab.store.write(finish).result()
        time.now_s += 1
        watch.look()
        assert (letters(watch), watch.is_over, watch.status()["reason"]) == ("oqs", True, "no")


def test_templates_of_one_name_are_told_apart(tmp_path):
    """Two versions in one run have their numbers."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        versions = [PromptTemplate("tone", user=f"{word} {{{{ q }}}}") for word in ("Please", "Now")]
        lab.run([*versions, ASK], {"model": "m"}, cases=cases(1), progress=False)
        assert Watch(lab.store, 1).layout.rows == ("tone v1", "tone v2", "ask")


def test_a_trial_is_found_by_its_place(lab, by_hand):
    """Where it stands, what it is about, and the trial to look up; None where there is none."""
    run = by_hand(plan_of(lab, 2))
    run.answer(1)
    watch = Watch(lab.store, 1)
    assert watch.trial(1) == {
        "trial_id": 2,
        "position": 1,
        "repeat": 0,
        "reused": 0,
        "state": "done",
        "reason": None,
        "where": "ask",
        "case": {"q": "q1"},
        "status": "ok",
    }
    assert watch.trial(2) is None


# What it costs


class Counting(Store):
    """A store that counts the rows it hands out."""

    rows = 0

    def read(self, sql, parameters=()):
        """Return the rows."""
        found = super().read(sql, parameters)
        self.rows += len(found)
        return found

    def batches(self, sql, parameters=()):
        """Yield the rows."""
        for some in super().batches(sql, parameters):
            self.rows += len(some)
            yield some


def test_looking_again_reads_what_is_new(tmp_path, lab, by_hand):
    """Of 1,000 trials, half of them answered, ten new answers cost as many rows; nothing new costs none."""
    run = by_hand(plan_of(lab, 1_000))
    run.answer(*range(500))
    with closing(Counting(tmp_path / "lab.db")) as store:
        watch = Watch(store, 1, Live())
        watch.status()
        store.rows = 0
        watch.look()
        assert store.rows == 0
        run.answer(*range(500, 510))
        watch.look()
        watch.status()
        assert store.rows == 12  # the answers, the newest one's text and its case
    assert watch.status()["ended"] == 510


# Latency


def test_quantiles_are_right_to_a_few_percent():
    """Of the milliseconds 1 to 1,000 the middle one and the 950th, and a histogram that holds them all."""
    latencies = Latencies()
    for latency_ms in range(1, 1_001):
        latencies.add(latency_ms)
    told = latencies.summary(columns=10)
    assert told["p50_ms"] == pytest.approx(500, rel=0.026)
    assert told["p95_ms"] == pytest.approx(950, rel=0.026)
    assert (told["n"], sum(told["histogram"]), len(told["histogram"]) <= 10) == (1_000, 1_000, True)
    assert (told["from_ms"] <= 1, told["to_ms"] >= 1_000) == (True, True)


def test_no_answer_has_no_latency():
    """Nothing is told rather than 0."""
    told = {"n": 0, "p50_ms": None, "p95_ms": None, "histogram": [], "from_ms": None, "to_ms": None}
    assert Latencies().summary() == told


def test_an_answer_in_no_time_is_counted():
    """A clock that did not move between sending and answer breaks nothing."""
    latencies = Latencies()
    latencies.add(0.0)
    assert latencies.summary()["n"] == 1


# A run that is really executed


def test_a_real_run_ends_as_its_frame_says(tmp_path):
    """Retries, a refusal and a resumed half: the watch agrees with the frame, whenever it began to look."""
    answers = {"q3": iter([error_reply(500), "later"])}

    def script(body):
        asked = body["messages"][-1]["content"]
        if asked == "q5":
            return error_reply(400, "no")
        return next(answers[asked]) if asked in answers else asked

    policy = RetryPolicy(first_wait_s=0.001)
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(script), policy=policy) as lab:
        lab.run(plan_of(lab, 3), name="before", progress=False)
        run = lab.start(
            lab.plan(ASK, ParameterGrid(model="m", max_tokens=16), cases=cases(8)), name="whole", progress=False
        )
        watch = Watch(lab.store, run.id, run._live)
        run.wait(progress=False)
        watch.look()
        assert letters(watch) == letters(Watch(lab.store, run.id)) == "cccoofoo"
        told, frame = watch.status(), run.frame()
        assert told["counts"]["ok"] == (frame["status"] == "ok").sum()
        assert (told["attempts"], told["reused"], told["status"]) == (run.usage.attempts, 3, "done")
        assert (told["prompt_tokens"], told["cost_usd"]) == (run.usage.prompt_tokens, run.cost_usd)


def test_an_id_that_another_run_got_is_not_counted(lab, by_hand):
    """A request that never left gives its id back; another run's attempt under it is none of this one's."""
    time = Time()
    run = by_hand(plan_of(lab, 2))
    claim = run.begin(0)
    watch = Watch(lab.store, 1, now_s=time)
    run.withdraw(claim)
    lab.run(plan_of(lab, 1, word="other"), name="other", progress=False)
    assert lab.store.read("select id, run_id from attempts")[0][:] == (claim.attempt_id, 2)
    time.now_s += 2
    watch.look()
    assert (watch.status()["attempts"], watch.status()["latest"], letters(watch)) == (0, None, "qq")


def test_an_id_that_comes_back_to_its_run_is_counted(lab, by_hand):
    """Seen open and seen gone: the next attempt of this run has the same id, and is a new one."""
    time = Time()
    run = by_hand(plan_of(lab, 2))
    claim = run.begin(0)
    watch = Watch(lab.store, 1, now_s=time)
    run.withdraw(claim)
    time.now_s += 2
    watch.look()
    again = run.begin(1)
    assert again.attempt_id == claim.attempt_id
    run.end(1, again, text_reply("yes", {"model": "m", "messages": []}))
    watch.look()
    assert (watch.status()["attempts"], letters(watch)) == (1, "qo")


def test_what_was_not_asked_and_is_answered_now_is_told_no_more(lab, by_hand):
    """Another kernel asked for what a cap had stopped."""
    time = Time()
    by_hand(plan_of(lab, 2))
    stop = "update samples set state = 'stopped', reason = 'the cap' where id = 2"
    lab.store.write(lambda c: c.execute(stop)).result()
    watch = Watch(lab.store, 1, now_s=time)
    assert watch.status()["not_asked"] == [{"reason": "the cap", "trials": 1}]
    lab.store.write(lambda c: c.execute("update samples set state = 'done', reason = null where id = 2")).result()
    time.now_s += 100
    watch.look()
    assert (watch.status()["not_asked"], watch.status()["counts"]["stopped"]) == ([], 0)
