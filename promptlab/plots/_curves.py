"""Lines: a metric over one column, and money over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _numbers, _style, _units
from promptlab.plots._numbers import Levels
from promptlab.plots._plot import Plot, finished
from promptlab.plots._units import Unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_TOLD_APART = len(_style.COLOURS)  # lines; the rest are drawn in grey
_GREY = "#B6BEC8"
_DODGE, _DODGES = 0.012, 0.5  # between bars at one place: of the x axis, and of the gap to the next place in all
_STEP = 0.13  # the same between marks in a category


@dataclass(frozen=True, slots=True)
class _Series:
    """What the lines of a plot are drawn from, and the order in which they get colours."""

    data: pd.DataFrame
    places: list[tuple[int, ...]]
    across: Levels
    by: Levels | None
    unit: Unit
    order: list[int]

    def rows(self, code: int) -> list[int]:
        """Return the rows of one line."""
        return [at for at, place in enumerate(self.places) if place[1:] in ((code,), ())]

    @property
    def names(self) -> list[str]:
        """Return the labels of the lines."""
        return self.by.labels(26) if self.by else [""]


def line(
    frame: pd.DataFrame, metric: str, x: str, by: str | None, *, lower_is_better: bool | None, ax: Axes | None
) -> Plot:
    """Draw the mean of a metric over x, one line a level of `by`, with intervals."""
    across = _numbers.levels(frame, x, "x")
    series = None if by is None else _numbers.levels(frame, by, "by")
    data, places = _numbers.cells(frame, metric, [across, series] if series else [across])
    is_less = _numbers.is_less_better(frame, metric, lower_is_better)
    order = _ranked(data, places, is_less=is_less)
    drawn = _Series(data, places, across, series, _units.unit_of(frame, metric), order)
    own = ax is None
    with _style.styled(own=own):
        ax = ax or _style.new_axes(3.9)
        for rank in reversed(range(len(order))):
            _draw_one(ax, drawn, rank)
        _name_x(ax, across)
        ax.set_ylabel(f"mean {drawn.unit.label}")
        drawn.unit.format(ax.yaxis)
        _bound(ax, data, drawn.unit)
        if series:
            _key(ax, drawn)
        title = f"{metric} by {x}" + (f" and {by}" if by else "")
        note = f"Marks are means, bars their 95 % intervals over cases; {_numbers.sizes(data, 'mark')}."
        if len(order) > _TOLD_APART:
            note += f" Coloured: the {_TOLD_APART} with the best mean of {len(order)}; all are in .data."
        alt = _alt(drawn, metric, x, is_less=is_less)
        return finished("line", ax, data, own=own, title=title, alt=alt, note=note)


def _ranked(data: pd.DataFrame, places: list[tuple[int, ...]], *, is_less: bool) -> list[int]:
    """Return the lines in the order in which they get colours: as they come, or the best first where some get none."""
    if len(places[0]) == 1:
        return [0]
    found = sorted({place[1] for place in places})
    if len(found) <= _TOLD_APART:
        return found
    means = data["mean"].groupby([place[1] for place in places]).mean()
    return [int(code) for code in means.sort_values(ascending=is_less, kind="stable").index]


def _draw_one(ax: Axes, drawn: _Series, rank: int) -> None:
    rows, factor = drawn.rows(drawn.order[rank]), drawn.unit.factor
    part, is_grey = drawn.data.iloc[rows], rank >= _TOLD_APART
    colour = _GREY if is_grey else _style.COLOURS[rank]
    ax.errorbar(
        _dodged(drawn, rows, rank),
        part["mean"] * factor,
        yerr=_numbers.ends(part, factor=factor),
        color=colour,
        marker="." if is_grey else _style.MARKERS[rank],
        markersize=4 if is_grey else 6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle=("-" if is_grey else _style.DASHES[rank]) if drawn.across.is_number else "none",
        linewidth=0.8 if is_grey else 1.6,
        elinewidth=0.6 if is_grey else 1.1,
        capsize=0 if is_grey else 2.5,
        zorder=2 if is_grey else 3,
    )


def _dodged(drawn: _Series, rows: list[int], rank: int) -> list[float]:
    """Return where the marks of a line stand, beside those of the others at the same place."""
    number, values = min(len(drawn.order), _TOLD_APART), drawn.across.values
    steps = 0.0 if rank >= _TOLD_APART else rank - (number - 1) / 2
    if not drawn.across.is_number:
        return [drawn.places[at][0] + steps * min(_STEP, 0.8 / number) for at in rows]
    gaps = [after - before for before, after in pairwise(values)]
    step = min(_DODGE * (values[-1] - values[0]), _DODGES * min(gaps) / number) if gaps else _DODGE
    return [values[drawn.places[at][0]] + steps * step for at in rows]


def _name_x(ax: Axes, across: Levels) -> None:
    ax.set_xlabel(_style.shown(across.name, 60))
    if across.is_number:
        if len(across.values) <= 12:  # noqa: PLR2004 - more labels run into one another
            ax.set_xticks(across.values, across.labels(8))
        return
    number = len(across.values)
    turn: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if number > 6 else {}  # noqa: PLR2004
    ax.set_xticks(range(number), across.labels(22 if turn else max(6, 90 // number)), **turn)
    ax.set_xlim(-0.6, number - 0.4)
    ax.grid(visible=False, axis="x")


def _bound(ax: Axes, data: pd.DataFrame, unit: Unit) -> None:
    """Show all of 0 to 1 where much of it is taken, so that the eye is not told that a small difference is large."""
    low, high = data["low"].fillna(data["mean"]).min(), data["high"].fillna(data["mean"]).max()
    if unit.kind in ("rate", "plain") and low >= 0 and high <= 1 and high - low > 0.4:  # noqa: PLR2004 - as said
        ax.set_ylim(-0.02, 1.02)


def _key(ax: Axes, drawn: _Series) -> None:
    """List the lines at the right: names in the order of the lines' ends, numbers in their own."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    is_joined = drawn.across.is_number
    last = {place[1]: drawn.data["mean"].iloc[at] for at, place in enumerate(drawn.places)}  # the last that is met
    told = list(enumerate(drawn.order[:_TOLD_APART]))
    if drawn.by and not drawn.by.is_number and is_joined:
        told.sort(key=lambda each: -last[each[1]])
    handles = [
        Line2D([], [], color=_style.COLOURS[rank], marker=_style.MARKERS[rank], markeredgecolor="white",
               linestyle=_style.DASHES[rank] if is_joined else "none", linewidth=1.6, label=drawn.names[code])
        for rank, code in told
    ]  # fmt: skip
    if rest := len(drawn.order) - _TOLD_APART if len(drawn.order) > _TOLD_APART else 0:
        handles.append(Line2D([], [], color=_GREY, linewidth=0.8, label=_text.count(rest, "other")))
    ax.legend(
        handles=handles,
        title=_style.shown(drawn.by.name if drawn.by else "", 26),
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
        handlelength=2.6 if is_joined else 1.0,
    )


def _alt(drawn: _Series, metric: str, x: str, *, is_less: bool) -> str:
    data, places = drawn.data, drawn.places
    least, most = _numbers.extremes(data["mean"])
    worst, best = (most, least) if is_less else (least, most)

    def told(at: int) -> str:
        of = f"{_style.said(drawn.by.values[places[at][1]])} at " if drawn.by else ""
        return f"{of}{x} {_style.said(drawn.across.values[places[at][0]])}, {drawn.unit.interval(data.loc[at])}"

    lines = f", one line for each of {len(drawn.order)} values of {drawn.by.name}" if drawn.by else ""
    return (
        f"Line plot of {metric} over {x}{lines}: best is {told(best)}, worst is {told(worst)}; {_numbers.lost(data)}."
    )


# Money over time


def cost(attempts: pd.DataFrame | None, name: str, *, ax: Axes | None) -> Plot:
    """Draw what was spent, attempt by attempt."""
    data = _spent(attempts)
    own, unknown = ax is None, int(data["cost_usd"].isna().sum())
    total, seconds = float(data["total_usd"].iloc[-1]), float(data["seconds"].iloc[-1])
    bad = data[data["state"] != "ok"]
    with _style.styled(own=own):
        ax = ax or _style.new_axes(3.0)
        unit, scale = next((u, s) for u, s in _UNITS if seconds >= 2 * s or s == 1)
        ax.step(data["seconds"] / scale, data["total_usd"], where="post", color=_style.COLOURS[0], linewidth=1.8)
        ax.plot([seconds / scale], [total], "o", color=_style.COLOURS[0])
        _name_total(ax, seconds / scale, total)
        if len(bad):
            ax.plot(bad["seconds"] / scale, [0.035] * len(bad), "|", color=_style.COLOURS[1], markersize=9,
                    transform=ax.get_xaxis_transform(), label="attempt without an answer")  # fmt: skip
            ax.legend(loc="upper left")
        ax.set_xlabel(f"{unit} since the first attempt")
        ax.set_ylabel("cost so far")
        _units.Unit("cost_usd", "usd").format(ax.yaxis)
        ax.set_ylim(0, max(total * 1.12, 1e-9))
        ax.margins(x=0.02)
        said = f"{_text.count(len(data), 'attempt')}{f', {len(bad):,} without an answer' if len(bad) else ''}"
        out = f"; the cost of {unknown:,} is unknown and not in it" if unknown else ""
        note = f"Each attempt's cost when it was sent: {said}{out}. No interval: this is what was spent."
        span = _text.duration(seconds)
        alt = f"Step plot of the money spent by {_style.said(name)}: {_text.usd(total)} after {span} and {said}{out}."
        return finished("cost", ax, data, own=own, title=f"cost of {_style.named(name)} over time", alt=alt, note=note)


_UNITS = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))


def _name_total(ax: Axes, x: float, total: float) -> None:
    ax.annotate(
        _text.usd(total),
        (x, total),
        xytext=(-5, 6),
        textcoords="offset points",
        ha="right",
        fontweight="bold",
        color=_style.ink(ax),
    )


def _spent(attempts: pd.DataFrame | None) -> pd.DataFrame:
    """Return the attempts in the order of sending, with the seconds since the first and the money so far."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    if attempts is None or attempts.empty:
        msg = "cost() has no attempts to draw: nothing was sent, or every answer was reused"
        raise AnalysisError(msg)
    data = attempts[["sent_at", "state", "cost_usd"]].copy()
    data["sent_at"] = pd.to_datetime(data["sent_at"], utc=True, format="ISO8601")
    data["cost_usd"] = pd.to_numeric(data["cost_usd"]).astype("float64")
    data = data.sort_values("sent_at", kind="stable", ignore_index=True)
    if data["cost_usd"].isna().all():
        msg = f"cost() knows the price of none of {_text.count(len(data), 'attempt')}; give the lab the model's price"
        raise AnalysisError(msg)
    data["seconds"] = (data["sent_at"] - data["sent_at"].iloc[0]).dt.total_seconds()
    data["total_usd"] = data["cost_usd"].fillna(0.0).cumsum()
    return data
