"""A file of very many logged requests, made quickly: rows straight into the tables, the search index filled.

Words fall in frequency as those of real text do. Each request is one run's trial with its prompt, its exact body, its
reply's bytes and its answer; `rare10`, `rare100` and `rare1000` stand in so many answers.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from promptlab import ledger
from promptlab.store import Store

IDENTITY = "https://api.openai.com/v1"
RUNS = 100
RARE = (10, 100, 1_000)
BATCH = 20_000  # rows held at a time

WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in ("n", "rs", "lo", "")]
SENTENCES = 20_000  # a prompt and an answer are two or three of them
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

#: What is searched for -> (the text, other arguments, the bar in milliseconds).
SEARCHES: dict[str, tuple[str, dict[str, str], float]] = {
    "a word in none": ("absent", {}, 100),
    "in 10": ("rare10", {}, 100),
    "in 1,000": ("rare1000", {}, 100),
    "in 1,000, one model": ("rare1000", {"model": "model-0"}, 100),
    "two seldom words": (f"{WORDS[-1]} {WORDS[-2]}", {}, 100),
    "the commonest word, the newest": (WORDS[0], {}, 100),
}

_PLAN = {
    "templates": [["ask", "k"]],
    "cells": [{"model": "model-0", "temperature": 0}, {"model": "model-1", "temperature": 0.7}],
    "variables": [],
    "columns": ["q"],
    "cases": 1,
    "repeats": 1,
    "generation": 0,
}
_ADD_RUN = """
insert into runs (id, uid, name, status, plan_key, plan, backend, base_url, created_at, promptlab_version,
  python_version, sqlite_version) values (?, ?, ?, 'done', ?, ?, ?, ?, ?, '', '', '')
"""
_ADD = {
    "requests": """
insert into requests (id, key, endpoint, model, body, text) values (?, ?, 'chat/completions', ?, ?, ?)
""",
    "samples": """
insert into samples (id, key, repeat, generation, request_id, backend, state, output_id)
values (?1, ?2, 0, 0, ?1, ?3, 'done', ?1)
""",
    "attempts": """
insert into attempts (id, run_id, request_id, number, state, client_request_id, sent_at, latency_ms, http_status, model,
  prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, total_tokens, cost_usd, usage, headers, response)
values (?1, ?2, ?1, 1, 'ok', ?3, ?4, ?5, 200, ?6, 80, 0, 50, 0, 130, 0.0012, ?7, ?8, ?9)
""",
    "attempt_samples": "insert into attempt_samples (attempt_id, sample_id, choice) values (?1, ?1, 0)",
    "outputs": """
insert into outputs (id, attempt_id, sample_id, choice, text, finish_reason, prompt_tokens, completion_tokens, cost_usd,
  created_at) values (?1, ?1, ?1, 0, ?2, 'stop', 80, 50, 0.0012, ?3)
""",
    "trials": """
insert into trials (id, run_id, position, template_id, case_id, case_index, params, repeat, sample_id)
values (?1, ?2, ?3, 1, 1, 0, ?4, 0, ?1)
""",
}
_FILL = {
    "requests_fts": "insert into requests_fts (rowid, text) select id, text from requests",
    "outputs_fts": "insert into outputs_fts (rowid, text) select id, text from outputs",
}


def make(path: Path, requests: int) -> None:
    """Make the file; a million requests take about a minute and 2 GB."""
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("synchronous = off", "journal_mode = off", "cache_size = -512000"):
            connection.execute(f"pragma {setting}")
        connection.execute("begin")
        _add_head(connection, requests)
        chance = random.Random(7)
        sentences = list(_sentences(chance))
        for start in range(0, requests, BATCH):
            numbers = range(start, min(start + BATCH, requests))
            _add_exchanges(connection, [_exchange(number, requests, sentences, chance) for number in numbers])
        for statement in _FILL.values():
            connection.execute(statement)
        connection.execute(f"update runs set counts = ({ledger.COUNTS})")  # noqa: S608 - a query of our own
        connection.execute("commit")


def _add_head(connection: sqlite3.Connection, requests: int) -> None:
    connection.execute("insert into templates values (1, 'k', 'ask', 1, '[]', ?, null, '')", (_at(0),))
    connection.execute("insert into cases values (1, 'k', ?)", (json.dumps({"q": "?"}),))
    described = (json.dumps(_PLAN), json.dumps({"kind": "openai", "identity": IDENTITY}), IDENTITY)
    share = requests // RUNS
    rows = [(run, f"u{run}", f"run {run}", f"k{run}", *described, _at((run - 1) * share)) for run in range(1, RUNS + 1)]
    connection.executemany(_ADD_RUN, rows)


def _add_exchanges(connection: sqlite3.Connection, rows: list[dict[str, tuple[Any, ...]]]) -> None:
    for table, statement in _ADD.items():
        connection.executemany(statement, [row[table] for row in rows])


def _exchange(number: int, requests: int, sentences: list[str], chance: random.Random) -> dict[str, tuple[Any, ...]]:
    """Return a row of each table for one request and what came of it."""
    one, at, model = number + 1, _at(number), f"model-{number % 2}"
    share = requests // RUNS
    run, position = min(RUNS, 1 + number // share), number % share
    prompt = " ".join(chance.choices(sentences, k=3))
    output = " ".join(chance.choices(sentences, k=2))
    output += "".join(f" rare{hits}" for hits in RARE if number % (requests // hits) == 0)
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}"}}],"temperature":0}}'
    reply = _REPLY.replace("MODEL", model).replace("OUTPUT", output)
    return {
        "requests": (one, f"{chance.getrandbits(256):064x}", model, body, prompt),
        "samples": (one, f"{chance.getrandbits(256):064x}", IDENTITY),
        "attempts": (
            one,
            run,
            f"plab-{chance.getrandbits(128):032x}",
            at,
            900.0,
            model,
            _USAGE,
            _HEADERS,
            reply.encode(),
        ),
        "attempt_samples": (one,),
        "outputs": (one, output, at),
        "trials": (one, run, position, f'{{"model":"{model}","temperature":0}}'),
    }


_USAGE = json.dumps({"prompt_tokens": 80, "completion_tokens": 50, "total_tokens": 130})
_HEADERS = json.dumps({"content-type": "application/json", "x-request-id": "req_0123456789abcdef"})
_REPLY = json.dumps(
    {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "model": "MODEL",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "OUTPUT"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 80, "completion_tokens": 50, "total_tokens": 130},
    }
)


def _sentences(chance: random.Random) -> Iterator[str]:
    weights = list(accumulate(1 / place for place in range(1, len(WORDS) + 1)))
    for _ in range(SENTENCES):
        yield " ".join(chance.choices(WORDS, cum_weights=weights, k=chance.randint(6, 14)))


def _at(number: int) -> str:
    return (BEGAN + timedelta(seconds=20 * number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
