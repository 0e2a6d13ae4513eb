"""What differs between two requests, in words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from promptlab._json import canonical
from promptlab.requests import UNKEYED

_ABSENT = object()


def differing_fields(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Return the paths of the fields that differ and belong to a sample's key, e.g. `messages[1].content`.

    >>> differing_fields({"model": "m", "temperature": 0}, {"model": "m", "temperature": 0.7, "user": "me"})
    ['temperature']
    """
    return [path for path, _, _ in _differences(_keyed(asked), _keyed(stored), "")]


def distance(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[int, float]:
    """Return how far two requests are apart: in how many fields, and then by how much their numbers differ.

    >>> distance({"temperature": 0.4, "top_p": 1}, {"temperature": 0.3, "top_p": 1})[0]
    1
    """
    pairs = [(here, there) for _, here, there in _differences(_keyed(asked), _keyed(stored), "")]
    numbers = [abs(here - there) for here, there in pairs if _is_number(here) and _is_number(there)]
    return len(pairs), float(sum(numbers))


def describe(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Return the differing fields with both values, one sentence.

    >>> describe({"temperature": 0}, {"temperature": 0.7})
    'temperature is 0 here and 0.7 there'
    """
    return "; ".join(
        f"{path} is {_shown(here, there)} here and {_shown(there, here)} there"
        for path, here, there in _differences(_keyed(asked), _keyed(stored), "")
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keyed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in UNKEYED}


def _differences(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in dict.fromkeys([*left, *right]):
            yield from _differences(left.get(name, _ABSENT), right.get(name, _ABSENT), f"{path}.{name}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (here, there) in enumerate(zip(left, right, strict=True)):
            yield from _differences(here, there, f"{path}[{place}]")
    elif left is _ABSENT or right is _ABSENT or canonical(left) != canonical(right):
        yield path, left, right


def _shown(value: Any, other: Any) -> str:
    """Return a value as JSON; of a long one, the part from shortly before it differs from the other."""
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _SHOWN_CHARS:
        return text
    same = _common_chars(text, "" if other is _ABSENT else json.dumps(other, ensure_ascii=False))
    start = max(0, min(same - _CONTEXT_CHARS, len(text) - _SHOWN_CHARS))
    end = start + _SHOWN_CHARS
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _common_chars(text: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))


_SHOWN_CHARS = 60  # of a value in a message
_CONTEXT_CHARS = 20  # of them, before the first difference
