"""The monitor of a run: how it stands, live, and the way to pause, stop and go on.

It follows the run from a thread of its own, so it lives in a blocked cell as well; whether a click is heard there is
the kernel's matter. The kernel's own interrupt always stops a run that a cell waits for, and the panel says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Protocol

from pydantic import Field

from promptlab import _text, lookups, monitoring, results
from promptlab._json import indented
from promptlab.errors import NotFoundError, PromptlabError
from promptlab.monitoring import Watch
from promptlab.panels._panel import Panel, is_in_kernel, operation
from promptlab.store import Store

POLL_S = 1.0  # how often the file is looked at for a run of another kernel
_SHOWN_CHARS = 20_000  # of a body or a response
_SHOWN_TRIALS = 100
_SHOWN_PLACES = 120  # of the map, in the snapshot
_PASSING = ("elapsed_s", "eta_s", "rate_per_s", "waiting_s")  # what changes while nothing happens

Position = Annotated[int, Field(ge=0)]


class Live(monitoring.Live, Protocol):
    """A run that is executed here, and can be told what to do."""

    def pause(self) -> None:
        """Send nothing new."""

    def resume(self) -> None:
        """Go on sending."""

    def stop(self) -> None:
        """Send nothing new, and end when what is in flight is there."""

    def abort(self) -> None:
        """Drop what is in flight as well."""


class Monitor(Panel):
    """How a run stands: progress, pace, money, errors by type, a map of its trials, the newest output.

    `run.monitor()` makes one; in Jupyter `lab.run` and `lab.start` show it.

    Parameters
    ----------
    live
        The run's workers, where they are in this kernel; the file is polled otherwise.
    retry
        Starts the run's plan again and asks for what failed as well; returns its workers, None when there is nothing.
    now_s
        The time, for tests.
    """

    view = "monitor"
    label = "Run monitor"

    def __init__(
        self,
        store: Store,
        run_id: int,
        live: Live | None = None,
        *,
        retry: Callable[[], Live | None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, now_s=now_s)
        self._store, self._run_id, self._live, self._retry = store, run_id, live, retry
        self._watch = Watch(store, run_id, live, now_s=now_s)
        self._is_final = self._watch.is_over
        self._number = 0  # of the last update, so that a browser notices when it missed one
        self._told: dict[str, Any] = {}
        self._told_s = self._looked_s = now_s()
        self._shown_in: str | None = None
        self._is_left = self._is_final  # whether the end stands in the output

    @property
    def status(self) -> dict[str, Any]:
        """How the run stands now; see `promptlab.monitoring.Watch.status`."""
        with self._lock:
            self._look()
            return self._watch.status()

    # What is drawn

    def first(self) -> dict[str, Any]:
        """Return everything: the status, and the whole map."""
        with self._lock:
            return {
                "number": self._number,
                "status": self._watch.status(),
                "map": self._watch.board(),
                "can_retry": self._retry is not None,
                "expression": f"lab.load({self._run_id})",
            }

    def update(self, *, whole: bool) -> dict[str, Any] | None:
        """Return the status and the trials that changed; None when nothing did."""
        now_s = self.now_s()
        if self._live is None and not whole and now_s - self._looked_s < POLL_S:
            return None
        self._look()
        status, changes = self._watch.status(), self._watch.changes()
        steady = {name: value for name, value in status.items() if name not in _PASSING}
        has_moved = changes or steady != self._told
        if not (whole or has_moved or (self._live is not None and now_s - self._told_s >= POLL_S)):
            return None
        self._told, self._told_s = steady, now_s
        self._number += 1
        return self.first() if whole else {"number": self._number, "status": status, "changes": changes}

    def snapshot(self) -> str:
        """Return the status as a table, the errors, and how many trials of each row and column have an end."""
        with self._lock:
            status, board = self._watch.status(), self._watch.board()
        body = _text.html_table(_facts(status))
        if errors := _error_lines(status):
            body += _text.html_list(errors)
        if len(board["rows"]) * len(board["columns"]) <= _SHOWN_PLACES:
            body += _text.html_table(_map_rows(board), head=["", *(column or "trials" for column in board["columns"])])
        how = f"lab.load({self._run_id}).monitor() gives the live panel"
        return _text.html_card(f"Run {status['id']} · {status['name']}", body, note=how)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if is_in_kernel():
            self._go_on()
        return super()._repr_mimebundle_()

    def __repr__(self) -> str:
        return f"<Monitor of run {self._run_id} {self._watch.status()['name']!r}>"

    # What can be asked and told

    @operation
    def hello(self) -> dict[str, Any]:
        """Return everything as it is now, and follow the run again where that had ended."""
        self._look()
        self._go_on()
        return self.first()

    @operation
    def pause(self) -> dict[str, Any]:
        """Send nothing new until `resume`."""
        self._workers().pause()
        return {}

    @operation
    def resume(self) -> dict[str, Any]:
        """Go on sending."""
        self._workers().resume()
        return {}

    @operation
    def stop(self) -> dict[str, Any]:
        """Stop: what is in flight is awaited and logged."""
        self._workers().stop()
        return {}

    @operation
    def drop(self) -> dict[str, Any]:
        """Stop, and do not wait for what is in flight, which may be billed."""
        self._workers().abort()
        return {}

    @operation
    def retry(self) -> dict[str, Any]:
        """Start the plan again, and ask for what failed or was stopped as well."""
        if self._retry is None:
            msg = "this run was loaded from the file; run its plan again: lab.run(plan, retry_failed=True)"
            raise PromptlabError(msg)
        if not self._watch.is_over:
            msg = "the run goes on; what failed can be asked again when it has ended"
            raise PromptlabError(msg)
        live = self._retry()
        if live is not None:
            self._live, self._is_final, self._is_left = live, False, False
            self._watch = Watch(self._store, self._run_id, live, now_s=self.now_s)
            self._go_on()
        return self.first()

    @operation
    def detail(self, position: Position) -> dict[str, Any]:
        """Return one trial, its request as it is sent, and what came back at every attempt, cut where very long."""
        trial = self._watch.trial(position)
        if trial is None:
            msg = f"run {self._run_id} has no trial {position}"
            raise NotFoundError(msg)
        request_id, attempt = lookups.exchange_of(self._store, trial["trial_id"])
        logged = results.logged_request(self._store, request_id, attempt=attempt)
        its = set(results.attempts_of(self._store, trial["trial_id"]))
        attempts = [each for each in logged.attempts if each["id"] in its]
        return {
            **trial,
            "case": {name: _text.clipped(str(value), 2_000) for name, value in trial["case"].items()},
            "body": _shown(logged.body),
            "attempts": [_attempt(each) for each in attempts[-20:]],
            "expression": logged.code(),
        }

    @operation
    def inside(self, cell: Annotated[int, Field(ge=0)]) -> dict[str, Any]:
        """Return trials of a heat cell, those without an answer first."""
        return {"trials": self._watch.inside(cell, most=_SHOWN_TRIALS)}

    # Following, and being shown

    def show(self) -> None:
        """Display it in the cell that runs now, once a cell."""
        cell = _cell_id()
        if self._shown_in is None or cell != self._shown_in:
            self._shown_in = cell
            self.display()

    def finish(self) -> None:
        """Take in the end of the run, and leave it in the output that a notebook saves; nothing is read after that."""
        with self._lock:
            if self._is_left or not self._is_over():
                return
            self._is_left = True
            with suppress(NotFoundError):  # forgotten: whoever waits for the run hears of it
                self._look()
            self._watch.status()  # has the newest output read
        self.renew()

    def _look(self) -> None:
        if not self._is_final:
            is_over = self._is_over()
            self._looked_s = self.now_s()
            try:
                self._watch.look()
            except NotFoundError:
                self._is_final = True
                raise
            self._is_final = is_over

    def _is_over(self) -> bool:
        return self._watch.is_over

    def _go_on(self) -> None:
        if not self._is_final:
            self.follow()

    def may_rest(self) -> bool:
        """Return whether the run has ended; its end is taken in then."""
        if self._is_over():
            self.finish()
        return self._is_over()

    def _workers(self) -> Live:
        if self._live is None:
            msg = "another kernel executes this run; pause and stop it there"
            raise PromptlabError(msg)
        if self._live.is_ended:
            msg = "the run has ended"
            raise PromptlabError(msg)
        return self._live


def _cell_id() -> str:
    """Return which cell runs now, by the message that asked for it."""
    kernel = getattr(sys.modules["IPython"].get_ipython(), "kernel", None)
    with suppress(AttributeError, KeyError, TypeError):
        return str(kernel.get_parent("shell")["header"]["msg_id"])  # type: ignore[union-attr]  # None has none, as said
    return ""


# In words


def _facts(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a status, those that say something."""
    counts, latency = status["counts"], status["latency"]
    ends = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
    facts = [
        (
            "status",
            f"{status['status']}: {_text.clipped(status['reason'], 200)}" if status["reason"] else status["status"],
        ),
        ("trials", f"{status['total']:,}: {ends}"),
        ("reused", f"{status['reused']:,} were answered before, at no cost" if status["reused"] else ""),
        ("spent", _money(status)),
        ("tokens", _tokens(status)),
        ("time", _text.duration(status["elapsed_s"]) if status["elapsed_s"] is not None else ""),
        ("latency", _latency(latency) if latency["n"] else ""),
        ("newest output", _newest(status["latest"])),
    ]
    return [(name, value) for name, value in facts if value]


def _money(status: Mapping[str, Any]) -> str:
    if not status["attempts"]:
        return "nothing sent"
    cost, cap = status["cost_usd"], status["cap_usd"]
    spent = "cost unknown" if cost is None else "free" if cost == 0 and cap is None else _text.usd(cost)
    of_cap = f" of {_text.usd(cap)} allowed" if cap is not None else ""
    unknown = f", {_text.count(status['unknown'], 'attempt')} without a known end" if status["unknown"] else ""
    return f"{spent}{of_cap}, {_text.count(status['attempts'], 'request')}{unknown}"


def _tokens(status: Mapping[str, Any]) -> str:
    sides = (status["prompt_tokens"], status["completion_tokens"])
    prompt, completion = (_text.UNKNOWN if side is None else f"{side:,}" for side in sides)
    return f"{prompt} in, {completion} out" if status["attempts"] else ""


def _latency(latency: Mapping[str, Any]) -> str:
    half, most = (_text.duration(latency[name] / 1000) for name in ("p50_ms", "p95_ms"))
    return f"half within {half}, 95 % within {most}"


def _newest(latest: Mapping[str, Any] | None) -> str:
    if latest is None:
        return ""
    where = " · ".join(filter(None, (latest["where"], latest["case"])))
    return f"{where}: {_text.clipped(latest['text'] or '(no text)', 200)}"


def _error_lines(status: Mapping[str, Any]) -> list[str]:
    lines = []
    for each in status["errors"]:
        fates = (("answered later", each["passed"]), ("failed", each["failed"]), ("open", each["open"]))
        told = ", ".join(f"{number:,} {fate}" for fate, number in fates if number)
        lines.append(f"{each['type']} x {each['attempts']:,} ({told}): {_text.clipped(each['message'], 200)}")
    lines += [
        f"not asked x {each['trials']:,}: {_text.clipped(each['reason'] or '', 200)}" for each in status["not_asked"]
    ]
    return lines


def _map_rows(board: Mapping[str, Any]) -> list[list[str]]:
    is_heat = board["kind"] == "heat"
    rows = []
    for label, places in zip(board["rows"], board["cells"], strict=True):
        counts = [None if place is None else place if is_heat else _tally(place[1]) for place in places]
        rows.append([label, *("" if each is None else _place(each) for each in counts)])
    return rows


def _tally(letters: str) -> list[int]:
    return [letters.count(code) for code in monitoring.CODES]


def _place(counts: list[int]) -> str:
    ok, reused, running, todo, failed, stopped = counts
    answered, rest = ok + reused, (("running", running), ("failed", failed), ("stopped", stopped), ("todo", todo))
    return ", ".join([f"{answered:,} ok", *(f"{number:,} {name}" for name, number in rest if number)])


def _attempt(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attempt as the panel shows it."""
    names = ("id", "state", "http_status", "sent_at", "latency_ms", "prompt_tokens", "completion_tokens", "cost_usd")
    response = attempt["response"]
    told = " ".join(filter(None, (attempt["error_type"], attempt["error_code"])))
    return {
        **{name: attempt[name] for name in names},
        "error": f"{told}: {_text.clipped(attempt['error_message'] or '', 2_000)}" if told else None,
        "response": None if response is None else _shown(response.decode(errors="replace")),
    }


def _shown(text: str) -> dict[str, Any]:
    """Return a body as it is read: indented where it is JSON, and whether something was cut off."""
    text = indented(text)
    return {"text": text[:_SHOWN_CHARS], "is_cut": len(text) > _SHOWN_CHARS}
