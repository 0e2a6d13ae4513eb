"""The monitor without a browser: what it tells, how often, what may be asked of it, and what a reader finds."""

import json
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import pytest

from promptlab import Lab, PromptTemplate, RetryPolicy
from promptlab.jobs import Progress
from promptlab.panels._panel import PACE_S, Follower
from promptlab.panels.monitor import Monitor
from promptlab.testing import ScriptedBackend, error_reply, sample_lab
from studies import ASK, cases, plan_of
from test_monitoring import ByHand, Live, Time, Workers
from test_runner import registered


@dataclass
class Obedient(Live):
    """A run that notes what it is told."""

    told: list[str] = field(default_factory=list)

    def pause(self):
        """Note it."""
        self.told.append("pause")

    def resume(self):
        """Note it."""
        self.told.append("resume")

    def stop(self):
        """Note it."""
        self.told.append("stop")

    def abort(self):
        """Note it."""
        self.told.append("abort")


class Heard(Monitor):
    """A monitor whose messages are kept instead of sent."""

    def send(self, content):
        """Keep it."""
        self.__dict__.setdefault("sent", []).append(json.loads(json.dumps(content)))


@pytest.fixture
def lab(tmp_path):
    """A lab for making plans and their rows."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        yield lab


@pytest.fixture
def sample(tmp_path):
    """The finished sample study."""
    with closing(sample_lab(tmp_path / "sample.db")) as lab:
        yield lab


def ask(monitor, op, **args):
    """Return what a browser gets for an operation."""
    answer = monitor.handle({"op": op, "re": 1, "args": args})
    assert answer.pop("re") == 1
    return json.loads(json.dumps(answer))


# What is told


@pytest.mark.parametrize(("number", "kind"), [(2_000, "squares"), (20_000, "heat")])
def test_the_first_message_is_enough_to_draw_and_small(lab, number, kind):
    """Status and map, whatever the size of the run."""
    plan = lab.plan(ASK, {"model": "m", "seed": list(range(200))}, cases=cases(number // 200))
    registered(lab.store, plan)
    first = Heard(lab.store, 1, Obedient()).first()
    assert (first["map"]["kind"], first["status"]["total"], first["number"]) == (kind, number, 0)
    assert (first["can_retry"], first["expression"]) == (False, "lab.load(1)")
    assert len(json.dumps(first)) < 30_000


def test_long_names_are_cut(lab):
    """What travels first stays small, whatever things are called."""
    templates = [PromptTemplate("t" * 5_000 + str(number), user="{{ q }}") for number in range(3)]
    plan = lab.plan(templates, {"model": ["m" * 5_000, "n"], "stop": ["s" * 5_000, "t"]}, cases=cases(1))
    registered(lab.store, plan)
    first = Heard(lab.store, 1, Obedient()).first()
    assert (len(first["map"]["rows"]), len(first["map"]["columns"])) == (6, 2)
    assert len(json.dumps(first["map"])) < 1_500


def test_updates_are_numbered_and_hold_what_changed(lab):
    """So a browser that missed one notices; when nothing happened there is none, but for one a second."""
    time = Time()
    run = ByHand(lab.store, registered(lab.store, plan_of(lab, 3)))
    monitor = Heard(lab.store, 1, Obedient(), now_s=time)
    assert (monitor.update(whole=False)["number"], monitor.update(whole=False)) == (1, None)
    run.answer(1)
    told = monitor.update(whole=False)
    assert (told["number"], told["changes"], told["status"]["ended"], set(told)) == (
        2,
        [[1, "o"]],
        1,
        {"number", "changes", "status"},
    )
    time.now_s += 0.5
    assert monitor.update(whole=False) is None
    time.now_s += 0.5
    assert (monitor.update(whole=False)["changes"], monitor.update(whole=True)["map"]["cells"]) == ([], [[[0, "qoq"]]])


def test_five_hundred_answers_a_second_are_ten_messages_a_second(lab):
    """However many answers come, and the last message holds the whole end."""
    time = Time()
    live = Obedient(Workers(Progress(total=1_000)))
    run = ByHand(lab.store, registered(lab.store, plan_of(lab, 1_000)))
    monitor = Heard(lab.store, 1, live, now_s=time)
    waits, left = [], iter(range(1_000))

    def wait(wait_s):
        waits.append(wait_s)
        time.now_s += wait_s
        run.answer(*islice(left, 50))
        if len(waits) == 20:
            lab.store.write(lambda c: c.execute("update runs set status = 'done'")).result()
            live.is_ended = True

    Follower(monitor, wait=wait).run()
    assert waits == [PACE_S] * 20 + [10 * PACE_S]
    assert [message["number"] for message in monitor.sent] == list(range(1, 22))
    assert {len(message["changes"]) for message in monitor.sent[:19]} == {50}
    for last in monitor.sent[-2:]:
        assert (last["status"]["status"], last["map"]["cells"]) == ("done", [[[0, "o" * 1_000]]])


def test_a_run_of_another_kernel_is_looked_at_once_a_second(lab):
    """Ten times a second nothing is read; after a second what is new is told."""
    time = Time()
    run = ByHand(lab.store, registered(lab.store, plan_of(lab, 2)))
    monitor = Heard(lab.store, 1, now_s=time)
    run.answer(0)
    time.now_s += 0.9
    assert monitor.update(whole=False) is None
    time.now_s += 0.1
    assert monitor.update(whole=False)["changes"] == [[0, "o"]]


def test_a_run_elsewhere_without_any_sign_of_life_is_left_after_ten_minutes(lab):
    """Its kernel may be gone; whoever looks again is told again."""
    time = Time()
    registered(lab.store, plan_of(lab, 2))
    monitor = Heard(lab.store, 1, now_s=time)
    Follower(monitor, wait=lambda _: setattr(time, "now_s", time.now_s + 60)).run()
    assert 600 <= time.now_s - 100 <= 800
    assert monitor.sent[-1]["status"]["status"] == "planned"


def test_a_run_that_another_kernel_forgot_is_said_to_be_gone_once(sample):
    """Then the monitor is at its end, and what it showed stays."""
    sample.store.write(lambda c: c.execute("update runs set status = 'running'")).result()
    monitor = Heard(sample.store, 1, now_s=(time := Time()))
    with Lab(sample.path, offline=True) as other:
        other.forget(1, dry_run=False)
    waits = []

    def wait(wait_s):
        waits.append(wait_s)
        time.now_s += 1

    Follower(monitor, wait=wait).run()
    reason = f"run 1 is gone from {sample.path}: it was forgotten; lab.runs() lists the runs that are there"
    assert (waits, monitor.sent) == ([PACE_S, 10 * PACE_S], [{"error": reason}])
    assert repr(monitor) == "<Monitor of run 1 'capitals'>"


# What can be asked


@pytest.mark.parametrize(
    ("op", "told"), [("pause", "pause"), ("resume", "resume"), ("stop", "stop"), ("drop", "abort")]
)
def test_a_live_run_is_told_what_to_do(lab, op, told):
    """Each button's operation reaches the workers, once."""
    registered(lab.store, plan_of(lab, 1))
    live = Obedient()
    assert (ask(Heard(lab.store, 1, live), op), live.told) == ({"answer": {}}, [told])


@pytest.mark.parametrize("op", ["pause", "resume", "stop", "drop"])
def test_what_is_not_going_on_here_cannot_be_told(lab, op):
    """The panel says why."""
    registered(lab.store, plan_of(lab, 1))
    elsewhere = ask(Heard(lab.store, 1), op)
    ended = ask(Heard(lab.store, 1, Obedient(is_ended=True)), op)
    assert elsewhere == {"error": "another kernel executes this run; pause and stop it there"}
    assert ended == {"error": "the run has ended"}


def test_what_failed_is_asked_again_when_the_run_has_ended(lab):
    """The same monitor follows the new workers; a loaded run says how it is done in code."""
    registered(lab.store, plan_of(lab, 1))
    live, again = Obedient(), Obedient()
    monitor = Heard(lab.store, 1, live, retry=lambda: again)
    assert ask(monitor, "retry") == {"error": "the run goes on; what failed can be asked again when it has ended"}
    live.is_ended = True
    answer = ask(monitor, "retry")["answer"]
    assert (answer["status"]["is_over"], answer["can_retry"]) == (False, True)
    ask(monitor, "stop")
    again.is_ended = True
    assert (live.told, again.told) == ([], ["stop"])
    reason = "this run was loaded from the file; run its plan again: lab.run(plan, retry_failed=True)"
    assert ask(Heard(lab.store, 1), "retry") == {"error": reason}


def test_a_trial_shows_its_request_and_every_attempt(sample):
    """The body and the response as they are, and the expression that has them whole."""
    found = ask(Heard(sample.store, 1), "detail", position=3)["answer"]
    attempt = found["attempts"][0]
    assert (found["where"], found["status"], found["expression"]) == (
        "terse · temperature=0",
        "failed",
        "lab.request(4, attempt=7)",
    )
    assert found["case"] == {"country": "Kenya", "capital": "Nairobi"}
    assert json.loads(found["body"]["text"])["messages"][1]["content"] == "Capital of Kenya?"
    assert (attempt["http_status"], attempt["error"]) == (
        400,
        "invalid_request_error content_policy_violation: this question is refused",
    )
    assert json.loads(attempt["response"]["text"])["error"]["code"] == "content_policy_violation"


def test_a_long_answer_is_cut_and_says_so(lab):
    """20,000 characters are shown."""
    run = ByHand(lab.store, registered(lab.store, plan_of(lab, 1)))
    run.answer(0, text="x" * 30_000)
    (attempt,) = ask(Heard(lab.store, 1), "detail", position=0)["answer"]["attempts"]
    assert (len(attempt["response"]["text"]), attempt["response"]["is_cut"]) == (20_000, True)


@pytest.mark.parametrize(
    ("op", "args", "error"),
    [
        pytest.param("detail", {"position": 99}, "run 1 has no trial 99", id="no-trial"),
        pytest.param(
            "detail", {"position": -1}, "detail: 1: Input should be greater than or equal to 0", id="negative"
        ),
        pytest.param("inside", {"cell": "x"}, "inside: 1: Input should be a valid integer", id="no-number"),
        pytest.param("snapshot", {}, "this panel has no operation 'snapshot'", id="no-operation"),
    ],
)
def test_a_bad_question_is_refused(sample, op, args, error):
    """With the reason, and nothing else happens."""
    refusal = ask(Heard(sample.store, 1), op, **args)["error"]
    assert refusal.startswith(error.partition(":")[0])
    assert error.rpartition(": ")[2] in refusal


# What a reader finds


def test_the_snapshot_tells_the_end(sample):
    """A table of facts, the errors, and how many of each row and column have an answer; its text never changes."""
    monitor = Heard(sample.store, 1)
    html = monitor.snapshot()
    for text in ("Run 1 · capitals", ">done<", ">16: 12 ok, 4 failed<", ">3 ok, 1 failed<", "temperature=1", "Lima"):
        assert text in html
    assert "HTTP 400 content_policy_violation x 4 (4 failed): this question is refused" in html
    assert "lab.load(1).monitor() gives the live panel" in html
    assert repr(monitor) == "<Monitor of run 1 'capitals'>"


def test_nothing_in_the_snapshot_is_html_of_others(lab):
    """Names, cases, errors and outputs are escaped."""
    bad = "<img src=x onerror=alert(1)>"
    template = PromptTemplate(bad, user="{{ q }}")
    run = ByHand(lab.store, registered(lab.store, lab.plan(template, {"model": [bad, "b"]}, cases=[{"q": bad}])))
    run.answer(0, text=bad)
    run.end(1, run.begin(1), error_reply(400, bad, code=bad), settled="failed")
    html = Heard(lab.store, 1).html()
    assert ("<img" in html, html.count("&lt;img") >= 5) == (False, True)


# A run's own


def test_a_run_has_a_monitor_of_its_own(tmp_path):
    """One for each run; elsewhere than in a kernel nobody shows it, and it reads nothing after the lab was closed."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        run = lab.start(plan_of(lab, 3))
        monitor = run.monitor()
        assert run.monitor() is monitor
        run.wait(progress=False)
        assert monitor.status["ended"] == 3
        run.show()
    assert {each.name for each in tmp_path.iterdir()} == {"lab.db"}
    assert (monitor.update(whole=True)["status"]["status"], monitor.status["is_over"]) == ("done", True)
    assert {each.name for each in tmp_path.iterdir()} == {"lab.db"}


def test_a_run_is_retried_from_its_monitor(tmp_path):
    """What the server refused is asked again under the same run, which can be waited for again."""
    answers = iter([error_reply(400, "no"), "yes", "now"])
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(lambda _: next(answers)), policy=RetryPolicy()) as lab:
        run = lab.run(plan_of(lab, 2), concurrency=1, progress=False)
        assert list(run.frame()["status"]) == ["failed", "ok"]
        assert "error" not in ask(run.monitor(), "retry")
        run.wait(progress=False)
        assert (run.outputs, run.status, run.monitor().status["counts"]["ok"]) == (["now", "yes"], "done", 2)
        assert ask(run.monitor(), "retry")["answer"]["status"]["status"] == "done"  # nothing is left to ask
