"""Make a file of a million logged requests, and time `lab.search` and `lab.runs` on it.

    python bench/million.py [FILE]            made when it is not there: about two minutes, 3 GB

Rows are written straight into the tables, with the words of a small language whose frequencies fall as in real text;
`rare10`, `rare100` and `rare1000` stand in so many outputs.
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from promptlab import Lab
from promptlab.backends.offline import OfflineBackend
from promptlab.store import Store, _index_all

REQUESTS = 1_000_000
RUNS = 100
RARE = (10, 100, 1_000)
WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in ("n", "rs", "lo", "")]
WEIGHTS = list(accumulate(1 / place for place in range(1, len(WORDS) + 1)))

_TABLES = {"requests": 6, "samples": 12, "trials": 11, "attempts": 30, "attempt_samples": 3, "outputs": 14}


def made(path: Path, requests: int = REQUESTS) -> Path:
    """Make the file, its index complete."""
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("begin")
        _add_head(connection, requests)
        chance = random.Random(7)
        insert = "insert into {} values ({})"
        for start in range(0, requests, 10_000):
            rows = [_exchange(number, requests, chance) for number in range(start, start + 10_000)]
            for place, (table, columns) in enumerate(_TABLES.items()):
                statement = insert.format(table, ", ".join("?" * columns))
                connection.executemany(statement, (row[place] for row in rows))
        connection.execute("commit")
        _index_all(connection)
    return path


def _add_head(connection: sqlite3.Connection, requests: int) -> None:
    plan = json.dumps({"templates": [["ask", "k"]], "cells": [{"model": "m"}], "variables": [], "columns": ["q"]})
    connection.execute("insert into templates values (1, 'k', 'ask', 1, '[]', '2026-11-01T00:00:00.000Z', null, '')")
    connection.execute("insert into cases values (1, 'k', '{}')")
    counts = {"trials": requests // RUNS, "ok": requests // RUNS, "failed": 0, "reused": 0}
    spent = {"attempts": requests // RUNS, "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.0}
    connection.executemany(
        "insert into runs (id, uid, name, status, plan_key, plan, backend, created_at, promptlab_version,"
        " python_version, sqlite_version, counts) values (?, ?, ?, 'done', ?, ?, '{}', ?, '', '', '', ?)",
        [
            (run, f"u{run}", f"run {run}", f"k{run}", plan, _at(run * (requests // RUNS)), json.dumps(counts | spent))
            for run in range(1, RUNS + 1)
        ],
    )


def _exchange(number: int, requests: int, chance: random.Random) -> tuple[tuple[object, ...], ...]:
    """Return one row a table: a request, and what came of it."""
    one, at, model = number + 1, _at(number), f"model-{number % 4}"
    run = min(RUNS, 1 + number // (requests // RUNS))
    prompt, output = _text(chance, 60), _text(chance, 40)
    output += "".join(f" rare{hits}" for hits in RARE if number % (requests // hits) == 0)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]})
    reply = json.dumps({"model": model, "choices": [{"message": {"content": output}, "finish_reason": "stop"}]})
    none = (None,) * 8
    return (
        (one, f"{one:064x}", "chat/completions", model, body, prompt),
        (one, f"{one:064x}", 0, 0, one, "here", "done", None, None, None, None, one),
        (one, run, number % (requests // RUNS), 1, 1, 0, "{}", 0, one, 0, None),
        (
            *(one, run, one, 1, "ok", f"plab-{one}", at, 900.0, 200, *none[:6], 0, model, *none[:2]),
            *(80, None, 50, None, 130, 0.001, *none[:3], reply.encode(), None),
        ),
        (one, one, 0),
        (one, one, one, 0, output, "stop", None, None, None, "[]", 80, 50, 0.001, at),
    )


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, cum_weights=WEIGHTS, k=words))


def _at(number: int) -> str:
    return f"2026-11-{1 + number // 86_400:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"


def measured(path: Path) -> None:
    """Print the median and the worst of ten of each: `lab.runs()`, and searches for rare and common words."""
    common, seldom = WORDS[0], WORDS[-1]
    with Lab(path, backend=OfflineBackend("nothing: this only reads")) as lab:
        lab.runs()  # which imports pandas
        _show("lab.runs()", lambda: f"{len(lab.runs())} runs")
        for words in ("absent", *(f"rare{hits}" for hits in RARE), f"{seldom} {WORDS[-2]}", seldom, common, "=>"):
            _show(f"search {words!r}", lambda words=words: _first_line(lab.search(words)))
        _show("search 'rare1000', one model", lambda: _first_line(lab.search("rare1000", model="model-0")))
        _show(f"search {common!r}, a model without any", lambda: _first_line(lab.search(common, model="absent")))


def _first_line(found: object) -> str:
    return repr(found).split("\n", 1)[0]


def _show(what: str, work: Callable[[], str]) -> None:
    times, said = [], ""
    for _ in range(10):
        began = time.perf_counter()
        said = work()
        times.append((time.perf_counter() - began) * 1e3)
    print(f"{what:40} median {statistics.median(times):7.1f} ms, worst {max(times):7.1f} ms  {said}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        measured(target if target.exists() else made(target))
    else:
        with tempfile.TemporaryDirectory() as folder:
            measured(made(Path(folder) / "million.db"))
