"""Repeats that ride on `n`: one call answers k samples, and the prompt is paid once.

Each choice is an output of its own, and the call's usage is split among them so that sums stay exact. Compatible
servers differ in what they make of `n`: some answer with fewer choices than asked, some count the tokens of the first
choice only. Both are told by `oddity`, so that the rest can be asked one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptlab.attempts import Outcome, Output

MOST_CHOICES = 64  # in one call; OpenAI takes 128, and a call that fails is asked again as a whole

Oddity = Literal["fewer_choices", "usage_of_first_choice"]

_BYTES_OF_TOKEN = 16  # at most, averaged over a text; English has 4 to 5 bytes a token


@dataclass(frozen=True, slots=True)
class Share:
    """What one choice takes of the usage of its call; None where the call's is not known."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None


def shares(outputs: Sequence[Output], outcome: Outcome, cost_usd: float | None) -> list[Share]:
    """Return the share of each output: the prompt in equal parts, the completion by length of text; sums are exact."""
    usage, even = outcome.usage, [1] * len(outputs)
    prompts = _split(usage.prompt_tokens, even)
    completions = _split(usage.completion_tokens, [_size(output) + 1 for output in outputs])
    return [Share(*parts) for parts in zip(prompts, completions, _split_money(cost_usd, len(outputs)), strict=True)]


def oddity(outcome: Outcome, asked: int, params: Mapping[str, Any]) -> Oddity | None:
    """Return what is wrong with an answer of which `asked` choices were wanted, or None.

    Text has at least as many tokens as words, and as a sixteenth of its bytes; a choice that ended for its length has
    all that `max_tokens` allows. Usage below that counts the first choice only.
    """
    if len(outcome.outputs) < asked:
        return "fewer_choices"
    counted = outcome.usage.completion_tokens
    if asked > 1 and counted is not None and counted < sum(_least(output, params) for output in outcome.outputs):
        return "usage_of_first_choice"
    return None


def _least(output: Output, params: Mapping[str, Any]) -> int:
    """Return how many tokens a choice has at least."""
    text = output.text or ""
    bound = params.get("max_completion_tokens") or params.get("max_tokens") or 0
    return max(len(text.split()), _size(output) // _BYTES_OF_TOKEN, bound if output.finish_reason == "length" else 0)


def _size(output: Output) -> int:
    return len((output.text or "").encode(errors="replace"))


def _split(total: int | None, weights: Sequence[int]) -> list[int | None]:
    """Split a whole number by weights: each gets its part rounded down, the first ones what is left over."""
    if total is None:
        return [None] * len(weights)
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    return [part + (place < left) for place, part in enumerate(parts)]


def _split_money(total: float | None, number: int) -> list[float | None]:
    """Split an amount evenly; the last part makes the sum exact."""
    if total is None or not number:
        return [None] * number
    part = total / number
    return [*[part] * (number - 1), total - part * (number - 1)]
