"""The numbers that plots draw: levels of a column, and a metric's mean with its interval in every cell of some columns.

They are the analysis's own: a cell has the figures of a row of `run.summary()`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _style
from promptlab.stats import CONFIDENCE

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
    near = _text.nearest(name, map(str, frame.columns)) if isinstance(name, str) else None
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(str, frame.columns))}"
    msg = f"{role}={_text.brief(name)} is no column of the frame; {hint}"
    raise AnalysisError(msg)


def levels(frame: pd.DataFrame, name: Any, role: str) -> Levels:
    """Return the levels of a column.

    Raises
    ------
    AnalysisError
        When it is not there, or has more levels than can be told apart.
    """
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

    column(frame, name, role)
    codes, found = pd.factorize(frames.keyed(frame, [name])[name], use_na_sentinel=False)
    values = [value.item() if isinstance(value, np.generic) else value for value in found]
    if len(values) > MOST_LEVELS:
        msg = f"{role}={name!r} has {len(values):,} different values; a plot can tell {MOST_LEVELS} apart: take another"
        raise AnalysisError(msg)
    if not all(isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) for value in values):
        return Levels(name, values, codes, is_number=False)
    order = sorted(range(len(values)), key=lambda place: values[place])
    return Levels(name, [values[place] for place in order], np.argsort(order)[codes], is_number=True)


def one_level(frame: pd.DataFrame) -> Levels:
    """Return all trials as one level."""
    import numpy as np  # noqa: PLC0415 - as above

    return Levels("", ["all trials"], np.zeros(len(frame), dtype=np.intp), is_number=False)


def is_text(frame: pd.DataFrame, metric: Any) -> bool:
    """Whether a metric is a label instead of a number."""
    from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

    values = column(frame, metric, "metric").dropna()
    return not values.empty and not frames.is_numeric(values)


def answered(frame: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Return a metric of the trials that have an answer: what a failed one has, such as a latency, is none."""
    return frame[metric].where(frame["status"] == "ok")


def values_of(frame: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Return a metric as numbers, NaN where a trial has none.

    Raises
    ------
    AnalysisError
        When it is not there, is no number, or no trial has a value.
    """
    from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

    column(frame, metric, "metric")
    if not frame[metric].isna().all():  # a column that is all unknown is a metric still
        frames.metrics(frame, metric)
    values = frames.values(frame, metric)
    if values.isna().all():
        msg = f"metric {metric!r} has no value in any of {_text.count(len(frame), 'trial')}: {_why(frame, metric)}"
        raise AnalysisError(msg)
    return values


def _why(frame: pd.DataFrame, metric: str) -> str:
    if not (frame["status"] == "ok").any():
        return f"none has an answer ({(frame['status'] == 'failed').sum():,} failed)"
    if metric == "cost_usd":
        return "the model's price is not known; give the lab its price"
    return "score the run first, or take another metric"


def cells(frame: pd.DataFrame, metric: str, by: Sequence[Levels]) -> tuple[pd.DataFrame, list[tuple[int, ...]]]:
    """Return one row for each combination of levels that has trials, and the places of its levels."""
    import numpy as np  # noqa: PLC0415 - as above
    import pandas as pd  # noqa: PLC0415 - as above

    from promptlab.analysis import summaries  # noqa: PLC0415 - loads pandas

    known = frame.assign(**{metric: values_of(frame, metric)}).reset_index(drop=True)
    names = summaries.own_names([each.name for each in by])
    groups = known.groupby([each.codes for each in by], sort=True).indices if by else {(): np.arange(len(known))}
    rows, places = [], []
    for key, rows_of in groups.items():
        place = tuple(map(int, key if isinstance(key, tuple) else (key,)))
        figures = summaries.group_figures(known.iloc[rows_of], metric, failed_as=None, confidence=CONFIDENCE, seed=0)
        level = {names[each.name]: each.values[at] for each, at in zip(by, place, strict=True)}
        rows.append(level | {name: figures[name] for name in COUNTS})
        places.append(place)
    return pd.DataFrame(rows), places


def is_less_better(frame: pd.DataFrame, metric: str, said: bool | None) -> bool:  # noqa: FBT001 - the user's own word
    """Return whether less of a metric is better: as the user said, or by its name."""
    from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

    values_of(frame, metric)  # says what is wrong with the metric
    return frames.less_is_better(metric, said)


def ends(data: pd.DataFrame, middle: str = "mean", low: str = "low", high: str = "high", factor: float = 1.0) -> Any:
    """Return how far the ends of intervals are from their middle, as matplotlib takes it; 0 where they are unknown."""
    return [
        ((data[middle] - data[low]) * factor).clip(lower=0).fillna(0.0).to_numpy(),
        ((data[high] - data[middle]) * factor).clip(lower=0).fillna(0.0).to_numpy(),
    ]


def extremes(figures: pd.Series[float]) -> tuple[int, int]:
    """Return the places of the least figure and of the greatest."""
    import numpy as np  # noqa: PLC0415 - as above

    values = figures.to_numpy(dtype="float64")
    return int(np.nanargmin(values)), int(np.nanargmax(values))


# Words


def sizes(data: pd.DataFrame, noun: str) -> str:
    """Return how many trials and cases stand behind each mark, and what is left out, as a part of a note."""
    n, cases = _between(data["n"], "trial"), _between(data["cases"], "case")
    return f"each {noun} is {n} of {cases}; {lost(data)}"


def lost(data: pd.DataFrame) -> str:
    """Return what is left out of the means: trials that failed, and those that have no value for another reason."""
    total, failed, missing = (
        int(data[name].sum() if isinstance(name, str) else data[list(name)].to_numpy().sum())
        for name in (("n", "failed", "missing"), "failed", "missing")
    )
    parts = [f"{failed:,} failed" if failed else "", f"{missing:,} have no value" if missing else ""]
    told = " and ".join(filter(None, parts))
    return f"of {total:,} trials {told} and are left out" if told else f"none of {total:,} trials failed"


def _between(numbers: pd.Series[int], noun: str) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return _text.count(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"
