"""What an answer costs: prices from `genai-prices`, unknown where that package knows none.

Unknown is None, never 0. Cached prompt tokens are priced as such; reasoning tokens are part of the completion's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from promptlab.attempts import Usage


def cost_usd(model: str, usage: Usage, *, base_url: str | None) -> float | None:
    """Return the price in USD of one reply by a model at a base URL, or None when it is not known.

    Prices are those of `genai-prices` (its bundled table: nothing is fetched). A model at an address that the table
    does not know has no price, even when a model of that name is sold elsewhere.
    """
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    return price(model, usage.prompt_tokens, usage.completion_tokens, cached=cached, base_url=base_url)


def price(model: str, prompt: int, completion: int, *, cached: int = 0, base_url: str | None) -> float | None:
    """Return the price in USD of a number of tokens, or None when it is not known."""
    if not _is_priced(model, base_url):
        return None
    import genai_prices  # noqa: PLC0415 - costs 0.2 s, so only where it is used

    counts = genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=min(cached, prompt))
    return float(genai_prices.calc_price(counts, model, **_where(base_url)).total_price)


@lru_cache(maxsize=1024)
def _is_priced(model: str, base_url: str | None) -> bool:
    """Whether the table has the model; remembered, since a look-up that fails walks the whole table."""
    import genai_prices  # noqa: PLC0415 - see price

    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, **_where(base_url))
    except LookupError:
        return False
    return True


def _where(base_url: str | None) -> dict[str, Any]:
    return {"provider_id": "openai"} if base_url is None else {"provider_api_url": base_url}
