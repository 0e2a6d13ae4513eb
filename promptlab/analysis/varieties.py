"""Variety: what repeats of the same request say, and what can be made of it: agreement, pass@k, majority vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from promptlab import _text, analysis, stats
from promptlab.analysis import frames, summaries, words
from promptlab.analysis.frames import By
from promptlab.analysis.tables import Rich, Table
from promptlab.errors import AnalysisError
from promptlab.stats import CONFIDENCE

#: The columns of a table of variety, behind those it is grouped by.
COLUMNS: Mapping[str, str] = {
    "measure": "agreement, one_answer, distinct_1, distinct_2; with a metric pass@k and majority",
    "mean": "its mean over cells (the repeats of one case in one setting)",
    "low": "lower end of the mean's interval over cases",
    "high": "upper end",
    "cells": "cells that have enough answers for it",
    "left_out": "cells that have too few",
    "cases": "cases of the cells that count",
    "failed": "trials of the group that failed",
}


@dataclass(frozen=True, slots=True)
class _Cell:
    """The repeats of one case in one setting that were answered; scores may be NaN."""

    case: Hashable
    answers: list[str]
    scores: list[float]


def variety(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    by: By = None,
    metric: str | None = None,
    k: int | Sequence[int] | None = None,
    answer: str = "output",
    confidence: float = CONFIDENCE,
    seed: int = 0,
    pooled: Sequence[str] = (),
) -> Table:
    """Return one row a group and measure; see `Analysis.variety`."""
    frames.check_confidence(confidence)
    columns = frames.columns_by(frame, by, axes)
    if answer not in frame.columns:
        msg = f"answer={_text.brief(answer)} is no column; name one that holds answers, e.g. 'output' or a label's"
        raise AnalysisError(msg)
    scores = _binary(frame, metric)
    held = [axis for axis in dict.fromkeys(["template", "version", *axes]) if axis not in pooled]
    measures = {**_of_answers(), **(_of_scores(_ks(frame, k)) if metric else {})}
    labels = summaries.own_names(columns)
    rows: list[dict[str, Any]] = []
    for key, part in frames.groups(frame, columns):
        found = list(_cells(part, scores.loc[part.index], answer, held))
        place = {labels[name]: value for name, value in key.items()}
        failed = int(frames.is_failed(part).sum())
        for name, measure in measures.items():
            rows.append({**place, "measure": name, **_figures(found, measure, confidence, seed), "failed": failed})
    data = pd.DataFrame(rows, columns=[*labels.values(), *COLUMNS])
    return Table(data, verdict=_verdict(data), rich=_rich(data, list(labels.values()), confidence))


def _binary(frame: pd.DataFrame, metric: str | None) -> pd.Series[Any]:
    """Return the scores that say which answers are right."""
    if metric is None:
        if_none: pd.Series[Any] = pd.Series(np.nan, index=frame.index)
        return if_none
    [name] = frames.metrics(frame, metric)
    values = frames.values(frame, name)
    if values.notna().any() and not frames.is_binary(values):
        msg = f"metric {name!r} is not 0 or 1; pass@k and the majority's accuracy need scores that are right or wrong"
        raise AnalysisError(msg)
    return values


def _ks(frame: pd.DataFrame, k: int | Sequence[int] | None) -> list[int]:
    """Return the sizes k of pass@k: those given, or 1 and the number of repeats."""
    if k is None:
        return sorted({1, int(frame["repeat"].max()) + 1})
    given = [k] if isinstance(k, int) else list(k)
    if not given or any(not isinstance(each, int) or each < 1 for each in given):
        msg = f"k={k!r} is no number of samples; give integers from 1, e.g. k=[1, 5]"
        raise AnalysisError(msg)
    return list(dict.fromkeys(given))


def _cells(part: pd.DataFrame, scores: pd.Series[Any], answer: str, held: Sequence[str]) -> Iterator[_Cell]:
    """Yield every cell that was asked, also one without an answer."""
    has = ((part["status"] == "ok") & part[answer].notna()).tolist()
    texts, known, cases = part[answer].tolist(), scores.tolist(), part["case"].tolist()
    keys = frames.keyed(part, [*held, "case"])
    for places in keys.groupby([*held, "case"], sort=False, dropna=False).indices.values():
        found = [at for at in places if has[at]]
        yield _Cell(cases[places[0]], [str(texts[at]).strip() for at in found], [known[at] for at in found])


Measure = Callable[[_Cell], float | None]


def _of_answers() -> dict[str, Measure]:
    return {
        "agreement": lambda cell: stats.agreement(cell.answers),
        "one_answer": lambda cell: float(len(set(cell.answers)) == 1) if len(cell.answers) > 1 else None,
        "distinct_1": partial(_distinct, n=1),
        "distinct_2": partial(_distinct, n=2),
    }


def _of_scores(ks: Sequence[int]) -> dict[str, Measure]:
    return {**{f"pass@{k}": partial(_passed, k=k) for k in ks}, "majority": _majority}


def _distinct(cell: _Cell, n: int) -> float | None:
    return stats.distinct_n(cell.answers, n) if len(cell.answers) > 1 else None


def _passed(cell: _Cell, k: int) -> float | None:
    known = [score for score in cell.scores if not math.isnan(score)]
    return stats.pass_at_k(len(known), int(sum(known)), k) if len(known) >= k else None


def _majority(cell: _Cell) -> float | None:
    """Return whether the answer that most repeats gave is right; each of several that are tied counts its share."""
    by_answer: dict[str, list[float]] = {}
    for text, score in zip(cell.answers, cell.scores, strict=True):
        if not math.isnan(score):
            by_answer.setdefault(text, []).append(score)
    most = max(map(len, by_answer.values()), default=0)
    tied = [fmean(scores) for scores in by_answer.values() if len(scores) == most]
    return fmean(tied) if tied else None


def _figures(cells: Sequence[_Cell], measure: Measure, confidence: float, seed: int) -> dict[str, Any]:
    found = [(value, cell.case) for cell in cells if (value := measure(cell)) is not None]
    values, cases = [value for value, _ in found], [case for _, case in found]
    interval = analysis.estimate(values, cases, confidence=confidence, seed=seed)
    low, high = np.clip([interval.low, interval.high], 0.0, 1.0)  # every measure is a share
    figures = {"mean": interval.estimate, "low": float(low), "high": float(high)}
    return {**figures, "cells": len(found), "left_out": len(cells) - len(found), "cases": len(set(cases))}


def _verdict(data: pd.DataFrame) -> str:
    """Say where repeats agree most and least; unknown where there are none."""
    agreed = data[data["measure"] == "agreement"].dropna(subset="mean")
    if agreed.empty:
        return "unknown: no case was answered twice in one setting; run it with repeats= of 2 or more"
    by = [name for name in data.columns if name not in COLUMNS]
    most, least = agreed.iloc[agreed["mean"].argmax()], agreed.iloc[agreed["mean"].argmin()]
    if len(agreed) == 1 or not by:
        return f"two repeats agree in {_percent(most['mean'])} of pairs"
    ends = [f"{_percent(row['mean'])} ({frames.settings({name: row[name] for name in by})})" for row in (most, least)]
    return f"two repeats agree most in {ends[0]} and least in {ends[1]} of pairs"


def _percent(share: float) -> str:
    return f"{words.number(share * 100, 100)} %"


def _rich(data: pd.DataFrame, by: Sequence[str], confidence: float) -> Rich:
    head = [*by, "measure", "mean", f"{words.percent(confidence)} interval", "cells", "left out", "cases", "failed"]
    rows = []
    for row in data.to_dict("records"):
        is_known = not np.isnan(row["mean"])
        ends = f"{_percent(row['low'])} to {_percent(row['high'])}" if not np.isnan(row["low"]) else "unknown"
        rows.append([
            *(frames.level_text(row[name]) for name in by),
            *(row["measure"], _percent(row["mean"]) if is_known else "unknown", ends),
            *(f"{row[name]:,}" for name in ("cells", "left_out", "cases", "failed")),
        ])  # fmt: skip
    return Rich("Variety of repeats", head, rows)
