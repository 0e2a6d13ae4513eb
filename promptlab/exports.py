"""A trial frame as a file: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab.errors import PromptlabError

if TYPE_CHECKING:
    import pandas as pd

#: The forms a frame can be written in.
Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

#: What begins a formula, by OWASP's page on CSV injection and its ASVS 5.0 (1.2.10).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def export(frame: pd.DataFrame, format: Format) -> bytes:  # noqa: A002 - the word of the command line's option
    """Return a frame as the bytes of a file.

    In CSV a text that a spreadsheet would run as a formula gets a `'` before it (numbers stay numbers); the other two
    forms hold every text as it is.
    """
    if format == "csv":
        # Every text is quoted: the csv module leaves a bare carriage return unquoted, which ends a row for readers
        return _neutralised(frame).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode("utf-8")
    if format == "jsonl":
        return frame.to_json(orient="records", lines=True, force_ascii=False, double_precision=15).encode("utf-8")
    return _parquet(frame)


def write(frame: pd.DataFrame, path: str | Path, format: Format) -> Path:  # noqa: A002 - see export
    """Write a frame to a file and return its path; refuses to overwrite."""
    target = Path(path)
    content = export(frame, format)
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError as exc:
        msg = f"{target} exists; remove it or name another file"
        raise PromptlabError(msg) from exc
    return target


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
        raise PromptlabError(msg) from exc
    except (TypeError, ValueError, OverflowError) as exc:  # what pyarrow and pandas raise
        msg = f"this frame does not fit into Parquet, whose columns hold one type each: {exc}; export it as jsonl"
        raise PromptlabError(msg) from exc
    return target.getvalue()
