"""Answers that the file did not take: kept beside it, and brought in when it takes them again.

A full disk, a lost permission or a file that was moved away must not cost an answer that was paid for. What came back
is appended, one attempt a line, to `FILE.unwritten.jsonl` beside the file, else in a folder of the user's that takes
it, else kept in memory. The next run on the file brings it in and removes it; an attempt that has its answer already is
left alone, so bringing in twice changes nothing. What stands there was redacted before, as what stands in the file.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from promptlab import ledger
from promptlab.errors import StoreError, StoreWarning
from promptlab.ledger import Rows
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3


def write_all(connection: sqlite3.Connection, finishes: Iterable[Rows]) -> None:
    """Write finishes to the file."""
    for rows in finishes:
        ledger.write_finish(connection, rows)


def keep(store: Store, finishes: Sequence[Rows]) -> str:
    """Keep finishes outside the file, and return the sentence that says where and what to do."""
    number = f"{len(finishes):,} {'reply' if len(finishes) == 1 else 'replies'} that came meanwhile"
    for path in _places(store.path):
        with suppress(OSError):
            _append(path, finishes)
            return f"Kept in {path}: {number}; the next run on this file, once it can be written, brings that in"
    store.unwritten += finishes
    return f"In memory only: {number}; free some space and run the cell again before this kernel ends"


def let_go(store: Store) -> None:
    """Find a place for what is in memory only, now that the store is about to be closed; warn when there is none."""
    if not store.unwritten:
        return
    try:
        bring_in(store)
    except StoreError:
        waiting, store.unwritten = store.unwritten, []
        told = keep(store, waiting)
        if store.unwritten:
            warnings.warn(f"{store.path}: {told}", StoreWarning, stacklevel=3)


def bring_in(store: Store) -> int:
    """Write to the file what was kept outside it, and remove it there; return how many finishes there were."""
    found = [(path, list(_read(path))) for path in _places(store.path) if path.exists()]
    finishes = [rows for _, kept in found for rows in kept] + store.unwritten
    if not found and not store.unwritten:
        return 0
    written = store.write(partial(_write_known, finishes=finishes)).result()
    store.unwritten.clear()
    for path, kept in found:
        if len(kept) == sum(rows in written for rows in kept):
            path.unlink()
    return len(written)


def _write_known(connection: sqlite3.Connection, finishes: Iterable[Rows]) -> list[Rows]:
    """Write the finishes whose attempts this file knows, and return them; others belong to another file's past."""
    known = [rows for rows in finishes if ledger.knows(connection, rows)]
    write_all(connection, known)
    return known


def _places(path: Path) -> Iterator[Path]:
    """Yield where answers may be kept: beside the file, else in the folder for temporary files."""
    yield path.with_name(f"{path.name}.unwritten.jsonl")
    yield Path(tempfile.gettempdir()) / f"{path.absolute().as_posix().strip('/').replace('/', '_')}.unwritten.jsonl"


def _append(path: Path, finishes: Iterable[Rows]) -> None:
    """Append whole lines and wait until they are on the disk; what could be written only in part is taken back."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - a descriptor, for its mode
        before = os.fstat(descriptor).st_size
        try:
            for rows in finishes:
                line = _line(rows)
                if file.write(line) != len(line):
                    raise OSError(28, "no space left on device")  # noqa: TRY301 - the same as a write that fails whole
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            if not before:
                path.unlink()
            raise


def _line(rows: Rows) -> bytes:
    response = rows["attempt"]["response"]
    kept = {**rows["attempt"], "response": None if response is None else base64.b64encode(response).decode()}
    return json.dumps({**rows, "attempt": kept}).encode() + b"\n"


def _read(path: Path) -> Iterator[Rows]:
    """Yield the finishes of a file of ours; a last line that was cut off by a crash is left out."""
    for line in path.read_bytes().splitlines():
        with suppress(ValueError, KeyError, TypeError):
            rows = json.loads(line)
            response = rows["attempt"]["response"]
            rows["attempt"]["response"] = None if response is None else base64.b64decode(response)
            yield rows
