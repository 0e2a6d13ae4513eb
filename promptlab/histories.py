"""Past runs: one row each, found by name, note, tag, model or template, or by what was asked and answered.

What a list shows stands in the runs' own rows, so listing 5,000 runs reads no trial and no attempt. `detailed` adds
what has to be looked for (latency, score, the counts of a run that goes on), and is meant for the runs of a page. Only
`change`, `tag`, `untag` and `archive` write.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab import _text, ledger
from promptlab._json import compact, texts, utf8
from promptlab.errors import NotFoundError, SearchError, StoreError
from promptlab.scorers import MEASURES
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

Show = Literal["active", "archived", "all"]

LATENCIES = 200  # of the newest attempts of a run, from which its median latency is taken
MAX_TAG_CHARS = 60
MAX_NOTE_CHARS = 10_000


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run as a list shows it.

    Attributes
    ----------
    templates
        With their versions, e.g. `support@7`.
    grid
        What varies besides the model, in words: `temperature x 4, top_p x 2`.
    trials, ok, failed, reused, attempts, prompt_tokens, completion_tokens
        None while the run goes on; `detailed` counts it.
    cost_usd
        What its attempts cost; None where no price is known.
    latency_ms
        The median of its newest answered attempts (of 200 at most); None where it sent none. From `detailed`.
    score, scorer, best
        The highest mean of its newest scorer over the settings, that scorer, and the setting. From `detailed`.
    """

    id: int
    name: str
    status: str
    created_at: str
    templates: tuple[str, ...]
    models: tuple[str, ...]
    grid: str
    trials: int | None
    ok: int | None
    failed: int | None
    reused: int | None
    attempts: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    tags: tuple[str, ...]
    note: str
    archived: bool
    latency_ms: float | None = None
    score: float | None = None
    scorer: str | None = None
    best: str | None = None


#: What is counted in a run's row; None of them is known while it goes on.
COUNTED = ("trials", "ok", "failed", "reused", "attempts", "prompt_tokens", "completion_tokens", "cost_usd")

_RUNS = """
select id, name, status, created_at, plan, counts, tags, note, archived from runs
where status != 'forgotten' order by id desc
"""
_VERSIONS = "select name, key, version from templates"


def past_runs(
    store: Store,
    *,
    text: str = "",
    tag: str | None = None,
    model: str | None = None,
    template: str | None = None,
    show: Show = "active",
) -> list[PastRun]:
    """Return the runs, the newest first.

    Parameters
    ----------
    text
        Words that must all stand in the name, the note, the tags or the templates; case does not count.
    tag, model
        Only runs with this tag; only those that asked this model.
    template
        Only runs of the template of this name, or of one version of it: `support` or `support@7`.
    show
        `active` runs, `archived` ones, or `all`.

    Raises
    ------
    SearchError
        Listing every filter that cannot be understood.
    """
    versions = {(name, key): version for name, key, version in store.read(_VERSIONS)}
    runs = [_past_run(row, versions) for row in store.read(_RUNS)]
    return matching(runs, text=text, tag=tag, model=model, template=template, show=show)


def matching(
    runs: Iterable[PastRun],
    *,
    text: str = "",
    tag: str | None = None,
    model: str | None = None,
    template: str | None = None,
    show: Show = "active",
    also: Collection[int] = (),
) -> list[PastRun]:
    """Return the runs that all filters let through; see `past_runs`. `also` are ids for which the text is left out."""
    _check(text=text, tag=tag, model=model, template=template, show=show)
    words = text.casefold().split()
    return [
        run
        for run in runs
        if (show == "all" or run.archived == (show == "archived"))
        and (tag is None or tag in run.tags)
        and (model is None or model in run.models)
        and (template is None or any(template in {name, name.rpartition("@")[0]} for name in run.templates))
        and (run.id in also or _has(run, words))
    ]


def find_past(store: Store, run_ids: Iterable[int]) -> list[PastRun]:
    """Return runs by their ids, in the order asked, with everything that is shown of them."""
    wanted = list(run_ids)
    found = {run.id: run for run in past_runs(store, show="all")}
    if missing := [run_id for run_id in wanted if run_id not in found]:
        msg = f"no run {missing[0]!r} in {store.path}; lab.runs(show='all') lists them"
        raise NotFoundError(msg)
    return detailed(store, [found[run_id] for run_id in wanted])


def _check(*, text: object, tag: object, model: object, template: object, show: object) -> None:
    problems = [
        f"{name}={value!r}: a text is needed"
        for name, value in (("text", text), ("tag", tag), ("model", model), ("template", template))
        if not isinstance(value, str) and (value is not None or name == "text")
    ]
    if show not in get_args(Show):
        problems.append(f"show={show!r}: one of {', '.join(map(repr, get_args(Show)))} is needed")
    if problems:
        raise SearchError(problems)


def _has(run: PastRun, words: Sequence[str]) -> bool:
    if not words:
        return True
    said = "\n".join([run.name, run.note, *run.tags, *run.templates]).casefold()
    return all(word in said for word in words)


def _past_run(row: sqlite3.Row, versions: Mapping[tuple[str, str], int]) -> PastRun:
    plan = json.loads(row["plan"])
    counts = json.loads(row["counts"]) if row["counts"] else {}
    return PastRun(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        created_at=row["created_at"],
        templates=tuple(_version_name(name, versions.get((name, key))) for name, key in plan["templates"]),
        models=tuple(dict.fromkeys(str(cell.get("model")) for cell in plan["cells"])),
        grid=_grid_words(plan["cells"]),
        tags=texts(row["tags"]),
        note=row["note"],
        archived=bool(row["archived"]),
        **{name: counts.get(name) for name in COUNTED},
    )


def _version_name(name: str, version: int | None) -> str:
    """Return a template's name with its version; a run that was planned only has templates without one."""
    return name if version is None else f"{name}@{version}"


def _grid_words(cells: Sequence[Mapping[str, Any]]) -> str:
    """Say what varies between the cells besides the model.

    >>> _grid_words([{"model": "m", "temperature": 0}, {"model": "m", "temperature": 0.7}])
    'temperature x 2'
    """
    return ", ".join(f"{name} x {size}" for name, size in _sizes(cells).items() if size > 1 and name != "model")


def _sizes(cells: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many values each parameter takes; their repr tells them apart quickly."""
    names = dict.fromkeys(name for cell in cells for name in cell)
    return {name: len({repr(cell.get(name)) for cell in cells}) for name in names}


# What has to be looked for

_COUNTS = f"select ({ledger.COUNTS}) from runs where id = ?"  # noqa: S608 - a query of our own
_LATENCIES = """
select latency_ms from (select state, latency_ms from attempts where run_id = ? order by id desc limit ?)
where state = 'ok' and latency_ms is not null
"""
_SCORES = """
select scores.scorer, scores.config_key, templates.name, templates.version, trials.params,
  avg(scores.value) as mean, max(scores.id) as newest
from trials
cross join samples on samples.id = trials.sample_id
cross join scores
  on scores.output_id = coalesce(trials.output_id, samples.output_id) and scores.case_id = trials.case_id
join templates on templates.id = trials.template_id
where trials.run_id = ? and scores.value is not null and scores.scorer not in (select value from json_each(?))
group by scores.config_key, trials.template_id, trials.params
"""


def detailed(store: Store, runs: Iterable[PastRun]) -> list[PastRun]:
    """Return the runs with what has to be looked for: for the runs of a page, since it reads their newest attempts."""
    has_scores = bool(store.read("select 1 from scores limit 1"))
    return [_detailed(store, run, has_scores=has_scores) for run in runs]


def counted(store: Store, run: PastRun) -> PastRun:
    """Return a run with its counts, also while it goes on."""
    if run.trials is not None:
        return run
    return replace(run, **json.loads(_of_run(store, _COUNTS, run.id)))


def _detailed(store: Store, run: PastRun, *, has_scores: bool) -> PastRun:
    latencies = [row[0] for row in store.read(_LATENCIES, (run.id, LATENCIES))]
    return replace(
        counted(store, run),
        latency_ms=statistics.median(latencies) if latencies else None,
        **(_best_score(store, run) if has_scores else {}),
    )


def _best_score(store: Store, run: PastRun) -> dict[str, Any]:
    """Return the highest mean of the scorer that was used last, of those that judge; nothing where there is none."""
    rows = store.read(_SCORES, (run.id, compact(MEASURES)))
    if not rows:
        return {}
    newest = max(rows, key=lambda row: row["newest"])["config_key"]
    best = max((row for row in rows if row["config_key"] == newest), key=lambda row: row["mean"])
    words = [f"{best['name']}@{best['version']}", *setting(best["params"], varying(cells_of(store, run.id)))]
    return {"score": best["mean"], "scorer": best["scorer"], "best": ", ".join(words)}


_PLAN = "select plan from runs where id = ?"


def cells_of(store: Store, run_id: int) -> list[Mapping[str, Any]]:
    """Return the settings of a run's plan."""
    return json.loads(_of_run(store, _PLAN, run_id))["cells"]  # type: ignore[no-any-return]  # JSON of our own


def _of_run(store: Store, sql: str, run_id: int) -> str:
    """Return one text of a run, which may have been forgotten since it was listed."""
    rows = store.read(sql, (run_id,))
    if not rows:
        msg = (
            f"run {run_id} is not in {store.path} any more: it was forgotten; lab.runs(show='all') lists what is there"
        )
        raise NotFoundError(msg)
    return str(rows[0][0])


def varying(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the parameters whose values differ between cells."""
    return [name for name, size in _sizes(cells).items() if size > 1]


def setting(params: str, names: Iterable[str]) -> list[str]:
    """Return the values of some parameters, each in words: `temperature 0.7`; a model by its name alone."""
    cell = json.loads(params)
    shown = {name: said(cell[name]) for name in names if name in cell}
    return [value if name == "model" else f"{name} {value}" for name, value in shown.items()]


def said(value: Any) -> str:
    """Return a value as a person would write it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else compact(value)


# As a table

#: The columns of `lab.runs()`, in order, and of `lab.history().frame()`, which has all of them.
COLUMNS: Mapping[str, str] = {
    "id": "for lab.load(id)",
    "name": "what the run is called",
    "status": "planned, running, done, stopped or failed",
    "created_at": "when it was planned (UTC)",
    "templates": "its templates with their versions",
    "models": "the models asked",
    "grid": "what varies besides the model",
    "trials": "lines of its plan",
    "ok": "those that are answered",
    "failed": "those that were asked and have no answer",
    "reused": "those whose answer was there before",
    "attempts": "HTTP exchanges",
    "prompt_tokens": "tokens of its prompts, as the server counted them",
    "completion_tokens": "tokens of its answers",
    "cost_usd": "what its attempts cost, in USD; missing where no price is known",
    "tags": "its tags, joined by commas",
    "note": "its note",
    "archived": "whether it was put aside",
    "latency_ms": "median of its newest answered attempts, of 200 at most",
    "score": "the highest mean of its newest scorer over the settings",
    "scorer": "that scorer",
    "best": "the setting with that mean",
}
_DETAILS = ("latency_ms", "score", "scorer", "best")
_DTYPES = {
    **dict.fromkeys(("prompt_tokens", "completion_tokens"), "Int64"),
    **dict.fromkeys(("cost_usd", "latency_ms", "score"), "float64"),
}


def runs_frame(store: Store, *, show: Show = "active") -> pd.DataFrame:
    """Return one row a run, the oldest first, with the columns of `COLUMNS` that need no looking for."""
    runs = [counted(store, run) for run in reversed(past_runs(store, show=show))]
    return frame(runs).drop(columns=list(_DETAILS))


def frame(runs: Sequence[PastRun]) -> pd.DataFrame:
    """Return one row a run, in the order given, with the columns that `COLUMNS` declares."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    rows = [[_cell(getattr(run, name)) for name in COLUMNS] for run in runs]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(_DTYPES)


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value


# What is written, on request alone

_TAGS = "select tags from runs where id = ? and status != 'forgotten'"


def tag(store: Store, run_ids: Iterable[int], tags: Iterable[str], *, remove: Iterable[str] = ()) -> None:
    """Give runs tags, and take others from them; a tag they have already stays where it is."""
    added, removed = [_checked_tag(name) for name in tags], {_stripped(name) for name in remove}

    def write(connection: sqlite3.Connection) -> None:
        for run_id in ids:
            held = texts(_one(connection, run_id))
            kept = dict.fromkeys([name for name in held if _stripped(name) not in removed] + added)
            connection.execute("update runs set tags = ? where id = ?", (compact(list(kept)), run_id))

    ids = list(run_ids)
    store.write(write).result()


def set_note(store: Store, run_id: int, note: str) -> None:
    """Replace the note of a run."""
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
        msg = f"a note is a text of at most {MAX_NOTE_CHARS:,} characters, not {_text.brief(note)}"
        raise StoreError(msg)

    def write(connection: sqlite3.Connection) -> None:
        _one(connection, run_id)
        connection.execute("update runs set note = ? where id = ?", (utf8(note), run_id))

    store.write(write).result()


def archive(store: Store, run_ids: Iterable[int], *, to: Literal["archived", "active"] = "archived") -> None:
    """Put runs aside, or bring them back; nothing is deleted."""

    def write(connection: sqlite3.Connection) -> None:
        for run_id in ids:
            _one(connection, run_id)
            connection.execute("update runs set archived = ? where id = ?", (int(to == "archived"), run_id))

    ids = list(run_ids)
    store.write(write).result()


def _one(connection: sqlite3.Connection, run_id: int) -> str:
    """Return the tags of a run as they are stored, or say that there is no such run."""
    row = connection.execute(_TAGS, (run_id,)).fetchone()
    if row is None:
        msg = f"no run {run_id!r} to change; lab.runs(show='all') lists them"
        raise NotFoundError(msg)
    return str(row[0])


_CONTROL = re.compile(r"[\x00-\x1f\x7f,]")
_NO_TAG = "{} is no tag; a tag is a text of at most {} characters on one line, without commas"


def _checked_tag(name: object) -> str:
    tag = _stripped(name)
    if not tag or len(tag) > MAX_TAG_CHARS or _CONTROL.search(tag):
        raise StoreError(_NO_TAG.format(_text.brief(name), MAX_TAG_CHARS))
    return tag


def _stripped(name: object) -> str:
    """Return a tag as it is kept, so that what gave it also takes it away."""
    if not isinstance(name, str):
        raise StoreError(_NO_TAG.format(_text.brief(name), MAX_TAG_CHARS))
    return utf8(name.strip())
