"""Crashes: a sweep killed at any moment loses nothing it had acknowledged, and pays for nothing it cannot account for.

A child sweeps against the fault server of this process, and tells of every answer it has acknowledged; it is killed
with SIGKILL after some number of them, and started again until it has finished.
"""

import json
import random
import signal
import sqlite3
from contextlib import closing

import pytest

from faultserver import FaultServer
from processes import start_python, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.slow]

QUESTIONS, REPEATS, IN_FLIGHT, KILLS = 60, 3, 8, 6

# The runner counts an answer as done only after its commit, so what this prints has been acknowledged.
SWEEP = f"""
import os, sys, time
sys.path.insert(0, ".")
from studies import plan_of, BRISK
from promptlab import Lab
lab = Lab(sys.argv[1], base_url=sys.argv[2], api_key="sk-test-1234567890", policy=BRISK)
run = lab.start(plan_of(lab, {QUESTIONS}, repeats={REPEATS}, temperature=1), concurrency={IN_FLIGHT})
told, live = 0, run.progress
while live and run.status in ("planned", "running"):
    if live.done > told:
        told = live.done
        os.write(1, f"{{told}}\\n".encode())
    time.sleep(0.002)
run.wait(progress=False)
print("end", run.id, run.status, flush=True)
lab.close()
"""


def sweep_until(path, base_url, answers):
    """Start a sweep and kill it when it has acknowledged so many answers; return how many, or None if it finished."""
    acknowledged, line = 0, ""
    with start_python(SWEEP, path, base_url) as process:
        for line in process.stdout:
            if line.startswith("end"):
                break
            acknowledged = int(line)
            if acknowledged >= answers:
                process.kill()
        errors = process.stderr.read()
    was_killed = process.returncode == -signal.SIGKILL
    assert was_killed or line == "end 1 done\n", errors
    return acknowledged if was_killed else None


def answers_in(path):
    """Return which output each sample has, read as another program would."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        return dict(connection.execute("select id, output_id from samples where state = 'done'"))


def swept(path, server, *, kills, seed=0):
    """Sweep with a number of kills, then to the end; return what was acknowledged and found after each kill."""
    chance, history = random.Random(seed), []
    total = QUESTIONS * REPEATS
    while len(history) < kills:
        before = len(answers_in(path)) if path.exists() else 0
        acknowledged = sweep_until(path, server.base_url, chance.randrange(max(1, (total - before) // 3)))
        server.settle()
        history.append((before, acknowledged, answers_in(path)))
    assert sweep_until(path, server.base_url, total + 1) is None
    return history


@pytest.mark.parametrize(
    ("default", "bills"),
    [
        pytest.param("ok,ms=20", False, id="plain"),
        pytest.param(
            "mix:0.06=500;0.03=429:retry_after=0.02:ms=1;0.03=reset_body;0.02=truncated_json;rest=ok:ms=15",
            True,
            id="faults-and-pessimistic-bills",
        ),
    ],
)
def test_a_killed_sweep_loses_nothing_and_accounts_for_everything(tmp_path, default, bills):
    """After kill -9 at random moments and as many resumptions, every figure of the file agrees with the server's."""
    path = tmp_path / "lab.db"
    with FaultServer(default=default, bill_on_disconnect=bills) as server:
        history = swept(path, server, kills=KILLS)
        ledger = server.ledger()
    final = answers_in(path)

    lost = [acknowledged - (len(found) - before) for before, acknowledged, found in history if acknowledged is not None]
    assert max(lost) <= 0
    assert [found.items() <= final.items() for _, _, found in history] == [True] * KILLS  # no answer was replaced
    with closing(sqlite3.connect(path)) as connection:
        attempts = connection.execute("select client_request_id, state, response from attempts").fetchall()
        failed = connection.execute("select count(*) from samples where state = 'failed'").fetchone()[0]
        doubled = connection.execute("select sample_id from outputs group by sample_id having count(*) > 1").fetchall()
        runs = connection.execute("select count(*), min(status) from runs").fetchall()
    assert (len(final) + failed, doubled, runs) == (QUESTIONS * REPEATS, [], [(1, "done")])

    served = {entry["client_request_id"]: entry for entry in ledger}
    states = {sent_as: state for sent_as, state, _ in attempts}
    assert set(served) - set(states) == set()  # nothing left this machine before it was written down
    assert {states[sent_as] for sent_as in set(states) - set(served)} <= {"unknown"}  # written down, and never arrived
    assert set(states.values()) == {"ok", "unknown"} | ({"error"} if bills else set())

    paid = {entry["id"]: sent_as for sent_as, entry in served.items() if entry["billed"]}
    logged = {json.loads(response)["id"] for _, state, response in attempts if state == "ok"}
    assert logged <= set(paid)
    unlogged = {states[sent_as] for billed, sent_as in paid.items() if billed not in logged}
    assert unlogged <= {"unknown", "error"}  # cut, killed, or unreadable: each has its row


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path):
    """What hung when it was killed is asked again by the next run, long before the lease has run out."""
    path = tmp_path / "lab.db"
    with FaultServer(default="hang") as server:
        with start_python(SWEEP, path, server.base_url) as process:
            wait_until(lambda: server.service.in_flight == IN_FLIGHT, "requests in flight")
            process.kill()
        server.set(default="ok")
        assert sweep_until(path, server.base_url, QUESTIONS * REPEATS + 1) is None
        requests = len(server.ledger())
    with closing(sqlite3.connect(path)) as connection:
        abandoned = connection.execute(
            "select count(*), min(http_status) from attempts where state = 'unknown' and error_type = 'abandoned'"
        ).fetchall()
    assert (abandoned, requests) == ([(IN_FLIGHT, None)], QUESTIONS * REPEATS + IN_FLIGHT)


REGISTER = """
import sys
sys.path.insert(0, ".")
from studies import plan_of
from promptlab import Lab
from promptlab.testing import ScriptedBackend
with Lab(sys.argv[1], backend=ScriptedBackend()) as lab:
    plan = plan_of(lab, 3000)
    print("planned", flush=True)
    run = lab.run(plan, progress=False)
    print("end", run.id, run.status, len(run), flush=True)
"""


def test_a_plan_killed_while_it_is_being_written_is_completed(tmp_path):
    """However much of it was in the file, the same plan is then one whole run."""
    path = tmp_path / "lab.db"
    with start_python(REGISTER, path) as process:
        assert process.stdout.readline() == "planned\n"
        wait_until(lambda: trials(path) > 0, "the first rows of the plan")
        process.kill()
    assert 0 < trials(path) <= 3000
    with start_python(REGISTER, path) as process:
        said, errors = process.communicate(timeout=120)
    assert (said, errors) == ("planned\nend 1 done 3000\n", "")


def trials(path):
    """Return how many trials the file holds."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select count(*) from trials").fetchone()[0]
