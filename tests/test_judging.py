"""Rating sessions in a file: planned before they are shown, resumed, undone, finished, told."""

import json
import threading
from collections import Counter

import pytest

from judgements import counts
from promptlab import Lab, ParameterGrid, PromptTemplate, judging, preferences, stats
from promptlab.errors import RatingError, ReadOnlyError
from promptlab.testing import ScriptedBackend, error_reply, sample_lab

A, B = {"template": "terse"}, {"template": "chatty"}
CALL = {"a": A, "b": B, "by": None, "n": 100, "criterion": "shorter", "seed": 0, "tied": "identical"}


@pytest.fixture
def lab(tmp_path):
    """The sample lab: 2 templates x 2 temperatures x 4 cases, of which one has no answer."""
    with sample_lab(tmp_path / "sample.db") as lab:
        yield lab


def capitals(cases, *, same=(), refused=()):
    """Return a backend that says a word or a sentence (the same word for some countries), templates and cases."""

    def answer(body):
        system, country = (message["content"] for message in body["messages"])
        if country in refused:
            return error_reply(400, "no")
        return country if system == "One word." or country in same else f"It is {country}."

    templates = [PromptTemplate(name, system=f"{text}.", user="{{ country }}") for name, text in TEMPLATES.items()]
    return ScriptedBackend(answer), templates, [{"country": f"C{number}"} for number in range(cases)]


TEMPLATES = {"terse": "One word", "chatty": "A sentence"}


@pytest.fixture
def large(tmp_path):
    """A lab with 40 cases answered by two templates; every fourth answer is the same on both sides."""
    backend, templates, cases = capitals(40, same={f"C{number}" for number in range(0, 40, 4)})
    with Lab(tmp_path / "large.db", backend=backend) as lab:
        lab.run(templates, ParameterGrid(model="m", max_tokens=9), cases=cases, name="large", progress=False)
        yield lab


def opened(lab, name="capitals", **changes):
    """Open the session of a call."""
    return judging.opened(lab.store, lab.load(name)._row, **{**CALL, **changes})


def judge_all(session, rater="me", *, ms=2_000):
    """Prefer the shorter text everywhere."""
    while placed := session.next(rater):
        shown = session.shown(placed, [])
        lengths = len(shown.left), len(shown.right)
        choice = "left" if lengths[0] < lengths[1] else "right" if lengths[0] > lengths[1] else "tie"
        session.vote(rater, placed.id, choice, ms=ms)


def texts(session, placed):
    """Return the two texts of a pairing as the file has them."""
    return session.texts(placed.pairing)


def test_pairings_are_stored_before_one_is_shown(large):
    """Opening a session writes its description and every pairing, and ties what is the same on both sides."""
    session = opened(large, "large", n=40)
    rows = large.sql("select * from pairings order by position")
    assert rows["position"].tolist() == list(range(43))
    assert set(rows["session"]) == {session.id}
    assert set(rows["seed"]) == {0}
    assert [json.loads(key)["variants"] for key in rows["item_key"]].count([0, 1]) in {21, 22}
    ties = large.sql("select rater, choice, pairing_id from votes")
    assert set(zip(ties["rater"], ties["choice"], strict=True)) == {("identical", "tie")}
    assert ties["pairing_id"].tolist() == rows["id"].tolist()[33:]
    spec = json.loads(large.sql("select spec from views where name = ?", [f"judge:{session.id}"])["spec"][0])
    run = large.load("large")._row.uid
    secret = spec.pop("secret")
    assert spec == {
        "run": run,
        "variants": [A, B],
        "n": 40,
        "criterion": "shorter",
        "seed": 0,
        "tied": "identical",
        "mirrored": 0.1,
        "possible": 40,
        "missing": 0,
    }
    assert len(bytes.fromhex(secret)) == 16


def test_sides_are_balanced_in_the_file(large):
    """Each variant stands on the left as often as the other among all that is asked, mirrors included, or once more."""
    session = opened(large, "large", n=40)
    lefts = Counter(placed.pairing.left for placed in session.asked)
    assert lefts.total() == 33
    assert abs(lefts[0] - lefts[1]) == 1
    by_id = {row.id: row.text for row in large.sql("select id, text from outputs").itertuples()}
    for placed in session.asked:
        pairing = placed.pairing
        is_chatty = [by_id[output].startswith("It is") for output in (pairing.left_id, pairing.right_id)]
        assert is_chatty == [pairing.left == 1, pairing.right == 1]


def test_the_same_call_is_the_same_session(large):
    """Asked for again, in the same or another process, a session is the one that is there; nothing is written."""
    session = opened(large, "large", n=10)
    before = counts_of(large)
    assert opened(large, "large", n=10).id == session.id
    with Lab(large.path, offline=True) as other:
        again = opened(other, "large", n=10)
    assert (again.id, again.placed) == (session.id, session.placed)
    assert counts_of(large) == before


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"n": 5}, {"criterion": "clearer"}, {"tied": "whitespace"}, {"a": B, "b": A}]
)
def test_another_call_is_another_session(large, change):
    """Whatever changes what is asked begins a new session."""
    assert opened(large, "large", **change).id != opened(large, "large").id


def counts_of(lab):
    """Return how many rows the tables of a session have."""
    with lab.store.snapshot() as connection:
        return counts(connection, "pairings", "votes", "views")


def test_a_session_goes_on_where_it_stopped(large):
    """After a restart the first pairing without a vote is next, and nothing that was judged comes again."""
    session = opened(large, "large", n=10)
    for choice in ("left", "tie", "skip"):
        session.vote("me", session.next("me").id, choice)
    large.close()
    with Lab(large.path, offline=True) as other:
        again = opened(other, "large", n=10)
        assert again.next("me").position == 3
        assert [vote.choice for vote in again.votes("me") if vote.rater == "me"] == ["left", "tie", "skip"]
        assert (again.progress("me").done, again.progress("me").total) == (3, len(again.asked))


def test_what_is_answered_later_does_not_change_a_session(tmp_path):
    """A session stays as it was planned when its run gets more answers; a new one draws from them too."""
    backend, templates, cases = capitals(5, refused=(refused := {"C1", "C2"}))
    with Lab(tmp_path / "later.db", backend=backend) as lab:
        plan = lab.plan(templates, {"model": "m"}, cases=cases)
        run = lab.run(plan, name="later", progress=False)
        session = opened(lab, "later")
        refused.clear()
        assert lab.run(plan, name="later", progress=False, retry_failed=True).id == run.id
        assert opened(lab, "later").placed == session.placed
        assert (session.spec["possible"], opened(lab, "later", seed=1).spec["possible"]) == (3, 5)


def test_two_that_open_a_session_at_once_share_it(large):
    """Threads that ask for the same session get one."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(opened(large, "large", n=12).id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert large.sql("select count(*) as n from views")["n"][0] == 1


def test_votes_cast_at_once_are_all_kept(large):
    """Four raters on four threads vote on the whole session at once; none of their votes is lost."""
    session = opened(large, "large", n=20)
    raters = ["one", "two", "three", "four"]
    threads = [threading.Thread(target=judge_all, args=(session, rater)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    number = len(session.asked)
    stored = large.sql("select rater, count(distinct pairing_id) as n from votes group by rater").set_index("rater")[
        "n"
    ]
    assert {rater: stored[rater] for rater in raters} == dict.fromkeys(raters, number)


def test_a_vote_keeps_all_that_was_said(lab):
    """Choice, strength, reasons, note, whether differences were marked, and the time come back."""
    session = opened(lab)
    placed = session.next("me")
    session.vote(
        "me", placed.id, "right", strength=2, reasons=["facts"], note="a\ud800b", saw_differences=True, ms=7, now_s=0
    )
    (vote,) = session.votes("me")
    assert (vote.choice, vote.strength, vote.reasons, vote.saw_differences, vote.ms) == (
        "right",
        2,
        ("facts",),
        True,
        7,
    )
    assert (vote.note, vote.created_at, vote.preferred) == (
        "a\ufffdb",
        "1970-01-01T00:00:00.000Z",
        placed.pairing.right,
    )


def test_a_vote_sent_again_is_one_vote(lab):
    """A panel that heard no answer sends its vote again; that changes nothing."""
    session = opened(lab)
    placed = session.next("me")
    for _ in range(3):
        session.vote("me", placed.id, "left", ms=5)
    assert lab.sql("select count(*) as n from votes")["n"][0] == 1


def test_another_vote_on_the_same_pairing_replaces_the_first(lab):
    """The last word counts; the one before stays in the file, marked by it."""
    session = opened(lab)
    placed = session.next("me")
    session.vote("me", placed.id, "left")
    session.vote("me", placed.id, "right")
    assert [vote.choice for vote in session.votes("me")] == ["right"]
    assert lab.sql("select choice, undone_by from votes order by id").to_numpy().tolist()[0] == ["left", 2.0]


def test_undo_goes_all_the_way_back(lab):
    """Votes are taken back one by one, the last first, and their pairings come again in order; no row goes."""
    session = opened(lab)
    judge_all(session)
    number = len(session.asked)
    undone = [session.undo("me").position for _ in range(number)]
    assert undone == list(range(number))[::-1]
    assert session.undo("me") is None
    assert session.next("me").position == 0
    assert session.votes("me") == []
    judge_all(session)
    assert session.progress("me").done == number
    rows = lab.sql("select choice, undone_by is null as stands, undone_by is id as is_undo from votes")
    assert len(rows) == 3 * number
    assert (rows["stands"].sum(), rows["is_undo"].sum()) == (number, number)


def test_undo_takes_back_every_vote_that_a_merge_left_standing(large):
    """Where one rater voted on a pairing in two files, one undo after merging brings the pairing back."""
    session = opened(large, "large", n=10)
    there = large.backup(large.path.with_name("there.db"))
    placed = session.next("me")
    session.vote("me", placed.id, "left")
    with Lab(there, offline=True) as other:
        opened(other, "large", n=10).vote("me", placed.id, "right")
    large.merge(there)
    assert large.sql("select count(*) as n from votes where rater = 'me' and undone_by is null")["n"][0] == 2
    assert session.progress("me").done == 1
    assert session.undo("me").choice == "right"
    assert (session.votes("me"), session.next("me")) == (tied_without_asking(session), placed)
    assert session.undo("me") is None
    rows = large.sql(
        "select choice, undone_by is id as is_undo, undone_by is null as stands from votes where rater = 'me'"
    )
    assert rows.to_numpy().tolist() == [["left", 0, 0], ["right", 0, 0], ["skip", 1, 0]]


def tied_without_asking(session):
    """Return the votes that every rater of a session has."""
    return session.votes("nobody")


def test_raters_vote_each_for_themselves(lab):
    """Two raters share the pairings and neither sees or undoes the other's votes."""
    session = opened(lab)
    judge_all(session, "ann")
    assert session.next("bob").position == 0
    assert session.undo("bob") is None
    assert session.progress("ann").done == len(session.asked)


@pytest.mark.parametrize(
    ("vote", "message"),
    [
        pytest.param({"choice": "rihgt"}, "'rihgt' is no vote; say left, right, .*did you mean 'right'", id="choice"),
        pytest.param({"choice": ["left"]}, r"\['left'\] is no vote", id="choice-list"),
        pytest.param({"choice": "left", "strength": 3}, "strength=3: 1 is better", id="strength"),
        pytest.param({"choice": "left", "strength": True}, "strength=True: 1 is better", id="strength-bool"),
        pytest.param({"choice": "left", "strength": "2"}, "strength='2': 1 is better", id="strength-text"),
        pytest.param({"choice": "left", "reasons": "tone"}, "reasons='tone': a list of at most 20", id="letters"),
        pytest.param({"choice": "left", "reasons": [5]}, r"reasons=\[5\]: a list of at most 20", id="reason-number"),
        pytest.param({"choice": "left", "reasons": [""]}, r"reasons=\[''\]: a list of at most", id="reason-empty"),
        pytest.param({"choice": "left", "reasons": ["x" * 101]}, "texts of 1 to 100 characters", id="reason-long"),
        pytest.param({"choice": "left", "reasons": ["x"] * 21}, "a list of at most 20 texts", id="reasons-many"),
        pytest.param({"choice": "left", "reasons": None}, "reasons=None: a list of at most", id="reasons-none"),
        pytest.param({"choice": "left", "note": 5}, "a note is a text of at most 10,000", id="note-number"),
        pytest.param({"choice": "left", "note": "x" * 10_001}, "a text of at most 10,000 characters", id="note-long"),
        pytest.param({"choice": "left", "ms": -5}, "ms=-5: whole milliseconds, or None", id="time-negative"),
        pytest.param({"choice": "left", "ms": 1.5}, "ms=1.5: whole milliseconds, or None", id="time-fraction"),
        pytest.param({"choice": "left", "ms": "x"}, "ms='x': whole milliseconds, or None", id="time-text"),
        pytest.param({"choice": "left", "ms": True}, "ms=True: whole milliseconds, or None", id="time-bool"),
        pytest.param({"choice": "left", "ms": 2**63}, "whole milliseconds, or None", id="time-huge"),
        pytest.param({"choice": "left", "saw_differences": 1}, "saw_differences=1: True or False", id="differences"),
        pytest.param({"choice": "left", "pairing_id": 999}, "pairing 999 is not asked in this session", id="pairing"),
    ],
)
def test_what_is_no_vote_is_refused(lab, vote, message):
    """A bad vote is one clear error, and nothing is stored."""
    session = opened(lab)
    with pytest.raises(RatingError, match=message):
        session.vote(**{"rater": "me", "pairing_id": session.asked[0].id, **vote})
    assert session.votes("me") == []


def test_a_finished_session_takes_no_vote_and_no_undo(lab):
    """Once the variants are known nothing can be changed, by nobody but another rater."""
    session = opened(lab)
    placed = session.next("me")
    session.vote("me", placed.id, "left")
    session.finish("me")
    session.finish("me")
    with pytest.raises(RatingError, match="this session is finished and its variants are known; another seed="):
        session.vote("me", session.next("me").id, "left")
    with pytest.raises(RatingError, match="this session is finished"):
        session.undo("me")
    session.vote("other", placed.id, "right")
    assert (session.is_finished("me"), session.is_finished("other")) == (True, False)
    assert lab.sql("select count(*) as n from views where name like '%:finished'")["n"][0] == 1


@pytest.mark.parametrize("told", ["verdict", "frame"])
def test_nothing_is_told_before_the_end(lab, told):
    """Whatever would tell the variants apart is refused until the session is finished."""
    session = opened(lab)
    judge_all(session)
    number = len(session.asked)
    with pytest.raises(
        RatingError, match=rf"blind until it is finished: {number} of {number} judged; judge.finish\(\)"
    ):
        getattr(session, told)("me")


def test_what_a_rater_sees(lab):
    """The columns asked for, the two texts, and no system prompt, since the sides have different ones."""
    session = opened(lab)
    placed = session.asked[0]
    shown = session.shown(placed, ["country"])
    assert shown.inputs == (("country", lab.load("capitals").frame()["country"][placed.pairing.item.case]),)
    assert shown.system is None
    assert {shown.left, shown.right} == set(texts(session, placed))
    assert (shown.left, shown.right) == texts(session, placed)


def test_a_system_prompt_that_both_sides_share_is_shown(lab):
    """Of two temperatures of one template the system prompt tells nothing."""
    session = opened(lab, a={"template": "terse", "temperature": 0}, b={"template": "terse", "temperature": 1}, n=4)
    assert all(placed.pairing.is_identical for placed in session.placed)
    assert session.shown(session.placed[0], []).system == "Answer with one word."


def test_the_columns_that_prompts_use(lab):
    """What the prompts ask about is shown by default, the reference answer is not."""
    assert judging.inputs_used(lab.store, lab.load("capitals")._row) == ["country"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"n": 0}, "n=0: how many pairs", id="none"),
        pytest.param({"n": 2.5}, "n=2.5: how many pairs", id="half"),
        pytest.param({"n": 10**30}, "how many pairs to compare, from 1 to 1,000,000", id="huge"),
        pytest.param({"criterion": "x" * 10_001}, "a text of at most 10,000 characters", id="long"),
        pytest.param({"seed": "x", "criterion": None}, "criterion=None: .*; seed='x': a whole number", id="two"),
        pytest.param({"tied": "all"}, "tied='all': say 'identical' or 'whitespace'", id="tied"),
    ],
)
def test_a_bad_call_is_said_at_once(lab, changes, message):
    """All that is wrong is listed, and no session begins."""
    with pytest.raises(RatingError, match=message):
        opened(lab, **changes)
    assert counts_of(lab) == {"pairings": 0, "votes": 0, "views": 0}


def test_nothing_to_compare_is_said(tmp_path):
    """A run without a single answer has nothing to rate."""
    backend, templates, cases = capitals(2)
    with Lab(tmp_path / "none.db", backend=backend) as lab:
        run = lab.run(templates, {"model": "m"}, cases=cases, name="none", progress=False)
        lab.store.write(lambda connection: connection.execute("update outputs set text = null")).result()
        with pytest.raises(RatingError, match="no case was answered by both of two variants"):
            opened(lab, "none")
        assert run.status == "done"


def test_a_file_that_cannot_be_written_takes_no_session(lab):
    """Rating needs a place for votes; the error says so."""
    with Lab(lab.path, offline=True) as reader:
        reader.store.read_only_because = "it cannot be written here"
        with pytest.raises(ReadOnlyError, match="cannot be written"):
            opened(reader)


# What came out


def test_a_verdict_counts_what_was_voted(large):
    """Wins, ties, both bad, skips, identical pairs and mirrors, each as the module says."""
    session = opened(large, "large", n=40)
    judge_all(session)
    session.finish("me")
    verdict = session.verdict("me")
    assert (verdict.n, verdict.cases, verdict.identical, verdict.ties, verdict.both_bad) == (40, 40, 10, 0, 0)
    assert (verdict.sign_test.wins, verdict.sign_test.losses) == (30, 0)
    assert verdict.win_rate.estimate == (30 + 10 / 2) / 40
    assert (verdict.self_agreement.agreed, verdict.self_agreement.n) == (3, 3)
    assert (verdict.position_bias.left, verdict.position_bias.right) == (15, 15)
    assert verdict.median_s == 2.0
    assert verdict.table()[["variant", "wins", "ties", "losses", "n"]].to_numpy().tolist() == [
        ["terse", 30, 10, 0, 40],
        ["chatty", 0, 10, 30, 40],
    ]
    assert repr(verdict).splitlines() == [
        "<Verdict: terse wins 88 % (95 % interval 74 to 95) against chatty, ties counting half>",
        "sign test       30 to 0, p < 0.001",
        "counted         40 pairs on 40 cases, 10 tied without asking",
        "position bias   left preferred 50 % (95 % interval 33 to 67) of 30, p = 1",
        "self-agreement  3 of 3 that came back mirrored",
        "time            2.0 s a vote (median)",
    ]


def test_ties_both_bad_and_skips_count_as_they_are_said_to(lab):
    """A tie and both bad are half a win each, a skip is nothing."""
    session = opened(lab, n=6)
    for choice, placed in zip(["left", "tie", "bad", "skip", "skip", "skip"], session.asked, strict=False):
        session.vote("me", placed.id, choice, ms=1_000 if choice == "left" else None)
    session.finish("me")
    verdict = session.verdict("me")
    assert (verdict.n, verdict.ties, verdict.both_bad, verdict.skipped) == (3, 1, 1, 3)
    won = session.asked[0].pairing.left == 0
    assert verdict.win_rate.estimate == pytest.approx((2 if won else 1) / 3)
    assert verdict.median_s == 1.0


def test_a_pair_whose_first_showing_was_skipped_counts_by_its_second(large):
    """The first vote that is no skip counts, in the verdict and in the preferences; nothing is said of agreement."""
    session = opened(large, "large", n=40)
    mirrors = [placed for placed in session.asked if placed.is_mirror]
    firsts = [placed for placed in session.asked if not placed.is_mirror and is_again(placed, mirrors)]
    for placed in session.asked:
        session.vote("me", placed.id, "skip" if placed in firsts else "left" if placed.pairing.left == 0 else "right")
    session.finish("me")
    verdict = session.verdict("me")
    assert (len(mirrors), len(firsts), verdict.skipped) == (3, 3, 3)
    assert (verdict.n, verdict.sign_test.wins, verdict.sign_test.losses) == (40, 30, 0)
    assert [vote.position for vote in verdict.counted if vote.is_mirror] == [placed.position for placed in mirrors]
    assert verdict.self_agreement == stats.Agreement(0, 0, None)
    pairs, left_out = preferences.preferences(session, "me", prompt="chosen")
    assert (len(pairs), left_out) == (30, {"skipped": 3, "tied": 10})


def is_again(placed, mirrors):
    """Whether the same pair is among the mirrored ones."""
    return any(placed.pairing == mirror.pairing.mirrored() for mirror in mirrors)


def test_a_rater_who_always_takes_the_left_is_found_out(large):
    """Half of the wins go to each variant, the position bias is plain, and mirrored pairs contradict."""
    session = opened(large, "large", n=40)
    while placed := session.next("me"):
        session.vote("me", placed.id, "left")
    session.finish("me")
    verdict = session.verdict("me")
    assert (verdict.sign_test.wins, verdict.sign_test.losses) == (15, 15)
    assert verdict.position_bias.p < 1e-6
    assert (verdict.self_agreement.agreed, verdict.self_agreement.n) == (0, 3)


def test_nothing_voted_is_unknown_not_zero(lab):
    """A session that is finished at once says that nothing counts, and still has its columns."""
    session = opened(lab)
    session.finish("me")
    verdict = session.verdict("me")
    assert (verdict.win_rate, verdict.median_s, verdict.position_bias.rate) == (None, None, None)
    assert repr(verdict).startswith("<Verdict: no vote counts>")
    assert verdict.table()["win_rate"].isna().all()
    assert session.frame("me").empty
    assert "preferred" in session.frame("me")


def test_more_than_two_variants_are_ranked(tmp_path):
    """Bradley-Terry strengths put the shortest first; a variant that won everything is bounded and said to be."""
    texts_of = {"a": "x", "b": "xxx", "c": "xxxxx"}
    backend = ScriptedBackend(lambda body: texts_of[body["messages"][0]["content"]] + body["messages"][1]["content"])
    templates = [PromptTemplate(name, system=name, user="{{ q }}") for name in texts_of]
    with Lab(tmp_path / "three.db", backend=backend) as lab:
        cases = [{"q": f"q{number}"} for number in range(10)]
        lab.run(templates, {"model": "m"}, cases=cases, name="three", progress=False)
        session = opened(lab, "three", a=None, b=None, by="template", n=30)
        judge_all(session)
        session.finish("me")
        verdict = session.verdict("me")
        assert [strength.name for strength in verdict.ranking.strengths] == ["a", "b", "c"]
        assert verdict.ranking.is_bounded is False
        assert (verdict.win_rate, verdict.sign_test) == (None, None)
        assert repr(verdict).startswith("<Verdict: a > b > c>\nstrengths")
        assert "bounded by a prior" in repr(verdict)
        assert verdict.table()["wins"].tolist() == [20, 10, 0]


def test_the_frame_reveals_the_variants(large):
    """One row a standing vote, in the order asked, with both variants, the preferred one, and what was shared."""
    session = opened(large, "large", n=40)
    judge_all(session)
    session.finish("me")
    frame = session.frame("me")
    mine = frame[frame["rater"] == "me"]
    assert len(frame) == 43
    assert set(mine["preferred"]) == {"terse"}
    assert frame[frame["rater"] == "identical"]["preferred"].isna().all()
    assert (frame["position"].tolist(), frame["mirrored"].sum()) == (list(range(43)), 3)
    assert list(frame.columns) == [
        *("position", "left", "right", "choice", "preferred", "strength", "reasons", "note", "saw_differences"),
        *("seconds", "mirrored", "rater", "case", "repeat", "left_output_id", "right_output_id", "voted_at"),
    ]


def test_preferences_are_written_as_messages(large, tmp_path):
    """Chosen and rejected with the messages of the chosen one; ties, mirrors and the rest are left out and counted."""
    session = opened(large, "large", n=40)
    judge_all(session)
    session.finish("me")
    target = tmp_path / "preferences.jsonl"
    done = preferences.write(session, "me", target, prompt="chosen")
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert repr(done) == f"<Exported 30 pairs to {target}; left out: 3 mirrored, 10 tied>"
    assert len(lines) == 30
    country = lines[0]["prompt"][1]["content"]
    assert lines[0] == {
        "prompt": [{"role": "system", "content": "One word."}, {"role": "user", "content": country}],
        "chosen": [{"role": "assistant", "content": country}],
        "rejected": [{"role": "assistant", "content": f"It is {country}."}],
    }
    with pytest.raises(RatingError, match=r"preferences.jsonl exists; remove it or name another file"):
        preferences.write(session, "me", target, prompt="chosen")


def test_a_shared_prompt_leaves_out_what_differs(large, tmp_path):
    """With prompt="shared" only the messages that both answers have are written."""
    session = opened(large, "large", n=40)
    judge_all(session)
    session.finish("me")
    target = tmp_path / "shared.jsonl"
    preferences.write(session, "me", target, prompt="shared")
    first = json.loads(target.read_text(encoding="utf-8").splitlines()[0])
    assert [message["role"] for message in first["prompt"]] == ["user"]
    with pytest.raises(RatingError, match="prompt='both': say 'chosen'"):
        preferences.write(session, "me", tmp_path / "no.jsonl", prompt="both")


def test_merged_files_keep_their_votes(large, tmp_path):
    """A copy that was judged elsewhere brings its votes into the same session, undone ones undone."""
    copy = large.backup(tmp_path / "copy.db")
    session = opened(large, "large", n=10)
    with Lab(copy, offline=True) as other:
        theirs = opened(other, "large", n=10)
        judge_all(theirs, "ann")
        theirs.undo("ann")
        assert theirs.id == session.id
    large.merge(copy)
    merged = opened(large, "large", n=10)
    assert merged.progress("ann").done == len(merged.asked) - 1
    assert merged.progress("me").done == 0
    assert merged.next("ann").position == len(merged.asked) - 1


def test_a_forgotten_run_takes_its_sessions_along(large):
    """Pairings, votes and what describes the session go with the answers; a dry run says so, other views stay."""
    session = opened(large, "large", n=10)
    judge_all(session)
    session.finish("me")
    add = "insert into views (name, spec, created_at) values ('mine', '{}', '')"
    large.store.write(lambda connection: connection.execute(add)).result()
    announced = large.forget("large").counts
    assert (announced["pairings"], announced["views"]) == (len(session.placed), 2)
    assert large.forget("large", dry_run=False).counts == announced
    assert counts_of(large) == {"pairings": 0, "votes": 0, "views": 1}
