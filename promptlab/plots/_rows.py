"""One row a level: how a metric is spread, how long answers take, what they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import PlotError
from promptlab.plots import _numbers, _style
from promptlab.plots._fronts import milliseconds
from promptlab.plots._plot import Plot, finished

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DOTS = 400  # of a level that are drawn; more are a blot
_MOST_LABELS = len(_style.COLOURS)
_SIDE = 1.015  # where the column of figures at the right begins, in the axes' own widths


def distribution(frame: pd.DataFrame, metric: str, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw how a metric is spread within each level: dots and a box, or the share of each label."""
    levels = _levels(frame, by)
    if _numbers.is_text(frame, metric) or _numbers.is_rate(_numbers.values_of(frame, metric)):
        return _shares(frame, metric, levels, ax=ax)
    return _spread(frame, metric, levels, ax=ax, kind="distribution")


def latency(frame: pd.DataFrame, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw how long answers took, on a logarithmic axis."""
    return _spread(frame, "latency_ms", _levels(frame, by), ax=ax, kind="latency")


def _levels(frame: pd.DataFrame, by: str | None) -> _numbers.Levels:
    """Return the levels of a column, or one for all trials."""
    if by is not None:
        return _numbers.levels(frame, by, "by")
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    return _numbers.Levels("trials", ["all trials"], np.zeros(len(frame), dtype=np.intp), is_number=False)


# Spread of numbers


def _spread(frame: pd.DataFrame, metric: str, levels: _numbers.Levels, *, ax: Axes | None, kind: str) -> Plot:
    values = _numbers.values_of(frame, metric)
    data, places = _numbers.cells(frame, metric, [levels])
    for share, name in ((0.05, "p5"), (0.25, "p25"), (0.5, "p50"), (0.75, "p75"), (0.95, "p95")):
        data[name] = values.groupby(levels.codes).quantile(share).reindex([place[0] for place in places]).to_numpy()
    own, is_time = ax is None, metric == "latency_ms"
    say: Callable[[float], str] = milliseconds if is_time else _style.number
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=0.46, rest=1.35))
        for row, (_, cell) in zip(places, data.iterrows(), strict=True):
            _row(ax, values[levels.codes == row[0]].dropna().sort_values().to_numpy(), row[0], cell)
        if is_time and values.min() > 0:
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: say(value))
        ax.xaxis.set_minor_formatter(lambda *_: "")
        _name_rows(ax, levels)
        heads = ("median", "95 %", "n") if kind == "latency" else ("median", "mean", "n")
        picked = [("p50", "p95", "n") if kind == "latency" else ("p50", "mean", "n")]
        cells = [[say(row[a]), say(row[b]), f"{row[c]:,.0f}"] for _, row in data.iterrows() for a, b, c in picked]
        _beside(ax, [place[0] for place in places], heads, cells, len(levels.values))
        ax.set_xlabel("latency of an answer" if is_time else _style.shown(metric))
        dots = f" (at most {_DOTS} a row, evenly drawn)" if data["n"].max() > _DOTS else ""
        note = (
            f"Dots are answers{dots}; the box holds the middle half, the line in it is the median, the whisker reaches "
            f"from 5 to 95 %. The diamond is the mean with its 95 % interval by case; {_numbers.lost(data)}."
        )
        alt = _spread_alt(data, metric, levels, say, kind)
        title = _style.shown(f"{metric} of {_text.count(int(data['n'].sum()), 'answer')}{_by(levels)}", 120)
        return finished(kind, ax, data, own=own, title=title, alt=alt, note=_style.drawable(note))


def _row(ax: Axes, values: Any, row: int, cell: Any) -> None:
    """Draw the dots and the box of a level; dots are spread by a fixed sequence, so that a plot is always the same."""
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    if not len(values):
        return
    some = values[np.linspace(0, len(values) - 1, min(len(values), _DOTS)).round().astype(int)]
    aside = (np.arange(len(some)) * 0.6180339887 % 1 - 0.5) * 0.62  # the golden ratio fills a range evenly
    colour = _style.COLOURS[0]
    ax.scatter(some, row + aside, s=7, color=colour, alpha=0.28, linewidths=0, zorder=2, rasterized=True)
    ax.plot([cell["p5"], cell["p95"]], [row, row], color=_style.ink(ax), linewidth=1.0, zorder=3)
    ax.barh(row, cell["p75"] - cell["p25"], left=cell["p25"], height=0.36, zorder=4, **_BOX)
    ax.plot([cell["p50"]] * 2, [row - 0.18, row + 0.18], color="black", linewidth=2.2, zorder=5, solid_capstyle="butt")
    ax.errorbar(
        cell["mean"],
        row + 0.31,
        xerr=[[cell["mean"] - cell["low"]], [cell["high"] - cell["mean"]]],
        color=_style.COLOURS[1],
        marker="D",
        markersize=4.5,
        capsize=2.5,
        zorder=5,
    )


_BOX: dict[str, Any] = {"facecolor": "white", "edgecolor": "black", "linewidth": 1.0, "alpha": 0.85}


def _name_rows(ax: Axes, levels: _numbers.Levels) -> None:
    ax.set_yticks(range(len(levels.values)), levels.labels())
    ax.set_ylim(len(levels.values) - 0.4, -0.6)  # the first at the top
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_ylabel("" if levels.name == "trials" else _style.shown(levels.name))


def _beside(ax: Axes, rows: list[int], heads: tuple[str, ...], cells: list[list[str]], number: int) -> None:
    """Write a column of figures for each head at the right of the axes."""
    at = 0.0
    for column, head in enumerate(heads):
        texts = [line[column] for line in cells]
        at += 0.16 * max(len(head), *map(len, texts)) * 0.075 / 0.1 + 0.03
        for row, text in [(-0.6, head), *zip(rows, texts, strict=True)]:
            ax.annotate(
                text,
                (_SIDE, row),
                xycoords=("axes fraction", "data"),
                xytext=(at * 60, 0),
                textcoords="offset points",
                ha="right",
                va="bottom" if text is head else "center",
                fontsize=_style.SMALL,
                color=_style.quiet(ax) if text is head else _style.ink(ax),
                annotation_clip=False,
            )


def _by(levels: _numbers.Levels) -> str:
    return "" if levels.name == "trials" else f" by {levels.name}"


def _spread_alt(
    data: pd.DataFrame, metric: str, levels: _numbers.Levels, say: Callable[[float], str], kind: str
) -> str:
    low, high = data["p50"].idxmin(), data["p50"].idxmax()

    def said(at: Any) -> str:
        row = data.iloc[at]
        far = (
            f", 95 % are below {say(row['p95'])}"
            if kind == "latency"
            else f", middle half {say(row['p25'])} to {say(row['p75'])}"
        )
        return f"{_style.named(row.iloc[0])} with {say(row['p50'])}{far}"

    if len(data) == 1:
        return f"Dots and a box of {metric}, {data['n'].sum():,} answers: the median is {said(low)[len('all trials with ') :] if levels.name == 'trials' else said(low)}; {_numbers.lost(data)}."
    return (
        f"Dots and boxes of {metric}{_by(levels)}, {len(data)} rows: the lowest median is that of {said(low)}, the "
        f"highest that of {said(high)}; {_numbers.lost(data)}."
    )


# Shares of labels


def _shares(frame: pd.DataFrame, metric: str, levels: _numbers.Levels, *, ax: Axes | None) -> Plot:
    """Draw the share of each label in each level, with its interval; of a yes or no, the share of yes."""
    data, labels = _share_table(frame, metric, levels)
    own, names = ax is None, _style.labels(labels, 26)
    per_row = len(labels)
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=max(0.34, 0.16 * per_row + 0.12), rest=1.4))
        for place, name in enumerate(names):
            part = data[data["place"] == place]
            ax.errorbar(
                part["mean"],
                part["row"] + (place - (per_row - 1) / 2) * 0.72 / per_row,
                xerr=[part["mean"] - part["low"], part["high"] - part["mean"]],
                color=_style.COLOURS[place],
                marker=_style.MARKERS[place],
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.6,
                linestyle="none",
                capsize=2.5,
                label=name,
            )
        _name_rows(ax, levels)
        for row in range(1, len(levels.values)):
            ax.axhline(row - 0.5, color="#E6EAEF", linewidth=0.8, zorder=0)
        ax.set_xlim(-0.02, 1.02)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        is_yes = per_row == 1
        ax.set_xlabel(
            _style.shown(f"share of answers with {metric} = 1" if is_yes else f"share of answers by {metric}")
        )
        if not is_yes:
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
        sizes = data[data["place"] == 0]
        note = f"Marks are shares, bars their 95 % intervals by case; {_numbers.sizes(sizes, 'row')}."
        alt = _share_alt(data, metric, levels, names)
        title = _style.shown(f"{metric}{_by(levels)}", 120)
        data = data.drop(columns=["place", "row"])
        return finished("distribution", ax, data, own=own, title=title, alt=alt, note=_style.drawable(note))


def _share_table(frame: pd.DataFrame, metric: str, levels: _numbers.Levels) -> tuple[pd.DataFrame, list[Any]]:
    """Return one row a level and label, and the labels, the most frequent first; of 0 and 1 only the 1."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    answers = frame[metric].where(_numbers.is_answered(frame))
    is_label = _numbers.is_text(frame, metric)
    if is_label and answers.notna().sum() == 0:
        _numbers.values_of(frame.assign(**{metric: math.nan}), metric)  # raises, and says why
    labels = list(answers.dropna().value_counts().index) if is_label else [1.0]
    if len(labels) > _MOST_LABELS:
        msg = f"metric={metric!r} has {len(labels):,} different labels; a plot can tell {_MOST_LABELS} apart"
        raise PlotError(msg)
    numbers = answers if is_label else _numbers.values_of(frame, metric)
    parts = []
    for place, label in enumerate(labels):
        hit = (numbers == label).astype("float64").where(numbers.notna())
        part, places = _numbers.cells(frame.assign(**{metric: hit}), metric, [levels])
        part.insert(1, "label", label)
        parts.append(part.assign(place=place, row=[at[0] for at in places]))
    return pd.concat(parts, ignore_index=True), labels


def _share_alt(data: pd.DataFrame, metric: str, levels: _numbers.Levels, names: list[str]) -> str:
    def said(row: Any) -> str:
        of = "" if len(names) == 1 else f"{names[int(row['place'])]} in "
        return f"{of}{_style.named(row.iloc[0])}, {_numbers.interval_text(row)}"

    most, least = data.loc[data["mean"].idxmax()], data.loc[data["mean"].idxmin()]
    what = f"the share of {metric} = 1" if len(names) == 1 else f"the shares of {len(names)} labels of {metric}"
    lost = _numbers.lost(data[data["place"] == 0])
    return f"Dot plot of {what}{_by(levels)}: largest is {said(most)}, smallest is {said(least)}; {lost}."


# Tokens

_PIECES = (
    ("prompt, cached", _style.COLOURS[4], "////"),
    ("prompt", _style.COLOURS[0], ""),
    ("reasoning", _style.COLOURS[5], "...."),
    ("answer", _style.COLOURS[1], "\\\\\\\\"),
)


def tokens(frame: pd.DataFrame, by: str | None, *, ax: Axes | None) -> Plot:
    """Draw what the mean answer's tokens are: of the prompt and of the answer, cached and reasoning apart."""
    levels = _levels(frame, by)
    pieces = _token_pieces(frame)
    own = ax is None
    total = frame.assign(**{_TOTAL: pieces.sum(axis=1, skipna=False)})
    data, places = _numbers.cells(total, _TOTAL, [levels])
    means = pieces.groupby(levels.codes).mean()
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(levels.values), each=0.36, rest=1.5))
        rows, left = [place[0] for place in places], 0.0
        for name, colour, hatch in _PIECES:
            data[name] = means[name].reindex(rows).to_numpy()
            if data[name].fillna(0).any():
                ax.barh(
                    rows, data[name], left=left, height=0.62, color=colour, hatch=hatch, edgecolor="white", label=name
                )
            left = left + data[name].fillna(0)
        ends = [data["mean"] - data["low"], data["high"] - data["mean"]]
        ax.errorbar(data["mean"], rows, xerr=ends, fmt="none", color=_style.ink(ax), capsize=3, linewidth=1.2)
        for row, (_, cell) in zip(rows, data.iterrows(), strict=True):
            _at_end(
                ax, cell["high"] if not math.isnan(cell["high"]) else cell["mean"], row, _style.number(cell["mean"])
            )
        _name_rows(ax, levels)
        ax.margins(x=0.08)
        ax.set_xlim(left=0)
        ax.set_xlabel("mean tokens of an answer and its prompt")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
        note = (
            f"As the server counted them. Bars at the ends are 95 % intervals of the whole by case; "
            f"{_numbers.sizes(data, 'row')}."
        )
        alt = _token_alt(data, levels)
        return finished(
            "tokens", ax, data, own=own, title=_style.shown(f"tokens{_by(levels)}", 120), alt=alt, note=note
        )


_TOTAL = "tokens of the prompt and the answer"


def _token_pieces(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the four parts of each trial's tokens; cached or reasoning ones that the server does not tell are none."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    def counted(name: str) -> pd.Series[float]:
        return pd.to_numeric(frame[name], errors="coerce").astype("float64").where(_numbers.is_answered(frame))

    prompt, answer = (_numbers.values_of(frame, name) for name in ("prompt_tokens", "completion_tokens"))
    cached, reasoning = (counted(name).fillna(0.0) for name in ("cached_tokens", "reasoning_tokens"))
    parts = (cached.where(prompt.notna()), prompt - cached, reasoning.where(answer.notna()), answer - reasoning)
    return pd.DataFrame(dict(zip((name for name, _, _ in _PIECES), parts, strict=True)))


def _at_end(ax: Axes, x: float, row: int, text: str) -> None:
    ax.annotate(
        text,
        (x, row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=_style.SMALL,
        color=_style.ink(ax),
    )


def _token_alt(data: pd.DataFrame, levels: _numbers.Levels) -> str:
    def said(at: Any) -> str:
        row = data.iloc[at]
        prompt = _style.number(row["prompt"] + row["prompt, cached"])
        of = "" if levels.name == "trials" else f"{_style.named(row.iloc[0])} with "
        return f"{of}{_numbers.interval_text(row)}, {prompt} of them the prompt"

    most, least = data["mean"].idxmax(), data["mean"].idxmin()
    if len(data) == 1:
        return f"Bar of the mean tokens of an answer: {said(most)}; {_numbers.lost(data)}."
    return f"Bars of the mean tokens of an answer{_by(levels)}: most has {said(most)}, least {said(least)}; {_numbers.lost(data)}."
