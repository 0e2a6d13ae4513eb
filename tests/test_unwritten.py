"""Answers that the file does not take: none is lost, none is asked for again, and the run stops at once."""

import json
import sqlite3
from contextlib import closing

import pytest

from faultserver import FaultServer
from processes import run_python, wait_until
from promptlab import Lab, StoreError, unwritten
from promptlab.errors import StoreWarning
from promptlab.testing import ScriptedBackend, error_reply
from studies import BRISK, plan_of
from sweeps import KEY, discrepancies

REQUESTS, IN_FLIGHT = 200, 8


@pytest.fixture
def path(tmp_path):
    """Where the file is."""
    return tmp_path / "lab.db"


@pytest.fixture
def lab(path, fault_server):
    """A lab that asks a server which takes a moment."""
    fault_server.set(latency_ms=10)
    with Lab(path, base_url=fault_server.base_url, api_key=KEY, policy=BRISK) as lab:
        yield lab


def shrink(lab, pages):
    """Let the file grow by so many pages, or by as many as it likes; the writer's connection keeps to it."""

    def limit(connection):
        now = connection.execute("pragma page_count").fetchone()[0]
        return connection.execute(f"pragma max_page_count = {now + pages if pages is not None else 2**30}").fetchone()

    lab.store.write(limit).result()


def spilled(path):
    """Return the attempts kept beside the file."""
    lines = [line for each in beside(path) for line in each.read_text().splitlines()]
    return [json.loads(line)["attempt"]["client_request_id"] for line in lines]


def beside(path):
    """Return the files in which attempts are kept beside a file."""
    return sorted(path.parent.glob(f"{path.name}.unwritten-*"))


def attempts(path, state):
    """Return the client request ids of attempts in a state, read as another program would."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        found = connection.execute("select client_request_id from attempts where state = ?", (state,))
        return {row[0] for row in found}


def test_a_full_disk_stops_the_run_and_loses_no_answer(lab, path, fault_server):
    """What came back is kept beside the file, and brought in by the next run, which asks for the rest alone."""
    plan = plan_of(lab, REQUESTS)
    run = lab.run(plan_of(lab, 2, word="first"), progress=False)
    registered = lab.start(plan, name="mine")
    registered.stop()
    registered.wait(progress=False)
    before = len(fault_server.ledger())
    shrink(lab, 60)
    with pytest.raises(StoreError, match="the disk is full") as caught:
        lab.run(plan, name="mine", concurrency=IN_FLIGHT, progress=False)
    kept = spilled(path)
    assert f"Kept in {beside(path)[0]}: {len(kept):,} repl" in str(caught.value)
    assert "the next run on this file, once it can be written, brings that in" in str(caught.value)
    assert 1 <= len(kept) <= IN_FLIGHT
    served = {entry["client_request_id"] for entry in fault_server.ledger()}
    open_ones = attempts(path, "unknown") | attempts(path, "sent")  # a full disk may not even take that they ended
    assert served - attempts(path, "ok") == set(kept) <= open_ones
    assert before < len(served) < REQUESTS

    shrink(lab, None)
    again = lab.run(plan, name="mine", progress=False)
    assert (again.status, again.frame()["status"].eq("ok").all(), len(again)) == ("done", True, REQUESTS)
    assert len(fault_server.ledger()) == REQUESTS + len(run)
    assert discrepancies(path, fault_server.ledger()) == {}
    assert beside(path) == []


LIMITED = f"""
import resource, sys
sys.path.insert(0, ".")
from studies import BRISK, plan_of
from promptlab import Lab, StoreError
lab = Lab(sys.argv[1], base_url=sys.argv[2], api_key="{KEY}", policy=BRISK)
plan = plan_of(lab, {REQUESTS})
lab.run(plan_of(lab, 20, word="first"), progress=False)
size = lab.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size, resource.RLIM_INFINITY))
try:
    lab.run(plan, concurrency={IN_FLIGHT}, progress=False)
except StoreError as exc:
    print("stopped", "Kept in" in str(exc) or "could not" in str(exc))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run = lab.run(plan, progress=False)
print(run.status, run.frame()["status"].eq("ok").sum())
lab.close()
"""


def test_disk_full(path, fault_server):
    """A file that may not grow any more, by the system's own limit: stopped, resumed, nothing lost or asked twice."""
    assert run_python(LIMITED, path, fault_server.base_url) == f"stopped True\ndone {REQUESTS}\n"
    assert len(fault_server.ledger()) == REQUESTS + 20
    assert discrepancies(path, fault_server.ledger()) == {}


def test_a_run_whose_end_the_file_does_not_take_holds_nothing_back(path):
    """Its leases are given back before the next run, which need not wait until they end by themselves."""
    refuse = "create temp trigger full before update on samples begin select raise(abort, 'no room'); end"

    def answer(_):
        if len(lab.backend.requests) == 1:
            return error_reply(500, "again")
        if len(lab.backend.requests) == 2:
            lab.store.write(lambda connection: connection.execute(refuse)).result()
        return "yes"

    with Lab(path, backend=ScriptedBackend(answer)) as lab:
        plan = plan_of(lab, 4)
        with pytest.raises(StoreError, match="no room"):
            lab.run(plan, concurrency=2, progress=False)
        lab.store.write(lambda connection: connection.execute("drop trigger full")).result()
        assert lab.sql("select state from samples")["state"].tolist() == ["leased", "leased", "todo", "todo"]
        lab.run(plan_of(lab, 1, word="other"), progress=False)
        assert lab.sql("select state from samples")["state"].tolist() == ["todo", "done", "todo", "todo", "done"]
        run = lab.run(plan, progress=False)
        assert (run.outputs, len(lab.backend.requests), lab.store.unreturned) == (["yes"] * 4, 6, [])


def test_what_no_folder_takes_stays_in_memory(path, monkeypatch):
    """When neither folder can be written the answers wait in the lab, and the next run writes them."""
    with Lab(path, backend=ScriptedBackend("yes" * 3000)) as lab:
        plan = plan_of(lab, 40)
        lab.run(plan_of(lab, 1, word="first"), progress=False)
        monkeypatch.setattr(unwritten, "_places", lambda _: iter([(path, "under a file")]))
        shrink(lab, 60)
        with pytest.raises(StoreError, match="disk is full"):
            lab.run(plan, concurrency=4, progress=False)
        waiting = len(lab.store.unwritten)
        shrink(lab, None)
        run = lab.run(plan, progress=False)
        asked = len(lab.backend.requests)
    assert (run.outputs, asked, lab.store.unwritten) == (["yes" * 3000] * 40, 41, [])
    assert waiting <= 4


def test_what_waits_in_memory_is_written_when_the_lab_is_closed(path, monkeypatch):
    """Closing tries once more; where that fails as well a folder is found, and only without one a warning is given."""
    row = {"attempt": {"id": 1, "client_request_id": "plab-unknown", "response": None}, "outputs": [], "samples": []}
    lab = Lab(path, backend=ScriptedBackend("yes"))
    lab.store.unwritten.append(row)
    lab.close()
    assert lab.store.unwritten == []
    with closing(sqlite3.connect(path)) as holder:
        monkeypatch.setattr("promptlab.store.BUSY_TIMEOUT_MS", 10)
        holder.execute("begin exclusive")
        lab.store.unwritten.append(row)
        lab.close()
        assert (lab.store.unwritten, spilled(path)) == ([], ["plab-unknown"])
        monkeypatch.setattr(unwritten, "_places", lambda _: iter([(path, "under a file")]))
        lab.store.unwritten.append(row)
        with pytest.warns(StoreWarning, match="In memory only: 1 reply that came meanwhile"):
            lab.close()


def test_a_file_deleted_under_a_run_is_saved(lab, path, fault_server):
    """The run stops, the file's last state is saved beside it, and moved back it goes on with nothing asked twice."""
    fault_server.set(latency_ms=30)
    plan = plan_of(lab, REQUESTS)
    run = lab.start(plan, name="mine", concurrency=IN_FLIGHT)
    wait_until(lambda: run.progress.done > 20, "some answers")
    for each in path.parent.glob("lab.db*"):
        each.unlink()
    with pytest.raises(
        StoreError, match="was deleted or replaced while it was in use; all that it held is in"
    ) as caught:
        run.wait(progress=False)
    (rescued,) = path.parent.glob("lab.rescued-*.db")
    assert str(rescued) in str(caught.value)
    lab.store.close()
    rescued.rename(path)
    again = lab.run(plan, name="mine", progress=False)
    assert (again.status, again.frame()["status"].eq("ok").all()) == ("done", True)
    assert len(fault_server.ledger()) == REQUESTS
    assert discrepancies(path, fault_server.ledger()) == {}


def test_an_answer_is_never_written_into_another_file(lab, path, fault_server):
    """A file put in the place of the one in use keeps its rows; answers to the old one wait beside it."""
    fault_server.set(latency_ms=30)
    with Lab(path.with_name("other.db"), backend=ScriptedBackend("theirs")) as other:
        other.run(plan_of(other, 60), progress=False)
    run = lab.start(plan_of(lab, REQUESTS), concurrency=IN_FLIGHT)
    wait_until(lambda: run.progress.done > 20, "some answers")
    path.with_name("other.db").replace(path)
    with pytest.raises(StoreError, match="was deleted or replaced"):
        run.wait(progress=False)
    lab.store.close()
    with Lab(path, backend=ScriptedBackend("theirs")) as there:
        assert set(there.load(1).frame()["output"]) == {"theirs"}
        assert there.sql("select count(*) as n from attempts")["n"][0] == 60


ROW = {
    "attempt": {"id": 1, "client_request_id": "plab-of-another-file", "response": None},
    "outputs": [],
    "samples": [],
}


def test_the_past_of_another_file_stays_where_it_is(lab, path):
    """What was kept of a file that had this name before is neither written into this one nor removed."""
    lab.run(plan_of(lab, 1), progress=False)
    unwritten.keep(lab.store, [ROW])
    lab.run(plan_of(lab, 2), progress=False)
    assert (spilled(path), len(attempts(path, "ok"))) == (["plab-of-another-file"], 2)


def test_what_is_kept_is_for_its_owner_alone_and_never_half(lab, path):
    """Each file is made anew, readable by its owner, and gets its name when it is whole."""
    told = [unwritten.keep(lab.store, [ROW] * number) for number in (1, 2)]
    assert [text.partition("; ")[0].rpartition(": ")[2] for text in told] == [
        "1 reply that came meanwhile",
        "2 replies that came meanwhile",
    ]
    kept = beside(path)
    assert [(each.suffix, each.stat().st_mode & 0o777) for each in kept] == [(".jsonl", 0o600)] * 2
    assert len(spilled(path)) == 3


def test_only_files_of_ones_own_are_read(lab, path):
    """A link that somebody put there is left alone."""
    elsewhere = path.with_name("elsewhere.jsonl")
    elsewhere.write_text("not even JSON")
    path.with_name(f"{path.name}.unwritten-1.jsonl").symlink_to(elsewhere)
    assert unwritten.bring_in(lab.store) == 0


def test_a_folder_that_takes_nothing_leaves_it_to_the_users_own(path, monkeypatch):
    """Where nothing can be written beside the file the user's cache is next, in a folder of its own."""
    monkeypatch.setenv("PROMPTLAB_CACHE", str(path.parent / "cache"))
    with Lab(path, backend=ScriptedBackend()) as lab:
        lab.run(plan_of(lab, 1), progress=False)
        folder, stem = list(unwritten._places(lab.store.file))[1]
        with pytest.raises(OSError, match="exists"):
            unwritten._written(path, "x", [ROW])
        assert (unwritten._written(folder, stem, [ROW]).parent.stat().st_mode & 0o777) == 0o700
        assert unwritten._found(lab.store.file) != []


@pytest.mark.parametrize("fault", ["ok", "fault"])
def test_nothing_is_looked_for_in_vain(path, fault):
    """A lab without anything kept beside its file writes nothing when a finished plan is run again."""
    with FaultServer() as server, Lab(path, base_url=server.base_url, api_key=KEY, policy=BRISK) as lab:
        lab.run(plan_of(lab, 1, word=fault), progress=False)
        assert unwritten.bring_in(lab.store) == 0
