"""The runner: what is sent when, what is stored before, and what stops whom."""

import asyncio
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import pytest

from promptlab import Lab, ledger
from promptlab.errors import BackendError, StoreError
from promptlab.jobs import Clock, Job, Progress
from promptlab.limits import Budget, Pace
from promptlab.retries import RetryPolicy
from promptlab.runner import Runner
from promptlab.store import Store
from promptlab.testing import ScriptedBackend, SendError, error_reply, text_reply
from studies import plan_of

LATER = {"retry-after": "7"}


@dataclass
class ManualClock:
    """Time that passes by waiting alone: every wait is over at once, and noted. Leases are renewed when told to."""

    now_s: float = 1000.0
    waits: list[float] = field(default_factory=list)
    renewals: asyncio.Queue = field(default_factory=asyncio.Queue)
    is_renewing: bool = False

    async def wait(self, _, wait_s):
        """Let the time pass, unless it is a heartbeat's: that waits to be told."""
        if wait_s == ledger.RENEW_EVERY_S:
            if self.is_renewing:
                self.renewals.task_done()
            await self.renewals.get()
            self.is_renewing = True
            return
        self.waits.append(wait_s)
        until_s = self.now_s + wait_s
        await asyncio.sleep(0)
        self.now_s = max(self.now_s, until_s)

    def clock(self):
        """Return it as the runner wants it; chance is always at its upper end."""
        return Clock(lambda: self.now_s, lambda: self.now_s, self.wait, lambda: 1.0)


@pytest.fixture
def time():
    """A clock that does not tick by itself."""
    return ManualClock()


@pytest.fixture
def lab(tmp_path):
    """A lab for making plans and their rows; each test brings the backend that answers."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        yield lab


@pytest.fixture
def execute(lab, time):
    """Return a function that executes a plan through a script, and hands back the runner."""

    def execute(script, plan, *, concurrency=1, during=None, is_free=True, **options):
        backend = ScriptedBackend(script, is_free=is_free)
        pace = Pace(concurrency, is_fixed=True)
        runner = Runner(backend, lab.store, pace=pace, clock=time.clock(), **options)
        jobs = registered(lab.store, plan)
        asyncio.run(_executed(runner, jobs, during))
        return runner

    return execute


async def _executed(runner, jobs, during):
    work = asyncio.create_task(runner.execute(1, jobs))
    if during:
        await during(runner)
    await work


def registered(store, plan):
    """Write a plan's rows and return its jobs, one a sample."""
    write = store.write
    info, software = ScriptedBackend().info(), dict.fromkeys(SOFTWARE, "x")
    run_id = write(partial(ledger.add_run, plan=plan, name="run", info=info, environment=software, now_s=0)).result()
    templates = write(partial(ledger.add_templates, templates=plan.templates, now_s=0)).result()
    cases = write(partial(ledger.add_cases, cases=plan.cases)).result()
    rows = ledger.PlanRows(run_id, templates, cases)
    write(partial(ledger.add_trials, plan=plan, rows=rows, positions=range(len(plan)))).result()
    return [Job((trial.position + 1,), trial.request, trial.cell.params) for trial in plan]


SOFTWARE = ("promptlab_version", "openai_version", "python_version", "host", "notebook", "git_commit", "note", "tags")


def question(body):
    """Return what a request asks."""
    return body["messages"][-1]["content"]


def in_turn(*answers):
    """Return a script that gives these answers one after another."""
    left = iter(answers)
    return lambda _: next(left)


def states(store):
    """Return the state of every sample, in order."""
    return [row[0] for row in store.read("select state from samples order by id")]


def attempts(store, columns="state"):
    """Return columns of every attempt, in order."""
    return [tuple(row) for row in store.read(f"select {columns} from attempts order by id")]  # noqa: S608 - named above


def run_row(store):
    """Return how the run ended."""
    return tuple(store.read("select status, reason from runs")[0])


def test_every_job_is_answered(execute, lab):
    """Each sample has its answer, and the run is done."""
    runner = execute(question, plan_of(lab, 3), concurrency=2)
    texts = [row[0] for row in lab.store.read("select text from samples join outputs on outputs.id = output_id")]
    assert (states(lab.store), texts, run_row(lab.store)) == (["done"] * 3, ["q0", "q1", "q2"], ("done", None))
    assert runner.progress == Progress(done=3, attempts=3, prompt_tokens=24, completion_tokens=3)


def test_an_attempt_is_committed_before_it_leaves(execute, lab):
    """When a request reaches the backend, another connection already sees its attempt as sent."""
    seen = []

    def script(body):
        seen.append(attempts(lab.store))
        return "yes"

    execute(script, plan_of(lab, 2))
    assert seen == [[("sent",)], [("ok",), ("sent",)]]


def test_no_more_are_in_flight_than_allowed(execute, lab):
    """The bound on concurrency is reached, and holds from the first request to the last."""
    counts, full = {"now": 0, "most": 0}, asyncio.Event()

    async def script(_):
        counts["now"] += 1
        counts["most"] = max(counts.values())
        if counts["now"] == 4:
            full.set()
        await full.wait()
        await asyncio.sleep(0.001)
        counts["now"] -= 1
        return "yes"

    execute(script, plan_of(lab, 20), concurrency=4)
    assert counts == {"now": 0, "most": 4}


# Asking again


def test_a_failure_that_may_pass_is_asked_again(execute, lab, time):
    """Two server errors and an answer are three attempts, with waits that double."""
    runner = execute(in_turn(error_reply(500), error_reply(502), "yes"), plan_of(lab, 1))
    assert attempts(lab.store, "number, state, http_status") == [(1, "error", 500), (2, "error", 502), (3, "ok", 200)]
    assert (states(lab.store), time.waits, runner.progress.done) == (["done"], [0.5, 1.0], 1)


def test_patience_ends(execute, lab):
    """After the last attempt allowed the sample has failed, with what the server said last, and the run goes on."""
    script = in_turn(
        error_reply(500, "ouch", type="server_error"), error_reply(500, "ouch", type="server_error"), "yes"
    )
    execute(script, plan_of(lab, 2), policy=RetryPolicy(attempts=2))
    assert [tuple(row) for row in lab.store.read("select state, failure, reason from samples")] == [
        ("failed", "transient", "HTTP 500 server_error: ouch"),
        ("done", None, None),
    ]
    assert run_row(lab.store) == ("done", None)


def test_what_may_have_been_billed_is_counted(execute, lab):
    """A connection cut after sending leaves an unknown attempt, and the request is asked again."""
    runner = execute(in_turn(SendError("reset", "cut", maybe_paid=True), "yes"), plan_of(lab, 1), is_free=False)
    assert attempts(lab.store, "state, error_type, cost_usd") == [("unknown", "reset", None), ("ok", None, None)]
    assert (runner.progress.unknown, runner.progress.done, runner.progress.has_unknown_cost) == (1, 1, True)


def test_what_surely_cost_nothing_costs_nothing(execute, lab):
    """A request that never arrived and one that was refused are free; a reply that cannot be read is not."""
    script = in_turn(
        SendError("connect", "refused", maybe_paid=False),
        error_reply(503),
        text_reply("", {}, choices=[]),
        text_reply("yes", {"model": "gpt-4.1-mini", "messages": []}),
    )
    execute(script, plan_of(lab, 1, model="gpt-4.1-mini"), is_free=False)
    costs = attempts(lab.store, "state, cost_usd")
    assert (costs[:2], costs[2][0], costs[3][0]) == ([("error", 0.0), ("error", 0.0)], "error", "ok")
    assert costs[2][1] == costs[3][1] > 0  # the unreadable one had its usage with it


def test_an_unreadable_reply_without_usage_has_an_unknown_price(execute, lab):
    """It was paid for, and nobody knows how much; it is asked for once more, and no more."""
    broken = text_reply("", {}, choices=[], usage=None)
    execute(in_turn(broken, broken, "never"), plan_of(lab, 1, model="gpt-4.1-mini"), is_free=False)
    assert attempts(lab.store, "state, http_status, cost_usd") == [("error", 200, None)] * 2
    assert states(lab.store) == ["failed"]


# One gate


def test_a_throttle_holds_everybody_back(execute, lab, time):
    """After a 429 nothing leaves before its time is over; what was about to leave is not noted as sent."""
    sent_s = []

    def script(body):
        sent_s.append(time.now_s)
        return error_reply(429, headers=LATER) if len(sent_s) == 1 else "yes"

    execute(script, plan_of(lab, 6), concurrency=3)
    assert sent_s[0] == 1000.0
    assert min(sent_s[1:]) >= 1007.0
    assert (len(attempts(lab.store)), states(lab.store)) == (len(sent_s), ["done"] * 6)


def test_throttled_attempts_do_not_use_up_patience(execute, lab):
    """A request may be throttled more often than it may fail."""
    execute(in_turn(*[error_reply(429)] * 9, "yes"), plan_of(lab, 1), policy=RetryPolicy(attempts=2))
    assert states(lab.store) == ["done"]


def test_waiting_shows(execute, lab, time):
    """While the gate is shut the runner says for how long."""
    seen = []

    async def script(_):
        seen.append(runner_of["it"].waiting_s)
        return error_reply(429, headers=LATER) if len(seen) == 1 else "yes"

    runner_of = {}

    async def remember(runner):
        runner_of["it"] = runner

    runner = execute(script, plan_of(lab, 1), during=remember)
    assert (seen, time.waits, runner.waiting_s) == ([0.0, 0.0], [7.0], 0.0)


# Stopping early


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(error_reply(401, "bad key", code="invalid_api_key"), id="401"),
        pytest.param(error_reply(403, "no"), id="403"),
        pytest.param(error_reply(429, "no credit", type="insufficient_quota"), id="quota"),
        pytest.param(error_reply(429, "no credit", code="credit_balance_exhausted"), id="balance"),
    ],
)
def test_a_refused_account_stops_the_run(execute, lab, refusal):
    """No more than one request a worker is refused; the rest is not asked and says why."""
    runner = execute(lambda _: refusal, plan_of(lab, 40), concurrency=4)
    found = states(lab.store)
    assert len(runner.backend.requests) <= 4
    assert (found.count("failed"), found.count("stopped")) == (len(runner.backend.requests), 40 - found.count("failed"))
    assert run_row(lab.store)[0] == "stopped"
    reasons = {row[0] for row in lab.store.read("select reason from samples")}
    assert reasons == {run_row(lab.store)[1]}
    assert runner.progress.finished == 40


def test_what_is_about_to_leave_stays_when_the_account_is_refused(execute, lab):
    """A request whose claim was being written when the refusal came is not sent, and not noted as sent."""
    runner = execute(lambda _: error_reply(401), plan_of(lab, 9), concurrency=3)
    assert len(runner.backend.requests) == len(attempts(lab.store)) == 1


def test_an_unknown_model_stops_that_model(execute, lab):
    """Requests to other models go on, and the run says what was not asked, and why."""
    plan = plan_of(lab, 10, model=["gone", "m"])
    runner = execute(lambda body: error_reply(404, "no such model") if body["model"] == "gone" else "yes", plan)
    asked = [request.model for request in runner.backend.requests]
    assert (asked.count("gone"), asked.count("m"), run_row(lab.store)) == (
        1,
        10,
        ("stopped", "HTTP 404 invalid_request_error: no such model"),
    )
    assert sorted(states(lab.store)) == ["done"] * 10 + ["failed"] + ["stopped"] * 9


def test_a_refused_parameter_stops_that_model_with_it(execute, lab):
    """The same model without the parameter, and other models with it, are asked."""

    def script(body):
        is_refused = body["model"] == "m" and "top_p" in body
        return error_reply(400, "no", code="unsupported_parameter", param="top_p") if is_refused else "yes"

    grid = [{"model": "m", "top_p": 0.5}, {"model": "m"}, {"model": "n", "top_p": 0.5}]
    plan = lab.plan(plan_of(lab, 1).templates, grid, cases=[{"q": f"q{number}"} for number in range(5)])
    runner = execute(script, plan)
    refused = [request for request in runner.backend.requests if request.model == "m" and "top_p" in request.body]
    assert (len(refused), len(runner.backend.requests)) == (1, 11)
    kinds = [row[0] for row in lab.store.read("select failure from samples where state = 'stopped'")]
    assert kinds == ["parameter"] * 4


def test_a_refused_value_that_was_not_asked_for_stops_one_trial(execute, lab):
    """An error that names a parameter no request has is that request's own."""
    refusal = error_reply(400, "no", code="unsupported_value", param="messages[0].role")
    runner = execute(in_turn(refusal, "yes", "yes"), plan_of(lab, 3))
    assert (states(lab.store), len(runner.backend.requests)) == (["failed", "done", "done"], 3)


def test_the_first_failure_can_stop_the_run(execute, lab):
    """Nothing new is sent after it, what is left can still be asked, and the run says why it stopped."""
    runner = execute(in_turn("yes", error_reply(400, "no"), "never"), plan_of(lab, 4), stops_at_failure=True)
    assert states(lab.store) == ["done", "failed", "todo", "todo"]
    assert runner.failure == "HTTP 400 invalid_request_error: no"
    assert run_row(lab.store) == ("stopped", f"stopped at its first failed trial: {runner.failure}")


def test_a_failure_that_passed_stops_nothing(execute, lab):
    """Only a sample that has failed for good counts, not an attempt that was asked again."""
    runner = execute(in_turn(error_reply(500), "yes", "yes"), plan_of(lab, 2), stops_at_failure=True)
    assert (states(lab.store), runner.failure, run_row(lab.store)) == (["done", "done"], None, ("done", None))


# Being stopped


def held(gate, begun):
    """Return a script that waits at a gate, and tells when it does."""

    async def script(_):
        begun.release()
        await gate.wait()
        return "yes"

    return script


def test_a_stop_awaits_what_is_in_flight(execute, lab):
    """What was sent is answered and stored, nothing new is sent, and the run can be resumed."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def stop(runner):
        await begun.acquire()
        await begun.acquire()
        runner.stop()
        gate.set()

    runner = execute(held(gate, begun), plan_of(lab, 5), concurrency=2, during=stop)
    assert states(lab.store) == ["done", "done", "todo", "todo", "todo"]
    assert (run_row(lab.store), len(runner.backend.requests)) == (("stopped", "stopped by its user"), 2)


def test_a_stop_that_cuts_nothing_short_leaves_a_finished_run(execute, lab):
    """Stopped when the last request was in flight, everything has its answer."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def stop(runner):
        await begun.acquire()
        runner.stop()
        gate.set()

    execute(held(gate, begun), plan_of(lab, 1), during=stop)
    assert (states(lab.store), run_row(lab.store)) == (["done"], ("done", None))


def test_an_abort_leaves_unknown_attempts(execute, lab):
    """What was in flight may have been billed: it says so, and can be asked again."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def abort(runner):
        await begun.acquire()
        await begun.acquire()
        runner.abort()

    runner = execute(held(gate, begun), plan_of(lab, 3), concurrency=2, during=abort)
    assert attempts(lab.store, "state, error_type, latency_ms") == [("unknown", "cancelled", None)] * 2
    assert (states(lab.store), runner.progress.unknown) == (["todo"] * 3, 2)
    assert run_row(lab.store) == ("stopped", "stopped by its user")


def test_a_stop_ends_a_wait(lab):
    """A run that waits for a rate limit or before asking again stops at once."""
    begun = asyncio.Event()

    async def script(_):
        begun.set()
        return error_reply(429, headers={"retry-after": "500"})

    async def stopped():
        runner = Runner(ScriptedBackend(script), lab.store, pace=Pace(2, is_fixed=True))
        work = asyncio.create_task(runner.execute(1, registered(lab.store, plan_of(lab, 4))))
        await begun.wait()
        runner.stop()
        await asyncio.wait_for(work, 30)

    asyncio.run(stopped())
    assert (set(states(lab.store)), run_row(lab.store)[0]) == ({"todo"}, "stopped")


# Pausing


async def written(runner):
    """Wait until whatever was on its way to the file, and whatever that would have started, has got there."""
    for _ in range(3):
        await runner.store.write_awaited(lambda _: None)


def test_nothing_is_sent_during_a_pause(execute, lab):
    """What is in flight is answered and stored, the next requests wait, and all of them leave afterwards."""
    gate, begun, seen = asyncio.Event(), asyncio.Semaphore(0), []

    async def pause(runner):
        await begun.acquire()
        await begun.acquire()
        runner.pause()
        gate.set()
        while runner.progress.done < 2:
            await written(runner)
        await written(runner)
        seen.append((runner.progress.is_paused, len(runner.backend.requests), states(lab.store)))
        runner.resume()

    runner = execute(held(gate, begun), plan_of(lab, 5), concurrency=2, during=pause)
    assert seen == [(True, 2, ["done", "done", "todo", "todo", "todo"])]
    assert (states(lab.store), run_row(lab.store), runner.progress.is_paused) == (["done"] * 5, ("done", None), False)


def test_what_is_about_to_leave_stays_during_a_pause(execute, lab):
    """A request whose claim was being written is not noted as sent, holds no money, and is sent afterwards."""
    budget, seen = Budget(1.0), []

    async def pause(runner):
        while not runner._passes:  # noqa: ASYNC110 - until the first job is past the gate, no earlier and no later
            await asyncio.sleep(0)
        runner.pause()
        await written(runner)
        seen.append((runner.backend.requests[:], attempts(lab.store), budget.reserved_usd))
        runner.resume()

    plan = plan_of(lab, 2, model="gpt-4.1-mini")
    execute(question, plan, during=pause, is_free=False, budget=budget)
    assert (seen, states(lab.store)) == ([([], [], 0.0)], ["done", "done"])


def test_a_stop_ends_a_pause(execute, lab):
    """A run that is stopped while it is paused ends at once, and what it did not ask can be asked later."""

    async def stop(runner):
        runner.pause()
        await written(runner)
        runner.stop()

    runner = execute(question, plan_of(lab, 3), during=stop)
    assert (states(lab.store), run_row(lab.store)) == (["todo"] * 3, ("stopped", "stopped by its user"))
    assert (runner.progress.is_paused, runner.backend.requests) == (False, [])


def test_a_run_may_end_during_a_pause(execute, lab):
    """When everything was in flight already, its answers end the run, which is not paused then."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def pause(runner):
        await begun.acquire()
        runner.pause()
        gate.set()

    runner = execute(held(gate, begun), plan_of(lab, 1), during=pause)
    assert (run_row(lab.store), runner.progress.is_paused) == (("done", None), False)


def test_a_pause_uses_up_no_patience(execute, lab, time):
    """A request that failed before a pause of an hour is asked as often as if there had been none."""
    failed = asyncio.Event()
    answers = [error_reply(500), error_reply(500), "yes"]

    def script(_):
        failed.set()
        return answers.pop(0)

    async def pause(runner):
        await failed.wait()
        runner.pause()
        await written(runner)
        time.now_s += 3600
        runner.resume()

    execute(script, plan_of(lab, 1), during=pause)
    assert (states(lab.store), attempts(lab.store, "http_status")) == (["done"], [(500,), (500,), (200,)])


def test_only_what_is_in_flight_keeps_its_lease_during_a_pause(lab, time):
    """A sample that waits to be asked again may be taken by another kernel meanwhile; one in flight may not."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def script(body):
        if question(body) == "q0" and not gate.is_set():
            return error_reply(500)
        begun.release()
        await gate.wait()
        return "yes"

    async def paused():
        runner = Runner(ScriptedBackend(script), lab.store, pace=Pace(2, is_fixed=True), clock=time.clock())
        work = asyncio.create_task(runner.execute(1, registered(lab.store, plan_of(lab, 2))))
        await begun.acquire()
        runner.pause()
        while runner.progress.in_flight > 1:
            await written(runner)
        await written(runner)
        before = leases()
        time.now_s += 15
        time.renewals.put_nowait(None)
        await time.renewals.join()
        found = leases(), [before[0], time.now_s + ledger.LEASE_S]
        gate.set()
        runner.resume()
        await work
        return found

    def leases():
        return [row[0] for row in lab.store.read("select lease_until from samples order by id")]

    found, expected = asyncio.run(paused())
    assert found == expected


# When something is broken


def test_a_backend_that_is_not_to_be_had_ends_the_run(execute, lab):
    """Its error is raised, the attempt is known not to have left, and nothing new is sent."""

    def script(_):
        msg = "no model on this machine"
        raise BackendError(msg)

    with pytest.raises(BackendError, match="no model on this machine"):
        execute(script, plan_of(lab, 5))
    assert attempts(lab.store, "state, error_type") == [("error", "backend")]
    assert run_row(lab.store) == ("failed", "BackendError: no model on this machine")
    assert states(lab.store) == ["todo"] * 5


def test_a_fault_of_a_backend_ends_the_run(execute, lab):
    """An exception nobody foresaw is raised; what it may have cost is unknown, and its text is searched for keys."""

    def script(_):
        msg = "sk-" + "a1b2" * 8
        raise KeyError(msg)

    with pytest.raises(KeyError):
        execute(script, plan_of(lab, 5))
    assert attempts(lab.store, "state, error_type") == [("unknown", "cancelled")]
    assert run_row(lab.store) == ("failed", "KeyError: '[redacted]'")


def test_a_file_that_cannot_be_written_ends_the_run(execute, lab):
    """The error is raised, and of many requests no more are sent than were in flight."""
    sent = []

    def script(body):
        sent.append(body)
        return "x" * 400_000

    plan = plan_of(lab, 30)
    registered(lab.store, plan)
    pages = lab.store.write(lambda c: c.execute("pragma page_count").fetchone()[0]).result()
    lab.store.write(lambda c: c.execute(f"pragma max_page_count = {pages + 300}").fetchone()).result()
    with pytest.raises(StoreError, match="the disk is full; free some space and run the cell again"):
        execute(script, plan, concurrency=2)
    stored = states(lab.store).count("done")
    assert stored < len(sent) <= stored + 2


def test_a_plan_that_breaks_on_the_way_ends_the_run(execute, lab):
    """An error while a request is made is raised, and what was asked before it is stored."""
    plan = plan_of(lab, 3)

    def jobs(found):
        yield found[0]
        msg = "a template broke"
        raise ValueError(msg)

    async def broken():
        runner = Runner(ScriptedBackend(), lab.store, pace=Pace(1, is_fixed=True))
        await runner.execute(1, jobs(registered(lab.store, plan)))

    with pytest.raises(ValueError, match="a template broke"):
        asyncio.run(broken())
    assert (states(lab.store), run_row(lab.store)) == (
        ["done", "todo", "todo"],
        ("failed", "ValueError: a template broke"),
    )


# Others on the same file


def test_the_answer_of_another_kernel_is_waited_for(lab, time):
    """A sample that somebody else is asking is not asked; their answer is taken."""
    plan = plan_of(lab, 1)
    jobs = registered(lab.store, plan)
    owner = ledger.new_owner()
    begin = partial(ledger.begin_attempt, run_id=1, sample_ids=[1], request=jobs[0].request, owner=owner)
    claim = lab.store.write(partial(begin, now_s=time.now_s)).result()

    async def wait(event, wait_s):
        if wait_s != ledger.RENEW_EVERY_S:
            lab.store.write(partial(ledger.write_finish, rows=ledger.rows_of(_theirs(claim, owner), now_s=0))).result()
        await time.wait(event, wait_s)

    clock = Clock(lambda: time.now_s, lambda: time.now_s, wait)
    runner = Runner(ScriptedBackend(), lab.store, pace=Pace(1, is_fixed=True), clock=clock)
    asyncio.run(runner.execute(1, jobs))
    assert (runner.backend.requests, runner.progress.answered_before, time.waits) == ([], 1, [0.5])


def _theirs(claim, owner):
    from promptlab.attempts import from_reply

    outcome = from_reply(text_reply("theirs", {"model": "m", "messages": []}), model="m")
    return ledger.Finish(claim, [1], owner, outcome, 1.0, 0.0, "done")


def test_leases_are_renewed_while_a_request_is_in_flight(lab, time):
    """A request that takes long keeps its sample."""
    until = []
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def renewed():
        runner = Runner(ScriptedBackend(held(gate, begun)), lab.store, pace=Pace(1, is_fixed=True), clock=time.clock())
        work = asyncio.create_task(runner.execute(1, registered(lab.store, plan_of(lab, 1))))
        await begun.acquire()
        until.append(lease())
        time.now_s += 15
        time.renewals.put_nowait(None)
        await time.renewals.join()
        until.append(lease())
        gate.set()
        await work

    def lease():
        return lab.store.read("select lease_until from samples")[0][0]

    asyncio.run(renewed())
    assert until == [1060.0, 1075.0]


def test_two_runners_on_one_file_ask_each_sample_once(tmp_path, lab):
    """Whoever claims a sample sends it; the other takes the answer."""
    jobs = registered(lab.store, plan_of(lab, 30))

    async def script(_):
        await asyncio.sleep(0.001)
        return "yes"

    async def both(other):
        runners = [Runner(ScriptedBackend(script), store, pace=Pace(4, is_fixed=True)) for store in (lab.store, other)]
        await asyncio.gather(*(runner.execute(1, jobs) for runner in runners))
        return sum(len(runner.backend.requests) for runner in runners)

    with closing(Store(tmp_path / "lab.db")) as other:
        assert asyncio.run(both(other)) == 30
    assert states(lab.store) == ["done"] * 30
