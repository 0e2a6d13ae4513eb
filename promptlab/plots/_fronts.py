"""A metric against what it costs: which settings are worth their money or time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import PlotError
from promptlab.plots import _numbers, _style
from promptlab.plots._plot import Plot, finished

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LOG_FROM = 30.0  # the dearest over the cheapest from which the axis is logarithmic
_MOST_LISTED = 9  # points of the frontier in the key


def pareto(frame: pd.DataFrame, metric: str, cost: str, axes: Sequence[str], *, better: str, ax: Axes | None) -> Plot:
    """Draw every setting's metric against its cost, and the frontier: the settings that no other beats in both."""
    by = [_numbers.levels(frame, name, "axis") for name in axes]
    data, dear = _both(frame, metric, cost, by)
    data["setting"] = [_setting(row, axes) for _, row in data.iterrows()]
    data["frontier"] = _frontier(data["mean"].to_list(), data["cost"].to_list(), better)
    data = data.sort_values("cost", kind="stable", ignore_index=True)
    own, front = ax is None, data[data["frontier"]]
    with _style.styled(ax):
        ax = ax or _style.new_axes(4.0)
        marks = _marks(by, data)
        _draw_points(ax, data, marks)
        ax.step(front["cost"], front["mean"], where="post", color=_style.quiet(ax), linewidth=1.1, zorder=1)
        for place, (_, row) in enumerate(front.iterrows(), 1):
            _badge(ax, row["cost"], row["mean"], str(place))
        if data["cost"].min() > 0 and data["cost"].max() / data["cost"].min() > _LOG_FROM:
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: _amount(value, cost))
        ax.xaxis.set_minor_formatter(lambda *_: "")
        ax.set_xlabel(_style.shown(f"mean {cost} of an answer"))
        ax.set_ylabel(_style.shown(f"mean {metric}", 40))
        _key(ax, front, marks, cost)
        note = (
            f"Numbered and joined: the frontier, settings that no other beats in both, judged by the means alone. Bars "
            f"are 95 % intervals by case; {_numbers.sizes(data, 'point')}{dear}."
        )
        alt = _alt(data, front, metric, cost)
        title = _style.shown(f"{metric} against {cost}", 120)
        return finished("pareto", ax, data, own=own, title=title, alt=alt, note=_style.drawable(note))


def _both(frame: pd.DataFrame, metric: str, cost: str, by: list[_numbers.Levels]) -> tuple[pd.DataFrame, str]:
    """Return the cells of the metric with those of the cost beside them, and what has no cost."""
    data, _ = _numbers.cells(frame, metric, by)
    costs, _ = _numbers.cells(frame, cost, by)
    for ours, theirs in (("cost", "mean"), ("cost_low", "low"), ("cost_high", "high")):
        data[ours] = costs[theirs]
    if not (costs["mean"] != 0).any():
        msg = f"cost={cost!r} is 0 for every answer, so there is nothing to weigh; take cost='latency_ms'"
        raise PlotError(msg)
    known = data["mean"].notna() & data["cost"].notna()
    if not known.any():
        msg = f"no setting has both {metric!r} and {cost!r}"
        raise PlotError(msg)
    gone = int((~known).sum())
    return data[known].reset_index(drop=True), f"; {_text.count(gone, 'setting')} without both left out" if gone else ""


def _setting(row: Any, axes: Sequence[str]) -> str:
    """Return a setting in words: the template's name bare, parameters with theirs."""
    parts = [
        _style.named(row.iloc[place])
        if name in ("template", "model", "run")
        else f"{name} {_style.named(row.iloc[place])}"
        for place, name in enumerate(axes)
    ]
    return ", ".join(parts) or "all trials"


def _frontier(scores: list[float], costs: list[float], better: str) -> list[bool]:
    """Return which points no other point beats: as cheap and better, or cheaper and as good."""
    sign = 1 if better == "higher" else -1
    points = [(sign * score, -cost) for score, cost in zip(scores, costs, strict=True)]
    return [not any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in points) for a in points]


def _marks(by: list[_numbers.Levels], data: pd.DataFrame) -> dict[Any, tuple[str, str, str]]:
    """Return level of the first axis -> its label, colour and marker; of more levels than colours all are alike."""
    values = by[0].values if by else []
    if not 1 < len(values) <= len(_style.COLOURS):
        return {}
    return {
        _style.named(value): (label, _style.COLOURS[place], _style.MARKERS[place])
        for place, (value, label) in enumerate(zip(values, by[0].labels(24), strict=True))
    }


def _mark(row: Any, marks: dict[Any, tuple[str, str, str]]) -> tuple[str, str]:
    _, colour, marker = marks.get(_style.named(row.iloc[0]), ("", _style.COLOURS[0], "o"))
    return colour, marker


def _draw_points(ax: Axes, data: pd.DataFrame, marks: dict[Any, tuple[str, str, str]]) -> None:
    for _, row in data.iterrows():
        colour, marker = _mark(row, marks)
        ax.errorbar(
            row["cost"],
            row["mean"],
            xerr=[[row["cost"] - row["cost_low"]], [row["cost_high"] - row["cost"]]],
            yerr=[[row["mean"] - row["low"]], [row["high"] - row["mean"]]],
            color=colour,
            marker=marker,
            markersize=8 if row["frontier"] else 5.5,
            markerfacecolor=colour if row["frontier"] else "white",
            markeredgecolor=colour,
            elinewidth=1.1 if row["frontier"] else 0.7,
            alpha=1 if row["frontier"] else 0.55,
            zorder=3 if row["frontier"] else 2,
        )


def _badge(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text,
        (x, y),
        xytext=(7, 7),
        textcoords="offset points",
        fontsize=_style.SIZE,
        fontweight="bold",
        color=_style.ink(ax),
        bbox={"boxstyle": "circle,pad=0.15", "facecolor": ax.get_facecolor(), "edgecolor": "none", "alpha": 0.8},
        zorder=4,
    )


def _key(ax: Axes, front: pd.DataFrame, marks: dict[Any, tuple[str, str, str]], cost: str) -> None:
    """List at the right what the numbers and the markers are."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    handles, texts = [], []
    for place, (_, row) in enumerate(front.head(_MOST_LISTED).iterrows(), 1):
        colour, marker = _mark(row, marks)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7))
        numbers = f"{_style.number(row['mean'])} for {_amount(row['cost'], cost)}"
        texts.append(f"{place}  {_style.shown(row['setting'], 34)}\n    {numbers}")
    if len(front) > _MOST_LISTED:
        handles.append(Line2D([], [], linestyle="none"))
        texts.append(f"… and {len(front) - _MOST_LISTED} more, in .data")
    for label, colour, marker in marks.values():
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="none", markerfacecolor="white", markersize=5.5)
        )
        texts.append(label)
    ax.legend(
        handles, texts, loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=_style.SMALL, labelspacing=0.7,
        handletextpad=0.4,
    )  # fmt: skip


def _amount(value: float, cost: str) -> str:
    if math.isnan(value) or value < 0:
        return ""
    if cost == "cost_usd":
        return _text.usd(value)
    return milliseconds(value) if cost == "latency_ms" else _style.number(value)


def milliseconds(value: float) -> str:
    """Return a latency as a person would say it, e.g. `350 ms`, `1.25 s`."""
    return f"{_style.number(value)} ms" if value < 1000 else f"{_style.number(value / 1000)} s"  # noqa: PLR2004


def _alt(data: pd.DataFrame, front: pd.DataFrame, metric: str, cost: str) -> str:
    said = [
        f"{row['setting']} with {_style.number(row['mean'])} for {_amount(row['cost'], cost)}"
        for _, row in front.head(_MOST_LISTED).iterrows()
    ]
    return (
        f"Scatter plot of {metric} against {cost} for {_text.count(len(data), 'setting')}, of which {len(front)} are on "
        f"the frontier: {'; '.join(said)}; {_numbers.lost(data)}."
    )
