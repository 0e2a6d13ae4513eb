"""Which setting is better, and how sure are we: the analysis of a trial frame, as tables with a verdict in words.

Every function takes a frame of `run.frame()`'s kind and the axes that vary in it, and returns a `tables.Table`. A
**metric** is the name of a score column or of any other numeric column. Trials of one case are alike, so every interval
is one over cases. What failed or is missing is counted beside every figure.

    frames      which columns are metrics, axes and cases; values and groups
    summaries   mean, interval, cost and latency of each group
    contrasts   paired differences between the levels of an axis
    rankings    the settings in order, and which of them may be the best
    shares      which axis matters: effects
    varieties   what repeats say: agreement, distinct n-grams, pass@k, majority vote
    words       differences and figures as text
    tables      a DataFrame with a rich form and a verdict

Everything but this module loads pandas and numpy, and is therefore imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from promptlab import stats
from promptlab.stats import CONFIDENCE, Interval

__all__ = ["MEASUREMENTS", "estimate"]

#: Metrics that are measured, by the frame or by the built-in scorers of the same; less of them is better.
MEASUREMENTS = (
    *("cost_usd", "latency_ms", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("reasoning_tokens", "total_tokens", "cost", "latency", "length"),
)


def estimate(
    values: Sequence[float],
    cases: Sequence[Hashable],
    *,
    metric: str = "",
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Return the mean of some trials' values with an interval over their cases.

    Values that are all 0 or 1 are a rate (`stats.grouped_rate`), others, and all measurements, a mean
    (`stats.mean_interval`). Of no values nothing is known: NaN.

    Parameters
    ----------
    values
        One a trial, none of them missing.
    cases
        The case of each.
    metric
        What they are of; one of `MEASUREMENTS` is no rate, even where a free model cost 0 each time.

    >>> estimate([1, 1, 0, 0, 1, 1, 1, 1], "aabbccdd")
    0.75 [0.277, 0.959]
    >>> estimate([], [])
    nan [nan, nan]
    """
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, confidence)
    if metric not in MEASUREMENTS and set(values) <= {0, 1}:
        return stats.grouped_rate(values, cases, confidence=confidence)
    return stats.mean_interval(values, cases, confidence=confidence, seed=seed)
