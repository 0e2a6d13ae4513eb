"""Durability: what was acknowledged survives kill -9, power cuts, restarts, interrupts and locks; all is accounted for.

Children sweep against the fault server of this process, and tell of every answer they have acknowledged. After each
fault the file is compared with the server's ledger, request by request. The full sizes run with `make soak`.
"""

import random
import signal
import sqlite3
import time
from collections import deque
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from faultserver import FaultServer
from processes import HERE, run_python, start_python, wait_until
from promptlab import Lab
from promptlab.store import Store, StoreWarning
from studies import BRISK, plan_of
from sweeps import KEY, Sweep, answers_in, discrepancies, rows, states_of

pytestmark = [pytest.mark.crash, pytest.mark.slow]


@pytest.fixture
def path(tmp_path):
    """Where the file is."""
    return tmp_path / "lab.db"


# kill -9

SIZES = [
    pytest.param(Sweep(100, repeats=2), 6, id="suite"),
    pytest.param(Sweep(500, repeats=4, concurrency=16), 20, id="soak", marks=pytest.mark.soak),
]
# Server errors, throttles, cuts before and in the middle of an answer, answers that cannot be read.
FAULTS = "mix:0.06=500;0.03=429:retry_after=0.02:ms=1;0.03=reset_body;0.02=truncated_json;rest=ok:ms=15"


@dataclass(frozen=True)
class Kill:
    """What a killed process had acknowledged, and what it left: answers, and attempts without an end."""

    acknowledged: int
    answers: dict[int, int]
    open: int


def killed(sweep, path, base_url, *, kills, seed=0):
    """Kill a sweep at random moments, resume it each time, and let it end; return what each kill left."""
    chance, history = random.Random(seed), []
    for left in range(kills, 0, -1):
        missing = sweep.requests - len(answers_in(path))
        answers = chance.randrange(1 + 3 * missing // (2 * left + 2))  # three quarters of the rest at most
        acknowledged = sweep.kill_after(answers, path, base_url)
        history.append(Kill(acknowledged, answers_in(path), states_of(path).get("sent", 0)))
    assert sweep.finish(path, base_url).startswith("end 1 done ")
    return history


def check_kills(sweep, path, history):
    """Assert that no acknowledged answer was lost or replaced, and that every open attempt was named unknown."""
    before = [{}, *(kill.answers for kill in history)]
    lost = [kill.acknowledged - (len(kill.answers) - len(had)) for kill, had in zip(history, before, strict=False)]
    final = answers_in(path)
    replaced = [kill.answers.items() - final.items() for kill in history]
    abandoned = rows(path, "select count(*) from attempts where state = 'unknown' and error_type = 'abandoned'")
    assert max(lost) <= 0
    assert replaced == [set()] * len(history)
    assert max(kill.open for kill in history) <= sweep.concurrency
    assert abandoned == [(sum(kill.open for kill in history),)]


@pytest.mark.parametrize(("sweep", "kills"), SIZES)
def test_kill9_sweep_20(path, sweep, kills):
    """After kill -9 at random moments and as many resumptions there is one answer a request, and none was lost."""
    with FaultServer(default="ok,ms=20") as server:
        history = killed(sweep, path, server.base_url, kills=kills)
        ledger = server.ledger()
    check_kills(sweep, path, history)
    assert discrepancies(path, ledger) == {}
    assert states_of(path, "samples") == {"done": sweep.requests}
    attempts = states_of(path)
    assert attempts == {"ok": sweep.requests, "unknown": sum(kill.open for kill in history)}
    assert len(ledger) <= sum(attempts.values())  # some attempts were written down, and killed before they left


@pytest.mark.parametrize(("sweep", "kills"), SIZES)
def test_kill9_pessimistic_bill(path, sweep, kills):
    """The same among faults, with a server that bills who hangs up: every paid answer is logged or named."""
    with FaultServer(default=FAULTS, bill_on_disconnect=True) as server:
        history = killed(sweep, path, server.base_url, kills=kills)
        ledger = server.ledger()
    check_kills(sweep, path, history)
    assert discrepancies(path, ledger) == {}
    samples, attempts = states_of(path, "samples"), states_of(path)
    assert sum(samples.values()) == sweep.requests
    assert samples["done"] == attempts["ok"] == sum(1 for _ in answers_in(path))
    billed = sum(entry["billed"] for entry in ledger)
    assert attempts["ok"] < billed <= attempts["ok"] + attempts["unknown"] + attempts["error"]


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


def test_a_plan_killed_while_it_is_being_written_is_completed(path):
    """However much of it was in the file, the same plan is then one whole run."""
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
    return rows(path, "select count(*) from trials")[0][0]


def test_the_audit_names_what_is_wrong(path):
    """A request without a row, an answer that was lost, one that was never billed, and one asked twice are all told."""
    sweep = Sweep(4)
    with FaultServer() as server:
        sweep.finish(path, server.base_url)
        ledger = sorted(server.ledger(), key=lambda entry: entry["seq"])
    assert discrepancies(path, ledger) == {}
    first, second, third, _ = (entry["client_request_id"] for entry in ledger)
    with closing(sqlite3.connect(path)) as connection:
        change = "update attempts set state = ?, response = null where client_request_id = ?"
        connection.executemany(change, [("error", first), ("sent", second)])
        connection.execute(
            "insert into outputs select id + 9, attempt_id, sample_id, choice, text, null, null, null, null,"
            " flags, null, null, null, created_at from outputs where id = 1"
        )
        connection.commit()
    stranger = {**ledger[0], "client_request_id": "stranger", "billed": False}
    found = discrepancies(path, [*(each for each in ledger if each["client_request_id"] != third), stranger])
    assert found == {
        "served without a row": ["stranger"],
        "logged as answered, never served": [third],
        "billed and lost": [second],
        "logged, never billed": [ledger[2]["id"]],
        "without an end": [second],
        "answered twice": [(1,)],
    }


# Interrupts

# SIGALRM comes every 1.4 ms, and interrupts only where the loop can hear it, every 5 ms at most. One that is swallowed
# (in a finalizer, say) is followed by another, and one that meets the handler of the last is heard as well.
STORM = """
import signal, sys, time
sys.path.insert(0, ".")
from pathlib import Path
from test_writer import add, open_
from promptlab.writer import Writer

path, heard, acknowledged = Path(sys.argv[1]), 0, []
storm = {"is_on": False, "last_s": 0.0}

def interrupt(*_):
    if storm["is_on"] and time.monotonic() - storm["last_s"] > 0.005:
        storm["last_s"] = time.monotonic()
        raise KeyboardInterrupt

def work(writer):
    storm["is_on"] = True
    while True:
        text = f"{heard}/{len(acknowledged)}"
        writer.submit(add(text)).result()
        acknowledged.append(text)

with open_(path) as connection:
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table notes (id integer primary key, text text not null unique) strict")
connection.close()
writer = Writer(lambda: open_(path), path=path)
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0014)
while heard < 400:
    try:
        try:
            work(writer)
        except KeyboardInterrupt:
            storm["is_on"] = False
    except KeyboardInterrupt:
        storm["is_on"] = False
    heard += 1
signal.setitimer(signal.ITIMER_REAL, 0)
writer.submit(add("the last one")).result(timeout=10)
other = open_(path, timeout=0)
other.execute("begin immediate")
found = {row[0] for row in other.execute("select text from notes")}
print(set(acknowledged) - found, "the last one" in found, len(acknowledged) > 400)
other.execute("rollback")
writer.close()
"""


def test_sigint_400(path, monkeypatch):
    """After 400 KeyboardInterrupts at any moment in the main thread all acknowledged rows are there, none half done."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)  # an interrupt that meets coverage's own lock leaves it locked
    assert run_python(STORM, path) == "set() True True\n"


INTERRUPTED = """
import sys
sys.path.insert(0, ".")
from studies import plan_of
from promptlab import Lab
with Lab(sys.argv[1], base_url=sys.argv[2], api_key=sys.argv[3]) as lab:
    try:
        lab.run(plan_of(lab, 40), concurrency=4)
    except KeyboardInterrupt:
        run = lab.last_run
        print("interrupted", run.status, run.usage.attempts, run.usage.unknown, flush=True)
"""


@contextmanager
def interrupted(path, server):
    """Interrupt a sweep that has four requests in flight and has drawn its bar, and wait until it says it stops."""
    with start_python(INTERRUPTED, path, server.base_url, KEY) as process:
        read_until(process, "0/40")
        wait_until(lambda: server.service.in_flight == 4, "four requests in flight")
        process.send_signal(signal.SIGINT)
        read_until(process, "in flight, interrupt again to drop them")
        yield process


def read_until(process, text):
    """Read what a process says on stderr until it has said this."""
    said = ""
    while text not in said:
        said += process.stderr.read(1) or pytest.fail(f"it ended without saying {text!r}: {said}")


def resumed(path, server):
    """Run the interrupted sweep to its end."""
    with Lab(path, base_url=server.base_url, api_key=KEY) as lab:
        run = lab.run(plan_of(lab, 40), progress=False)
        return run.id, run.status, run.errors.empty


def test_ctrl_c_once_awaits_what_is_in_flight(path, fault_server):
    """What was sent is answered and logged, nothing new leaves, the cell is interrupted; later the rest is asked."""
    fault_server.set(latency_ms=500)
    with interrupted(path, fault_server) as process:
        said, _ = process.communicate(timeout=60)
    stats = fault_server.stats()
    assert said == f"interrupted stopped {stats['requests']} 0\n"
    assert 4 <= stats["requests"] == stats["billed"] == stats["delivered"] == len(answers_in(path)) < 40
    fault_server.set(latency_ms=0)
    assert resumed(path, fault_server) == (1, "done", True)
    assert discrepancies(path, fault_server.ledger()) == {}
    assert len(fault_server.ledger()) == 40


def test_ctrl_c_twice_drops_what_is_in_flight(path, fault_server):
    """Nothing is waited for; what was in flight is unknown, since it may be billed, and is asked again."""
    fault_server.set(default="hang")
    with interrupted(path, fault_server) as process:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert said == "interrupted stopped 4 4\n"
    assert len(fault_server.ledger()) == 4
    fault_server.set(default="ok")
    assert resumed(path, fault_server) == (1, "done", True)
    assert discrepancies(path, fault_server.ledger()) == {}
    assert (len(fault_server.ledger()), states_of(path)) == (44, {"ok": 40, "unknown": 4})


# Kernels

CELL = """
import sys
sys.path.insert(0, {here!r})
from studies import BRISK, plan_of
from promptlab import Lab
lab = Lab({path!r}, base_url={base_url!r}, api_key={key!r}, policy=BRISK)
run = lab.run(plan_of(lab, {questions}), concurrency=8, progress=False)
print(run.id, run.status, run.errors.empty)
"""


class Kernel:
    """A Jupyter kernel, and its client."""

    def __init__(self):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=120)

    def run(self, code):
        """Run a cell to its end and return what it printed or raised."""
        said = []
        self.client.execute_interactive(code, timeout=120, output_hook=lambda message: said.append(message["content"]))
        return "".join(content.get("text") or content.get("ename", "") for content in said)

    def restart(self, *, now):
        """Restart it, by SIGKILL or as the button does: interrupted, then shut down."""
        self.manager.restart_kernel(now=now)
        self.client.wait_for_ready(timeout=120)

    def close(self):
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel with folders of its own."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with closing(Kernel()) as kernel:
        yield kernel


@pytest.mark.parametrize("now", [pytest.param(False, id="the-button"), pytest.param(True, id="it-died")])
@pytest.mark.parametrize("restarts", [pytest.param(1, id="suite"), pytest.param(5, id="soak", marks=pytest.mark.soak)])
def test_kernel_restart(path, fault_server, kernel, restarts, now):
    """A kernel restarted in the middle of a sweep has lost nothing; the cell, run again, asks for the rest."""
    questions = 200 * restarts
    where = {"here": str(HERE), "path": str(path), "base_url": fault_server.base_url, "key": KEY}
    cell = CELL.format(**where, questions=questions)
    fault_server.set(latency_ms=30)
    history = []
    for part in range(100, questions, 200):
        kernel.client.execute(cell)
        wait_until(lambda part=part: fault_server.service.requests >= part, "a part of the requests")
        kernel.restart(now=now)
        history.append(answers_in(path))
    assert kernel.run(cell) == "1 done True\n"
    final, attempts = answers_in(path), states_of(path)
    assert [found.items() <= final.items() for found in history] == [True] * restarts
    assert discrepancies(path, fault_server.ledger()) == {}
    assert (len(final), attempts["ok"]) == (questions, questions)
    assert attempts.get("unknown", 0) <= (8 * restarts if now else 0)  # the button interrupts first, which ends cleanly


# Locks, and a log that stays small


@pytest.mark.parametrize("held_s", [pytest.param(1, id="suite"), pytest.param(30, id="soak", marks=pytest.mark.soak)])
def test_locked_db(path, fault_server, held_s):
    """While another program holds the file nothing is lost, nothing fails, and the notebook can read."""
    fault_server.set(latency_ms=40)
    with Lab(path, base_url=fault_server.base_url, api_key=KEY, policy=BRISK) as lab:
        run = lab.start(plan_of(lab, 300), concurrency=8)
        wait_until(lambda: run.progress.done >= 20, "the first answers")
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as other:
            other.execute("begin exclusive")
            before = len(lab.sql("select id from outputs"))
            time.sleep(held_s)
            after = (len(lab.sql("select id from outputs")), run.status, fault_server.settle())
            other.execute("rollback")
        run.wait(progress=False)
        found = (run.status, run.usage.attempts, run.usage.unknown, run.errors.empty)
    assert after == (before, "running", True)
    assert found == ("done", 300, 0, True)
    assert discrepancies(path, fault_server.ledger()) == {}
    assert len(fault_server.ledger()) == 300


MB = 1_000_000


def add_case(connection, *, key):
    """Insert a row of 4 kB."""
    connection.execute("insert into cases (key, inputs) values (?, ?)", (key, "x" * 4000))


def fill(store, numbers, *, waiting=64):
    """Write rows, so many waiting at a time; yield after each commit."""
    futures = deque()
    for number in numbers:
        futures.append(store.write(partial(add_case, key=str(number))))
        if len(futures) == waiting:
            futures.popleft().result()
            yield number
    for future in futures:
        future.result()


def log_bytes(path):
    """Return the size of the write-ahead log."""
    log = Path(f"{path}-wal")
    return log.stat().st_size if log.exists() else 0


@pytest.mark.parametrize(
    "count", [pytest.param(20_000, id="suite"), pytest.param(100_000, id="soak", marks=pytest.mark.soak)]
)
def test_wal_bounded(path, count):
    """However much is written the log stays below 64 MB, and nothing of it is left after closing."""
    with closing(Store(path)) as store:
        largest = max(log_bytes(path) for _ in fill(store, range(count)))
    assert 32 * MB < largest < 64 * MB
    assert (log_bytes(path), rows(path, "select count(*) from cases")) == (0, [(count,)])


@contextmanager
def reading(path):
    """Hold a reading transaction open, as a half-read cursor does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from cases").fetchall()
        yield
        reader.execute("rollback")


def test_a_log_that_a_reader_held_is_folded_when_it_lets_go(path):
    """A reader keeps the log growing, which is told, and loses nobody a row; once it has gone, the file has it all."""
    with closing(Store(path)) as store:
        deque(fill(store, range(100)))
        with reading(path):
            with pytest.warns(StoreWarning, match="close what reads"):
                deque(fill(store, range(100, 18_000)))
            held = log_bytes(path)
        wait_until(lambda: log_bytes(path) == 0, "a folded log")
        assert held > 64 * MB
        assert store.read("select count(*) from cases")[0][0] == 18_000
