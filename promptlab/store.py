"""The store: one SQLite file, opened with care.

Reads go through one connection a thread, which cannot write; writes go through the one writer thread. A file is
created, migrated or switched to WAL only when there is something to write, so that reading a finished file, or running
a finished plan again, leaves it byte for byte as it was. A file of a newer promptlab, or one that cannot be written, is
read only.

A file that may be open elsewhere in this process is only ever looked at through SQLite: `open(path).read()` and close
would drop SQLite's POSIX locks on it, and with them another process's respect for our transactions.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import sqlite3
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from promptlab import _text
from promptlab._mounts import network_file_system
from promptlab.errors import ReadOnlyError, StoreError, StoreWarning
from promptlab.migrations import APPLICATION_ID, SCHEMA_VERSION, TABLES, marks, migrate
from promptlab.writer import Operation, Place, Writer, is_busy, place_of

T = TypeVar("T")

BUSY_TIMEOUT_MS = 60_000  # SQLite's busy handler is not fair: a writer was seen to starve past 10 s
SQL_STEPS = 20_000_000  # virtual-machine steps (about 2 s) after which `lab.sql` gives up on a query
SQL_S = 10.0  # the same by the clock, where each step is slow (sorting random blobs filled a disk before)
SQL_BYTES = 64 << 20  # the largest value that a query may make
CHECKED_BYTES = 128 << 20  # larger files are not checked for damage when they are opened (120 MB take 50 ms)
READ_ROWS = 5_000  # in one batch: a few MB
_SECOND_LIBRARY = "pysqlite3"  # sqlite-utils imports it in place of sqlite3 wherever it is installed
_WAL_FORMAT = 2  # byte 18 of a file that was left in WAL mode


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """The size of a file before and after its unused space was given back."""

    path: Path
    bytes_before: int
    bytes_after: int

    def __repr__(self) -> str:
        return f"<Vacuumed {self.path}: {_text.size(self.bytes_before)}, now {_text.size(self.bytes_after)}>"


class Store:
    """One SQLite file.

    Parameters
    ----------
    path
        The file; made, readable by its owner alone, when it is not there and `create` is true.
    write
        False: the file stays as it is, also one of an older schema, which is then read through a migrated copy.

    Raises
    ------
    StoreError
        When the file is no promptlab file, is damaged, or is not there and `create` is false.
    """

    def __init__(self, path: str | Path, *, create: bool = True, write: bool = True) -> None:
        self.path = _named(path)  # as it is shown
        self.file = self.path.absolute()  # what it stays, wherever the notebook goes
        self._place: Place | None = None
        self._may_write = write
        self._network = self._network_type()
        self._was_warned = False
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._readers: dict[threading.Thread, sqlite3.Connection] = {}
        self._shadow: tempfile.TemporaryDirectory[str] | None = None
        self.closings = 0  # how often it was closed: who follows a run notes it, and ends when it is another
        self._followed = threading.local()  # in threads that read until it is closed: `closings` of their beginning
        self.unwritten: list[dict[str, Any]] = []  # answers that no disk took; see unwritten.py
        self.unreturned: list[tuple[int, str]] = []  # runs, and the owners whose leases the file did not take back
        self._writer = Writer(self._connect_writer, path=self.file, when_idle=_index_some)
        _make(self.file, create=create)
        _warn_of_second_library(self.path)
        self.read_only_because = self._checked()
        self._place = place_of(self.file)

    @property
    def is_read_only(self) -> bool:
        """Whether the file can be read but not written."""
        return self.read_only_because is not None

    @property
    def is_indexed(self) -> bool:
        """Whether every row can be found by the search index."""
        return not any(self.read(_UNINDEXED.format(table=table, index=index)) for table, index in INDEXED.items())

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query of ours."""
        with self._told("could not be read"):
            return self._reader().execute(sql, parameters).fetchall()

    def batches(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a large query of ours some at a time, all as of one moment.

        Take them all: until then the log cannot be folded into the file.
        """
        with self._told("could not be read"), closing(self._reader().cursor()) as cursor:
            cursor.row_factory = None
            cursor.execute(sql, parameters)
            while rows := cursor.fetchmany(READ_ROWS):
                yield rows

    @contextmanager
    def read_until_closed(self, closings: int) -> Iterator[None]:
        """Refuse every `read` and `batches` of this thread once the store was closed; theirs must not open it again."""
        self._followed.closings = closings
        try:
            yield
        finally:
            del self._followed.closings

    def write(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation for the writer; its future is answered after the commit."""
        self._refuse_write()
        return self._writer.submit(operation)

    def write_awaited(self, operation: Operation[T], *, is_fleeting: bool = False) -> asyncio.Future[T]:
        """Queue an operation from the event loop; a fleeting one survives the process, but no power cut."""
        self._refuse_write()
        return self._writer.submit_awaited(operation, is_fleeting=is_fleeting)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of its own that sees one state of the file; whatever is done on it is undone."""
        self._refuse_fork()
        path = self._readable_path()
        with self._told("could not be read"), closing(self._open_read(path, query_only=False)) as connection:
            connection.execute("begin")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def index(self) -> None:
        """Make every row searchable; nothing is written where all of them are."""
        if not self.is_indexed:
            while self.write(_index_some).result():
                pass

    def index_problem(self, table: str) -> str | None:
        """Return how the whole search index of a table differs from its texts, or None. Nothing is written."""
        index = INDEXED[table]
        with self.snapshot() as connection:
            if connection.execute(_UNINDEXED.format(table=table, index=index)).fetchone():
                return None
            try:
                connection.execute(f"insert into {index} ({index}, rank) values ('integrity-check', 1)")  # noqa: S608
            except sqlite3.DatabaseError as exc:
                if not _error_name(exc).startswith("SQLITE_CORRUPT"):
                    raise
                rebuild = f"insert into {index} ({index}) values ('rebuild')"  # noqa: S608 - a name of our own
                return f'{index}: it does not fit the {table}; make it anew with: sqlite3 {self.path} "{rebuild}"'
        return None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return columns and rows of a user's query, on a connection that can neither write nor reach other files."""
        with self._told("could not be read"):
            connection = self._open_read(self._readable_path())
        with closing(connection):
            connection.set_authorizer(_authorised)
            try:
                with _bounded(connection):
                    cursor = connection.execute(sql, parameters)
                    return [column[0] for column in cursor.description or ()], cursor.fetchall()
            except (sqlite3.Error, sqlite3.Warning) as exc:
                raise StoreError(_query_advice(exc)) from exc

    def copy_to(self, path: str | Path) -> Path:
        """Write a compact copy that opens on read-only media, for sharing or for git; refuses to overwrite."""
        target = Path(path).expanduser()
        if not _make(target, create=True):
            msg = f"{target} exists; remove it or name another file"
            raise StoreError(msg)
        try:
            with self._told(f"could not be copied to {target}"):
                self._copy(self._readable_path(), target)
                with closing(self._open(target, "rw")) as copy:
                    _index_all(copy)
        except BaseException:
            target.unlink()
            raise
        return target

    def vacuum(self) -> Vacuumed:
        """Give the space of deleted rows, and of their words in the search index, back to the disk.

        SQLite refuses to do it inside a transaction, so not the writer does it but a connection between two writers.
        """
        if self.read_only_because:
            raise ReadOnlyError(self.read_only_because)
        self._writer.close()
        before = self.file.stat().st_size
        with self._told("could not be compacted"), closing(self._open(self.file, "rw")) as connection:
            for index in INDEXED.values():
                connection.execute(f"insert into {index} ({index}) values ('optimize')")  # noqa: S608 - our own names
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        return Vacuumed(self.path, before, self.file.stat().st_size)

    def close(self) -> None:
        """Write what waits and close every connection; the store can be used again afterwards."""
        self._writer.close()
        with self._lock:
            self.closings += 1
            self._place = None
            readers, self._readers = self._readers, {}
            shadow, self._shadow = self._shadow, None
        for connection in readers.values():
            connection.close()
        if shadow is not None:
            shadow.cleanup()

    def __repr__(self) -> str:
        return f"<Store {self.path}{' (read only)' if self.is_read_only else ''}>"

    # Opening

    def _network_type(self) -> str | None:
        return network_file_system(self.file.resolve())

    def _checked(self) -> str | None:
        """Bring the file up to date where that can be; return why it cannot be written, or None."""
        with self._told("could not be opened"), closing(self._open_read(self.file)) as connection:
            application, version = _marks_of_ours(connection, self.file)
            triggers = _triggers(connection)
        self.schema = version
        if version > SCHEMA_VERSION:
            return (
                f"{self.path} was written by a newer promptlab (schema {version}, this one knows {SCHEMA_VERSION});"
                " upgrade to write to it"
            )
        if not self._may_write:
            return f"{self.path} was opened to be read only"
        if not _is_writable(self.file):
            if application == 0:
                msg = f"{self.path} is empty and cannot be written here; name another file"
                raise StoreError(msg)
            return f"{self.path} cannot be written here; copy it to a folder of yours to add to it"
        if triggers:
            return (
                f"{self.path} holds triggers that promptlab did not make ({', '.join(triggers)}), which would run with"
                " what is written; it is read only until they are dropped"
            )
        if version < SCHEMA_VERSION:
            with self._told(f"could not be brought to schema {SCHEMA_VERSION}"):
                self._migrate()
        if self._network:  # now, since later our own readers would be in the way
            with closing(self._open(self.file, "rw")) as connection:
                _leave_wal(connection)
        return None

    def _migrate(self) -> None:
        with closing(self._open(self.file, "rw")) as connection:
            migrate(connection, before=self._back_up)

    def _back_up(self, version: int) -> None:
        """Keep a copy of a file that is about to be migrated; an earlier one of the same schema gives way."""
        target = self.file.with_name(f"{self.file.name}.schema{version}.bak")
        half = self.file.with_name(f"{target.name}.{os.getpid()}")
        _make(half, create=True)
        self._copy(self.file, half)
        half.replace(target)

    def _copy(self, source: Path, target: Path) -> None:
        with closing(self._open_read(source, query_only=False)) as connection:
            connection.execute("vacuum into ?", (str(target),))

    def _connect_writer(self) -> sqlite3.Connection:
        self._refuse_another_file()
        connection = self._open(self.file, "rw")
        try:
            self._choose_journal(connection)
        except BaseException:
            connection.close()
            raise
        connection.execute("pragma synchronous = full")
        connection.execute("pragma wal_autocheckpoint = 0")  # the writer does it itself, see writer.py
        return connection

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        warning = choose_journal(connection, self.file, network=self._network)
        if warning and not self._was_warned:
            self._was_warned = True
            warnings.warn(warning, StoreWarning, stacklevel=2)

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection; those of threads that have ended are closed."""
        self._refuse_fork()
        self._refuse_followers()
        self._refuse_another_file()
        thread = threading.current_thread()
        connection = self._readers.get(thread)
        if connection is None:
            connection = self._open_read(self._readable_path())
            connection.row_factory = sqlite3.Row
            with self._lock:
                ended = [self._readers.pop(other) for other in list(self._readers) if not other.is_alive()]
                self._readers[thread] = connection
            for other_connection in ended:
                other_connection.close()
            self._refuse_followers()  # it may have been closed just now
        return connection

    def _readable_path(self) -> Path:
        """Return the file, or for a read-only one of an older schema a migrated copy of it."""
        self._refuse_another_file()
        if not self.is_read_only:
            return self.file
        with self._lock:
            if self._shadow is None and self.schema < SCHEMA_VERSION:
                self._shadow = self._migrated_copy()
            return self.file if self._shadow is None else Path(self._shadow.name) / self.file.name

    def _migrated_copy(self) -> tempfile.TemporaryDirectory[str]:
        folder = tempfile.TemporaryDirectory(prefix="promptlab-")
        copy = Path(folder.name) / self.file.name
        _make(copy, create=True)
        self._copy(self.file, copy)
        with closing(self._open(copy, "rw")) as connection:
            for name in _triggers(connection):
                connection.execute(f"drop trigger {_quoted(name)}")
            migrate(connection)
        return folder

    def _open_read(self, path: Path, *, query_only: bool = True) -> sqlite3.Connection:
        """Open without writing. A WAL file wants its side files written, so a read-only one is opened as immutable."""
        writable = _is_writable(path)
        is_immutable = not writable and _is_settled_wal(path)
        connection = self._open(path, "rw" if writable else "ro", immutable=is_immutable)
        connection.execute(f"pragma query_only = {int(query_only)}")
        return connection

    def _open(self, path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
        name = path.absolute().as_uri()
        connection = sqlite3.connect(
            f"{name}?mode={mode}{'&immutable=1' if immutable else ''}",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("pragma trusted_schema = 0")
        connection.execute("pragma foreign_keys = 1")
        return connection

    def _refuse_write(self) -> None:
        if self.read_only_because:
            raise ReadOnlyError(self.read_only_because)
        self._refuse_fork()

    def _refuse_another_file(self) -> None:
        """Refuse a file that was put in the place of the one that was opened: ids of one mean nothing in the other."""
        place = place_of(self.file)
        if self._place is None:
            self._place = place
        if place != self._place:
            what = "is gone" if place is None else "is another file"
            msg = f"{self.file} {what} since this lab opened it; put the right one there, and open the lab anew"
            raise StoreError(msg)

    def _refuse_followers(self) -> None:
        """Refuse what a thread reads by itself after the store was closed, and close what it has opened since."""
        if getattr(self._followed, "closings", self.closings) == self.closings:
            return
        with self._lock:
            connection = self._readers.pop(threading.current_thread(), None)
        if connection is not None:
            connection.close()
        msg = f"{self.path} was closed; what followed it ends"
        raise StoreError(msg)

    def _refuse_fork(self) -> None:
        if self._pid != os.getpid():
            msg = f"{self.path} was opened before this process was forked; open the lab anew in the child"
            raise StoreError(msg)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn SQLite's errors into ours, which name the file and say what to do."""
        try:
            yield
        except sqlite3.Error as exc:
            hint = getattr(self, "read_only_because", None) or _READ_ADVICE.get(_error_name(exc), "")
            msg = f"{self.path} {what}: {exc}{f'; {hint}' if hint else ''}"
            raise StoreError(msg) from exc


_READ_ADVICE = {
    "SQLITE_NOTADB": "it is not a promptlab file; name another one",
    "SQLITE_CORRUPT": "it is damaged; copy it, then try `sqlite3 FILE .recover`",
    "SQLITE_CANTOPEN": "check its folder and permissions; a copy of it needs its -wal file beside it",
    "SQLITE_BUSY": "another program holds it; close that or wait",
}


def choose_journal(connection: sqlite3.Connection, path: Path, *, network: str | None = None) -> str | None:
    """Switch a file to write-ahead logging; where that is not safe, to what comes closest, and return what to warn of.

    `network` is the type of the network file system that the file is on.
    """
    if network is None and _switched(connection) == "wal":
        return None
    _leave_wal(connection)
    where = f"a network file system ({network})" if network else "a file system without shared memory"
    return (
        f"{path} is on {where}, where write-ahead logging is not safe, since it needs memory that only programs on one"
        " machine share; writing works, but slowly: let one machine write at a time, or move the file to a local disk"
    )


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Switch to a truncated journal; while others have a file open that is in WAL mode it stays in it."""
    with suppress(sqlite3.OperationalError):
        connection.execute("pragma journal_mode = truncate")


def _switched(connection: sqlite3.Connection) -> str:
    """Ask for WAL until nobody is in the way: here SQLite does not wait by itself (measured: BUSY after 0.2 ms)."""
    give_up_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return str(connection.execute("pragma journal_mode = wal").fetchone()[0])
        except sqlite3.OperationalError as exc:
            if not is_busy(exc) or time.monotonic() > give_up_s:
                raise
            time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - so that two do not meet again


def _warn_of_second_library(path: Path) -> None:
    """Warn where a file may be opened through two SQLite libraries: the one that closes drops the other's locks.

    Measured: another process then writes into our open transaction, and its committed row vanishes.
    """
    library = second_library()
    if library:
        warnings.warn(
            f"{library} is installed, and sqlite-utils takes it in place of Python's own SQLite: opening a file with"
            f" both in one process drops their locks on it; uninstall it, or open {path} with promptlab alone",
            StoreWarning,
            stacklevel=3,
        )


def _named(path: str | Path) -> Path:
    """Return the path of a file; refuse a folder, and what only SQLite would take for no file at all."""
    named = Path(path).expanduser()
    if str(path).startswith(":memory:"):
        msg = "a lab needs a file, which is its whole memory; for one to throw away, name one in a temporary folder"
        raise StoreError(msg)
    if named.is_dir():
        msg = f"{named} is a folder; name a file in it, e.g. {named / 'experiments.db'}"
        raise StoreError(msg)
    return named


def _make(path: Path, *, create: bool) -> bool:
    """Make an empty file that only its owner can read, unless it is there; return whether it was made."""
    try:
        if not create:
            path.stat()
            return False
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    except FileNotFoundError as exc:
        missing = f"{path.parent} does not exist" if create else f"{path} does not exist"
        msg = f"{missing}; name {'a folder that is there' if create else 'the file that holds the answers'}"
        raise StoreError(msg) from exc
    except OSError as exc:
        msg = f"{path} cannot be made: {exc.strerror}; name a folder that can be written"
        raise StoreError(msg) from exc
    return True


def _is_writable(path: Path) -> bool:
    """Whether the file and, for its side files, its folder can be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _is_settled_wal(path: Path) -> bool:
    """Whether a file that cannot be written was left in WAL mode with nothing in its log."""
    try:
        with path.open("rb") as file:
            file.seek(18)
            return file.read(1) == bytes([_WAL_FORMAT]) and not Path(f"{path}-wal").exists()
    except OSError:  # SQLite will say what is wrong
        return False


def _marks_of_ours(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Return application id and schema of a file that is ours or empty; refuse any other, and a damaged one."""
    has_bytes = path.stat().st_size > 0  # looked at first, since another process may be making the file
    application, version = marks(connection)
    is_empty = not connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if has_bytes and not connection.execute("pragma page_count").fetchone()[0]:  # too short a file for SQLite to judge
        msg = f"{path} is no SQLite file; it is not a promptlab file; name another one"
        raise StoreError(msg)
    if application != APPLICATION_ID and not (is_empty and application == version == 0):
        msg = f"{path} is another program's SQLite file; name another one"
        raise StoreError(msg)
    if views := _views_for_tables(connection):
        msg = f"{path} is not what it says: {', '.join(views)} should be tables, and are views; name another file"
        raise StoreError(msg)
    if path.stat().st_size <= CHECKED_BYTES:
        damage = connection.execute("pragma quick_check(1)").fetchone()[0]
        if damage != "ok":
            msg = f"{path} is damaged ({' '.join(damage.split())}); copy it, then try `sqlite3 FILE .recover`"
            raise StoreError(msg)
    return application, version


def _views_for_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables of ours that are views: reading one could take for ever."""
    views = connection.execute("select name from sqlite_master where type = 'view' order by name")
    return [name for (name,) in views if name.lower() in TABLES]


def _triggers(connection: sqlite3.Connection) -> list[str]:
    """Return the triggers of a file; promptlab makes none, since one would run with whatever is written."""
    return [
        name for (name,) in connection.execute("select name from sqlite_master where type = 'trigger' order by name")
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    """What this Python's SQLite can do."""

    version: str
    has_fts5: bool


def sqlite_facts() -> SqliteFacts:
    """Return the version of SQLite in use, and whether full-text search is compiled in."""
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {row[0] for row in connection.execute("pragma compile_options")}
    return SqliteFacts(sqlite3.sqlite_version, "ENABLE_FTS5" in options)


def second_library() -> str | None:
    """Return the name of a second SQLite library that sqlite-utils would take without a word, if one is installed."""
    return _SECOND_LIBRARY if importlib.util.find_spec(_SECOND_LIBRARY) else None


# Queries of a user

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_HARMLESS_PRAGMAS = {"data_version", "table_info", "table_xinfo"}  # FTS5 reads the first, people the others


def _authorised(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _HARMLESS_PRAGMAS:
        return sqlite3.SQLITE_OK
    if (
        action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    ):  # said when a virtual table such as the index opens;
        return sqlite3.SQLITE_OK  # the table itself can be written by nobody
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


@contextmanager
def _bounded(connection: sqlite3.Connection) -> Iterator[None]:
    """End a query that takes too long, or makes values that are too large."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SQL_BYTES)
    connection.set_progress_handler(lambda: 1, SQL_STEPS)
    timer = threading.Timer(SQL_S, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _error_name(exc: Exception) -> str:
    return getattr(exc, "sqlite_errorname", "")


def _query_advice(exc: Exception) -> str:
    name = _error_name(exc)
    if name == "SQLITE_AUTH":
        return f"this query is not allowed ({exc}): lab.sql reads this file only; SELECT and WITH are all it takes"
    if name == "SQLITE_INTERRUPT":
        return "the query took too long and was ended; narrow it with WHERE or LIMIT"
    return f"the query failed: {exc}"


# The search index, fed in the writer's idle time

INDEXED = {"outputs": "outputs_fts", "requests": "requests_fts"}
_INDEX_ROWS = 500
_UNINDEXED = "select 1 from {table} where id > (select coalesce(max(id), 0) from {index}_docsize) limit 1"


def _index_some(connection: sqlite3.Connection) -> bool:
    """Index some rows that are not yet searchable; return whether there may be more."""
    more = [_index_table(connection, table, index) for table, index in INDEXED.items()]
    return any(more)


def _index_table(connection: sqlite3.Connection, table: str, index: str) -> bool:
    last = f"select coalesce(max(id), 0) from {index}_docsize"  # noqa: S608 - names of our own, here and below
    some = f"select id, coalesce(text, '') from {table} where id > ({last}) order by id limit {_INDEX_ROWS}"  # noqa: S608
    rows = connection.execute(some).fetchall()
    connection.executemany(f"insert into {index} (rowid, text) values (?, ?)", rows)  # noqa: S608
    return len(rows) == _INDEX_ROWS


def _index_all(connection: sqlite3.Connection) -> None:
    """Make every row searchable, where the schema is one we know."""
    if marks(connection)[1] == SCHEMA_VERSION:
        connection.execute("begin immediate")
        while _index_some(connection):
            pass
        connection.execute("commit")
