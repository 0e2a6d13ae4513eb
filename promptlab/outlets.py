"""What leaves a run: its trials as a file, tables for a text, examples to train on, a report for a colleague."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promptlab import _text, exports, finetuning, reports, results
from promptlab.analyses import Analysis
from promptlab.errors import ExportError
from promptlab.exports import Format
from promptlab.finetuning import Choice, Rated, Where, Written
from promptlab.ledger import timestamp
from promptlab.results import RunRow
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd


class Outlets(Analysis):
    """The part of a run that writes files; `promptlab.run.Run` has it."""

    _store: Store
    _row: RunRow

    def export(
        self,
        path: str | Path,
        *,
        format: Format | None = None,  # noqa: A002 - the word of pandas and of the command line
        overwrite: bool = False,
    ) -> Path:
        """Write the trials, one row each, with every column of `frame()`, scores included; return the path.

        Parameters
        ----------
        format
            `csv`, `jsonl`, `parquet` or `md`; left out, the suffix of the path says it. In CSV a text that a
            spreadsheet would run as a formula gets a `'` before it.
        overwrite
            Replace a file that is there.

        Raises
        ------
        ExportError
            When the file is there, cannot be written, or has no format.

        >>> import tempfile
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     lab.load("capitals").export(f"{folder}/capitals.csv").name
        'capitals.csv'
        """
        return exports.write(self.frame(), path, format, overwrite=overwrite)

    def to_markdown(
        self, table: pd.DataFrame | Literal["summary", "frame"] = "summary", *, chars: int | None = 300
    ) -> str:
        """Return a table in GitHub's Markdown: the summary, the trials, or any DataFrame.

        Texts of models and cases stay text: nothing in them becomes markup, a link, HTML or mathematics.

        Parameters
        ----------
        table
            `"summary"`, `"frame"`, or a DataFrame such as `run.contrast("template")`.
        chars
            Longer texts are put on one line and cut; None leaves them whole.
        """
        if isinstance(table, str):
            if table not in {"summary", "frame"}:
                msg = f"table={_text.brief(table)}: 'summary', 'frame' or a DataFrame is needed"
                raise ExportError(msg)
            table = self.summary() if table == "summary" else self.frame()
        return exports.markdown(table, chars=chars)

    def finetuning(
        self,
        path: str | Path,
        *,
        where: Where | None = None,
        min_score: Mapping[str, float] | None = None,
        rated: Rated | None = None,
        pinned: bool = False,
        flags: Collection[str] = (),
        overwrite: bool = False,
    ) -> Written:
        """Write chosen answers as fine-tuning data, in OpenAI's chat format: a JSON object a line.

        Each has the messages as they were sent, the answer as the last message, and the tools that were on offer.
        Answers within the prompt get `"weight": 0`: only the chosen one is learned from. Equal examples are written
        once. Choices add up; without any, every whole answer is written. What is left out is counted.

        Parameters
        ----------
        where
            A query on the columns of `frame()` (`"template == 'terse' and exact_match == 1"`), values by column
            (`{"template": "terse", "temperature": [0, 0.7]}`), or a boolean a row.
        min_score
            Scores that an answer has to reach: `{"exact_match": 1}`.
        rated
            `"up"` (a thumb), or the stars it has to have at least; the word of whoever rated last counts.
        pinned
            Only answers that are pinned.
        flags
            Flags of `frame()` that do no harm, e.g. `["length"]`: otherwise answers that were cut, refused, empty or
            flagged otherwise are left out.
        overwrite
            Replace a file that is there.

        Raises
        ------
        ExportError
            Before anything is written: when an example holds what looks like a secret key, when the format has no
            place for one, when the choice cannot be understood, and when the file is there.

        >>> import tempfile
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     lab.load("capitals").finetuning(f"{folder}/train.jsonl", where={"template": "terse"}).left_out
        {'equal to another': 3, 'not asked for': 6, 'without an answer': 4}
        """
        choice = Choice(where=where, min_score=min_score, rated=rated, pinned=pinned, flags=flags)
        return finetuning.write(self._store, self.frame(), path, choice, overwrite=overwrite)

    def report(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a report of the run as one HTML file, to send to a colleague or to print; return the path.

        It shows what came out (scores with intervals, differences with a verdict in words, plots), what was asked
        (templates, settings, the first cases), the first rows of the comparison matrix, errors, cost, tokens, latency,
        methods, versions, and how to load the run. It runs no script and loads nothing; texts of models, files and
        cases are shown as text. What a large run has too much of is cut, and the report says so.

        Parameters
        ----------
        overwrite
            Replace a file that is there.

        Raises
        ------
        ExportError
            When the file is there, or cannot be written.

        >>> import tempfile
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     lab.load("capitals").report(f"{folder}/capitals.html").name
        'capitals.html'
        """
        self._row = results.run_row(self._store, self._row.id)
        page = reports.html(self._store, self._row, self.frame(), self.axes, made_at=timestamp(time.time()))
        return exports.save(path, page.encode(), overwrite=overwrite)
