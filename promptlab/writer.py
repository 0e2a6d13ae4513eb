"""The one writer: a thread that owns one connection and commits what waits, together.

An operation is a function of the connection. It runs inside `BEGIN IMMEDIATE`; when one of a batch fails, all are run
again, each in a savepoint of its own, so that the others are left alone. Its future is answered after the COMMIT
(measured: 5,000 to 10,000 durable rows a second this way, with `synchronous=FULL`). An interrupt in the kernel hits the
main thread and can never leave a transaction open here. Whatever happens to the thread, every future is answered.

A commit is on the disk when it is answered, but for operations said to be `fleeting`: they are committed first, without
an fsync, and survive the end of the process, not a power cut. A file that is deleted or replaced while it is
open would go on taking rows that nobody could ever read: each commit looks, and saves what the lost file held.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from promptlab.errors import StoreError, StoreWarning

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

BATCH = 512  # operations in one transaction; far more than ever wait at once
IDLE_AFTER_S = 0.5  # the queue has been empty for so long: time for the search index, and to fold the log
LOG_BYTES = 32 << 20  # the write-ahead log is folded into the file when it has grown by so much
LONG_LOG_BYTES = 2 * LOG_BYTES  # a log that is longer cannot be folded: somebody is reading all the time
FOLD_PATIENCE_MS = 1000  # how long a log that has grown waits for others who write or read just then
BUSY_TRIES = 3  # each waits for the connection's busy_timeout


class _Answer(Protocol):
    """Who waits for an operation."""

    def begins(self) -> bool:
        """Whether the operation is still wanted, now that it is about to be run."""

    def give(self, value: Any, error: Exception | None) -> None:
        """Hand over its value, or why there is none."""


@dataclass(frozen=True, slots=True)
class _Job:
    """An operation, who waits for it, and whether a power cut may lose it."""

    operation: Operation[Any]
    answer: _Answer
    is_fleeting: bool = False


_Jobs = queue.SimpleQueue["_Job | None"]
Place = tuple[int, int]  # device and inode


class Pending(Future[T]):
    """A future on which the main thread can wait without ever holding the lock that answering it takes.

    An interrupt that meets `Future.result` in a bad moment leaves that lock taken (CPython issue 74174), and the thread
    that comes to answer would wait for ever. Here the waiter waits on a lock that answering only releases.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_answered = False
        self._gate = threading.Lock()
        self._gate.acquire()
        self.add_done_callback(self._open)

    def result(self, timeout: float | None = None) -> T:
        """Return the operation's value, or raise its error, when it is there."""
        if not self._is_answered:
            if not self._gate.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError
            self._gate.release()
        return super().result(0)

    def begins(self) -> bool:
        """Whether nobody cancelled it."""
        return self.set_running_or_notify_cancel()

    def give(self, value: T, error: Exception | None) -> None:
        """Answer the waiter, unless it was answered."""
        _settle(self, value, error)

    def _open(self, _: Future[T]) -> None:
        self._is_answered = True
        self._gate.release()


class _Awaited:
    """A future of an event loop; one call wakes the loop for all that one commit answers.

    A waiter that is cancelled gives up waiting, not writing: what is queued is run.
    """

    __slots__ = ("_future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.loop = loop
        self._future = future

    def begins(self) -> bool:
        return True

    def give(self, value: Any, error: Exception | None) -> None:
        """Answer the waiter, unless it gave up; to be called on its loop."""
        _settle(self._future, value, error)


def _settle(future: Future[Any] | asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


_Answers = list[tuple[_Answer, Any, "Exception | None"]]


def _give_all(answers: _Answers) -> None:
    """Answer every waiter: those of a loop with one call to it, since waking a loop costs more than the answer."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Awaited, Any, Exception | None]]] = {}
    for answer, value, error in answers:
        if isinstance(answer, _Awaited):
            by_loop.setdefault(answer.loop, []).append((answer, value, error))
        else:
            answer.give(value, error)
    for loop, waiting in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_give_each, waiting)


def _give_each(waiting: Iterable[tuple[_Awaited, Any, Exception | None]]) -> None:
    for answer, value, error in waiting:
        answer.give(value, error)


class Writer:
    """Runs operations one after another on its own thread and connection; the thread starts with the first one.

    Parameters
    ----------
    connect
        Opens the connection; called on the thread.
    path
        The file, for messages.
    when_idle
        Work for when nobody waits, in small portions; returns whether there may be more.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], *, path: Path, when_idle: Operation[bool] | None = None
    ) -> None:
        self._connect = connect
        self._path = path
        self._when_idle = when_idle
        self._lock = threading.Lock()
        self._jobs: _Jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation; its future is answered after the commit."""
        future: Pending[T] = Pending()
        self._queue(_Job(operation, future))
        return future

    def submit_awaited(self, operation: Operation[T], *, is_fleeting: bool = False) -> asyncio.Future[T]:
        """Queue an operation; its future is of the running event loop. A fleeting one may be lost to a power cut."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue(_Job(operation, _Awaited(loop, future), is_fleeting))
        return future

    def _queue(self, job: _Job) -> None:
        with self._lock:
            self._jobs.put(job)
            if self._thread is None or not self._thread.is_alive():  # an interrupt may have met its start
                self._thread = threading.Thread(
                    target=self._main, args=(self._jobs,), name="promptlab-writer", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Write what waits, fold the log into the file, and end the thread; the next operation starts another."""
        with self._lock:
            thread, jobs = self._thread, self._jobs
            self._forget(jobs)
        if thread is not None:
            jobs.put(None)
            thread.join()

    def _main(self, jobs: _Jobs) -> None:
        """Work through one queue, on a connection of its own, to its end.

        An interrupt in the moment of the start can leave two threads on one queue, so an end is passed on.
        """
        batch: list[_Job] = []
        try:
            with closing(self._connect()) as connection:
                _Session(connection, jobs, batch, self._path, self._when_idle).work()
        except Exception as exc:  # noqa: BLE001 - no connection, or a broken one: every waiter hears of it
            self._refuse(jobs, batch, exc)
        finally:
            jobs.put(None)

    def _refuse(self, jobs: _Jobs, batch: list[_Job], exc: Exception) -> None:
        """Answer all who wait for a connection that is not to be had; who comes after them gets another one."""
        error = _named(exc, self._path)
        _give_all([(job.answer, None, error) for job in batch])
        with self._lock:
            self._forget(jobs)
        while not jobs.empty():
            waiting = jobs.get()
            if waiting is not None and waiting.answer.begins():
                _give_all([(waiting.answer, None, error)])

    def _forget(self, jobs: _Jobs) -> None:
        """Let later operations have a queue and a thread of their own."""
        if jobs is self._jobs:
            self._thread, self._jobs = None, queue.SimpleQueue()


class _Session:
    """What the thread does: takes jobs in batches, commits, and uses the time when nobody waits."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        jobs: _Jobs,
        batch: list[_Job],
        path: Path,
        when_idle: Operation[bool] | None,
    ) -> None:
        self._connection = connection
        self._jobs = jobs
        self._batch = batch  # what is being worked on; whoever made the session answers it when the session breaks
        self._path = path
        self._when_idle = when_idle
        self._is_settled = True  # nothing was written since the last idle time
        self._is_synced = True  # every commit is awaited to be on the disk
        self._has_log = connection.execute("pragma journal_mode").fetchone()[0] == "wal"
        self._fold_at = LOG_BYTES
        self._is_told = False  # of a log that cannot be folded
        self._home = place_of(path)
        self._home_of_log: Place | None = None

    def work(self) -> None:
        """Take jobs until told to end."""
        while self._turn():
            pass
        self._fold()

    def _turn(self) -> bool:
        """Do one batch, or some idle work; return False when told to end."""
        try:
            first = self._jobs.get(timeout=None if self._is_settled else IDLE_AFTER_S)
        except queue.Empty:
            self._idle()
            return True
        goes_on = self._take(first)
        if self._batch:
            self._commit()
        return goes_on

    def _take(self, job: _Job | None) -> bool:
        """Take the jobs that wait, but for those cancelled meanwhile; return whether the end was not among them."""
        self._batch.clear()
        while job is not None:
            if job.answer.begins():
                self._batch.append(job)
            if len(self._batch) == BATCH or self._jobs.empty():
                return True
            job = self._jobs.get()
        return False

    def _commit(self) -> None:
        """Commit what waits, the fleeting first: who is about to send need not wait for the disk."""
        fleeting = [job for job in self._batch if job.is_fleeting]
        durable = [job for job in self._batch if not job.is_fleeting]
        for part in filter(None, (fleeting, durable)):
            self._commit_part(part)

    def _commit_part(self, batch: list[_Job]) -> None:
        try:
            self._sync(not all(job.is_fleeting for job in batch))
            _begin(self._connection)
            answers = self._answers(batch)
            self._connection.execute("commit")
        except Exception as exc:  # noqa: BLE001 - every waiter of the batch hears of it
            _roll_back(self._connection)
            error = _named(exc, self._path)
            _give_all([(job.answer, None, error) for job in batch])
            return
        if place_of(self._path) != self._home:
            raise StoreError(self._saved_elsewhere())  # ends the session, and the batch is told
        self._is_settled = False
        _give_all([(answer, value, error and _named(error, self._path)) for answer, value, error in answers])
        if self._log_bytes() > self._fold_at:
            self._fold(patience_ms=FOLD_PATIENCE_MS)

    def _answers(self, batch: list[_Job]) -> _Answers:
        """Run the batch; when an operation fails, undo them all and run each again in a savepoint of its own.

        A savepoint each in the good case would cost a tenth of the writer's time.
        """
        try:
            return [(job.answer, job.operation(self._connection), None) for job in batch]
        except Exception:
            if not self._connection.in_transaction:  # SQLite itself rolled everything back (disk full, I/O error)
                raise
            _roll_back(self._connection)
            _begin(self._connection)
            return [(job.answer, *_attempted(self._connection, job.operation)) for job in batch]

    def _sync(self, is_synced: bool) -> None:  # noqa: FBT001 - a switch
        if is_synced != self._is_synced and self._has_log:  # without the log a power cut could damage the file
            self._connection.execute(f"pragma synchronous = {'full' if is_synced else 'normal'}")
            self._is_synced = is_synced

    def _saved_elsewhere(self) -> str:
        """Save what the lost file holds, this batch included, and return the sentence that says so.

        Its log is taken away: SQLite would read it into whatever file stands under the name now.
        """
        lost = f"{self._path} was deleted or replaced while it was in use"
        for folder in (self._path.parent, Path.cwd(), Path.home()):
            refuge = folder / f"{self._path.stem}.rescued-{time.time_ns() // 1_000_000}{self._path.suffix}"
            if self._copied_to(refuge):
                self._drop_log()
                return f"{lost}; all that it held is in {refuge}: move that to {self._path} and open the lab anew"
        return f"{lost}, and what was written since could not be saved elsewhere"

    def _copied_to(self, refuge: Path) -> bool:
        """Copy what the lost file holds, and return whether that could be done; nothing half-done is left."""
        try:
            os.close(os.open(refuge, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError:
            return False
        try:
            self._connection.execute("vacuum into ?", (str(refuge),))
        except sqlite3.Error:
            refuge.unlink()
            return False
        return True

    def _drop_log(self) -> None:
        log = Path(f"{self._path}-wal")
        if self._home_of_log and place_of(log) == self._home_of_log:
            log.unlink()
            Path(f"{self._path}-shm").unlink(missing_ok=True)

    def _idle(self) -> None:
        """Bring the index up to date while nobody waits, then fold the log: the file alone then holds everything."""
        try:
            while self._when_idle and self._jobs.empty():
                _begin(self._connection)
                is_more = self._when_idle(self._connection)
                self._connection.execute("commit")
                if not is_more:
                    break
        except sqlite3.Error:  # it is caught up with later; nothing is lost
            _roll_back(self._connection)
        if self._jobs.empty():
            self._fold()
            self._is_settled = True

    def _log_bytes(self) -> int:
        try:
            found = Path(f"{self._path}-wal").stat()
        except OSError:
            return 0
        self._home_of_log = found.st_dev, found.st_ino
        return found.st_size

    def _fold(self, *, patience_ms: int = 0) -> None:
        """Fold the log into the file. TRUNCATE holds the write lock meanwhile; who reads is not awaited for long."""
        usual_ms = self._connection.execute("pragma busy_timeout").fetchone()[0]
        self._connection.execute(f"pragma busy_timeout = {patience_ms}")
        with suppress(sqlite3.Error):  # a reader is in the way, or the disk is full: the next one will do it
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        self._connection.execute(f"pragma busy_timeout = {usual_ms}")
        left = self._log_bytes()
        self._fold_at = left + LOG_BYTES
        if left > LONG_LOG_BYTES and not self._is_told:
            self._is_told = True
            with suppress(StoreWarning):  # where warnings are errors it must not end the thread
                warnings.warn(_LONG_LOG.format(path=self._path, size=left >> 20), StoreWarning, stacklevel=2)


_LONG_LOG = (
    "{path}-wal has grown to {size} MB, since some program goes on reading an old state of the file; close what reads"
    " it (a cursor, a viewer, another kernel), and it is folded in"
)


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


def place_of(path: Path) -> Place | None:
    """Return what tells a file from any other that is put in its place, or None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin(connection: sqlite3.Connection) -> None:
    for left in reversed(range(BUSY_TRIES)):
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError as exc:
            if left == 0 or not is_busy(exc):
                raise
        else:
            return


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("rollback")


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether another connection was in the way (the low byte of an extended code is the plain one)."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


_ADVICE = {
    "SQLITE_BUSY": "another program holds the file; close it or wait",
    "SQLITE_FULL": "the disk is full; free some space and run the cell again",
    "SQLITE_IOERR": "the disk could not be written; look at its free space and quota, and run the cell again",
    "SQLITE_READONLY": "the file cannot be written; check its permissions, and whether it was moved or replaced",
    "SQLITE_CANTOPEN": "the file cannot be opened; check its folder and permissions",
    "SQLITE_CORRUPT": "the file is damaged; copy it, then try `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "this is no SQLite file",
}


def _named(exc: Exception, path: Path) -> Exception:
    """Return a failure of SQLite as an error of ours, with what to do; any other as it is."""
    if not isinstance(exc, sqlite3.Error):
        return exc
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    hint = next((text for prefix, text in _ADVICE.items() if name.startswith(prefix)), "this operation wrote nothing")
    named = StoreError(f"{path} could not be written: {exc} ({name}); {hint}")
    named.__cause__ = exc
    return named
