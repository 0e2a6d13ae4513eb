"""Prices: known ones to the cent, and unknown ones as unknown."""

import pytest

from promptlab.attempts import Usage
from promptlab.errors import PlanError
from promptlab.prices import Price, PriceList

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "base_url", "expected"),
    [
        pytest.param("gpt-4o", OPENAI, 0.0035, id="OpenAI"),
        pytest.param("gpt-4o-2024-08-06", OPENAI, 0.0035, id="snapshot"),
        pytest.param("gpt-4o", None, 0.0035, id="no address"),
        pytest.param("openai/gpt-4o", "https://openrouter.ai/api/v1", 0.0035, id="OpenRouter"),
        pytest.param("nope", OPENAI, None, id="unknown model"),
        pytest.param("", OPENAI, None, id="no model"),
        pytest.param("gpt-4o", "http://localhost:8000/v1", None, id="an address of one's own"),
    ],
)
def test_a_price_belongs_to_a_model_at_an_address(model, base_url, expected):
    """1,000 tokens in and 100 out; a model of the same name elsewhere has no price."""
    assert PriceList(base_url).price(model, prompt=1000, completion=100) == expected


def test_cached_tokens_cost_less():
    """They are part of the prompt's; a count beyond the prompt's is cut to it."""
    assert PriceList(OPENAI).price("gpt-4o", prompt=1000, completion=100, cached=1000) == 0.00225
    assert PriceList(OPENAI).price("gpt-4o", prompt=1000, completion=100, cached=2000) == 0.00225


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(Usage(prompt_tokens=1000, completion_tokens=100), 0.0035, id="both"),
        pytest.param(Usage(prompt_tokens=1000, cached_tokens=1000, completion_tokens=100), 0.00225, id="cached"),
        pytest.param(
            Usage(prompt_tokens=1000, completion_tokens=100, reasoning_tokens=90, total_tokens=5),
            0.0035,
            id="reasoning",
        ),
        pytest.param(Usage(prompt_tokens=0, completion_tokens=0), 0.0, id="nothing"),
        pytest.param(Usage(prompt_tokens=1000), None, id="no completion"),
        pytest.param(Usage(completion_tokens=100), None, id="no prompt"),
    ],
)
def test_a_cost_needs_both_counts(usage, expected):
    """What is unknown is None and never 0; reasoning is part of the completion."""
    assert PriceList(OPENAI).cost_usd("gpt-4o", usage) == expected


@pytest.mark.parametrize(("tier", "expected"), [("default", 0.0035), ("priority", None), ("flex", None)])
def test_another_tier_has_another_price(tier, expected):
    """What is listed is the standard tier's; a user's own price holds for whatever tier was asked."""
    usage = Usage(prompt_tokens=1000, completion_tokens=100)
    assert PriceList(OPENAI).cost_usd("gpt-4o", usage, service_tier=tier) == expected
    own = PriceList(OPENAI, {"gpt-4o": Price(prompt=1, completion=10, cached=0.5)})
    assert own.cost_usd("gpt-4o", usage, service_tier=tier) == 0.002


def test_a_users_own_price_goes_first():
    """Also for a model that is listed, and at an address that is not; cached tokens have theirs, or the prompt's."""
    own = {"mine": Price(prompt=1, completion=10), "gpt-4o": Price(prompt=2, completion=20, cached=1)}
    prices = PriceList("http://localhost:8000/v1", own)
    assert prices.price("mine", prompt=1000, completion=100, cached=500) == 0.002
    assert prices.price("gpt-4o", prompt=1000, completion=100, cached=500) == pytest.approx(0.0035)
    assert (prices.knows("mine"), prices.knows("gpt-4.1"), PriceList(is_free=True).knows("any")) == (True, False, True)


def test_a_price_is_an_amount():
    """Every wrong number is told at once, with its unit."""
    with pytest.raises(PlanError) as caught:
        Price(prompt=-1, completion="free", cached=float("nan"))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "Price(prompt=-1)",
        "Price(completion='free')",
        "Price(cached=nan)",
    ]


def test_what_makes_a_cost_unbounded_is_told():
    """A known price and `max_tokens` are enough; anything not priced by tokens is named."""
    prices = PriceList(OPENAI)
    assert list(prices.unbounded("gpt-4o", {"max_tokens": 5, "service_tier": "default"})) == []
    assert list(prices.unbounded("gpt-4o", {"max_completion_tokens": 5})) == []
    assert [why[:30] for why in prices.unbounded("nope", {"web_search_options": {}})] == [
        "'nope' has no known price; giv",
        "'nope' is asked without max_to",
        "web_search_options={} is price",
    ]
    assert list(PriceList(is_free=True).unbounded("nope", {})) == []
