"""Merging: everything comes over once, nothing that was here changes its meaning, and the other file is only read."""

import platform
import random
import shutil
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from files import beside, sha256
from judgements import TABLES, counts, judge
from promptlab import Lab, PromptTemplate, RetryPolicy, StoreError
from promptlab.migrations import SCHEMA_VERSION
from promptlab.testing import ScriptedBackend, error_reply
from studies import plan_of

IDS = ["trial_id", "sample_id", "output_id", "attempt_id", "request_id"]
SCHEMA1 = Path(__file__).parent / "schemas" / "schema1.db"


def answering(word, *, refused=(), identity="scripted"):
    """Return a backend that answers a question with a word before it, but for those it refuses."""

    def script(body):
        question = body["messages"][-1]["content"]
        return error_reply(400, "no") if question in refused else f"{word} {question}"

    return ScriptedBackend(script, identity=identity)


@pytest.fixture
def lab_at(tmp_path):
    """Return a function that makes a lab in a folder of its own; all are closed."""
    labs = []

    def lab_at(name, word="", **options):
        (tmp_path / name).mkdir(exist_ok=True)
        backend = answering(word or name, **options)
        labs.append(Lab(tmp_path / name / "lab.db", backend=backend, policy=RetryPolicy(attempts=1)))
        return labs[-1]

    yield lab_at
    for lab in labs:
        lab.close()


def ran(lab, n=3, **options):
    """Run n questions, and return the run."""
    name = options.pop("name", "study")
    return lab.run(plan_of(lab, n, **options), name=name, progress=False)


def shown(lab, run):
    """Return what a run shows, without the ids of one file; None stands for all that is missing."""
    frame = lab.load(run).frame().drop(columns=IDS).astype(object)
    return frame.where(frame.notna(), None)


def dump(path):
    """Return everything a file says but for its search index."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "_fts" not in line]


def sizes(lab, *tables):
    """Return how many rows tables have."""
    with lab.store.snapshot() as connection:
        return counts(connection, *tables)


def test_a_merged_run_shows_what_it_showed(lab_at):
    """Its trials, its summary, its money and every exchange are here as they were there."""
    ours, theirs = lab_at("ours"), lab_at("theirs", refused={"t1"})
    ran(ours)
    ran(theirs, 4, word="t", repeats=2)
    theirs.close()
    done = ours.merge(theirs.path)
    assert {table: number for table, number in done.counts.items() if number} == {
        "runs": 1,
        "cases": 4,
        "requests": 4,
        "samples": 8,
        "attempts": 8,
        "outputs": 6,
        "trials": 8,
    }
    assert repr(done) == (
        f"<Merged {theirs.path}: 1 run, 4 cases, 4 requests, 8 samples, 8 attempts, 6 outputs, 8 trials>"
    )
    assert "<li>8 trials</li>" in done._repr_html_()
    pd.testing.assert_frame_equal(shown(ours, 2), shown(theirs, 1))
    summaries = [lab.runs().iloc[-1].drop("id") for lab in (ours, theirs)]
    pd.testing.assert_series_equal(*summaries, check_names=False)
    assert ours.load(2).usage == theirs.load(1).usage
    here = ours.request(int(ours.load(2).frame()["request_id"][0]))
    there = theirs.request(1)
    assert (here.body, here.response, here.headers) == (there.body, there.response, there.headers)
    assert {hit.run_id for hit in ours.search("theirs")} == {2}
    assert ours.check().problems == []


def test_merging_twice_changes_nothing(lab_at):
    """The second time nothing comes in, and not a byte is written."""
    ours, theirs = lab_at("ours"), lab_at("theirs", refused={"q2"})
    ran(ours, 3)
    ran(theirs, 5, repeats=2)
    theirs.store.write(partial(judge, left=1, right=2)).result()
    theirs.close()
    ours.merge(theirs.path)
    ours.store.index()
    ours.close()
    before = sha256(ours.path)
    assert repr(ours.merge(theirs.path)) == f"<Merged {theirs.path}: nothing that was not here>"
    ours.close()
    assert sha256(ours.path) == before


def test_the_other_file_stays_as_it_is(lab_at):
    """It is not written, not migrated, and nothing appears beside it."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(theirs)
    theirs.close()
    copy = shutil.copy(SCHEMA1, theirs.path.with_name("old.db"))
    before = [sha256(path) for path in (theirs.path, Path(copy))]
    ours.merge(theirs.path)
    ours.merge(copy)
    assert ([sha256(path) for path in (theirs.path, Path(copy))], beside(theirs.path)) == (before, ["lab.db", "old.db"])
    with Lab(copy, backend=answering("x")) as old:
        for run, there in ((2, 1), (3, 2)):
            pd.testing.assert_frame_equal(shown(ours, run), shown(old, there))
    assert ours.check().problems == []


def test_where_both_answered_ours_stays_and_theirs_show_theirs(lab_at):
    """Each run shows the answers it got; what is asked again takes ours and costs nothing."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours, 2)
    ran(theirs, 3)
    before = shown(ours, 1)
    ours.merge(theirs.path)
    pd.testing.assert_frame_equal(shown(ours, 1), before)
    assert ours.load(2).outputs == ["theirs q0", "theirs q1", "theirs q2"]
    again = ran(ours, 3, name="again")
    assert (again.outputs, again.usage.attempts) == (["ours q0", "ours q1", "theirs q2"], 0)
    assert ours.check().problems == []
    ours.forget(2, dry_run=False)
    assert (again.outputs, ours.check().problems) == (["ours q0", "ours q1", "theirs q2"], [])
    assert len(ours.search("theirs")) == 1


def test_what_they_answered_is_answered_here(lab_at):
    """A sample that failed or was never asked here has their answer; our run counts it, and goes on without paying."""
    ours, theirs = lab_at("ours", refused={"q0"}), lab_at("theirs")
    run = ran(ours, 2)
    assert list(ours.runs()["ok"]) == [1]
    ran(theirs, 2)
    done = ours.merge(theirs.path)
    assert (done.answered, "1 sample of this file settled" in repr(done)) == (1, True)
    assert (run.outputs, list(run.frame()["reused"])) == (["theirs q0", "ours q1"], [True, False])
    assert list(ours.runs()["ok"]) == [2, 2]
    assert (len(run.errors), ours.check().problems) == (0, [])
    sent = len(ours.backend.requests)
    assert (ran(ours, 2).status, len(ours.backend.requests)) == ("done", sent)


def test_a_failure_there_is_known_here_only_where_nothing_else_is(lab_at):
    """Ours that was answered or failed itself stays; what was never asked here takes their end with its reason."""
    ours, theirs = lab_at("ours", refused={"q1"}), lab_at("theirs", refused={"q0", "q1", "q2"})
    run = ran(ours, 3)
    ours.store.write(lambda c: c.execute("delete from outputs where id = 99")).result()
    forget_end = "update samples set state = 'todo', failure = null, reason = null, output_id = null where id = 3"
    ours.store.write(lambda c: c.execute(forget_end)).result()
    reason = "HTTP 400 invalid_request_error: no"
    ours.store.write(lambda c: c.execute("update samples set reason = 'ours' where id = 2")).result()
    ran(theirs, 3)
    assert ours.merge(theirs.path).answered == 1
    frame = run.frame()
    assert list(frame["status"]) == ["ok", "failed", "failed"]
    assert list(frame["error"].fillna("")) == ["", "ours", reason]


def test_templates_get_the_next_version_here(lab_at):
    """Texts are one template wherever they are equal; of others the name goes on counting."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    texts = {"ours": ("{{ q }}", "{{ q }}?"), "theirs": ("{{ q }}!", "{{ q }}?", "{{ q }}...")}
    for lab, each in ((ours, texts["ours"]), (theirs, texts["theirs"])):
        for text in each:
            lab.ask(PromptTemplate("ask", user=text), {"q": "Hi"}, model="m")
    ours.merge(theirs.path)
    found = ours.sql("select version, json_extract(messages, '$[0].content') as text from templates order by version")
    assert found.to_dict("list") == {"version": [1, 2, 3, 4], "text": ["{{ q }}", "{{ q }}?", "{{ q }}!", "{{ q }}..."]}
    versions = ours.sql("select run_id, version from trials join templates on templates.id = template_id")
    assert dict(versions.to_numpy().tolist()) == {1: 1, 2: 2, 3: 3, 4: 2, 5: 4}


def test_judgements_come_over_once(lab_at):
    """Scores, ratings, notes, pins, pairings and votes, the undone ones undone; equal ones are not doubled."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours, 2)
    ours.store.write(partial(judge, left=1, right=2, session="ours")).result()
    ran(theirs, 2)
    theirs.store.write(partial(judge, left=2, right=1, session="theirs")).result()
    theirs.store.write(
        lambda c: c.execute("insert into views (name, spec, created_at) values ('v', '{}', 'now')")
    ).result()
    ours.merge(theirs.path)
    twice = {"scores": 2, "ratings": 2, "notes": 2, "pins": 2, "pairings": 2, "votes": 4, "views": 1}
    assert sizes(ours, *TABLES, "views") == twice
    votes = ours.sql(
        "select session, choice, undone_by, (select text from outputs where id = left_id) as left from votes"
        " join pairings on pairings.id = pairing_id order by votes.id"
    )
    assert votes.astype(object).where(votes.notna(), None).to_numpy().tolist() == [
        ["ours", "left", 2, "ours q0"],
        ["ours", "tie", None, "ours q0"],
        ["theirs", "left", 4, "theirs q1"],
        ["theirs", "tie", None, "theirs q1"],
    ]
    assert (ours.merge(theirs.path).counts["votes"], sizes(ours, *TABLES, "views")) == (0, twice)


def test_a_copy_that_went_on_comes_back(lab_at):
    """A colleague finishes our run in a copy: it is the same run, and only what is new comes in."""
    ours = lab_at("ours", refused={"q1"})
    run = ran(ours, 3)
    (ours.path.parent.parent / "theirs").mkdir()
    ours.backup(ours.path.parent.parent / "theirs" / "lab.db")
    theirs = lab_at("theirs")
    theirs.run(plan_of(theirs, 3), name="study", retry_failed=True, progress=False)
    finished_at = theirs.sql("select finished_at from runs")["finished_at"][0]
    done = ours.merge(theirs.path)
    assert {table: number for table, number in done.counts.items() if number} == {"attempts": 1, "outputs": 1}
    assert (run.outputs, list(run.frame()["reused"])) == (["ours q0", "theirs q1", "ours q2"], [False] * 3)
    assert ours.sql("select finished_at from runs")["finished_at"][0] == finished_at
    assert list(ours.runs()[["ok", "failed", "attempts"]].iloc[0]) == [3, 0, 4]
    assert repr(theirs.merge(ours.path)) == f"<Merged {ours.path}: nothing that was not here>"
    assert dump_of_answers(ours) == dump_of_answers(theirs)


def dump_of_answers(lab):
    """Return every sample with its answer and how it was bought, by what is the same in every file."""
    return lab.sql(
        "select samples.key, samples.state, outputs.text, attempts.client_request_id, runs.uid from samples"
        " left join outputs on outputs.id = samples.output_id left join attempts on attempts.id = outputs.attempt_id"
        " left join runs on runs.id = attempts.run_id order by samples.key"
    ).to_dict("records")


def test_an_attempt_open_here_gets_the_end_it_has_there(lab_at):
    """Of one exchange in two files, the one that knows how it ended is right."""
    ours = lab_at("ours")
    run = ran(ours, 1)
    copy = ours.backup(ours.path.with_name("copy.db"))
    open_again = [
        "update samples set state = 'todo', output_id = null",
        "update attempts set state = 'unknown', response = null, prompt_tokens = null",
        "delete from outputs",
    ]
    for statement in open_again:
        ours.store.write(lambda c, statement=statement: c.execute(statement)).result()
    done = ours.merge(copy)
    assert {table: number for table, number in done.counts.items() if number} == {"outputs": 1}
    assert (run.outputs, run.usage.unknown, ours.check().problems) == (["ours q0"], 0, [])


def test_a_forgotten_run_comes_back(lab_at):
    """Whoever merges a file wants what it holds, also where the row stayed for its money."""
    ours = lab_at("ours")
    ran(ours, 3, name="wide")
    ran(ours, 1, name="narrow")
    before, copy = shown(ours, 1), ours.backup(ours.path.with_name("copy.db"))
    ours.forget("wide", dry_run=False)
    ours.merge(copy)
    pd.testing.assert_frame_equal(shown(ours, "wide"), before)
    assert (sorted(ours.runs()["name"]), ours.check().problems) == (["narrow", "wide"], [])
    assert ran(ours, 3, name="wide").id == 1


def leased(lab, owner, lasts_s):
    """Let a process work on the first sample of a file."""
    lease = "update samples set state = 'leased', owner = ?, lease_until = ?, output_id = null where id = 1"
    lab.store.write(lambda c: c.execute(lease, (owner, time.time() + lasts_s))).result()
    lab.store.write(lambda c: c.execute("delete from outputs where sample_id = 1")).result()
    sent = "update attempts set state = 'sent', response = null where id = 1"
    lab.store.write(lambda c: c.execute(sent)).result()
    lab.store.write(lambda c: c.execute("update runs set status = 'running', finished_at = null where id = 1")).result()
    lab.close()


DEAD = f"{platform.node()}:4194303:a"


def test_what_a_dead_process_left_open_comes_in_as_unknown(lab_at):
    """Its sample is to be asked again, its attempt may have been billed, its run stopped."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(theirs, 2)
    leased(theirs, DEAD, 60)
    ours.merge(theirs.path)
    frame = ours.load(1).frame()
    assert list(frame["status"]) == ["todo", "ok"]
    assert (ours.load(1).status, ours.load(1).reason) == ("stopped", "it was running when it was merged")
    assert ours.load(1).usage.unknown == 1
    assert ours.check().problems == []


def test_their_answer_settles_what_a_dead_process_left_open_here(lab_at):
    """The attempt of ours becomes unknown, and its sample has their answer."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours, 2)
    leased(ours, DEAD, 60)
    ran(theirs, 2)
    assert ours.merge(theirs.path).answered == 1
    assert ours.load(1).outputs == ["theirs q0", "ours q1"]
    assert (ours.load(1).usage.unknown, ours.check().problems) == (1, [])


def test_what_a_living_process_works_on_here_is_left_to_it(lab_at):
    """Its answer will be ours; their run shows theirs meanwhile."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours, 2)
    leased(ours, "another-machine:1:a", 60)
    ran(theirs, 2)
    assert ours.merge(theirs.path).answered == 0
    assert (list(ours.load(1).frame()["status"]), ours.load(2).outputs) == (
        ["running", "ok"],
        ["theirs q0", "theirs q1"],
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda lab: leased(lab, "another-machine:1:a", 60),
            r"is being answered right now \(1 request\); merge it when its run has ended$",
            id="live",
        ),
        pytest.param(
            lambda lab: lab.store.write(lambda c: c.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")).result(),
            r"was written by a newer promptlab .*; upgrade to write to it, and to merge it$",
            id="newer",
        ),
        pytest.param(lambda lab: (lab.close(), lab.path.unlink()), "does not exist; name the file", id="missing"),
        pytest.param(lambda lab: (lab.close(), lab.path.write_text("x")), "not a promptlab file", id="foreign"),
    ],
)
def test_a_file_that_cannot_be_merged_is_refused(lab_at, spoil, message):
    """One sentence says why, and this file stays as it is."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours)
    ran(theirs)
    spoil(theirs)
    before = dump(ours.path)
    with pytest.raises(StoreError, match=message):
        ours.merge(theirs.path)
    assert dump(ours.path) == before


def test_our_own_file_is_refused(lab_at):
    """Under whatever name."""
    ours = lab_at("ours")
    ran(ours)
    link = ours.path.with_name("link.db")
    link.symlink_to(ours.path)
    for path in (ours.path, str(ours.path), link):
        with pytest.raises(StoreError, match=r"is this lab's own file; name the other one$"):
            ours.merge(path)


def test_a_merge_that_fails_leaves_nothing(lab_at):
    """When the last row cannot be written the first ones are not there either, and it can be tried again."""
    ours, theirs = lab_at("ours"), lab_at("theirs")
    ran(ours)
    ran(theirs, 5)
    stop = (
        "create trigger users_own before insert on trials when new.position = 4 begin select raise(abort, 'full'); end"
    )
    ours.store.write(lambda c: c.execute(stop)).result()
    before = dump(ours.path)
    with pytest.raises(StoreError, match="full"):
        ours.merge(theirs.path)
    assert dump(ours.path) == before
    ours.store.write(lambda c: c.execute("drop trigger users_own")).result()
    assert ours.merge(theirs.path).counts["trials"] == 5


@pytest.mark.parametrize("seed", range(10))
def test_whatever_two_files_hold_every_run_shows_what_it_showed(lab_at, seed):
    """Random runs of two labs, merged both ways: answered trials never change, and both files come to agree."""
    chance, labs = random.Random(seed), []
    for name in ("one", "two"):
        refused = {f"{word}{number}" for word in "qw" for number in range(6) if chance.random() < 0.3}
        labs.append(lab_at(name, refused=refused))
        for number in range(3):
            ran(
                labs[-1],
                chance.randint(1, 6),
                repeats=chance.randint(1, 2),
                word=chance.choice("qw"),
                generation=chance.randint(0, 1),
                name=f"{name} {number}",
            )
    before = {run: shown(lab, run) for lab in labs for run in lab.runs()["name"]}
    one, two = labs
    one.merge(two.path)
    two.merge(one.path)
    assert repr(one.merge(two.path)) == f"<Merged {two.path}: nothing that was not here>"
    for lab in labs:
        assert (lab.check().problems, sorted(lab.runs()["name"])) == ([], sorted(before))
        for run, frame in before.items():
            answered = frame["status"] == "ok"
            pd.testing.assert_frame_equal(shown(lab, run)[answered], frame[answered])
    assert one.sql("select count(*) as n from outputs")["n"][0] == two.sql("select count(*) as n from outputs")["n"][0]


def test_remarks_on_a_run_of_both_files_come_together(lab_at):
    """It gets the tags of both, their note where ours says nothing, keeps our archive mark, and once is enough."""
    ours = lab_at("ours")
    for name in ("noted", "bare"):
        ran(ours, 1, name=name)
    theirs_path = ours.path.parent.parent / "theirs" / "lab.db"
    theirs_path.parent.mkdir()
    ours.backup(theirs_path)
    ours.load("noted").tag("b", "a").note = "ours"
    theirs = lab_at("theirs")
    for name in ("noted", "bare"):
        theirs.load(name).tag("c", "b").archive().note = "theirs"
    done = ours.merge(theirs.path)
    assert repr(done) == f"<Merged {theirs.path}: tags or notes of 2 runs>"
    assert [(run.tags, run.note, run.is_archived) for run in map(ours.load, ("noted", "bare"))] == [
        (("b", "a", "c"), "ours", False),
        (("c", "b"), "theirs", False),
    ]
    before = dump(ours.path)
    assert repr(ours.merge(theirs.path)) == f"<Merged {theirs.path}: nothing that was not here>"
    assert dump(ours.path) == before
