"""Canonical JSON, and the keys made from it.

Two values that mean the same have the same canonical text: keys are sorted, there is no blank space, and numbers are
normalised (1, 1.0 and 1e0 are one number; -0.0 is 0). The text is ASCII, so any Python string can be written, lone
surrogates too. A key is the sha256 of that text, in hex. NaN and infinities are refused: they are not JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")


def canonical(value: Any) -> str:
    """Return the one text that stands for a JSON-like value.

    >>> canonical({"b": 1.0, "a": [True, None, 0.7]})
    '{"a":[true,null,0.7],"b":1}'
    """
    return _CANONICAL.encode(_normalised(value))


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the key of a JSON-like value: sha256 of its canonical text, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def exact_digest(value: Mapping[str, Any]) -> str:
    """Return the key of template values: unlike in `digest`, 1 and 1.0 differ, as they do in a prompt."""
    return hashlib.sha256(compact(dict(sorted(value.items()))).encode()).hexdigest()


def compact(value: Any) -> str:
    """Return JSON as it is sent: order kept, no blank space, readable characters where UTF-8 can hold them."""
    text = readable(value)
    return text if is_utf8(text) else json.dumps(value, separators=(",", ":"), allow_nan=False)


def readable(value: Any) -> str:
    """Return JSON with order kept, no blank space and every character as it is, also one that UTF-8 cannot hold."""
    return _READABLE.encode(value)


_READABLE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def indented(text: str) -> str:
    """Return JSON text as people read it, an item a line; a text that is no JSON as it stands.

    >>> print(indented('{"a":"é"}'))
    {
      "a": "é"
    }
    """
    with suppress(ValueError, RecursionError):
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return text


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold the text: it has no unpaired surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def utf8(text: str) -> str:
    """Return the text as UTF-8 and SQLite can hold it: unpaired surrogates are replaced by U+FFFD."""
    return text if is_utf8(text) else _SURROGATES.sub("\ufffd", text)


def plain(value: Any) -> Any:
    """Return the value in JSON's own types: numpy and pandas scalars unwrapped, tuples as lists, NaN as None.

    Raises `TypeError` for anything JSON cannot hold; objects are never turned into their repr.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return _scalar(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    return _unwrapped(value)


def _scalar(value: str | float) -> str | float | None:
    """Return exactly JSON's type: a subclass (numpy's, an enum) shows itself as such when it is printed in a list."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if math.isinf(value):
        msg = f"{value} is not JSON; use a finite number or None"
        raise TypeError(msg)
    return None if math.isnan(value) else float(value)


def _unwrapped(value: Any) -> Any:
    kind = type(value).__name__
    if kind in {"NAType", "NaTType"}:
        return None
    if kind == "datetime64":  # its tolist() would give a count of nanoseconds
        return None if str(value) == "NaT" else str(value)
    if hasattr(value, "isoformat"):  # dates, pandas timestamps
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas Series
        return plain(value.tolist())
    msg = f"{value!r} ({kind}) is not JSON; use text, numbers, true/false, None, lists or dicts"
    raise TypeError(msg)


def _normalised(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _normalised(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalised(item) for item in value]
    return value


def texts(text: str) -> tuple[str, ...]:
    """Return the texts in a JSON array, as tags are stored; none of what is no such array, as others may write it.

    >>> texts('["a", 1, "b"]'), texts("a, b")
    (('a', 'b'), ())
    """
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
    return ()
