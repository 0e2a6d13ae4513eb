"""Prices: known ones to the cent, and unknown ones as unknown."""

import pytest

from promptlab.attempts import Usage
from promptlab.prices import PriceList

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
