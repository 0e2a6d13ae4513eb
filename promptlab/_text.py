"""Tables and cards as HTML and as plain text.

Every text that comes in is escaped: models, files and cases are untrusted. The HTML carries no script, no style sheet
and no fixed colour, so that it is legible in light and dark themes, in an untrusted notebook and on a plain viewer.
"""

from __future__ import annotations

import difflib
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

UNKNOWN = "unknown"

# C0 and C1 controls but tab and line feed; line and paragraph separators; bidirectional marks and overrides; zero-width
# and other invisible characters, among them the tags in which text can be hidden from people; surrogates
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_CELL = "text-align:left;vertical-align:top;padding:2px 10px"
_QUIET = "opacity:.65"


def visible(text: str) -> str:
    """Return the text with characters that hide or reorder others shown as their code, e.g. U+202E.

    >>> visible("a" + chr(27) + "[31mb")
    'a⟨1B⟩[31mb'
    """
    return _HIDDEN.sub(lambda found: f"\u27e8{ord(found[0]):02X}\u27e9", text)


def clipped(text: str, chars: int) -> str:
    """Return the visible text on one line, cut to a number of characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def brief(value: Any, chars: int = 80) -> str:
    """Return a value as code, on one line, cut to a number of characters: for messages."""
    return clipped(repr(value), chars)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a misspelt name probably meant, or None.

    >>> nearest("Temprature", ["model", "temperature"])
    'temperature'
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def escaped(value: Any) -> str:
    """Return a value as HTML text."""
    return html.escape(visible(str(value)))


class Html(str):
    """HTML of this project's making, which a table takes as it is."""

    __slots__ = ()


def html_card(title: str, body: str, *, note: str = "") -> str:
    """Return a titled card; `body` is HTML of this module's making, title and note are text.

    Jupyter reads `$...$` in any HTML as mathematics, prices and model output too; the classes keep MathJax 2 and 3 out.
    """
    remark = f' <span style="{_QUIET}">{escaped(note)}</span>' if note else ""
    head = f"<div><b>{escaped(title)}</b>{remark}</div>"
    return f'<div class="tex2jax_ignore mathjax_ignore" style="margin:4px 0">{head}{body}</div>'


def html_table(rows: Iterable[Sequence[Any]], *, head: Sequence[Any] = ()) -> str:
    """Return a left-aligned table of texts."""
    top = "".join(f'<th style="{_CELL}">{escaped(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(_html_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{top}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def html_messages(messages: Iterable[tuple[str, str]]) -> str:
    """Return (role, text) pairs as a table that keeps line breaks."""
    cell = f"{_CELL};white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace)"
    rows = "".join(
        f'<tr><td style="{_CELL};{_QUIET}">{escaped(role)}</td><td style="{cell}">{escaped(text)}</td></tr>'
        for role, text in messages
    )
    return f"<table><tbody>{rows}</tbody></table>"


def html_list(items: Iterable[Any]) -> str:
    """Return texts as a list."""
    return "<ul>" + "".join(f"<li>{escaped(item)}</li>" for item in items) + "</ul>"


def text_table(rows: Iterable[Sequence[Any]], *, head: Sequence[Any] = ()) -> str:
    """Return a table of texts in columns of equal width, without trailing blanks."""
    lines = [[visible(str(cell)) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, e.g. `1 case`, `2,400 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counts(numbers: Mapping[str, int]) -> list[str]:
    """Return what there is of some things, named in the plural; what there is none of is left out.

    >>> counts({"runs": 1, "votes": 0, "outputs": 2400})
    ['1 run', '2,400 outputs']
    """
    return [count(number, nouns.removesuffix("s")) for nouns, number in numbers.items() if number]


def left_out(numbers: Mapping[str, int]) -> str:
    """Return what an export left out, and why, as the end of a line; nothing where nothing was.

    >>> left_out({"tied": 1200, "skipped": 1})
    '; left out: 1,200 tied, 1 skipped'
    """
    return f"; left out: {', '.join(f'{number:,} {why}' for why, number in numbers.items())}" if numbers else ""


def usd(amount: float | None) -> str:
    """Return an amount of money with the digits it needs, e.g. `$1,234.50`, `$0.0012`, or `unknown`."""
    if amount is None:
        return UNKNOWN
    decimals = 2 if amount <= 0 or amount >= 1 else max(2, 1 - math.floor(math.log10(amount)))
    return f"${amount:,.{decimals}f}"


def size(number: int) -> str:
    """Return a number of bytes as a person would say it, e.g. `812 bytes`, `1.2 MB`.

    >>> size(1_234_567)
    '1.2 MB'
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return count(number, "byte")


def duration(seconds: float | None) -> str:
    """Return a duration as a person would say it, e.g. `350 ms`, `12 s`, `4 min`, `2.5 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:  # noqa: PLR2004 - below, seconds read better than minutes
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - 90 minutes


def _html_cell(cell: Any) -> str:
    return f'<td style="{_CELL}">{cell if isinstance(cell, Html) else escaped(cell)}</td>'
