"""One row a level: how a metric is spread, how long answers take, what they are made of."""

from __future__ import annotations

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

    from promptlab.plots._numbers import Levels

_DOTS = 400  # of a level that are drawn; more are a blot
_MOST_LABELS = len(_style.COLOURS)
_CHAR_PT = 5.4  # the width of a character of the figures at the right, with air
_QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def distribution(frame: pd.DataFrame, metric: str, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw how a metric is spread within each level: dots and a box, or the share of each label."""
    is_label = _numbers.is_text(frame, metric)
    if not is_label:
        _numbers.values_of(frame, metric)
    if is_label or _units.unit_of(frame, metric).kind == "rate":
        return _shares(frame, metric, _levels(frame, by), is_label=is_label, ax=ax)
    return _spread(frame, metric, _levels(frame, by), ax=ax, kind="distribution")


def latency(frame: pd.DataFrame, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw how long answers took, on a logarithmic axis."""
    return _spread(frame, "latency_ms", _levels(frame, by), ax=ax, kind="latency")


def _levels(frame: pd.DataFrame, by: str | None) -> Levels:
    """Return the levels of a column, or one for all trials."""
    return _numbers.one_level(frame) if by is None else _numbers.levels(frame, by, "by")


def name_rows(ax: Axes, names: Sequence[str], column: str = "") -> None:
    """Name the rows at the left, the first at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_ylabel(_style.shown(column, 30) if column else "")


def beside(ax: Axes, rows: Sequence[float], heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Write columns of figures at the right of the axes, a line a row."""
    at = 4.0
    top = ax.get_ylim()[1]
    for column, head in enumerate(heads):
        texts = [line[column] for line in lines]
        at += _CHAR_PT * (max(len(head), *map(len, texts)) + 1.5)
        for row, text, is_head in [
            (top, head, True),
            *((row, text, False) for row, text in zip(rows, texts, strict=True)),
        ]:
            ax.annotate(
                text,
                (1, row),
                xycoords=("axes fraction", "data"),
                xytext=(at, 2 if is_head else 0),
                textcoords="offset points",
                ha="right",
                va="bottom" if is_head else "center",
                fontsize=_style.SMALL,
                color=_style.quiet(ax) if is_head else _style.ink(ax),
                annotation_clip=False,
            )


def at_end(ax: Axes, x: float, row: int, text: str) -> None:
    """Write a figure at the end of a bar."""
    ax.annotate(
        text,
        (x, row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=_style.SMALL,
        color=_style.ink(ax),
    )


def _by(levels: Levels) -> str:
    return f" by {levels.name}" if levels.name else ""


def _of(levels: Levels, place: tuple[int, ...]) -> str:
    return _style.said(levels.values[place[0]])


# Spread of numbers


def _spread(frame: pd.DataFrame, metric: str, levels: Levels, *, ax: Axes | None, kind: str) -> Plot:
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    values = _numbers.values_of(frame, metric)
    data, places = _numbers.cells(frame, metric, [levels])
    quantiles = values.groupby(levels.codes).quantile(np.array(list(_QUANTILES.values()))).unstack()
    data[list(_QUANTILES)] = quantiles.reindex([place[0] for place in places]).to_numpy()
    own, unit = ax is None, _units.unit_of(frame, metric)
    with _style.styled(own=own):
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=0.52, rest=1.45))
        name_rows(ax, levels.labels(), levels.name)
        for (row,), (_, cell) in zip(places, data.iterrows(), strict=True):
            _row(ax, values[levels.codes == row].dropna().sort_values().to_numpy(), row, cell, unit.factor)
        if unit.kind == "ms" and values.min() > 0:
            _units.log_axis(ax.xaxis)
        unit.format(ax.xaxis)
        ax.set_xlabel(f"{unit.label} of an answer" if unit.kind == "ms" else unit.label)
        _quantiles_beside(ax, data, places, unit, "p95" if kind == "latency" else "mean")
        dots = f" (at most {_DOTS} a row, evenly chosen)" if data["n"].max() > _DOTS else ""
        note = (
            f"Dots are answers{dots}. The box holds the middle half, its line is the median, the whisker reaches from "
            f"5 to 95 %. Diamond: the mean with its 95 % interval over cases; {_numbers.lost(data)}."
        )
        alt = _spread_alt(data, places, metric, levels, unit=unit, kind=kind)
        title = f"{metric} of {_text.count(int(data['n'].sum()), 'answer')}{_by(levels)}"
        return finished(kind, ax, data, own=own, title=title, alt=alt, note=note)


def _row(ax: Axes, values: Any, row: int, cell: Any, factor: float) -> None:
    """Draw the dots, the box and the mean of a level; dots are spread by a fixed sequence."""
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    if not len(values):
        return
    some = values[np.linspace(0, len(values) - 1, min(len(values), _DOTS)).round().astype(int)] * factor
    aside = (np.arange(len(some)) * 0.6180339887 % 1 - 0.5) * 0.5  # the golden ratio fills a range evenly
    ax.scatter(
        some, row - 0.12 + aside, s=7, color=_style.COLOURS[0], alpha=0.28, linewidths=0, zorder=2, rasterized=True
    )
    low, left, middle, right, high = (cell[name] * factor for name in _QUANTILES)
    ax.plot([low, high], [row - 0.12] * 2, color=_style.ink(ax), linewidth=1.0, zorder=3)
    ax.barh(row - 0.12, right - left, left=left, height=0.32, zorder=4, **_BOX)
    ax.plot([middle] * 2, [row - 0.28, row + 0.04], color="black", linewidth=2.2, zorder=5, solid_capstyle="butt")
    mean, ends = (
        cell["mean"] * factor,
        [[max(0.0, cell["mean"] - cell["low"])], [max(0.0, cell["high"] - cell["mean"])]],
    )
    ax.errorbar(
        mean,
        row + 0.3,
        xerr=None if math.isnan(cell["low"]) else [[side[0] * factor] for side in ends],
        color=_style.COLOURS[1],
        marker="D",
        markersize=4,
        capsize=2.5,
        zorder=5,
    )


_BOX: dict[str, Any] = {"facecolor": "white", "edgecolor": "black", "linewidth": 1.0}


def _quantiles_beside(ax: Axes, data: pd.DataFrame, places: Any, unit: Unit, second: str) -> None:
    lines = [[unit.bare(row["p50"]), unit.bare(row[second]), f"{row['n']:,.0f}"] for _, row in data.iterrows()]
    beside(ax, [place[0] for place in places], ("median", "95 % below" if second == "p95" else "mean", "n"), lines)


def _spread_alt(
    data: pd.DataFrame, places: list[tuple[int, ...]], metric: str, levels: Levels, *, unit: Unit, kind: str
) -> str:
    def told(at: int) -> str:
        row: Any = data.loc[at]
        spread = f"the middle half {unit.bare(row['p25'])} to {unit.bare(row['p75'])}"
        if kind == "latency":
            spread = f"95 % below {unit.bare(row['p95'])}"
        return f"{unit.text(row['p50'])} ({spread})"

    (low, high), lost = _numbers.extremes(data["p50"]), _numbers.lost(data)
    if len(data) == 1:
        return f"Dots and a box of {metric} of {data['n'].sum():,} answers: the median is {told(low)}; {lost}."
    return (
        f"Dots and boxes of {metric}{_by(levels)}, {len(data)} rows: the lowest median is that of "
        f"{_of(levels, places[low])}, {told(low)}, the highest that of {_of(levels, places[high])}, {told(high)}; "
        f"{lost}."
    )


# Shares of labels


def _shares(frame: pd.DataFrame, metric: str, levels: Levels, *, is_label: bool, ax: Axes | None) -> Plot:
    """Draw the share of each label in each level, with its interval; of a yes or no, the share of yes."""
    data, labels = _share_table(frame, metric, levels, is_label=is_label)
    own, names, per_row = ax is None, _style.labels(labels, 26), len(labels)
    with _style.styled(own=own):
        each = max(0.36, 0.16 * per_row + 0.12)
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=each, rest=1.5))
        name_rows(ax, levels.labels(), levels.name)
        for row in range(1, len(levels.values) if is_label else 1):
            ax.axhline(row - 0.5, color=_style.FAINT, linewidth=0.8, zorder=0)
        for place, name in enumerate(names):
            _draw_share(ax, data[data["place"] == place], (place - (per_row - 1) / 2) * 0.72 / per_row, place, name)
        unit = Unit(metric, "rate")
        unit.format(ax.xaxis)
        ax.set_xlim(-0.02, 1.02)
        ax.set_xlabel(f"share of answers {'by' if is_label else 'with'} {unit.label}{'' if is_label else ' = 1'}")
        if is_label:
            ax.legend(title=unit.label, alignment="left", loc="upper left", bbox_to_anchor=(1.0, 1.03), handlelength=1)
        else:
            _share_beside(ax, data, unit)
        counted = data[data["place"] == 0]
        note = f"Marks are shares, bars their 95 % intervals over cases; {_numbers.sizes(counted, 'row')}."
        alt = _share_alt(data, metric, levels, labels, is_label=is_label)
        data = data.drop(columns=["place", "row"])
        return finished("distribution", ax, data, own=own, title=f"{metric}{_by(levels)}", alt=alt, note=note)


def _draw_share(ax: Axes, part: pd.DataFrame, aside: float, place: int, name: str) -> None:
    drawn = ax.errorbar(
        part["mean"],
        part["row"] + aside,
        xerr=_numbers.ends(part),
        color=_style.COLOURS[place],
        marker=_style.MARKERS[place],
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="none",
        capsize=2.5,
    )
    drawn.lines[0].set_label(name)  # the legend names the mark, without its bars


def _share_beside(ax: Axes, data: pd.DataFrame, unit: Unit) -> None:
    lines = [[unit.text(row["mean"]), unit.ends(row), f"{row['n']:,.0f}"] for _, row in data.iterrows()]
    beside(ax, data["row"].to_list(), ("share", "95 % interval", "n"), lines)


def _share_table(frame: pd.DataFrame, metric: str, levels: Levels, *, is_label: bool) -> tuple[pd.DataFrame, list[Any]]:
    """Return one row a level and label, and the labels, the most frequent first; of 0 and 1 only the 1."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    answers = _numbers.answered(frame, metric)
    if answers.isna().all():
        msg = f"metric {metric!r} has no label in any of {_text.count(len(frame), 'trial')}"
        raise AnalysisError(msg)
    labels = list(answers.dropna().astype(str).value_counts().index) if is_label else [1.0]
    if len(labels) > _MOST_LABELS:
        msg = f"metric {metric!r} has {len(labels):,} different labels; a plot can tell {_MOST_LABELS} apart"
        raise AnalysisError(msg)
    texts = answers.astype(str) if is_label else answers.astype("float64")
    parts = []
    for place, label in enumerate(labels):
        hit = (texts == label).astype("float64").where(answers.notna())
        part, places = _numbers.cells(frame.assign(**{metric: hit}), metric, [levels])
        part.insert(1, "label", label)
        parts.append(part.assign(place=place, row=[at[0] for at in places]))
    return pd.concat(parts, ignore_index=True), labels


def _share_alt(data: pd.DataFrame, metric: str, levels: Levels, labels: list[Any], *, is_label: bool) -> str:
    unit = Unit(metric, "rate")

    def told(at: int) -> str:
        row: Any = data.loc[at]
        of = f"{_style.said(labels[int(row['place'])])} in " if is_label else ""
        return f"{of}{_of(levels, (int(row['row']),))}, {unit.interval(row)}"

    what = (
        f"the shares of {_text.count(len(labels), 'label')} of {metric}" if is_label else f"the share of {metric} = 1"
    )
    lost = _numbers.lost(data[data["place"] == 0])
    least, most = map(told, _numbers.extremes(data["mean"]))
    ends = most if len(data) == 1 else f"largest is {most}, smallest is {least}"
    return f"Dot plot of {what}{_by(levels)}: {ends}; {lost}."


# Tokens

_PIECES = (
    ("prompt, cached", _style.COLOURS[4], "////"),
    ("prompt", _style.COLOURS[0], ""),
    ("reasoning", _style.COLOURS[5], "...."),
    ("answer", _style.COLOURS[1], "\\\\\\\\"),
)


def tokens(frame: pd.DataFrame, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw what the mean answer's tokens are: of the prompt and of the answer, cached and reasoning apart."""
    levels, pieces = _levels(frame, by), _token_pieces(frame)
    whole = frame.assign(total_tokens=pieces.sum(axis=1, skipna=False))  # the provider's total counts an attempt's
    data, places = _numbers.cells(whole, "total_tokens", [levels])
    rows, own = [place[0] for place in places], ax is None
    data[[name for name, _, _ in _PIECES]] = pieces.groupby(levels.codes).mean().reindex(rows).to_numpy()
    with _style.styled(own=own):
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=0.36, rest=1.6))
        name_rows(ax, levels.labels(), levels.name)
        _draw_pieces(ax, data, rows)
        ax.errorbar(data["mean"], rows, xerr=_numbers.ends(data), fmt="none", color="black", capsize=3, linewidth=1.2)
        unit = Unit("total_tokens", "plain")
        for row, (_, cell) in zip(rows, data.iterrows(), strict=True):
            if not math.isnan(cell["mean"]):
                at_end(ax, max(cell["mean"], cell["high"]), row, unit.bare(cell["mean"]))
        ax.margins(x=0.1)
        ax.set_xlim(left=0)
        ax.set_xlabel("mean tokens of an answer with its prompt")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03))
        note = (
            f"As the server counted them. The black bars are 95 % intervals of the whole over cases; "
            f"{_numbers.sizes(data, 'row')}."
        )
        alt = _token_alt(data, places, levels, unit)
        return finished("tokens", ax, data, own=own, title=f"tokens{_by(levels)}", alt=alt, note=note)


def _draw_pieces(ax: Axes, data: pd.DataFrame, rows: list[int]) -> None:
    left = data["mean"] * 0.0
    for name, colour, hatch in _PIECES:
        if data[name].fillna(0).any():
            ax.barh(rows, data[name], left=left, height=0.62, color=colour, hatch=hatch, edgecolor="white", label=name)
        left = left + data[name].fillna(0)


def _token_pieces(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the four parts of each trial's tokens; cached or reasoning ones that the server does not tell are none."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    prompt, answer = (_numbers.values_of(frame, name) for name in ("prompt_tokens", "completion_tokens"))
    cached, reasoning = (
        _numbers.answered(frame, name).astype("Float64").astype("float64").fillna(0.0)
        for name in ("cached_tokens", "reasoning_tokens")
    )
    cached, reasoning = cached.where(prompt.notna()), reasoning.where(answer.notna())
    parts = (cached, prompt - cached, reasoning, answer - reasoning)
    return pd.DataFrame(dict(zip((name for name, _, _ in _PIECES), parts, strict=True)))


def _token_alt(data: pd.DataFrame, places: list[tuple[int, ...]], levels: Levels, unit: Unit) -> str:
    def told(at: int) -> str:
        row: Any = data.loc[at]
        return f"{unit.interval(row)}, {unit.bare(row['prompt'] + row['prompt, cached'])} of them the prompt"

    (least, most), lost = _numbers.extremes(data["mean"]), _numbers.lost(data)
    if len(data) == 1:
        return f"Bar of the mean tokens of an answer with its prompt: {told(most)}; {lost}."
    return (
        f"Bars of the mean tokens of an answer with its prompt{_by(levels)}: most has {_of(levels, places[most])}, "
        f"{told(most)}, least {_of(levels, places[least])}, {told(least)}; {lost}."
    )
