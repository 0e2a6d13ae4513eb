"""What a page shows: the texts and facts of some cells, read by key and clipped in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from promptlab import _text, judgements
from promptlab.comparison.axes import Axis
from promptlab.comparison.layout import shown
from promptlab.comparison.table import Table
from promptlab.comparison.trials import OK, STATUSES, Ints, chars_of
from promptlab.judgements import NOTHING, Judgement

if TYPE_CHECKING:
    from sqlite3 import Row

CLIP_CHARS = 1_200
REASON_CHARS = 500
LABEL_CHARS = 300  # of a value before a row, and of those beside it
VALUE_CHARS = 80  # of a value of an axis elsewhere
MOST_CONTEXT = 8  # values beside a row
PAGE_CHARS = 2_000_000  # of all texts of a page together

# The text is cut as bytes, since SQLite's substr ends at a NUL; no character has more than four.
_SHOWN = f"""
select trials.id, samples.state, samples.reason, trials.repeat, trials.reused, trials.case_id, outputs.id as output_id,
  substr(cast(outputs.text as blob), 1, 4 * :chars) as text, {chars_of("outputs.text")} as chars, outputs.finish_reason,
  outputs.flags, attempts.latency_ms, outputs.prompt_tokens, outputs.completion_tokens, outputs.cost_usd,
  outputs.logprobs is not null as has_logprobs
from json_each(:ids) as wanted cross join trials on trials.id = wanted.value
join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id
"""  # noqa: S608 - a query of our own
_SCORES = """
select output_id, case_id, value, label, detail from scores
where config_key = :key and output_id in (select value from json_each(:ids))
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A cell, and which of its variants."""

    cell: int
    variant: int = 0


def page(
    table: Table, start: int, n: int, *, columns: Sequence[int] | None = None, chars: int = CLIP_CHARS
) -> list[dict[str, Any]]:
    """Return some rows as they are shown, from a place in their order; see the protocol in `panels/matrix.py`."""
    layout = table.layout
    chosen = range(len(layout.columns)) if columns is None else columns
    chars = min(chars, max(1, PAGE_CHARS // max(1, n * len(chosen))))
    rows = layout.order[start : start + n].tolist()
    cells = [[layout.cell(row, column) for column in chosen] for row in rows]
    places = [Place(cell) for line in cells for cell in line if cell is not None]
    drawn = dict(zip((place.cell for place in places), draw(table, places, chars=chars), strict=True))
    return [
        {**head(table, row, chars=chars), "cells": [None if cell is None else drawn[cell] for cell in line]}
        for row, line in zip(rows, cells, strict=True)
    ]


def head(table: Table, row: int, *, chars: int = CLIP_CHARS) -> dict[str, Any]:
    """Return what stands before a row."""
    layout = table.layout
    return {
        "index": int(layout.index_of[row]),
        "key": layout.key(row),
        "labels": [label(value, LABEL_CHARS) for value in layout.labels(row)],
        "context": context(table, row),
        "reference": _cut(reference(table, row), chars),
    }


def label(value: Any, chars: int = VALUE_CHARS) -> Any:
    """Return a value of an axis as it is shown: a long text is cut."""
    return value if not isinstance(value, str) or len(value) <= chars else f"{value[: chars - 1]}…"


def value_of(axis: Axis, place: int) -> dict[str, Any]:
    """Return a value of an axis as browsers know it: by its place among all, and how it is shown."""
    return {"at": place, "label": label(axis.values[place])}


def values_of(axes: Sequence[Axis], values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return one value of each axis as browsers know it."""
    return [
        value_of(axis, place)
        for axis, value in zip(axes, values, strict=True)
        if (place := axis.place(value)) is not None
    ]


def _cut(text: str | None, chars: int) -> str | None:
    return None if text is None else text[:chars]


def context(table: Table, row: int) -> list[tuple[str, Any]]:
    """Return the values of the cases' other columns that are the same all along a row."""
    cases = np.unique(table.trials.case[table.layout.trials_of_row(row)]).tolist()
    found: list[tuple[str, Any]] = []
    for column, name in table.axes.case_columns.items():
        if column not in table.layout.spec.rows and len(found) < MOST_CONTEXT:
            values = {shown(table.trials.cases[case].get(name)) for case in cases}
            if len(values) == 1 and (value := values.pop()) is not None:
                found.append((column, label(value, LABEL_CHARS)))
    return found


def reference(table: Table, row: int) -> str | None:
    """Return the reference answer of a row whose trials all have the same, with a reference as the baseline."""
    references = table.layout.references
    cases = np.unique(table.trials.case[table.layout.trials_of_row(row)]).tolist()
    values = set() if references is None else {references[case] for case in cases}
    return values.pop() if len(values) == 1 else None


def draw(table: Table, places: Sequence[Place], *, chars: int = CLIP_CHARS) -> list[dict[str, Any]]:
    """Return some cells as they are shown."""
    layout, trials = table.layout, table.trials
    trials.check()
    is_compared = layout.spec.baseline is not None
    if is_compared:  # all at once, instead of one by one
        compared = {cell for place in places for cell in (place.cell, _base_of(table, place.cell)) if cell is not None}
        trials.texts.learn(key for cell in compared for key in trials.output[layout.trials_in(cell)].tolist())
    variants = [layout.variants(place.cell) for place in places]
    mine = [found[min(place.variant, len(found) - 1)] for place, found in zip(places, variants, strict=True)]
    keys = [int(trials.id[some[0]]) for some in mine]
    rows = {row["id"]: row for row in table.store.read(_SHOWN, {"ids": json.dumps(keys), "chars": chars})}
    outputs = [row["output_id"] for row in rows.values() if row["output_id"] is not None]
    said_now = judgements.current(table.store, outputs)
    scores = _scores(table, outputs)
    cells = []
    for place, found, some, key in zip(places, variants, mine, keys, strict=True):
        row, trial = rows[key], int(some[0])
        said = said_of(said_now.get(row["output_id"], NOTHING), table.rater)
        cells.append(
            {
                **_fold(table, place, found, some),
                **_answer(table, row, chars),
                "reference": None if layout.references is None else _cut(layout.references[trials.case[trial]], chars),
                "equal": layout.is_equal(place.cell, trial) if is_compared else None,
                "score": scores.get((row["output_id"], row["case_id"])),
                **said,
                "note": _cut(said["note"], chars),
                "change": None if layout.changes is None else _number(layout.changes[place.cell]),
            }
        )
    return cells


def _base_of(table: Table, cell: int) -> int | None:
    return None if table.layout.references is not None else table.layout.base_of(cell)


def _fold(table: Table, place: Place, variants: list[Ints], mine: Ints) -> dict[str, Any]:
    """Return what is said of all trials of a cell."""
    status = table.trials.status[table.layout.trials_in(place.cell)]
    return {
        "trials": len(status),
        "answered": int((status == OK).sum()),
        "failed": int(np.isin(status, [STATUSES.index("failed"), STATUSES.index("stopped")]).sum()),
        "same": len(mine),
        "variants": len(variants),
        "variant": min(place.variant, len(variants) - 1),
    }


def _answer(table: Table, row: Row, chars: int) -> dict[str, Any]:
    """Return what is said of the one trial that is shown."""
    text, in_all = _clipped(row, chars)
    search = table.layout.search
    is_hit = search is not None and row["output_id"] in search.ranks
    spans = search.spans(text) if search is not None and is_hit and text else []
    reason = row["reason"]
    return {
        "status": _STATUS[row["state"]],
        "reason": None if reason is None else _text.clipped(reason, REASON_CHARS),
        "trial_id": row["id"],
        "output_id": row["output_id"],
        "repeat": row["repeat"],
        "text": text,
        "chars": in_all,
        "marks": _utf16(text or "", spans),
        "hit": is_hit,
        "finish_reason": row["finish_reason"],
        "flags": json.loads(row["flags"] or "[]"),
        "latency_ms": row["latency_ms"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "cost_usd": row["cost_usd"],
        "reused": bool(row["reused"]),
        "has_logprobs": bool(row["has_logprobs"]),
    }


_STATUS = dict(zip(("done", "failed", "stopped", "leased", "todo"), STATUSES, strict=True))


def _clipped(row: Row, chars: int) -> tuple[str | None, int | None]:
    """Return the first characters of a text, and how many it has in all; None without a text."""
    if not row["text"]:  # SQLite has no empty part of a blob
        return (None if row["chars"] is None else ""), row["chars"]
    return row["text"].decode(errors="ignore")[:chars], row["chars"]


def _utf16(text: str, spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return spans as JavaScript counts: characters beyond the basic plane count twice."""
    if text.isascii() or max(text, default="") < "\U00010000":
        return [list(span) for span in spans]
    return [[len(text[:at].encode("utf-16-le", "surrogatepass")) // 2 for at in span] for span in spans]


def _scores(table: Table, outputs: Sequence[int]) -> Mapping[tuple[int, int], dict[str, Any]]:
    key = table.trials.key_of(table.scorer)
    if key is None:
        return {}
    rows = table.store.read(_SCORES, {"key": key, "ids": json.dumps(outputs)})
    return {(row["output_id"], row["case_id"]): _score(row) for row in rows}


def _score(row: Row) -> dict[str, Any]:
    detail = row["detail"]
    return {"value": row["value"], "label": _cut(row["label"], LABEL_CHARS), "detail": _cut(detail, CLIP_CHARS)}


def said_of(said: Judgement, rater: str) -> dict[str, Any]:
    """Return what a cell shows of what is said of its output."""
    rating, scale = said.ratings.get(rater, (None, None))
    return {"rating": rating, "scale": scale, "raters": len(said.ratings), "note": said.note, "pinned": said.pinned}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
