"""Effects: which axis matters, as shares of a metric's variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptlab import _text, stats
from promptlab.analysis import frames, words
from promptlab.analysis.tables import Rich, Table
from promptlab.errors import AnalysisError

#: The columns of a table of effects.
COLUMNS: Mapping[str, str] = {
    "metric": "which score or measurement",
    "term": "an axis, two axes together (`template × temperature`), the case, or the rest (chance, what is not named)",
    "share": "of the metric's variance, between 0 and 1; missing where nothing varies",
    "df": "degrees of freedom",
    "p": "p-value of the term; missing where there is no test, as for the rest",
}


def effects(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    metric: str | Sequence[str] | None = None,
    failed_as: float | None = None,
) -> Table:
    """Return one row a term and metric; see `Analysis.effects`."""
    named = frames.needed_metrics(frame, metric)
    frames.check_failed_as(frame, named, failed_as)
    if not axes:
        msg = "nothing varied by plan in this run but cases and repeats, so there is no effect to tell"
        raise AnalysisError(msg)
    found = [(name, *_shares(frame, axes, name, failed_as)) for name in named]
    rows = [{"metric": name, **row} for name, shares, _ in found for row in shares]
    data = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"share": "float64", "p": "float64"})
    verdict = "\n".join(_verdict(name, shares, left_out, len(frame)) for name, shares, left_out in found)
    return Table(data, verdict=verdict, rich=_rich(data, named))


def _shares(
    frame: pd.DataFrame, axes: Sequence[str], metric: str, failed_as: float | None
) -> tuple[list[dict[str, Any]], int]:
    """Return the terms with their shares, and how many trials have no value."""
    values = frames.values(frame, metric, failed_as=failed_as)
    has = values.notna()
    keys = frames.keyed(frame[has], list(axes))
    varied = [axis for axis in axes if keys[axis].nunique(dropna=False) > 1]
    factors = _joined({axis: pd.factorize(keys[axis], use_na_sentinel=False)[0].tolist() for axis in varied})
    if not factors:
        return [], int((~has).sum())
    found = stats.shares_of_variance(list(values[has]), factors, list(frame["case"][has]))
    rows = [{"term": each.term, "share": _nan(each.share), "df": each.df, "p": _nan(each.p)} for each in found]
    return rows, int((~has).sum())


def _joined(factors: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the factors, those that always change together as one: what is due to which, nobody can tell."""
    named: dict[tuple[int, ...], list[str]] = {}
    for axis, codes in factors.items():
        named.setdefault(tuple(codes), []).append(axis)  # codes are numbered in the order first met
    return {" = ".join(axes): list(codes) for codes, axes in named.items()}


def _nan(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _verdict(metric: str, shares: Sequence[Mapping[str, Any]], left_out: int, trials: int) -> str:
    """Say the shares of what was varied, the largest first, and of the cases."""
    known = [row for row in shares if not np.isnan(row["share"])]
    dropped = f" ({left_out:,} of {_text.count(trials, 'trial')} left out: no value)" if left_out else ""
    if not known:
        return f"unknown: {metric} does not vary, or what has it does not{dropped}"
    varied = sorted((row for row in known if row["term"] not in {"case", "rest"}), key=lambda row: -row["share"])
    others = [row for row in known if row["term"] in {"case", "rest"}]
    said = [f"{_text.clipped(row['term'], 80)} {_percent(row['share'])}" for row in [*varied[:_FEW], *others]]
    return f"of the variance of {metric}: {', '.join(said)}{dropped}"


def _percent(share: float) -> str:
    return f"{words.number(share * 100, 100)} %"


def _rich(data: pd.DataFrame, named: Sequence[str]) -> Rich:
    several = ["metric"] if len(named) > 1 else []
    rows = [
        [
            *(row[name] for name in several),
            row["term"],
            "unknown" if np.isnan(row["share"]) else _percent(row["share"]),
            f"{row['df']:g}",
            "" if np.isnan(row["p"]) else words.p_cell(row["p"]),
        ]
        for row in data.to_dict("records")
    ]
    return Rich(f"Effects on {', '.join(named)}", [*several, "term", "share of variance", "df", "p"], rows)


_FEW = 3  # terms that the verdict names
