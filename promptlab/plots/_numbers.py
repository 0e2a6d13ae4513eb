"""The numbers that plots draw: levels of a column, and a metric's mean with its interval in every cell of some columns.

A cell's columns are `COUNTS`: the mean over its answered trials, the ends of its interval, how many trials and cases
that is, and how many trials have no value, because they failed or for another reason.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from promptlab import _text, stats
from promptlab.errors import PlotError
from promptlab.plots import _style

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

COUNTS = ("mean", "low", "high", "n", "cases", "failed", "missing")
MOST_LEVELS = 60  # rows or columns of a plot; of more no label can be read


@dataclass(frozen=True, slots=True)
class Levels:
    """The values of a column: numbers from small to large, others as they first come."""

    name: str
    values: list[Any]
    codes: NDArray[np.intp]  # row of the frame -> place in `values`
    is_number: bool

    def labels(self, chars: int = 28) -> list[str]:
        """Return the values as texts, different ones for different values."""
        return _style.labels(self.values, chars)


def column(frame: pd.DataFrame, name: Any, role: str) -> pd.Series[Any]:
    """Return a column of the frame, or say which there are."""
    if isinstance(name, str) and name in frame.columns:
        return frame[name]
    near = _text.nearest(name, frame.columns) if isinstance(name, str) else None
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(str, frame.columns))}"
    msg = f"{role}={_text.brief(name)} is no column of this run's frame; {hint}"
    raise PlotError(msg)


def levels(frame: pd.DataFrame, name: Any, role: str, *, most: int | None = MOST_LEVELS) -> Levels:
    """Return the levels of a column.

    Raises
    ------
    PlotError
        When it is not there, or has more levels than can be told apart.
    """
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    codes, found = pd.factorize(column(frame, name, role), use_na_sentinel=False)
    values = [value.item() if isinstance(value, np.generic) else value for value in found]
    if most is not None and len(values) > most:
        msg = f"{role}={name!r} has {len(values):,} different values; a plot can tell {most} apart: take another column"
        raise PlotError(msg)
    is_number = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    is_number = is_number and all(math.isfinite(value) for value in values)
    if is_number:
        order = sorted(range(len(values)), key=lambda place: values[place])
        rank = np.argsort(order)
        return Levels(name, [values[place] for place in order], rank[codes], is_number=True)
    return Levels(name, values, codes, is_number=False)


def is_answered(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return which trials have an answer: what a failed one has, such as a latency, is no value of an answer."""
    import pandas as pd  # noqa: PLC0415 - as above

    return frame["status"] == "ok" if "status" in frame else pd.Series(data=True, index=frame.index)


def failed(frame: pd.DataFrame) -> int:
    """Return how many trials failed."""
    return int((frame["status"] == "failed").sum()) if "status" in frame else 0


def is_text(frame: pd.DataFrame, metric: Any) -> bool:
    """Whether a metric is a label instead of a number."""
    import pandas as pd  # noqa: PLC0415 - as above

    values = column(frame, metric, "metric").dropna()
    return not values.empty and bool(pd.to_numeric(values, errors="coerce").isna().all())


def values_of(frame: pd.DataFrame, metric: Any) -> pd.Series[float]:
    """Return a metric as numbers, NaN where a trial has none.

    Raises
    ------
    PlotError
        When it is text, or no trial has a value.
    """
    import pandas as pd  # noqa: PLC0415 - as above

    if is_text(frame, metric):
        numbers = [str(name) for name in frame.select_dtypes(["number", "bool"]).columns]
        msg = f"metric={metric!r} is text, and this plot needs numbers: take one of {', '.join(numbers)}"
        raise PlotError(msg)
    values = pd.to_numeric(column(frame, metric, "metric"), errors="coerce").astype("float64")
    values = values.where(is_answered(frame))
    values = values.where(values.abs() != math.inf)
    if values.notna().sum() == 0:
        msg = f"metric={metric!r} has no value in any of {_text.count(len(frame), 'trial')}: {_why(frame, metric)}"
        raise PlotError(msg)
    return values


def _why(frame: pd.DataFrame, metric: str) -> str:
    if not is_answered(frame).any():
        return f"none has an answer ({failed(frame):,} failed)"
    if metric == "cost_usd":
        return "the model's price is not known; give the lab its price"
    return "score the run first, or take another metric"


def cells(frame: pd.DataFrame, metric: str, by: Sequence[Levels]) -> tuple[pd.DataFrame, list[tuple[int, ...]]]:
    """Return one row for each combination of levels that has trials, and the places of its levels."""
    import pandas as pd  # noqa: PLC0415 - as above

    values, cases = values_of(frame, metric), column(frame, "case", "case")
    bad = (frame["status"] == "failed") if "status" in frame else pd.Series(data=False, index=frame.index)
    table = pd.DataFrame({"value": values.to_numpy(), "case": cases.to_numpy(), "failed": bad.to_numpy()})
    groups = table.groupby([each.codes for each in by], sort=True) if by else [((), table)]
    rows, places = [], []
    for key, group in groups:
        place = tuple(map(int, key))
        level = {_free(each.name): each.values[at] for each, at in zip(by, place, strict=True)}
        rows.append(level | _cell(group))
        places.append(place)
    return pd.DataFrame(rows), places


def _cell(group: pd.DataFrame) -> dict[str, Any]:
    known = group[group["value"].notna()]
    lost = int(group["failed"].sum())
    counted = {"n": len(known), "cases": known["case"].nunique(), "failed": lost}
    counted["missing"] = len(group) - len(known) - lost
    if known.empty:
        return dict.fromkeys(("mean", "low", "high"), math.nan) | counted
    found = estimate(known["value"].to_list(), known["case"].to_list())
    return {"mean": found.estimate, "low": found.low, "high": found.high} | counted


def _free(name: str) -> str:
    return f"by.{name}" if name in COUNTS else name


def estimate(values: Sequence[float], cases: Sequence[Hashable]) -> stats.Interval:
    """Return the mean of values with its interval, their cases taken as groups."""
    if set(values) <= {0.0, 1.0}:
        return stats.grouped_rate(values, cases)
    from scipy.stats import t  # noqa: PLC0415

    import numpy as np

    means = [
        float(np.mean([v for v, c in zip(values, cases, strict=True) if c == case])) for case in dict.fromkeys(cases)
    ]
    middle = float(np.mean(values))
    if len(means) < 2:
        return stats.Interval(middle, math.nan, math.nan)
    half = float(t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / math.sqrt(len(means)))
    return stats.Interval(middle, middle - half, middle + half)


# Words


def is_rate(values: Iterable[float]) -> bool:
    """Whether all values that are known are 0 or 1."""
    return {value for value in values if not math.isnan(value)} <= {0.0, 1.0}


def sizes(data: pd.DataFrame, noun: str) -> str:
    """Return how many trials and cases stand behind each mark, and what is left out, as a part of a note."""
    n, cases = _between(data["n"]), _between(data["cases"])
    return "; ".join(filter(None, [f"each {noun} is {n} trials of {cases} cases", lost(data)]))


def lost(data: pd.DataFrame) -> str:
    """Return what is left out of the means: trials that failed, and those that have no value for another reason."""
    total = int(data[["n", "failed", "missing"]].to_numpy().sum())
    parts = [f"{data['failed'].sum():,} failed" if data["failed"].any() else ""]
    parts.append(f"{data['missing'].sum():,} have no value" if data["missing"].any() else "")
    said = " and ".join(filter(None, parts))
    return f"of {total:,} trials {said} and are left out" if said else "none failed"


def _between(numbers: pd.Series[int]) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def interval_text(row: Any) -> str:
    """Return a mean with its interval as a sentence has it."""
    if math.isnan(row["low"]):
        return f"{_style.number(row['mean'])} (interval unknown: one case)"
    ends = f"{_style.number(row['low'])} to {_style.number(row['high'])}"
    return f"{_style.number(row['mean'])} (95 % interval {ends})"
