"""What a change of prompt did to the answers: trials that two versions both answered, pair by pair.

A pair is the same case, settings, repeat and generation, so that asking one version again changes nothing until the
other is asked again too; of several runs of a version the newest counts. Versions that share no generation are compared
by the newest answers of each. At a temperature above 0 two answers differ by chance as well, so that an output changed
says little, and the scores more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from promptlab import _text
from promptlab._json import canonical, compact
from promptlab.cases import brief
from promptlab.errors import NotFoundError
from promptlab.scorers import MEASURES
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["better", "worse", "same", "unknown"]

RATING = "rating"
EXAMPLES = 6  # pairs shown with their outputs, the worse ones first
_OUTPUT_CHARS = 600
_CASE_CHARS = 160


@dataclass(frozen=True, slots=True)
class Pair:
    """One trial of each version, for the same case, settings and repeat, and where there is one the same generation.

    Attributes
    ----------
    by
        What both outputs were valued by: `rating`, or a scorer's name; None where there is nothing of the kind.
    """

    case_id: int
    params: str
    repeat: int
    before_generation: int
    after_generation: int
    before_trial_id: int
    after_trial_id: int
    before_output_id: int
    after_output_id: int
    is_changed: bool
    by: str | None = None
    before_value: float | None = None
    after_value: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the second output is better; equal outputs are the same, others without a value unknown."""
        if self.before_value is None or self.after_value is None:
            return "unknown" if self.is_changed else "same"
        if self.after_value == self.before_value:
            return "same"
        return "better" if self.after_value > self.before_value else "worse"


@dataclass(frozen=True, slots=True)
class Example:
    """A pair with what was asked and answered, cut to some hundred characters."""

    pair: Pair
    case: str
    setting: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What happened to the trials that two versions both answered.

    Attributes
    ----------
    pairs
        Every one, in the order of cases, settings, repeats and generations.
    examples
        Some of those that changed: worse ones first, then better ones, then those without a value.
    prompt_tokens, cost_usd
        By how much the second version's are more a request, on the average over the pairs; None where not counted.
    """

    pairs: tuple[Pair, ...]
    examples: tuple[Example, ...] = ()
    prompt_tokens: float | None = None
    cost_usd: float | None = None

    @property
    def changed(self) -> int:
        """How many outputs differ."""
        return sum(pair.is_changed for pair in self.pairs)

    def count(self, verdict: Verdict) -> int:
        """Return how many pairs came out `better`, `worse`, `same` or `unknown`."""
        return sum(pair.verdict == verdict for pair in self.pairs)

    @property
    def by(self) -> Mapping[str, int]:
        """What the outputs were valued by, with the number of pairs."""
        names = [pair.by for pair in self.pairs if pair.by is not None]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def frame(self) -> pd.DataFrame:
        """Return one row a pair: case, the parameters that vary, repeat, changed, verdict, both values, row ids."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        names = varying(self.pairs)
        told = ["is_changed", "verdict", "by", "before_value", "after_value"]
        ids = [f"{side}_{of}" for of in ("generation", "trial_id", "output_id") for side in ("before", "after")]
        rows = [
            [
                pair.case_id,
                *(json.loads(pair.params).get(name) for name in names),
                *(getattr(pair, name) for name in ("repeat", *told, *ids)),
            ]
            for pair in self.pairs
        ]
        return pd.DataFrame(rows, columns=["case_id", *names, "repeat", *told, *ids])

    def sentence(self) -> str:
        """Return the effect in one line."""
        if not self.pairs:
            return "effect: no case was answered by both with the same settings"
        verdicts: tuple[Verdict, ...] = ("better", "worse", "same", "unknown") if self.by else ("same",)
        counts = [f"{self.count(verdict):,} {verdict}" for verdict in verdicts if self.count(verdict)]
        by = f" by {', '.join(self.by)}" if self.by else ""
        told = ("; " if by else ", ").join(filter(None, [f"{self.changed:,} changed", ", ".join(counts)]))
        shared = _text.count(len(self.pairs), "shared answer")
        return f"effect on {shared} ({self.basis}): {told}{by}{self._measured()}"

    @property
    def basis(self) -> str:
        """Which answers were compared."""
        alike = all(pair.before_generation == pair.after_generation for pair in self.pairs)
        return (
            "same case, settings, repeat and generation"
            if alike
            else "same case, settings and repeat; the newest of each"
        )

    def _measured(self) -> str:
        if not self.prompt_tokens:
            return ""
        cost = f", {_signed_usd(self.cost_usd)}" if self.cost_usd else ""
        return f"; {self.prompt_tokens:+.1f} prompt tokens{cost} a request, as counted".replace("-", "−")

    def html_examples(self) -> str:
        """Return the examples as a table."""
        rows = [
            (
                each.pair.verdict,
                ", ".join(filter(None, (each.case, each.setting))),
                *(_text.clipped("(no text)" if text is None else text, 240) for text in (each.before, each.after)),
            )
            for each in self.examples
        ]
        return _text.html_table(rows, head=("", "case", "answer before", "answer after")) if rows else ""


def _signed_usd(amount: float) -> str:
    return f"{'+' if amount > 0 else '−'}{_text.usd(abs(amount))}"


_TRIALS = """
select trials.case_id, trials.params, trials.repeat, samples.generation, trials.id, outputs.id, outputs.text,
  outputs.tool_calls, outputs.refusal, outputs.prompt_tokens, outputs.cost_usd
from trials
cross join samples on samples.id = trials.sample_id
cross join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
where trials.run_id in (select value from json_each(?)) and trials.template_id = ? order by trials.id
"""


@dataclass(frozen=True, slots=True)
class _Answer:
    generation: int
    trial_id: int
    output_id: int
    said: int
    prompt_tokens: int | None
    cost_usd: float | None


_Key = tuple[int, str, int, int]  # case, settings, repeat, generation


def effect(store: Store, before_id: int, after_id: int, *, run_ids: Iterable[int], by: str | None = None) -> Effect:
    """Return what happened to the trials that two templates both answered in some runs.

    Parameters
    ----------
    by
        What values the outputs: a scorer's name, or `rating`. Left out, a person's rating where both outputs have one,
        else the newest scorer that valued both. More is better.
    """
    if by not in {None, RATING}:
        _check_scorer(store, by)
    runs = compact(sorted(run_ids))
    old, new = (_answers(store, runs, template_id) for template_id in (before_id, after_id))
    if not old.keys() & new.keys():
        old, new = _of_any_generation(old), _of_any_generation(new)
    shared = sorted(old.keys() & new.keys())
    values = _Values(store, [(key[0], side[key].output_id) for key in shared for side in (old, new)], by)
    pairs = tuple(_pair(key, old[key], new[key], values) for key in shared)
    return Effect(
        pairs,
        examples=examples(store, _telling(pairs), among=pairs),
        prompt_tokens=_mean_difference([(old[key].prompt_tokens, new[key].prompt_tokens) for key in shared]),
        cost_usd=_mean_difference([(old[key].cost_usd, new[key].cost_usd) for key in shared]),
    )


def _check_scorer(store: Store, by: str | None) -> None:
    scorers = [row[0] for row in store.read("select scorer from scores group by scorer order by max(id) desc")]
    if by not in scorers:
        near = _text.nearest(by, scorers) if isinstance(by, str) else None
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(repr, [RATING, *scorers]))}"
        msg = f"by={by!r}: no scorer of that name has scored anything in {store.path}; {hint}"
        raise NotFoundError(msg)


def _answers(store: Store, runs: str, template_id: int) -> dict[_Key, _Answer]:
    """Return the newest answer of a template for each case, setting, repeat and generation."""
    settings = cache(lambda params: canonical(json.loads(params)))
    found = {}
    for rows in store.batches(_TRIALS, (runs, template_id)):
        for case_id, params, repeat, generation, trial_id, output_id, *said, prompt_tokens, cost in rows:
            answer = _Answer(generation, trial_id, output_id, hash(tuple(said)), prompt_tokens, cost)
            found[case_id, settings(params), repeat, generation] = answer
    return found


def _of_any_generation(answers: Mapping[_Key, _Answer]) -> dict[_Key, _Answer]:
    """Return the newest answers, as if all were of one generation."""
    newest = sorted(answers.items(), key=lambda found: found[1].trial_id)
    return {(*key[:3], 0): answer for key, answer in newest}


def _pair(key: _Key, before: _Answer, after: _Answer, values: _Values) -> Pair:
    by, old, new = values.of(key[0], before.output_id, after.output_id)
    return Pair(
        *key[:3],
        before_generation=before.generation,
        after_generation=after.generation,
        before_trial_id=before.trial_id,
        after_trial_id=after.trial_id,
        before_output_id=before.output_id,
        after_output_id=after.output_id,
        is_changed=before.said != after.said,
        by=by,
        before_value=old,
        after_value=new,
    )


def _mean_difference(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    known = [after - before for before, after in pairs if before is not None and after is not None]
    return fmean(known) if known else None


# What outputs were valued by

_RATINGS = """
select output_id, scale, rater, value from ratings
where output_id in (select value from json_each(?)) order by id
"""
_SCORES = """
select output_id, case_id, scorer, config_key, value, id from scores
where output_id in (select value from json_each(?)) and value is not null
"""


class _Values:
    """Ratings and scores of some outputs."""

    def __init__(self, store: Store, answers: Iterable[tuple[int, int]], by: str | None) -> None:
        self._by = by
        outputs = (compact(sorted({output_id for _, output_id in answers})),)
        self._ratings = self._read_ratings(store, outputs) if by in {None, RATING} else {}
        self._scores: dict[tuple[int, int], dict[str, tuple[int, str, float]]] = {}
        for output_id, case_id, scorer, config_key, value, score_id in store.read(_SCORES, outputs):
            if scorer == by or (by is None and scorer not in MEASURES):
                self._scores.setdefault((case_id, output_id), {})[config_key] = (score_id, scorer, value)

    def of(self, case_id: int, before: int, after: int) -> tuple[str | None, float | None, float | None]:
        """Return what values both outputs, and both values."""
        scales = self._ratings.get(before, {}).keys() & self._ratings.get(after, {}).keys()
        if scales:
            scale = min(scales)
            return RATING, self._ratings[before][scale], self._ratings[after][scale]
        old, new = (self._scores.get((case_id, output_id), {}) for output_id in (before, after))
        both = old.keys() & new.keys()
        if not both:
            return None, None, None
        newest = max(both, key=lambda key: max(old[key][0], new[key][0]))
        return old[newest][1], old[newest][2], new[newest][2]

    @staticmethod
    def _read_ratings(store: Store, outputs: tuple[str]) -> dict[int, dict[str, float]]:
        """Return output -> scale -> the mean of each rater's last rating."""
        last = {(output_id, scale, rater): value for output_id, scale, rater, value in store.read(_RATINGS, outputs)}
        by_scale: dict[tuple[int, str], list[float]] = {}
        for (output_id, scale, _), value in last.items():
            if value is not None:
                by_scale.setdefault((output_id, scale), []).append(value)
        found: dict[int, dict[str, float]] = {}
        for (output_id, scale), values in by_scale.items():
            found.setdefault(output_id, {})[scale] = fmean(values)
        return found


# Pairs to look at

_TELLING: tuple[Verdict, ...] = ("worse", "better", "unknown")
_TEXTS = f"""
select id, substr(text, 1, {_OUTPUT_CHARS}) from outputs where id in (select value from json_each(?))
"""  # noqa: S608 - a query of our own
_INPUTS = "select id, inputs from cases where id in (select value from json_each(?))"


def _telling(pairs: Sequence[Pair]) -> list[Pair]:
    """Return some pairs that changed, the worse ones first, and of each case one before another."""
    changed = [pair for pair in pairs if pair.is_changed and pair.verdict in _TELLING]
    seen: dict[int, int] = {}
    turns = [
        (_TELLING.index(pair.verdict), seen.setdefault(pair.case_id, place) != place)
        for place, pair in enumerate(changed)
    ]
    return [pair for _, pair in sorted(zip(turns, changed, strict=True), key=itemgetter(0))][:EXAMPLES]


def varying(pairs: Iterable[Pair]) -> list[str]:
    """Return the parameters that differ between pairs: those that tell one pair of a case from another."""
    cells = [json.loads(params) for params in {pair.params for pair in pairs}]
    names = sorted({name for cell in cells for name in cell})
    return [name for name in names if len({compact(cell.get(name)) for cell in cells}) > 1]


def examples(store: Store, pairs: Sequence[Pair], *, among: Sequence[Pair]) -> tuple[Example, ...]:
    """Return pairs with what was asked and answered, and with what tells each from the others among all pairs."""
    names = varying(among)
    has_repeats = len({pair.repeat for pair in among}) > 1
    has_generations = len({pair.after_generation for pair in among}) > 1
    ids = [output_id for pair in pairs for output_id in (pair.before_output_id, pair.after_output_id)]
    texts = {row[0]: row[1] for row in store.read(_TEXTS, (compact(ids),))}
    cases = {row[0]: row[1] for row in store.read(_INPUTS, (compact([pair.case_id for pair in pairs]),))}
    return tuple(
        Example(
            pair,
            case=brief(json.loads(cases[pair.case_id]), _CASE_CHARS),
            setting=_setting(pair, names, has_repeats=has_repeats, has_generations=has_generations),
            before=texts[pair.before_output_id],
            after=texts[pair.after_output_id],
        )
        for pair in pairs
    )


def _setting(pair: Pair, names: Sequence[str], *, has_repeats: bool, has_generations: bool) -> str:
    cell = json.loads(pair.params)
    words = [str(cell[name]) if name == "model" else f"{name} {compact(cell[name])}" for name in names if name in cell]
    words += [f"repeat {pair.repeat}"] if has_repeats else []
    words += [f"generation {pair.after_generation}"] if has_generations else []
    return ", ".join(words)
