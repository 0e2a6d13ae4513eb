"""Runs: paid once, resumed where they stopped, accounted for to the last attempt, and stopped cleanly."""

import asyncio
import hashlib
import threading
from contextlib import closing

import pytest

from processes import run_python, wait_until
from promptlab import Lab, ParameterGrid, PromptTemplate, RetryPolicy, RunError, _loop
from promptlab.errors import NotFoundError, StoreError
from promptlab.store import Store
from promptlab.testing import ScriptedBackend, SendError, error_reply
from studies import ASK, cases, plan_of

KEY = "sk-test-1234567890"


@pytest.fixture
def path(tmp_path):
    """Where the file is."""
    return tmp_path / "lab.db"


@pytest.fixture
def lab_of(path):
    """Return a function that opens a lab on the file, answering from a script; all are closed."""
    labs = []

    def lab_of(script="ok"):
        policy = RetryPolicy(attempts=2, first_wait_s=0.001)
        labs.append(Lab(path, backend=ScriptedBackend(script), policy=policy))
        return labs[-1]

    yield lab_of
    for lab in labs:
        lab.close()


def finished(lab, plan, **options):
    """Run a plan to its end without a progress bar."""
    return lab.run(plan, progress=False, **options)


def question(body):
    """Return what a request asks."""
    return body["messages"][-1]["content"]


def asked(lab):
    """Return the questions sent so far, in order."""
    return [request.text for request in lab.backend.requests]


def sha256(path):
    """Return the hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Paid once


def test_the_same_plan_under_the_same_name_is_the_same_run(lab_of):
    """The second time nothing is sent, and the finished run comes back."""
    lab = lab_of()
    first, second = finished(lab, plan_of(lab, 3)), finished(lab, plan_of(lab, 3))
    assert (first.id, second.id, lab.last_run, len(asked(lab))) == (1, 1, second, 3)


READ_AGAIN = """
import os, sys
sys.path.insert(0, ".")
from studies import plan_of
from promptlab import Lab, ReadOnlyError
from promptlab.testing import ScriptedBackend
backend = ScriptedBackend()
with Lab(sys.argv[1], backend=backend) as lab:
    run = lab.run(plan_of(lab, 3), progress=False)
    print(run.outputs, run.status, lab.last_run is run)
    try:
        lab.run(plan_of(lab, 3), name="another", progress=False)
    except ReadOnlyError as exc:
        print(exc)
print(len(backend.requests), sorted(os.listdir(os.path.dirname(sys.argv[1]))))
"""


def test_a_finished_plan_runs_again_on_a_file_that_cannot_be_written(tmp_path):
    """From read-only media the run comes back whole; another name is one clear error, before anything is sent."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(question)) as lab:
        finished(lab, plan_of(lab, 3))
        copy = lab.store.copy_to(shelf / "lab.db")
    copy.chmod(0o444)
    shelf.chmod(0o555)
    before = sha256(copy)
    assert run_python(READ_AGAIN, copy, as_anybody=True).splitlines() == [
        "['q0', 'q1', 'q2'] done True",
        f"{copy} cannot be written here; copy it to a folder of yours to add to it",
        "0 ['lab.db']",
    ]
    assert sha256(copy) == before


def test_a_new_name_is_a_new_run_that_costs_nothing(lab_of):
    """Every answer is taken from the file, and every row says so."""
    lab = lab_of(question)
    first, second = finished(lab, plan_of(lab, 3)), finished(lab, plan_of(lab, 3), name="another")
    assert (first.id, second.id, len(asked(lab)), second.status) == (1, 2, 3, "done")
    assert (list(first.frame()["reused"]), list(second.frame()["reused"])) == ([False] * 3, [True] * 3)
    assert (second.outputs, second.usage.attempts) == (first.outputs, 0)


def test_equal_requests_of_one_plan_are_paid_once(lab_of):
    """Two templates that render alike share the answer; the second is marked as reused."""
    lab = lab_of(question)
    templates = [PromptTemplate("a", user="{{ q }}"), PromptTemplate("b", user="{{ q }}")]
    run = lab.run(templates, {"model": "m"}, cases=cases(2), progress=False)
    assert (asked(lab), run.outputs) == (["q0", "q1"], ["q0", "q1", "q0", "q1"])
    assert list(run.frame()["reused"]) == [False, False, True, True]


def test_numbers_that_are_equal_are_one_request(lab_of):
    """1 and 1.0 are one temperature, so the answer is there already."""
    lab = lab_of()
    finished(lab, plan_of(lab, 1, temperature=1))
    finished(lab, plan_of(lab, 1, temperature=1.0), name="again")
    assert len(asked(lab)) == 1


def test_repeats_are_asked_each(lab_of):
    """Independent samples are what they say, and more of them keep those that are there."""
    answers = iter(range(100))
    lab = lab_of(lambda _: str(next(answers)))
    assert finished(lab, plan_of(lab, 1, repeats=3)).outputs == ["0", "1", "2"]
    assert finished(lab, plan_of(lab, 1, repeats=5)).outputs == ["0", "1", "2", "3", "4"]


def test_a_generation_samples_afresh_and_is_kept(lab_of):
    """generation=1 asks again, once; generation 0 still has its own answers."""
    answers = iter(range(100))
    lab = lab_of(lambda _: str(next(answers)))
    outputs = [finished(lab, plan_of(lab, 1, generation=each)).outputs for each in (0, 1, 1, 0)]
    assert outputs == [["0"], ["1"], ["1"], ["0"]]


def test_a_larger_grid_asks_only_for_the_new_cells(lab_of):
    """A value added to an axis, or a case to the cases, costs what it adds."""
    lab = lab_of()
    finished(lab, plan_of(lab, 2, temperature=[0, 1]))
    lab.backend.requests.clear()
    run = finished(lab, plan_of(lab, 3, temperature=[0, 1, 2]))
    assert (len(asked(lab)), len(run), list(run.frame()["reused"]).count(True)) == (5, 9, 4)


def test_the_backend_is_part_of_what_is_asked(path):
    """The same prompt at another address is another question."""
    for identity in ("one", "two"):
        with Lab(path, backend=ScriptedBackend(identity=identity)) as lab:
            finished(lab, plan_of(lab, 1))
            assert len(asked(lab)) == 1


def test_what_was_sent_is_what_the_log_says_when_bodies_share_an_answer(lab_of):
    """A run that was stopped before it asked leaves the question to another, whose own body is the one logged."""
    lab = lab_of(lambda _: error_reply(401, "no"))
    finished(lab, plan_of(lab, 1, user="ann"))
    lab.close()
    lab = lab_of()
    run = finished(lab, plan_of(lab, 1, user="bob"))
    assert lab.request(run.frame()["request_id"][0]).body == lab.backend.requests[0].body
    assert '"user":"bob"' in lab.backend.requests[0].body


# Resuming


def test_a_stopped_run_goes_on_where_it_stopped(lab_of):
    """Only what is missing is asked, under the same id, and the run is done."""
    lab = lab_of(lambda body: error_reply(401, "no") if question(body) == "q2" else question(body))
    stopped = finished(lab, plan_of(lab, 5), concurrency=1)
    assert (stopped.status, asked(lab)) == ("stopped", ["q0", "q1", "q2"])
    lab.close()
    lab = lab_of(question)
    run = finished(lab, plan_of(lab, 5))
    assert (run.id, run.status, run.reason, asked(lab)) == (stopped.id, "done", None, ["q2", "q3", "q4"])
    assert run.outputs == ["q0", "q1", "q2", "q3", "q4"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_asked_again_only_when_told(lab_of, status):
    """It would be refused again, so running the plan again sends nothing; retry_failed=True asks."""
    lab = lab_of(lambda _: error_reply(status, "no"))
    plan = plan_of(lab, 2)
    runs = [finished(lab, plan), finished(lab, plan)]
    assert ([run.id for run in runs], len(asked(lab)), runs[1].status) == ([1, 1], 2, "done")
    lab.close()
    lab = lab_of(question)
    run = finished(lab, plan_of(lab, 2), retry_failed=True)
    assert (run.id, run.outputs, asked(lab)) == (1, ["q0", "q1"], ["q0", "q1"])


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(error_reply(500, "ouch"), id="server-error"),
        pytest.param(SendError("reset", "cut", maybe_paid=True), id="unknown"),
        pytest.param(SendError("connect", "refused", maybe_paid=False), id="connection"),
        pytest.param(error_reply(200), id="unreadable"),
        pytest.param(error_reply(404, "no such model"), id="unknown-model"),
    ],
)
def test_a_failure_that_may_have_passed_is_asked_again(lab_of, failure):
    """The next run of the plan tries once more what failed for good in this one."""
    lab = lab_of(lambda _: failure)
    assert finished(lab, plan_of(lab, 1)).frame()["status"][0] == "failed"
    lab.close()
    lab = lab_of(question)
    run = finished(lab, plan_of(lab, 1))
    assert (run.id, run.status, run.outputs) == (1, "done", ["q0"])


def test_trials_stopped_for_a_refused_parameter_are_tried_with_one_of_them(lab_of):
    """They were never asked, so one is; the model refuses it as it did before, and the plan warns beforehand."""
    refusal = error_reply(400, "no", code="unsupported_parameter", param="top_p")
    lab = lab_of(lambda body: refusal if "top_p" in body else "yes")
    grid = ParameterGrid([{"model": "m"}, {"model": "m", "top_p": 0.5}])
    before = lab.plan(ASK, grid, cases=cases(6))
    finished(lab, before, concurrency=1)
    sent = len(asked(lab))
    after = lab.plan(ASK, grid, cases=cases(6))
    run = finished(lab, after)
    warning = "m was seen to refuse top_p; requests with both will fail"
    assert (sent, len(asked(lab)), run.status) == (7, 8, "stopped")
    assert (warning in before.warnings, warning in after.warnings) == (False, True)


def test_a_plan_started_twice_is_one_run(lab_of, gate):
    """Running the cell again while it is under way gives the same run, whose stop stops it."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 3), concurrency=1)
    assert begun.acquire(timeout=10)
    assert lab.start(plan_of(lab, 3), concurrency=1) is run
    run.stop()
    goes_on.set()
    run.wait(progress=False)
    assert (run.status, len(asked(lab))) == ("stopped", 1)


def test_a_failure_that_stopped_a_run_is_raised_again(lab_of):
    """A cell that is run again must not pass over what made it fail."""
    lab = lab_of(lambda _: error_reply(400, "no"))
    for _ in range(2):
        with pytest.raises(RunError, match="HTTP 400 invalid_request_error: no"):
            lab.run(plan_of(lab, 1), on_error="stop", progress=False)
    assert len(asked(lab)) == 1


def test_a_wait_longer_than_an_outage_ends_the_run(lab_of):
    """A server that says "tomorrow" is not asked two hundred times; what was not asked is asked when run again."""
    lab = lab_of(lambda _: error_reply(429, "slow down", headers={"retry-after": "700"}))
    run = lab.run(plan_of(lab, 50), concurrency=1, progress=False)
    assert (run.status, len(asked(lab))) == ("stopped", 1)
    assert "it asks to wait 700 s" in run.reason


def test_a_stopped_run_whose_other_workers_end_later_is_not_done(lab_of, gate):
    """Whichever worker ends last: a sample that was left for later leaves the run stopped."""
    begun, goes_on = gate
    slow = held(begun, goes_on)
    lab = lab_of(lambda body: slow(body) if question(body) == "q0" else error_reply(500, headers={"retry-after": "60"}))
    run = lab.start(plan_of(lab, 2), concurrency=2)
    assert begun.acquire(timeout=10)
    wait_until(lambda: run.progress.attempts == 1, "the other sample waits")
    run.stop()
    goes_on.set()
    run.wait(progress=False)
    assert (run.status, list(run.frame()["status"])) == ("stopped", ["ok", "todo"])


def test_a_run_whose_rest_was_answered_elsewhere_becomes_done(lab_of):
    """When another run has asked for what was missing, running the plan again finds it finished, and says so."""
    lab = lab_of(lambda _: error_reply(401, "no"))
    finished(lab, plan_of(lab, 2), name="first")
    lab.close()
    lab = lab_of(question)
    finished(lab, plan_of(lab, 2), name="second")
    run = finished(lab, plan_of(lab, 2), name="first")
    assert (run.id, run.status, run.reason, len(asked(lab))) == (1, "done", None, 2)
    assert list(run.frame()["reused"]) == [True, True]


def test_a_registration_that_was_cut_off_is_completed(lab_of):
    """A kernel killed while a large plan was being written leaves a part of its rows; the rest is added."""
    lab = lab_of(question)
    plan = plan_of(lab, 3)
    finished(lab, plan)
    lab.store.write(lambda c: c.execute("delete from trials where position > 0")).result()
    lab.store.write(lambda c: c.execute("update runs set status = 'planned'")).result()
    run = finished(lab, plan)
    assert (run.id, run.status, run.outputs) == (1, "done", ["q0", "q1", "q2"])


# Two processes

# Stopping


def held(begun, goes_on):
    """Return a script that waits to be let go, and counts who does."""

    async def script(body):
        begun.release()
        await asyncio.to_thread(goes_on.wait)
        return question(body)

    return script


@pytest.fixture
def gate():
    """A semaphore that counts who has been sent, and an event that lets them go."""
    goes_on = threading.Event()
    yield threading.Semaphore(0), goes_on
    goes_on.set()


def test_a_run_goes_on_in_the_background_until_it_is_stopped(lab_of, gate):
    """lab.start returns at once; stop awaits what is in flight and raises nothing; running again finishes."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 5), concurrency=2)
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    assert (run.status, run.progress.in_flight, lab.last_run) == ("running", 2, run)
    run.stop()
    goes_on.set()
    assert run.wait(progress=False) is run
    assert (run.status, run.reason) == ("stopped", "stopped by its user")
    assert list(run.frame()["status"]) == ["ok", "ok", "todo", "todo", "todo"]
    assert finished(lab, plan_of(lab, 5)).outputs == [f"q{number}" for number in range(5)]


def test_a_run_can_be_paused(lab_of, gate):
    """While it is paused it says so, its answers come in, and it goes on when told to."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 3), concurrency=1)
    assert begun.acquire(timeout=10)
    run.pause()
    wait_until(lambda: run.status == "paused", "the pause")
    goes_on.set()
    wait_until(lambda: run.progress.done == 1, "the answer")
    assert repr(run).startswith("<Run 1 'ask': 3 trials, 1 ok, 2 todo; paused; 1 request sent, ")
    run.resume()
    run.wait(progress=False)
    assert (run.status, run.outputs) == ("done", ["q0", "q1", "q2"])


def test_a_paused_run_is_not_forgotten_from_another_kernel(lab_of, gate):
    """It holds no lease, and gives a sign of life; with its end that is gone."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 3), concurrency=1)
    assert begun.acquire(timeout=10)
    run.pause()
    goes_on.set()
    wait_until(lambda: run.progress.done == 1, "the answer")
    assert lab.store.read("select count(*) from samples where state = 'leased'")[0][0] == 0
    with Lab(lab.path, offline=True) as other, pytest.raises(StoreError, match="is being answered right now"):
        other.forget(run.id, dry_run=False)
    run.resume()
    run.wait(progress=False)
    assert (run.outputs, lab.store.read("select name from views")) == (["q0", "q1", "q2"], [])
    with Lab(lab.path, offline=True) as other:
        assert other.forget(run.id, dry_run=False).counts["samples"] == 3


def test_a_paused_run_is_not_merged_elsewhere(lab_of, gate, tmp_path):
    """What goes on is merged when it has ended, also where nothing of it is in flight."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 2), concurrency=1)
    assert begun.acquire(timeout=10)
    run.pause()
    goes_on.set()
    wait_until(lambda: run.progress.done == 1, "the answer")
    with Lab(tmp_path / "other.db", backend=ScriptedBackend()) as other:
        with pytest.raises(StoreError, match=r"is being answered right now \(0 requests\)"):
            other.merge(lab.path)
        run.resume()
        run.wait(progress=False)
        other.merge(lab.path)
        assert other.load("ask").outputs == ["q0", "q1"]


def test_a_run_that_was_forgotten_under_its_workers_ends_with_one_clear_error(lab_of, gate):
    """Its kernel may have slept beyond its sign of life."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 3), concurrency=1)
    assert begun.acquire(timeout=10)
    run.pause()
    goes_on.set()
    wait_until(lambda: run.progress.done == 1, "the answer")
    lab.store.write(lambda c: c.execute("update views set spec = '{\"until\": 1}'")).result()
    with Lab(lab.path, offline=True) as other:
        other.forget(run.id, dry_run=False)
    run.resume()
    with pytest.raises(NotFoundError, match=r"^run 1 was forgotten while it went on"):
        run.wait(progress=False)
    with pytest.raises(NotFoundError, match=r"^run 1 is gone from .*: it was forgotten; "):
        run.status  # noqa: B018 - reads the file


def test_a_live_run_that_is_loaded_is_the_live_one(lab_of, gate):
    """By its id or its name, until it has ended; a loaded one can be paused."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 2), concurrency=1)
    assert begun.acquire(timeout=10)
    assert (lab.load(run.id) is run, lab.load("ask") is run) == (True, True)
    lab.load(run.id).pause()
    wait_until(lambda: run.status == "paused", "the pause")
    run.resume()
    goes_on.set()
    run.wait(progress=False)
    assert lab.load(run.id) is not run


def test_a_pause_after_the_end_is_none(lab_of):
    """There is nothing to pause any more."""
    lab = lab_of()
    run = lab.run(plan_of(lab, 2), progress=False)
    run.pause()
    _loop.run(asyncio.sleep(0))  # the loop has heard of it
    assert (run.status, run.progress.is_paused) == ("done", False)


def test_a_panel_sends_nothing_after_its_lab_was_closed(lab_of):
    """A click on retry is refused; the user's own call opens the lab again."""
    lab = lab_of(lambda _: error_reply(400))
    run = lab.run(plan_of(lab, 2), progress=False)
    monitor = run.monitor()
    lab.close()
    reason = "the lab was closed, and its panels send nothing; run the plan again: lab.run(plan)"
    assert (monitor.handle({"op": "retry"}), len(lab.backend.requests)) == ({"re": None, "error": reason}, 2)
    lab.run(plan_of(lab, 2), progress=False, retry_failed=True)
    assert len(lab.backend.requests) == 4


@pytest.mark.parametrize("kind", ["compare", "monitor"])
def test_who_follows_a_run_ends_with_the_lab(lab_of, kind):
    """Also a run that a dead kernel left as running; the file is not opened again, and the panel not followed."""
    lab = lab_of()
    run = finished(lab, plan_of(lab, 2))
    lab.store.write(lambda c: c.execute("update runs set status = 'running'")).result()
    panel = getattr(lab.load(run.id), kind)()
    panel.hello()
    follower = panel._follower
    lab.close()
    follower.join(20)
    assert (follower.is_alive(), lab.store._readers) == (False, {})
    panel.hello()
    assert panel._follower is None


def test_a_past_run_cannot_be_paused(lab_of):
    """There is nothing to pause, and nothing happens."""
    run = finished(lab_of(), plan_of(lab_of(), 1))
    run.pause()
    run.resume()
    assert run.status == "done"


def test_a_live_run_shows_no_unknown_attempts(lab_of, gate):
    """What is in flight has no known end yet, and is no cause for alarm."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 1))
    assert begun.acquire(timeout=10)
    assert repr(run) == "<Run 1 'ask': 1 trial, 1 running; running; 1 request sent, 0 + 0 tokens, free>"
    goes_on.set()
    run.wait(progress=False)


def test_a_run_can_be_awaited_inside_a_running_loop(lab_of):
    """In a kernel's own loop `await run` gives the run when it has ended."""
    lab = lab_of(question)

    async def cell():
        run = await lab.start(plan_of(lab, 3))
        return run.status, run.outputs

    assert asyncio.run(cell()) == ("done", ["q0", "q1", "q2"])


def test_cancelling_an_awaited_run_stops_it_cleanly(lab_of, gate):
    """What is in flight is answered and logged before the cancellation goes on its way."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))

    async def cell():
        run = lab.start(plan_of(lab, 3), concurrency=1)
        waiting = asyncio.ensure_future(run)
        await asyncio.to_thread(begun.acquire)
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cell())
    assert list(lab.last_run.frame()["status"]) == ["ok", "todo", "todo"]
    assert lab.last_run.status == "stopped"


def test_cancelling_an_awaited_run_twice_drops_what_is_in_flight(lab_of, gate):
    """The second time nothing is waited for; what was in flight is unknown."""
    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))

    async def cell():
        run = lab.start(plan_of(lab, 3), concurrency=1)
        waiting = asyncio.ensure_future(run)
        await asyncio.to_thread(begun.acquire)
        for _ in range(2):
            waiting.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cell())
    assert (lab.last_run.usage.unknown, list(lab.last_run.frame()["status"])) == (1, ["todo"] * 3)


def test_closing_a_lab_stops_what_it_runs(path, gate):
    """What is in flight is awaited and stored, and the file is at rest afterwards."""
    begun, goes_on = gate
    with Lab(path, backend=ScriptedBackend(held(begun, goes_on))) as lab:
        run = lab.start(plan_of(lab, 3), concurrency=1)
        assert begun.acquire(timeout=10)
        goes_on.set()
    assert {each.name for each in path.parent.iterdir()} == {"lab.db"}
    with closing(Store(path)) as store:
        states = [row[0] for row in store.read("select state from samples")]
    assert (states[0], run.progress.in_flight) == ("done", 0)


def test_the_first_failure_raises_when_asked_to(lab_of):
    """on_error="stop" ends the run, which is kept and can go on."""
    lab = lab_of(lambda body: error_reply(400, "no") if question(body) == "q1" else "yes")
    with pytest.raises(RunError) as caught:
        finished(lab, plan_of(lab, 5), on_error="stop", concurrency=1)
    sentence = "the run was stopped at its first failed trial: HTTP 400 invalid_request_error: no"
    assert (str(caught.value), lab.last_run.status, len(asked(lab))) == (sentence, "stopped", 2)
    assert list(lab.last_run.frame()["status"]) == ["ok", "failed", "todo", "todo", "todo"]


def test_a_failure_that_passed_raises_nothing(lab_of):
    """A server error that the next attempt got over is no failed trial."""
    answers = iter([error_reply(500, "ouch"), "yes", "yes"])
    lab = lab_of(lambda _: next(answers))
    assert finished(lab, plan_of(lab, 2), on_error="stop", concurrency=1).status == "done"


def test_a_second_interrupt_counts_however_early_it_comes(lab_of, gate):
    """Also one that comes while the first is still being answered, here while the bar is drawn, drops what is left."""

    class Bar:
        def say(self, _):
            raise KeyboardInterrupt

        def show(self):
            """Draw nothing."""

    begun, goes_on = gate
    lab = lab_of(held(begun, goes_on))
    run = lab.start(plan_of(lab, 3), concurrency=1)
    assert begun.acquire(timeout=10)
    run._live._wind_down(Bar())
    assert (run.usage.unknown, run.status, list(run.frame()["status"])) == (1, "stopped", ["todo"] * 3)


# Looking at it


def test_a_run_says_what_it_is(lab_of):
    """The text form has counts and what was spent, the rich one escapes names."""
    lab = lab_of(lambda body: error_reply(400, "<i>no</i>") if question(body) == "q1" else "yes")
    run = finished(lab, plan_of(lab, 3), name="<i>mine</i>")
    assert repr(run) == (
        "<Run 1 '<i>mine</i>': 3 trials, 2 ok, 1 failed; run.errors tells why,"
        " retry_failed=True asks again for what the server refused; 3 requests sent, 16 + 2 tokens, free;"
        " estimated at 3 requests, about 12 + at most 48 tokens, free>"
    )
    page = run._repr_html_()
    assert ("<i>" in page, "1 x HTTP 400 invalid_request_error: &lt;i&gt;no" in page) == (False, True)


def test_a_past_run_shows_the_same(lab_of):
    """A run loaded later has no workers, and everything else."""
    lab = lab_of(question)
    run = finished(lab, plan_of(lab, 2), name="mine")
    past = lab.load("mine")
    assert (past.id, past.name, past.status, past.progress, len(past)) == (run.id, "mine", "done", None, 2)
    assert (past.wait(), repr(past), past.outputs) == (past, repr(run), run.outputs)
    past.stop()

    async def cell():
        return await past

    assert asyncio.run(cell()) is past


def test_progress_is_drawn_and_taken_away_at_the_end(lab_of, capsys):
    """The bar counts samples, and says what failed and what was spent."""
    lab = lab_of(lambda body: error_reply(400, "no") if question(body) == "q1" else "yes")
    lab.run(plan_of(lab, 3))
    shown = capsys.readouterr()
    assert ("3/3" in shown.err, "1 failed" in shown.err, shown.out) == (True, True, "")
