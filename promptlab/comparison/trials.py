"""The trials of one or several runs, as columns of numbers: small enough for 100,000, read once and brought up to date.

Texts stay in the file. What is costly to know of all trials (why they ended, flags, what their texts are alike in) is
read when something first asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from promptlab import _text, results
from promptlab.errors import ComparisonError
from promptlab.store import Store
from promptlab.templates import variables_of

if TYPE_CHECKING:
    from promptlab.results import RunRow

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: The states a trial can be in, in the order of their codes.
STATUSES = ("ok", "failed", "stopped", "running", "todo")
OK, FAILED, STOPPED, RUNNING, TODO = range(5)
NO_OUTPUT = 0

_JOINS = """
join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id
"""
# Numbers alone, with -1 for what is not known: of 100,000 rows, each None and each text would cost.
_NOW = """
case samples.state when 'done' then 0 when 'failed' then 1 when 'stopped' then 2 when 'leased' then 3 else 4 end,
  coalesce(outputs.id, 0), coalesce(outputs.cost_usd, -1.0), coalesce(attempts.latency_ms, -1.0)
"""
_ALL = f"""
select trials.id, trials.template_id, trials.case_id, trials.case_index, trials.params, trials.repeat, {_NOW}
from trials {_JOINS} where trials.run_id = ? order by trials.position
"""  # noqa: S608 - a query of our own, as are those below
_OF_THESE = f"""
select trials.id, {_NOW}
from json_each(?) as wanted cross join trials on trials.id = wanted.value {_JOINS}
"""  # noqa: S608
_ENDINGS = """
select outputs.id, outputs.completion_tokens, outputs.finish_reason, outputs.flags
from json_each(?) as wanted cross join outputs on outputs.id = wanted.value
"""
_TEXTS = "select outputs.id, text from json_each(?) as wanted cross join outputs on outputs.id = wanted.value"
_TEMPLATES = "select id, name, version, messages from templates where id in (select value from json_each(?))"
_CASES = "select id, inputs from cases where id in (select value from json_each(?))"
_COUNT = "select count(*) from trials where run_id in (select value from json_each(?))"
_RUNS = "select id, uid from runs where id in (select value from json_each(?)) and status != 'forgotten'"
_GOING = "select count(*) from runs where id in (select value from json_each(?)) and status in ('planned', 'running')"
_SCORES = f"""
select scores.scorer, scores.config_key, trials.id, scores.value
from trials {_JOINS} cross join scores on scores.output_id = outputs.id and scores.case_id = trials.case_id
where trials.run_id in (select value from json_each(?)) order by scores.id
"""  # noqa: S608


def chars_of(text: str) -> str:
    r"""Return SQL for the characters of a text: `length` stops at a NUL, so it counts what JSON makes of the text.

    There a backslash is two characters, and a NUL six: each gives way to one.
    """
    return rf"length(json_extract(replace(replace(json_quote({text}), '\\', '/'), '\u0000', '.'), '$'))"


class Trials:
    """The trials of some runs in plan order, one run after the other.

    Arrays of one number a trial: `id`, `output` (0 where there is none), `status` (a place in `STATUSES`), `cost_usd`
    and `latency_ms` (NaN where unknown), and codes that point into the tables `runs`, `templates`, `cells` (parameters)
    and `cases`: `run`, `template`, `cell`, `case`; `repeat` is itself. `variables` are those of the templates.
    """

    def __init__(self, store: Store, run_ids: Sequence[int]) -> None:
        if not run_ids:
            msg = "there is no run to compare; give lab.compare([run, ...]) one at least"
            raise ComparisonError(msg)
        self.store = store
        self.run_ids = tuple(dict.fromkeys(int(key) for key in run_ids))
        self.runs: list[RunRow] = [results.find_run(store, key) for key in self.run_ids]
        self._load()

    def _load(self) -> None:
        parts = [_Columns(self.store, run_id) for run_id in self.run_ids]
        join = np.concatenate
        self.id: Ints = join([part.numbers["id"] for part in parts])
        self.run: Ints = np.repeat(np.arange(len(parts)), [len(part.numbers["id"]) for part in parts])
        self.repeat: Ints = join([part.numbers["repeat"] for part in parts])
        self.status: Ints = join([part.numbers["status"] for part in parts])
        self.output: Ints = join([part.numbers["output"] for part in parts])
        self.cost_usd: Floats = join([part.floats["cost_usd"] for part in parts])
        self.latency_ms: Floats = join([part.floats["latency_ms"] for part in parts])
        self.template, template_ids, _ = dense(join([part.numbers["template"] for part in parts]))
        self.case, case_ids, firsts = dense(join([part.numbers["case"] for part in parts]))
        self.case_ids = case_ids
        self.case_indexes = join([part.numbers["case_index"] for part in parts])[firsts].tolist()
        texts: dict[str, int] = {}
        coded = [[texts.setdefault(text, len(texts)) for text in part.params] for part in parts]
        self.cell: Ints = join([np.array(codes, np.int64) for codes in coded])
        self.cells: list[dict[str, Any]] = [json.loads(text) for text in texts]
        stored = {row["id"]: row for row in self.store.read(_TEMPLATES, (_ids(template_ids),))}
        found = [stored[key] for key in template_ids.tolist()]
        self.templates: list[tuple[str, int]] = [(row["name"], row["version"]) for row in found]
        self.variables = {name for row in found for name in variables_of(json.loads(row["messages"]))}
        inputs = dict(map(tuple, self.store.read(_CASES, (_ids(case_ids),))))
        self.cases: list[dict[str, Any]] = [json.loads(inputs[key]) for key in case_ids.tolist()]
        self._scores: dict[str, Floats] | None = None
        self._keys: dict[str, str] = {}  # scorer -> the key of its newest configuration
        self._endings: _Endings | None = None
        self.texts = _Texts(self.store)

    def __len__(self) -> int:
        return len(self.id)

    @property
    def is_going(self) -> bool:
        """Whether one of the runs goes on, as far as the file says."""
        return bool(self.store.read(_GOING, (json.dumps(self.run_ids),))[0][0])

    @property
    def has_grown(self) -> bool:
        """Whether the file has other trials of these runs than were read: they have to be read anew."""
        if len(self) == sum(map(_planned, self.runs)):  # all that there will ever be
            return False
        return int(self.store.read(_COUNT, (json.dumps(self.run_ids),))[0][0]) != len(self)

    def check(self) -> None:
        """Raise `ComparisonError` where the file has these runs no longer: their ids may be those of others by now."""
        kept = set(map(tuple, self.store.read(_RUNS, (json.dumps(self.run_ids),))))
        gone = [run for run in self.runs if run.status != "forgotten" and (run.id, run.uid) not in kept]
        if gone:
            names = " and ".join(f"run {run.id} {_text.brief(run.name)}" for run in gone)
            msg = f"{names} was forgotten: the file no longer has what is compared here; lab.runs() lists what it has"
            raise ComparisonError(msg)

    def update(self) -> Ints:
        """Look again at the trials that had no answer, and return the places of those that changed."""
        places = np.flatnonzero(self.status != OK)
        found = self.store.read(_OF_THESE, (_ids(self.id[places]),))
        now = {row[0]: tuple(row)[1:] for row in found}
        changed = [
            place
            for place, key, status in zip(
                places.tolist(), self.id[places].tolist(), self.status[places].tolist(), strict=True
            )
            if key in now and now[key][0] != status
        ]
        for place in changed:
            status, output, cost_usd, latency_ms = now[int(self.id[place])]
            self.status[place], self.output[place] = status, output
            self.cost_usd[place], self.latency_ms[place] = _known(np.array([cost_usd, latency_ms]))
        if changed:
            self._endings = None
        return np.array(changed, np.int64)

    # What is said of the answers

    @property
    def scorers(self) -> list[str]:
        """The scorers with a score on one of these trials, the one that scored last first."""
        return list(self._all_scores())

    def scores(self, scorer: str | None) -> Floats:
        """Return the scores by a scorer's newest configuration, NaN where there is none: two are not mixed."""
        found = self._all_scores()
        return found[scorer] if scorer in found else np.full(len(self), np.nan)

    def key_of(self, scorer: str | None) -> str | None:
        """Return the key of a scorer's newest configuration, None where it has not scored these trials."""
        self._all_scores()
        return None if scorer is None else self._keys.get(scorer)

    def forget_scores(self) -> None:
        """Read them anew next time."""
        self._scores = None

    def _all_scores(self) -> dict[str, Floats]:
        if self._scores is None:
            self._scores = {}
            if self.store.read("select exists (select 1 from scores)")[0][0]:
                places = dict(zip(self.id.tolist(), range(len(self)), strict=True))
                for scorer, config, key, value in self.store.read(_SCORES, (json.dumps(self.run_ids),)):
                    column = self._scores.pop(scorer, None)  # put back at the end: the last to score comes last
                    is_same = column is not None and self._keys[scorer] == config
                    self._scores[scorer] = column if column is not None and is_same else np.full(len(self), np.nan)
                    self._keys[scorer] = config
                    if key in places:
                        self._scores[scorer][places[key]] = _float(value)
                self._scores = dict(reversed(self._scores.items()))
        return self._scores

    # How the answers ended

    @property
    def endings(self) -> _Endings:
        """Tokens, finish reasons and flags of all answers."""
        if self._endings is None:
            self._endings = _Endings(self)
        return self._endings

    @property
    def hashes(self) -> Ints:
        """Return a number a trial, equal where texts are equal; 0 where there is no answer."""
        self.texts.learn(self.output.tolist())
        return np.array([self.texts.hashes[key] for key in self.output.tolist()], np.int64)

    @property
    def lengths(self) -> Floats:
        """Return the characters of each answer, NaN where there is none, or none with a text."""
        self.texts.learn(self.output.tolist())
        return np.array([self.texts.lengths[key] for key in self.output.tolist()], float)


class _Columns:
    """The trials of one run, column by column."""

    def __init__(self, store: Store, run_id: int) -> None:
        columns: list[list[Any]] = [[] for _ in range(10)]
        for rows in store.batches(_ALL, (run_id,)):
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
        keys, templates, cases, indexes, self.params, repeats, states, outputs, costs, latencies = columns
        columns_of_numbers = {
            "id": keys,
            "template": templates,
            "case": cases,
            "case_index": indexes,
            "repeat": repeats,
            "status": states,
            "output": outputs,
        }
        self.numbers = {name: np.array(column, np.int64) for name, column in columns_of_numbers.items()}
        self.floats = {
            name: _known(np.array(column, float)) for name, column in (("cost_usd", costs), ("latency_ms", latencies))
        }


class _Endings:
    """How the answers ended: tokens, and codes into `finish_reasons` and `flag_sets`."""

    def __init__(self, trials: Trials) -> None:
        self.finish_reasons: dict[str | None, int] = {}
        self.flag_sets: dict[str, int] = {}
        found = [
            (
                key,
                tokens,
                self.finish_reasons.setdefault(finish_reason, len(self.finish_reasons)),
                self.flag_sets.setdefault(flags, len(self.flag_sets)),
            )
            for key, tokens, finish_reason, flags in _rows(trials.store, _ENDINGS, trials.output)
        ]
        keys = np.array([row[0] for row in found], np.int64)
        place, is_there = _places(keys, trials.output)
        self.is_there = is_there

        def column(values: list[Any], missing: float) -> Floats:
            return np.where(is_there, np.array([*values, missing], float)[place], missing)

        self.completion_tokens = column([row[1] for row in found], np.nan)
        self.finish_reason = column([row[2] for row in found], -1).astype(np.int64)
        self.flags = column([row[3] for row in found], -1).astype(np.int64)

    def having_flag(self, flags: Iterable[str]) -> Mask:
        """Return which trials' answers have one of these flags."""
        wanted = set(flags)
        codes = [code for text, code in self.flag_sets.items() if wanted & set(json.loads(text))]
        return np.isin(self.flags, codes)

    def having_reason(self, reasons: Iterable[str | None]) -> Mask:
        """Return which trials' answers ended for one of these reasons."""
        return np.isin(self.finish_reason, [self.finish_reasons.get(reason, -2) for reason in reasons])


class _Texts:
    """What is known of the texts of outputs, which never change: a hash and a length each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.hashes: dict[int, int] = {NO_OUTPUT: 0}
        self.lengths: dict[int, float] = {NO_OUTPUT: np.nan}

    def learn(self, outputs: Iterable[int]) -> None:
        """Read those that are not known."""
        missing = [key for key in outputs if key not in self.hashes]
        for key, text in _rows(self._store, _TEXTS, np.array(missing, np.int64)) if missing else ():
            self.hashes[key] = text_key(text)
            self.lengths[key] = np.nan if text is None else len(text)


def text_key(text: str | None) -> int:
    """Return a number that is equal where texts are equal, in this process, and never 0."""
    return hash((text,)) or 1


def dense(codes: Ints) -> tuple[Ints, Ints, Ints]:
    """Return codes from 0 in the order first met, the value of each, and where it was first met."""
    values, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], values[order], firsts[order]


def _places(keys: Ints, wanted: Ints) -> tuple[Ints, Mask]:
    """Return where each of the wanted keys stands, and whether it does; the place past the end stands for no key."""
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys[order], wanted), max(0, len(keys) - 1))
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    place = order[at]
    is_there = keys[place] == wanted
    return np.where(is_there, place, len(keys)), is_there


def _planned(run: RunRow) -> int:
    plan = run.plan
    return int(len(plan["templates"]) * len(plan["cells"]) * plan["cases"] * plan["repeats"])


def _rows(store: Store, sql: str, outputs: Ints) -> Iterable[Any]:
    for rows in store.batches(sql, (_ids(np.unique(outputs[outputs != NO_OUTPUT])),)):
        yield from rows


def _ids(keys: Ints) -> str:
    return json.dumps(keys.tolist())


def _known(numbers: Floats) -> Floats:
    return np.where(numbers < 0, np.nan, numbers)


def _float(value: float | None) -> float:
    return np.nan if value is None else float(value)


Measure = Callable[[Trials], Floats]

#: The numbers that rows can be filtered and summed up by.
MEASURES: Mapping[str, Measure] = {
    "latency_ms": lambda trials: trials.latency_ms,
    "cost_usd": lambda trials: trials.cost_usd,
    "completion_tokens": lambda trials: trials.endings.completion_tokens,
    "length": lambda trials: trials.lengths,
}
