"""How many tokens a prompt is, before a server has counted them: an estimate, and always shown as one.

Once a file holds usage of a model, its own ratio of tokens to bytes is used. Else, with the extra `tokens`, tiktoken
counts a sample of the prompts for the models it knows; else four bytes of UTF-8 make a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

BYTES_PER_TOKEN = 4.0  # English prose under the o200k and cl100k encodings: 4.0 to 4.6
TOKENS_PER_MESSAGE = 4  # role and separators, as OpenAI's cookbook counts them


def estimate(prompt_bytes: int, *, messages: int = 1, tokens_per_byte: float | None = None) -> int:
    """Return about how many tokens a prompt of a number of bytes is.

    `tokens_per_byte` is what this model's own usage showed; it includes what each message adds.

    >>> estimate(24, messages=2)
    14
    """
    if tokens_per_byte is not None:
        return max(1, round(prompt_bytes * tokens_per_byte))
    return round(prompt_bytes / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * messages


def sampled_ratio(texts: Sequence[str], *, messages: int, encoding: tiktoken.Encoding | None) -> float | None:
    """Return the tokens a byte of some prompts as an encoding counts them, or None without one."""
    size = sum(len(text.encode(errors="replace")) for text in texts)
    if encoding is None or not size:
        return None
    counted = sum(len(encoding.encode_ordinary(text)) + TOKENS_PER_MESSAGE * messages for text in texts)
    return counted / size


@lru_cache(maxsize=16)
def encoding_of(model: str) -> tiktoken.Encoding | None:
    """Return tiktoken's encoding for a model, or None: the extra is not installed, or it does not know the model.

    tiktoken fetches an encoding once from its publisher and keeps it (`TIKTOKEN_CACHE_DIR`); without the extra nothing
    is ever fetched.
    """
    try:
        import tiktoken  # noqa: PLC0415 - an extra

        return tiktoken.encoding_for_model(model)
    except (ImportError, KeyError, OSError):
        return None
