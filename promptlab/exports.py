"""A frame as a file: CSV, JSON lines, Parquet or a Markdown table. What is there is never overwritten unasked."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab import _text
from promptlab._json import readable
from promptlab.errors import ExportError

if TYPE_CHECKING:
    import pandas as pd

#: The forms a frame can be written in.
Format = Literal["csv", "jsonl", "parquet", "md"]
FORMATS: tuple[Format, ...] = get_args(Format)

#: What begins a formula, by OWASP's page on CSV injection and its ASVS 5.0 (1.2.10).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def export(frame: pd.DataFrame, format: Format) -> bytes:  # noqa: A002 - the word of the command line's option
    """Return a frame as the bytes of a file.

    In CSV a text that a spreadsheet would run as a formula gets a `'` before it (numbers stay numbers); in Markdown
    what would be markup is escaped; JSON lines and Parquet hold every text as it is.
    """
    if format == "csv":
        # Every text is quoted: the csv module leaves a bare carriage return unquoted, which ends a row for readers
        return _neutralised(frame).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode("utf-8")
    if format == "jsonl":
        return frame.to_json(orient="records", lines=True, force_ascii=False, double_precision=15).encode("utf-8")
    return f"{markdown(frame)}\n".encode() if format == "md" else _parquet(frame)


def write(
    frame: pd.DataFrame,
    path: str | Path,
    format: Format | None = None,  # noqa: A002 - see export
    *,
    overwrite: bool = False,
) -> Path:
    """Write a frame to a file and return its path; the format is told by the name's suffix unless it is given.

    Raises
    ------
    ExportError
        When the file is there and `overwrite` is not set, the format is none of `FORMATS`, or the file cannot be
        written.
    """
    return save(path, export(frame, format_of(path, format)), overwrite=overwrite)


def format_of(path: str | Path, format: str | None = None) -> Format:  # noqa: A002 - see export
    """Return the format a file is to have: the one given, or else the one that its suffix names.

    >>> format_of("run.parquet")
    'parquet'
    """
    asked = Path(path).suffix.removeprefix(".").lower() if format is None else format
    for known in FORMATS:
        if asked == known:
            return known
    given = f"{Path(path).name} has no suffix of a format" if format is None else f"format={_text.brief(format)}"
    msg = f"{given}; there are {', '.join(f'.{known}' if format is None else repr(known) for known in FORMATS)}"
    raise ExportError(msg)


def save(path: str | Path, content: bytes, *, overwrite: bool = False) -> Path:
    """Write bytes to a file and return its path; one that is there is refused unless `overwrite` is set."""
    target = Path(path)
    try:
        with target.open("wb" if overwrite else "xb") as file:
            file.write(content)
    except FileExistsError as exc:
        msg = f"{target} exists; remove it or name another file"
        raise ExportError(msg) from exc
    except OSError as exc:
        msg = f"{target} cannot be written: {exc.strerror}; name a file in a folder that is there and is yours"
        raise ExportError(msg) from exc
    return target


#: What would be markup on GitHub, in JupyterLab and elsewhere. Dollars and backslashes stand in a `span` of their own:
#: JupyterLab looks for mathematics in the finished text as well, but not across the bounds of an element.
_MARKUP = str.maketrans(
    {mark: f"\\{mark}" for mark in "`*_[]|~!#"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "\n": "<br>", "\t": " "}
    | {"$": "<span>&#36;</span>", "\\": "<span>&#92;</span>"}
)
_AUTOMATIC_LINK = re.compile(r"(?<=[a-z])://|(?<=www)\.", re.IGNORECASE)


def markdown(frame: pd.DataFrame, *, chars: int | None = None) -> str:
    r"""Return a frame as a table of GitHub's Markdown; no text in it is markup, a link, HTML or mathematics.

    Numbers have four digits and stand on the right; what is unknown is a dash. `chars` cuts longer texts.

    >>> import pandas as pd
    >>> print(markdown(pd.DataFrame({"output": ["a|b", None], "score": [0.5, 1.0]})))
    | output | score |
    | :--- | ---: |
    | a\|b | 0.5 |
    | – | 1 |
    """
    from pandas.api.types import is_numeric_dtype  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    rules = ["---:" if is_numeric_dtype(column) else ":---" for _, column in frame.items()]
    cells = [[_markdown_cell(value, chars) for value in column] for _, column in frame.items()]
    heads = [_markdown_cell(str(name), None) for name in frame.columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rules, *zip(*cells, strict=True)])


def _markdown_cell(value: Any, chars: int | None) -> str:
    text = _shown(value)
    text = _text.visible(text.replace("\r\n", "\n")) if chars is None else _text.clipped(text, chars)
    return _AUTOMATIC_LINK.sub(lambda found: f"&#{ord(found[0][0])};{found[0][1:]}", text.translate(_MARKUP))


def _shown(value: Any) -> str:
    """Return a cell's text; what is missing is None, NaN or NA."""
    import pandas as pd  # noqa: PLC0415 - see markdown

    if isinstance(value, list | dict):
        return readable(value)
    if pd.isna(value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _neutralised(frame: pd.DataFrame) -> pd.DataFrame:
    safe: pd.DataFrame = frame.apply(lambda column: column.map(_safe_cell, na_action="ignore"))
    return safe.rename(columns=_safe_cell)


def _safe_cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _parquet(frame: pd.DataFrame) -> bytes:
    target = io.BytesIO()
    try:
        frame.to_parquet(target, index=False)
    except ImportError as exc:
        msg = 'writing Parquet needs pyarrow; pip install "promptlab-notebook[parquet]"'
        raise ExportError(msg) from exc
    except (TypeError, ValueError, OverflowError) as exc:  # what pyarrow and pandas raise
        msg = f"this frame does not fit into Parquet, whose columns hold one type each: {exc}; export it as jsonl"
        raise ExportError(msg) from exc
    return target.getvalue()
