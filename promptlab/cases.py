"""Cases: the rows that fill a template's slots, with whatever columns are kept for scoring.

Values are JSON's own types. Text files are read as text, cell by cell: "007" stays "007" and an empty cell is empty
text, because a prompt is text and nothing may change it on the way.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from promptlab import _text
from promptlab._json import compact, exact_digest, plain
from promptlab.errors import CaseError

if TYPE_CHECKING:
    import pandas as pd

#: A case: names to values.
Case = Mapping[str, Any]


class Cases:
    """An ordered list of cases.

    A column is a template variable, a reference for scoring, or both; columns that no template uses are fine.

    Parameters
    ----------
    rows
        A list of mappings, a DataFrame, or other Cases. A column that a row lacks is None there.

    Raises
    ------
    CaseError
        Listing every value that is not JSON, by row and column.

    >>> cases = Cases([{"question": "Capital of France?", "capital": "Paris"}])
    >>> cases
    <Cases 1 case: question, capital>
    >>> cases[0]["capital"]
    'Paris'
    """

    def __init__(self, rows: Iterable[Case] | pd.DataFrame | Cases) -> None:
        found = list(_rows(rows))
        self._columns = tuple(dict.fromkeys(name for row in found for name in row))
        self._rows = tuple({name: row.get(name) for name in self._columns} for row in found)

    @classmethod
    def from_csv(cls, path: str | Path, *, separator: str = ",", encoding: str = "utf-8-sig") -> Cases:
        """Read a CSV file with a header line; every value is text, and an empty cell is empty text."""
        try:
            with Path(path).open(encoding=encoding, newline="") as file:
                return cls(_csv_rows(file, path, separator))
        except (OSError, ValueError, csv.Error) as exc:
            raise _unreadable(path, exc) from exc

    @classmethod
    def from_jsonl(cls, path: str | Path) -> Cases:
        """Read a file with one JSON object a line; blank lines are skipped."""
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError) as exc:
            raise _unreadable(path, exc) from exc
        return cls([_parsed(line, f"{path}, line {place}") for place, line in enumerate(lines, 1) if line.strip()])

    @classmethod
    def from_parquet(cls, path: str | Path) -> Cases:
        """Read a Parquet file; needs `pip install "promptlab-notebook[parquet]"`."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        try:
            with Path(path).open("rb") as file:
                return cls(pd.read_parquet(file))
        except ImportError as exc:
            msg = f'{path}: reading Parquet needs pyarrow; pip install "promptlab-notebook[parquet]"'
            raise CaseError(msg) from exc
        except (OSError, ValueError) as exc:
            raise _unreadable(path, exc) from exc

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names, in the order first met."""
        return self._columns

    def head(self, n: int = 5) -> Cases:
        """Take the first n cases."""
        return Cases(self._rows[:n])

    def sample(self, n: int, *, seed: int) -> Cases:
        """Take n cases at random without replacement, in their order; the same seed takes the same cases."""
        if not 0 <= n <= len(self):
            msg = f"cannot sample {n} of {len(self)} cases"
            raise CaseError(msg)
        places = sorted(random.Random(seed).sample(range(len(self)), n))  # noqa: S311 - a design, not a secret
        return Cases([self._rows[place] for place in places])

    def duplicates(self) -> list[tuple[int, int]]:
        """Return (first, second) places of cases that are equal in every column."""
        seen: dict[str, int] = {}
        pairs = ((seen.setdefault(exact_digest(row), place), place) for place, row in enumerate(self._rows))
        return [(first, place) for first, place in pairs if first != place]

    def frame(self) -> pd.DataFrame:
        """Return the cases as a DataFrame, one row each."""
        import pandas as pd  # noqa: PLC0415 - see from_parquet

        return pd.DataFrame(list(self._rows), columns=list(self._columns))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Case]:
        return iter(self._rows)

    def __getitem__(self, place: int) -> Case:
        return self._rows[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cases) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # rows hold lists and dicts

    def __repr__(self) -> str:
        return f"<Cases {_text.count(len(self), 'case')}: {', '.join(self.columns) or 'no columns'}>"

    def _repr_html_(self) -> str:
        rows = [[_text.clipped(str(row[name]), 80) for name in self.columns] for row in self._rows[:_SHOWN]]
        note = f"the first {_SHOWN}" if len(self) > _SHOWN else ""
        table = _text.html_table(rows, head=self.columns)
        return _text.html_card(f"Cases · {_text.count(len(self), 'case')}", table, note=note)


def brief(case: Case, chars: int) -> str:
    """Return the values of a case on one line, cut to a number of characters: what a list shows of it.

    >>> brief({"question": "Capital of France?", "lang": "en", "n": 2}, 80)
    'Capital of France? · en · 2'
    """
    values = [value if isinstance(value, str) else compact(value) for value in case.values()]
    return _text.clipped(" · ".join(values), chars)


_SHOWN = 5  # cases in the rich display
_LARGEST_CELL = 2**31 - 1  # characters; the csv module's own limit of 131,072 is less than a long document


def _rows(rows: Iterable[Case] | pd.DataFrame | Cases) -> Iterator[dict[str, Any]]:
    if hasattr(rows, "to_dict"):  # a DataFrame, told without importing pandas
        frame = cast("pd.DataFrame", rows)
        _check_names(map(str, frame.columns), where="the DataFrame")
        rows = cast("list[Case]", frame.to_dict("records"))
    if isinstance(rows, Mapping | str) or not isinstance(rows, Iterable):
        msg = (
            f"cases are a list of mappings, not one {type(rows).__name__}; write [{{...}}],"
            " or Cases.from_csv(path) for a file"
        )
        raise CaseError(msg)
    problems: list[str] = []
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            problems.append(f"case {place} is {_text.brief(row)}; each case is a mapping of column names to values")
        else:
            yield {str(name): _value(value, f"case {place}, {name!r}", problems) for name, value in row.items()}
    if problems:
        raise CaseError(problems)


def _check_names(names: Iterable[str], *, where: str) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        msg = f"{where} has two columns {twice[0]!r}; rename one"
        raise CaseError(msg)


def _value(value: Any, where: str, problems: list[str]) -> Any:
    try:
        return plain(value)
    except (TypeError, RecursionError) as exc:
        problems.append(f"{where}: {exc}")
        return None


def _csv_rows(file: Iterable[str], path: str | Path, separator: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file exactly as they are; a row with more or fewer cells than the header is an error."""
    limit = csv.field_size_limit(_LARGEST_CELL)
    try:
        lines = csv.reader(file, delimiter=separator, strict=True)
        header = next(filter(None, lines), None)
        if header is None:
            msg = f"{path} is empty; it begins with a line of column names"
            raise CaseError(msg)
        _check_names(header, where=str(path))
        for cells in filter(None, lines):
            if len(cells) != len(header):
                found = f"{_text.count(len(cells), 'cell')} where the header has {len(header)}"
                msg = f"{path}, line {lines.line_num}: {found}; put quotes around text that holds commas or line breaks"
                raise CaseError(msg)
            yield dict(zip(header, cells, strict=True))
    finally:
        csv.field_size_limit(limit)


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as exc:
        msg = f"{where}: not JSON ({exc}); each line holds one object"
        raise CaseError(msg) from exc
    if not isinstance(row, dict):
        msg = f'{where}: {_text.brief(row)} is not an object; write {{"column": value, ...}}'
        raise CaseError(msg)
    return row


def _unreadable(path: str | Path, exc: Exception) -> CaseError:
    return CaseError(f"{path} cannot be read: {exc}")
