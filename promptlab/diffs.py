"""What differs between two requests, in words."""

from __future__ import annotations

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
    left, right = ({name: value for name, value in body.items() if name not in UNKEYED} for body in (asked, stored))
    return [path for path, _, _ in _differences(left, right, "")]


def describe(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Return the differing fields with both values, one sentence.

    >>> describe({"temperature": 0}, {"temperature": 0.7})
    'temperature is 0 here and 0.7 there'
    """
    left, right = ({name: value for name, value in body.items() if name not in UNKEYED} for body in (asked, stored))
    parts = [f"{path} is {_shown(here)} here and {_shown(there)} there" for path, here, there in _differences(left, right, "")]
    return "; ".join(parts)


def _differences(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in dict.fromkeys([*left, *right]):
            yield from _differences(left.get(name, _ABSENT), right.get(name, _ABSENT), f"{path}.{name}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (here, there) in enumerate(zip(left, right, strict=True)):
            yield from _differences(here, there, f"{path}[{place}]")
    elif left is _ABSENT or right is _ABSENT or canonical(left) != canonical(right):
        yield path, left, right


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - a message's worth
