"""A metric against what it costs: which settings are worth their money or time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _numbers, _style, _units
from promptlab.plots._plot import Plot, finished
from promptlab.plots._units import Unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LOG_FROM = 30.0  # the dearest over the cheapest from which the axis is logarithmic
_MOST_LISTED = 9  # points of the frontier in the key
_BADGE_PT = 13.0  # the room that a number takes beside its point
_BARE = ("template", "model", "run")  # axes of which the value says enough
_Marks = dict[int, tuple[str, str, str]]


def pareto(
    frame: pd.DataFrame,
    metric: str,
    cost: str,
    axes: Sequence[str],
    *,
    lower_is_better: bool | None,
    ax: Axes | None,
) -> Plot:
    """Draw every setting's metric against its cost, and the frontier: the settings that no other beats in both."""
    by = [_numbers.levels(frame, name, "axis") for name in axes]
    is_less = _numbers.is_less_better(frame, metric, lower_is_better)
    data, gone = _settings(frame, metric, cost, by, is_less=is_less)
    score, price = _units.unit_of(frame, metric), _units.unit_of(frame, cost)
    own, front = ax is None, data[data["frontier"]]
    with _style.styled(own=own):
        ax = ax or _style.new_axes(4.0)
        marks = _marks(by)
        _draw_points(ax, data, marks, score, price)
        xs, ys = front["cost"] * price.factor, front["mean"] * score.factor
        ax.step(xs, ys, where="post", color=_style.quiet(ax), linewidth=1.1, zorder=1)
        if data["cost"].min() > 0 and data["cost"].max() / data["cost"].min() > _LOG_FROM:
            _units.log_axis(ax.xaxis)
        price.format(ax.xaxis)
        score.format(ax.yaxis)
        ax.set_xlabel(f"mean {price.label}")
        ax.set_ylabel(f"mean {score.label}")
        _key(ax, front, marks, score=score, price=price, name=_style.shown(by[0].name if by else "", 26))
        note = (
            f"Numbered and joined: the frontier, settings that no other beats in both, going by the means alone. Bars "
            f"are 95 % intervals over cases; {_numbers.sizes(data, 'point')}.{gone}"
        )
        alt = _alt(data, front, score, price)
        plot = finished(
            "pareto", ax, data.drop(columns="mark"), own=own, title=f"{metric} against {cost}", alt=alt, note=note
        )
        _number(ax, list(zip(xs, ys, strict=True)))
        return plot


def _settings(
    frame: pd.DataFrame, metric: str, cost: str, by: list[_numbers.Levels], *, is_less: bool
) -> tuple[pd.DataFrame, str]:
    """Return the cells of the metric with those of the cost beside them, the cheapest first, and what is left out."""
    data, places = _numbers.cells(frame, metric, by)
    costs, _ = _numbers.cells(frame, cost, by)
    if not (costs["mean"] > 0).any():
        msg = f"{cost} is 0 for every answer, so there is nothing to weigh the metric against; take cost='latency_ms'"
        raise AnalysisError(msg)
    data[["cost", "cost_low", "cost_high"]] = costs[["mean", "low", "high"]]
    data["setting"] = [_setting(by, place) for place in places]
    data["mark"] = [place[0] if place else 0 for place in places]
    known = data["mean"].notna() & data["cost"].notna()
    if not known.any():
        msg = f"no setting has both {metric!r} and {cost!r}, so there is nothing to draw"
        raise AnalysisError(msg)
    gone = int((~known).sum())
    data = data[known].sort_values("cost", kind="stable", ignore_index=True)
    data["frontier"] = _frontier(data["mean"].to_list(), data["cost"].to_list(), is_less=is_less)
    return data, f" {_text.count(gone, 'setting')} without a score or a cost left out." if gone else ""


def _setting(by: list[_numbers.Levels], place: tuple[int, ...]) -> str:
    """Return a setting in words: of templates and models the name, of parameters both."""
    values = [_style.named(each.values[at]) for each, at in zip(by, place, strict=True)]
    return ", ".join(
        value if each.name in _BARE else f"{_style.named(each.name)} {value}"
        for each, value in zip(by, values, strict=True)
    ) or "all trials"  # fmt: skip


def _frontier(scores: list[float], costs: list[float], *, is_less: bool) -> list[bool]:
    """Return which points no other point beats: as cheap and better, or cheaper and as good."""
    points = [(-score if is_less else score, -cost) for score, cost in zip(scores, costs, strict=True)]
    return [not any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in points) for a in points]


def _marks(by: list[_numbers.Levels]) -> _Marks:
    """Return place in the first axis -> its label, colour and marker; of more levels than colours all are alike."""
    if not by or not 1 < len(by[0].values) <= len(_style.COLOURS):
        return {}
    labels = by[0].labels(26)
    return {at: (labels[at], _style.COLOURS[at], _style.MARKERS[at]) for at in range(len(labels))}


def _mark(row: Any, marks: _Marks) -> tuple[str, str]:
    _, colour, marker = marks.get(row["mark"], ("", _style.COLOURS[0], "o"))
    return colour, marker


def _draw_points(ax: Axes, data: pd.DataFrame, marks: _Marks, score: Unit, price: Unit) -> None:
    across = _numbers.ends(data, "cost", "cost_low", "cost_high", factor=price.factor)
    up = _numbers.ends(data, factor=score.factor)
    for at, row in data.iterrows():
        colour, marker = _mark(row, marks)
        is_front = row["frontier"]
        ax.errorbar(
            row["cost"] * price.factor,
            row["mean"] * score.factor,
            xerr=[[side[at]] for side in across],
            yerr=[[side[at]] for side in up],
            color=colour,
            marker=marker,
            markersize=7 if is_front else 5,
            markerfacecolor=colour if is_front else "white",
            markeredgecolor=colour,
            elinewidth=1.1 if is_front else 0.6,
            alpha=1.0 if is_front else 0.5,
            zorder=3 if is_front else 2,
        )


def _number(ax: Axes, points: list[tuple[float, float]]) -> None:
    """Write its number beside each point, where no point and no other number is."""
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    _style.top_figure(ax).draw_without_rendering()  # lays the figure out; only then places on it are known
    to_points = 72 / _style.top_figure(ax).dpi
    taken = [tuple(ax.transData.transform(point) * to_points) for point in points]
    for number, here in enumerate(list(taken), 1):
        shift = next((each for each in _SHIFTS if _is_free(here, each, taken)), _SHIFTS[0])
        taken.append((here[0] + shift[0], here[1] + shift[1]))
        ax.annotate(
            str(number),
            points[number - 1],
            xytext=shift,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_style.SIZE,
            fontweight="bold",
            color=_style.ink(ax),
            path_effects=[withStroke(linewidth=3, foreground=ax.get_facecolor())],
            arrowprops=_LEADER if math.hypot(*shift) > 2 * _BADGE_PT else None,
            zorder=5,
        )


_LEADER = {"arrowstyle": "-", "color": _style.QUIET, "linewidth": 0.6, "shrinkA": 5, "shrinkB": 3}
_SHIFTS = [
    (far * math.cos(math.radians(angle)), far * math.sin(math.radians(angle)))
    for far, angle in itertools.product((_BADGE_PT, 24.0, 36.0, 48.0), (135, 45, 100, 170, -45, 10, -100, -135))
]


def _is_free(here: tuple[float, ...], shift: tuple[float, float], taken: list[tuple[float, ...]]) -> bool:
    x, y = here[0] + shift[0], here[1] + shift[1]
    return all(math.hypot(x - other[0], y - other[1]) >= _BADGE_PT * 0.9 for other in taken)


def _key(ax: Axes, front: pd.DataFrame, marks: _Marks, *, score: Unit, price: Unit, name: str) -> None:
    """List at the right what the numbers and the markers are."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    def handle(colour: str, marker: str, **how: Any) -> Line2D:
        return Line2D([], [], color=colour, marker=marker, linestyle="none", **how)

    handles, texts = [], []
    for place, (_, row) in enumerate(front.head(_MOST_LISTED).iterrows(), 1):
        handles.append(handle(*_mark(row, marks), markersize=6.5))
        figures = f"{score.text(row['mean'])} for {price.bare(row['cost'])}"
        texts.append(f"{place}  {_style.shown(row['setting'], 36)}\n    {figures}")
    if len(front) > _MOST_LISTED:
        handles.append(handle("none", ""))
        texts.append(f"and {len(front) - _MOST_LISTED} more, in .data")
    for label, colour, marker in marks.values():
        handles.append(handle(colour, marker, markerfacecolor="white", markersize=5))
        texts.append(f"{label}, not on it")
    ax.legend(
        handles,
        texts,
        title="frontier" + (f", by {name}" if marks else ""),
        alignment="left",
        title_fontsize=_style.SMALL,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
        fontsize=_style.SMALL,
        labelspacing=0.7,
        handletextpad=0.4,
    )


def _alt(data: pd.DataFrame, front: pd.DataFrame, score: Unit, price: Unit) -> str:
    said = [
        f"{_text.clipped(row['setting'], 80)} with {score.text(row['mean'])} for {price.bare(row['cost'])}"
        for _, row in front.head(_MOST_LISTED).iterrows()
    ]
    per = " (of 1,000 answers)" if price.kind == "usd" else ""
    return (
        f"Scatter plot of {score.metric} against {price.metric}{per} for {_text.count(len(data), 'setting')}, "
        f"{len(front)} of them on the frontier: {'; '.join(said)}; {_numbers.lost(data)}."
    )
