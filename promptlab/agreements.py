"""How far scores agree with people: Cohen's kappa and percent, where an output has both a score and a rating.

Kappa is not weighted: on stars, being off by one counts as much as being off by four.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from promptlab import _text, judgements, stats
from promptlab.errors import AnalysisError
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("rater", "scale", "n", "agreed", "percent", "kappa", "low", "high")


def agreement(store: Store, frame: pd.DataFrame, metric: str, *, threshold: float | None = None) -> pd.DataFrame:
    """Return one row a rater and scale: how far a column of scores agrees with the ratings.

    An output of several trials counts once, since it is one text that was rated; its score is the mean of theirs.

    Raises
    ------
    AnalysisError
        When the column is not there or holds no numbers, or the scores do not fit the scale of the ratings.
    """
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    scores = _scores(frame, metric)
    said = judgements.current(store, [int(each) for each in scores.index])
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for output_id, judgement in said.items():
        for rater, (value, scale) in judgement.ratings.items():
            if scale == "stars" or value:  # a thumb in the middle says neither
                own = _label(float(scores[output_id]), scale, threshold, scores)
                pairs[rater, scale].append((own, int(value)))
    rows = [_row(rater, scale, stats.cohen_kappa(found)) for (rater, scale), found in sorted(pairs.items())]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(frame: pd.DataFrame, metric: str) -> pd.Series[Any]:
    import pandas as pd  # noqa: PLC0415 - see agreement

    if metric not in frame.columns or not pd.api.types.is_numeric_dtype(frame[metric]):
        numeric = [str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
        near = _text.nearest(metric, numeric)
        hint = f"; did you mean {near!r}?" if near else "; run.score(...) makes one"
        msg = f"there is no column of numbers called {metric!r}{hint}"
        raise AnalysisError(msg)
    known = frame[frame[metric].notna() & frame["output_id"].notna()]
    return known.groupby("output_id")[metric].mean()


def _label(score: float, scale: str, threshold: float | None, scores: pd.Series[Any]) -> int:
    """Return what a score would be as a rating of a scale."""
    if scale == "stars":
        if not scores.between(1, 5).all():
            msg = (
                f"scores from {scores.min():g} to {scores.max():g} are no stars; judge on scale=(1, 5) to compare them"
            )
            raise AnalysisError(msg)
        return math.floor(score + 0.5)
    if threshold is None and not scores.between(0, 1).all():
        msg = f"from which score on is a thumb up? give threshold=, between {scores.min():g} and {scores.max():g}"
        raise AnalysisError(msg)
    return 1 if score >= (0.5 if threshold is None else threshold) else -1


def _row(rater: str, scale: str, found: stats.Agreement) -> tuple[Any, ...]:
    kappa = found.kappa
    ends = (math.nan,) * 3 if kappa is None else (kappa.estimate, kappa.low, kappa.high)
    return (rater, scale, found.n, found.agreed, 100 * found.agreed / found.n, *ends)
