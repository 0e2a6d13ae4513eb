"""Trial frames with scores, as `run.frame()` returns them once a run is scored, made without a run."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptlab.results import COLUMNS


def frame_of(
    axes: Mapping[str, Sequence[Any]],
    score: Callable[..., float | None],
    *,
    cases: int = 10,
    repeats: int = 1,
    name: str = "right",
    case_columns: Mapping[str, Callable[[int], Any]] | None = None,
    **columns: Callable[..., Any],
) -> pd.DataFrame:
    """Return a frame of template x axes x cases x repeats; each function gets a trial's axes, `case` and `repeat`.

    A score of None is a failed trial; other columns, such as cost_usd or output, may be given by functions too.
    """
    grid = {"template": ["terse"], **axes}
    rows = []
    for *setting, case, repeat in itertools.product(*grid.values(), range(cases), range(repeats)):
        trial = {**dict(zip(grid, setting, strict=True)), "case": case, "repeat": repeat}
        rows.append(_row(len(rows), trial, score(**trial), name, case_columns or {}, columns))
    middle = [*(case_columns or {}), *(axis for axis in grid if axis != "template")]
    order = [column for known in COLUMNS for column in (middle if known == "..." else [known])]
    return pd.DataFrame(rows, columns=[*order, name])


def _row(  # noqa: PLR0917 - one place of use
    position: int,
    trial: dict[str, Any],
    value: float | None,
    name: str,
    case_columns: Mapping[str, Callable[[int], Any]],
    columns: Mapping[str, Callable[..., Any]],
) -> dict[str, Any]:
    is_ok = value is not None
    answer = {"output": f"answer {value}", "cost_usd": 0.01, "latency_ms": 100.0, "total_tokens": 20}
    answer |= {column: make(**trial) for column, make in columns.items()}
    ids = dict.fromkeys(("trial_id", "sample_id", "request_id"), position + 1)
    return {
        **{column: np.nan for column in COLUMNS if column != "..."},
        **trial,
        **{column: make(trial["case"]) for column, make in case_columns.items()},
        **(answer if is_ok else dict.fromkeys(answer, np.nan)),
        **ids,
        "position": position,
        "version": 1,
        "flags": "",
        "status": "ok" if is_ok else "failed",
        "error": None if is_ok else "refused",
        name: np.nan if value is None else float(value),
    }
