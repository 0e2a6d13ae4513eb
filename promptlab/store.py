"""The store: one SQLite file, opened with care.

Reads go through one connection a thread, which cannot write; writes go through the one writer thread. A file is created,
migrated or switched to WAL only when there is something to write, so that reading a finished file, or running a finished
plan again, leaves it byte for byte as it was. A file of a newer promptlab, or one that cannot be written, is read only.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from promptlab.errors import PromptlabWarning, ReadOnlyError, StoreError
from promptlab.migrations import APPLICATION_ID, SCHEMA_VERSION, migrate
from promptlab.writer import Operation, Writer

T = TypeVar("T")

BUSY_TIMEOUT_MS = 60_000  # SQLite's busy handler is not fair: a writer was seen to starve past 10 s
SQL_STEPS = 20_000_000  # virtual-machine steps (about 2 s) after which `lab.sql` gives up on a query
_HEADER_BYTES = 100
_WAL_FORMAT = 2  # bytes 18 and 19 of a file that was left in WAL mode


class StoreWarning(PromptlabWarning):
    """The file works, but not as it should."""


class Store:
    """One SQLite file.

    Parameters
    ----------
    path
        The file; made, readable by its owner alone, when it is not there and `create` is true.

    Raises
    ------
    StoreError
        When the file is no promptlab file, is damaged, or is not there and `create` is false.
    """

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path)
        self._pid = os.getpid()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._shadow: tempfile.TemporaryDirectory[str] | None = None
        self._writer = Writer(self._connect_writer, when_idle=_index_some)
        if not self.path.exists():
            self._create(create=create)
        self.read_only_because = self._checked()

    @property
    def is_read_only(self) -> bool:
        """Whether the file can be read but not written."""
        return self.read_only_because is not None

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query of ours."""
        return self._reader().execute(sql, parameters).fetchall()

    def write(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation for the writer; its future is answered after the commit."""
        if self.read_only_because:
            raise ReadOnlyError(self.read_only_because)
        if self._pid != os.getpid():
            msg = f"{self.path} was opened before this process was forked; open the lab anew in the child"
            raise StoreError(msg)
        return self._writer.submit(operation)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return columns and rows of a user's query, on a connection that can neither write nor reach other files."""
        connection = self._open_read(self._readable_path())
        connection.set_authorizer(_authorised)
        connection.set_progress_handler(lambda: 1, SQL_STEPS)
        try:
            cursor = connection.execute(sql, parameters)
            return [column[0] for column in cursor.description or ()], cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning) as exc:
            raise StoreError(_query_advice(exc)) from exc
        finally:
            connection.close()

    def copy_to(self, path: str | Path) -> Path:
        """Write a compact copy that opens on read-only media, for sharing or for git; refuses to overwrite."""
        target = Path(path)
        if target.exists():
            msg = f"{target} exists; remove it or name another file"
            raise StoreError(msg)
        if not self.is_read_only:
            self.write(_index_all).result()
        connection = self._open_read(self._readable_path(), query_only=False)
        try:
            connection.execute("vacuum into ?", (str(target),))
        finally:
            connection.close()
        return target

    def close(self) -> None:
        """Write what waits and close every connection; the store can be used again afterwards."""
        self._writer.close()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()
        if self._shadow is not None:
            self._shadow.cleanup()
            self._shadow = None

    def __repr__(self) -> str:
        return f"<Store {self.path}{' (read only)' if self.is_read_only else ''}>"

    # Opening

    def _create(self, *, create: bool) -> None:
        if not create:
            msg = f"{self.path} does not exist; name the file that holds the answers"
            raise StoreError(msg)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:  # another process was quicker
            return
        except OSError as exc:
            msg = f"{self.path} cannot be made: {exc.strerror}; name a folder that exists and can be written"
            raise StoreError(msg) from exc

    def _checked(self) -> str | None:
        """Bring the file up to date where that can be; return why it cannot be written, or None."""
        header = _header(self.path)
        application, version = int.from_bytes(header[68:72]), int.from_bytes(header[60:64])
        if header and (not header.startswith(b"SQLite format 3\0") or application not in {0, APPLICATION_ID}):
            msg = f"{self.path} is not a promptlab file; name another one"
            raise StoreError(msg)
        if version > SCHEMA_VERSION:
            return f"{self.path} was written by a newer promptlab (schema {version}, this one knows {SCHEMA_VERSION}); upgrade to write to it"
        if not (os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)):
            return f"{self.path} cannot be written here; copy it to a folder of yours to add to it"
        if version < SCHEMA_VERSION:
            self._migrate(header, application)
        return None

    def _migrate(self, header: bytes, application: int) -> None:
        if header and application == 0 and _has_tables(self.path):
            msg = f"{self.path} is another program's SQLite file; name another one"
            raise StoreError(msg)
        if application == APPLICATION_ID:
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.schema{int.from_bytes(header[60:64])}.bak"))
        connection = self._open(self.path, "rwc")
        try:
            migrate(connection)
        except sqlite3.Error as exc:
            msg = f"{self.path} could not be brought to schema {SCHEMA_VERSION}: {exc}"
            raise StoreError(msg) from exc
        finally:
            connection.close()

    def _connect_writer(self) -> sqlite3.Connection:
        connection = self._open(self.path, "rw")
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal":
            connection.execute("pragma journal_mode = truncate")
            warnings.warn(
                f"{self.path} is on a file system without shared memory; writing works, but slowly and from one machine only",
                StoreWarning,
                stacklevel=2,
            )
        connection.execute("pragma synchronous = full")
        connection.execute("pragma wal_autocheckpoint = 0")  # the writer does it itself, see writer.py
        return connection

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            connection = self._open_read(self._readable_path())
            connection.row_factory = sqlite3.Row
            self._local.connection, self._local.pid = connection, os.getpid()
            self._connections.append(connection)
        return connection

    def _readable_path(self) -> Path:
        """The file, or for a read-only one of an older schema a migrated copy of it."""
        if not self.is_read_only or int.from_bytes(_header(self.path)[60:64]) >= SCHEMA_VERSION:
            return self.path
        if self._shadow is None:
            self._shadow = tempfile.TemporaryDirectory(prefix="promptlab-")
            copy = Path(self._shadow.name) / self.path.name
            shutil.copyfile(self.path, copy)
            connection = self._open(copy, "rwc")
            migrate(connection)
            connection.close()
        return Path(self._shadow.name) / self.path.name

    def _open_read(self, path: Path, *, query_only: bool = True) -> sqlite3.Connection:
        """Open without writing. A WAL file wants its side files written, so read-only ones are opened as immutable."""
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        is_settled = not Path(f"{path}-wal").exists()
        immutable = not writable and _header(path)[18:19] == bytes([_WAL_FORMAT]) and is_settled
        connection = self._open(path, "rw" if writable else "ro", immutable=immutable)
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


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise StoreError(msg) from exc


def _has_tables(path: Path) -> bool:
    with sqlite3.connect(path) as connection:
        found = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    connection.close()
    return bool(found)


# Queries of a user

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_HARMLESS_PRAGMAS = {"data_version", "table_info", "table_xinfo"}  # FTS5 reads the first, people the others


def _authorised(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _HARMLESS_PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _query_advice(exc: Exception) -> str:
    name = getattr(exc, "sqlite_errorname", "")
    if name == "SQLITE_AUTH":
        return f"this query is not allowed ({exc}): lab.sql reads this file only; SELECT and WITH are all it takes"
    if name == "SQLITE_INTERRUPT":
        return "the query took too long and was ended; narrow it with WHERE or LIMIT"
    return f"the query failed: {exc}"


# The search index, fed in the writer's idle time

_INDEXED = {"outputs": "outputs_fts", "requests": "requests_fts"}
_INDEX_ROWS = 500


def _index_some(connection: sqlite3.Connection) -> bool:
    """Index some rows that are not yet searchable; return whether there may be more."""
    return any([_index_table(connection, table, index) for table, index in _INDEXED.items()])


def _index_table(connection: sqlite3.Connection, table: str, index: str) -> bool:
    last = connection.execute(f"select coalesce(max(id), 0) from {index}_docsize").fetchone()[0]  # noqa: S608 - constants
    rows = connection.execute(
        f"select id, coalesce(text, '') from {table} where id > ? order by id limit {_INDEX_ROWS}", (last,)  # noqa: S608
    ).fetchall()
    connection.executemany(f"insert into {index} (rowid, text) values (?, ?)", rows)  # noqa: S608
    return len(rows) == _INDEX_ROWS


def _index_all(connection: sqlite3.Connection) -> None:
    while _index_some(connection):
        pass
