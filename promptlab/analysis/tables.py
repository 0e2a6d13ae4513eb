"""A table of an analysis: a DataFrame that also says in words what it shows, and looks so in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd

from promptlab import _text

_SHOWN = 60  # rows in the rich form; the frame has all


class Table(pd.DataFrame):
    """A DataFrame with a verdict in words; what pandas makes of it, such as a selection, is a plain DataFrame.

    Attributes
    ----------
    verdict
        What the whole table shows, in sentences, one a line. `table["verdict"]` is a column, where there is one.
    """

    _metadata: ClassVar[list[str]] = ["verdict", "_title", "_head", "_rows"]
    verdict: str

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        more = len(self._rows) - _SHOWN
        note = f"the first {_SHOWN} of {len(self._rows):,} rows" if more > 0 else ""
        body = _text.html_table(self._rows[:_SHOWN], head=self._head) if self._rows else ""
        said = _text.html_list(self.verdict.splitlines()) if self.verdict else ""
        return _text.html_card(self._title, body + said, note=note)


def table(data: pd.DataFrame, *, title: str, verdict: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a frame as a table; head and rows are its rich form, as texts."""
    made = Table(data)
    made.verdict, made._title = verdict, title
    made._head, made._rows = list(head), [list(row) for row in rows]
    return made
