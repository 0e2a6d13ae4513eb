"""Several runs as one frame: an axis `run` more, the same case known by its values, settings side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from promptlab._json import canonical, plain
from promptlab.analysis import frames
from promptlab.results import COLUMNS

RUN = "run"
_NAMES = list(COLUMNS)
_AT = _NAMES.index("...")
_LEFT, _RIGHT = _NAMES[:_AT], _NAMES[_AT + 1 :]


@dataclass(frozen=True, slots=True)
class Part:
    """One run: how it is called, its frame and axes, and the settings that are the same in all of its trials."""

    label: str
    frame: pd.DataFrame
    axes: Sequence[str]
    fixed: Mapping[str, Any]

    @property
    def case_columns(self) -> list[str]:
        """The columns that hold the cases' values: those before `case` that are no settings."""
        names = list(self.frame.columns)
        middle = names[len(_LEFT) : names.index(_RIGHT[0])]
        return [name for name in middle if name not in self.axes]


def joined(parts: Sequence[Part]) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials of all runs as one frame, and the axes: `run`, and what varies within or between runs.

    `case` numbers the cases anew: those with the same values in the columns that all runs share are one. Where these
    columns do not tell the cases of a run apart, all columns have to be equal.
    """
    settings = _settings(parts)
    cases = list(dict.fromkeys(name for part in parts for name in part.case_columns))
    scores = list(dict.fromkeys(name for part in parts for name in frames.score_columns(part.frame)))
    numbers = _case_numbers(parts)
    labels = {name: f"case.{name}" if name == RUN else name for name in cases}
    blocks = []
    for part, number in zip(parts, numbers, strict=True):
        own = {name: part.frame[name] for name in part.frame.columns if name not in _NAMES}
        added = {name: part.fixed.get(name) for name in settings if name not in own}
        renamed = {labels.get(name, name): column for name, column in own.items()}
        there = {name: part.frame[name] for name in _NAMES if name in part.frame.columns}
        blocks.append(
            pd.DataFrame({RUN: part.label, **there, **renamed, "case": number, **added}, index=part.frame.index)
        )
    order = [RUN, *_LEFT, *labels.values(), *settings, *_RIGHT, *scores]
    frame = pd.concat(blocks, ignore_index=True).reindex(columns=list(dict.fromkeys(order)))
    return frame, _axes(frame, settings)


def _settings(parts: Sequence[Part]) -> list[str]:
    """Return the parameters that vary within a run or between runs, in the order met."""
    varied = [axis for part in parts for axis in part.axes if axis not in {"template", "version"}]
    names = dict.fromkeys([*varied, *(name for part in parts for name in part.fixed)])
    return [name for name in names if name in varied or len({canonical(part.fixed.get(name)) for part in parts}) > 1]


def _axes(frame: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    names = frame[["template", "version"]].drop_duplicates()
    varied = {"template": names["template"].nunique() > 1, "version": len(names) > names["template"].nunique()}
    axes = [name for name in (RUN, "template", "version") if varied.get(name, True)]
    return [*axes, *(name for name in settings if name != RUN)]


def _case_numbers(parts: Sequence[Part]) -> list[pd.Series[Any]]:
    """Return the number of each trial's case, equal for equal cases of different runs."""
    shared = [name for name in parts[0].case_columns if all(name in part.case_columns for part in parts)]
    keys = [_case_keys(part, shared) for part in parts]
    if any(len(set(of_case.values())) < len(of_case) for of_case in keys):
        keys = [_case_keys(part, part.case_columns) for part in parts]
    numbers: dict[str, int] = {}
    for of_case in keys:
        for key in of_case.values():
            numbers.setdefault(key, len(numbers))
    return [
        part.frame["case"].map({case: numbers[key] for case, key in of_case.items()})
        for part, of_case in zip(parts, keys, strict=True)
    ]


def _case_keys(part: Part, columns: Sequence[str]) -> dict[int, str]:
    """Return case -> its values as one text; an empty case is equal to another one."""
    first = part.frame.drop_duplicates("case")
    rows = zip(*(first[name].tolist() for name in columns), strict=True) if columns else [()] * len(first)
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    return {case: canonical(plain(value)) for case, value in zip(first["case"].tolist(), values, strict=True)}
