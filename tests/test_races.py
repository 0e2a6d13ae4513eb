"""Races over real runs: what is asked and what is not, going on after an end of any kind, failures, the cap, words."""

import os
import random
import signal

import pytest

from promptlab import Lab, ParameterGrid, PlanError, Price, PromptTemplate, ScoreError, exact_match
from promptlab.testing import ScriptedBackend, error_reply
from test_readme import ROOT, run_script, script

RATES = {"good": 0.9, "fair": 0.5, "poor": 0.4, "bad": 0.2}
TEMPLATES = [PromptTemplate(name, system=name, user="{{ question }}") for name in RATES]
CASES = [{"question": f"question {place}", "answer": "yes"} for place in range(100)]
RIGHT = exact_match("answer")
DEAR = Price(prompt=1000.0, completion=2000.0)  # USD a million tokens, so that a few answers cost cents


def answer(body, rates=RATES):
    """Answer rightly as often as the system message's name says, and the same each time."""
    system, question = (message["content"] for message in body["messages"])
    return "yes" if random.Random(f"{system} {question}").random() < rates[system] else "no"


@pytest.fixture
def lab_of(tmp_path):
    """A function that opens a lab on one file, with a script or a backend; all are closed at the end."""
    labs = []

    def lab_of(script=answer, *, path="lab.db", **options):
        labs.append(Lab(tmp_path / path, backend=ScriptedBackend(script), **options))
        return labs[-1]

    yield lab_of
    for lab in labs:
        lab.close()


def raced(lab, templates=TEMPLATES, cases=CASES, **options):
    """Return a race by right answers, over one setting."""
    return lab.race(
        templates, {"model": "m", "max_tokens": 8}, cases, **{"metric": RIGHT, "progress": False, **options}
    )


def stands(race):
    """Return what tells two races apart: everything in the table but what is measured on a clock."""
    return race.table.to_dict("records"), race.verdict


def test_a_race_asks_only_what_decides(lab_of):
    """The best is found, exactly what is counted was sent, and every trial is in the run with what became of it."""
    lab = lab_of()
    race = raced(lab)
    frame = race.run.frame()
    assert (race.winner, race.is_over, race.run.status) == ("good", True, "done")
    assert [(each.candidate, each.status, each.cases, each.requests) for each in race.standings] == [
        ("good", "winner", 24, 24),
        ("poor", "dropped", 24, 24),
        ("fair", "dropped", 16, 16),
        ("bad", "dropped", 16, 16),
    ]
    assert (len(lab.backend.requests), race.requests, race.full_requests, race.saved) == (80, 80, 400, 0.8)
    assert frame["status"].value_counts().to_dict() == {"ok": 80, "stopped": 320}
    assert frame["error"].dropna().value_counts().to_dict() == {
        "dropped by the race after 16 cases: beaten by good": 168,
        "dropped by the race after 24 cases: beaten by good": 76,
        "not needed: the race was decided after 24 cases": 76,
    }


def test_less_is_better_of_costs(lab_of):
    """A race by tokens is won by the shorter answer unless told otherwise."""
    lab = lab_of(lambda body: "yes" * (40 if body["messages"][0]["content"] == "good" else 1))
    assert raced(lab, TEMPLATES[:2], metric="completion_tokens").winner == "fair"
    assert raced(lab, TEMPLATES[:2], metric="completion_tokens", lower_is_better=False, name="long").winner == "good"


def test_a_race_without_an_answer_ends(lab_of):
    """Where every trial fails nobody is dropped or claimed, and the end is told."""
    race = raced(lab_of(lambda _: error_reply(400, "no")), cases=CASES[:10])
    assert (race.winner, race.table["missing"].tolist()) == (None, [10] * 4)


def test_the_mean_is_of_the_cases_played(lab_of):
    """Each candidate's mean and Wilson interval are those of its own answers, in the cases' random order."""
    race = raced(lab_of())
    frame = race.run.frame()
    played = frame[frame["status"] == "ok"]
    assert race.table.set_index("candidate")["mean"].to_dict() == pytest.approx(
        played.groupby("template")["exact_match"].mean().to_dict()
    )
    first = played[played["template"] == "bad"]["case"]
    assert (len(first), sorted(first) == list(range(16))) == (16, False)


def test_blocks_are_sent_one_after_the_other(lab_of):
    """The first block is asked of all candidates before anything of the second; another seed draws other cases."""
    lab = lab_of()
    raced(lab)
    questions = [{request.text.split("\n")[-1] for request in lab.backend.requests[at : at + 32]} for at in (0, 32)]
    assert ([len(block) for block in questions], questions[0] & questions[1]) == ([8, 8], set())
    other = lab_of(path="other.db")
    raced(other, seed=1)
    assert {request.text.split("\n")[-1] for request in other.backend.requests[:32]} != questions[0]


def test_the_same_race_asks_nothing_and_ends_the_same(lab_of):
    """A finished race is handed back from the file, which stays byte for byte as it was."""
    lab = lab_of()
    race = raced(lab)
    lab.close()
    before, again = lab.path.read_bytes(), lab_of()
    assert stands(raced(again)) == stands(race)
    again.close()
    assert (again.backend.requests, lab.path.read_bytes() == before) == ([], True)


def test_an_interrupted_race_goes_on(lab_of):
    """Ctrl-C stops it cleanly; the same call then asks for the rest, and it ends as if nothing had happened."""
    asked = []

    def interrupted(body):
        asked.append(body)
        if len(asked) == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(body)

    lab = lab_of(interrupted)
    with pytest.raises(KeyboardInterrupt):
        raced(lab, concurrency=1)
    assert (lab.last_run.status, 40 <= len(asked) < 80) == ("stopped", True)
    whole = raced(lab_of(path="whole.db"))
    assert stands(raced(lab)) == stands(whole)
    assert len(asked) == 80


def test_a_stopped_race_says_what_is_open(lab_of):
    """It tells how far it came and who is still in it, and claims nothing."""
    lab = lab_of(lambda body: (lab.last_run.stop() if len(lab.backend.requests) == 70 else None) or answer(body))
    race = raced(lab, concurrency=1)
    assert (race.winner, race.is_over, race.run.status, race.after) == (None, False, "stopped", 16)
    assert [(each.candidate, each.status) for each in race.standings] == [
        ("good", "open"),
        ("poor", "open"),
        ("fair", "dropped"),
        ("bad", "dropped"),
    ]
    assert race.requests == len(lab.backend.requests)
    assert race.verdict.startswith("The race stopped after 16 of 100 cases (stopped by its user). Still open, by")


def test_what_the_file_holds_is_not_asked(lab_of):
    """A race over a sweep that was asked before sends nothing, and counts as if it had."""
    lab = lab_of()
    lab.run(TEMPLATES, {"model": "m", "max_tokens": 8}, cases=CASES, name="all of it", progress=False)
    race = raced(lab)
    assert (len(lab.backend.requests), race.run.usage.attempts) == (400, 0)
    assert (race.winner, race.requests, race.saved) == ("good", 80, 0.8)
    assert (race.run.frame()["status"] == "ok").all()


def test_the_rest_can_be_asked_later(lab_of):
    """The race's plan, run under its name, is the same run: it asks for what the race left out, and no more."""
    lab = lab_of()
    race = raced(lab)
    plan = lab.plan(TEMPLATES, {"model": "m", "max_tokens": 8}, cases=CASES)
    whole = lab.run(plan, name=race.run.name, progress=False)
    assert (whole.id, len(lab.backend.requests), whole.status) == (race.run.id, 400, "done")
    assert (whole.frame()["status"] == "ok").all()
    assert raced(lab).table["cases"].tolist() == [24, 24, 16, 16]


def test_the_cap_holds_and_a_higher_one_goes_on(tmp_path, fault_server):
    """Over HTTP: the server never bills more than the cap; the race says what is open, and goes on with more."""
    fault_server.set(latency_ms=2, default="mix:0.05=500;rest=ok")
    options = {"metric": "completion_tokens", "lower_is_better": True, "progress": False, "concurrency": 8, "block": 4}
    grid = ParameterGrid(model="m", max_tokens=[4, 40])
    with Lab(tmp_path / "lab.db", base_url=fault_server.base_url, api_key="sk-test", prices={"m": DEAR}) as lab:
        race = lab.race(TEMPLATES[0], grid, CASES[:24], max_cost_usd=0.5, **options)
        spent = race.run.cost_usd
        assert (race.is_over, race.winner, race.run.status) == (False, None, "stopped")
        assert "max_cost_usd=0.5 is reached" in race.verdict
        assert 0 < spent <= 0.5
        whole = lab.race(TEMPLATES[0], grid, CASES[:24], max_cost_usd=50, **options)
        assert (whole.run.id, whole.is_over, whole.run.status) == (race.run.id, True, "done")
        answered = [entry for entry in fault_server.ledger() if entry["status"] == 200]
        assert len(answered) == whole.requests == (whole.run.frame()["status"] == "ok").sum()


def test_failed_trials_are_counted_and_their_pairs_left_out(lab_of):
    """A candidate that fails on some cases races on the others; the table and the verdict say how many failed."""

    def failing(body):
        place = int(body["messages"][1]["content"].split()[-1])
        is_refused = body["messages"][0]["content"] == "good" and place % 4 == 0
        return error_reply(400, "refused") if is_refused else answer(body)

    race = raced(lab_of(failing))
    missing = race.table.set_index("candidate")["missing"]
    failed = (race.run.frame()["status"] == "failed").sum()
    assert (race.winner, missing["good"] > 5, missing.sum()) == ("good", True, failed)
    assert f"{failed} trials without a score; pairs that lack a side were left out." in race.verdict


def test_a_candidate_without_a_score_is_dropped(lab_of):
    """What fails on every case of the first block is out, and is not said to be beaten."""

    def refusing(body):
        return error_reply(400, "refused") if body["messages"][0]["content"] == "poor" else answer(body)

    race = raced(lab_of(refusing))
    row = race.table.set_index("candidate").loc["poor"]
    reason = "dropped by the race after 8 cases: none of them has a score"
    assert (row["cases"], row["missing"], row["reason"]) == (8, 8, reason)
    assert "1 candidate dropped without a single score; run.errors tells why." in race.verdict


def test_equals_cannot_be_told_apart(lab_of):
    """Where none is better, all is asked, no winner is named, and the verdict says so."""
    lab = lab_of("yes")
    race = raced(lab, cases=CASES[:20])
    assert (race.winner, race.saved, len(lab.backend.requests)) == (None, 0.0, 80)
    assert set(race.table["status"]) == {"tied"}
    assert race.verdict.startswith(
        "4 candidates cannot be told apart by exact_match after all 20 cases: good (1), fair"
    )


def test_what_does_not_matter_is_not_claimed(lab_of):
    """With a `difference` the one that is left is not said to have beaten those that may be as good."""

    def mostly(body):
        return "no" if body["messages"][1]["content"].endswith("7") else "yes"

    race = raced(lab_of(mostly), difference=0.2)
    assert (race.winner, race.table["cases"].tolist()) == ("good", [32, 32, 32, 32])
    assert "beaten" not in race.verdict
    assert "Dropped since not better by 0.2, which may mean as good or better by less: fair, poor, bad." in race.verdict


def test_settings_and_repeats_race(lab_of):
    """Candidates are templates in settings; the mean over repeats is one score of a case."""

    def warm(body):
        is_bad = body["temperature"] == 1 and body["messages"][0]["content"] == "good"
        return "no" if is_bad else answer(body)

    lab = lab_of(warm)
    grid = ParameterGrid(model="m", temperature=[0, 1], max_tokens=8)
    race = lab.race(TEMPLATES[:2], grid, CASES, metric=RIGHT, repeats=2, progress=False)
    first = race.standings[0]
    assert (race.winner, first.settings) == (
        "good, temperature=0",
        {"template": "good", "version": 1, "temperature": 0},
    )
    assert (first.requests, len(lab.backend.requests)) == (2 * first.cases, race.requests)
    assert race.table["temperature"].tolist()[0] == 0


def test_candidates_that_share_requests_share_their_fate(lab_of):
    """Two templates that render to the same requests are asked once, and one is not left out through the other."""
    twins = [PromptTemplate("one", system="good", user="{{ question }}"), TEMPLATES[3]]
    twins.append(PromptTemplate("two", system="good", user="{{question}}"))
    lab = lab_of()
    race = raced(lab, twins, CASES[:40])
    assert race.table["status"].tolist() == ["tied", "tied", "dropped"]
    needed = 40 + race.standings[2].cases
    assert (len(lab.backend.requests), race.requests, race.full_requests) == (needed, needed, 80)


def test_a_function_is_a_metric(lab_of):
    """Anything that `run.score` takes decides a race; its scores are columns of the run."""

    def wrong(output, _):
        return output == "no"

    race = raced(lab_of(), metric=wrong, lower_is_better=True)
    assert race.winner == "good"


def test_labels_are_refused(lab_of):
    """A scorer that gives no number ends the race at once, with what to do."""

    def said(output, _):
        return f"said {output}"

    lab = lab_of()
    with pytest.raises(ScoreError, match="gives labels, and a race needs numbers"):
        raced(lab, metric=said)
    assert (len(lab.backend.requests), lab.last_run.status) == (32, "failed")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"metric": "cost"}, "metric='cost': did you mean 'cost_usd'? give a scorer", id="metric"),
        pytest.param({"metric": 3}, "metric=3: give a scorer", id="no metric"),
        pytest.param({"block": 0}, "block=0: a whole number of cases from 1 is needed", id="block"),
        pytest.param({"confidence": 95}, "confidence=95: a number from 0.5 to below 1 is needed", id="confidence"),
        pytest.param({"difference": -1}, "difference=-1: a number from 0 is needed", id="difference"),
        pytest.param({"seed": 1.5}, "seed=1.5: a whole number is needed", id="seed"),
        pytest.param({"templates": TEMPLATES[:1]}, "a race needs at least two candidates", id="one candidate"),
        pytest.param({"metric": exact_match("anser")}, "no column 'anser'; did you mean 'answer'?", id="column"),
    ],
)
def test_a_bad_race_is_refused(lab_of, options, problem):
    """What is wrong is told with the value, before anything is written or sent."""
    lab = lab_of()
    with pytest.raises((PlanError, ScoreError)) as caught:
        raced(lab, **options)
    assert problem in str(caught.value)
    assert (lab.backend.requests, len(lab.runs())) == ([], 0)


def test_what_a_race_shows_is_text(lab_of):
    """Names that look like HTML stay text in the rich form, and the plain one tells the same."""
    odd = PromptTemplate("<b>bold</b>", system="bad", user="{{ question }}")
    race = raced(lab_of(), [TEMPLATES[0], odd])
    shown = race._repr_html_()
    assert ("<b>bold" in shown, "&lt;b&gt;bold" in shown) == (False, True)
    assert repr(race).startswith("<Race 1 'race: good or <b>bold</b>'>\ncandidate    status   cases  mean [interval]")
    assert race.run.note == "race by exact_match: 0.95 confidence, blocks of 8"


def test_the_examples_of_the_page_run(tmp_path):
    """Every Python block of docs/race.md runs, in order, as a user would paste it."""
    done = run_script(script((ROOT / "docs" / "race.md").read_text(encoding="utf-8")), tmp_path)
    assert done.returncode == 0, done.stderr
