"""What an answer costs: the user's own prices, else those of `genai-prices`, else unknown.

Unknown is None, never 0. Cached prompt tokens are priced as such; reasoning tokens are part of the completion's. The
package's table is the one bundled with it: nothing is fetched. A model at an address that the table does not know has
no price, even when a model of that name is sold elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from promptlab.attempts import Usage
from promptlab.errors import PlanError

#: Parameters that a price by tokens does not cover: audio, searches, other tiers, a prediction's rejected tokens.
PRICED_OTHERWISE = frozenset({"audio", "modalities", "prediction", "service_tier", "web_search_options"})
#: What a reply calls the tier whose prices are listed (OpenAI, Groq); `flex` costs less, `priority` more.
STANDARD_TIERS = frozenset({None, "auto", "default", "on_demand", "standard"})
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost, in USD for a million of them; `cached` prompt tokens cost as much as others if unset.

    >>> Price(prompt=0.4, completion=1.6).cost_usd(prompt=1000, completion=100)
    0.00056
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"Price({name}={value!r}): USD for a million tokens are needed, a number from 0"
            for name in ("prompt", "completion", "cached")
            if not _is_amount(value := getattr(self, name)) and (name, value) != ("cached", None)
        ]
        if wrong:
            raise PlanError(wrong)

    def cost_usd(self, *, prompt: int, completion: int, cached: int = 0) -> float:
        """Return the price of so many tokens, in USD; the cached ones are among the prompt's."""
        cached = min(cached, prompt)
        cached_price = self.prompt if self.cached is None else self.cached
        total = (prompt - cached) * self.prompt + cached * cached_price + completion * self.completion
        return total / _MILLION


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True)
class PriceList:
    """The prices at one backend.

    Attributes
    ----------
    base_url
        Where the models are sold; None stands for OpenAI.
    own
        The user's prices by model, which go before all others.
    is_free
        Whether nothing costs anything here.
    """

    base_url: str | None = None
    own: Mapping[str, Price] = field(default_factory=dict)
    is_free: bool = False

    def knows(self, model: str) -> bool:
        """Whether the model has a price here."""
        return self.is_free or model in self.own or _is_listed(model, self.base_url)

    def price(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> float | None:
        """Return the price of so many tokens in USD, or None when it is not known."""
        if self.is_free:
            return 0.0
        if model in self.own:
            return self.own[model].cost_usd(prompt=prompt, completion=completion, cached=cached)
        return _listed(model, prompt, completion, cached, self.base_url)

    def cost_usd(self, model: str, usage: Usage, *, service_tier: str | None = None) -> float | None:
        """Return the price of one reply by its usage in USD, or None when it is not known, as for a tier of its own."""
        if self.is_free:
            return 0.0
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        if service_tier not in STANDARD_TIERS and model not in self.own:
            return None
        counts = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
        return self.price(model, **counts, cached=usage.cached_tokens or 0)

    def unbounded(self, model: str, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield why the cost of a request to the model has no bound that is known beforehand, if so."""
        if self.is_free:
            return
        if not self.knows(model):
            yield f"{model!r} has no known price; give it: Lab(prices={{{model!r}: Price(prompt=..., completion=...)}})"
        if not most_completion(body):
            yield f"{model!r} is asked without max_tokens, so an answer may cost any amount; add it to the grid"
        for name in sorted(PRICED_OTHERWISE & set(body)):
            if body[name] not in (None, "default", "flex", ["text"]):
                yield f"{name}={body[name]!r} is priced otherwise than by tokens; leave it out, or run without a cap"


def most_completion(params: Mapping[str, Any]) -> int | None:
    """Return the most completion tokens that a request's parameters allow, or None when there is no bound.

    `best_of` has the server write so many answers and hand out one; all are billed.
    """
    bound, times = params.get("max_completion_tokens") or params.get("max_tokens"), params.get("best_of") or 1
    return int(bound * times) if isinstance(bound, int | float) and isinstance(times, int | float) else None


def _listed(model: str, prompt: int, completion: int, cached: int, base_url: str | None) -> float | None:
    if not _is_listed(model, base_url):
        return None
    import genai_prices  # noqa: PLC0415 - costs 0.2 s, so only where it is used

    counts = genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=min(cached, prompt))
    return float(genai_prices.calc_price(counts, model, **_where(base_url)).total_price)


@lru_cache(maxsize=1024)
def _is_listed(model: str, base_url: str | None) -> bool:
    """Whether the table has the model; remembered, since a look-up that fails walks the whole table."""
    import genai_prices  # noqa: PLC0415 - see _listed

    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, **_where(base_url))
    except LookupError:
        return False
    return True


def _where(base_url: str | None) -> dict[str, Any]:
    return {"provider_id": "openai"} if base_url is None else {"provider_api_url": base_url}
