"""What the runner asks of a backend, and what it hands back: values only, no network.

A backend sends exact bytes once. It does not retry, parse, log or wait: that is the runner's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptlab.attempts import Reply, SendError
from promptlab.requests import Request

__all__ = ["Backend", "BackendInfo", "Reply", "Secret", "SendError"]


class Secret:
    """A text that does not show itself: not in a repr, nor in a traceback that prints variables.

    >>> Secret("sk-1234")
    <secret>
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret | None) -> None:
        self._text = text.reveal() if isinstance(text, Secret) else text or ""

    def reveal(self) -> str:
        """Return the text; never keep it in a variable."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "<secret>"


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What is logged about a backend with every run: never a key, never credentials."""

    kind: str
    identity: str
    base_url: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """What answers requests.

    The asynchronous methods are called on promptlab's one event loop, the others on any thread.
    """

    @property
    def identity(self) -> str:
        """What makes answers comparable: the base URL, or the hash of the model's file. Part of every sample's key."""

    @property
    def concurrency(self) -> int:
        """How many requests this backend takes at a time when the user names no number."""

    @property
    def most_concurrency(self) -> int:
        """How many requests may be in flight at most, where their number adapts."""

    @property
    def is_free(self) -> bool:
        """Whether its answers cost nothing."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The strings that must never be written anywhere, such as the API key in use."""

    def info(self) -> BackendInfo:
        """Return what is logged with a run."""

    def start(self) -> None:
        """Make ready to send; raise `BackendError` when that cannot be. Called before anything is written or sent."""

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:
        """Send the request once; raise `SendError` when no whole reply came back."""

    async def models(self) -> list[str]:
        """Return the names of the models on offer."""

    async def aclose(self) -> None:
        """Give back connections and leases."""
