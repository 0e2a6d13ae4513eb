"""What a plan will take: what the file holds of it, and tokens, money and time for the rest.

Every figure rests on this file's own answers of the same model where there are any, else on general rules; what neither
can tell is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from promptlab import _text, results, tokens
from promptlab.backends._base import Backend
from promptlab.limits import RateLimits
from promptlab.plans import Estimate, Plan, Trial
from promptlab.prices import PriceList, most_completion
from promptlab.results import ModelFacts
from promptlab.retries import Refusal
from promptlab.store import Store

N = TypeVar("N", int, float)

_SAMPLED = 20  # prompts that tiktoken counts, to know a model's tokens a byte


def estimated(
    plan: Plan,
    store: Store,
    backend: Backend,
    *,
    prices: PriceList,
    limits: RateLimits,
    explainer: Callable[[Trial, Plan], str],
) -> Plan:
    """Return the plan with its estimate, with what the file learned about its models, and able to explain itself."""
    made = replace(
        plan,
        estimate=_limited(_estimate(plan, store, backend, prices), limits),
        learned=(*_learned(plan, results.refusals(store, plan.identity)), *_refused(plan, store)),
        explainer=lambda trial: explainer(trial, plan),
    )
    made.__dict__.update({name: plan.__dict__[name] for name in ("key", "measured") if name in plan.__dict__})
    return made


def unanswered(plan: Plan, store: Store) -> Iterator[int]:
    """Yield the positions of trials whose answer the file does not hold, in plan order."""
    keys, _ = plan.measured
    held = results.answered(store, set(keys), plan.generation)
    for position in range(len(plan)):
        place, repeat = divmod(position, plan.repeats)
        if (keys[place], repeat) not in held:
            yield position


@dataclass(slots=True)
class _Load:
    """What is to be sent to one model; the bound of its answers is None when some have none."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_bound: int | None = 0

    def add(self, number: int, prompt_tokens: int, max_tokens: int | None) -> None:
        self.requests += number
        self.prompt_tokens += number * prompt_tokens
        if max_tokens is None or self.completion_bound is None:
            self.completion_bound = None
        else:
            self.completion_bound += number * max_tokens


def _estimate(plan: Plan, store: Store, backend: Backend, prices: PriceList) -> Estimate:
    missing = _missing(plan, store)
    to_send: dict[str, int] = {}
    loads: dict[str, _Load] = {}
    facts = {model: results.model_facts(store, model, plan.identity) for model in _models(plan)}
    ratios = {model: known.tokens_per_byte or _counted_ratio(plan, model) for model, known in facts.items()}
    keys, sizes = plan.measured
    for place, number in missing.items():
        if number and keys[place] not in to_send:
            template, cell, _, _ = plan.place(place * plan.repeats)
            params, model = plan.grid[cell], str(plan.grid[cell]["model"])
            messages = len(plan.templates[template].messages)
            prompt = tokens.estimate(sizes[place], messages=messages, tokens_per_byte=ratios[model])
            cap = most_completion(params)
            loads.setdefault(model, _Load()).add(number, prompt, cap)
        to_send.setdefault(keys[place], number)
    answered = len(plan) - sum(missing.values())
    return _priced(loads, facts, backend, prices, to_send=sum(to_send.values()), answered=answered)


def _missing(plan: Plan, store: Store) -> dict[int, int]:
    """Return how many repeats lack an answer, by the place of template, cell and case."""
    keys, _ = plan.measured
    held = results.answered(store, set(keys), plan.generation)
    if not held:
        return dict.fromkeys(range(len(keys)), plan.repeats)
    return {place: sum((key, repeat) not in held for repeat in range(plan.repeats)) for place, key in enumerate(keys)}


def _priced(
    loads: dict[str, _Load],
    facts: dict[str, ModelFacts],
    backend: Backend,
    prices: PriceList,
    *,
    to_send: int,
    answered: int,
) -> Estimate:
    completions = {model: _completion(load, facts[model]) for model, load in loads.items()}
    costs = [_cost(model, load, completions[model], prices) for model, load in loads.items()]
    times = [_seconds(load, facts[model], backend) for model, load in loads.items()]
    return Estimate(
        to_send=to_send,
        answered=answered,
        prompt_tokens=sum(load.prompt_tokens for load in loads.values()),
        completion_tokens=_total(completions.values()),
        completion_is_bound=any(facts[model].completion_tokens is None for model in loads),
        cost_usd=_total(costs),
        time_s=_total(times),
    )


def _completion(load: _Load, known: ModelFacts) -> int | None:
    if known.completion_tokens is None:
        return load.completion_bound
    return round(load.requests * known.completion_tokens)


def _cost(model: str, load: _Load, completion: int | None, prices: PriceList) -> float | None:
    if prices.is_free or completion is None:
        return 0.0 if prices.is_free else None
    return prices.price(model, prompt=load.prompt_tokens, completion=completion)


def _seconds(load: _Load, known: ModelFacts, backend: Backend) -> float | None:
    if known.latency_ms is None:
        return None
    return load.requests * known.latency_ms / 1000 / min(backend.concurrency, load.requests)


def _total(parts: Iterable[N | None]) -> N | None:
    """Return the sum, or None when a part is unknown."""
    total: N = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _limited(estimate: Estimate, limits: RateLimits) -> Estimate:
    """Return the estimate with the time that the user's own limits make it take at least."""
    tokens = (estimate.prompt_tokens or 0) + (estimate.completion_tokens or 0)
    least_s = limits.least_s(estimate.to_send, tokens)
    return replace(estimate, time_s=max(least_s, estimate.time_s or 0.0)) if least_s else estimate


def _refused(plan: Plan, store: Store) -> Iterator[str]:
    keys, _ = plan.measured
    number = results.refused(store, keys, repeats=plan.repeats, generation=plan.generation)
    if number:
        yield (
            f"the server refused {_text.count(number, 'request')} of this plan before; a run that met this asks them"
            " again only with retry_failed=True"
        )


def _models(plan: Plan) -> list[str]:
    return list(dict.fromkeys(str(cell["model"]) for cell in plan.grid))


def _counted_ratio(plan: Plan, model: str) -> float | None:
    encoding = tokens.encoding_of(model)
    if encoding is None:
        return None
    step = max(1, len(plan) // _SAMPLED)
    texts = [plan.request(position).text for position in range(0, len(plan), step)]
    messages = max(len(template.messages) for template in plan.templates)
    return tokens.sampled_ratio(texts, messages=messages, encoding=encoding)


def _learned(plan: Plan, refused: set[Refusal]) -> Iterator[str]:
    for seen in sorted(refused, key=repr):
        if any(seen.concerns(str(cell["model"]), cell.params) for cell in plan.grid):
            what = seen.param if seen.value is None else f"{seen.param}={seen.value}"
            yield f"{seen.model} was seen to refuse {what}; requests with both will fail"
