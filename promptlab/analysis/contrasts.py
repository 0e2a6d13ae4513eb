"""Contrasts: by how much the levels of an axis differ, within the same case and the same other settings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pandas as pd

from promptlab import _text
from promptlab.analysis import frames, pairs, words
from promptlab.analysis.frames import By
from promptlab.analysis.tables import Rich, Table
from promptlab.errors import AnalysisError
from promptlab.stats import CONFIDENCE

#: The columns of a table of contrasts.
COLUMNS: Mapping[str, str] = {
    "metric": "which score or measurement",
    "axis": "which axis the two levels are of",
    "level": "the level that is compared",
    "against": "with this one",
    "setting": "within which values of the other axes, or of `by`; empty where over all",
    "difference": "mean of level minus mean of against, over cases, in the metric's own unit",
    "low": "lower end of its interval",
    "high": "upper end",
    "p": "permutation p-value: how often flipping signs by case gives a difference as large",
    "p_adjusted": "p after Holm, over all rows of the table",
    "cases": "cases that both levels have a value for, in some setting that they share",
    "pairs": "pairs of case x setting that both have",
    "dropped": "pairs of case x setting left out, since a side has no value",
    "dropped_failed": "those of them where a side failed; in the others it was not asked, or not scored",
    "wins": "cases in which level is better",
    "losses": "cases in which it is worse",
    "ties": "cases in which they are equal",
    "p_mcnemar": "exact McNemar test, where every case is one pair of single 0/1 scores; else missing",
    "more_cases": "cases more that a study needs to show the difference, with power 0.8; missing where unknown",
    "verdict": "what the row shows, in words",
}


def contrast(
    frame: pd.DataFrame,
    axes: Sequence[str],
    axis: str,
    metric: str | Sequence[str] | None = None,
    *,
    levels: Sequence[Any] | None = None,
    against: Any = None,
    by: By = None,
    lower_is_better: bool | None = None,
    resolve: float | None = None,
    failed_as: float | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    pooled: Sequence[str] = (),
) -> Table:
    """Return one row for two levels and a metric; see `Analysis.contrast`.

    `pooled` axes are neither held equal nor apart: trials that differ in them alone count as repeats.
    """
    frames.check_confidence(confidence)
    _check_resolve(resolve)
    named = frames.needed_metrics(frame, metric)
    frames.check_failed_as(frame, named, failed_as)
    chosen = _levels(frame, axes, axis, levels, against)
    matched, tied = _matched(frame, [name for name in axes if name != axis and name not in pooled], axis)
    study = _Study(frame, axis, matched, chosen, against, lower_is_better, resolve, failed_as, confidence, seed)
    if by is None:
        data = study.table(named, [])
        inner = study.table(named, matched) if _varies(frame, matched) else None
    else:
        columns = (
            matched if by == "settings" and "settings" not in frame.columns else frames.columns_by(frame, by, axes)
        )
        data, inner = study.table(named, [name for name in columns if name != axis]), None
    data["verdict"] = [study.sentence(row, inner) for row in data.to_dict("records")]
    verdict = "\n".join([*_headlines(data, confidence), *_remark(axis, tied)])
    return Table(data[list(COLUMNS)], verdict=verdict, rich=_rich(data, axis, study))


@dataclass(frozen=True, slots=True)
class _Study:
    """What all contrasts of one table have in common."""

    frame: pd.DataFrame
    axis: str
    matched: Sequence[str]
    levels: Sequence[Any]
    against: Any
    lower_is_better: bool | None
    resolve: float | None
    failed_as: float | None
    confidence: float
    seed: int
    scales: dict[str, words.Scale] = field(default_factory=dict)

    def table(self, named: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
        """Return the contrasts of all metrics within each group, with p-values adjusted over all of them."""
        rows = [row for name in named for row in self._rows(name, by)]
        data = pd.DataFrame(rows, columns=[*(name for name in COLUMNS if name != "verdict"), "method"])
        data["p_adjusted"] = pairs.adjusted(data["p"])
        return data

    def _rows(self, metric: str, by: Sequence[str]) -> list[dict[str, Any]]:
        values = frames.values(self.frame, metric, failed_as=self.failed_as)
        is_binary = frames.is_binary(values)
        self.scales[metric] = words.scale(metric, is_binary=is_binary)
        rows = []
        for key, part in frames.groups(self.frame, by):
            found = pairs.cells(part, values.loc[part.index], [self.axis], self.matched)
            place = {level[self.axis]: number for number, level in enumerate(found.levels)}
            for one, other in _level_pairs(self.levels, self.against):
                if one in place and other in place:
                    figures = pairs.figures(
                        found.paired(place[one], place[other]),
                        is_binary=is_binary,
                        less_is_better=self.less_is_better(metric),
                        resolve=self.resolve,
                        confidence=self.confidence,
                        seed=self.seed,
                    )
                    names = {"metric": metric, "axis": self.axis, "level": one, "against": other}
                    rows.append({**names, "setting": frames.settings(key), **figures})
        return rows

    def less_is_better(self, metric: str) -> bool:
        """Return whether less is better: as was said, or by the metric's name."""
        return frames.less_is_better(metric, self.lower_is_better)

    def sentence(self, row: Mapping[Hashable, Any], inner: pd.DataFrame | None) -> str:
        """Return what one contrast shows, and in how many settings of its own it does."""
        measure = [] if len(self.scales) == 1 else [_text.clipped(str(row["metric"]), 60)]
        where = [row["setting"]] if row["setting"] else []
        return ": ".join([*measure, *where, f"{self._overall(row)}{self._by_setting(row, inner)}"])

    def _overall(self, row: Mapping[Hashable, Any]) -> str:
        one, other = self._named(row["level"]), self._named(row["against"])
        if row["cases"] < 2:  # noqa: PLR2004 - one case says nothing of others
            few = "no paired case" if row["cases"] == 0 else "only 1 paired case"
            return f"{one} against {other} unknown: {few}{_dropped(row)}"
        scale, verdict = self.scales[row["metric"]], outcome(row, self.less_is_better(row["metric"]), self.confidence)
        if not verdict:
            gap = f"{scale.difference(row['difference'])} ({self._interval(row, 1)})"
            return f"no difference shown: {one} minus {other} is {gap}{self._settling(row, scale)}"
        sign = 1 if row["difference"] > 0 else -1
        better, worse = (one, other) if verdict > 0 else (other, one)
        return f"{better} beats {worse} by {scale.difference(abs(row['difference']))} ({self._interval(row, sign)})"

    def _named(self, level: Any) -> str:
        """Return a level as it is called; a bare number is no name."""
        return frames.level_text(level) if isinstance(level, str) else frames.settings({self.axis: level})

    def _interval(self, row: Mapping[Hashable, Any], sign: int) -> str:
        if pd.isna(row["low"]):  # no spread was seen, so nothing is known of it
            return f"the same in each of {_text.count(row['cases'], 'paired case')}{_dropped(row)}"
        scale = self.scales[row["metric"]]
        low, high = sorted((sign * row["low"], sign * row["high"]))
        kind = f"{words.percent(self.confidence)} {'t ' if row['method'].startswith('Student') else ''}interval"
        return (
            f"{kind} {scale.bare(low)} to {scale.bare(high)}, {_text.count(row['cases'], 'paired case')}{_dropped(row)}"
        )

    def _settling(self, row: Mapping[Hashable, Any], scale: words.Scale) -> str:
        """Say what stands between an open contrast and a difference: other contrasts, or more cases."""
        is_undone = pairs.is_apart(row) and row["p"] < 1 - self.confidence
        adjusted = ", not after adjusting for the other contrasts" if is_undone else ""
        more = row["more_cases"]
        if not more > 0:
            return adjusted
        size = "of this size" if self.resolve is None else f"of {scale.difference(self.resolve)}"
        return f"{adjusted}; about {_text.count(int(more), 'more case')} would show one {size}"

    def _by_setting(self, row: Mapping[Hashable, Any], inner: pd.DataFrame | None) -> str:
        if inner is None:
            return ""
        same = inner[
            (inner["metric"] == row["metric"]) & (inner["level"] == row["level"]) & (inner["against"] == row["against"])
        ]
        less = self.less_is_better(str(row["metric"]))
        ends = [outcome(each, less, self.confidence) for each in same.to_dict("records")]
        sides = self._named(row["level"]), self._named(row["against"])
        said = [
            f"{name} is better in {words.count_of(ends.count(sign), len(ends), 'setting')}"
            for name, sign in zip(sides, (1, -1), strict=True)
            if ends.count(sign) and sign != outcome(row, less, self.confidence)
        ]
        still = ends.count(0)
        share = "none" if not still else f"{still:,}"
        said.append(f"{share} of {_text.count(len(ends), 'setting')} remain{'' if still > 1 else 's'} open")
        return "; " + ", ".join(said)


def outcome(row: Mapping[Hashable, Any], less_is_better: bool, confidence: float) -> int:  # noqa: FBT001 - a fact of the metric
    """Return 1 where level is shown to be better, -1 where worse, 0 where neither: by interval and adjusted p both."""
    is_shown = row["p_adjusted"] < 1 - confidence and pairs.is_apart(row)
    return 0 if not is_shown else 1 if (row["difference"] > 0) != less_is_better else -1


def _level_pairs(levels: Sequence[Any], against: Any) -> list[tuple[Any, Any]]:
    """Return (level, against): each later level with each earlier one, or all with the baseline."""
    if against is not None:
        return [(level, against) for level in levels if level != against]
    return [(later, earlier) for earlier, later in combinations(levels, 2)]


def _levels(
    frame: pd.DataFrame, axes: Sequence[str], axis: str, levels: Sequence[Any] | None, against: Any
) -> list[Any]:
    """Return the levels to compare, the baseline among them."""
    if axis not in axes:
        raise AnalysisError(_no_axis(frame, axes, axis))
    there = frames.levels(frame, axis)
    wanted = list(there if levels is None else dict.fromkeys(levels))
    if against is not None and against not in wanted:
        wanted.insert(0, against)
    strays = [value for value in wanted if value not in there]
    if strays:
        shown = ", ".join(_text.brief(value) for value in there[:20])
        raise AnalysisError([f"{_text.brief(value)} is no level of {axis!r}; there are {shown}" for value in strays])
    if len(wanted) < 2:  # noqa: PLR2004 - a contrast is between two
        msg = f"{axis!r} has one level here, {_text.brief(wanted[0] if wanted else None)}; a contrast needs two"
        raise AnalysisError(msg)
    return wanted


def _no_axis(frame: pd.DataFrame, axes: Sequence[str], axis: str) -> str:
    there = f"{', '.join(map(repr, axes))} vary" if axes else "nothing varies in it but cases and repeats"
    if axis in frame.columns:
        return f"{axis!r} did not vary by plan within a case; {there}. summary(by={axis!r}) groups by any column"
    near = _text.nearest(str(axis), list(axes))
    return f"{_text.brief(axis)} is no axis; {f'did you mean {near!r}? ' if near else ''}{there}"


def _check_resolve(resolve: float | None) -> None:
    if resolve is not None and not 0 < resolve < float("inf"):
        msg = f"resolve={resolve!r} is no size of a difference; give one above 0 in the metric's unit, e.g. 0.05"
        raise AnalysisError(msg)


def _matched(frame: pd.DataFrame, others: Sequence[str], axis: str) -> tuple[list[str], list[str]]:
    """Return the axes that pairs share, and those that they cannot, since each level has one value of its own there."""
    keys = frames.keyed(frame, [axis, *others])
    per_level = keys.groupby(axis, sort=False, dropna=False)[list(others)].nunique(dropna=False)
    tied = [name for name in others if (per_level[name] == 1).all() and keys[name].nunique(dropna=False) > 1]
    return [name for name in others if name not in tied], tied


def _varies(frame: pd.DataFrame, matched: Sequence[str]) -> bool:
    return any(frames.keyed(frame, [name])[name].nunique(dropna=False) > 1 for name in matched)


def _dropped(row: Mapping[Hashable, Any]) -> str:
    dropped, failed = row["dropped"], row["dropped_failed"]
    if not dropped:
        return ""
    why = f"{failed:,} failed" if failed == dropped else f"{failed:,} failed, {dropped - failed:,} missing"
    return f", {_text.count(dropped, 'pair')} dropped: {why if failed else 'a side is missing'}"


def _headlines(data: pd.DataFrame, confidence: float) -> list[str]:
    """Return the verdicts of a short table, or of a long one how many are shown, and the clearest."""
    if len(data) <= _FEW:
        return list(data["verdict"])
    is_shown = [bool(outcome(row, less_is_better=False, confidence=confidence)) for row in data.to_dict("records")]
    first = data[is_shown].sort_values("p_adjusted", kind="stable").head(_FEW)
    return [f"{words.count_of(sum(is_shown), len(data), 'contrast')} shown", *first["verdict"]]


def _remark(axis: str, tied: Sequence[str]) -> list[str]:
    return [f"each level of {axis} has its own {' and '.join(tied)}, so that this differs as well"] if tied else []


def _rich(data: pd.DataFrame, axis: str, study: _Study) -> Rich:
    several = [name for name in ("metric", "setting") if data[name].nunique() > 1]
    interval = f"{words.percent(study.confidence)} interval"
    head = [*several, "level", "against", "difference", interval, "p adjusted", "cases", "dropped"]
    rows = []
    for row in data.to_dict("records"):
        scale = study.scales[row["metric"]]
        ends = "unknown" if pd.isna(row["low"]) else f"{scale.bare(row['low'])} to {scale.bare(row['high'])}"
        rows.append([
            *(row[name] for name in several),
            *(frames.level_text(row[name]) for name in ("level", "against")),
            *(scale.difference(row["difference"]), ends, words.p_cell(row["p_adjusted"])),
            *(f"{row['cases']:,}", f"{row['dropped']:,}", f"{row['wins']}/{row['losses']}/{row['ties']}"),
            "unknown" if pd.isna(row["more_cases"]) else f"{row['more_cases']:,.0f}",
        ])  # fmt: skip
    names = ", ".join(dict.fromkeys(data["metric"]))
    return Rich(f"Contrast of {axis} · {names}", [*head, "won/lost/tied", "more cases"], rows)


_FEW = 4  # verdicts that are read; the table's column has all
