"""The one writer: a thread that owns one connection and commits what waits, together.

An operation is a function of the connection. It runs inside `BEGIN IMMEDIATE`, in a savepoint of its own, so that one
that fails leaves the others of its batch alone; its future is answered after the COMMIT (measured: 5,000 to 10,000
durable rows a second this way, with `synchronous=FULL`). An interrupt in the kernel hits the main thread and can never
leave a transaction open here.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from promptlab.errors import StoreError

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

BATCH = 512  # operations in one transaction; far more than ever wait at once
IDLE_AFTER_S = 0.5  # the queue has been empty for so long: time for the search index
CHECKPOINT_AFTER = 2_000  # commits; keeps the WAL to some tens of MB
BUSY_TRIES = 3  # each waits for the connection's busy_timeout


class Writer:
    """Runs operations one after another on its own thread and connection; the thread starts with the first one."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, when_idle: Operation[bool] | None = None) -> None:
        self._connect = connect
        self._when_idle = when_idle
        self._queue: queue.SimpleQueue[tuple[Operation[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._commits = 0
        self._is_caught_up = True

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation; its future is answered after the commit."""
        future: Future[T] = Future()
        with self._lock:
            self._queue.put((operation, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="promptlab-writer", daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """Write what waits, fold the log into the file, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join()

    def _main(self) -> None:
        try:
            connection = self._connect()
        except Exception as exc:  # noqa: BLE001 - every waiter hears of it
            self._refuse(exc)
            return
        try:
            while self._turn(connection):
                pass
        finally:
            _checkpoint(connection)
            connection.close()

    def _turn(self, connection: sqlite3.Connection) -> bool:
        """Do one batch, or some idle work; return False when told to end."""
        try:
            first = self._queue.get(timeout=None if self._is_caught_up else IDLE_AFTER_S)
        except queue.Empty:
            self._idle(connection)
            return True
        batch, ended = self._batch(first)
        if batch:
            self._commit(connection, batch)
        return not ended

    def _batch(
        self, first: tuple[Operation[Any], Future[Any]] | None
    ) -> tuple[list[tuple[Operation[Any], Future[Any]]], bool]:
        batch: list[tuple[Operation[Any], Future[Any]]] = []
        job = first
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH or self._queue.empty():
                return batch, False
            job = self._queue.get()
        return batch, True

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[Operation[Any], Future[Any]]]) -> None:
        try:
            _begin(connection)
            answers = [(future, *_attempted(connection, operation)) for operation, future in batch]
            connection.execute("commit")
        except Exception as exc:  # noqa: BLE001 - every waiter of the batch hears of it
            _roll_back(connection)
            for _, future in batch:
                future.set_exception(_named(exc))
            return
        for future, value, error in answers:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(_named(error))
        self._is_caught_up = self._when_idle is None
        self._commits += 1
        if self._commits % CHECKPOINT_AFTER == 0:
            _checkpoint(connection)

    def _idle(self, connection: sqlite3.Connection) -> None:
        try:
            while self._when_idle and not self._is_caught_up and self._queue.empty():
                _begin(connection)
                self._is_caught_up = not self._when_idle(connection)
                connection.execute("commit")
        except sqlite3.Error:  # the index is caught up with later; nothing is lost
            _roll_back(connection)
            self._is_caught_up = True

    def _refuse(self, exc: Exception) -> None:
        """The file cannot be opened: answer all who wait, and let a later operation try again."""
        with self._lock:
            self._thread = None
            waiting = [self._queue.get() for _ in range(self._queue.qsize())]
        for job in waiting:
            if job is not None:
                job[1].set_exception(_named(exc))


def _attempted(connection: sqlite3.Connection, operation: Operation[T]) -> tuple[T | None, Exception | None]:
    connection.execute("savepoint operation")
    try:
        value = operation(connection)
    except Exception as exc:
        if not connection.in_transaction:  # SQLite itself rolled everything back (disk full, I/O error)
            raise
        connection.execute("rollback to operation")
        connection.execute("release operation")
        return None, exc
    connection.execute("release operation")
    return value, None


def _begin(connection: sqlite3.Connection) -> None:
    for left in reversed(range(BUSY_TRIES)):
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError as exc:
            if left == 0 or exc.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        else:
            return


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("rollback")


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Fold the WAL into the file. TRUNCATE holds the write lock meanwhile; a reader in the way is not waited for."""
    connection.execute("pragma busy_timeout = 0")
    try:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    except sqlite3.OperationalError:  # a reader is in the way: the next one will do it
        pass
    finally:
        connection.execute("pragma busy_timeout = 60000")


def _named(exc: Exception) -> Exception:
    if not isinstance(exc, sqlite3.Error):
        return exc
    advice = {
        "SQLITE_BUSY": "another program holds the file; close it or wait",
        "SQLITE_FULL": "the disk is full; free some space and run the cell again",
        "SQLITE_READONLY": "the file cannot be written; check its permissions",
        "SQLITE_CORRUPT": "the file is damaged; copy it, then try `sqlite3 FILE .recover`",
        "SQLITE_NOTADB": "this is no SQLite file",
    }
    name = getattr(exc, "sqlite_errorname", "")
    hint = next((text for prefix, text in advice.items() if name.startswith(prefix)), "nothing of this batch was written")
    named = StoreError(f"the store could not be written: {exc} ({name}); {hint}")
    named.__cause__ = exc
    return named
