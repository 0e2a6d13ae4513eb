"""A metric over two columns, as a map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from promptlab.plots import _numbers, _style
from promptlab.plots._plot import Plot, finished

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PLOT_IN = 5.2  # the width that cells share, in inches
_ROOMY_IN, _NARROW_IN = 0.78, 0.42  # cells from which on the interval, and the mean, can be read


def heatmap(frame: pd.DataFrame, metric: str, x: str, y: str, *, better: str, ax: Axes | None) -> Plot:
    """Draw the mean of a metric in each cell of two columns, with its interval."""
    from matplotlib import colormaps  # noqa: PLC0415 - costs 0.3 s, so only where it is used
    from matplotlib.colors import Normalize  # noqa: PLC0415 - as above

    across, down = _numbers.levels(frame, x, "x"), _numbers.levels(frame, y, "y")
    data, places = _numbers.cells(frame, metric, [across, down])
    own, width = ax is None, _PLOT_IN / len(across.values)
    is_rate = _numbers.is_rate(_numbers.values_of(frame, metric))
    scale = Normalize(0, 1) if is_rate else Normalize(data["mean"].min(), data["mean"].max())
    with _style.styled(ax):
        ax = ax or _style.new_axes(_style.height(len(down.values), each=0.5 if width >= _ROOMY_IN else 0.32, rest=1.6))
        grid = _grid(data["mean"], places, len(across.values), len(down.values))
        ax.grid(visible=False)
        ax.set_facecolor("#F0F2F5")
        ax.patch.set(hatch="////", edgecolor="#C3CAD3", linewidth=0)
        colours = colormaps[_style.MAP if better == "higher" else f"{_style.MAP}_r"]
        mesh = ax.pcolormesh(grid, cmap=colours, norm=scale, edgecolors="white", linewidth=1.5)
        for at, (column, row) in enumerate(places):
            _say(ax, data.iloc[at], column, row, colours(scale(data["mean"].iloc[at])), width)
        _frame(ax, across, down)
        bar = _style.top_figure(ax).colorbar(mesh, ax=ax, aspect=30, pad=0.02, fraction=0.05)
        bar.set_label(_style.shown(f"mean {metric}", 40))
        bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's own stubs take it for a method
        brackets = "below it its 95 % interval" if width >= _ROOMY_IN else "its 95 % interval is in .data"
        empty = len(across.values) * len(down.values) - len(data) + int(data["mean"].isna().sum())
        hatched = f" Hatched: {empty} without a value." if empty else ""
        note = f"Mean by case, {brackets}; {_numbers.sizes(data, 'cell')}.{hatched}"
        alt = _alt(data, metric, x, y, better)
        title = _style.shown(f"{metric} by {y} and {x}", 140)
        return finished("heatmap", ax, data, own=own, title=title, alt=alt, note=_style.drawable(note))


def _grid(means: pd.Series[float], places: list[tuple[int, ...]], columns: int, rows: int) -> Any:
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    grid = np.full((rows, columns), np.nan)
    for (column, row), mean in zip(places, means, strict=True):
        grid[row, column] = mean
    return np.ma.masked_invalid(grid)


def _say(ax: Axes, cell: Any, column: int, row: int, colour: Any, width: float) -> None:
    """Write a cell's mean into it, and its interval where there is room."""
    if width < _NARROW_IN or math.isnan(cell["mean"]):
        return
    red, green, blue, _ = colour
    ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.52 else "black"  # noqa: PLR2004 - the darker half
    middle = (column + 0.5, row + 0.5)
    is_roomy = width >= _ROOMY_IN
    ax.annotate(
        _style.number(cell["mean"]),
        middle,
        xytext=(0, 5 if is_roomy else 0),
        textcoords="offset points",
        ha="center",
        va="center",
        color=ink,
        fontsize=_style.SIZE,
        fontweight="bold",
    )
    if is_roomy:
        ends = "one case" if math.isnan(cell["low"]) else f"{_style.number(cell['low'])}–{_style.number(cell['high'])}"
        ax.annotate(
            ends,
            middle,
            xytext=(0, -8),
            textcoords="offset points",
            ha="center",
            va="center",
            color=ink,
            fontsize=_style.SMALL - 0.5,
        )


def _frame(ax: Axes, across: _numbers.Levels, down: _numbers.Levels) -> None:
    chars = max(5, 62 // len(across.values))
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if not across.is_number and chars < 12 else {}  # noqa: PLR2004
    ax.set_xticks([at + 0.5 for at in range(len(across.values))], across.labels(20 if turn else chars), **turn)
    ax.set_yticks([at + 0.5 for at in range(len(down.values))], down.labels())
    if not down.is_number:
        ax.invert_yaxis()  # names read from the top, numbers grow upwards
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel(_style.shown(across.name))
    ax.set_ylabel(_style.shown(down.name))


def _alt(data: pd.DataFrame, metric: str, x: str, y: str, better: str) -> str:
    best, worst = data["mean"].idxmax(), data["mean"].idxmin()
    if better == "lower":
        best, worst = worst, best

    def said(at: Any) -> str:
        row = data.iloc[at]
        return f"{_numbers.interval_text(row)} at {x} {_style.named(row.iloc[0])} and {y} {_style.named(row.iloc[1])}"

    return (
        f"Heat map of {metric} over {x} and {y}, {len(data)} cells: best is {said(best)}, worst is {said(worst)}; "
        f"{_numbers.lost(data)}."
    )
