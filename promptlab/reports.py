"""The report of a run: one HTML file that shows a colleague what was asked, what came out, and how sure that is.

It holds no script and asks the network for nothing: pictures are in it, and a content policy says so to the browser.
Every text of a model, a file or a case is escaped. What a large run has too much of is cut, and the report says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from promptlab import _text, accounts, reruns, results
from promptlab._json import canonical, readable
from promptlab.analyses import Analysis
from promptlab.comparison import Table as Comparison
from promptlab.errors import AnalysisError, ComparisonError
from promptlab.panels import _matrix_snapshot
from promptlab.results import RunRow
from promptlab.store import Store
from promptlab.templates import content_text

if TYPE_CHECKING:
    import pandas as pd

    from promptlab.analysis.tables import Table
    from promptlab.plots import Plot, Plots

METRICS = 4  # that are compared; the summary has all scores
SETTINGS = 60  # in the summary; of more the templates alone are summed up
LEVELS = 12  # of an axis whose levels are compared, each with each
TEMPLATES = 20
TEXT_CHARS = 20_000  # of one message
CASES = 5
CELL_CHARS = 300  # of a case's value
PICTURES = 10  # most of them of the first score
_MATRIX_HINT = "run.compare() in a notebook opens all of it"
_MEASUREMENTS = ("completion_tokens", "latency_ms", "cost_usd")


def html(store: Store, run: RunRow, frame: pd.DataFrame, axes: Sequence[str], *, made_at: str) -> str:
    """Return the report of a run as an HTML page.

    Parameters
    ----------
    frame, axes
        The trials with their scores, and the columns that vary by design.
    made_at
        When it is made, UTC.
    """
    told = _Told(store, run, _Results(frame, axes, run.name))
    return _page().render(told=told, run=run, made_at=made_at)


class _Results(Analysis):
    """The results of a run, read once for all that the report says of them."""

    def __init__(self, frame: pd.DataFrame, axes: Sequence[str], name: str) -> None:
        self._frame, self._axes, self._name = frame, list(axes), name

    @property
    def name(self) -> str:
        """What a plot is headed with."""
        return self._name

    def frame(self) -> pd.DataFrame:
        """Return the trials."""
        return self._frame

    @property
    def axes(self) -> list[str]:
        """The columns that vary by design."""
        return self._axes


@dataclass(frozen=True)
class _Told:
    """What the report says, part by part, as the page asks for it."""

    store: Store
    run: RunRow
    results: _Results

    # What came out

    @cached_property
    def metrics(self) -> list[str]:
        """The scores that are compared; without scores, what was measured."""
        from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

        frame = self.results.frame()
        scored: list[str] = frames.metrics(frame, None)
        return (scored or [name for name in _MEASUREMENTS if frame[name].nunique() > 1])[:METRICS]

    @cached_property
    def is_scored(self) -> bool:
        """Whether there is a score that is a number."""
        return bool(self.metrics) and self.metrics[0] not in _MEASUREMENTS

    @cached_property
    def facts(self) -> list[tuple[str, str]]:
        """How many trials there were, what became of them, and what they took."""
        frame, spent = self.results.frame(), self._spent
        latency = frame.loc[frame["status"] == "ok", "latency_ms"].dropna()
        states = results.counts(self.store, self.run.id)
        cost = "free" if spent.cost_usd == 0 and spent.attempts else _text.usd(spent.cost_usd)
        took, slow = (
            _text.duration(float(latency.quantile(share)) / 1000 if len(latency) else None) for share in (0.5, 0.95)
        )
        return [
            ("trials", f"{len(frame):,}"),
            *((state, f"{states.get(state, 0):,}") for state in ("ok", "failed", "stopped")),
            *((state, f"{states[state]:,}") for state in ("running", "todo") if states.get(state)),
            ("requests sent", f"{spent.attempts:,}"),
            ("cost", cost),
            ("tokens sent", f"{spent.prompt_tokens:,}"),
            ("tokens received", f"{spent.completion_tokens:,}"),
            ("median latency", took),
            ("95 % within", slow),
        ]

    @cached_property
    def _spent(self) -> accounts.Spending:
        return accounts.spending(self.store, self.run.id)

    @cached_property
    def remarks(self) -> list[str]:
        """What to know about the money and the state."""
        spent, reused = self._spent, int(self.results.frame()["reused"].sum())
        told = [
            (
                self.run.status != "done",
                f"The run is {self.run.status}{f': {self.run.reason}' if self.run.reason else ''}.",
            ),
            (reused, f"{_text.count(reused, 'trial')} took an answer that was bought before, at no cost to this run."),
            (spent.unknown, f"{_text.count(spent.unknown, 'attempt')} without a known end may have been billed."),
            (spent.unpriced, f"{_text.count(spent.unpriced, 'attempt')} without a price stand in no cost."),
        ]
        return [sentence for is_so, sentence in told if is_so]

    @cached_property
    def summary(self) -> Table:
        """What each setting scored; of very many settings, what each template scored."""
        is_large = len(self.run.plan["cells"]) * len(self.run.plan["templates"]) > SETTINGS
        by = ["template"] if is_large else None
        return self.results.summary(by, metric=None if self.is_scored else (self.metrics or None))

    @cached_property
    def contrasts(self) -> list[tuple[str, Table]]:
        """Each axis, and how its levels differ."""
        axes = self._axes if self.metrics else []
        found = [(axis, self._asked(self.results.contrast, axis, self.metrics)) for axis in axes]
        return [(axis, table) for axis, table in found if table is not None]

    @cached_property
    def effects(self) -> list[Table]:
        """Which axis matters, for each metric."""
        found = (self._asked(self.results.effects, name) for name in self.metrics)
        return [table for table in found if table is not None]

    @cached_property
    def verdicts(self) -> list[tuple[str, str]]:
        """What the contrasts say in words, each with its axis."""
        return [(axis, line) for axis, table in self.contrasts for line in table.verdict.splitlines()]

    @cached_property
    def left_out(self) -> list[str]:
        """What is too much for a report, or has nothing to say."""
        frame = self.results.frame()
        wide = [axis for axis in self.results.axes if axis not in self._axes]
        from promptlab.analysis import frames  # noqa: PLC0415 - loads pandas

        scored = len(frames.metrics(frame, None))
        told = [(f"{axis} has {frame[axis].astype(str).nunique():,} values: they are not compared") for axis in wide]
        more = [f"the first {METRICS} of {scored} scores are compared"] if scored > METRICS else []
        return [*told, *more]

    @cached_property
    def _axes(self) -> list[str]:
        frame = self.results.frame()
        return [axis for axis in self.results.axes if frame[axis].astype(str).nunique() <= LEVELS]

    @cached_property
    def pictures(self) -> list[Markup]:
        """The plots that this run has something for."""
        drawn = filter(None, map(self._drawn, self._plots(self.results.plot)))
        return list(islice(drawn, PICTURES))

    def _plots(self, plot: Plots) -> Iterator[Callable[[], Plot]]:
        """Yield what may be drawn; whoever draws finds out whether there is anything for it."""
        scored = self.metrics if self.is_scored else []
        for name in scored[:1]:
            yield partial(plot.heatmap, name)
            yield partial(plot.line, name)
        for _, table in self.contrasts:
            yield partial(plot.forest, table, self.metrics[0])
        for name in scored[:1]:
            yield partial(plot.effects, name)
            yield partial(plot.pareto, name)
        yield plot.latency
        yield plot.tokens
        for name in scored[1:]:
            yield partial(plot.heatmap, name)

    @staticmethod
    def _drawn(draw: Callable[[], Plot]) -> Markup | None:
        try:
            return Markup(draw()._repr_mimebundle_()[0]["text/html"])  # noqa: S704 - escaped where it is made
        except AnalysisError:
            return None

    @staticmethod
    def _asked(ask: Callable[..., Table], *args: Any) -> Table | None:
        """Return a table of the analysis, or None where there is nothing to compare."""
        try:
            return ask(*args)
        except AnalysisError:
            return None

    @cached_property
    def outputs(self) -> Markup | None:
        """The first rows of the comparison matrix."""
        try:
            table = Comparison(self.store, [self.run.id])
        except ComparisonError:
            return None
        caption = f"Outputs of {self.run.name}"
        return Markup(_matrix_snapshot.html(table, caption=caption, hint=_MATRIX_HINT))  # noqa: S704 - as above

    @cached_property
    def errors(self) -> list[tuple[str, int]]:
        """The most frequent reasons for having no answer."""
        return results.error_counts(self.store, self.run.id)

    # What was asked

    @cached_property
    def asked(self) -> str:
        """The size of the run, and whom it asked."""
        plan = self.run.plan
        sizes = {
            "template": len(plan["templates"]),
            "setting": len(plan["cells"]),
            "case": plan["cases"],
            "repeat": plan["repeats"],
        }
        models = _values(plan["cells"], "model")
        return f"{' × '.join(_text.count(number, noun) for noun, number in sizes.items())}, asked of {models}"

    @cached_property
    def templates(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The templates by name and version, each with its messages as they are before a case is filled in."""
        versions: dict[str, int] = dict(
            self.results.frame()[["template", "version"]].drop_duplicates().itertuples(index=False)
        )
        found = reruns.templates_of(self.store, self.run)[:TEMPLATES]
        return [
            (
                f"{each.name}, version {versions[each.name]}" if each.name in versions else each.name,
                [(str(message["role"]), _cut(content_text(message), TEXT_CHARS)) for message in each.messages],
            )
            for each in found
        ]

    @cached_property
    def settings(self) -> list[tuple[str, str]]:
        """Each parameter and the values it had."""
        cells = self.run.plan["cells"]
        names = dict.fromkeys(name for cell in cells for name in cell)
        return [(name, _values(cells, name)) for name in names]

    @cached_property
    def cases(self) -> tuple[list[str], list[list[str]]]:
        """The names of the cases' columns, and the first cases."""
        columns = list(self.run.plan["columns"])
        first = list(islice(reruns.cases_of(self.store, self.run), CASES))
        return columns, [[_cut(_as_text(case.get(name)), CELL_CHARS) for name in columns] for case in first]

    @cached_property
    def backend(self) -> list[tuple[str, str]]:
        """What answered."""
        named = {**self.run.backend, "base_url": self.run.base_url}
        return [(name.replace("_", " "), _cut(_as_text(value), CELL_CHARS)) for name, value in named.items() if value]

    # How to have it again

    @cached_property
    def made_with(self) -> list[tuple[str, str]]:
        """The versions of what ran it, and where it stands in the user's work."""
        row = dict(self.store.read(_MADE_WITH, (self.run.id,))[0])
        return [(name.replace("_", " "), str(value)) for name, value in row.items() if value]

    @property
    def code(self) -> str:
        """Python that loads the run."""
        return f"from promptlab import Lab\n\nrun = Lab({self.store.path.name!r}, offline=True).load({self.run.id})"


_MADE_WITH = """
select promptlab_version as promptlab, openai_version as openai, python_version as python, sqlite_version as sqlite,
  git_commit, notebook, uid as run, plan_key as plan
from runs where id = ?
"""


@cache
def _page() -> Template:
    """Return the page; what it prints is shown with hidden characters made visible, and escaped."""
    text = resources.files("promptlab").joinpath("data/report.html").read_text(encoding="utf-8")
    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printed
    )
    page.globals |= {name: value for name, value in globals().items() if name.isupper()} | {"count": _text.count}
    return page.from_string(text)


def _printed(value: Any) -> Any:
    """Return HTML of our own as it is, and anything else as a text with nothing hidden in it."""
    return value if isinstance(value, Markup) else _text.visible(str(value))


def _values(cells: Sequence[Mapping[str, Any]], name: str) -> str:
    values = {canonical(cell.get(name)): cell.get(name) for cell in cells}
    shown = [_cut(_as_text(value), CELL_CHARS) for value in islice(values.values(), SETTINGS)]
    return ", ".join([*shown, *([f"… {len(values):,} values"] if len(values) > SETTINGS else [])])


def _as_text(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else readable(value)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text):,} characters)"
