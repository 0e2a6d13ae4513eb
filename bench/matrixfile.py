"""A file with one run to compare: many cases under two templates and four temperatures, rows straight into the tables.

Answers of one case share most of their words; some fail, some are cut short. `zebra` stands in one of 500 answers.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from promptlab import ledger
from promptlab.store import Store

IDENTITY = "https://api.openai.com/v1"
TEMPLATES = ("terse", "guided")
TEMPERATURES = (0, 0.4, 0.7, 1.2)
COLUMNS = len(TEMPLATES) * len(TEMPERATURES)
WORDS = (
    *("the", "model", "answers", "with", "care", "and", "cites", "the", "source", "when", "asked", "for", "evidence"),
    *("but", "sometimes", "it", "drifts", "into", "long", "explanations", "that", "repeat", "the", "prompt", "or"),
)
#: What is asked of the open panel -> the change of its layout.
CHANGES: dict[str, dict[str, Any]] = {
    "search, a seldom word": {"search": "zebra", "sort": "plan"},
    "search, a word in nearly all": {"search": "model", "sort": "plan"},
    "search, two words, ranked": {"search": "model cites", "sort": "rank"},
    "rows that differ": {"search": "", "sort": "plan", "filters": {"show": "different"}},
    "slow ones, the dearest first": {"filters": {"ranges": {"latency_ms": [2000, None]}}, "sort": "cost_usd"},
}

BATCH = 10_000  # rows held at a time
AT = "2026-01-01T00:00:00.000Z"

_ADD_RUN = """
insert into runs (id, uid, name, status, plan_key, plan, backend, base_url, created_at, promptlab_version,
  python_version, sqlite_version) values (1, 'u', 'large', 'done', 'k', ?, ?, ?, ?, '', '', '')
"""
_ADD = {
    "requests": """
insert into requests (id, key, endpoint, model, body, text) values (?1, ?2, 'chat/completions', 'm', ?3, ?4)
""",
    "samples": """
insert into samples (id, key, repeat, generation, request_id, backend, state, reason, output_id)
values (?1, ?2, ?3, 0, ?4, 'x', ?5, ?6, ?7)
""",
    "attempts": """
insert into attempts (id, run_id, request_id, number, state, client_request_id, sent_at, latency_ms, http_status, model,
  prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, total_tokens, cost_usd, usage, headers, response)
values (?1, 1, ?2, 1, ?3, ?4, ?5, ?6, 200, 'm', 80, 0, 50, 0, 130, ?7, '{}', '{}', ?8)
""",
    "attempt_samples": "insert into attempt_samples (attempt_id, sample_id, choice) values (?1, ?1, 0)",
    "outputs": """
insert into outputs (id, attempt_id, sample_id, choice, text, finish_reason, prompt_tokens, completion_tokens, cost_usd,
  created_at) values (?1, ?1, ?1, 0, ?2, ?3, 80, 50, ?4, ?5)
""",
    "trials": """
insert into trials (id, run_id, position, template_id, case_id, case_index, params, repeat, sample_id)
values (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?1)
""",
}


def make(path: Path, outputs: int, *, repeats: int = 1, words: int = 90) -> None:
    """Make the file with so many outputs."""
    Store(path).close()
    cases = outputs // (COLUMNS * repeats)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("synchronous = off", "journal_mode = off"):
            connection.execute(f"pragma {setting}")
        connection.execute("begin")
        _add_head(connection, cases, repeats)
        rows = _exchanges(cases, repeats, words, random.Random(7))
        while some := list(islice(rows, BATCH)):
            for table, statement in _ADD.items():
                connection.executemany(statement, [row[table] for row in some if table in row])
        connection.execute("insert into outputs_fts (rowid, text) select id, text from outputs")
        connection.execute(f"update runs set counts = ({ledger.COUNTS})")  # noqa: S608 - a query of our own
        connection.execute("commit")


def _add_head(connection: sqlite3.Connection, cases: int, repeats: int) -> None:
    for key, name in enumerate(TEMPLATES, 1):
        connection.execute("insert into templates values (?, ?, ?, 1, '[]', ?, null, '')", (key, f"k{key}", name, AT))
    inputs = ((number, f"k{number}", json.dumps(_inputs(number))) for number in range(1, cases + 1))
    connection.executemany("insert into cases values (?, ?, ?)", inputs)
    plan = {
        "templates": [[name, f"k{key}"] for key, name in enumerate(TEMPLATES, 1)],
        "cells": [{"model": "m", "temperature": each} for each in TEMPERATURES],
        "variables": [],
        "columns": ["question", "lang", "answer"],
        "cases": cases,
        "repeats": repeats,
        "generation": 0,
    }
    backend = json.dumps({"kind": "openai", "identity": IDENTITY})
    connection.execute(_ADD_RUN, (json.dumps(plan), backend, IDENTITY, AT))


def _inputs(number: int) -> dict[str, Any]:
    return {"question": f"Where is order {number}?", "lang": ("en", "fr", "de")[number % 3], "answer": f"at {number}"}


def _exchanges(cases: int, repeats: int, words: int, chance: random.Random) -> Iterator[dict[str, tuple[Any, ...]]]:
    """Yield a row of each table for one trial, in plan order."""
    texts = [[chance.choice(WORDS) for _ in range(words)] for _ in range(cases)]
    one = 0
    for template in range(len(TEMPLATES)):
        for heat, temperature in enumerate(TEMPERATURES):
            for case in range(cases):
                for repeat in range(repeats):
                    one += 1
                    params = f'{{"model":"m","temperature":{temperature}}}'
                    place = (template + 1, case + 1, case, params, repeat)
                    yield _exchange(one, place, _answer(texts[case], 8 * heat * (repeat + 1), chance), chance)


def _exchange(one: int, place: tuple[Any, ...], output: str, chance: random.Random) -> dict[str, tuple[Any, ...]]:
    key, body = f"{chance.getrandbits(256):064x}", '{"model":"m","messages":[]}'
    is_failed = one % 500 == 0
    cost, latency_ms = chance.random() / 100, 100 + 2_900 * chance.random()
    reply = json.dumps({"id": "chatcmpl-0", "choices": [{"message": {"content": output}}]}).encode()
    state, reason = ("failed", "400: refused") if is_failed else ("done", None)
    rows = {
        "requests": (one, key, body, "a prompt of some words"),
        "samples": (one, key, place[-1], one, state, reason, None if is_failed else one),
        "attempts": (one, one, "error" if is_failed else "ok", f"plab-{one}", AT, latency_ms, cost, reply),
        "attempt_samples": (one,),
        "trials": (one, one - 1, *place),
    }
    finish_reason = "length" if one % 97 == 0 else "stop"
    return rows if is_failed else rows | {"outputs": (one, output, finish_reason, cost, AT)}


def _answer(words: list[str], changed: int, chance: random.Random) -> str:
    answer = list(words)
    for _ in range(changed):
        answer[chance.randrange(len(answer))] = chance.choice(WORDS)
    if chance.random() < 0.002:  # one of 500
        answer[5] = "zebra"
    return " ".join(answer)
