"""Sweeps in processes of their own, and the audit of what they leave: the server's ledger against the file.

A sweep asks every question of a plan and tells, line by line, how many answers it has acknowledged; its last line is
`end`, the run's id and status, and a hash of all outputs. A test kills it, stops it, interrupts it, or runs two.
"""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from processes import start_python

KEY = "sk-test-1234567890"

# The runner counts an answer as done only after its commit, so what this prints has been acknowledged.
_SWEEP = """
import hashlib, json, os, sys, time
sys.path.insert(0, ".")
from dataclasses import replace
from studies import BRISK, plan_of
from promptlab import Lab
path, base_url, key, size = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
lab = Lab(path, base_url=base_url, api_key=key, policy=replace(BRISK, deadline_s=size["deadline_s"]))
plan = plan_of(lab, size["questions"], repeats=size["repeats"], temperature=1)
run = lab.start(plan, concurrency=size["concurrency"])
told, live = 0, run.progress
while live and run.status in ("planned", "running"):
    if live.done > told:
        told = live.done
        os.write(1, f"{told}\\n".encode())
    time.sleep(0.002)
run.wait(progress=False)
print("end", run.id, run.status, hashlib.sha256(json.dumps(run.outputs).encode()).hexdigest()[:16], flush=True)
lab.close()
"""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How large a sweep is, and how patient with one request."""

    questions: int
    repeats: int = 1
    concurrency: int = 8
    deadline_s: float = 20.0

    @property
    def requests(self) -> int:
        """How many requests the plan has."""
        return self.questions * self.repeats

    def start(self, path: Path, base_url: str, *, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start it in a process of its own, on a file, against a server."""
        return start_python(_SWEEP, path, base_url, KEY, json.dumps(asdict(self)), env=env)

    def finish(self, path: Path, base_url: str) -> str:
        """Run it to its end and return its last line."""
        with self.start(path, base_url) as process:
            said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return said.splitlines()[-1]

    def kill_after(self, answers: int, path: Path, base_url: str, *, env: Mapping[str, str] | None = None) -> int:
        """Start it, kill it when it has acknowledged so many answers, and return how many it had told of."""
        acknowledged = 0
        with self.start(path, base_url, env=env) as process:
            for line in process.stdout or ():
                assert not line.startswith("end"), f"it ended before it had {answers} answers"
                acknowledged = int(line)
                if acknowledged >= answers:
                    process.kill()
            errors = process.stderr.read() if process.stderr else ""
        assert process.returncode == -signal.SIGKILL, errors
        return acknowledged


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query, read as another program would."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def answers_in(path: Path) -> dict[int, int]:
    """Return which output each answered sample has."""
    return dict(rows(path, "select id, output_id from samples where state = 'done'")) if path.exists() else {}


_ATTEMPTS = "select client_request_id, state, response from attempts"
_ANSWERED_TWICE = "select sample_id from outputs group by sample_id having count(*) > 1"
_ASKED_AFTER_ITS_ANSWER = """
select client_request_id from attempts
join attempt_samples on attempts.id = attempt_samples.attempt_id
join samples on samples.id = attempt_samples.sample_id
join outputs on outputs.id = samples.output_id
where attempts.id > outputs.attempt_id
"""


def discrepancies(path: Path, ledger: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what the file and the server's ledger disagree on, by kind: nothing when every request is accounted for.

    What was served is logged, or its attempt says `unknown` or `error` by name; nothing is asked once it is answered.
    """
    served = {entry["client_request_id"]: entry for entry in ledger}
    attempts = rows(path, _ATTEMPTS)
    states = {sent_as: state for sent_as, state, _ in attempts}
    logged = {json.loads(response)["id"] for _, state, response in attempts if state == "ok"}
    billed = {entry["id"]: sent_as for sent_as, entry in served.items() if entry["billed"]}
    found = {
        "served without a row": set(served) - set(states),
        "logged as answered, never served": {each for each, state in states.items() if state == "ok"} - set(served),
        "billed and lost": {
            sent_as
            for answer, sent_as in billed.items()
            if answer not in logged and states.get(sent_as) not in {"unknown", "error"}
        },
        "logged, never billed": logged - set(billed),
        "without an end": {each for each, state in states.items() if state == "sent"},
        "answered twice": rows(path, _ANSWERED_TWICE),
        "asked after its answer": rows(path, _ASKED_AFTER_ITS_ANSWER),
        "integrity": [row for row in rows(path, "pragma integrity_check") if row != ("ok",)],
    }
    return {kind: sorted(each) for kind, each in found.items() if each}


def states_of(path: Path, table: str = "attempts") -> dict[str, int]:
    """Return how many attempts, or samples, are in which state."""
    return dict(rows(path, f"select state, count(*) from {table} group by state order by state"))  # noqa: S608 - ours


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with something added."""
    return {**os.environ, **more}
