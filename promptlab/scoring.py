"""Scoring a run: scorers are applied to its answers, and what they say is stored and read.

A score belongs to an answer, a case and a scorer's key, so runs that share an answer share its scores, and scoring
again computes only what is not there. A failed score is tried again each time, since its cause may be gone. Of several
configurations of one name the one applied last counts: its scores have the highest ids, which every room goes by.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from promptlab import _text, results
from promptlab._json import compact, plain, texts, utf8
from promptlab.errors import ScoreError
from promptlab.ledger import timestamp
from promptlab.results import RunRow
from promptlab.scorers import Answered, Score, Scorer, scorer
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

#: The columns of `run.scores()` besides those that tell a trial.
COLUMNS = ("output_id", "scorer", "config_key", "value", "label", "extracted", "reason", "error", "detail")

_NAMES_TAKEN = ("rating",)  # what people say, where the effect of a version is told
_KEY_CHARS = 6
_Pair = tuple[int, int]  # output, case


@dataclass(frozen=True, slots=True)
class ScorerCounts:
    """What came of one scorer, in trials.

    Attributes
    ----------
    scored, before
        How many were scored now, and how many had been before.
    failed
        How many scores failed, now or again; `errors` has the most frequent reasons.
    unanswered
        How many trials have no answer to score.
    mean
        Of all that have a value; None where none has.
    """

    scorer: str
    config_key: str
    scored: int
    before: int
    failed: int
    unanswered: int
    mean: float | None
    errors: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of scoring a run; `run.frame()` has the scores as columns, `run.scores()` as rows."""

    run_id: int
    run_name: str
    scorers: tuple[ScorerCounts, ...]

    def __repr__(self) -> str:
        return f"<Scored run {self.run_id} {_text.brief(self.run_name)}>\n{_text.text_table(self._rows(), head=_HEAD)}"

    def _repr_html_(self) -> str:
        errors = [
            f"{each.scorer}: {number:,} x {_text.clipped(error, 200)}"
            for each in self.scorers
            for error, number in each.errors
        ]
        body = _text.html_table(self._rows(), head=_HEAD) + (_text.html_list(errors) if errors else "")
        return _text.html_card(f"Scored · run {self.run_id} {self.run_name}", body, note="in trials")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                each.scorer,
                "" if each.mean is None else f"{each.mean:.4g}",
                *(f"{number:,}" for number in (each.scored, each.before, each.failed, each.unanswered)),
            )
            for each in self.scorers
        ]


_HEAD = ("scorer", "mean", "scored now", "before", "failed", "no answer")


# Applying

_JOINS = """
from trials join samples on samples.id = trials.sample_id
join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
"""
_PAIRS = f"""
select outputs.id, trials.case_id, count(*) {_JOINS}
where trials.run_id = ? group by outputs.id, trials.case_id order by min(trials.position)
"""
_TRIALS = "select count(*) from trials where run_id = ?"


def score(store: Store, run: RunRow, scorers: Sequence[Scorer | Callable[..., Any]]) -> Scored:
    """Apply scorers to the answers of a run, and store what is not stored yet.

    The first scorer is applied last, so that it is the newest, which panels show.

    Raises
    ------
    ScoreError
        Listing everything that is wrong with the scorers, before anything is scored.
    """
    checked = _checked(scorers, run)
    answers = _Answers(store, run)
    found = [_applied(answers, each) for each in reversed(checked)]
    return Scored(run.id, run.name, tuple(reversed(found)))


def _checked(scorers: Sequence[Scorer | Callable[..., Any]], run: RunRow) -> list[Scorer]:
    if not scorers:
        msg = "score() needs a scorer, e.g. score(exact_match('capital')), or a function of (output, case)"
        raise ScoreError(msg)
    made = {each.key: each for each in map(scorer, scorers)}
    problems = [problem for each in made.values() for problem in problems_of(each, run.plan["columns"])]
    names = Counter(each.name for each in made.values())
    problems += [
        f"{number} scorers are called {name!r}; give each a name of its own: name='...'"
        for name, number in names.items()
        if number > 1
    ]
    if problems:
        raise ScoreError(problems)
    return list(made.values())


def problems_of(scorer: Scorer, columns: Sequence[str], whose: str = "the cases of this run") -> Iterator[str]:
    """Yield what is wrong with a scorer for cases with these columns."""
    if scorer.name in results.COLUMNS or scorer.name in _NAMES_TAKEN:
        yield f"a scorer cannot be called {scorer.name!r}, a name that results have; give it another: name='...'"
    for column in scorer.columns:
        if column not in columns:
            near = _text.nearest(column, columns)
            there = f"did you mean {near!r}?" if near else f"they have {', '.join(map(repr, columns)) or 'no columns'}"
            yield f"{scorer.name}: {whose} have no column {_text.brief(column)}; {there}"


_CASE = "select inputs from cases where id = ?"
_ANSWERS = """
select coalesce(outputs.text, ''), outputs.finish_reason, outputs.flags, outputs.cost_usd, attempts.latency_ms,
  outputs.prompt_tokens, outputs.completion_tokens, attempts.reasoning_tokens, attempts.total_tokens, outputs.id,
  json_extract(wanted.value, '$[1]') as case_id
from json_each(?) as wanted
cross join outputs on outputs.id = json_extract(wanted.value, '$[0]')
left join attempts on attempts.id = outputs.attempt_id order by wanted.key
"""


class _Answers:
    """The answers of a run as they are now, each with how many trials have it."""

    def __init__(self, store: Store, run: RunRow) -> None:
        self.store = store
        self.run = run
        self.trials_of = {(row[0], row[1]): row[2] for row in store.read(_PAIRS, (run.id,))}
        self.unanswered = store.read(_TRIALS, (run.id,))[0][0] - sum(self.trials_of.values())
        self._case = cache(self._read_case)

    def read(self, pairs: Sequence[_Pair]) -> Iterator[Answered]:
        """Yield some of them; one that was forgotten meanwhile is left out."""
        for rows in self.store.batches(_ANSWERS, (json.dumps(pairs),)):
            for text, finish_reason, flags, *facts in rows:
                case_id = facts[-1]
                yield Answered(text, self._case(case_id), finish_reason, texts(flags or "[]"), *facts)

    def _read_case(self, case_id: int) -> Mapping[str, Any]:
        values = json.loads(self.store.read(_CASE, (case_id,))[0][0])
        return MappingProxyType(dict.fromkeys(self.run.plan["columns"]) | values)


def _applied(answers: _Answers, scorer: Scorer) -> ScorerCounts:
    """Score what has no score of this scorer, and count what came of it."""
    held = _held(answers, scorer)
    before = {pair: score for pair, score in held.items() if not score.failed}
    _renew(answers, scorer, sorted(score.id for score in before.values()))
    todo = [pair for pair in answers.trials_of if pair not in before]
    scored, errors = 0, Counter[str]()
    for pairs in _batches(scorer, list(answers.trials_of), todo):
        for answer, score in _stored(answers, scorer, pairs, held):
            if (answer.output_id, answer.case_id) in before:
                continue
            number = answers.trials_of[answer.output_id, answer.case_id]
            if score.is_failed:
                errors[score.detail["error"]] += number
            else:
                scored += number
    return ScorerCounts(
        scorer.name,
        scorer.key,
        scored=scored,
        before=sum(answers.trials_of.get(pair, 0) for pair in before),
        failed=errors.total(),
        unanswered=answers.unanswered,
        mean=answers.store.read(_MEAN, (scorer.key, answers.run.id))[0][0],
        errors=tuple(errors.most_common(_REASONS)),
    )


def _batches(scorer: Scorer, pairs: Sequence[_Pair], todo: Sequence[_Pair]) -> Iterable[Sequence[_Pair]]:
    """Return what the scorer is given at once; one that takes all at once is given those that it scored as well.

    What a judge asks is then the same plan each time: its run goes on where it stopped, and one cap holds for it all.
    """
    if scorer.batch is None:
        return [pairs] if todo else []
    return results.chunks(todo, scorer.batch)


_REASONS = 5
_SCORES = f"{_JOINS} cross join scores on scores.output_id = outputs.id and scores.case_id = trials.case_id"
_MEAN = f"select avg(scores.value) {_SCORES} and scores.config_key = ? where trials.run_id = ?"
_HELD = f"""
select outputs.id, trials.case_id, scores.id, scores.value is null and scores.label is null, scores.detail
{_SCORES} and scores.config_key = ? where trials.run_id = ?
"""


@dataclass(frozen=True, slots=True)
class _Held:
    """A score that is stored."""

    id: int
    failed: bool
    detail: str | None


def _held(answers: _Answers, scorer: Scorer) -> dict[_Pair, _Held]:
    rows = answers.store.read(_HELD, (scorer.key, answers.run.id))
    return {(row[0], row[1]): _Held(row[2], bool(row[3]), row[4]) for row in rows}


_NEWEST = f"""
select scores.config_key {_SCORES} where trials.run_id = ? and scores.scorer = ? order by scores.id desc limit 1
"""
_RENEW = "update scores set id = (select max(id) from scores) + 1 where id = ?"


def _renew(answers: _Answers, scorer: Scorer, ids: list[int]) -> None:
    """Make scores of before the newest again, where another configuration of that name was applied since."""
    newest = answers.store.read(_NEWEST, (answers.run.id, scorer.name)) if ids else []
    if newest and newest[0][0] != scorer.key:
        answers.store.write(lambda connection: connection.executemany(_RENEW, [(each,) for each in ids])).result()


_AT_ONCE = 1_000  # scores in one transaction


def _stored(
    answers: _Answers, scorer: Scorer, pairs: Sequence[_Pair], held: Mapping[_Pair, _Held]
) -> Iterator[tuple[Answered, Score]]:
    """Score some answers, and yield each with its score after that was stored."""
    read = list(answers.read(pairs))
    scores = map(_storable, scorer.score_all(read))
    for some in results.chunks(read, _AT_ONCE):
        found = [(answer, next(scores)) for answer in some]
        _store(answers.store, scorer, found, held)
        yield from found


def _storable(score: Score) -> Score:
    """Return the score in what the file can hold, or failed with the reason."""
    if score.value is not None and not math.isfinite(score.value):
        return Score.failed(f"{score.value} is no score; use a finite number")
    try:
        detail = plain(score.detail)
        compact(detail)
    except (TypeError, ValueError, RecursionError) as exc:
        return Score.failed(f"detail: {exc}")
    if score.is_failed and not isinstance(detail.get("error"), str):
        detail["error"] = "the scorer gave neither a value nor a label"
    return Score(score.value, None if score.label is None else utf8(score.label), detail)


_INSERT = """
insert or replace into scores (output_id, case_id, scorer, config_key, value, label, detail, created_at)
select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
where exists (select 1 from outputs where id = ?1) and exists (select 1 from cases where id = ?2)
"""


def _store(store: Store, scorer: Scorer, some: Sequence[tuple[Answered, Score]], held: Mapping[_Pair, _Held]) -> None:
    """Write scores; where one stands, or failed before for the same reason, there is nothing to write."""
    key, now = scorer.key, timestamp(time.time())
    rows = []
    for answer, score in some:
        detail = utf8(compact(score.detail)) if score.detail else None
        before = held.get((answer.output_id, answer.case_id))
        if not before or (before.failed and not (score.is_failed and before.detail == detail)):
            rows.append((answer.output_id, answer.case_id, scorer.name, key, score.value, score.label, detail, now))
    if rows:
        store.write(partial(_insert, rows=rows)).result()


def _insert(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.executemany(_INSERT, rows)


# Reading

_ALL = f"""
select trials.position, scores.id, scores.scorer, scores.config_key, scores.value, scores.label {_SCORES}
where trials.run_id = ?
"""
_ANY = "select exists (select 1 from scores)"


@dataclass(slots=True)
class _Column:
    """The scores of one configuration on the trials of a run."""

    scorer: str
    newest: int = 0
    values: dict[int, float] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)

    def cells(self, positions: Iterable[int]) -> list[Any]:
        """Return one cell a trial: the value, or the label where the scorer gives labels alone."""
        if self.values or not self.labels:
            return [self.values.get(position, math.nan) for position in positions]
        return [self.labels.get(position) for position in positions]


def with_scores(store: Store, run: RunRow, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a trial frame with one more column a scorer, the newest first.

    Of several configurations of one name the newest has the plain name, the older ones `name@KEY` with the first six
    digits of their keys. A name that another column has becomes `score.NAME`.
    """
    columns = _columns(store, run)
    if not columns:
        return frame
    positions = frame["position"].tolist()
    newest_first = sorted(columns.items(), key=lambda found: -found[1].newest)
    names: dict[str, _Column] = {}
    for key, column in newest_first:
        names[f"{column.scorer}@{key[:_KEY_CHARS]}" if column.scorer in names else column.scorer] = column
    titles = results.column_names(list(names), "score", taken=set(frame.columns))
    return frame.assign(**{titles[name]: column.cells(positions) for name, column in names.items()})


def _columns(store: Store, run: RunRow) -> dict[str, _Column]:
    found: dict[str, _Column] = {}
    if not store.read(_ANY)[0][0]:
        return found
    for rows in store.batches(_ALL, (run.id,)):
        for position, score_id, name, key, value, label in rows:
            column = found.setdefault(key, _Column(name))
            column.newest = max(column.newest, score_id)
            if value is not None:
                column.values[position] = value
            if label is not None:
                column.labels[position] = label
    return found


_LONG = f"""
select trials.position, outputs.id, scores.scorer, scores.config_key, scores.value, scores.label, scores.detail
{_SCORES} where trials.run_id = ? order by trials.position, scores.id desc
"""


def long_frame(store: Store, run: RunRow) -> pd.DataFrame:
    """Return one row a score: the columns that tell its trial, then `COLUMNS`."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    trials = results.trial_frame(store, run)
    told = trials[list(trials.columns[: trials.columns.get_loc("output")])]
    cases = results.case_columns(run)
    taken = [name for name in told.columns if name in COLUMNS]
    told = told.rename(columns={name: f"{'case' if name in cases else 'param'}.{name}" for name in taken})
    rows = [_long_row(row) for some in store.batches(_LONG, (run.id,)) for row in some]
    scores = pd.DataFrame(rows, columns=["position", *COLUMNS]).astype({"value": "float64"})
    return scores.merge(told, on="position")[[*told.columns, *COLUMNS]]


def _long_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    *told, detail = row
    known = _parsed(detail)
    return (*told, *(known.get(name) for name in ("extracted", "reason", "error")), known)


def _parsed(detail: str | None) -> dict[str, Any]:
    """Return a score's detail, empty where another program wrote something else there."""
    try:
        found = json.loads(detail or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
