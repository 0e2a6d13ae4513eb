"""A metric over two columns, as a map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from promptlab.plots import _numbers, _style, _units
from promptlab.plots._plot import Plot, finished
from promptlab.plots._units import Unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PLOT_IN = 5.2  # the width that cells share in a figure of our own, in inches
_SHARED = 0.7  # of a user's axes, which names and the colour bar make narrower yet
_ROOMY_IN, _NARROW_IN = 0.78, 0.42  # cells from which on the interval, and the mean, can be read
_MANY_ROWS = 12  # where each gets one line instead of two
_WIDE_IN = 1.25  # cells in which mean and interval stand side by side
_LEAST_RANGE = 0.4  # of the colours of a rate: what differs by a few points looks as if it did


def heatmap(frame: pd.DataFrame, metric: str, x: str, y: str, *, lower_is_better: bool | None, ax: Axes | None) -> Plot:
    """Draw the mean of a metric in each cell of two columns, with its interval."""
    from matplotlib import colormaps  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    across, down = _numbers.levels(frame, x, "x"), _numbers.levels(frame, y, "y")
    data, places = _numbers.cells(frame, metric, [across, down])
    unit, is_less = _units.unit_of(frame, metric), _numbers.is_less_better(frame, metric, lower_is_better)
    room = _PLOT_IN if ax is None else ax.get_window_extent().width / _style.top_figure(ax).dpi * _SHARED
    lines = _lines(room / len(across.values), len(down.values))
    own, scale = ax is None, _colour_range(data["mean"], unit)
    with _style.styled(own=own):
        each = 0.5 if lines == 2 else 0.32  # noqa: PLR2004 - lines of text
        ax = ax or _style.new_axes(_style.height(len(down.values), each=each, rest=1.65 + _tilted(across)[1]))
        ax.grid(visible=False)
        ax.patch.set(facecolor="#F0F2F5", hatch="////", edgecolor="#C3CAD3", linewidth=0)
        colours = colormaps[f"{_style.MAP}_r" if is_less else _style.MAP]
        mesh = ax.pcolormesh(
            _grid(data["mean"] * unit.factor, places, len(across.values), len(down.values)),
            cmap=colours,
            norm=scale,
            edgecolors="white",
            linewidth=1.5,
        )
        for at, (column, row) in enumerate(places):
            colour = colours(scale(data["mean"].iloc[at] * unit.factor))
            _say(ax, data.iloc[at], (column + 0.5, row + 0.5), colour=colour, unit=unit, lines=lines)
        _frame(ax, across, down)
        bar = _style.top_figure(ax).colorbar(mesh, ax=ax, aspect=30, pad=0.02, fraction=0.05)
        bar.set_label(f"mean {unit.label}")
        unit.format(bar.ax.yaxis)
        bar.outline.set_visible(False)
        note = f"{_reading(lines)}; {_numbers.sizes(data, 'cell')}.{_empty(data, across, down)}"
        alt = _alt(data, places, across, down, unit=unit, is_less=is_less)
        return finished("heatmap", ax, data, own=own, title=f"{metric} by {x} and {y}", alt=alt, note=note)


def _lines(width: float, rows: int) -> int:
    """Return how much a cell of a width can say: 2 lines, 1 with both figures, 0 the mean alone, -1 nothing."""
    if width < _ROOMY_IN:
        return 0 if width >= _NARROW_IN else -1
    return 2 if rows <= _MANY_ROWS else 1 if width >= _WIDE_IN else 0


def _reading(lines: int) -> str:
    where = {2: "below them", 1: "beside them"}.get(lines)
    return f"Means, {where} their 95 % intervals over cases" if where else "Means; the 95 % intervals are in .data"


def _colour_range(means: pd.Series[float], unit: Unit) -> Any:
    from matplotlib.colors import Normalize  # noqa: PLC0415 - as above

    low, high = means.min() * unit.factor, means.max() * unit.factor
    if unit.kind == "rate" and high - low < _LEAST_RANGE:
        low = min(max(0.0, (low + high - _LEAST_RANGE) / 2), 1 - _LEAST_RANGE)
        high = low + _LEAST_RANGE
    return Normalize(low, high if high > low else low + (abs(low) or 1.0) * 0.1)


def _grid(means: pd.Series[float], places: list[tuple[int, ...]], columns: int, rows: int) -> Any:
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    grid = np.full((rows, columns), np.nan)
    for (column, row), mean in zip(places, means, strict=True):
        grid[row, column] = mean
    return np.ma.masked_invalid(grid)


def _say(ax: Axes, cell: Any, middle: tuple[float, float], *, colour: Any, unit: Unit, lines: int) -> None:
    """Write a cell's mean into it, and its interval where there is room."""
    if lines < 0 or math.isnan(cell["mean"]):
        return
    mean = f"{cell['mean'] * 100:.0f} %" if unit.kind == "rate" else unit.bare(cell["mean"])
    shifts = {0: ((0, 0),), 1: ((-26, 0), (22, 0)), 2: ((0, 6), (0, -8))}[lines]
    weights, sizes = ("bold", "normal"), (_style.SIZE, _style.SMALL - 0.5)
    for text, shift, weight, size in zip((mean, unit.ends(cell)), shifts, weights, sizes, strict=False):
        ax.annotate(
            text,
            middle,
            xytext=shift,
            textcoords="offset points",
            ha="center",
            va="center",
            color=_readable_on(colour),
            fontsize=size,
            fontweight=weight,
        )


def _readable_on(colour: Any) -> str:
    """Return black or white, whichever has the greater contrast (WCAG 2.2) to a colour."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]  # noqa: PLR2004 - sRGB
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return "black" if luminance > 0.179 else "white"  # noqa: PLR2004 - where both contrasts are equal


def _tilted(across: _numbers.Levels) -> tuple[dict[str, Any], float]:
    """Return how the names below stand, and the inches that they need where they are tilted."""
    longest = max(len(label) for label in across.labels(20))
    if across.is_number or longest * len(across.values) < 62:  # noqa: PLR2004 - characters side by side
        return {}, 0.0
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}, longest * 0.055


def _frame(ax: Axes, across: _numbers.Levels, down: _numbers.Levels) -> None:
    turn, _ = _tilted(across)
    ax.set_xticks([at + 0.5 for at in range(len(across.values))], across.labels(20), **turn)
    ax.set_yticks([at + 0.5 for at in range(len(down.values))], down.labels())
    if not down.is_number:
        ax.invert_yaxis()  # names read from the top, numbers grow upwards
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel(_style.shown(across.name))
    ax.set_ylabel(_style.shown(down.name, 30))


def _empty(data: pd.DataFrame, across: _numbers.Levels, down: _numbers.Levels) -> str:
    number = len(across.values) * len(down.values) - int(data["mean"].notna().sum())
    return f" Hatched: {number} without a value." if number else ""


def _alt(
    data: pd.DataFrame,
    places: list[tuple[int, ...]],
    across: _numbers.Levels,
    down: _numbers.Levels,
    *,
    unit: Unit,
    is_less: bool,
) -> str:
    least, most = _numbers.extremes(data["mean"])
    worst, best = (most, least) if is_less else (least, most)

    def told(at: int) -> str:
        column, row = places[at]
        where = f"{across.name} {_style.said(across.values[column])} and {down.name} {_style.said(down.values[row])}"
        return f"{unit.interval(data.loc[at])} at {where}"

    return (
        f"Heat map of {unit.metric} over {across.name} and {down.name}, {len(data)} cells: best is {told(best)}, "
        f"worst is {told(worst)}; {_numbers.lost(data)}."
    )
