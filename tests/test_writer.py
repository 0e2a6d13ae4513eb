"""The writer: batches that commit together, failures that stay alone, futures that are always answered."""

import asyncio
import queue
import sqlite3
import threading
from concurrent.futures import Future
from contextlib import closing
from functools import partial

import pytest

from promptlab.errors import StoreError
from promptlab.writer import Writer


@pytest.fixture
def path(tmp_path):
    """A file with one STRICT table."""
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table notes (id integer primary key, text text not null unique) strict")
    return path


@pytest.fixture
def writer(path):
    """A writer for that file."""
    writer = Writer(lambda: open_(path), path=path)
    yield writer
    writer.close()


def open_(path, *, timeout=60.0):
    """Connect as the store does."""
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)


def rows(path):
    """Return the texts that others can see."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("select text from notes order by id")]


def note(connection, *, text):
    """Insert one row and return its id."""
    return connection.execute("insert into notes (text) values (?)", (text,)).lastrowid


def add(text):
    """Return the operation that inserts a text."""
    return partial(note, text=text)


class Held:
    """Keeps the writer busy until it is let go; what is submitted meanwhile is one batch."""

    def __init__(self, writer):
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self.future = writer.submit(self._wait)
        assert self.begun.wait(10)

    def _wait(self, _):
        self.begun.set()
        assert self.goes_on.wait(10)


def test_an_answered_operation_is_visible_to_others(writer, path):
    """When the future is answered the row is committed."""
    assert (writer.submit(add("a")).result(), rows(path)) == (1, ["a"])


def test_a_failing_operation_leaves_its_batch_alone(writer, path):
    """Of three operations in one transaction the one that fails is taken back, and only its caller hears of it."""
    busy = Held(writer)
    first, second, third = (writer.submit(add(text)) for text in ("a", "a", "b"))
    busy.goes_on.set()
    assert (first.result(), third.result()) == (1, 2)
    with pytest.raises(StoreError, match="UNIQUE constraint failed"):
        second.result()
    assert rows(path) == ["a", "b"]


def test_a_half_done_operation_is_taken_back_whole(writer, path):
    """What an operation wrote before it failed is gone."""

    def fail_late(connection):
        note(connection, text="half")
        msg = "late"
        raise ValueError(msg)

    with pytest.raises(ValueError, match=r"^late$"):
        writer.submit(fail_late).result()
    assert rows(path) == []


def test_what_waits_is_committed_together(path):
    """Operations that wait at the same time share one transaction."""
    begun = []
    connection = open_(path)
    connection.set_trace_callback(lambda sql: begun.append(sql) if sql == "begin immediate" else None)
    writer = Writer(lambda: connection, path=path)
    busy = Held(writer)
    futures = [writer.submit(add(str(number))) for number in range(100)]
    busy.goes_on.set()
    assert [future.result() for future in futures] == list(range(1, 101))
    writer.close()
    assert len(begun) == 2


def test_a_cancelled_operation_is_not_run(writer, path):
    """An operation cancelled while it waits is left out, and the others are answered."""
    busy = Held(writer)
    unwanted, wanted = writer.submit(add("a")), writer.submit(add("b"))
    assert unwanted.cancel()
    busy.goes_on.set()
    assert (wanted.result(), rows(path)) == (1, ["b"])


def test_awaiting_a_future_and_giving_up_hurts_nobody(writer, path):
    """A coroutine cancelled while its operation runs leaves the writer at work."""
    busy = Held(writer)

    async def give_up():
        waiting = asyncio.ensure_future(asyncio.wrap_future(busy.future))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    busy.goes_on.set()
    assert (writer.submit(add("a")).result(), rows(path)) == (1, ["a"])


def test_close_writes_what_waits_and_folds_the_log(writer, path):
    """Closing answers every waiter, and leaves one file that holds everything."""
    busy = Held(writer)
    future = writer.submit(add("a"))
    busy.goes_on.set()
    writer.close()
    assert (future.done(), rows(path), path.with_name("notes.db-wal").exists()) == (True, ["a"], False)


def test_it_can_be_used_again_after_close(writer, path):
    """The next operation starts another thread."""
    writer.submit(add("a")).result()
    writer.close()
    writer.submit(add("b")).result()
    assert rows(path) == ["a", "b"]


def test_closing_while_others_submit_loses_nothing(writer, path):
    """However often it is closed meanwhile, every operation is answered and visible."""
    futures: queue.SimpleQueue[Future[int]] = queue.SimpleQueue()

    def submit(worker):
        for number in range(100):
            futures.put(writer.submit(add(f"{worker}/{number}")))

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        writer.close()
    writer.close()
    ids = {futures.get().result(timeout=5) for _ in range(400)}
    assert (len(ids), len(rows(path))) == (400, 400)


def test_closing_twice_or_unused_does_nothing(writer):
    """There may be nothing to close."""
    writer.close()
    writer.close()


def test_a_file_that_cannot_be_opened_is_told_to_every_waiter(tmp_path):
    """Without a connection each future has the error, and a later operation tries again."""
    attempts = []
    path = tmp_path / "later.db"

    def connect():
        attempts.append(1)
        if len(attempts) == 1:
            return sqlite3.connect(tmp_path / "missing" / "x.db")
        return open_(path)

    writer = Writer(connect, path=path)
    with pytest.raises(StoreError, match=r"later.db could not be written: unable to open database file .*its folder"):
        writer.submit(add("a")).result()
    assert writer.submit(lambda connection: connection.execute("select 7").fetchone()[0]).result() == 7
    writer.close()


def test_a_broken_connection_answers_everyone_and_is_replaced(path):
    """When the connection itself is gone nobody waits for ever, and the next operation gets a new one."""
    writer = Writer(lambda: open_(path), path=path)
    with pytest.raises(StoreError, match="Cannot operate on a closed database"):
        writer.submit(lambda connection: connection.close()).result(timeout=10)
    assert writer.submit(add("a")).result(timeout=10) == 1
    writer.close()


def test_it_waits_for_another_connection(path):
    """A transaction of somebody else delays an operation and does not fail it."""
    tried, connection = threading.Event(), open_(path)
    connection.set_trace_callback(lambda sql: tried.set() if sql == "begin immediate" else None)
    writer = Writer(lambda: connection, path=path)
    with closing(open_(path)) as other:
        other.execute("begin immediate")
        other.execute("insert into notes (text) values ('theirs')")
        future = writer.submit(add("ours"))
        assert tried.wait(10)
        assert not future.done()
        other.execute("commit")
    assert (future.result(timeout=10), rows(path)) == (2, ["theirs", "ours"])
    writer.close()


def test_a_lock_that_is_never_given_back_is_named(path):
    """After the patience of the connection the error says that another program holds the file."""
    writer = Writer(lambda: open_(path, timeout=0.01), path=path)
    with closing(open_(path)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreError, match=r"database is locked \(SQLITE_BUSY\); another program holds the file"):
            writer.submit(add("a")).result(timeout=10)
        other.execute("rollback")
    assert writer.submit(add("b")).result(timeout=10) == 1
    writer.close()


def test_a_disk_that_is_full_fails_the_batch_and_nothing_else(tmp_path):
    """SQLite takes the whole batch back; earlier rows stay, and writing goes on when there is space."""
    path = tmp_path / "small.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table notes (id integer primary key, text text not null unique) strict")
    connection = open_(path)
    writer = Writer(lambda: connection, path=path)
    writer.submit(add("a")).result()
    writer.submit(lambda connection: connection.execute("pragma max_page_count = 3").fetchall()).result()
    busy = Held(writer)
    too_much, beside = writer.submit(add("x" * 100_000)), writer.submit(add("b"))
    busy.goes_on.set()
    with pytest.raises(
        StoreError, match=r"database or disk is full \(SQLITE_FULL\); the disk is full; free some space"
    ):
        too_much.result()
    assert beside.exception() is None or isinstance(beside.exception(), StoreError)
    writer.submit(lambda connection: connection.execute("pragma max_page_count = 1000").fetchall()).result()
    writer.submit(add("c")).result()
    assert {"a", "c"} <= set(rows(path)) <= {"a", "b", "c"}
    writer.close()


def test_idle_work_is_done_when_nobody_waits(path):
    """After the last commit the idle work runs until there is no more, and the log is folded."""
    calls, done = [], threading.Event()

    def work(connection):
        calls.append(connection.in_transaction)
        if len(calls) == 3:
            done.set()
        return len(calls) < 3

    writer = Writer(lambda: open_(path), path=path, when_idle=work)
    writer.submit(add("a")).result()
    assert done.wait(10)
    writer.close()
    assert calls == [True, True, True]


def test_idle_work_that_fails_hurts_nobody(path):
    """An index that cannot be fed is left for later; operations go on."""
    tried = threading.Event()

    def work(connection):
        note(connection, text="of the idle work")
        tried.set()
        msg = "no such index"
        raise sqlite3.OperationalError(msg)

    writer = Writer(lambda: open_(path), path=path, when_idle=work)
    writer.submit(add("a")).result()
    assert tried.wait(10)
    writer.submit(add("b")).result()
    writer.close()
    assert rows(path) == ["a", "b"]


def test_two_threads_on_one_queue_both_end(writer, path):
    """An interrupt in the moment of a thread's start can leave a second one on its queue; closing ends both."""
    writer.submit(add("first")).result()
    twin = threading.Thread(target=writer._main, args=(writer._jobs,))
    twin.start()
    writer.submit(add("second")).result()
    writer.close()
    twin.join(timeout=10)
    assert not twin.is_alive()
    assert rows(path) == ["first", "second"]
