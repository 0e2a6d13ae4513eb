"""Differences and their intervals, and which axis matters: tables of the analysis, drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from promptlab import _text, stats
from promptlab.errors import PlotError
from promptlab.plots import _style
from promptlab.plots._plot import Plot, finished
from promptlab.plots._rows import _at_end, _beside

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_ROWS = 40
_LEVEL = 0.05  # an adjusted p-value below is told from chance


def forest(table: pd.DataFrame, *, ax: Axes | None) -> Plot:
    """Draw the differences of a contrast table with their intervals, around a line at 0."""
    data, metric, left_out = _differences(table)
    own, axis = ax is None, str(data["axis"].iloc[0])
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(data), each=0.31, rest=1.45, least=2.2))
        ax.axvline(0, color=_style.quiet(ax), linewidth=1.1, zorder=1)
        for row, (_, each) in enumerate(data.iterrows()):
            _difference(ax, row, each)
        names = _style.labels(_row_names(data), 46)
        ax.set_yticks(range(len(data)), names)
        ax.set_ylim(len(data) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(_style.shown(f"difference in {metric}"))
        ax.xaxis.set_major_formatter(lambda value, _: _style.signed(value) if abs(value) > 1e-12 else "0")  # noqa: PLR2004
        cells = [
            [_style.signed(each["difference"]), _p(each["p_adjusted"]), f"{each['pairs']:,.0f}"]
            for _, each in data.iterrows()
        ]
        _beside(ax, list(range(len(data))), ("difference", "p adj.", "pairs"), cells, len(data))
        dropped = int(data["dropped"].sum())
        note = (
            f"Paired over shared cases and settings; bars are 95 % intervals by case. Filled: the p-value, adjusted for "
            f"all comparisons of the table, is below {_LEVEL}. "
            f"{f'{dropped:,} pairs lack a side and are left out' if dropped else 'No pair lacks a side'}.{left_out}"
        )
        title = _style.shown(f"{metric}: differences between levels of {axis}", 120)
        alt = _forest_alt(data, metric)
        return finished("forest", ax, data, own=own, title=title, alt=alt, note=_style.drawable(note))


def _differences(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows to draw, their metric, and what is not drawn."""
    needed = ("metric", "axis", "level", "against", "difference", "low", "high", "p_adjusted", "pairs", "dropped")
    if missing := [name for name in needed if name not in table.columns]:
        msg = f"forest() needs a table of run.contrast(); this one has no column {', '.join(missing)}"
        raise PlotError(msg)
    metrics = list(dict.fromkeys(table["metric"]))
    if len(metrics) > 1:
        msg = f"forest() draws one metric, and the table has {', '.join(map(str, metrics))}: choose with metric="
        raise PlotError(msg)
    known = table[table["difference"].notna()]
    if known.empty:
        msg = "forest() has no difference to draw: no two levels share a case that both have answered"
        raise PlotError(msg)
    said = f" {len(table) - len(known)} comparisons have no pair at all." if len(known) < len(table) else ""
    if len(known) > _MOST_ROWS:
        order = known["difference"].abs().sort_values(ascending=False, kind="stable").index[:_MOST_ROWS]
        said += f" The {_MOST_ROWS} largest of {len(known)} differences."
        known = known.loc[sorted(order)]
    return known.reset_index(drop=True), str(metrics[0]), said


def _row_names(data: pd.DataFrame) -> list[str]:
    settings = data["setting"] if "setting" in data else [""] * len(data)
    is_one = len({str(setting) for setting in settings}) == 1
    return [
        f"{_style.shown(_style.named(one), 20)} − {_style.shown(_style.named(other), 20)}"
        + ("" if is_one else f" · {_style.named(setting)}")
        for one, other, setting in zip(data["level"], data["against"], settings, strict=True)
    ]


def _is_told(each: Any) -> bool:
    return not math.isnan(each["p_adjusted"]) and each["p_adjusted"] < _LEVEL


def _difference(ax: Axes, row: int, each: Any) -> None:
    is_told = _is_told(each)
    colour, marker = (_style.COLOURS[0], "o") if each["difference"] >= 0 else (_style.COLOURS[1], "s")
    colour = colour if is_told else "#6E7781"
    ax.errorbar(
        each["difference"],
        row,
        xerr=[[each["difference"] - each["low"]], [each["high"] - each["difference"]]],
        color=colour,
        marker=marker,
        markersize=6.5,
        markerfacecolor=colour if is_told else "white",
        markeredgecolor=colour,
        elinewidth=1.6 if is_told else 1.1,
        capsize=2.5,
    )


def _p(value: float) -> str:
    return "–" if math.isnan(value) else stats.p_text(value).removeprefix("p = ").removeprefix("p ")


def _forest_alt(data: pd.DataFrame, metric: str) -> str:
    told = int(sum(_is_told(each) for _, each in data.iterrows()))
    most = data.loc[data["difference"].abs().idxmax()]
    ends = f"95 % interval {_style.signed(most['low'])} to {_style.signed(most['high'])}"
    return (
        f"Forest plot of {_text.count(len(data), 'paired difference')} in {metric}, {told} of them told from chance: the "
        f"largest is {_style.named(most['level'])} minus {_style.named(most['against'])}, "
        f"{_style.signed(most['difference'])} ({ends}, {_text.count(int(most['pairs']), 'pair')})."
    )


# Which axis matters


def effects(table: pd.DataFrame, metric: str, *, ax: Axes | None) -> Plot:
    """Draw each term's share of the variance."""
    if missing := [name for name in ("term", "share", "p") if name not in table.columns]:
        msg = f"effects() needs a table of run.effects(); this one has no column {', '.join(missing)}"
        raise PlotError(msg)
    data = table[table["share"].notna()].reset_index(drop=True)
    if data.empty:
        msg = f"effects() of {metric!r} has nothing to draw: its values do not vary"
        raise PlotError(msg)
    own = ax is None
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(data), each=0.33, rest=1.3, least=2.2))
        for row, (_, each) in enumerate(data.iterrows()):
            _, colour, hatch = _kind(str(each["term"]))
            ax.barh(row, each["share"], height=0.66, color=colour, hatch=hatch, edgecolor="white")
            p = "" if math.isnan(each["p"]) else f"   {stats.p_text(each['p'])}"
            _at_end(ax, max(0.0, each["share"]), row, f"{each['share']:.1%}{p}")
        ax.set_yticks(range(len(data)), _style.labels(data["term"], 40))
        ax.set_ylim(len(data) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.margins(x=0.22)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        ax.set_xlabel(_style.shown(f"share of the variance of {metric}"))
        kinds = list(dict.fromkeys(_kind(str(term)) for term in data["term"]))
        _effects_key(ax, kinds)
        note = "Shares describe these trials and carry no interval; p is the chance of such a share if the term did nothing."
        title = _style.shown(f"what {metric} depends on", 120)
        return finished("effects", ax, data, own=own, title=title, alt=_effects_alt(data, metric), note=note)


def _kind(term: str) -> tuple[str, str, str]:
    """Return what a term is, its colour and its hatch."""
    if term == "rest":
        return "neither: chance", "#C3CAD3", "...."
    if term == "case":
        return "the case asked", "#8B949E", "xxxx"
    return ("two axes together", _style.COLOURS[4], "////") if " × " in term else ("an axis", _style.COLOURS[0], "")


def _effects_key(ax: Axes, kinds: list[tuple[str, str, str]]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    handles = [Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name) for name, colour, hatch in kinds]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02))


def _effects_alt(data: pd.DataFrame, metric: str) -> str:
    order = data.sort_values("share", ascending=False, kind="stable")
    said = [f"{_style.named(each['term'])} {each['share']:.1%}" for _, each in order.iterrows()]
    return f"Bars of the shares of the variance of {metric}: {_style.listed(said, 6)}."
