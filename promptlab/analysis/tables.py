"""A table of an analysis: a DataFrame that also says in words what it shows, and looks so in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from promptlab import _text

_SHOWN = 60  # rows in the rich form; the frame has all


@dataclass(frozen=True, slots=True)
class Rich:
    """How a table is read by people: its title, and its figures as texts, with units and rounded."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Table(pd.DataFrame):
    """A DataFrame with a verdict in words; what pandas makes of it, such as a selection, is a plain DataFrame.

    Attributes
    ----------
    verdict
        What the whole table shows, in sentences, one a line. `table["verdict"]` is a column, where there is one.
    rich
        What a notebook shows.
    """

    _metadata = ["verdict", "rich"]  # noqa: RUF012 - pandas' own name for attributes that are no columns
    verdict: str
    rich: Rich

    def __init__(self, data: Any = None, *, verdict: str = "", rich: Rich = Rich("Table", (), ())) -> None:
        super().__init__(data)  # type: ignore[call-arg]  # the stubs know only __new__
        self.verdict, self.rich = verdict, rich

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        rows = self.rich.rows
        note = f"the first {_SHOWN} of {len(rows):,} rows" if len(rows) > _SHOWN else ""
        grid = _text.html_table(rows[:_SHOWN], head=self.rich.head) if rows else ""
        said = _text.html_list(self.verdict.splitlines()) if self.verdict else ""
        return _text.html_card(self.rich.title, grid + said, note=note)
