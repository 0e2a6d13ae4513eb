"""An OpenAI-compatible server, through the `openai` client: exact bytes out, exact bytes in.

The client is used for what it does best (keys, headers, gateways, connection pools), by its documented raw call
`client.post(path, content=bytes, cast_to=httpx2.Response)`, with its own retries off. It is made on promptlab's event
loop at the first request, since an AsyncOpenAI belongs to one loop, and over its aiohttp transport, which costs a third
(measured: 0.45 against 1.7 ms of CPU a request). That transport mislabels some errors, so a failure is told by the whole
chain of its causes.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from promptlab import _loop
from promptlab.attempts import Reply, SendError
from promptlab.backends._base import BackendInfo
from promptlab.errors import BackendError, MissingKeyError
from promptlab.requests import Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_CONCURRENCY = 32
CONNECT_TIMEOUT_S = 15.0  # the client's own 5 s ran out on a busy loop in one sweep of three
KEEPALIVE_S = 60.0


class HttpBackend:
    """An OpenAI-compatible endpoint, by address and key, or by a client that the user made.

    Parameters
    ----------
    base_url
        The address up to and with `/v1`. Credentials in it are refused: they would be logged by others.
    api_key
        The key; local servers take any text. Without one the backend can be named but not used.
    client
        An `AsyncOpenAI` (or `AsyncAzureOpenAI`) of the user's own, not used elsewhere: it then lives on our loop.
    concurrency
        How many requests are sent at a time when the user names no number.
    """

    is_free = False

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        client: AsyncOpenAI | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self._key = _Secret(api_key or "")
        del api_key  # so that no traceback that prints variables can show it
        if client is not None:
            _check_client(client)
        self.base_url = _checked_url(str(client.base_url) if client is not None else base_url or DEFAULT_BASE_URL)
        self.concurrency = concurrency
        self._given = client
        self._client: AsyncOpenAI | None = None

    @property
    def identity(self) -> str:
        """The base URL."""
        return self.base_url

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key in use."""
        key = self._given.api_key if self._given is not None else self._key.reveal()
        return (key,) if isinstance(key, str) and len(key) >= _SHORTEST_SECRET else ()

    def info(self) -> BackendInfo:
        """Return the address, the kind of client, and the names of headers set by the environment."""
        kind = "AsyncOpenAI" if self._given is None else type(self._given).__name__
        custom = [line.partition(":")[0].strip() for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()]
        details = {"client": kind, **({"custom_headers": custom} if custom else {})}
        return BackendInfo("openai", self.identity, self.base_url, details)

    def start(self) -> None:
        """Make the client, so that no request's latency holds it; raise `MissingKeyError` when there is no key."""
        if self._given is None and not self._key:
            raise MissingKeyError(_NO_KEY)
        _loop.run(self._opened())

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:
        """Send the request once; raise `SendError` when no whole reply came back within the time."""
        import openai  # noqa: PLC0415 - costs 0.4 s, so only where it is used

        try:
            async with asyncio.timeout(timeout_s):
                response = await self._post(request, client_request_id, timeout_s)
        except openai.APIStatusError as exc:
            response = exc.response
        except TimeoutError as exc:
            raise SendError("deadline", f"no whole reply within {timeout_s:g} s", maybe_paid=True) from exc
        except Exception as exc:
            raise _send_error(exc) from exc
        sent = None if self._given is None else _body_sent(response, request)
        return Reply(response.status_code, dict(response.headers), response.content, sent)

    async def models(self) -> list[str]:
        """Return the names of the models on offer, sorted."""
        import openai  # noqa: PLC0415 - see send

        try:
            return sorted([model.id async for model in await self._connected().models.list()])
        except openai.OpenAIError as exc:
            msg = f"{self.base_url} does not list its models: {exc}"
            raise BackendError(msg) from exc

    async def aclose(self) -> None:
        """Close the connections; a client of the user's own stays open."""
        client, self._client = self._client, None
        if client is not None and self._given is None:
            await client.close()

    def __repr__(self) -> str:
        return f"<HttpBackend {self.base_url}>"

    async def _post(self, request: Request, client_request_id: str, timeout_s: float) -> Any:
        import httpx2  # noqa: PLC0415 - see send

        options: Any = {
            "headers": {"X-Client-Request-Id": client_request_id},
            "timeout": httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        }
        path = f"/{request.endpoint}"
        if self._rewrites:
            body = json.loads(request.body)
            return await self._connected().post(path, body=body, cast_to=httpx2.Response, options=options)
        return await self._connected().post(path, content=request.content, cast_to=httpx2.Response, options=options)

    @property
    def _rewrites(self) -> bool:
        """Whether the user's client puts parts of the body elsewhere (Azure: the model into the address)."""
        return self._given is not None and "Azure" in type(self._given).__name__

    async def _opened(self) -> None:
        self._connected()

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = self._own_client() if self._given is None else self._given.with_options(max_retries=0)
        return self._client

    def _own_client(self) -> AsyncOpenAI:
        import httpx2  # noqa: PLC0415 - see send
        import openai  # noqa: PLC0415 - see send

        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S)
        transport = openai.DefaultAioHttpClient(limits=limits, follow_redirects=False)
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self._key.reveal(), max_retries=0, http_client=transport)


_SHORTEST_SECRET = 8  # shorter "keys" (`local`, `x`) are placeholders, and words that answers may well contain
_NO_KEY = (
    "no API key was found; set OPENAI_API_KEY (in the environment or a .env file), or pass api_key=... (a local server takes "
    "any text), or use a small model on this machine without a key: Lab(backend=LocalModel())"
)


class _Secret:
    """A text that does not show itself: not in a repr, nor in a traceback that prints variables."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "<secret>"


def _check_client(client: Any) -> None:
    import openai  # noqa: PLC0415 - a client was given, so it is loaded already

    if not isinstance(client, openai.AsyncOpenAI):
        msg = f"client={type(client).__name__}: an AsyncOpenAI is needed, e.g. Lab(client=AsyncOpenAI(...)) instead of OpenAI(...)"
        raise BackendError(msg)


def _checked_url(url: str) -> str:
    """Return the address without a trailing slash; refuse one that carries credentials or is no address."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        host = urlunsplit((parts.scheme, parts.hostname or "", parts.path, "", ""))
        msg = f"base_url={host!r} carries credentials or a query; give the key as api_key=... or through a client of your own"
        raise BackendError(msg)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"base_url={url!r} is no address; write e.g. http://localhost:11434/v1"
        raise BackendError(msg)
    return url.rstrip("/")


def _body_sent(response: Any, request: Request) -> bytes | None:
    """Return the body that crossed the wire where it is not the one asked for."""
    content = bytes(response.request.content)
    return None if content == request.content else content


# What went wrong, told by the whole chain of causes

#: Class names met in the chain, most telling first: (kind, whether the request may have been paid for).
_CAUSES: Mapping[str, tuple[str, bool]] = {
    "ClientConnectorError": ("connect", False),
    "ClientConnectorDNSError": ("connect", False),
    "ClientConnectorCertificateError": ("connect", False),
    "ClientConnectorSSLError": ("connect", False),
    "ConnectionTimeoutError": ("connect", False),
    "ConnectError": ("connect", False),
    "ClientPayloadError": ("body_cut", True),
    "ServerDisconnectedError": ("reset", True),
    "ClientOSError": ("reset", True),
    "ConnectionResetError": ("reset", True),
    "RemoteProtocolError": ("protocol", True),
    "ClientResponseError": ("protocol", True),
    "SocketTimeoutError": ("timeout", True),
    "ServerTimeoutError": ("timeout", True),
    "ReadTimeout": ("timeout", True),
    "ReadError": ("reset", True),
    "WriteError": ("reset", True),
    "PoolTimeout": ("connect", False),
    "ConnectTimeout": ("connect", False),
}


def _send_error(exc: BaseException) -> SendError:
    chain = list(_chain(exc))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    for name, (kind, maybe_paid) in _CAUSES.items():
        if name in names:
            return SendError(kind, _told(chain), maybe_paid=maybe_paid)
    return SendError("protocol", _told(chain), maybe_paid=True)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _told(chain: list[BaseException]) -> str:
    """Say it in the words of the innermost cause that has any."""
    innermost = next((link for link in reversed(chain) if str(link)), chain[0])
    return f"{type(innermost).__name__}: {innermost}"
