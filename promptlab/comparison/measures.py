"""What is shown above the columns, and the facets beside the table: all of the trials in the rows that are left."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from promptlab.comparison.cells import value_of, values_of
from promptlab.comparison.layout import Layout
from promptlab.comparison.order import row_means
from promptlab.comparison.spec import NUMBERS, RATINGS
from promptlab.comparison.table import Table
from promptlab.comparison.trials import FAILED, OK, STATUSES, STOPPED, Floats, Ints

HEAD_BINS = 12
FACET_BINS = 10
#: What a histogram may be of -> the share of the trials that it has to be known of; a few ratings show nothing.
_LEAST_SHARE = {"score": 0.0, "rating": 0.1, "latency_ms": 0.0}
MOST_VALUES = 30  # of one facet; the most frequent
_LARGE_SHARE = 0.5  # an axis with as many values as half of the trials is no facet


def counts(table: Table) -> dict[str, int]:
    """Return how many trials of the whole table are in each state."""
    numbers = np.bincount(table.trials.status[table.layout.members], minlength=len(STATUSES))
    return dict(zip(STATUSES, numbers.tolist(), strict=True))


def heads(table: Table) -> list[dict[str, Any]]:
    """Return what stands above each column; see the protocol in `panels/matrix.py`."""
    layout, trials = table.layout, table.trials
    kept = layout.kept_members
    members, columns, n = layout.members[kept], layout.member_column[kept], len(layout.columns)
    status = trials.status[members]
    values = {name: table.measure(name) for name in ("latency_ms", "cost_usd", "score", "rating")}
    mine = {name: column[members] for name, column in values.items()}
    per = {name: _per_column(column, columns, n) for name, column in mine.items()}
    trials_of, ok = np.bincount(columns, minlength=n), np.bincount(columns[status == OK], minlength=n)
    failed = np.bincount(columns[np.isin(status, [FAILED, STOPPED])], minlength=n)
    unpriced = np.bincount(columns[(status == OK) & np.isnan(mine["cost_usd"])], minlength=n)
    histograms = _histograms(mine, columns, n)
    bases = set(layout.baselines) if layout.spec.column_baseline is not None else set()
    return [
        {
            "values": values_of(layout.column_axes, layout.columns[column]),
            "baseline": layout.baselines[column],
            "is_baseline": column in bases,
            "trials": int(trials_of[column]),
            "ok": int(ok[column]),
            "failed": int(failed[column]),
            "unfinished": int(trials_of[column] - ok[column] - failed[column]),
            "latency_ms": per["latency_ms"][0][column],
            "cost_usd": per["cost_usd"][2][column],
            "cost_unknown": int(unpriced[column]),
            "score": per["score"][0][column],
            "scored": int(per["score"][1][column]),
            "rating": per["rating"][0][column],
            "rated": int(per["rating"][1][column]),
            "rating_scale": table.scale if per["rating"][1][column] else None,
            "delta": _delta(layout, values, column),
            "histogram": histograms[column],
        }
        for column in range(n)
    ]


def _per_column(values: Floats, columns: Ints, n: int) -> tuple[list[float | None], Ints, list[float | None]]:
    """Return mean, number and sum of the known values of each column; None where there is none."""
    known = ~np.isnan(values)
    number = np.bincount(columns[known], minlength=n)
    total = np.bincount(columns[known], values[known], n)
    sums = [float(each) if has_some else None for each, has_some in zip(total, number, strict=True)]
    means = [None if each is None else each / int(of) for each, of in zip(sums, number, strict=True)]
    return means, number, sums


def _delta(layout: Layout, values: dict[str, Floats], column: int) -> dict[str, Any] | None:
    """Return a column's difference to its baseline: of the means over the rows that are known in both."""
    base = layout.baselines[column]
    if base is None:
        return None
    left = np.zeros(layout.rows_in_all, bool)
    left[layout.order] = True
    answered = [_answered(layout, values["latency_ms"], each) for each in (column, base)]
    found: dict[str, Any] = {"n": int((answered[0] & answered[1] & left).sum())}
    for name in ("score", "rating", "latency_ms", "cost_usd"):
        difference = (row_means(layout, values[name], column) - row_means(layout, values[name], base))[left]
        difference = difference[~np.isnan(difference)]
        found[name] = float(difference.mean()) if len(difference) else None
    return found


def _answered(layout: Layout, latencies: Floats, column: int) -> Any:
    return ~np.isnan(row_means(layout, latencies, column))


def _histograms(values: dict[str, Floats], columns: Ints, n: int) -> list[dict[str, Any] | None]:
    """Return a small histogram for each column, all over one range: of scores, else ratings, else latency."""
    share = {name: np.mean(~np.isnan(values[name])) if len(columns) else 0.0 for name in _LEAST_SHARE}
    name = next((name for name, least in _LEAST_SHARE.items() if share[name] > least), None)
    if name is None:
        return [None] * n
    known = ~np.isnan(values[name])
    of, at = values[name][known], columns[known]
    low, high = float(of.min()), float(of.max())
    bins = _bins(of, low, high, HEAD_BINS)
    table = np.bincount(at * HEAD_BINS + bins, minlength=n * HEAD_BINS).reshape(n, HEAD_BINS)
    return [{"of": name, "low": low, "high": high, "counts": row.tolist()} for row in table]


def _bins(values: Floats, low: float, high: float, n: int) -> Ints:
    """Return the bin of each value; all are in the first where they are equal."""
    if high <= low:
        return np.zeros(len(values), np.int64)
    return np.minimum(((values - low) / (high - low) * n).astype(np.int64), n - 1)


# Facets


def facets(table: Table) -> dict[str, list[dict[str, Any]]]:
    """Return what the trials in the rows that are left are made of, with counts."""
    layout = table.layout
    members = layout.members[layout.kept_members]
    return {
        "categories": [
            _category("status", "status", list(STATUSES), table.trials.status[members]),
            _finish_reasons(table, members),
            _flags(table, members),
            _ratings(table, members),
            *_axes(table, members),
        ],
        "numbers": [found for name in NUMBERS if (found := _number(name, table.measure(name)[members]))],
    }


def _category(name: str, kind: str, values: list[Any], codes: Ints) -> dict[str, Any]:
    numbers = np.bincount(codes[codes >= 0], minlength=len(values))
    found = [{"value": values[place], "count": int(numbers[place])} for place in np.flatnonzero(numbers)]
    largest = sorted(found, key=lambda each: -each["count"])[:MOST_VALUES]
    return {"name": name, "filter": kind, "values": [each for each in found if each in largest], "of": len(found)}


def _finish_reasons(table: Table, members: Ints) -> dict[str, Any]:
    endings = table.trials.endings
    return _category("finish_reason", "finish_reason", list(endings.finish_reasons), endings.finish_reason[members])


def _flags(table: Table, members: Ints) -> dict[str, Any]:
    endings = table.trials.endings
    codes = endings.flags[members]
    numbers = np.bincount(codes[codes >= 0], minlength=len(endings.flag_sets)).tolist()
    found: dict[str, int] = {}
    for text, number in zip(endings.flag_sets, numbers, strict=True):
        for flag in json.loads(text):
            found[flag] = found.get(flag, 0) + number
    values = [{"value": flag, "count": number} for flag, number in found.items() if number]
    return {"name": "flags", "filter": "flags", "values": values, "of": len(values)}


def _ratings(table: Table, members: Ints) -> dict[str, Any]:
    mine = table.my_ratings[members]
    places, numbers = np.unique(mine[~np.isnan(mine)], return_counts=True)
    given = zip(places.astype(int).tolist(), numbers.tolist(), strict=True)
    found: list[dict[str, Any]] = [{"value": list(RATINGS[place]), "count": number} for place, number in given]
    unrated = int((np.isnan(mine) & (table.trials.status[members] == OK)).sum())
    found += [{"value": None, "count": unrated}] if unrated else []
    return {"name": "rating", "filter": "ratings", "values": found, "of": len(found)}


def _axes(table: Table, members: Ints) -> list[dict[str, Any]]:
    """Return the axes with few enough values to choose from."""
    most = max(MOST_VALUES, _LARGE_SHARE * len(table.trials) / max(1, len(table.layout.columns)))
    few = [axis for axis in table.axes.varying if len(axis.values) <= most and axis.name != "case"]
    found = [(axis, _category(axis.name, "values", list(range(len(axis.values))), axis.codes[members])) for axis in few]
    return [
        {**each, "values": [{**one, "value": value_of(axis, one["value"])} for one in each["values"]]}
        for axis, each in found
    ]


def _number(name: str, values: Floats) -> dict[str, Any] | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    numbers = np.bincount(_bins(known, low, high, FACET_BINS), minlength=FACET_BINS)
    return {"name": name, "low": low, "high": high, "unknown": len(values) - len(known), "counts": numbers.tolist()}
