"""Many hands on one file: processes, threads, readers and forks, one that was killed and one that slept.

Nothing is paid for twice, nobody loses a row, and nobody meets a lock. The full sizes run with `make soak`.
"""

import asyncio
import hashlib
import json
import math
import os
import signal
import sqlite3
import threading
import time
import warnings
from contextlib import closing

import pandas as pd
import pytest

from processes import run_python, start_python, wait_until
from promptlab import Lab
from promptlab.errors import StoreError
from promptlab.ledger import LEASE_S
from promptlab.limits import Pace
from promptlab.runner import Runner
from promptlab.testing import ScriptedBackend
from studies import BRISK, plan_of
from sweeps import KEY, Sweep, answers_in, discrepancies, rows, states_of
from test_runner import ManualClock, registered

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path):
    """Where the file is."""
    return tmp_path / "lab.db"


def soak(*values):
    """Return a parameter of the full size."""
    return pytest.param(*values, id="soak", marks=pytest.mark.soak)


def suite(*values):
    """Return a parameter of a size for every day."""
    return pytest.param(*values, id="suite")


# Who asks


@pytest.mark.parametrize("sweep", [suite(Sweep(100, repeats=2)), soak(Sweep(500, repeats=4, concurrency=32))])
def test_two_kernels_one_sweep(path, fault_server, sweep):
    """Two processes with one plan on one file ask for each answer once, and both end with all of them."""
    fault_server.set(latency_ms=10)
    processes = [sweep.start(path, fault_server.base_url) for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [errors for _, errors in ends] == ["", ""]
    last = [said.splitlines()[-1] for said, _ in ends]
    assert last[0] == last[1]
    assert last[0].startswith("end 1 done ")
    stats = fault_server.stats()
    assert (stats["requests"], stats["billed"], states_of(path)) == (
        sweep.requests,
        sweep.requests,
        {"ok": sweep.requests},
    )
    assert discrepancies(path, fault_server.ledger()) == {}


def test_lease_expiry(path, fault_server):
    """What hung in a process that was killed is asked again by the next one, long before its lease has run out."""
    sweep = Sweep(60, repeats=3)
    fault_server.set(default="hang")
    with sweep.start(path, fault_server.base_url) as process:
        wait_until(lambda: fault_server.service.in_flight == sweep.concurrency, "requests in flight")
        process.kill()
    fault_server.set(default="ok")
    assert sweep.finish(path, fault_server.base_url).startswith("end 1 done ")
    abandoned = rows(path, "select count(*) from attempts where state = 'unknown' and error_type = 'abandoned'")
    assert (abandoned, len(fault_server.ledger())) == ([(sweep.concurrency,)], sweep.requests + sweep.concurrency)
    assert discrepancies(path, fault_server.ledger()) == {}


@pytest.mark.soak
def test_lease_expiry_of_a_process_that_sleeps(path, fault_server):
    """What hangs in a process that was stopped is taken over when its lease has run out; awake, it asks for nothing."""
    sweep = Sweep(60, repeats=3)
    fault_server.set(default="hang")
    with sweep.start(path, fault_server.base_url) as sleeper:
        wait_until(lambda: fault_server.service.in_flight == sweep.concurrency, "requests in flight")
        sleeper.send_signal(signal.SIGSTOP)
        stopped_at = time.time()
        fault_server.set(default="ok")
        end = sweep.finish(path, fault_server.base_url)
        sent_at = max(entry["t"] for entry in fault_server.service.entries)
        sleeper.send_signal(signal.SIGCONT)
        said, errors = sleeper.communicate(timeout=60)
    assert (said.splitlines()[-1], errors) == (end, "")
    assert sent_at - stopped_at < LEASE_S + 5
    assert discrepancies(path, fault_server.ledger()) == {}
    assert len(fault_server.ledger()) == sweep.requests + sweep.concurrency


@pytest.mark.parametrize(
    ("slept_s", "deadline_s"),
    [pytest.param(2.0, 1.0, id="suite"), pytest.param(15, 10.0, id="soak", marks=pytest.mark.soak)],
)
def test_sleep_15s(path, fault_server, slept_s, deadline_s):
    """A process stopped for longer than a request may take reads the answers that waited, and asks nothing twice."""
    sweep = Sweep(300, concurrency=16, deadline_s=deadline_s)
    fault_server.set(latency_ms=50)
    with sweep.start(path, fault_server.base_url) as process:
        wait_until(lambda: fault_server.service.requests >= 100, "the first requests")
        process.send_signal(signal.SIGSTOP)
        time.sleep(slept_s)
        process.send_signal(signal.SIGCONT)
        said, errors = process.communicate(timeout=60)
    assert (said.splitlines()[-1][:11], errors) == ("end 1 done ", "")
    assert discrepancies(path, fault_server.ledger()) == {}
    assert states_of(path, "samples") == {"done": 300}
    assert states_of(path) == {"ok": 300}
    assert len(fault_server.ledger()) == 300


class Napping:
    """A store whose owner falls asleep when its first claim has been committed, and hears of it once it is awake."""

    def __init__(self, store):
        self.store = store
        self.sleeps, self.wakes = asyncio.Event(), asyncio.Event()

    def write_awaited(self, operation, *, is_fleeting=False):
        """Write, and hold back the answer to the first claim."""
        written = self.store.write_awaited(operation, is_fleeting=is_fleeting)
        is_claim = operation.func.__name__ == "begin_attempt"
        return asyncio.ensure_future(self._held(written)) if is_claim and not self.sleeps.is_set() else written

    async def _held(self, written):
        value = await written
        self.sleeps.set()
        await self.wakes.wait()
        return value


def test_an_owner_that_sleeps_between_claim_and_sending_asks_nobody_twice(path):
    """The clock jumps by an hour after the claim, another kernel takes over and asks; the sleeper finds it done."""
    clock, backend = ManualClock(), ScriptedBackend()
    with Lab(path, backend=backend) as lab:
        plan = plan_of(lab, 1)
        jobs = registered(lab.store, plan)
        store = Napping(lab.store)
        sleeper = Runner(backend, store, pace=Pace(1, is_fixed=True), clock=clock.clock())
        other = Runner(backend, lab.store, pace=Pace(1, is_fixed=True), clock=clock.clock())

        async def nap():
            asleep = asyncio.create_task(sleeper.execute(1, jobs))
            await store.sleeps.wait()
            clock.now_s += 3600
            await other.execute(1, jobs)
            store.wakes.set()
            await asleep

        asyncio.run(nap())
    assert (len(backend.requests), states_of(path, "samples"), len(answers_in(path))) == (1, {"done": 1}, 1)
    assert (other.progress.done, sleeper.progress.done, sleeper.progress.answered_before) == (1, 0, 1)


def test_resume_noop(path, fault_server):
    """A finished sweep of 2,000 trials, run again on its file or a shared copy, sends nothing and changes no byte."""
    with Lab(path, base_url=fault_server.base_url, api_key=KEY) as lab:
        outputs = lab.run(plan_of(lab, 500, repeats=4), progress=False).outputs
        shared = lab.store.copy_to(path.with_name("shared.db"))
    before = {each.name: sha256(each) for each in path.parent.iterdir()}
    for file in (path, shared):
        with Lab(file, base_url=fault_server.base_url, api_key=KEY) as lab:
            run = lab.run(plan_of(lab, 500, repeats=4), progress=False)
            assert (run.id, run.status, run.outputs == outputs) == (1, "done", True)
            if file == shared:  # a file at rest outside WAL is read without a side file
                assert {each.name for each in path.parent.iterdir()} == set(before)
    assert {each.name: sha256(each) for each in path.parent.iterdir()} == before
    assert set(before) == {"lab.db", "shared.db"}
    assert len(fault_server.ledger()) == 2000


def sha256(path):
    """Return the hash of a file's bytes. Only for files that nothing in this process has open: see promptlab.store."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Who writes and who reads

FILL = """
import json, sys, threading
from functools import partial
from promptlab.store import Store

store, worker, count = Store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
acknowledged, errors = [], []

def add(connection, key):
    connection.execute("insert into cases (key, inputs) values (?, ?)", (key, "x" * 4000))

def produce(producer):
    for number in range(producer, count, 16):
        key = f"{worker}/{number}"
        try:
            store.write(partial(add, key=key)).result()
        except Exception as exc:
            errors.append(repr(exc))
        else:
            acknowledged.append(key)

threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
store.close()
print(json.dumps([acknowledged, errors]))
"""


@pytest.mark.parametrize("count", [suite(500), soak(5000)])
def test_four_kernels_5000(path, count):
    """Four processes that make one file and write to it at once lose no row, and none of them fails."""
    processes = [start_python(FILL, path, worker, count) for worker in range(4)]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [errors for _, errors in ends] == [""] * 4
    acknowledged, errors = zip(*(json.loads(said) for said, _ in ends), strict=True)
    assert errors == ([], [], [], [])
    found = {key for (key,) in rows(path, "select key from cases")}
    assert set().union(*acknowledged) == found
    assert (len(found), rows(path, "pragma integrity_check")) == (4 * count, [("ok",)])


def test_reader_while_writing(path, fault_server):
    """A loop that reads the growing file with pandas, and one through promptlab, never meet a lock or a half answer."""
    sweep, counts = Sweep(600), []
    fault_server.set(latency_ms=10)
    with sweep.start(path, fault_server.base_url) as process:
        assert int(process.stdout.readline()) > 0  # the first answer is there
        with Lab(path, offline=True, base_url=fault_server.base_url) as lab:
            while process.poll() is None:
                frame = lab.load(1).frame()
                with closing(sqlite3.connect(path, timeout=0)) as other:
                    rows_ = pd.read_sql_query(
                        "select output, finish_reason from trials_view where state = 'done'", other
                    )
                assert rows_.notna().all(axis=None)
                counts += [frame["status"].eq("ok").sum(), len(rows_)]
    assert process.returncode == 0
    assert counts == sorted(counts)
    assert len(set(counts)) > 1
    assert len(answers_in(path)) == 600


def test_fork_and_threads(path):
    """Threads share one lab; a child forked amid a run is told to open its own, and the run does not notice."""
    goes_on = threading.Event()

    async def script(_):
        await asyncio.to_thread(goes_on.wait)
        return "yes"

    with Lab(path, backend=ScriptedBackend(script)) as lab:
        run = lab.start(plan_of(lab, 20))
        wait_until(lambda: run.progress.in_flight == 20, "requests in flight")
        found = []
        threads = [threading.Thread(target=lambda: found.append(_noted(lab.store))) for _ in range(8)]
        for thread in threads:
            thread.start()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # forking beside threads, 3.12 on
            child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends it, should it wait for a lock that nobody holds there
            os._exit(_refusals(lab))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        for thread in threads:
            thread.join()
        goes_on.set()
        run.wait(progress=False)
        assert (run.status, run.errors.empty) == ("done", True)
    assert sorted(found) == [50] * 8
    assert rows(path, "select count(*) from cases where key like 'thread %'") == [(400,)]
    assert rows(path, "pragma integrity_check") == [("ok",)]


def _noted(store):
    """Write rows from this thread, and return how many of them it can read."""
    prefix = f"thread {threading.get_ident()}/"
    insert = "insert into cases (key, inputs) values (?, '{}')"
    for number in range(50):
        store.write(lambda connection, number=number: connection.execute(insert, (f"{prefix}{number}",))).result()
    return store.read("select count(*) from cases where key like ?", (f"{prefix}%",))[0][0]


def _refusals(lab):
    """Return how often the lab refuses to work in this process."""
    refused = 0
    for attempt in (lab.runs, lambda: lab.run(plan_of(lab, 3)), lambda: _noted(lab.store)):
        try:
            attempt()
        except StoreError as exc:
            refused += "open the lab anew in the child" in str(exc)
    return refused


SECOND = """
import sys, warnings
sys.path.insert(0, sys.argv[2])
from promptlab import doctor
from promptlab.store import Store
with warnings.catch_warnings(record=True, action="always") as caught:
    store = Store(sys.argv[1])
    store.write(lambda connection: connection.execute("insert into cases (key, inputs) values ('a', '{}')")).result()
    print(store.read("select count(*) from cases")[0][0])
    store.close()
    Store(sys.argv[1]).close()
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")
print(*(f"{each.mark} {each.text}" for each in doctor.findings() if each.topic == "second SQLite"))
"""
# Another library's classes and errors are not those of Python's own.
PYSQLITE3 = """
import sqlite3.dbapi2
for name, value in vars(sqlite3.dbapi2).items():
    if not name.startswith("_"):
        is_error = isinstance(value, type) and issubclass(value, Exception)
        globals()[name] = type(name, (Exception,) if is_error else (), {}) if isinstance(value, type) else value
def connect(*args, **kwargs):
    raise SystemExit("promptlab opened its file through a second library")
"""


def test_second_sqlite_library(path, tmp_path):
    """Where pysqlite3 is installed, which sqlite-utils takes without a word, opening a file warns; we never use it."""
    package = tmp_path / "site" / "pysqlite3"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("from pysqlite3.dbapi2 import *\n")
    package.joinpath("dbapi2.py").write_text(PYSQLITE3)
    count, *told, doctor = run_python(SECOND, path, package.parent).splitlines()
    told_each = (
        "StoreWarning: pysqlite3 is installed, and sqlite-utils takes it in place of Python's own SQLite: opening a"
        f" file with both in one process drops their locks on it; uninstall it, or open {path} with promptlab alone"
    )
    advice = "bad pysqlite3 is installed: uninstall it, or never open a file of promptlab with sqlite-utils"
    assert (count, told, doctor) == ("1", [told_each] * 2, advice)


# Who waits


@pytest.mark.soak
def test_loop_lag(path, fault_server):
    """While 64 requests are in flight the notebook's own event loop turns: its lag stays below 50 ms in 99 of 100."""
    fault_server.set(latency_ms=50)
    lags = []

    async def tick():
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append((time.monotonic() - began_s - 0.005) * 1000)

    async def cell(lab):
        ticking = asyncio.create_task(tick())
        run = await lab.start(plan_of(lab, 1000, repeats=4), concurrency=64)
        ticking.cancel()
        return run.status

    with Lab(path, base_url=fault_server.base_url, api_key=KEY, policy=BRISK) as lab:
        assert asyncio.run(cell(lab)) == "done"
    assert sorted(lags)[math.ceil(0.99 * len(lags)) - 1] < 50
