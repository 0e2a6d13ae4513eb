"""How plots look: colours, markers, sizes, and texts that are only ever texts.

Colours are Okabe and Ito's, which people with any colour vision tell apart (jfly.uni-koeln.de/color, 2008), without
the yellow, which is too pale on white, and with a grey for the black, which dark axes of a user would hide. A map of
numbers is cividis (Nuñez, Anderton and Renslow 2018, PLOS ONE 13:e0199239).
The ground is always white: a text legible on white and on JupyterLab's dark grey alike does not exist (the best grey
has a contrast of 4.3 to both), and a picture is copied into papers too.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from promptlab import _text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6E6E6E")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.2, 1.6)),
    (0, (6, 2, 1.2, 2)),
    (0, (8, 3)),
    (0, (3, 1.2)),
    (0, (1, 1)),
)
MAP = "cividis"
INK, QUIET, FAINT = "#1F2328", "#59636E", "#D1D9E0"  # of text, of notes, of grids: 15.8, 6.1 and 1.4 to white
WIDTH_IN = 7.2  # 720 CSS pixels: a notebook's output is 800 to 1,000 wide
DPI = 100  # of a screen; pictures are drawn at twice that
SIZE, SMALL, TITLE = 9.5, 8.0, 11.0  # points

_RC: dict[Any, Any] = {
    "axes.edgecolor": "#8B949E",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": TITLE,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.size": SIZE,
    "grid.color": "#E6EAEF",
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": SIZE - 0.5,
    "xtick.major.size": 3,
    "ytick.color": INK,
    "ytick.labelsize": SIZE - 0.5,
    "ytick.major.size": 3,
}
# Fonts that are common where scripts other than those of DejaVu Sans are written; those that are installed are used.
_FALLBACKS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"),
    *("Yu Gothic", "Malgun Gothic", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Arial Unicode MS"),
    *("Noto Sans Devanagari", "Nirmala UI", "Noto Sans Thai", "Noto Sans Symbols2", "Noto Emoji", "Segoe UI Symbol"),
)


@contextlib.contextmanager
def styled(*, own: bool) -> Iterator[None]:
    """Hold the style of this project's own figures while one is drawn; on a user's axes the user's style stands."""
    import matplotlib as mpl  # noqa: PLC0415 - costs 0.3 s, so only where it is used
    from matplotlib import style  # noqa: PLC0415 - as above

    plain: dict[Any, Any] = {"text.usetex": False, "text.parse_math": False}
    with style.context(["default", {**_RC, **plain}]) if own else mpl.rc_context(plain):
        yield


def new_axes(height_in: float) -> Axes:
    """Return the axes of a new figure that no pyplot knows of."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.08)  # type: ignore[call-arg, union-attr]  # it is the constrained one
    return figure.add_subplot()


def ink(ax: Axes) -> Any:
    """Return the colour of the axes' own texts, so that ours are as legible there."""
    return ax.xaxis.label.get_color()


def quiet(ax: Axes) -> Any:
    """Return the colour of what is less than a label."""
    return QUIET if ink(ax) == INK else ink(ax)


def height(rows: int, *, each: float, rest: float, least: float = 2.2) -> float:
    """Return a figure's height in inches for a number of rows; where they are many, each gets less."""
    tight = each if rows <= 8 else max(0.22, each * (1 - 0.03 * min(rows - 8, 12)))  # noqa: PLR2004 - looked at
    return max(least, rest + tight * rows)


# Texts


def shown(text: str, chars: int = 60) -> str:
    """Return a text as one visible line, its middle left out where it is too long, glyphs that no font has as boxes.

    >>> shown("a name of which the beginning and the end tell the most", 24)
    'a name of wh…ll the most'
    """
    line = " ".join(_text.visible(text).split())
    if len(line) > chars:
        head = chars // 2
        line = f"{line[:head]}…{line[len(line) - (chars - head - 1) :]}"
    return drawable(line)


def drawable(text: str) -> str:
    """Return a text with a box for every character that no installed font of ours has: it would warn as it is drawn."""
    return "".join(char if char.isascii() or ord(char) in _glyphs() else "□" for char in text)


def labels(values: Iterable[Any], chars: int = 28) -> list[str]:
    """Return a label for each value, different ones for different values.

    >>> labels([0.0, 0.7, None, "x" * 40 + "1" + "y" * 40, "x" * 40 + "2" + "y" * 40], 9)
    ['0', '0.7', 'unset', 'xxxx…yyyy', 'xxxx…yyyy (2)']
    """
    found: list[str] = []
    for value in values:
        label = shown(named(value), chars)
        numbered = itertools.chain([label], (f"{label} ({number})" for number in itertools.count(2)))
        found.append(next(each for each in numbered if each not in found))
    return found


def named(value: Any) -> str:
    r"""Return a value as a line of text: numbers without needless digits, a blank text in quotes.

    >>> named(0.7), named(1.0), named("two\nlines"), named(" ")
    ('0.7', '1', 'two lines', "' '")
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "unset"
    if isinstance(value, float):
        return f"{value:.12g}"
    return " ".join(_text.visible(str(value)).split()) or repr(str(value))


def said(value: Any) -> str:
    """Return a value for a sentence."""
    return _text.clipped(named(value), 60)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names as a sentence has them."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


@cache
def families() -> tuple[str, ...]:
    """Return the fonts that texts are drawn with, in the order in which a glyph is looked for."""
    from matplotlib import font_manager  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return "DejaVu Sans", *(name for name in _FALLBACKS if name in installed)


@cache
def _glyphs() -> frozenset[int]:
    """Return the characters that those fonts have."""
    from matplotlib import font_manager  # noqa: PLC0415 - as above

    paths = [font_manager.findfont(name, fallback_to_default=False) for name in families()]
    return frozenset(itertools.chain.from_iterable(font_manager.get_font(path).get_charmap() for path in paths))


def settle(ax: Axes, *, own: bool) -> None:
    """Have every text of the axes drawn as it is, with fonts that have its glyphs: on a user's axes only our texts.

    Ticks and legends make their texts without asking, so they are all gone over once the plot stands.
    """
    from matplotlib.text import Text  # noqa: PLC0415 - as above

    for text in (ax.get_figure(root=True) if own else ax).findobj(Text):  # type: ignore[union-attr]  # axes are in a figure
        text.set_parse_math(False)
        text.set_usetex(False)
        if not text.get_text().isascii():
            text.set_fontfamily(list(families()))


def top_figure(ax: Axes) -> Figure:
    """Return the whole figure that axes stand in."""
    return ax.get_figure(root=True)  # type: ignore[return-value]  # axes are in a figure
