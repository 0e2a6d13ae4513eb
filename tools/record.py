"""Record experiments.db and the outputs of the notebooks anew, from the local model.

    python tools/record.py              ask the local model for everything
    python tools/record.py --outputs    only run the notebooks again on the file as it is

Every notebook is run twice: once against a fresh file, which asks the local model, and once against the file as it is
committed (compact, opening on read-only media), which sends nothing; the outputs of the second run are kept, since they
are what a reader gets who runs the notebook. What names this machine is taken out of the file.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import nbclient
import nbformat

from promptlab import ledger
from promptlab.store import Store

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FILE = ROOT / "experiments.db"
LARGEST_BYTES = 4_000_000


def main() -> None:
    """Record everything, and check that the second run found every answer."""
    if sys.argv[1:] != ["--outputs"]:
        _ask()
    before = FILE.read_bytes()
    for path in NOTEBOOKS:
        nbformat.write(_cleaned(_executed(path)), path)
        print(f"{path.name}: outputs written")
    assert FILE.read_bytes() == before, "running the notebooks again changed the file"
    assert len(before) < LARGEST_BYTES, f"{FILE.name} has {len(before):,} bytes, more than {LARGEST_BYTES:,}"
    print(f"{FILE.name}: {len(before):,} bytes")


def _ask() -> None:
    _remove(FILE)
    for path in NOTEBOOKS:
        _executed(path)
        print(f"{path.name}: asked the local model")
    _compact(FILE)


def _executed(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook


def _cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what changes from machine to machine: timings of cells, versions, widget state."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


def _compact(path: Path) -> None:
    """Take the machine's name out and write the file as one that opens on read-only media, with nothing left to write.

    A search would bring an unfinished index up to date, and a run of an older file has no counts in its row.
    """
    compact = path.with_suffix(".compact")
    with closing(Store(path)) as store:
        store.index()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("update runs set host = null, git_commit = null")
        connection.execute(f"update runs set counts = ({ledger.COUNTS}) where counts is null")  # noqa: S608 - our own
        connection.execute("vacuum into ?", (str(compact),))
    _remove(path)
    compact.rename(path)


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
