"""Forgetting: what only one run uses goes, whole; what others use stays, and so does the money that was spent."""

import asyncio
import platform
import random
import time
from functools import partial

import pandas as pd
import pytest

from files import beside, sha256
from judgements import counts, judge
from promptlab import Lab, NotFoundError, RetryPolicy, StoreError, _loop, ledger
from promptlab.testing import ScriptedBackend, error_reply
from studies import plan_of

ALL = ("requests", "samples", "trials", "attempts", "attempt_samples", "outputs", "cases", "runs")


def script(body):
    """Answer in capitals; refuse every question number 3."""
    question = body["messages"][-1]["content"]
    return error_reply(400, "no") if question.endswith("3") else f"{question.upper()} needle"


@pytest.fixture
def lab(tmp_path):
    """A lab with two runs: `wide` asked q0 to q5, `narrow` reuses q0 and q1 and asked w0 and w1 besides."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(script), policy=RetryPolicy(attempts=1)) as lab:
        lab.run(plan_of(lab, 6), name="wide", progress=False)
        lab.run(plan_of(lab, 2), name="narrow", progress=False)
        lab.run(plan_of(lab, 2, word="w"), name="other", progress=False)
        yield lab


def held(lab, *tables):
    """Return how many rows the file has."""
    with lab.store.snapshot() as connection:
        return counts(connection, *(tables or ALL))


def dump(lab):
    """Return everything the file says."""
    with lab.store.snapshot() as connection:
        return [line for line in connection.iterdump() if "_fts" not in line]


def test_a_dry_run_says_what_would_go(lab):
    """Counts, bytes, what stays, and how to do it; nothing is written."""
    lab.store.index()
    lab.close()
    before = sha256(lab.path)
    found = lab.forget("wide")
    assert (found.run_id, found.name, found.kept, found.is_done) == (1, "wide", 2, False)
    assert {table: number for table, number in found.counts.items() if number} == {
        "trials": 6,
        "outputs": 3,
        "attempts": 4,
        "samples": 4,
        "requests": 4,
        "cases": 4,
    }
    sizes = lab.sql(
        "select (select sum(length(response) + length(headers) + coalesce(length(usage), 0)) from attempts where id in"
        " (3, 4, 5, 6)) + (select sum(length(body) + length(text)) from requests where id in (3, 4, 5, 6))"
        " + (select sum(length(text)) from outputs where id in (3, 4, 5))"
        " + (select sum(length(inputs)) from cases where id in (3, 4, 5, 6)) as bytes"
    )["bytes"][0]
    assert found.bytes == sizes
    assert repr(found) == (
        "<Forgotten run 1 'wide' (dry run): 6 trials, 3 outputs, 4 attempts, 4 samples, 4 requests, 4 cases to delete;"
        f" {sizes / 1e3:.1f} kB of texts and replies; 2 answers kept, since other runs use them;"
        " lab.forget(1, dry_run=False) does it>"
    )
    assert "<li>2 answers kept, since other runs use them</li>" in found._repr_html_()
    lab.close()
    assert (sha256(lab.path), beside(lab.path)) == (before, ["lab.db"])


def test_what_only_this_run_uses_goes(lab):
    """As announced; other runs show what they showed, the search no longer finds it, and the file is sound."""
    frames, announced = {name: lab.load(name).frame() for name in ("narrow", "other")}, lab.forget("wide")
    before, schema = held(lab), lab.sql("select sql from sqlite_master order by name")
    done = lab.forget("wide", dry_run=False)
    pd.testing.assert_frame_equal(lab.sql("select sql from sqlite_master order by name"), schema)
    assert (done.counts, done.bytes, done.is_done) == (announced.counts, announced.bytes, True)
    after = held(lab)
    assert {table: before[table] - number for table, number in after.items() if table != "attempt_samples"} == {
        **{table: done.counts[table] for table in ALL if table in done.counts},
        "runs": 0,
    }
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(lab.load(name).frame(), frame)
    assert {hit.request_id for hit in lab.search("needle")} == {1, 2, 7, 8}
    assert (len(lab.search("q4")), lab.check().problems) == (0, [])


def test_the_run_that_bought_what_others_use_stays_for_its_money(lab):
    """It is no longer listed, nor found by its name, and its plan is gone; what it spent on what stays is there."""
    lab.forget("wide", dry_run=False)
    assert list(lab.runs()["name"]) == ["narrow", "other"]
    with pytest.raises(NotFoundError, match=r"no run 'wide'.*; the newest are 'other', 'narrow'$"):
        lab.load("wide")
    left = lab.sql("select status, archived, plan_key, note from runs where id = 1").to_dict("records")
    assert left == [{"status": "forgotten", "archived": 1, "plan_key": "", "note": ""}]
    assert (lab.load(1).usage.attempts, len(lab.load(1))) == (2, 0)
    assert "2 runs and 4 answers" in repr(lab)


def test_the_same_plan_can_be_run_again(lab):
    """It is a new run, and asks only for what was forgotten."""
    lab.forget("wide", dry_run=False)
    sent = len(lab.backend.requests)
    run = lab.run(plan_of(lab, 6), name="wide", progress=False)
    assert (run.id, run.status, len(lab.backend.requests) - sent) == (4, "done", 4)
    assert list(run.frame()["reused"]) == [True, True, False, False, False, False]
    assert lab.check().problems == []


def test_with_the_last_run_everything_goes_but_templates(lab):
    """Nothing is left of three runs, not even the rows that stood for their money."""
    for name in ("wide", "narrow", "other"):
        lab.forget(name, dry_run=False)
    assert held(lab, *ALL, "templates") == {**dict.fromkeys(ALL, 0), "templates": 1}
    lab.vacuum()
    assert (lab.check().problems, len(lab.search("needle"))) == ([], 0)
    with lab.store.snapshot() as connection:
        blocks = connection.execute("select block from outputs_fts_data union all select block from requests_fts_data")
        assert not any(b"needle" in block for (block,) in blocks)


def test_judgements_go_with_their_outputs(lab):
    """Scores, ratings, notes, pins, pairings and votes on what goes are gone, those on what stays are there."""
    judge_all = [
        partial(judge, left=3, right=4, session="gone", case=3),
        partial(judge, left=1, right=5, session="half gone", case=1),
        partial(judge, left=1, right=2, session="stays", case=1),
        partial(judge, left=2, right=1, session="a case that goes", case=3),
    ]
    for operation in judge_all:
        lab.store.write(operation).result()
    done = lab.forget("wide", dry_run=False)
    expected = {"scores": 2, "ratings": 1, "notes": 1, "pins": 2, "pairings": 2, "votes": 4}
    assert {table: done.counts[table] for table in expected} == expected
    left = {"scores": 2, "ratings": 3, "notes": 3, "pins": 2, "pairings": 2, "votes": 4}
    assert (held(lab, *left), lab.check().problems) == (left, [])


def test_rows_that_are_not_indexed_yet_are_forgotten_as_well(lab):
    """The index is told only of what it knows; afterwards it goes on where it was."""
    lab.store.index()
    lab.run(plan_of(lab, 6, word="late"), name="late", progress=False)
    lab.forget("late", dry_run=False)
    lab.forget("other", dry_run=False)
    lab.run(plan_of(lab, 2, word="fresh"), name="fresh", progress=False)
    assert {hit.run for hit in lab.search("needle fresh*")} == {"fresh"}
    assert (len(lab.search("late*")), lab.check().problems) == (0, [])


def test_a_live_run_is_refused(tmp_path):
    """Neither forgetting nor vacuum disturbs a run of this lab; other runs can be forgotten meanwhile."""
    begun, end = asyncio.Event(), asyncio.Event()

    async def wait(body):
        if body["messages"][-1]["content"] != "first0":
            begun.set()
            await end.wait()
        return "done"

    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(wait)) as lab:
        lab.run(plan_of(lab, 1, word="first"), name="first", progress=False)
        run = lab.start(plan_of(lab, 2), name="live")
        _loop.run(begun.wait())
        for refused in (partial(lab.forget, run, dry_run=False), lab.vacuum):
            with pytest.raises(StoreError, match=r"^run 2 'live' is going on; wait for its end, or stop it"):
                refused()
        with pytest.raises(StoreError, match=r"^run 2 'live' is being answered right now; stop it first"):
            lab.forget(run)
        lab.forget("first", dry_run=False)
        _loop.running_loop().call_soon_threadsafe(end.set)
        run.wait(progress=False)
        assert (run.outputs, list(lab.runs()["name"])) == (["done", "done"], ["live"])
        lab.forget(run, dry_run=False)
        assert lab.runs().empty


@pytest.mark.parametrize(
    ("owner", "lasts_s", "is_refused"),
    [
        pytest.param(ledger.new_owner(), 60, True, id="alive"),
        pytest.param(ledger.new_owner(), -1, False, id="run-out"),
        pytest.param(f"{platform.node()}:4194303:a", 60, False, id="of-a-dead-process"),
        pytest.param("another-machine:1:a", 60, True, id="of-another-machine"),
        pytest.param("somebody", 60, True, id="in-another-form"),
        pytest.param("somebody", -1, False, id="in-another-form-run-out"),
    ],
)
def test_another_process_at_work_is_respected(lab, owner, lasts_s, is_refused):
    """A lease that somebody may hold stops it, one that nobody can hold does not."""
    lease = "update samples set state = 'leased', owner = ?, lease_until = ? where id = 4"
    lab.store.write(lambda c: c.execute(lease, (owner, time.time() + lasts_s))).result()
    before = dump(lab)
    if is_refused:
        with pytest.raises(StoreError, match=r"^run 1 'wide' is being answered right now"):
            lab.forget("wide", dry_run=False)
        assert dump(lab) == before
    else:
        assert lab.forget("wide", dry_run=False).counts["samples"] == 4


@pytest.mark.parametrize("seed", range(8))
def test_whatever_runs_share_the_others_keep_theirs(tmp_path, seed):
    """Runs over random parts of one study, forgotten in random order: the others' frames never change."""
    chance = random.Random(seed)
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(script), policy=RetryPolicy(attempts=1)) as lab:
        for number in range(5):
            some = plan_of(lab, chance.randint(1, 6), repeats=chance.randint(1, 2), word=chance.choice("qw"))
            lab.run(some, name=f"run {number}", progress=False)
        names = [f"run {number}" for number in range(5)]
        frames = {name: lab.load(name).frame() for name in names}
        for name in chance.sample(names, 5):
            if chance.random() < 0.5:
                lab.store.index()
            lab.forget(name, dry_run=False)
            del frames[name]
            kept = {other: lab.load(other).frame() for other in frames}
            for other, frame in frames.items():
                pd.testing.assert_frame_equal(kept[other], frame)
            assert lab.check().problems == []
        assert held(lab) == dict.fromkeys(ALL, 0)
