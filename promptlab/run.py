"""A run: a plan executed, and its results, past or live.

A run is a view of the file: what it shows is read when it is asked for, so a run loaded a year later shows the same. A
live one also knows the workers that answer it, and can be waited for, stopped and awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from promptlab import _loop, _text, accounts, agreements, histories, reruns, results, scoring
from promptlab.accounts import Spending
from promptlab.cases import Cases
from promptlab.errors import BackendError
from promptlab.grids import ParameterGrid
from promptlab.jobs import Progress
from promptlab.live import Bar, LiveRun, Shown
from promptlab.model_judges import ModelJudge
from promptlab.outlets import Outlets
from promptlab.panels._panel import is_in_kernel
from promptlab.runner import Runner
from promptlab.store import Store
from promptlab.templates import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

    from promptlab.model_raters import ModelRating
    from promptlab.pairings import Tied, Variant
    from promptlab.panels.judge import Judge
    from promptlab.panels.matrix import Matrix
    from promptlab.panels.monitor import Monitor
    from promptlab.scorers import Scorer
    from promptlab.scoring import Scored


class Run(Outlets):
    """A plan executed, and its results.

    `lab.run` and `lab.load` make one; see `promptlab.results.COLUMNS` for what `frame` holds.
    """

    def __init__(
        self, store: Store, run_id: int, *, is_as_it_was: bool = False, ask: Callable[..., Run] | None = None
    ) -> None:
        self._store = store
        self._row = results.run_row(store, run_id)
        self._ask = ask  # how its lab runs a plan, for judges that are models
        self._live: LiveRun | None = None
        self._again: Callable[[], Run] | None = None  # starts its plan again, and asks for what failed as well
        self._monitor: Monitor | None = None
        self._is_as_it_was = is_as_it_was

    @property
    def id(self) -> int:
        """The number under which `lab.load` finds it."""
        return self._row.id

    @property
    def name(self) -> str:
        """The name given, or one made from the templates' names."""
        return self._row.name

    @property
    def status(self) -> str:
        """`planned`, `running`, `paused`, `done` (all have an end), `stopped` (not all were asked) or `failed`."""
        self._refresh()
        is_paused = self._live is not None and self._live.runner.progress.is_paused
        return "paused" if is_paused and self._row.status == "running" else self._row.status

    @property
    def reason(self) -> str | None:
        """Why the run stopped, where it did."""
        self._refresh()
        return self._row.reason

    @property
    def templates(self) -> list[PromptTemplate]:
        """The templates that were asked, to run them again or to derive others from them."""
        return reruns.templates_of(self._store, self._row)

    @property
    def grid(self) -> ParameterGrid:
        """The settings that were asked."""
        return reruns.grid_of(self._row)

    @property
    def cases(self) -> Cases:
        """The cases that were asked, with every column they had."""
        return reruns.cases_of(self._store, self._row)

    @property
    def repeats(self) -> int:
        """How many independent samples of each request were asked."""
        return int(self._row.plan["repeats"])

    @property
    def generation(self) -> int:
        """Which generation of samples it is; 0 takes what the file holds."""
        return int(self._row.plan["generation"])

    @property
    def progress(self) -> Progress | None:
        """Where a live run stands; None for a past one."""
        return self._live.runner.progress if self._live else None

    def frame(self) -> pd.DataFrame:
        """Return the results as a tidy DataFrame: one row a trial, in plan order.

        The columns are those of `promptlab.results.COLUMNS`: template, the case's values, every varying parameter,
        repeat, output, status, error, usage, cost in USD, latency in milliseconds, and row ids. A trial without an
        answer has its row as well. After them stands one column a scorer (see `score`), the newest first: its value,
        or of a scorer that gives labels alone the label; missing where nothing was scored, or the score failed.
        """
        return scoring.with_scores(self._store, self._row, results.trial_frame(self._store, self._row))

    def score(
        self,
        *scorers: Scorer | Callable[..., Any],
        max_cost_usd: float | None = None,
        concurrency: int | None = None,
        progress: bool = True,
    ) -> Scored:
        """Score the answers, store the scores, and return how many were scored.

        Only what is not stored yet is computed: a scorer is known by its name and whole configuration, and one that is
        changed is another column of `frame()`. What failed before is tried again. Trials without an answer are counted,
        not scored.

        Parameters
        ----------
        scorers
            `exact_match("capital")` and its like, or a function of (output, case) that returns a bool, a number, a
            label, or a mapping with `value`, `label`, `detail`. The first one is what panels show unless asked.
        max_cost_usd, concurrency, progress
            Of what a `model_judge` asks, as in `Lab.run`; each judge is a run of its own, and the cap holds for each.

        Raises
        ------
        ScoreError
            Listing everything that is wrong with the scorers, such as a column that the cases do not have, before
            anything is scored.

        >>> import tempfile
        >>> from promptlab import exact_match
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     lab.load("capitals").score(exact_match("capital"))
        <Scored run 1 'capitals'>
        scorer       mean  scored now  before  failed  no answer
        exact_match  0.5   12          0       0       4
        """
        asking = partial(self._asked, max_cost_usd=max_cost_usd, concurrency=concurrency, progress=progress)
        made = [
            each.asking(partial(asking, f"{each.name} of {self.name}")) if isinstance(each, ModelJudge) else each
            for each in scorers
        ]
        return scoring.score(self._store, self._row, made)

    def _asked(self, name: str, *plan: Any, **options: Any) -> pd.DataFrame:
        """Have a model asked in a run of its own, and return that run's trials."""
        if self._ask is None:
            msg = "this run knows no lab to ask a model with; load it with lab.load(...)"
            raise BackendError(msg)
        return self._ask(*plan, name=name, **options).tag("judge").frame()

    def agreement(self, metric: str, *, threshold: float | None = None) -> pd.DataFrame:
        """Return how far a score agrees with what people rated, one row a rater and scale; empty where nobody rated.

        A thumb is compared with the score being at least `threshold`, stars with the score rounded to whole stars.

        Columns: rater, scale (thumbs, stars), n (outputs with both), agreed, percent, kappa, low, high: Cohen's kappa
        (not weighted) with its interval, NaN where it is not known.

        Parameters
        ----------
        metric
            A column of scores, e.g. the name of a `model_judge`.
        threshold
            From where a score counts as thumbs up; 0.5 for scores between 0 and 1, else to be given.
        """
        return agreements.agreement(self._store, self.frame(), metric, threshold=threshold)

    def judge_by_model(
        self,
        *,
        model: str,
        a: Variant | None = None,
        b: Variant | None = None,
        by: str | Sequence[str] | None = None,
        n: int = 100,
        criterion: str = "Which answer is better?",
        seed: int = 0,
        tied: Tied = "identical",
        structured: bool = True,
        max_tokens: int | None = 300,
        temperature: float | None = 0,
        max_cost_usd: float | None = None,
        concurrency: int | None = None,
        progress: bool = True,
        **parameters: Any,
    ) -> ModelRating:
        """Have a model rate pairs of answers, the same pairs that `judge` shows to people who are asked the same.

        Each pair is shown in both orders; where the model does not prefer the same answer twice, its vote is a tie.
        Its votes are kept under the rater `model:NAME`, and what it was asked and said is a run of its own. The same
        call goes on where it stopped, and asks nothing twice.

        Parameters
        ----------
        a, b, by, n, criterion, seed, tied
            As in `judge`: with equal ones the model votes on the session of the people.
        structured, max_tokens, temperature, parameters
            Of the requests, as in `model_judge`.
        max_cost_usd, concurrency, progress
            As in `Lab.run`.

        Raises
        ------
        RatingError
            When there is nothing to compare; the message says what can be.
        """
        from promptlab import judging, model_raters  # noqa: PLC0415 - loaded where they are used

        session = judging.opened(
            self._store, self._row, a=a, b=b, by=by, n=n, criterion=criterion, seed=seed, tied=tied
        )
        options = {"max_cost_usd": max_cost_usd, "concurrency": concurrency, "progress": progress}
        ask = partial(self._asked, f"{model_raters.PREFIX}{model} on pairs of {self.name}", **options)
        sent = {"max_tokens": max_tokens, "temperature": temperature, **parameters}
        return model_raters.rated(session, ask, model=model, structured=structured, parameters=sent)

    def scores(self) -> pd.DataFrame:
        """Return one row a score: what tells the trial (as in `frame()`, up to repeat), then what was said of it.

        Those columns are output_id, scorer, config_key, value, label, extracted (from the answer, where the scorer
        extracts), reason (of a 0 that is more than a difference), error (why the score failed) and detail (a mapping
        with all of it). A column of the cases that has one of these names is called `case.NAME` here.
        """
        return scoring.long_frame(self._store, self._row)

    @property
    def axes(self) -> list[str]:
        """The columns of `frame` that vary by plan: the template, its version, parameters and swept variables."""
        return results.axes(self._store, self._row)

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that are the same in all trials, and so have no column in `frame`: model, max_tokens, ..."""
        return results.fixed(self._row)

    def attempts(self) -> pd.DataFrame:
        """Return what was sent: one row an attempt of this run, in the order of sending; what it reused is not in it.

        Columns: attempt_id, request_id, sent_at (UTC, ISO 8601), state (ok, error, unknown, sent), http_status,
        error_type, latency_ms, prompt_tokens, completion_tokens, cost_usd (NaN where it is not known).
        """
        return accounts.attempts(self._store, self.id)

    @property
    def setting_columns(self) -> list[str]:
        """The columns of `frame` that hold the settings: template, version, and what varies."""
        return results.setting_columns(self._row)

    @property
    def outputs(self) -> list[str | None]:
        """What the model wrote, one a trial, in plan order; None where there is no answer."""
        column = self.frame()["output"]
        return [text if isinstance(text, str) else None for text in column]

    @property
    def errors(self) -> pd.DataFrame:
        """The trials without an answer: position, template, case, repeat, status, error, request_id."""
        frame = self.frame()
        columns = ["position", "template", "case", "repeat", "status", "error", "request_id"]
        return frame.loc[frame["status"] != "ok", columns]

    def judge(
        self,
        *,
        a: Variant | None = None,
        b: Variant | None = None,
        by: str | Sequence[str] | None = None,
        n: int = 100,
        criterion: str = "Which answer is better?",
        rater: str | None = None,
        seed: int = 0,
        show: Sequence[str] | None = None,
        tied: Tied = "identical",
        reasons: Sequence[str] = ("facts", "tone", "length"),
    ) -> Judge:
        """Open a blind pairwise rating: two answers side by side, without a word of where they came from until the end.

        All pairings are planned and stored before one is shown: drawn by the seed from the items (case, repeat and the
        other settings) that both sides have answered by now, each case once before any comes again; of every two
        pairings each variant is on the left once; a tenth comes back later mirrored, to tell how far you agree with
        yourself. The same call goes on where the session stopped, also after a restart, and of a finished one shows the
        result.

        Parameters
        ----------
        a, b
            The two variants, by the same columns of `frame()`: `{"template": "terse"}`. Settings that they do not name
            are equal on both sides.
        by
            Instead of a and b: compare all values of a column, or combinations of several, each against each.
        n
            How many pairs at most, mirrored repeats not counted.
        criterion
            What to go by; shown above the answers.
        rater
            Who judges, the login name by default. Raters share a session's pairings and vote each for themselves.
        seed
            Another seed draws another session.
        show
            Columns of the cases to show above the answers; left out, those that the prompts use.
        tied
            Which answers are a tie without asking: `identical` ones, or those that differ in `whitespace` at most.
        reasons
            Words on offer for why.

        Raises
        ------
        RatingError
            When there is nothing to compare; the message says what can be.

        >>> import tempfile
        >>> from promptlab.testing import sample_lab
        >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
        ...     lab.load("capitals").judge(a={"template": "terse"}, b={"template": "chatty"}, n=4)
        <Judge 'Which answer is better?': 0 of 4 judged>
        """
        from promptlab import judging  # noqa: PLC0415 - with its statistics a tenth of the import of promptlab
        from promptlab.panels.judge import Judge  # noqa: PLC0415 - loads pydantic, so only where it is used

        session = judging.opened(
            self._store, self._row, a=a, b=b, by=by, n=n, criterion=criterion, seed=seed, tied=tied
        )
        shown = judging.inputs_used(self._store, self._row) if show is None else show
        return Judge(session, rater=rater, show=shown, reasons=reasons)

    @property
    def usage(self) -> Spending:
        """The attempts and tokens this run spent, failed attempts included; what it reused is not in it."""
        return accounts.spending(self._store, self.id)

    @property
    def cost_usd(self) -> float | None:
        """What this run spent, in USD; None when no price is known. `usage` counts what is left out of it."""
        return self.usage.cost_usd

    def compare(
        self,
        rows: str | Sequence[str] | None = None,
        columns: str | Sequence[str] | None = None,
        *,
        repeats: Literal["fold", "columns"] | None = None,
        baseline: Mapping[str, Any] | Sequence[Any] | None = None,
        filters: Mapping[str, Any] | None = None,
        search: str | None = None,
        scorer: str | None = None,
        sort: str | Mapping[str, Any] | None = None,
        hidden: Sequence[Any] | None = None,
        density: Literal["S", "M", "L"] | None = None,
        view: str | None = None,
        at: tuple[Any, Any] | None = None,
        rater: str | None = None,
    ) -> Matrix:
        """Return the comparison matrix: outputs side by side, to search, filter, rate and annotate.

        It fills as a run goes on.

        Everything that `frame` has a column for, and that varies, can stand on rows and columns. What stands on neither
        side is folded into the cells: equal answers are counted, and `,` and `.` step through the others.

        Parameters
        ----------
        rows, columns
            What stands there, one or two things each: `rows="question", columns=["template", "temperature"]`. Without
            them the cases (by the column that the templates use, where that is one and tells them apart) are
            compared over the first two settings that vary and fit.
        repeats
            `"columns"` gives each repeat a column of its own instead of folding them.
        baseline
            What the others are compared with: `{"template": "terse"}` (within each temperature), one column
            (`("terse", 0.7)`), or the cases' own answer (`{"reference": "capital"}`).
        filters, search
            Which rows are left: `{"show": "different"}`, `{"values": {"lang": ["en"]}}`, `{"status": ["failed"]}`,
            `{"ranges": {"latency_ms": [2000, None]}}`, `{"ratings": [("stars", 5), None]}`, ...; words as in
            `lab.search`.
        scorer
            Whose scores are shown; the one that scored last by default.
        sort
            The order of the rows: `"changed"`, `"regressions"`, `"disagreement"`, `"cost_usd"`, `"latency_ms"`,
            `"length"`, `"score"`, `"rating"`, `"rank"` of the search, `"label"`, or the `"plan"`.
        hidden, density
            Columns not to show, by their values; `"S"`, `"M"` or `"L"` for the height of the rows.
        view
            A layout that was saved in the panel, by its name; what else is given goes before it.
        at
            The cell to open, (row, column) by their values: what the key `y` copies.
        rater
            Whose ratings, notes and pins are written; the login name by default.

        Raises
        ------
        ComparisonError
            Naming what there is in place of a name that is none.
        """
        from promptlab.panels.matrix import compare  # noqa: PLC0415 - panels are loaded where one is shown

        return compare(
            self._store,
            [self.id],
            rows=rows,
            columns=columns,
            repeats=repeats,
            baseline=baseline,
            filters=filters,
            search=search,
            scorer=scorer,
            sort=sort,
            hidden=hidden,
            density=density,
            view=view,
            at=at,
            rater=rater,
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags given with `tag`, in that order."""
        self._refresh()
        return self._row.tags

    @property
    def note(self) -> str:
        """A remark kept with the run; assigning another one writes it to the file."""
        self._refresh()
        return self._row.note

    @note.setter
    def note(self, text: str) -> None:
        histories.set_note(self._store, self.id, text)

    @property
    def is_archived(self) -> bool:
        """Whether the run was put aside with `archive`."""
        self._refresh()
        return self._row.archived

    def tag(self, *tags: str) -> Run:
        """Give the run tags, by which `lab.history(tag=...)` finds it, and return it.

        A tag is a short text on one line, without commas; one that the run has already changes nothing.
        """
        histories.tag(self._store, [self.id], tags)
        return self

    def untag(self, *tags: str) -> Run:
        """Take tags from the run; one that it does not have changes nothing."""
        histories.tag(self._store, [self.id], (), remove=tags)
        return self

    def archive(self) -> Run:
        """Put the run aside: `lab.runs()` and `lab.history()` leave it out unless asked; nothing is deleted."""
        histories.archive(self._store, [self.id])
        return self

    def unarchive(self) -> Run:
        """Bring an archived run back."""
        histories.archive(self._store, [self.id], to="active")
        return self

    def wait(self, *, progress: bool = True) -> Run:
        """Wait until a live run has ended, with a progress bar, and return the run.

        An interrupt (Ctrl-C, the kernel's stop button) stops it cleanly: nothing new is sent, what is in flight is
        awaited and logged, then KeyboardInterrupt is raised. A second one drops what is in flight.
        """
        if self._live is not None:
            self._live.wait(partial(self._shown, self._live) if progress else None)
            self._refresh()
        return self

    def monitor(self) -> Monitor:
        """Return a panel that shows how the run stands: live where it is executed, in this kernel or another.

        Progress, pace, money, errors by type, a square a trial, the newest output; a run of this kernel can be paused,
        stopped and asked again there.
        """
        from promptlab.panels.monitor import Monitor  # noqa: PLC0415 - loads pydantic, so only where it is used

        if self._monitor is None or self._monitor.is_closed:
            self._monitor = Monitor(self._store, self.id, self._live, retry=self._again and self._retried)
        return self._monitor

    def show(self) -> None:
        """Show the monitor of a live run, in Jupyter; elsewhere nothing happens."""
        if self._live is not None and is_in_kernel():
            self.monitor().show()

    def pause(self) -> None:
        """Pause a live run: nothing new is sent until `resume`, what is in flight is awaited. Returns at once."""
        if self._live is not None:
            self._live.pause()

    def resume(self) -> None:
        """Go on with a run that was paused."""
        if self._live is not None:
            self._live.resume()

    def stop(self) -> None:
        """Stop a live run: nothing new is sent, what is in flight is awaited. Returns at once."""
        if self._live is not None:
            self._live.stop()

    def __await__(self) -> Generator[Any, None, Run]:
        return self._awaited().__await__()

    async def _awaited(self) -> Run:
        if self._live is not None:
            try:
                await self._live.awaited()
            finally:
                self.leave()
            self._refresh()
        return self

    def leave(self) -> None:
        """Have the monitor take in the end; it reads nothing more then."""
        if self._monitor is not None:
            self._monitor.finish()

    def _shown(self, live: LiveRun) -> Bar | Shown:
        """Return what shows the progress of a live run here: in Jupyter its monitor, elsewhere a bar."""
        if not is_in_kernel():
            return Bar(live.runner)
        if self._monitor is None or not live.is_ended:  # a cell that waits for what has ended has nothing to show
            self.show()
        return Shown(self.monitor())

    def _retried(self) -> LiveRun | None:
        """Start the plan again, and ask for what failed as well; the run is live again then."""
        if self._again is None:
            return None
        again = self._again()
        self._live, again._monitor = again._live, self._monitor  # noqa: SLF001 - another of this class
        return self._live

    def __len__(self) -> int:
        return sum(self._counts().values())

    def __repr__(self) -> str:
        facts = "; ".join(filter(None, (value for _, value in self._facts())))
        return f"<Run {self.id} {self.name!r}: {facts}>"

    def _repr_html_(self) -> str:
        errors = self._error_lines()
        body = _text.html_table(self._facts()) + (_text.html_list(errors) if errors else "")
        return _text.html_card(f"Run {self.id} · {self.name}", body, note=self._row.created_at[:16].replace("T", " "))

    def _refresh(self) -> None:
        self._row = results.run_row(self._store, self.id)

    def _counts(self) -> dict[str, int]:
        return results.counts(self._store, self.id)

    def _facts(self) -> list[tuple[str, str]]:
        spent, status, counts = self.usage, self.status, self._counts()
        ends = ", ".join(f"{number:,} {state}" for state, number in counts.items()) or "none"
        facts = [("trials", f"{_text.count(len(self), 'trial')}, {ends}")]
        if counts.get("failed") or counts.get("stopped"):
            again = ", retry_failed=True asks again for what the server refused" if counts.get("failed") else ""
            facts.append(("without an answer", f"run.errors tells why{again}"))
        if status != "done":
            facts.append(("status", f"{status}: {_text.clipped(self.reason, 200)}" if self.reason else status))
        facts.append(("spent", f"nothing sent now; before: {_spent(spent)}" if self._is_as_it_was else _spent(spent)))
        is_going = status in {"running", "paused"}
        if spent.attempts and not is_going and (estimate := self._row.plan.get("estimate")):
            facts.append(("beforehand", _estimated(estimate)))
        if spent.unknown and not is_going:  # what is in flight has no known end yet
            facts.append(("unknown", _unknown(spent)))
        return [*facts, *self._remarks()]

    def _remarks(self) -> list[tuple[str, str]]:
        """Return what a person wrote on the run, where there is something."""
        said = {"tags": ", ".join(self._row.tags), "note": self._row.note}
        found = [(name, _text.clipped(text, 200)) for name, text in said.items() if text]
        return [*found, *([("archived", "run.unarchive() brings it back")] if self._row.archived else [])]

    def _error_lines(self) -> list[str]:
        errors = results.error_counts(self._store, self.id)
        return [f"{number:,} x {_text.clipped(error, 200)}" for error, number in errors]


class Answer:
    """One answer: its text, and the run that logged it.

    Attributes
    ----------
    text
        What the model wrote; empty when there is no text.
    run
        The run of this one trial; `run.frame()` has its tokens, cost and ids.

    Raises
    ------
    BackendError
        When no answer came; the message says why.
    """

    def __init__(self, run: Run) -> None:
        row = run.frame().iloc[0]
        if row["status"] != "ok":
            msg = f"no answer: {_text_or_none(row['error']) or run.reason or row['status']}"
            raise BackendError(msg)
        self.run = run
        self.text = _text_or_none(row["output"]) or ""
        self.finish_reason = _text_or_none(row["finish_reason"])
        self.flags: str = row["flags"]
        self.request_id = int(row["request_id"])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return _text.visible(self.text) + (f"\n[{self.flags}]" if self.flags else "")


def _text_or_none(cell: Any) -> str | None:
    """Return a cell's text; pandas holds a missing one as NaN."""
    return cell if isinstance(cell, str) else None


def began(run: Run, runner: Runner, work: Coroutine[Any, Any, None], *, again: Callable[[], Run]) -> LiveRun:
    """Start the work on the background loop; the run is live from now on.

    `again` starts its plan once more, when the run has ended, and asks for what failed as well.
    """
    run._again = again  # noqa: SLF001 - this module's own
    run._live = LiveRun(runner, _loop.submit(work))  # noqa: SLF001 - see above
    return run._live  # noqa: SLF001 - see above


def _spent(spent: Spending) -> str:
    if not spent.attempts:
        return "nothing sent"
    tokens = f"{spent.prompt_tokens:,} + {spent.completion_tokens:,} tokens"
    cost = "cost unknown" if spent.cost_usd is None else "free" if spent.cost_usd == 0 else _text.usd(spent.cost_usd)
    left_out = f" (and {spent.unpriced:,} without a price)" if spent.unpriced and spent.cost_usd is not None else ""
    return f"{_text.count(spent.attempts, 'request')} sent, {tokens}, {cost}{left_out}"


def _unknown(spent: Spending) -> str:
    bound = "" if not spent.reserved_usd else f" for up to {_text.usd(spent.reserved_usd)}"
    return f"{_text.count(spent.unknown, 'attempt')} without a known end, maybe billed{bound}"


def _estimated(estimate: Mapping[str, Any]) -> str:
    """Say what the plan said beforehand, in the words of what was spent."""
    prompt, completion = (
        "?" if estimate[f"{side}_tokens"] is None else f"{estimate[f'{side}_tokens']:,}"
        for side in ("prompt", "completion")
    )
    cost, is_bound = estimate["cost_usd"], estimate["completion_is_bound"]
    about = "up to about " if is_bound else "about "
    money = "cost unknown" if cost is None else "free" if cost == 0 else about + _text.usd(cost)
    tokens = f"about {prompt} + {'at most ' if is_bound else ''}{completion} tokens"
    return f"estimated at {_text.count(estimate['to_send'], 'request')}, {tokens}, {money}"
