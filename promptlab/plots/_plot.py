"""A finished plot: what was drawn, the numbers behind it, and how it is shown and saved."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptlab import _text
from promptlab.errors import AnalysisError
from promptlab.plots import _style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RETINA = 2  # pixels drawn for one that is shown
_COLOURS = 255  # of a picture in a notebook: half the bytes, and no eye sees it
_NOTE_CHARS, _TITLE_CHARS = 121, 74  # on a line of our own figure, in DejaVu Sans
_CHAR_EM = 0.58  # the mean width of its characters
_TITLE_PAD = 17.0  # points above a user's axes: heads of figures may stand there


class Plot:
    """A plot that was drawn.

    Attributes
    ----------
    ax
        The axes, to change what you like.
    data
        The numbers that were drawn, one row a mark, as a DataFrame.
    alt
        One sentence that says what is to be seen, with its numbers: for readers who cannot see it, and for captions.
    note
        What the marks are, the sample sizes, and what is left out; it stands below the plot.
    """

    def __init__(self, kind: str, ax: Axes, data: pd.DataFrame, *, own: bool, title: str, alt: str, note: str) -> None:
        self.kind, self.ax, self.data, self._is_own = kind, ax, data, own
        self.title, self.alt, self.note = title, _text.visible(alt), note

    @property
    def figure(self) -> Figure:
        """The whole figure that the axes stand in."""
        return _style.top_figure(self.ax)

    def save(self, path: str | Path, *, dpi: int = 200) -> Path:
        """Write the figure as PNG, SVG or PDF, by the path's ending, and return the path.

        Title and `alt` go into the file's metadata. Equal plots are equal bytes.

        Raises
        ------
        AnalysisError
            For another ending, or where the file cannot be written.
        """
        import matplotlib as mpl  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        target = Path(path)
        metadata = self._metadata().get(target.suffix.lower())
        if metadata is None:
            msg = f"cannot save {_text.brief(str(path))}: its ending has to be .png, .svg or .pdf"
            raise AnalysisError(msg)
        try:
            with _style.styled(own=self._is_own), mpl.rc_context({"svg.hashsalt": "promptlab", "pdf.fonttype": 42}):
                self.figure.savefig(target, dpi=dpi, metadata=metadata)
        except OSError as error:
            msg = f"cannot save {_text.brief(str(path))}: {error.strerror or error}"
            raise AnalysisError(msg) from error
        return target

    def _metadata(self) -> dict[str, dict[str, Any]]:
        return {
            ".png": {"Title": self.title, "Description": self.alt},
            ".svg": {"Title": self.title, "Description": self.alt, "Date": None},
            ".pdf": {"Title": self.title, "Subject": self.alt, "CreationDate": None},
        }

    def _repr_png_(self) -> bytes:
        """Return the figure as a PNG of twice the pixels that it takes on the page."""
        import matplotlib as mpl  # noqa: PLC0415 - costs 0.3 s, so only where it is used
        from PIL import Image  # noqa: PLC0415 - matplotlib's own dependency, loaded with it

        drawn, small = io.BytesIO(), io.BytesIO()
        with _style.styled(own=self._is_own), mpl.rc_context({"savefig.bbox": None}):  # to be as wide as is said
            self.figure.savefig(drawn, format="png", dpi=_RETINA * _style.DPI)
        image = Image.open(drawn).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        image.save(small, format="png", optimize=True)
        return small.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the picture for a notebook.

        As HTML, because JupyterLab (4.4) shows an `image/png` without its alt text, and as `image/png` too, for PDF and
        for readers that take no HTML.
        """
        png = base64.b64encode(self._repr_png_()).decode()
        width, height = (round(inches * _style.DPI) for inches in self.figure.get_size_inches())
        picture = (
            f'<img class="promptlab-plot" width="{width}" style="max-width:100%;height:auto;border-radius:4px" '
            f'alt="{html.escape(self.alt)}" src="data:image/png;base64,{png}">'
        )
        return (
            {"text/html": picture, "image/png": png, "text/plain": repr(self)},
            {"image/png": {"width": width, "height": height, "alt": self.alt}},
        )

    def __repr__(self) -> str:
        return f"<Plot {self.kind}: {_text.clipped(self.title, 80)}>"


def finished(kind: str, ax: Axes, data: pd.DataFrame, *, own: bool, title: str, alt: str, note: str) -> Plot:
    """Return the plot with its title above and its note below: of our own figure, or of a user's axes."""
    title, note = _style.shown(title, 2 * _TITLE_CHARS), _style.drawable(note)
    if own:
        figure = _style.top_figure(ax)
        figure.suptitle(_wrapped(title, _TITLE_CHARS), x=0.013, ha="left", fontsize=_style.TITLE, fontweight="bold")
        figure.supxlabel(
            _wrapped(note, _NOTE_CHARS), x=0.013, ha="left", fontsize=_style.SMALL, color=_style.QUIET, linespacing=1.4
        )
    else:
        width_pt = ax.get_window_extent().width / _style.top_figure(ax).dpi * 72
        chars = max(30, int(width_pt / (_CHAR_EM * _style.SMALL)))
        ax.set_title(_wrapped(title, chars), loc="left", pad=_TITLE_PAD)
        ax.annotate(
            _wrapped(note, chars),
            (0, 0),
            xycoords=("axes fraction", ax.xaxis.label),
            xytext=(0, -6),
            textcoords="offset points",
            va="top",
            fontsize=_style.SMALL,
            color=_style.quiet(ax),
        )
    _style.settle(ax, own=own)
    return Plot(kind, ax, data, own=own, title=title, alt=alt, note=note)


def _wrapped(text: str, chars: int) -> str:
    return "\n".join(textwrap.wrap(text, chars))
