"""No backend at all: answers come from the file only, and a request it does not hold is an error."""

from __future__ import annotations

from promptlab.attempts import Reply
from promptlab.backends._base import BackendInfo
from promptlab.errors import OfflineError
from promptlab.requests import Request


class OfflineBackend:
    """Stands for the backend whose answers the file holds, and refuses to send.

    Parameters
    ----------
    identity
        The backend identity in the keys of the stored answers.
    """

    concurrency = most_concurrency = 1
    is_free = True
    secrets: tuple[str, ...] = ()

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def info(self) -> BackendInfo:
        """Return the identity that is stood in for."""
        return BackendInfo("offline", self.identity)

    def start(self) -> None:
        """Do nothing: whoever needs no sending needs no start."""

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:  # noqa: ARG002 - refused
        """Refuse."""
        msg = f"offline: nothing is sent (a request to {request.model}); open the lab with a backend to ask"
        raise OfflineError(msg)

    async def models(self) -> list[str]:
        """Refuse."""
        query = "lab.sql('select distinct model from requests')"
        msg = f"offline: no server is asked for its models; {query} lists those in the file"
        raise OfflineError(msg)

    async def aclose(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return f"<OfflineBackend {self.identity}>"
