"""The settings in order of a metric, and which of them may be the best: those that the best is not shown to beat."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptlab import _text
from promptlab.analysis import frames, pairs, summaries, words
from promptlab.analysis.frames import By
from promptlab.analysis.tables import Rich, Table
from promptlab.errors import AnalysisError
from promptlab.stats import CONFIDENCE

#: The columns of a ranking, those of the setting standing behind the first; the figures are those of the summary.
COLUMNS: Mapping[str, str] = {
    "rank": "place by the mean, from 1",
    **summaries.COLUMNS,
    "difference": "mean paired difference to the first, over the cases that both have; 0 for the first itself",
    "paired_cases": "how many these are",
    "p_adjusted": "permutation p-value of it after Holm, over all settings but the first",
    "among_best": "whether the first is not shown to beat it",
}


def best(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    metric: str | None = None,
    by: By = None,
    at_most: Mapping[str, float] | None = None,
    lower_is_better: bool | None = None,
    failed_as: float | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    pooled: Sequence[str] = (),
) -> Table:
    """Return one row a setting, the best first; see `Analysis.best`."""
    frames.check_confidence(confidence)
    name = frames.one_metric(frame, metric)
    frames.check_failed_as(frame, [name], failed_as)
    columns = _axes_by(frame, by, [axis for axis in axes if axis not in pooled])
    values = frames.values(frame, name, failed_as=failed_as)
    is_binary = frames.is_binary(values)
    less = frames.less_is_better(name, lower_is_better)
    ranked = _ranked(frame, columns, name, less_is_better=less, failed_as=failed_as, confidence=confidence, seed=seed)
    allowed, left_out = _within(frame, ranked, at_most or {})
    matched = [axis for axis in axes if axis not in columns and axis not in pooled]
    found = pairs.cells(frame, values, columns, matched)
    labels = {column: f"by.{column}" if column in COLUMNS else column for column in columns}
    data = _compared(allowed, found, labels, less_is_better=less, confidence=confidence, seed=seed)
    columns = list(labels.values())
    shown = data[["rank", *columns, *list(COLUMNS)[1:]]]
    scale = words.scale(name, is_binary=is_binary)
    said = [*_verdict(data, columns, name, confidence, scale), *_limits(left_out, at_most or {})]
    return Table(shown, verdict="\n".join(said), rich=_rich(data, columns, name, confidence, scale))


def _axes_by(frame: pd.DataFrame, by: By, axes: Sequence[str]) -> list[str]:
    """Return the columns that make a setting; a case's columns make none."""
    columns = frames.columns_by(frame, by, axes)
    strays = [name for name in columns if name not in axes and name != "template"]
    if strays or not columns:
        there = ", ".join(map(repr, axes)) or "nothing but cases and repeats"
        named = ", ".join(map(_text.brief, strays)) or "by=[]"
        msg = f"{named} did not vary by plan, so it makes no setting; {there} did. summary(by=...) groups by any column"
        raise AnalysisError(msg)
    return columns


def _ranked(
    frame: pd.DataFrame,
    columns: Sequence[str],
    metric: str,
    *,
    less_is_better: bool,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the figures of each setting with its number and its rows, the best first; unknown ones stand last."""
    rows = [
        {"key": key, "part": part, "number": number, **summaries.group_figures(part, metric, **options)}
        for number, (key, part) in enumerate(frames.groups(frame, columns))
    ]
    sign = 1 if less_is_better else -1
    return sorted(rows, key=lambda row: (np.isnan(row["mean"]), sign * np.nan_to_num(row["mean"]), row["number"]))


def _within(
    frame: pd.DataFrame, ranked: list[dict[str, Any]], at_most: Mapping[str, float]
) -> tuple[list[dict[str, Any]], int]:
    """Return the settings whose figures are known to be within the limits, and how many are left out."""
    frames.metrics(frame, list(at_most) or None)
    kept = [row for row in ranked if all(_figure(row, name) <= limit for name, limit in at_most.items())]
    if not kept and ranked:
        said = ", ".join(f"{name}={limit!r}" for name, limit in at_most.items())
        msg = f"no setting is known to have at most {said}; see the columns of summary(), or raise the limit"
        raise AnalysisError(msg)
    return kept, len(ranked) - len(kept)


def _figure(row: Mapping[str, Any], name: str) -> float:
    """Return what a limit is held against: the summary's figure (mean cost, median latency), else the mean."""
    return float(row[name] if name in summaries.COLUMNS else frames.values(row["part"], name).mean())


def _compared(
    rows: list[dict[str, Any]],
    found: pairs.Cells,
    labels: Mapping[str, str],
    *,
    less_is_better: bool,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Return the settings with their paired difference to the first, and whether it is shown to beat them."""
    number = {tuple(level.values()): place for place, level in enumerate(found.levels)}
    first = number[tuple(rows[0]["key"].values())]
    lines = []
    for rank, row in enumerate(rows, start=1):
        pairing = found.paired(number[tuple(row["key"].values())], first)
        tested = pairs.difference(pairing.differences, confidence, seed)
        tested = {**tested, "p": np.nan} if rank == 1 else tested
        plain = {name: value for name, value in row.items() if name not in {"key", "part", "number"}}
        gap = {"difference": tested["difference"], "p": tested["p"], "is_apart": pairs.is_apart(tested)}
        named = {labels[column]: value for column, value in row["key"].items()}
        lines.append({"rank": rank, **named, **plain, **gap, "paired_cases": len(pairing.differences)})
    data = pd.DataFrame(lines)
    data["p_adjusted"] = pairs.adjusted(data["p"])
    is_worse = data["difference"] > 0 if less_is_better else data["difference"] < 0
    data["among_best"] = ~((data["p_adjusted"] < 1 - confidence) & is_worse & data["is_apart"])
    return data


def _verdict(
    data: pd.DataFrame, columns: Sequence[str], metric: str, confidence: float, scale: words.Scale
) -> list[str]:
    """Say which is first, how many may be as good, and what choosing it by these scores does to its score."""
    first = data.iloc[0]
    if np.isnan(first["mean"]):
        return [f"unknown: no setting has a value of {metric}"]
    name = frames.settings({column: first[column] for column in columns})
    ends = "unknown" if np.isnan(first["low"]) else f"{scale.bare(first['low'])} to {scale.bare(first['high'])}"
    figure = f"{scale.value(first['mean'])} ({words.percent(confidence)} interval {ends})"
    lines = [f"first of {_text.count(len(data), 'setting')} is {name}: {metric} {figure}"]
    if first["failed"] or first["missing"]:
        gaps = f"{first['failed']:,} failed, {first['missing']:,} missing"
        lines.append(f"it rests on {_text.count(int(first['cases']), 'case')} only: {gaps}")
    if few := int((data["paired_cases"].iloc[1:] < _FEWEST).sum()):
        lines.append(f"{words.count_of(few, len(data) - 1, 'other')} shares fewer than {_FEWEST} cases with it")
    others = int(data["among_best"].sum()) - 1
    if len(data) > 1:
        lines.append(f"{words.count_of(others, len(data) - 1, 'other')} cannot be told apart from it"
                     if others else "it is shown to beat every other setting")  # fmt: skip
        lines.append("it was chosen by the same scores, so its own is likely too high: check it on new cases")
    return lines


_FEWEST = 2  # paired cases; of one, nothing can be said of how they vary


def _limits(left_out: int, at_most: Mapping[str, float]) -> list[str]:
    said = ", ".join(f"{name} above {limit}" for name, limit in at_most.items())
    return [f"{_text.count(left_out, 'setting')} left out: {said}, or unknown"] if left_out else []


def _rich(data: pd.DataFrame, columns: Sequence[str], metric: str, confidence: float, scale: words.Scale) -> Rich:
    head = ["", *columns, metric, f"{words.percent(confidence)} interval", "n", "cases", "failed", "missing", "cost"]
    rows = [_line(row, columns, scale) for row in data.to_dict("records")]
    return Rich(f"Best by {metric}", [*head, "latency", "behind the first", "p adjusted", "among the best"], rows)


def _line(row: Mapping[Hashable, Any], columns: Sequence[str], scale: words.Scale) -> list[str]:
    ends = "unknown" if np.isnan(row["low"]) else f"{scale.bare(row['low'])} to {scale.bare(row['high'])}"
    cost, latency = row["cost_usd"], row["latency_ms"]
    return [
        *(f"{row['rank']}.", *(frames.level_text(row[name]) for name in columns), scale.value(row["mean"]), ends),
        *(f"{row[name]:,}" for name in ("n", "cases", "failed", "missing")),
        _text.usd(None if np.isnan(cost) else cost),
        _text.duration(None if np.isnan(latency) else latency / 1000),
        "" if row["rank"] == 1 else scale.difference(row["difference"]),
        "" if row["rank"] == 1 else words.p_cell(row["p_adjusted"]),
        "yes" if row["among_best"] else "no",
    ]
