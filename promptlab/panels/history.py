"""The history browser: every run in the file, found by words, opened down to one raw exchange, tagged and noted.

Runs are listed the newest first; one of them may be open, and then its requests stand below it in the same list. The
browser asks for pieces of that list. Nothing here runs anything: comparing, loading and running again are code to copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from promptlab import _text, histories, lookups, results, versions
from promptlab._json import indented
from promptlab.histories import PastRun, Show
from promptlab.lookups import FoundRuns, Matches
from promptlab.panels._panel import LIVE_HINT, Panel, operation
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd

FIRST_ROWS = 32
SNAPSHOT_RUNS = 50
_REPR_RUNS = 20
_BODY_CHARS = 200_000  # of one request or reply
_CHOICES = 200  # of a filter's menu

Text = Annotated[str, Field(max_length=1_000)]
Ids = Annotated[list[int], Field(min_length=1, max_length=5_000)]
Tags = Annotated[list[str], Field(max_length=50)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for; `text` is looked for in names, notes and tags, and in every prompt and output."""

    text: Text = ""
    tag: Text | None = None
    model: Text | None = None
    template: Text | None = None
    show: Show = "active"


@dataclass(slots=True)
class _Listed:
    """The runs that are listed, and what was found in them."""

    wanted: Wanted
    runs: list[PastRun]
    found: FoundRuns
    every: list[PastRun]


class History(Panel):
    """Past runs, the newest first; see `Lab.history`.

    `frame()` has the runs listed as a DataFrame, `selection` the ids of those marked in the panel.
    """

    view = "history"
    label = "Past runs"

    def __init__(self, store: Store, wanted: Wanted) -> None:
        super().__init__()
        self._store = store
        self._wanted = wanted
        self._details: dict[tuple[int, str, int], PastRun] = {}
        self._listed = self._list(wanted)
        self._is_new = True

    @property
    def selection(self) -> list[int]:
        """The ids of the runs marked in the panel, in the order they were marked."""
        state = self.widget.state if "widget" in self.__dict__ else {}
        marked = state.get("selected", [])
        return [run_id for run_id in marked if isinstance(run_id, int)] if isinstance(marked, list) else []

    def frame(self) -> pd.DataFrame:
        """Return the runs listed, the newest first, with the columns of `promptlab.histories.COLUMNS`."""
        return histories.frame(self._detailed(self._list(self._wanted).runs))

    def first(self) -> dict[str, Any]:
        """Return the filters and the first rows; but for the first time, the file is read again."""
        if not self._is_new:
            self._listed = self._list(self._wanted)
        self._is_new = False
        return {"wanted": asdict(self._wanted), **self._found(None)}

    @operation
    def find(self, wanted: Wanted, opened: int | None = None) -> dict[str, Any]:
        """Read the file again, and return how many rows there are, the first of them, and what may be chosen."""
        self._listed = self._list(wanted)
        return self._found(opened)

    @operation
    def rows(
        self,
        wanted: Wanted,
        opened: int | None,
        start: Annotated[int, Field(ge=0)],
        n: Annotated[int, Field(ge=1, le=200)],
    ) -> dict[str, Any]:
        """Return some rows: runs, and below the one that is open its requests."""
        if wanted != self._listed.wanted:
            self._listed = self._list(wanted)
        runs = self._listed.runs
        at = next((place for place, run in enumerate(runs) if run.id == opened), None)
        inside = 0 if at is None else self._number_inside(runs[at])
        cut = len(runs) if at is None else at + 1
        places = range(start, min(start + n, len(runs) + inside))
        above = [place for place in places if place < cut]
        within = [place - cut for place in places if cut <= place < cut + inside]
        below = [place - inside for place in places if place >= cut + inside]
        shown = self._detailed([runs[place] for place in [*above, *below]])
        run_rows = [self._run_json(run) for run in shown]
        opened_rows = self._requests(runs[cut - 1], within) if within else []
        return {"count": len(runs) + inside, "rows": [*run_rows[: len(above)], *opened_rows, *run_rows[len(above) :]]}

    @operation
    def request(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's exchange: the exact request, the exact reply, every attempt, and how to send it again."""
        request_id, attempt = lookups.exchange_of(self._store, trial_id)
        logged = results.logged_request(self._store, request_id, attempt=attempt)
        return {
            "id": logged.id,
            "endpoint": logged.endpoint,
            "model": logged.model,
            "body": _pretty(logged.body),
            "response": _pretty((logged.response or b"").decode(errors="replace")),
            "head": results.ATTEMPT_HEAD,
            "attempts": [results.attempt_facts(attempt) for attempt in logged.attempts],
            "curl": logged.as_curl(),
            "shown": logged.shown(),
            "code": logged.code(),
        }

    @operation
    def tag(self, ids: Ids, add: Tags, remove: Tags = []) -> dict[str, Any]:  # noqa: B006 - read only
        """Give runs tags, and take others from them."""
        histories.tag(self._store, ids, add, remove=remove)
        return self._changed(ids)

    @operation
    def note(self, run_id: int, text: Annotated[str, Field(max_length=histories.MAX_NOTE_CHARS)]) -> dict[str, Any]:
        """Replace a note."""
        histories.set_note(self._store, run_id, text)
        return self._changed([run_id])

    @operation
    def archive(self, ids: Ids, to: Literal["archived", "active"]) -> dict[str, Any]:
        """Put runs aside, or bring them back."""
        histories.archive(self._store, ids, to=to)
        return self._changed(ids)

    @operation
    def code(self, what: Literal["load", "compare", "diff", "rerun"], ids: Ids) -> dict[str, Any]:
        """Return Python that does something with runs: for people to run, since a panel runs nothing."""
        runs = histories.find_past(self._store, ids)
        return {"code": _diff_code(self._store, runs) if what == "diff" else _CODE[what](runs)}

    def snapshot(self) -> str:
        """Return the newest runs as a table."""
        listed = self._listed
        rows = [_facts(run) for run in self._detailed(listed.runs[:SNAPSHOT_RUNS])]
        more = len(listed.runs) - len(rows)
        note = f"the newest {len(rows)} of {len(listed.runs):,}; {LIVE_HINT}" if more else LIVE_HINT
        table = _text.html_table(rows, head=_HEAD) if rows else ""
        return _text.html_card(f"History · {self._title()}", table, note=note)

    def __repr__(self) -> str:
        runs = [histories.counted(self._store, run) for run in self._listed.runs[:_REPR_RUNS]]
        table = f"\n{_text.text_table([_stable_facts(run) for run in runs], head=_STABLE_HEAD)}" if runs else ""
        more = len(self._listed.runs) - len(runs)
        return f"<History {self._title()}>{table}" + (f"\n… and {more:,} older ones" if more else "")

    def _title(self) -> str:
        asked = {name: value for name, value in asdict(self._listed.wanted).items() if value and value != "active"}
        words = ", ".join(f"{name} {_text.brief(value)}" for name, value in asked.items())
        runs = _text.count(len(self._listed.runs), "run")
        return f"{runs} of {len(self._listed.every):,}: {words}" if words else runs

    # The list

    def _found(self, opened: int | None) -> dict[str, Any]:
        first = self.rows(self._listed.wanted, opened, 0, FIRST_ROWS)
        return {**self._summary(), "choices": self._choices(), **first}

    def _list(self, wanted: Wanted) -> _Listed:
        every = histories.past_runs(self._store, show="all")
        found = lookups.search_runs(self._store, wanted.text) if wanted.text.strip() else FoundRuns()
        runs = histories.matching(every, **asdict(wanted), also=found.runs)
        return _Listed(wanted, runs, found, every)

    def _changed(self, ids: Sequence[int]) -> dict[str, Any]:
        """Return some runs as they are now; the list keeps its order, and runs that no longer belong to it."""
        now = {run.id: run for run in histories.past_runs(self._store, show="all")}
        self._listed.runs = [now.get(run.id, run) for run in self._listed.runs]
        self._listed.every = list(now.values())
        changed = self._detailed([now[run_id] for run_id in ids if run_id in now])
        return {"runs": [self._run_json(run) for run in changed], "choices": self._choices()}

    def _summary(self) -> dict[str, Any]:
        runs = [histories.counted(self._store, run) for run in self._listed.runs]
        known = [run.cost_usd for run in runs if run.cost_usd is not None]
        return {
            "runs": len(runs),
            "every": len(self._listed.every),
            "trials": sum(run.trials or 0 for run in runs),
            "cost_usd": sum(known) if known else None,
            "unpriced": len(runs) - len(known),
            "notes": list(self._listed.found.notes),
        }

    def _choices(self) -> dict[str, list[str]]:
        every = self._listed.every
        return {
            "tag": _distinct(tag for run in every for tag in run.tags),
            "model": _distinct(model for run in every for model in run.models),
            "template": _distinct(name for run in every for label in run.templates for name in _names(label)),
        }

    def _detailed(self, runs: Iterable[PastRun]) -> list[PastRun]:
        """Return runs with what has to be looked for, which is kept until the run or the scores change."""
        newest = self._store.read("select coalesce(max(id), 0) from scores")[0][0]
        return [self._with_details(run, newest) for run in runs]

    def _with_details(self, run: PastRun, newest_score: int) -> PastRun:
        key = (run.id, f"{run.status} {run.ok} {run.attempts}", newest_score)
        if run.trials is None or key not in self._details:
            [self._details[key]] = histories.detailed(self._store, [run])
        known = self._details[key]
        return replace(known, tags=run.tags, note=run.note, archived=run.archived)

    # Its rows as the browser gets them

    def _matches(self, run: PastRun) -> Matches | None:
        return self._listed.found.runs.get(run.id)

    def _number_inside(self, run: PastRun) -> int:
        matches = self._matches(run)
        if matches is None and run.trials is not None:
            return run.trials
        return lookups.number_of_requests(self._store, run.id, matches=matches)

    def _requests(self, run: PastRun, places: Sequence[int]) -> list[dict[str, Any]]:
        page = lookups.requests(self._store, run.id, start=places[0], n=len(places), matches=self._matches(run))
        return [{"kind": "request", "run": run.id, **asdict(row)} for row in page]

    def _run_json(self, run: PastRun) -> dict[str, Any]:
        matches = self._matches(run)
        shown = None
        if matches is not None:
            shown = {
                "outputs": len(matches.outputs),
                "prompts": len(matches.requests),
                "hits": [{"matched": hit.matched, "parts": hit.parts, "id": hit.request_id} for hit in matches.hits],
            }
        return {"kind": "run", **asdict(run), "matches": shown}


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values), key=str.casefold)[:_CHOICES]


def _names(label: str) -> tuple[str, ...]:
    """Return a version's template and the version itself, so that either can be chosen."""
    name = label.rpartition("@")[0]
    return (name, label) if name else (label,)


def _pretty(text: str) -> str:
    text = indented(text)
    return text if len(text) <= _BODY_CHARS else f"{text[:_BODY_CHARS]}… (lab.request(id) has all of it)"


# Code to copy


def _load_code(runs: Sequence[PastRun]) -> str:
    return "\n".join(f"lab.load({run.id})  # {_remark(run)}" for run in runs)


def _compare_code(runs: Sequence[PastRun]) -> str:
    ids = ", ".join(str(run.id) for run in runs)
    return f"lab.compare([{ids}])  # {'; '.join(map(_remark, runs))}"


def _diff_code(store: Store, runs: Sequence[PastRun]) -> str:
    """Name two versions: the last two of the runs that differ, else the one before it, of a first one the newest."""
    labels = list(dict.fromkeys(label for run in reversed(runs) for label in run.templates))
    if len(labels) > 1:
        return f"lab.diff({labels[0]!r}, {labels[-1]!r})"
    name, _, number = labels[0].rpartition("@")
    if number.isdecimal() and int(number) > 1:
        return f"lab.diff({f'{name}@{int(number) - 1}'!r}, {labels[0]!r})"
    newest = versions.find(store, labels[0].removesuffix("@1")).label
    if newest != labels[0]:
        return f"lab.diff({labels[0]!r}, {newest!r})"
    return f"lab.versions({name or labels[0]!r})  # it has one version so far"


def _rerun_code(runs: Sequence[PastRun]) -> str:
    return "\n\n".join(
        f"past = lab.load({run.id})  # {_remark(run)}\n"
        "plan = lab.plan(past.templates, past.grid, cases=past.cases, repeats=past.repeats,\n"
        "                generation=past.generation + 1)  # samples afresh; past.generation takes what the file holds\n"
        f"plan  # says what it will cost; then: lab.run(plan, name={_again(run.name)!r})"
        for run in runs
    )


def _again(name: str) -> str:
    return f"{name} again"


def _remark(run: PastRun) -> str:
    """Return a run's name as a comment: on one line, and nothing in it that could end it."""
    return _text.clipped(run.name, 60)


_CODE = {"load": _load_code, "compare": _compare_code, "rerun": _rerun_code}


# As text

_HEAD = ("run", "when", "templates", "model", "grid", "trials", "cost", "p50", "score", "tags", "note")
_STABLE_HEAD = ("id", "run", "templates", "model", "grid", "trials", "tags", "note")


def _facts(run: PastRun) -> tuple[Any, ...]:
    return (
        f"{run.id} {_text.clipped(run.name, 60)}",
        run.created_at[:16].replace("T", " "),
        _text.clipped(", ".join(run.templates), 80),
        _text.clipped(", ".join(run.models), 60),
        run.grid,
        _ends(run),
        "free" if run.cost_usd == 0 else _text.usd(run.cost_usd),
        "" if run.latency_ms is None else _text.duration(run.latency_ms / 1000),
        "" if run.score is None else f"{run.score:.3g} {run.scorer}",
        ", ".join(run.tags),
        _text.clipped(run.note, 80),
    )


def _ends(run: PastRun) -> str:
    if run.trials is None:
        return run.status
    left = run.trials - (run.ok or 0) - (run.failed or 0)
    parts = [f"{run.failed:,} failed" if run.failed else "", f"{left:,} not asked" if left else ""]
    return ", ".join([f"{run.trials:,}", *filter(None, parts)])


def _stable_facts(run: PastRun) -> tuple[Any, ...]:
    return (
        run.id,
        _text.clipped(run.name, 40),
        _text.clipped(", ".join(run.templates), 40),
        _text.clipped(", ".join(run.models), 30),
        run.grid,
        _ends(run),
        ", ".join(run.tags),
        _text.clipped(run.note, 40),
    )
