"""The command line: the demo, a look at past runs, exports and reports, and a check of what is installed."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from promptlab import __version__, _text, demo, doctor, exports, results
from promptlab.backends.local import LocalModel
from promptlab.backends.offline import OfflineBackend
from promptlab.errors import NotFoundError, PromptlabError
from promptlab.lab import Lab
from promptlab.run import Run

if TYPE_CHECKING:
    import pandas as pd

_MARKS = {"good": "[green]✓[/]", "note": "[yellow]·[/]", "bad": "[red]✗[/]"}
_FILE = click.option("--file", "path", default="experiments.db", show_default=True, help="The SQLite file.")


class _Commands(click.Group):
    """Commands that report promptlab's own errors as one message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PromptlabError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="promptlab")
def main() -> None:
    """Prompt-engineering experiments: run the demo, look at past runs, export them."""


@main.command("demo")
@click.option("--file", "path", default="demo.db", show_default=True, help="The SQLite file it writes.")
@click.option("--reviews", "number", default=40, show_default=True, help="How many reviews to use, at most 40.")
def run_demo(path: str, number: int) -> None:
    """Run a real sweep on a small local model: which prompt tells a good review from a bad one."""
    console = _console()
    with Lab(path, backend=LocalModel()) as lab:
        plan = lab.plan(demo.templates(), demo.grid(), cases=demo.reviews().head(number))
        console.print(demo.QUESTION, highlight=False)
        console.print(f"\n[bold]{escape(_first_line(plan))}[/]", highlight=False)
        run = lab.run(plan, name=demo.NAME)
        sent = plan.estimate.to_send if plan.estimate else 0
        _print_study(console, run, path, sent=sent)


@main.command()
@_FILE
def runs(path: str) -> None:
    """List the runs in a file, the newest last."""
    with _opened(path) as lab:
        frame = lab.runs()
    table = Table("id", "name", "status", "when", "trials", "ok", "failed", "sent", "cost", box=box.SIMPLE)
    for row in (SimpleNamespace(**{str(k): v for k, v in record.items()}) for record in frame.to_dict("records")):
        counts = (str(_number(value)) for value in (row.trials, row.ok, row.failed, row.attempts))
        when = str(row.created_at)[:16].replace("T", " ")
        cost = _text.usd(None if math.isnan(row.cost_usd) else row.cost_usd)
        cells = (str(row.id), row.name, row.status, when, *counts, cost)
        table.add_row(*(escape(_text.visible(str(cell))) for cell in cells))
    _console().print(table if len(frame) else f"{path} holds no runs yet")


@main.command()
@click.argument("run")
@_FILE
@click.option("--rows", default=10, show_default=True, help="How many trials to show.")
def show(run: str, path: str, rows: int) -> None:
    """Show a run: RUN is its id or its name."""
    console = _console()
    with _opened(path) as lab:
        found = _loaded(lab, run)
        console.print(escape(_text.visible(repr(found))), highlight=False)
        frame = found.frame()
        names = [name for name in frame.columns if name not in results.COLUMNS]
        console.print(_table(frame[["position", "template", *names, "output", "status"]].head(rows)))
        if len(frame) > rows:
            console.print(
                f"{rows} of {_text.count(len(frame), 'trial')}; --rows shows more, `promptlab export` writes all"
            )


_OUTPUT = click.Path(path_type=Path)


@main.command()
@click.argument("run")
@_FILE
@click.option(
    "--format", "form", type=click.Choice(exports.FORMATS), help="By the suffix of --output when left out, or csv."
)
@click.option("--output", "-o", type=_OUTPUT, help="The file to write; standard output when left out.")
def export(run: str, path: str, form: exports.Format | None, output: Path | None) -> None:
    """Write a run's trials, one row each, scores included: RUN is its id or its name."""
    with _opened(path) as lab:
        frame = _loaded(lab, run).frame()
    if output is None:
        sys.stdout.buffer.write(exports.export(frame, form or "csv"))
    else:
        _console().print(f"{exports.write(frame, output, form)}: {_text.count(len(frame), 'trial')}", highlight=False)


@main.command()
@click.argument("run")
@_FILE
@click.option("--output", "-o", type=_OUTPUT, default="report.html", show_default=True, help="The file to write.")
def report(run: str, path: str, output: Path) -> None:
    """Write a report of a run as one HTML file: RUN is its id or its name."""
    with _opened(path) as lab:
        written = _loaded(lab, run).report(output)
    _console().print(f"{written}: {_text.size(written.stat().st_size)}", highlight=False)


@main.command("doctor")
def run_doctor() -> None:
    """Tell what is installed, whether a key is found, and whether endpoint and local model are in reach."""
    found = list(doctor.findings())
    table = Table(box=None, show_header=False)
    for finding in found:
        table.add_row(_MARKS[finding.mark], finding.topic, escape(finding.text))
    _console().print(table)
    if any(finding.mark == "bad" for finding in found):
        raise SystemExit(1)


def _loaded(lab: Lab, run: str) -> Run:
    """Return a run by its name or, where none is called so, by its id."""
    try:
        return lab.load(run)
    except NotFoundError:
        if not run.isdigit():
            raise
        return lab.load(int(run))


def _console() -> Console:
    return Console(soft_wrap=not sys.stdout.isatty())


def _opened(path: str) -> Lab:
    """Open a file to read; nothing can be sent."""
    if not Path(path).exists():
        msg = f"{path} does not exist; name a file with --file"
        raise click.ClickException(msg)
    return Lab(path, backend=OfflineBackend("nothing: the command line only reads"))


def _print_study(console: Console, run: Run, path: str, *, sent: int) -> None:
    frame = run.frame()
    console.print(_accuracy_table(demo.accuracy(frame)))
    console.print(demo.verdict(frame), highlight=False)
    if sent:
        console.print(f"\n{escape(_first_line(run))}", highlight=False)
    else:
        console.print(f"\nNothing was sent: every answer was already in {escape(path)}.", highlight=False)
    console.print(
        "Open it in Jupyter:  [bold]make lab[/]  (or  jupyter lab),  then in a cell:\n"
        f"  [bold]from promptlab import Lab; Lab({path!r}, offline=True).load({run.name!r}).frame()[/]",
        highlight=False,
    )


def _accuracy_table(accuracy: pd.DataFrame) -> Table:
    table = Table("prompt", box=box.SIMPLE)
    table.add_column("temperature", no_wrap=True)
    for name in ("right", "no label", "says positive", "failed", "tokens", "time"):
        table.add_column(name, justify="right")
    best = accuracy["right"].max()
    for row in (SimpleNamespace(**{str(k): v for k, v in record.items()}) for record in accuracy.to_dict("records")):
        right = f"{row.right} / {row.n}"
        counts = (row.no_label, row.said_positive, row.failed, f"{row.tokens:,}")
        cells = (f"{row.temperature:g}", right, *map(str, counts), _text.duration(row.seconds))
        table.add_row(row.template, *cells, style="bold green" if row.right == best else None)
    return table


def _table(frame: pd.DataFrame) -> Table:
    table = Table(*(escape(str(name)) for name in frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*("" if cell is None else escape(_text.clipped(str(cell), 60)) for cell in row))
    return table


def _first_line(value: object) -> str:
    return repr(value).split("\n", 1)[0].strip("<>")


def _number(value: Any) -> int:
    return 0 if math.isnan(value) else int(value)  # a run without trials


if __name__ == "__main__":
    main()
