"""The comparison matrix: outputs side by side, any varying thing on the rows and on one or two levels of columns.

Protocol. The browser calls operations by name, with keywords; every answer is a JSON object. All indexes count from 0:
`row` in the present order, `column` in `columns`, both as in the state with the same `version`. An answer of another
version than the one shown is of another order: ask hello(). Unknown numbers are null. Texts are raw: show them as text
nodes only.

State, as first() and hello() give it:
  {"version": 3, "spec": Spec, "columns": [Head], "rows": 113, "rows_in_all": 125, "page": Page (in first() alone),
   "axes": [{"name": "temperature", "kind": "run|template|parameter|case|repeat", "count": 3}],
                                       what varies, for the pickers; `count` is the number of values
   "constants": [["model", "gpt-4o-mini"], ...],     what does not vary, for the caption
   "folded": ["repeat"],               axes that are on neither side, so that a cell may hold several trials
   "references": ["capital"],          case columns that may be a reference answer
   "caption": "terse or guided: 113 of 125 rows x 6 columns",
   "terms": ["refund*"],               what the search looks for
   "notes": ["..."],                   what the search had to leave out
   "counts": {"ok": 740, "failed": 8, "stopped": 0, "running": 2, "todo": 0},      trials of the whole table
   "scorers": ["exact_match"], "scorer": "exact_match" | null,                     `score` is everywhere this scorer's
   "views": ["my view"], "rater": "ann", "read_only": null | "why nothing can be saved", "live": true,
   "at": [row, column] | null}         open there: a permalink was followed
Value, of an axis
  {"at": 2, "label": "terse"}: its place among the values of its axis, and how it is shown; a long text is cut. What
  chooses a value gives back the whole object (or one with `at` alone).
Spec
  {"rows": ["question"], "columns": ["template", "temperature"] (one or two axes each), "repeats": "fold" | "columns",
   "baseline": null | {"template": Value} (of one or more column axes; the others stay as in each column)
                    | {"reference": "capital"} (a case column),
   "filters": {"show": "all|different|same|failed|rated|unrated|pinned",
               "values": {"lang": [Value, ...]} (trials with others are left out of the table; after the first 50 comes
                          {"more": 7, "label": "7 more"}, which stands for the others when it is given back),
               "status": ["failed"], "finish_reason": ["length"], "flags": ["refusal"],
               "ratings": [["thumbs", 1], ["stars", 5], null] (scale and value; null: none),
               "ranges": {"latency_ms": [2000, null]}}
              a row stays when one of its trials meets all of status ... ranges and the search; keys may be left out
   "search": "refund*", "scorer": null | "exact_match",
   "sort": {"by": "plan|label|changed|regressions|disagreement|score|cost_usd|latency_ms|length|rating|rank",
            "descending": true | false | null (the natural way),
            "column": null | [Value, ...] (of one column, as its Head has them; null: over the row)},
   "hidden": [[Value, ...]] (columns), "density": "S|M|L"}
Head
  {"values": [Value, ...], "baseline": column | null (that this one is compared with), "is_baseline": false,
   "trials": 125, "ok": 123, "failed": 2, "unfinished": 0,
   "latency_ms": mean | null, "cost_usd": sum | null, "cost_unknown": 0 (answers without a price),
   "score": mean | null, "scored": 120, "rating": mean | null, "rated": 4, "rating_scale": "thumbs|stars" | null,
   "delta": null | {"n": 118 (rows in both), "score": 0.02 | null, "rating", "latency_ms", "cost_usd"}  this - baseline
   "histogram": null | {"of": "score|rating|latency_ms", "low": 0, "high": 1, "counts": [12 numbers]}}
Page
  {"version": 3, "start": 0, "rows": [Row]}
Row
  {"index": 0, "key": "r17" (the same in every order), "labels": [one label per row axis, cut at 300 characters],
   "context": [["lang", "en"], ...] (the first 8 other case columns that are the same all along the row),
   "reference": "Paris" | null (with a reference baseline, where it is the same all along the row),
   "cells": [Cell | null (nothing was planned there), one per column asked for]}
Cell
  {"status": "ok|failed|stopped|running|todo", "reason": "why there is no answer" | null,
   "trials": 5 (folded into this cell), "answered": 5, "failed": 0, "same": 3 (gave this answer), "variants": 2,
   "variant": 0 (which one this is), "trial_id": 1, "output_id": 7 | null, "repeat": 0,
   "text": the first 1,200 characters | null (fewer where a page is very large), "chars": 4311 (in all) | null,
   "reference": the reference answer of its case, cut like `text` | null (with a reference baseline),
   "equal": true | false | null (with a baseline: whether the whole texts are equal; null: one side has no answer),
   "marks": [[start, end], ...] (search hits in `text`, in UTF-16 units as in JavaScript), "hit": true,
   "finish_reason": "stop" | null, "flags": ["length"], "latency_ms": 812.0, "prompt_tokens": 80,
   "completion_tokens": 41, "cost_usd": 0.0002, "reused": false, "has_logprobs": false,
   "score": null | {"value": 0.5, "label": "ok" | null, "detail": "why" | null},
   "rating": 1 | null (the rater's own), "scale": "thumbs|stars" | null, "raters": 1 (how many rated it),
   "note": "..." | null (the newest by anybody), "pinned": false,
   "change": 0.31 | null (0 like its baseline, 1 all different; known once something asked for it: sort "changed")}
  latency, tokens, cost and what people said are those of the output shown, never sums.

Operations
  hello() -> State
  spec(change={"sort": {...}, ...}) -> State. Whole fields of Spec are replaced. An error changes nothing.
  refresh() -> State: order and filters anew from the present data (after "stale")
  page(start, n <= 200, columns=[0, 1] | null, chars=1200) -> Page
  facets() -> {"version", "categories": [{"name": "status", "filter": "status", "of": 2,
      "values": [{"value": "ok", "count": 740}]}, ...], "numbers": [{"name": "latency_ms", "low": 310, "high": 2900,
      "unknown": 8, "counts": [10 numbers]}, ...]}: trials of the rows that are left. Axes have "filter": "values". Of
      many values there are the 30 most frequent; `of` is the number of all. Of an axis a "value" is a Value, of the
      ratings it is as in the Spec.
  detail(row, column, variant=0) -> {"version", "row": Row without cells, "column": labels, "cell": Cell with
      the whole text (the first 200,000 characters), "baseline": text | null, "prompt": [{"role", "text"}],
      "request": JSON text, "request_id": 7, "response": text | null, "usage": JSON text | null, "headers": {...},
      "curl": text, "refusal": text | null, "tool_calls": JSON text | null,
      "attempts": [{"id", "number", "state", "http_status", "sent_at", "latency_ms", "error_type", "error_message",
        "prompt_tokens", "completion_tokens", "cost_usd"}],
      "logprobs": null | of the first 5,000 tokens, in the form of the API,
      "scores": [{"scorer", "value", "label", "detail"}], "ratings": [{"rater", "value", "scale", "at"}],
      "notes": [{"rater", "text", "at"}]}
  variants(row, column) -> {"version", "cells": [Cell]}: the most frequent answer first, trials without one last
  rate(output_id, value | null, scale="thumbs" (-1, 0, 1) | "stars" (1..5))
      -> {"output_id", "rating", "scale", "raters"}
  note(output_id, text), "" clears it -> {"output_id", "note"}
  pin(output_id, pinned) -> {"output_id", "pinned"}
      These three are committed to the file before they are answered; every browser also gets {"push": "judged", ...}.
  views() -> {"views": [{"name", "at"}]}, the newest first
  save_view(name) -> as views(). Saves the present spec; an old one of that name gives way.
  load_view(name) -> State
  select(cells=[[row, column | null], ...]) -> {"cells": 3, "trials": 15}: for panel.selection; null: the whole row
  link(row, column) -> {"code": "lab.load('...').compare(..., at=...)"}
  find(key) -> {"row": index | null}: where a row is in the present order

Pushes, at most ten a second
  {"push": "cells", "version": 3, "number": 12, "cells": [[row, column, Cell], ...], "whole": true when these are
   all that changed since `number` - 1 (else, or after a gap in `number`, fetch what is shown again),
   "columns": [Head], "counts": {...}, "live": true, "stale": true when order and filters may have changed:
   offer refresh()}
  {"push": "judged", "output_id", and the fields that changed}
  {"push": "state", ...State}: the table was laid out anew, from Python, another browser, or since trials were added
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

import numpy as np
from pydantic import Field

from promptlab import _text, judgements, results
from promptlab.comparison import Spec, Table, cells, details, measures, sql, wire
from promptlab.comparison.axes import Axes
from promptlab.comparison.cells import Place
from promptlab.comparison.layout import NOWHERE
from promptlab.comparison.trials import Ints
from promptlab.errors import ComparisonError, RatingError
from promptlab.panels import _matrix_snapshot
from promptlab.panels._panel import Panel, operation, sendable
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd

FIRST_ROWS = 32
FIRST_BYTES = 90_000  # of what travels with the widget
PUSHED_CELLS = 64  # some 80 kB; of more, browsers ask for those they show
_NAMED = 12  # rows or columns in a message
_VIEW = "matrix"  # what a saved layout is marked with: other panels save theirs in the same table

Row = Annotated[int, Field(ge=0)]
Column = Annotated[int, Field(ge=0)]
Id = Annotated[int, Field(ge=1, lt=2**63)]


class MatrixOptions(TypedDict, total=False):
    """What `run.compare` takes, and is described there; None is as usual, or as in the view."""

    rows: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    repeats: Literal["fold", "columns"] | None
    baseline: Mapping[str, Any] | Sequence[Any] | None
    filters: Mapping[str, Any] | None
    search: str | None
    scorer: str | None
    sort: str | Mapping[str, Any] | None
    hidden: Sequence[Any] | None
    density: Literal["S", "M", "L"] | None
    view: str | None
    at: tuple[Any, Any] | None
    rater: str | None


def compare(store: Store, run_ids: Sequence[int], **options: Unpack[MatrixOptions]) -> Matrix:
    """Return the comparison matrix of some runs; see `promptlab.run.Run.compare`."""
    layout = {name: value for name, value in options.items() if value is not None}
    view, at, rater = (layout.pop(name, None) for name in ("view", "at", "rater"))
    start = Spec() if view is None else saved_spec(store, str(view))
    matrix = Matrix(store, run_ids, start.changed(layout), at=at, rater=rater)  # type: ignore[arg-type]  # checked there
    typed = Spec().changed(layout)
    replace(matrix.layout, filters=typed.filters, hidden=typed.hidden).check_values(matrix.axes)
    return matrix


class Matrix(Panel):
    """The comparison matrix of one or several runs; `run.compare` and `lab.compare` make it.

    Parameters
    ----------
    at
        The cell to open: (row, column), each by its value, or by the tuple of its values.
    rater
        Whose ratings are given and shown; the login name by default.
    """

    view = "matrix"
    label = "Comparison of outputs"

    def __init__(
        self,
        store: Store,
        run_ids: Sequence[int],
        spec: Spec | None = None,
        *,
        at: tuple[Any, Any] | None = None,
        rater: str | None = None,
    ) -> None:
        super().__init__(store)
        self._store = store
        self._table = Table(store, run_ids, spec, rater=rater)
        self._at = at
        if at is not None:
            _found(self._table, at)
        self._selected: Ints = np.zeros(0, np.int64)  # by their ids: the table may be laid out anew
        self._number = 0
        self._seen: int | None = None
        self._look_again_s = 0.0

    # For Python

    @property
    def layout(self) -> Spec:
        """What is on rows and columns, filters, order; `.code()` has it as arguments of `run.compare`."""
        return self._table.spec

    @property
    def axes(self) -> Axes:
        """What can stand on rows and columns."""
        return self._table.axes

    def frame(self) -> pd.DataFrame:
        """Return the trials of the rows that the filters leave, as `run.frame()` has them, in plan order.

        With several runs there is a column `run`; the rater's ratings with their scale, notes and pins stand in the
        last columns.
        """
        with self._lock:
            layout = self._table.layout
            return self._frame(self._table.trials.id[layout.members[layout.kept_members]])

    @property
    def selection(self) -> pd.DataFrame:
        """The trials of the cells picked in the browser, else of the one under its cursor, as in `frame()`."""
        with self._lock:
            return self._frame(self._selected)

    @property
    def sql(self) -> str:
        """One SELECT for `lab.sql` that gives the trials of `frame()`."""
        with self._lock:
            return sql.select(self._table)

    def first(self) -> dict[str, Any]:
        """Return the state, and as much of the first page as can travel with the widget."""
        with self._lock:
            state = self._state()
            wide = 2 * FIRST_ROWS * max(1, len(self._table.layout.columns))
            rows = cells.page(self._table, 0, FIRST_ROWS, chars=min(max(80, FIRST_BYTES // wide), cells.CLIP_CHARS))
            sizes = np.cumsum([_size(state), *map(_size, rows)])
            return {**state, "page": self._paged(0, rows[: int((sizes[1:] <= FIRST_BYTES).sum())])}

    def snapshot(self) -> str:
        """Return the first rows as an HTML table, the differences to the baseline marked."""
        with self._lock:
            return _matrix_snapshot.html(self._table, caption=self._caption())

    def __repr__(self) -> str:
        numbers = {status: number for status, number in measures.counts(self._table).items() if number}
        states = ", ".join(f"{number:,} {status}" for status, number in numbers.items()) or "no trials"
        layout = self._table.layout
        shape = f"{_text.count(layout.rows_in_all, 'row')} x {_text.count(len(layout.columns), 'column')}"
        return f"<Matrix {', '.join(_text.brief(run.name) for run in self._table.trials.runs)}: {shape}, {states}>"

    # What a browser may ask for; the protocol stands above

    @operation
    def hello(self) -> dict[str, Any]:
        """Return the state; from now on a run that goes on is followed."""
        if self._table.trials.is_going:
            self.follow()
        return self._state()

    @operation
    def spec(self, change: dict[str, Any]) -> dict[str, Any]:
        """Replace fields of the spec."""
        self._table.lay_out(self._table.spec.changed(wire.meant(self._table, change)))
        return self._told_state()

    @operation
    def refresh(self) -> dict[str, Any]:
        """Filter and order anew from what the file holds now."""
        self._table.refresh()
        return self._told_state()

    @operation
    def page(
        self,
        start: Annotated[int, Field(ge=0)],
        n: Annotated[int, Field(ge=1, le=200)],
        columns: Annotated[list[Column], Field(max_length=100)] | None = None,
        chars: Annotated[int, Field(ge=1, le=20_000)] = cells.CLIP_CHARS,
    ) -> dict[str, Any]:
        """Return some rows."""
        for column in columns or ():
            self._check_column(column)
        return self._paged(start, cells.page(self._table, start, n, columns=columns, chars=chars))

    @operation
    def facets(self) -> dict[str, Any]:
        """Return what the trials in the rows that are left are made of."""
        self._table.trials.check()
        return {"version": self._table.version, **measures.facets(self._table)}

    @operation
    def detail(self, row: Row, column: Column, variant: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
        """Return all there is to one answer."""
        found, cell = self._cell(row, column)
        return {"version": self._table.version, **details.detail(self._table, found, column, cell, variant)}

    @operation
    def variants(self, row: Row, column: Column) -> dict[str, Any]:
        """Return what each of a cell's different answers looks like."""
        _, cell = self._cell(row, column)
        places = [Place(cell, variant) for variant in range(len(self._table.layout.variants(cell)))]
        return {"version": self._table.version, "cells": cells.draw(self._table, places)}

    @operation
    def rate(self, output_id: Id, value: float | None, scale: Literal["thumbs", "stars"] = "thumbs") -> dict[str, Any]:
        """Rate an output of this table, as the rater."""
        self._check_output(output_id)
        rater = self._table.rater
        judgements.rate(self._store, output_id, value, rater=rater, scale=scale, source=self.view)
        return self._judged(output_id, "rating", "scale", "raters")

    @operation
    def note(self, output_id: Id, text: Annotated[str, Field(max_length=judgements.NOTE_CHARS)]) -> dict[str, Any]:
        """Write a note on an output of this table."""
        self._check_output(output_id)
        judgements.note(self._store, output_id, text, rater=self._table.rater)
        return self._judged(output_id, "note")

    @operation
    def pin(self, output_id: Id, pinned: bool) -> dict[str, Any]:  # noqa: FBT001 - the value itself
        """Pin or unpin an output of this table."""
        self._check_output(output_id)
        judgements.pin(self._store, output_id, pinned=pinned, rater=self._table.rater)
        return self._judged(output_id, "pinned")

    @operation
    def views(self) -> dict[str, Any]:
        """Return the saved layouts."""
        return {"views": [{"name": each.name, "at": each.at} for each in self._views()]}

    @operation
    def save_view(self, name: Annotated[str, Field(min_length=1, max_length=judgements.NAME_CHARS)]) -> dict[str, Any]:
        """Save the present layout under a name."""
        judgements.save_view(self._store, name, {"panel": _VIEW, "spec": self._table.spec.json()})
        return self.views()

    @operation
    def load_view(self, name: str) -> dict[str, Any]:
        """Take a saved layout."""
        self._table.lay_out(saved_spec(self._store, name))
        return self._told_state()

    @operation
    def select(self, cells: Annotated[list[tuple[Row, Column | None]], Field(max_length=10_000)]) -> dict[str, Any]:
        """Keep which cells are selected, for `selection`."""
        found = [self._trials_at(self._row(row), column) for row, column in cells]
        places = np.unique(np.concatenate([np.zeros(0, np.int64), *found]))
        self._selected = self._table.trials.id[places]
        return {"cells": len(cells), "trials": len(places)}

    @operation
    def link(self, row: Row, column: Column) -> dict[str, Any]:
        """Return Python that opens the panel at a cell."""
        place, values = self._row(row), self._table.layout.columns[self._check_column(column)]
        at = tuple(_single(part) for part in (self._table.layout.labels(place), values))
        arguments = ", ".join(filter(None, [self._table.spec.code(), f"at={at!r}"]))
        return {"code": f"{_opening(self._table)}{arguments})"}

    @operation
    def find(self, key: Annotated[str, Field(max_length=100)]) -> dict[str, Any]:
        """Return where a row is in the present order."""
        row = self._table.layout.row_of_key(key)
        index = NOWHERE if row is None else int(self._table.layout.index_of[row])
        return {"row": None if index == NOWHERE else index}

    # While a run goes on

    def update(self, *, whole: bool) -> dict[str, Any] | None:
        """Return the cells that changed since the last update, the last time so that browsers ask for all they show.

        Nothing is looked at while nobody writes to the file, and of a large run more seldom, so that looking takes a
        tenth of the time at most.
        """
        began_s = time.monotonic()
        if not whole and began_s < self._look_again_s:
            return None
        written = self._store.read("pragma data_version")[0][0]
        if written == self._seen and not whole:
            return None
        self._seen = written
        try:
            return self._changes(whole=whole)
        finally:
            ended_s = time.monotonic()
            self._look_again_s = ended_s + 9 * (ended_s - began_s)

    def _changes(self, *, whole: bool) -> dict[str, Any] | None:
        if self._table.trials.has_grown:
            self._table.refresh()
            return {"push": "state", **self._state()}
        changed = self._table.update()
        return self._pushed(changed, is_last=whole) if len(changed) or whole else None

    def _pushed(self, changed: Ints, *, is_last: bool) -> dict[str, Any]:
        layout = self._table.layout
        seen = [cell for cell in layout.cells_of(changed).tolist() if layout.index_of[layout.cell_row[cell]] != NOWHERE]
        told = seen if len(seen) <= PUSHED_CELLS else []
        drawn = cells.draw(self._table, [Place(cell) for cell in told])
        places = zip(layout.index_of[layout.cell_row[told]].tolist(), layout.cell_column[told].tolist(), strict=True)
        self._number += 1
        is_plain = layout.search is None and self._table.spec.sort.by in {"plan", "label"} and self._is_unfiltered()
        return {
            "push": "cells",
            "version": self._table.version,
            "number": self._number,
            "cells": [[*place, cell] for place, cell in zip(places, drawn, strict=True)],
            "whole": len(told) == len(seen) and not is_last,
            "columns": measures.heads(self._table),
            "counts": measures.counts(self._table),
            "live": self._table.trials.is_going,
            "stale": not is_plain,
        }

    def _is_unfiltered(self) -> bool:
        return len(self._table.layout.order) == self._table.layout.rows_in_all

    def may_rest(self) -> bool:
        """Return whether no run of this matrix goes on any more."""
        return not self._table.trials.is_going

    # The state

    def _state(self) -> dict[str, Any]:
        table, layout = self._table, self._table.layout
        return {
            "version": table.version,
            "spec": wire.told(table),
            "columns": measures.heads(table),
            "rows": len(layout.order),
            "rows_in_all": layout.rows_in_all,
            "axes": [{"name": axis.name, "kind": axis.kind, "count": len(axis.values)} for axis in table.axes.varying],
            "constants": [(name, cells.label(value)) for name, value in table.axes.constants],
            "folded": table.folded,
            "references": list(table.axes.case_columns),
            "caption": self._caption(),
            "terms": [] if layout.search is None else layout.search.terms,
            "counts": measures.counts(table),
            "scorers": table.trials.scorers,
            "scorer": table.scorer,
            "views": [each.name for each in self._views()],
            "rater": table.rater,
            "read_only": self._store.read_only_because,
            "live": table.trials.is_going,
            "at": None if self._at is None else _found(table, self._at),
            "notes": [] if layout.search is None else list(layout.search.notes),
        }

    def _told_state(self) -> dict[str, Any]:
        """Return the state, and tell it to the other browsers."""
        state = self._state()
        self.send({"push": "state", **state})
        return state

    def _caption(self) -> str:
        table, layout = self._table, self._table.layout
        names = ", ".join(_text.clipped(run.name, 60) for run in table.trials.runs)
        left = len(layout.order)
        of = "" if left == layout.rows_in_all else f" of {layout.rows_in_all:,}"
        shape = f"{left:,}{of} {'row' if left == 1 else 'rows'} x {_text.count(len(layout.columns), 'column')}"
        folded = f"; in each cell: all values of {', '.join(table.folded)}" if table.folded else ""
        return f"{names}: {shape}{folded}"

    def _paged(self, start: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"version": self._table.version, "start": start, "rows": rows}

    def _judged(self, output_id: int, *fields: str) -> dict[str, Any]:
        """Return what is said of an output now, and tell it to the other browsers."""
        self._table.forget_judgements()
        said = judgements.current(self._store, [output_id]).get(output_id, judgements.NOTHING)
        shown = cells.said_of(said, self._table.rater)
        answer = {"output_id": output_id, **{name: shown[name] for name in fields}}
        self.send({"push": "judged", **answer})
        return answer

    def _views(self) -> list[judgements.View]:
        return [each for each in judgements.views(self._store) if is_matrix(each)]

    # What is meant

    def _row(self, index: int) -> int:
        order = self._table.layout.order
        if index >= len(order):
            msg = f"there is no row {index}: {_text.count(len(order), 'row')} are left"
            raise ComparisonError(msg)
        return int(order[index])

    def _check_column(self, column: int) -> int:
        number = len(self._table.layout.columns)
        if column >= number:
            msg = f"there is no column {column}: there are {number}"
            raise ComparisonError(msg)
        return column

    def _cell(self, index: int, column: int) -> tuple[int, int]:
        self._table.trials.check()
        row = self._row(index)
        cell = self._table.layout.cell(row, self._check_column(column))
        if cell is None:
            msg = f"nothing was planned in row {index}, column {column}"
            raise ComparisonError(msg)
        return row, cell

    def _check_output(self, output_id: int) -> None:
        if not (self._table.trials.output == output_id).any():
            msg = f"output {output_id} is in no cell of this comparison"
            raise RatingError(msg)

    def _trials_at(self, row: int, column: int | None) -> Ints:
        """Return the trials of a cell, of none or of the whole row."""
        layout = self._table.layout
        if column is None:
            return layout.trials_of_row(row)
        cell = layout.cell(row, self._check_column(column))
        return np.zeros(0, np.int64) if cell is None else layout.trials_in(cell)

    def _frame(self, ids: Ints) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        table = self._table
        table.trials.check()
        keys = set(ids.tolist())
        frames = []
        for name, run in zip(table.axes["run"].values, table.trials.runs, strict=True):
            frame = results.trial_frame(self._store, run)
            frame = frame[frame["trial_id"].isin(keys)]
            if len(table.trials.runs) > 1:
                frame.insert(0, "run", name)
            frames.append(frame)
        whole = pd.concat(frames, ignore_index=True)
        outputs = whole["output_id"].dropna().astype(int)
        said = judgements.current(self._store, outputs)
        for name in ("rating", "scale", "note", "pinned"):
            of = [cells.said_of(said.get(key, judgements.NOTHING), table.rater)[name] for key in outputs]
            whole[name] = pd.Series(of, index=outputs.index, dtype=object).reindex(whole.index)
        return whole.astype({"rating": "float64"}).assign(pinned=whole["pinned"].eq(True))  # noqa: FBT003 - no output, no pin


def saved_spec(store: Store, name: str) -> Spec:
    """Return the layout that was saved under a name."""
    found = judgements.view(store, name)
    if not is_matrix(found):
        msg = f"the view {name!r} is of another panel"
        raise ComparisonError(msg)
    return Spec.of(found.spec["spec"])


def is_matrix(view: judgements.View) -> bool:
    """Whether a saved layout is one of this panel."""
    saved = view.spec  # whatever JSON the file holds
    return isinstance(saved, Mapping) and saved.get("panel") == _VIEW and isinstance(saved.get("spec"), Mapping)


def _found(table: Table, at: tuple[Any, Any]) -> list[int] | None:
    """Return index and column of a cell by its values; None when a filter took it out."""
    if not isinstance(at, tuple | list) or len(at) != 2:  # noqa: PLR2004 - row and column
        msg = f"at={_text.brief(at)}: (row, column) is needed, each by its value, e.g. at=('q12', ('terse', 0.7))"
        raise ComparisonError(msg)
    labels, values = (list(part) if isinstance(part, tuple | list) else [part] for part in at)
    row, column = table.layout.row_of_labels(labels), table.layout.column_of(values)
    if row is None or column is None:
        what, wanted = ("row", at[0]) if row is None else ("column", at[1])
        layout = table.layout
        some = map(layout.labels, range(min(_NAMED, layout.rows_in_all))) if row is None else layout.columns[:_NAMED]
        there = ", ".join(_text.brief(_single(each), 40) for each in some) or "none"
        msg = f"at={_text.brief(at)}: there is no {what} {_text.brief(wanted)}; there are {there}"
        raise ComparisonError(msg)
    index = int(table.layout.index_of[row])
    return None if index == NOWHERE else [index, column]


def _size(content: dict[str, Any]) -> int:
    return len(json.dumps(sendable(content)))


def _single(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _opening(table: Table) -> str:
    """Return Python that opens the runs of a table: by name where that finds it, else by id."""
    runs = table.trials.runs
    if len(runs) > 1:
        return f"lab.compare({[run.id for run in runs]!r}, "
    is_newest = results.find_run(table.store, runs[0].name).id == runs[0].id
    return f"lab.load({runs[0].name if is_newest else runs[0].id!r}).compare("
