"""Answers that the file did not take: kept beside it, and brought in when it takes them again.

A full disk, a lost permission or a file that was moved away must not cost an answer that was paid for. What came back
is written, one attempt a line, to `FILE.unwritten-*.jsonl` beside the file, else to the user's own cache folder, else
kept in memory. The next run on the file brings it in and removes it; an attempt that has its answer already is left
alone, so bringing in twice, by two kernels say, changes nothing. Each such file is written once and stands there whole
or not at all. What is in it was redacted before, as what stands in the SQLite file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from promptlab import ledger
from promptlab.backends.gguf import cache_dir
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
    for folder, stem in _places(store.file):
        with suppress(OSError):
            path = _written(folder, stem, finishes)
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
    """Write to the file what was kept outside it, and remove it there; return how many finishes there were.

    What another file's past left here, under the same name, stays where it is.
    """
    _return(store)
    waiting, store.unwritten = store.unwritten, []
    try:
        written = _brought(store, waiting)
    except BaseException:
        store.unwritten = waiting + store.unwritten
        raise
    for path in _found(store.file):
        kept = list(_read(path))
        number = _brought(store, kept)
        written += number
        if number == len(kept):
            path.unlink(missing_ok=True)
    return written


def _return(store: Store) -> None:
    """Give back the leases of this process's runs whose end the file did not take: nobody else can know they ended."""
    for run_id, owner in store.unreturned:
        store.write(partial(ledger.give_back, run_id=run_id, owner=owner)).result()
    store.unreturned.clear()


def _brought(store: Store, finishes: Sequence[Rows]) -> int:
    return store.write(partial(_write_known, finishes=finishes)).result() if finishes else 0


def _write_known(connection: sqlite3.Connection, finishes: Iterable[Rows]) -> int:
    """Write the finishes whose attempts this file knows, and return how many they are."""
    known = [rows for rows in finishes if ledger.knows(connection, rows)]
    write_all(connection, known)
    return len(known)


def _places(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield where answers may be kept, folder and beginning of the name: beside the file, else in the user's cache."""
    yield file.parent, f"{file.name}.unwritten-"
    yield cache_dir() / "unwritten", f"{hashlib.sha256(str(file).encode()).hexdigest()[:16]}-"


def _found(file: Path) -> list[Path]:
    """Return what was kept of a file: regular files of this user's own, the oldest first."""
    found = [path for folder, stem in _places(file) for path in folder.glob(f"{_literal(stem)}*.jsonl")]
    return sorted((path for path in found if not path.is_symlink() and path.is_file() and _is_mine(path)), key=str)


def _literal(stem: str) -> str:
    """Return a name as a pattern that matches itself alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)


def _is_mine(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


def _written(folder: Path, stem: str, finishes: Iterable[Rows]) -> Path:
    """Write a file of its own, wait until it is on the disk, and only then give it its name."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
    path = folder / f"{stem}{time.time_ns()}-{os.getpid()}.jsonl"
    half = path.with_suffix(".part")
    try:
        with open(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123 - for its mode
            file.writelines(_line(rows) for rows in finishes)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    return path


def _line(rows: Rows) -> bytes:
    response = rows["attempt"]["response"]
    kept = {**rows["attempt"], "response": None if response is None else base64.b64encode(response).decode()}
    return json.dumps({**rows, "attempt": kept}).encode() + b"\n"


def _read(path: Path) -> Iterator[Rows]:
    """Yield the finishes of a file of ours."""
    for line in path.read_bytes().splitlines():
        rows = json.loads(line)
        response = rows["attempt"]["response"]
        rows["attempt"]["response"] = None if response is None else base64.b64decode(response)
        yield rows
