"""Lines: a metric over one column, and money over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import PlotError
from promptlab.plots import _numbers, _style
from promptlab.plots._numbers import Levels
from promptlab.plots._plot import Plot, finished

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_TOLD_APART = len(_style.COLOURS)  # lines; the rest are drawn in grey
_DODGE = 0.012  # of the x axis, between the bars of two lines at one place
_STEP = 0.13  # the same between marks in a category


def line(frame: pd.DataFrame, metric: str, x: str, by: str | None, *, better: str, ax: Axes | None) -> Plot:
    """Draw the mean of a metric over x, one line a level of `by`, with intervals."""
    across = _numbers.levels(frame, x, "x")
    series = [] if by is None else [_numbers.levels(frame, by, "by")]
    data, places = _numbers.cells(frame, metric, [across, *series])
    own, names = ax is None, series[0].labels(26) if series else [""]
    with _style.styled(ax):
        ax = ax or _style.new_axes(3.9)
        first = _by_rank(data, places, better, series[0] if series else None)
        for rank in reversed(range(len(first))):
            _draw_one(ax, data, places, across, first[rank], rank, min(len(first), _TOLD_APART), names)
        _name_x(ax, across)
        ax.set_ylabel(_style.shown(metric, 40))
        _bound(ax, data)
        if series:
            _key(ax, first, names, data, places)
        title = f"{metric} by {x}" + (f" and {by}" if by else "")
        note = f"Marks are means, bars their 95 % intervals by case; {_numbers.sizes(data, 'mark')}."
        if len(first) > _TOLD_APART:
            note += f" Coloured: the {_TOLD_APART} with the best mean of {len(first)}; all are in .data."
        alt = _alt(data, places, metric, x, names, better)
        return finished("line", ax, data, own=own, title=_style.shown(title, 140), alt=alt, note=_style.drawable(note))


def _by_rank(data: pd.DataFrame, places: list[tuple[int, ...]], better: str, series: Levels | None) -> list[int]:
    """Return the series in the order in which they get colours: as they come, or the best first where some get none."""
    if series is None:
        return [0]
    found = sorted({place[1] for place in places})
    if len(found) <= _TOLD_APART:
        return found
    means = data["mean"].groupby([place[1] for place in places]).mean()
    return [int(name) for name in means.sort_values(ascending=better == "lower").index]


def _draw_one(
    ax: Axes,
    data: pd.DataFrame,
    places: list[tuple[int, ...]],
    across: Levels,
    code: int,
    rank: int,
    number: int,
    names: list[str],
) -> None:
    rows = [at for at, place in enumerate(places) if place[1:] in ((code,), ())]
    part = data.iloc[rows]
    is_grey = rank >= _TOLD_APART
    steps = 0.0 if is_grey else rank - (number - 1) / 2
    if across.is_number:
        span = (across.values[-1] - across.values[0]) or 1.0
        xs = [across.values[places[at][0]] + steps * _DODGE * span for at in rows]
    else:
        xs = [places[at][0] + steps * _STEP for at in rows]
    colour = "#B6BEC8" if is_grey else _style.COLOURS[rank]
    ax.errorbar(
        xs,
        part["mean"],
        yerr=[part["mean"] - part["low"], part["high"] - part["mean"]],
        color=colour,
        marker="." if is_grey else _style.MARKERS[rank],
        markersize=4 if is_grey else 6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle=("-" if is_grey else _style.DASHES[rank]) if across.is_number else "none",
        linewidth=0.8 if is_grey else 1.6,
        elinewidth=0.6 if is_grey else 1.1,
        capsize=0 if is_grey else 2.5,
        label=names[code],
        zorder=2 if is_grey else 3,
    )


def _name_x(ax: Axes, across: Levels) -> None:
    ax.set_xlabel(_style.shown(across.name, 60))
    if across.is_number and len(across.values) <= 12:  # noqa: PLR2004 - more labels run into one another
        ax.set_xticks(across.values, across.labels(8))
    elif not across.is_number:
        chars = max(6, 90 // len(across.values))
        turn = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(across.values) > 6 else {}  # noqa: PLR2004
        ax.set_xticks(range(len(across.values)), across.labels(22 if turn else chars), **turn)
        ax.set_xlim(-0.6, len(across.values) - 0.4)
        ax.grid(visible=False, axis="x")


def _bound(ax: Axes, data: pd.DataFrame) -> None:
    """Show all of 0 to 1 where most of it is taken, so that the eye is not told that a small difference is large."""
    low, high = data["low"].fillna(data["mean"]).min(), data["high"].fillna(data["mean"]).max()
    if low >= 0 and high <= 1 and high - low > 0.4:  # noqa: PLR2004 - as the docstring says
        ax.set_ylim(-0.02, 1.02)


def _key(ax: Axes, first: list[int], names: list[str], data: pd.DataFrame, places: list[tuple[int, ...]]) -> None:
    """List the lines at the right, in the order of their ends."""
    handles, said = ax.get_legend_handles_labels()
    by_name = dict(zip(said, handles, strict=True))
    ends = {place[1]: data["mean"].iloc[at] for at, place in enumerate(places)}  # the last place of each remains
    told = sorted(first[:_TOLD_APART], key=lambda code: -ends[code])
    entries = [by_name[names[code]] for code in told]
    texts = [names[code] for code in told]
    if len(first) > _TOLD_APART:
        entries.append(by_name[names[first[_TOLD_APART]]])
        texts.append(f"{len(first) - _TOLD_APART} others")
    ax.legend(entries, texts, loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=2.6)


def _alt(data: pd.DataFrame, places: list[tuple[int, ...]], metric: str, x: str, names: list[str], better: str) -> str:
    best, worst = data["mean"].idxmax(), data["mean"].idxmin()
    if better == "lower":
        best, worst = worst, best

    def said(at: Any) -> str:
        of = f"{names[places[at][1]]} at " if len(places[at]) > 1 else ""
        level = _style.named(data.iloc[at, 0])
        return f"{of}{x} {level}, {_numbers.interval_text(data.loc[at])}"

    lines = f", one line for each of {_text.count(len({p[1:] for p in places}), 'level')}" if names != [""] else ""
    return (
        f"Line plot of {metric} over {x}{lines}: best is {said(best)}, worst is {said(worst)}; {_numbers.lost(data)}."
    )


# Money over time


def cost(attempts: pd.DataFrame | None, name: str, *, ax: Axes | None) -> Plot:
    """Draw what was spent, attempt by attempt."""
    data = _spent(attempts)
    own, unknown = ax is None, int(data["cost_usd"].isna().sum())
    total, seconds = float(data["total_usd"].iloc[-1]), float(data["seconds"].iloc[-1])
    with _style.styled(ax):
        ax = ax or _style.new_axes(3.0)
        unit, scale = next((u, s) for u, s in _UNITS if seconds >= 2 * s or s == 1)
        ax.step(data["seconds"] / scale, data["total_usd"], where="post", color=_style.COLOURS[0], linewidth=1.8)
        bad = data[data["state"] != "ok"]
        if len(bad):
            ax.plot(
                bad["seconds"] / scale, bad["total_usd"], "x", color=_style.COLOURS[1], label="attempt without answer"
            )
            ax.legend(loc="upper left")
        ax.plot([seconds / scale], [total], "o", color=_style.COLOURS[0])
        ax.annotate(
            _text.usd(total),
            (seconds / scale, total),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold",
            color=_style.ink(ax),
        )
        ax.set_xlabel(f"{unit} since the first attempt")
        ax.set_ylabel("USD, added up")
        ax.yaxis.set_major_formatter(lambda value, _: _text.usd(value) if value >= 0 else "")
        ax.set_ylim(0, max(total * 1.08, 1e-9))
        ax.margins(x=0.02)
        unanswered = f", {len(bad):,} without an answer" if len(bad) else ""
        left_out = f"; the cost of {unknown:,} is unknown and not in it" if unknown else ""
        asked = f"{_text.count(len(data), 'attempt')}{unanswered}"
        note = f"Cost at the time of sending: {asked}{left_out}. No interval: this is what was spent."
        span = _text.duration(seconds)
        alt = f"Step plot of money spent by {name}: {_text.usd(total)} after {span} and {asked}{left_out}."
        return finished(
            "cost", ax, data, own=own, title=_style.shown(f"money spent over time by {name}", 120), alt=alt, note=note
        )


_UNITS = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))


def _spent(attempts: pd.DataFrame | None) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    if attempts is None or attempts.empty:
        msg = "cost() has no attempts to draw: nothing was sent yet, or all answers were reused"
        raise PlotError(msg)
    data = attempts[["sent_at", "state", "cost_usd"]].copy()
    data["sent_at"] = pd.to_datetime(data["sent_at"], utc=True, format="ISO8601")
    data["cost_usd"] = pd.to_numeric(data["cost_usd"]).astype("float64")
    data = data.sort_values("sent_at", kind="stable", ignore_index=True)
    if data["cost_usd"].isna().all():
        msg = f"cost() knows no price of {_text.count(len(data), 'attempt')}; give the lab the model's price"
        raise PlotError(msg)
    data["seconds"] = (data["sent_at"] - data["sent_at"].iloc[0]).dt.total_seconds()
    data["total_usd"] = data["cost_usd"].fillna(0.0).cumsum()
    return data
