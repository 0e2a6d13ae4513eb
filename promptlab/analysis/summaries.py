"""The summary: what each group of trials scored, cost and took, with what failed and what is missing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptlab import _text, analysis
from promptlab.analysis import frames, words
from promptlab.analysis.frames import By
from promptlab.analysis.tables import Rich, Table
from promptlab.stats import CONFIDENCE

#: The columns of a summary behind those it is grouped by. Without a metric, those of one are left out.
COLUMNS: Mapping[str, str] = {
    "metric": "which score or measurement",
    "mean": "its mean over the trials that have a value",
    "low": "lower end of the mean's interval over cases",
    "high": "upper end",
    "n": "trials with a value (without a metric: with an answer); with failed_as, failed ones too",
    "cases": "cases these trials are of",
    "failed": "trials that were asked and have no answer",
    "missing": "trials without a value for another reason: not asked (yet), or answered and not scored",
    "cost_usd": "mean cost of an answer in USD, of those whose cost is known",
    "latency_ms": "median latency of an answer in milliseconds",
    "total_tokens": "mean tokens of an answer with its prompt",
}
_OF_METRIC = ("metric", "mean", "low", "high")


def summary(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    by: By = None,
    metric: str | Sequence[str] | None = None,
    failed_as: float | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Table:
    """Return one row a group and metric; see `Analysis.summary`."""
    frames.check_confidence(confidence)
    named, columns = frames.metrics(frame, metric), frames.columns_by(frame, by, axes)
    frames.check_failed_as(frame, named, failed_as)
    labels = own_names(columns)
    rows: list[dict[str, Any]] = []
    for key, part in frames.groups(frame, columns):
        place = {labels[name]: value for name, value in key.items()}
        for name in named or (None,):
            figures = group_figures(part, name, failed_as=failed_as, confidence=confidence, seed=seed)
            rows.append({**place, **figures})
    shown = [name for name in COLUMNS if named or name not in _OF_METRIC]
    data = pd.DataFrame(rows, columns=[*labels.values(), *shown])
    return _table(data, list(labels.values()), frame, named, confidence)


def own_names(columns: Sequence[str]) -> dict[str, str]:
    """Return the names of grouping columns in a table; one that a figure has is called `by.NAME`."""
    return {name: f"by.{name}" if name in COLUMNS else name for name in columns}


def group_figures(
    part: pd.DataFrame, metric: str | None, *, failed_as: float | None, confidence: float, seed: int
) -> dict[str, Any]:
    """Return the figures of one group and metric."""
    answered = part[part["status"] == "ok"]
    found = {
        "cost_usd": float(answered["cost_usd"].mean()),
        "latency_ms": float(answered["latency_ms"].median()),
        "total_tokens": float(answered["total_tokens"].astype("float64").mean()),
    }
    failed = frames.is_failed(part)
    if metric is None:
        has = part["status"] == "ok"
        return {**_counted(part, has, failed), **found}
    values = frames.values(part, metric, failed_as=failed_as)
    has = values.notna()
    scored, cases = list(values[has]), list(part["case"][has])
    interval = analysis.estimate(scored, cases, metric=metric, confidence=confidence, seed=seed)
    figures = {"metric": metric, "mean": interval.estimate, "low": interval.low, "high": interval.high}
    return {**figures, **_counted(part, has, failed), **found}


def _counted(part: pd.DataFrame, has: pd.Series[Any], failed: pd.Series[Any]) -> dict[str, int]:
    return {
        "n": int(has.sum()),
        "cases": int(part["case"][has].nunique()),
        "failed": int(failed.sum()),
        "missing": int((~has & ~failed).sum()),
    }


def _table(data: pd.DataFrame, by: list[str], frame: pd.DataFrame, named: list[str], confidence: float) -> Table:
    scales = {name: words.scale(name, is_binary=frames.is_binary(frames.values(frame, name))) for name in named}
    several = ["metric"] if len(named) > 1 else []
    figures = [named[0] if len(named) == 1 else "mean", f"{words.percent(confidence)} interval"] if named else []
    head = [*by, *several, *figures, "n", "cases", "failed", "missing", "cost", "latency", "tokens"]
    rows = [_row(row, by, scales, is_several=bool(several)) for row in data.to_dict("records")]
    title = f"Summary · {', '.join(named)}" if named else "Summary · nothing scored"
    return Table(data, verdict=_verdict(data, frame), rich=Rich(title, head, rows))


def _row(
    row: Mapping[Hashable, Any], by: Sequence[str], scales: Mapping[str, words.Scale], *, is_several: bool
) -> list[str]:
    figures: list[str] = []
    if "metric" in row:
        scale = scales[row["metric"]]
        ends = "unknown" if np.isnan(row["low"]) else f"{scale.bare(row['low'])} to {scale.bare(row['high'])}"
        figures = [*([row["metric"]] if is_several else []), scale.value(row["mean"]), ends]
    cost, latency = row["cost_usd"], row["latency_ms"]
    return [
        *(frames.level_text(row[name]) for name in by),
        *figures,
        *(f"{row[name]:,}" for name in ("n", "cases", "failed", "missing")),
        _text.usd(None if np.isnan(cost) else cost),
        _text.duration(None if np.isnan(latency) else latency / 1000),
        words.number(row["total_tokens"]),
    ]


def _verdict(data: pd.DataFrame, frame: pd.DataFrame) -> str:
    """Say what is not in the means."""
    failed = int(frames.is_failed(frame).sum())
    unasked = int((~frame["status"].isin(("ok", "failed"))).sum())
    said = [f"{_text.count(failed, 'trial')} failed"] if failed else []
    said += [f"{_text.count(unasked, 'trial')} not asked"] if unasked else []
    lines = [f"{' and '.join(said)} of {len(frame):,}; means are over the others"] if said else []
    if "metric" in data and (unscored := int((data["missing"]).sum()) - unasked * data["metric"].nunique()) > 0:
        lines.append(f"{_text.count(unscored, 'value')} missing: answers without a score")
    return "\n".join(lines)
