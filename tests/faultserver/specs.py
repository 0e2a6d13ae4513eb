"""Fault specifications: which fault meets which attempt.

spec := step ('|' step)*                        one step an attempt at the same logical request; the last repeats
step := name (',' key '=' value)* ('*' count)?
mix  := 'mix:' p '=' name (';' p '=' name)* (';rest=' name)? (';seed=' int)?
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to answer, and its arguments.

    >>> Fault("429", {"retry_after": "0.2"}).number("retry_after", 1.0)
    0.2
    """

    name: str
    args: Mapping[str, str] = field(default_factory=dict)

    def number(self, key: str, default: float) -> float:
        """Return an argument as a number."""
        return float(self.args.get(key, default))

    def count(self, key: str, default: int) -> int:
        """Return an argument as a whole number."""
        return int(self.number(key, default))

    def text(self, key: str, default: str) -> str:
        """Return an argument as it was written."""
        return self.args.get(key, default)


def resolve(spec: str, key: str, attempt: int, seed: int) -> Fault:
    """Return the fault for attempt number `attempt` (1, 2, ...) at the logical request `key`.

    >>> [resolve("429*2|500|ok", "k", attempt, seed=0).name for attempt in (1, 2, 3, 4, 5)]
    ['429', '429', '500', 'ok', 'ok']
    """
    spec = spec.strip()
    if spec.startswith("mix:"):
        return _mixed(spec.removeprefix("mix:"), key, attempt, seed)
    return _stepped(spec, attempt)


def _stepped(spec: str, attempt: int) -> Fault:
    steps = [_step(text) for text in spec.split("|")]
    for fault, count in steps:
        if attempt <= count:
            return fault
        attempt -= count
    return steps[-1][0]


def _mixed(table: str, key: str, attempt: int, seed: int) -> Fault:
    rest, shares = "ok", []
    for part in filter(None, table.replace(" ", "").split(";")):
        name, _, value = part.partition("=")
        if name == "rest":
            rest = value
        elif name == "seed":
            seed = int(value)
        else:
            shares.append((float(name), value))
    draw = _uniform(f"{seed}|{key}|{attempt}")
    for share, value in shares:
        if draw < share:
            return _step(value.replace(":", ","))[0]
        draw -= share
    return _step(rest.replace(":", ","))[0]


def _uniform(text: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the text."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _step(text: str) -> tuple[Fault, int]:
    text, _, count = text.strip().rpartition("*") if "*" in text else (text.strip(), "", "1")
    name, *args = text.split(",")
    return Fault(name.strip() or "ok", dict(arg.split("=", 1) for arg in args if "=" in arg)), int(count)
