"""Differences and their intervals, and which axis matters: tables of the analysis, drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _numbers, _style
from promptlab.plots._plot import Plot, finished
from promptlab.plots._rows import at_end, beside, name_rows
from promptlab.plots._units import Unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_ROWS = 40
_LEVEL = 0.05  # an adjusted p-value below is told from chance
_GREY = "#6E7781"
_LEVEL_CHARS, _SETTING_CHARS = 13, 36  # that leave the intervals room in the figure
_NEEDED = (
    "metric",
    "axis",
    "level",
    "against",
    "setting",
    "difference",
    "low",
    "high",
    "p_adjusted",
    "pairs",
    "dropped",
)


def metric_of(table: pd.DataFrame) -> str:
    """Return the metric of a table of contrasts.

    Raises
    ------
    AnalysisError
        When it is none, has no row, or has several metrics.
    """
    if missing := [name for name in _NEEDED if name not in table.columns]:
        msg = f"forest() draws a table of run.contrast(), and this one has no column {', '.join(missing)}"
        raise AnalysisError(msg)
    if table["difference"].isna().all():
        msg = "forest() has no difference to draw: no two levels share a case that both have answered"
        raise AnalysisError(msg)
    metrics = list(dict.fromkeys(table["metric"]))
    if len(metrics) > 1:
        msg = f"forest() draws one metric, and the table has {', '.join(map(str, metrics))}: say which with metric="
        raise AnalysisError(msg)
    return str(metrics[0])


def forest(table: pd.DataFrame, unit: Unit, *, ax: Axes | None) -> Plot:
    """Draw the differences of a contrast table with their intervals, around a line at 0, by setting."""
    data, left_out = _drawn(table)
    own, axes = ax is None, list(dict.fromkeys(map(str, data["axis"])))
    rows, names, heads = _laid_out(data)
    with _style.styled(own=own):
        ax = ax or _style.new_axes(_style.height(len(names), each=0.31, rest=1.6))
        name_rows(ax, names)
        ax.axvline(0, color=_style.quiet(ax), linewidth=1.1, zorder=1)
        for row, (_, each) in zip(rows, data.iterrows(), strict=True):
            _difference(ax, row, each, unit.factor)
        for row in heads:
            ax.get_yticklabels()[row].set_fontweight("bold")
        ax.set_xlabel(f"difference in {unit.label}{f', in {unit.difference_unit}' if unit.difference_unit else ''}")
        unit.format(ax.xaxis, is_difference=True)
        lines = [_figures(each, unit) for _, each in data.iterrows()]
        beside(ax, rows, ("difference", "95 % interval", "p adj.", "pairs"), lines)
        dropped = int(data["dropped"].sum())
        pairs = f"{dropped:,} {'pair lacks' if dropped == 1 else 'pairs lack'} a side and are left out"
        note = (
            f"Paired over shared cases and settings; bars are 95 % intervals over cases. Filled and coloured: the "
            f"p-value, adjusted for all rows of the table, is below {_LEVEL}. "
            f"{pairs if dropped else 'No pair lacks a side'}.{left_out}"
        )
        title = f"{unit.metric}: differences between values of {_style.listed(axes)}"
        return finished("forest", ax, data, own=own, title=title, alt=_forest_alt(data, unit), note=note)


def _drawn(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows to draw, and what is not drawn."""
    known = table[table["difference"].notna()]
    told = f" {_text.count(len(table) - len(known), 'comparison')} without a pair." if len(known) < len(table) else ""
    if len(known) > _MOST_ROWS:
        told += f" The {_MOST_ROWS} largest of {len(known):,} differences; all are in the table."
        largest = known["difference"].abs().sort_values(ascending=False, kind="stable").index[:_MOST_ROWS]
        known = known[known.index.isin(largest)]
    return known.reset_index(drop=True), told


def _laid_out(data: pd.DataFrame) -> tuple[list[int], list[str], list[int]]:
    """Return the row of each difference, the names of all rows, and the rows that are heads of settings."""
    rows: list[int] = []
    names: list[str] = []
    heads: list[int] = []
    before = ""
    levels = list(dict.fromkeys(map(_style.named, [*data["level"], *data["against"]])))
    labels = dict(zip(levels, _style.labels(levels, _LEVEL_CHARS), strict=True))
    for _, each in data.iterrows():
        setting = _style.named(each["setting"]) if each["setting"] else ""
        if setting and setting != before:
            heads.append(len(names))
            names.append(_style.shown(setting, _SETTING_CHARS))
        before = setting
        rows.append(len(names))
        names.append(f"{labels[_style.named(each['level'])]} against {labels[_style.named(each['against'])]}")
    return rows, names, heads


def _is_told(each: Any) -> bool:
    return not math.isnan(each["p_adjusted"]) and each["p_adjusted"] < _LEVEL


def _difference(ax: Axes, row: int, each: Any, factor: float) -> None:
    is_told = _is_told(each)
    colour, marker = (_style.COLOURS[0], "o") if each["difference"] >= 0 else (_style.COLOURS[1], "s")
    colour = colour if is_told else _GREY
    ax.errorbar(
        each["difference"] * factor,
        row,
        xerr=[
            [side[0]] for side in _numbers.ends(each.to_frame().T.astype(dict.fromkeys(_ENDS, float)), *_ENDS, factor)
        ],
        color=colour,
        marker=marker,
        markersize=6.5,
        markerfacecolor=colour if is_told else "white",
        markeredgecolor=colour,
        elinewidth=1.6 if is_told else 1.1,
        capsize=2.5,
    )


_ENDS = ("difference", "low", "high")


def _figures(each: Any, unit: Unit) -> list[str]:
    from promptlab.analysis import words  # noqa: PLC0415 - loads pandas

    ends = (
        "unknown" if math.isnan(each["low"]) else f"{unit.difference(each['low'])} to {unit.difference(each['high'])}"
    )
    return [unit.difference(each["difference"]), ends, words.p_cell(each["p_adjusted"]), f"{each['pairs']:,.0f}"]


def _forest_alt(data: pd.DataFrame, unit: Unit) -> str:
    told = int(sum(_is_told(each) for _, each in data.iterrows()))
    most: Any = data.loc[_numbers.extremes(data["difference"].abs())[1]]
    difference, ends, *_ = _figures(most, unit)
    size = f"{difference} {unit.difference_unit}".rstrip()
    where = f" at {_style.said(most['setting'])}" if most["setting"] else ""
    return (
        f"Forest plot of {_text.count(len(data), 'paired difference')} in {unit.metric}, {told} of them told from "
        f"chance: the largest is {_style.said(most['level'])} against {_style.said(most['against'])}{where}, "
        f"{size} (95 % interval {ends}, {_text.count(int(most['pairs']), 'pair')})."
    )


# Which axis matters


def effects(table: pd.DataFrame, metric: str, *, ax: Axes | None) -> Plot:
    """Draw each term's share of the variance."""
    data = table[table["share"].notna()].reset_index(drop=True)
    if data.empty:
        msg = f"effects({metric!r}) has nothing to draw: the metric does not vary, or nothing that has it does"
        raise AnalysisError(msg)
    own = ax is None
    with _style.styled(own=own):
        ax = ax or _style.new_axes(_style.height(len(data), each=0.33, rest=1.4))
        name_rows(ax, _style.labels(data["term"], 44))
        for row, (_, each) in enumerate(data.iterrows()):
            _, colour, hatch = _kind(str(each["term"]))
            ax.barh(row, each["share"], height=0.66, color=colour, hatch=hatch, edgecolor="white")
            at_end(ax, max(0.0, each["share"]), row, "   ".join(_share_and_p(each)))
        ax.set_xlim(min(0.0, data["share"].min()), max(data["share"].max(), 0.01) * 1.35)
        Unit(metric, "rate").format(ax.xaxis)
        ax.set_xlabel(f"share of the variance of {_style.shown(metric, 40)}")
        _effects_key(ax, list(dict.fromkeys(_kind(str(term)) for term in data["term"])))
        note = (
            "Shares describe these trials and carry no interval; p is how often chance alone would give such a share."
        )
        alt = _effects_alt(data, metric)
        return finished("effects", ax, data, own=own, title=f"what {metric} depends on", alt=alt, note=note)


def _share_and_p(each: Any) -> list[str]:
    from promptlab import stats  # noqa: PLC0415 - beside its only use
    from promptlab.analysis import words  # noqa: PLC0415 - loads pandas

    share = f"{words.number(each['share'] * 100, 100)} %"
    return [share] if math.isnan(each["p"]) else [share, stats.p_text(each["p"])]


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
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.03))


def _effects_alt(data: pd.DataFrame, metric: str) -> str:
    order = data.sort_values("share", ascending=False, kind="stable")
    told = [f"{_style.said(each['term'])} {_share_and_p(each)[0]}" for _, each in order.iterrows()]
    return f"Bars of the shares of the variance of {metric}: {_style.listed(told, 6)}."
