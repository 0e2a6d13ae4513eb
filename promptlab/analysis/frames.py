"""What a trial frame holds: metrics, axes, cases; values and groups of rows. Checks what a user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptlab import _text
from promptlab._json import compact
from promptlab.analysis import MEASUREMENTS
from promptlab.errors import AnalysisError
from promptlab.results import COLUMNS

#: Numeric columns that are names or places, not measurements.
_NO_METRICS = {
    *("position", "version", "case", "repeat", "reused", "trial_id", "sample_id", "output_id", "attempt_id"),
    "request_id",
}
_LAST = list(COLUMNS)[-1]  # the scores stand after it

By = str | Sequence[str] | None


def score_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that scorers wrote: those after `results.COLUMNS`."""
    names = list(frame.columns)
    return names[names.index(_LAST) + 1 :] if _LAST in names else []


def metrics(frame: pd.DataFrame, metric: str | Sequence[str] | None) -> list[str]:
    """Return the metrics that are named, or every score that is a number.

    Raises
    ------
    AnalysisError
        Where a name is no numeric column; with the metrics there are.
    """
    if metric is None:
        return [name for name in score_columns(frame) if is_numeric(frame[name])]
    named = [metric] if isinstance(metric, str) else list(metric)
    problems = [problem for name in named if (problem := _metric_problem(frame, name))]
    if problems or not named:
        raise AnalysisError(problems or "metric=[] names nothing; leave it out for all scores")
    return list(dict.fromkeys(named))


def needed_metrics(frame: pd.DataFrame, metric: str | Sequence[str] | None) -> list[str]:
    """Return `metrics`, of which there has to be one.

    Raises
    ------
    AnalysisError
        Where nothing is named, and nothing has been scored.
    """
    found = metrics(frame, metric)
    if not found:
        msg = "nothing has been scored yet: run.score(...) first, or name a column, e.g. metric='latency_ms'"
        raise AnalysisError(msg)
    return found


def one_metric(frame: pd.DataFrame, metric: str | None) -> str:
    """Return the metric that is named, or the only score.

    Raises
    ------
    AnalysisError
        Where there are several scores, or none.
    """
    found = needed_metrics(frame, metric)
    if len(found) > 1:
        msg = f"which metric? there are {', '.join(map(repr, found))}; say metric={found[0]!r}"
        raise AnalysisError(msg)
    return found[0]


def is_numeric(column: pd.Series[Any]) -> bool:
    """Return whether a column holds numbers (or truth values) and something missing at most."""
    return bool(pd.api.types.is_numeric_dtype(column)) or (
        column.dtype == object
        and bool(column.notna().any())
        and all(isinstance(value, bool | int | float | np.number) for value in column.dropna())
    )


def is_binary(values: pd.Series[Any]) -> bool:
    """Return whether values are 0 or 1 only, missing ones aside; a measurement, by its name, is no rate even so."""
    known = values.dropna()
    return values.name not in MEASUREMENTS and bool(len(known)) and bool(known.isin((0.0, 1.0)).all())


def values(frame: pd.DataFrame, metric: str, *, failed_as: float | None = None) -> pd.Series[Any]:
    """Return a metric's values as floats, NaN where there is none or no answer; what failed counts as `failed_as`."""
    found = frame[metric].astype("float64")
    found = found.where(np.isfinite(found) & (frame["status"] == "ok"))
    return found if failed_as is None else found.mask(found.isna() & is_failed(frame), failed_as)


def less_is_better(metric: str, said: bool | None) -> bool:  # noqa: FBT001 - the user's own word
    """Return whether less of a metric is better: as the user said, or else of measurements."""
    return metric in MEASUREMENTS if said is None else said


def is_failed(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return which trials were asked and have no answer."""
    return frame["status"] == "failed"


def check_failed_as(frame: pd.DataFrame, named: Sequence[str], failed_as: float | None) -> None:
    """Refuse a value for failed trials where the metric is not a score: what they took is unknown.

    Raises
    ------
    AnalysisError
        Naming the metric.
    """
    strays = [] if failed_as is None else [name for name in named if name not in score_columns(frame)]
    if strays:
        msg = f"failed_as={failed_as!r} is for scores, and {strays[0]!r} is a measurement; leave failed_as out"
        raise AnalysisError(msg)


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises
    ------
    AnalysisError
        Where it is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        msg = f"confidence={confidence!r} is not between 0 and 1; 0.95 is usual"
        raise AnalysisError(msg)


def columns_by(frame: pd.DataFrame, by: By, axes: Sequence[str]) -> list[str]:
    """Return the columns to group by: those named, or the template and every axis.

    Raises
    ------
    AnalysisError
        Listing the names that are no column, with the nearest one.
    """
    if by is None:
        return list(axes) if "template" in axes else ["template", *axes]
    named = [by] if isinstance(by, str) else list(by)
    problems = [_unknown(frame, name, "by") for name in named if name not in frame.columns]
    if problems:
        raise AnalysisError(problems)
    return list(dict.fromkeys(named))


def keyed(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns with values that can be grouped by: lists and mappings as JSON text."""
    return pd.DataFrame({name: _hashable(frame[name]) for name in columns}, index=frame.index)


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield each combination of values with its rows, in the order first met; without columns all rows at once."""
    if not by:
        yield {}, frame
        return
    keys = keyed(frame, by)
    for values_, places in keys.groupby(list(by), sort=False, dropna=False).indices.items():
        found = values_ if isinstance(values_, tuple) else (values_,)
        yield dict(zip(by, map(plain, found), strict=True)), frame.iloc[places]


def levels(frame: pd.DataFrame, axis: str) -> list[Any]:
    """Return the values of an axis in the order first met; one that is missing is None."""
    return [plain(value) for value in _hashable(frame[axis]).drop_duplicates()]


def plain(value: Any) -> Any:
    """Return a level; one that is missing, which pandas holds as NaN, is None and so equal to itself."""
    return None if pd.isna(value) else value


def settings(key: Mapping[str, Any]) -> str:
    """Return a combination of values in words.

    >>> settings({"template": "terse", "temperature": 0.7})
    'template=terse, temperature=0.7'
    """
    return ", ".join(f"{_text.clipped(name, 40)}={level_text(value)}" for name, value in key.items())


def level_text(value: Any) -> str:
    """Return one level as a person reads it."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "unset"
    return f"{value:g}" if isinstance(value, float | np.floating) else _text.clipped(str(value), 60)


def _hashable(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.dtype != object or not any(isinstance(value, list | dict) for value in column):
        return column
    return column.map(lambda value: compact(value) if isinstance(value, list | dict) else value)


def _metric_problem(frame: pd.DataFrame, name: str) -> str | None:
    if name not in frame.columns:
        return _unknown(frame, name, "metric")
    if name in _NO_METRICS:
        return f"metric {name!r} is a name or a place, not a measurement; {_metrics_there(frame)}"
    if not is_numeric(frame[name]):
        return f"metric {name!r} is not a number in every trial that has it; {_metrics_there(frame)}"
    return None


def _unknown(frame: pd.DataFrame, name: Any, what: str) -> str:
    names = [str(column) for column in frame.columns]
    near = _text.nearest(str(name), names)
    meant = f"did you mean {near!r}? " if near else ""
    there = _metrics_there(frame) if what == "metric" else f"there are {_listed(names)}"
    return f"{what} {_text.brief(name)} is no column; {meant}{there}"


def _metrics_there(frame: pd.DataFrame) -> str:
    scored = [name for name in score_columns(frame) if is_numeric(frame[name])]
    others = [name for name in MEASUREMENTS if name in frame.columns]
    return f"metrics are {_listed([*scored, *others])}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(_text.brief(name) for name in names[:_SHOWN]) + more


_SHOWN = 30
