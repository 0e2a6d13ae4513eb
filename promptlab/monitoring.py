"""How a run stands right now, live or past: counts, pace, money, errors by type, latency, and a map of its trials.

A watch reads the file, so that what it shows is what is stored, and works as well for a run that another kernel
executes. It is told of a live run's workers for what no file holds: the number allowed in flight, the gate, the cap.
Looking again costs what is new, not what is there: attempts are followed by their ids, and all trials are read again
only when something changed that leaves no attempt (samples given up, or answered by another run).
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Protocol

from promptlab import _text, results
from promptlab._json import compact
from promptlab.jobs import Progress
from promptlab.layouts import Layout
from promptlab.limits import Budget, Pace
from promptlab.results import RunRow
from promptlab.store import Store
from promptlab.tallies import Attempt, Errors, Latencies, Spent, error_type

RATE_OVER_S = 10.0  # long enough to be steady, short enough to show that something changed
_CHECK_EVERY_S = 1.0  # how often open attempts are looked at one by one, and another kernel's run as a whole
_SHARE_OF_TIME = 0.05  # of one core, at most, for reading all trials again
_OUTPUT_CHARS = 300
_MOST_ERRORS = 6

#: One letter a trial, in the order in which counts are listed.
CODES = {"o": "ok", "c": "reused", "r": "running", "q": "todo", "f": "failed", "s": "stopped"}
_ENDED = frozenset("ocfs")
_STATE_CODES = {"done": "o", "failed": "f", "stopped": "s"}  # leased without an open attempt of this run: to be asked


class Workers(Protocol):
    """What a watch asks a live run's runner."""

    progress: Progress
    pace: Pace
    budget: Budget | None

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is sent any more."""

    @property
    def waiting_s(self) -> float:
        """How long the gate stays closed."""

    @property
    def waiting_for(self) -> str | None:
        """What keeps it closed."""


class Live(Protocol):
    """A run that is executed here."""

    @property
    def runner(self) -> Workers:
        """Its workers."""

    @property
    def is_ended(self) -> bool:
        """Whether they are gone."""

    @property
    def elapsed_s(self) -> float:
        """How long it has taken, or took."""

    @property
    def is_awaited(self) -> bool:
        """Whether a cell waits for it, so that an interrupt of the kernel stops it."""


def status(store: Store, run_id: int, live: Live | None = None) -> dict[str, Any]:
    """Return how a run stands, as a mapping that JSON can hold; see `Watch.status`, and `map` for its trials."""
    watch = Watch(store, run_id, live)
    return {**watch.status(), "map": watch.board()}


# Watching

_COLUMNS = """
select attempts.id, attempts.state, attempts.http_status, attempts.error_type, attempts.error_code,
  substr(attempts.error_message, 1, 200), attempts.latency_ms, attempts.prompt_tokens, attempts.completion_tokens,
  attempts.cost_usd, attempt_samples.sample_id
from attempts join attempt_samples on attempt_samples.attempt_id = attempts.id
"""
_NEW = f"{_COLUMNS} where attempts.run_id = ? and attempts.id > ? order by attempts.id"
# An attempt that never left is deleted, and its id given out again, maybe to another run.
_OPEN = f"""
{_COLUMNS} where attempts.run_id = ? and attempts.id in (select value from json_each(?)) order by attempts.id
"""  # noqa: S608 - a query of our own
_NOW_ENDED = f"""
{_COLUMNS} where attempts.run_id = ? and attempts.state != 'sent'
  and attempts.id in (select value from json_each(?)) order by attempts.id
"""  # noqa: S608 - a query of our own
_SAMPLES = "select id, state from samples where id in (select value from json_each(?))"
_TRIALS = """
select trials.position, trials.reused, samples.id, samples.state
from trials join samples on samples.id = trials.sample_id where trials.run_id = ?
"""
_TEMPLATES = "select name, version from templates where name = ? and key = ?"
_NOT_ASKED = """
select samples.reason, count(*) as trials from trials join samples on samples.id = trials.sample_id
where trials.run_id = ? and samples.state = 'stopped' group by samples.reason order by trials desc limit 3
"""
_LATEST = f"""
select substr(outputs.text, 1, {_OUTPUT_CHARS + 1}) as text, outputs.refusal, outputs.finish_reason,
  outputs.completion_tokens, attempts.latency_ms, outputs.sample_id
from outputs join attempts on attempts.id = outputs.attempt_id
where outputs.attempt_id = ? order by outputs.choice limit 1
"""  # noqa: S608 - a query of our own
_CASE = """
select inputs from cases where id = (select case_id from trials where run_id = ? and position = ?)
"""
_TRIAL = """
select trials.id as trial_id, trials.position, trials.repeat, trials.reused, samples.state, samples.reason, cases.inputs
from trials join samples on samples.id = trials.sample_id join cases on cases.id = trials.case_id
where trials.run_id = ? and trials.position = ?
"""


class Watch:
    """How one run stands; `look` again for what happened since.

    Parameters
    ----------
    live
        The run's workers, where they are in this process.
    now_s
        The time, for tests: a monotonic clock in seconds.
    """

    def __init__(
        self, store: Store, run_id: int, live: Live | None = None, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._run_id, self._live, self._now_s = store, run_id, live, now_s
        self._row = results.run_row(store, run_id)
        self.layout = Layout.of(self._row.plan, _template_labels(store, self._row))
        self._codes = bytearray(b"q" * self.layout.size)
        self._counts = Counter({"q": self.layout.size})
        self._heat: list[Counter[str]] = [Counter() for _ in range(len(self.layout.rows) * len(self.layout.columns))]
        for place in range(len(self.layout.places)):
            self._heat[self.layout.cell(place * self.layout.per_place)]["q"] += self.layout.per_place
        self._changed: set[int] = set()  # positions, or heat cells
        self._open: dict[int, list[int]] = {}  # attempts without an end -> the samples they are for
        self._positions: dict[int, list[int]] = {}  # of each sample's trials
        self._reused = bytearray(self.layout.size)
        self._newest_ended_id = 0
        self._spent, self._latencies = Spent(), Latencies()
        self._errors: dict[str, Errors] = {}
        self._met: dict[int, dict[str, str]] = {}  # samples that met errors -> type -> what became of it
        self._latest_id: int | None = None
        self._latest: dict[str, Any] | None = None
        self._not_asked: list[dict[str, Any]] = []
        self._is_over = self.is_over  # when it was looked at last
        self._checked_s = self._read_all_s = -math.inf
        self._read_all_took_s = 0.0
        self._told_apart = (0, 0)  # what the workers count that leaves no attempt: stopped, answered elsewhere
        self._ends: deque[tuple[float, int]] = deque()
        self._read_all()
        self.look()
        self._changed.clear()

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more, as far as this process can know."""
        return self._live.is_ended if self._live else self._row.status not in {"planned", "running"}

    def look(self) -> None:
        """Take in what happened since the last look."""
        now_s, is_ended = self._now_s(), self._live is not None and self._live.is_ended
        if self._live is None or is_ended:
            self._row = results.run_row(self._store, self._run_id)
        is_over = is_ended if self._live else self.is_over  # before reading, so that what is read is the last state
        self._take(_NEW, self._run_id, max(self._newest_ended_id, *self._open, 0))
        if self._open:
            self._take(_NOW_ENDED, self._run_id, compact(list(self._open)))
        if now_s - self._checked_s >= _CHECK_EVERY_S or is_over:
            self._checked_s = now_s
            self._check_open()
        if self._must_read_all(is_over=is_over):
            self._read_all()
        self._is_over = is_over
        self._note_pace(now_s)

    def status(self) -> dict[str, Any]:
        """Return how the run stands, as of the last look; None is unknown.

        `counts` are trials by status, `ended` how many have an end; `rate_per_s` is of the last ten seconds;
        `errors` are failed attempts by type, those that were answered later included.
        """
        counts = {name: self._counts[code] for code, name in CODES.items()}
        reused = counts.pop("reused")
        counts["ok"] += reused
        return {
            "id": self._row.id,
            "name": self._row.name,
            "status": self._word(),
            "reason": self._row.reason if self._is_over else None,
            "is_over": self._is_over,
            "is_here": self._live is not None,
            "is_awaited": self._live is not None and self._live.is_awaited,
            "total": self.layout.size,
            "ended": self._ended,
            "counts": counts,
            "reused": reused,
            "rate_per_s": self._rate_per_s(),
            "eta_s": self._eta_s(),
            "elapsed_s": None if self._live is None else round(self._live.elapsed_s, 1),
            **self._spent.told(),
            **self._gate(),
            "errors": self._error_groups(),
            "not_asked": self._not_asked,
            "latency": self._latencies.summary(),
            "latest": self._newest_output(),
        }

    def board(self) -> dict[str, Any]:
        """Return the whole map: of each row and column its trials, a letter each, or as heat how many of each kind.

        A place of squares is `[position of the first, letters]`, one of heat its counts in the order of `CODES`; None
        where a model lacks a setting.
        """
        layout = self.layout
        grid: list[list[Any]] = [[None] * len(layout.columns) for _ in layout.rows]
        codes = self._codes.decode()
        for place, (row, column) in enumerate(layout.places):
            start = place * layout.per_place
            if layout.is_heat:
                grid[row][column] = self._cell_counts(row * len(layout.columns) + column)
            else:
                grid[row][column] = [start, codes[start : start + layout.per_place]]
        kind = "heat" if layout.is_heat else "squares"
        return {"kind": kind, "rows": list(layout.rows), "columns": list(layout.columns), "cells": grid}

    def changes(self) -> list[list[Any]]:
        """Return what changed on the map since this was asked last: [position, letter], or [heat cell, its counts]."""
        changed, self._changed = sorted(self._changed), set()
        if self.layout.is_heat:
            return [[cell, self._cell_counts(cell)] for cell in changed]
        return [[position, chr(self._codes[position])] for position in changed]

    def trial(self, position: int) -> dict[str, Any] | None:
        """Return one trial: where it stands, its case, its state, its id; None where there is none."""
        rows = self._store.read(_TRIAL, (self._run_id, position))
        if not rows:
            return None
        row = dict(rows[0])
        case = json.loads(row.pop("inputs"))
        return {**row, "where": self.layout.told(position), "case": case, "status": CODES[chr(self._codes[position])]}

    def inside(self, cell: int, *, most: int) -> list[list[Any]]:
        """Return [position, letter] of the trials in a heat cell, at most so many, those without an answer first."""
        layout = self.layout
        found: list[list[Any]] = []
        for place in range(len(layout.places)):
            start = place * layout.per_place
            if layout.cell(start) == cell:
                found += [[position, chr(self._codes[position])] for position in range(start, start + layout.per_place)]
        found.sort(key=lambda each: "fsrqoc".index(each[1]))
        return found[:most]

    # Reading

    def _take(self, sql: str, *parameters: Any) -> None:
        """Take in attempts that are new or have ended; there is a row for each sample that an attempt is for."""
        last_id, unsure, left = 0, [], set[int]()
        for attempt in map(Attempt._make, chain.from_iterable(self._store.batches(sql, parameters))):
            if attempt.state == "sent":
                self._open.setdefault(attempt.id, []).append(attempt.sample_id)
                for position in self._positions.get(attempt.sample_id, ()):
                    self._set(position, "r")
                continue
            is_next_choice, last_id = attempt.id == last_id, attempt.id
            if not is_next_choice:
                self._newest_ended_id = max(self._newest_ended_id, attempt.id)
                left.update(self._open.pop(attempt.id, ()))  # of another, where the id was given out again
                self._end(attempt)
            if attempt.state == "ok" and not is_next_choice:
                self._settle(attempt.sample_id, "done")
            else:  # an answer may have fewer choices than were asked for
                unsure.append(attempt.sample_id)
            if attempt.state != "ok":
                self._meet(attempt)
        if unsure:
            for sample_id, state in self._store.read(_SAMPLES, (compact(unsure),)):
                self._settle(sample_id, state)
        self._leave(left)

    def _leave(self, samples: Iterable[int]) -> None:
        """Note that attempts for samples are not open any more; one that no other is open for is to be asked."""
        if not (left := set(samples)):
            return
        for sample_id in left.difference(chain.from_iterable(self._open.values())):
            for position in self._positions.get(sample_id, ()):
                if self._codes[position] == ord("r"):
                    self._set(position, "q")

    def _end(self, attempt: Attempt) -> None:
        """Count an attempt that has ended."""
        self._spent.add(attempt)
        if attempt.state != "ok":
            errors = self._errors.setdefault(error_type(attempt), Errors())
            errors.attempts += 1
            errors.message = attempt.error_message or errors.message
            return
        self._latest_id, self._latest = attempt.id, None
        if attempt.latency_ms is not None:
            self._latencies.add(attempt.latency_ms)

    def _meet(self, attempt: Attempt) -> None:
        """Note that a sample met an error; what became of it is told apart for each type."""
        name = error_type(attempt)
        fates = self._met.setdefault(attempt.sample_id, {})
        self._errors[name].fates[fates.pop(name, "")] -= 1
        fates[name] = "open"  # the newest stands last
        self._errors[name].fates["open"] += 1

    def _settle(self, sample_id: int, state: str) -> None:
        """Note what state a sample is in now, and so its trials."""
        if sample_id in self._met:
            fates = self._met[sample_id]
            newest = next(reversed(fates))
            for name, before in fates.items():
                fates[name] = fate = _fate(state, is_newest=name == newest)
                self._errors[name].fates[before] -= 1
                self._errors[name].fates[fate] += 1
        code = _STATE_CODES.get(state, "q")
        for position in self._positions.get(sample_id, ()):
            self._set(position, "c" if code == "o" and self._reused[position] else code)

    def _set(self, position: int, code: str) -> None:
        if self._codes[position] == ord(code):
            return
        before = chr(self._codes[position])
        self._codes[position] = ord(code)
        counted = [self._counts]
        if self.layout.is_heat:
            cell = self.layout.cell(position)
            counted.append(self._heat[cell])
        for counts in counted:
            counts[before] -= 1
            counts[code] += 1
        self._changed.add(cell if self.layout.is_heat else position)

    def _check_open(self) -> None:
        """Look at every open attempt anew: one that never left is deleted, and its id given to another."""
        if not self._open:
            return
        before, self._open = self._open, {}
        self._take(_OPEN, self._run_id, compact(list(before)))
        self._leave(chain.from_iterable(before.values()))

    def _must_read_all(self, *, is_over: bool) -> bool:
        """Whether something may have changed that leaves no attempt of this run."""
        if is_over != self._is_over:
            return True
        now_s = self._now_s()
        rest_s = max(_CHECK_EVERY_S, self._read_all_took_s / _SHARE_OF_TIME)
        if is_over or now_s - self._read_all_s < rest_s:
            return False
        if self._live is None:
            return True
        progress = self._live.runner.progress
        return (progress.stopped, progress.answered_before) != self._told_apart

    def _read_all(self) -> None:
        """Read the state of every trial."""
        began_s = self._now_s()
        if self._live is not None:
            progress = self._live.runner.progress
            self._told_apart = (progress.stopped, progress.answered_before)
        states: dict[int, str] = {}
        positions: dict[int, list[int]] = {}
        for position, reused, sample_id, state in chain.from_iterable(self._store.batches(_TRIALS, (self._run_id,))):
            if position < self.layout.size:
                self._reused[position] = reused
                positions.setdefault(sample_id, []).append(position)
                states[sample_id] = state
        self._positions = positions
        running = set(chain.from_iterable(self._open.values()))
        for sample_id, state in states.items():
            if state != "leased" or sample_id not in running:
                self._settle(sample_id, state)
        stopped = self._store.read(_NOT_ASKED, (self._run_id,)) if self._counts["s"] else []
        self._not_asked = [dict(row) for row in stopped]
        self._read_all_s = self._now_s()
        self._read_all_took_s = self._read_all_s - began_s

    # Telling

    @property
    def _ended(self) -> int:
        return sum(self._counts[code] for code in _ENDED)

    def _word(self) -> str:
        if self._is_over or self._live is None:
            return self._row.status
        if self._live.runner.progress.is_paused:
            return "paused"
        return "stopping" if self._live.runner.is_stopping else "running"

    def _gate(self) -> dict[str, Any]:
        """Return what only the workers know; None for a run that is not executed here."""
        runner = self._live.runner if self._live and not self._is_over else None
        budget = self._live.runner.budget if self._live else None
        return {
            "in_flight": runner.progress.in_flight if runner else len(self._open),
            "concurrency": runner.pace.in_flight if runner else None,
            "waiting_for": runner.waiting_for if runner else None,
            "waiting_s": round(runner.waiting_s, 1) if runner and runner.waiting_s else None,
            "cap_usd": budget.cap_usd if budget else None,
            "capped_usd": budget.spent_usd if budget else None,  # unknown costs count at their worst there
            "reserved_usd": max(0.0, round(budget.reserved_usd, 9)) if budget else None,
        }

    def _note_pace(self, now_s: float) -> None:
        self._ends.append((now_s, self._ended))
        while len(self._ends) > 2 and self._ends[1][0] <= now_s - RATE_OVER_S:  # noqa: PLR2004 - first and last
            self._ends.popleft()

    def _rate_per_s(self) -> float | None:
        """Return how many trials got their end a second lately; None when that cannot be said, or nothing goes on."""
        (first_s, first), (last_s, last) = self._ends[0], self._ends[-1]
        if self._is_over or last_s - first_s < _CHECK_EVERY_S:
            return None
        return round((last - first) / (last_s - first_s), 3)

    def _eta_s(self) -> float | None:
        rate = self._rate_per_s()
        if not rate or self._word() not in {"running", "planned"}:
            return None
        progress = self._live.runner.progress if self._live else None
        left = progress.total - progress.finished if progress and progress.total else self.layout.size - self._ended
        return round(left / rate, 1)

    def _error_groups(self) -> list[dict[str, Any]]:
        groups = sorted(self._errors.items(), key=lambda each: -each[1].attempts)
        return [errors.told(name) for name, errors in groups[:_MOST_ERRORS]]

    def _cell_counts(self, cell: int) -> list[int]:
        return [self._heat[cell][code] for code in CODES]

    def _newest_output(self) -> dict[str, Any] | None:
        """Return the newest output of this run, clipped, and the trial that it answers."""
        if self._latest is None and self._latest_id is not None:
            rows = self._store.read(_LATEST, (self._latest_id,))
            is_known = rows and rows[0]["sample_id"] in self._positions  # else the plan is still being registered
            self._latest = self._told_output(dict(rows[0])) if is_known else None
        return self._latest

    def _told_output(self, row: Mapping[str, Any]) -> dict[str, Any]:
        text = row["text"] if row["text"] is not None else row["refusal"]
        position = self._positions[row["sample_id"]][0]
        inputs = self._store.read(_CASE, (self._run_id, position))[0][0]
        return {
            "position": position,
            "where": self.layout.told(position),
            "case": _case_label(json.loads(inputs)),
            "text": None if text is None else _text.clipped(text, _OUTPUT_CHARS),
            "finish_reason": row["finish_reason"],
            "completion_tokens": row["completion_tokens"],
            "latency_ms": row["latency_ms"],
        }


def _fate(state: str, *, is_newest: bool) -> str:
    """Return what became of a sample after an error of one type."""
    if state in {"failed", "stopped"}:
        return "failed" if is_newest else "elsewhere"
    return "passed" if state == "done" else "open"


def _template_labels(store: Store, run: RunRow) -> list[str]:
    """Return what a run's templates are called; those of one name are told apart by their version."""
    names = [name for name, _ in run.plan["templates"]]
    versions = [store.read(_TEMPLATES, (name, key)) for name, key in run.plan["templates"]]
    return [
        f"{name} v{rows[0]['version']}" if names.count(name) > 1 and rows else name
        for name, rows in zip(names, versions, strict=True)
    ]


def _case_label(case: Mapping[str, Any]) -> str:
    """Return a case's first value, which mostly tells it from others."""
    return next((_text.clipped(str(value), 80) for value in case.values()), "")
