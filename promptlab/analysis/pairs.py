"""Pairs: a metric by level, setting and case, and what two levels differ by within the same case and setting.

Repeats are averaged first, so that a cell is one figure however often it was asked. The differences of a case are then
averaged over its settings: a case is one observation, since all that was asked about it is alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from promptlab import stats
from promptlab.analysis import frames

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pairing:
    """The differences between two levels.

    Attributes
    ----------
    differences
        One a case that both levels have answered in some setting, in units of the metric.
    pairs
        Cells (case x setting) that both have.
    failed, missing
        Cells that were dropped since a side failed, and since a side is not there (not asked, or not scored).
    is_single
        Whether every case is one pair of single trials, so that the scores themselves are paired.
    """

    differences: NDArray[np.float64]
    pairs: int
    failed: int
    missing: int
    is_single: bool


@dataclass(frozen=True, slots=True)
class Cells:
    """A metric by level, setting and case; the arrays have these three dimensions."""

    levels: list[dict[str, Any]]
    mean: NDArray[np.float64]  # NaN where there is no value
    n: NDArray[np.int64]  # values in a cell
    is_asked: NDArray[np.bool_]  # whether the cell has a trial at all
    is_failed: NDArray[np.bool_]  # no value, and a trial of it failed

    def paired(self, one: int, other: int) -> Pairing:
        """Return one level's differences to another."""
        gap = self.mean[one] - self.mean[other]
        has = ~np.isnan(gap)
        dropped = (self.is_asked[one] | self.is_asked[other]) & ~has
        failed = dropped & (self.is_failed[one] | self.is_failed[other])
        of_case = has.sum(axis=0)
        total = np.where(has, gap, 0.0).sum(axis=0)
        n = np.maximum(self.n[one], self.n[other])[has]
        return Pairing(
            total[of_case > 0] / of_case[of_case > 0],
            int(has.sum()),
            int(failed.sum()),
            int((dropped & ~failed).sum()),
            is_single=bool(len(n)) and int(n.max()) == 1 and int(of_case.max()) == 1,
        )


def cells(frame: pd.DataFrame, values: pd.Series[Any], level: Sequence[str], matched: Sequence[str]) -> Cells:
    """Return a metric's values by level, by setting (the columns that pairs have in common) and by case."""
    keys = frames.keyed(frame, list(dict.fromkeys([*level, *matched])))
    levels, found = _codes(keys, level)
    settings, _ = _codes(keys, matched)
    cases, _ = pd.factorize(frame["case"])
    shape = (len(found), int(settings.max(initial=0)) + 1, int(cases.max(initial=0)) + 1)
    place = np.ravel_multi_index((levels, settings, cases), shape)
    known, failed = values.notna().to_numpy(), frames.is_failed(frame).to_numpy()
    amount = np.where(known, values.to_numpy(), 0.0)

    def summed(weights: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(place, weights, minlength=math.prod(shape)).astype(np.float64).reshape(shape)

    n = summed(known).astype(np.int64)
    mean = np.divide(summed(amount), n, out=np.full(shape, np.nan), where=n > 0)
    return Cells(found, mean, n, summed(np.ones(len(frame))) > 0, (summed(failed) > 0) & (n == 0))


def figures(
    pairing: Pairing,
    *,
    is_binary: bool,
    less_is_better: bool,
    resolve: float | None,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Return what a pairing shows; what is unknown, such as an interval from one case, is NaN."""
    found = pairing.differences
    better = -found if less_is_better else found
    wins, losses = int((better > _SAME).sum()), int((better < -_SAME).sum())
    is_mcnemar = is_binary and pairing.is_single
    return {
        **difference(found, confidence, seed),
        "cases": len(found),
        "pairs": pairing.pairs,
        "dropped": pairing.failed + pairing.missing,
        "dropped_failed": pairing.failed,
        "wins": wins,
        "losses": losses,
        "ties": len(found) - wins - losses,
        "p_mcnemar": stats.mcnemar(wins, losses) if is_mcnemar else math.nan,
        "more_cases": _more_cases(found, resolve, confidence),
    }


def adjusted(p: pd.Series[Any]) -> pd.Series[Any]:
    """Return p-values after Holm; those that are unknown are no contrasts."""
    known = p.dropna()
    return pd.Series(stats.holm(list(known)), index=known.index, dtype="float64").reindex(p.index)


def is_apart(row: Mapping[Any, Any]) -> bool:
    """Return whether a difference's interval leaves out 0; where all cases are equal there is none, and none does."""
    return bool(row["difference"] != 0 and not row["low"] <= 0 <= row["high"])


def difference(found: NDArray[np.float64], confidence: float, seed: int) -> dict[str, Any]:
    """Return the mean difference with its interval and p-value; one case shows neither."""
    if len(found) < _FEWEST:
        mean = float(found.mean()) if len(found) else math.nan
        return {"difference": mean, "low": math.nan, "high": math.nan, "p": math.nan, "method": ""}
    tested = stats.paired(list(found), range(len(found)), confidence=confidence, seed=seed)
    gap = tested.difference
    return {"difference": gap.estimate, "low": gap.low, "high": gap.high, "p": tested.p, "method": gap.method}


def _more_cases(found: NDArray[np.float64], resolve: float | None, confidence: float) -> float:
    """Return how many cases more would show a difference of the size observed, or given, in four of five studies."""
    is_unknown = len(found) < _FEWEST or (resolve is None and abs(found.mean()) < _SAME)
    if is_unknown:
        return math.nan
    fewest = math.ceil(1 + math.log2(1 / (1 - confidence)))  # of fewer cases no flipping of signs is rare enough
    if np.ptp(found) <= _SAME:
        return max(0, fewest - len(found)) if resolve is None else math.nan
    needed = stats.cases_needed(list(found), range(len(found)), difference=resolve, power=POWER, confidence=confidence)
    return math.nan if needed is None else max(0, max(needed, fewest) - len(found))


POWER = 0.8
_SAME = 1e-12  # what rounding leaves of no difference
_FEWEST = 2  # cases: of one, nothing can be said of how they vary


def _codes(keys: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.intp], list[dict[str, Any]]]:
    """Return the number of each row's combination of values, and the combinations in the order first met."""
    combined = np.zeros(len(keys), dtype=np.int64)
    for name in columns:
        codes, known = pd.factorize(keys[name], use_na_sentinel=False)
        combined = combined * max(1, len(known)) + codes
    codes, _ = pd.factorize(combined)
    _, first = np.unique(codes, return_index=True)
    rows = [[keys[name].iloc[place] for name in columns] for place in first]
    return codes, [dict(zip(columns, map(frames.plain, row), strict=True)) for row in rows]
