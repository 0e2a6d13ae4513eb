"""What the runner asks of a backend, and what it hands back: values only, no network.

A backend sends exact bytes once. It does not retry, parse, log or wait: that is the runner's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptlab.requests import Request


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply: status, headers and the exact bytes after content decoding.

    `sent` holds the body that crossed the wire where it is not the one asked for (a user's own client may rewrite it).
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    sent: bytes | None = None


class SendError(Exception):
    """The exchange ended without a whole reply.

    Attributes
    ----------
    kind
        A short name: `connect`, `timeout`, `deadline`, `reset`, `body_cut`, `protocol`, `cancelled`.
    maybe_paid
        True when the request may have reached the model, so that it may have been billed.
    """

    def __init__(self, kind: str, message: str, *, maybe_paid: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.maybe_paid = maybe_paid


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What is logged about a backend with every run: never a key, never credentials."""

    kind: str
    identity: str
    base_url: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """What answers requests.

    Every method is called on promptlab's one event loop, except `info` and `identity`, which do no I/O beyond the local disk.
    """

    @property
    def identity(self) -> str:
        """What makes answers comparable: the base URL, or the hash of the local model's file. Part of every sample's key."""

    @property
    def concurrency(self) -> int:
        """How many requests this backend takes at a time when the user names no number."""

    @property
    def is_free(self) -> bool:
        """Whether its answers cost nothing."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The strings that must never be written anywhere, such as the API key in use."""

    def info(self) -> BackendInfo:
        """Return what is logged with a run."""

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:
        """Send the request once; raise `SendError` when no whole reply came back."""

    async def models(self) -> list[str]:
        """Return the names of the models on offer."""

    async def aclose(self) -> None:
        """Give back connections and leases."""
