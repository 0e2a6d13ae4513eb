"""An OpenAI-compatible server, through the `openai` client: exact bytes out, exact bytes in.

The client is used for what it does best (keys, headers, gateways, connection pools), by its documented raw call
`client.post(path, content=bytes, cast_to=httpx2.Response)`, with its own retries off. A client of our own is asked once
for what it would send; each request then goes out with that address and those headers through the client's own
connections, its aiohttp transport (measured at 64 in flight, CPU a request: `create` 1.4 ms, `post` 0.5, this 0.3). It
is made on promptlab's event loop at the first request, since an AsyncOpenAI belongs to one loop. That transport
mislabels some errors, so a failure is told by the whole chain of its causes.

The key is only ever held as a `Secret`, and no error that reaches the user is chained to one of the client's: IPython's
verbose tracebacks print the arguments of every frame, and the client passes the key along. (A `SendError` never leaves
the runner.)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from promptlab import _loop
from promptlab.attempts import Reply, SendError, redact
from promptlab.backends._base import BackendInfo, Secret
from promptlab.errors import BackendError, MissingKeyError
from promptlab.limits import FIRST_PACE, TOP_PACE
from promptlab.requests import Request

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"
CONNECT_TIMEOUT_S = 15.0  # the client's own 5 s ran out on a busy loop in one sweep of three
KEEPALIVE_S = 60.0
SLEPT_S = 0.5  # a deadline noticed so much too late: this process was stopped meanwhile, or its loop was blocked
AWAKE_S = 1.0  # what such a process is given to read the answers that have arrived


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What the client puts around every body it sends to one endpoint; the headers hold the key."""

    url: httpx2.URL
    headers: list[tuple[bytes, bytes]] = field(repr=False)


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
        How many requests are in flight when a run names no number; left out, their number adapts.
    """

    is_free = False

    def __init__(
        self,
        *,
        base_url: str | Secret | None = None,
        api_key: str | Secret | None = None,
        client: AsyncOpenAI | None = None,
        concurrency: int | None = None,
    ) -> None:
        key, address = Secret(api_key), Secret(base_url)
        del api_key, base_url  # so that no traceback that prints variables can show them
        if client is not None:
            _check_client(client, is_alone=not (key or address))
            address = Secret(str(client.base_url))
        self._key = _checked_key(key)
        self.base_url = _checked_address(address)
        self.concurrency = FIRST_PACE if concurrency is None else concurrency
        self.most_concurrency = TOP_PACE if concurrency is None else concurrency
        self._given = client
        self._client: AsyncOpenAI | None = None
        self._pool: httpx2.AsyncClient | None = None  # of our own client
        self._envelopes: dict[str, _Envelope] = {}  # by endpoint
        self._own_secrets: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The base URL."""
        return self.base_url

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key in use, and the values of headers that carry one."""
        if self._given is not None:  # its key may change from one request to the next
            return _secrets_of(self._client or self._given)
        return self._own_secrets or _long_enough([self._key.reveal()])

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

        client = self._connected()
        try:
            async with _within(timeout_s):
                if self._pool is None:
                    response = await self._post(client, request, client_request_id, timeout_s)
                else:
                    response = await self._pool.send(
                        await self._enclosed(client, request, client_request_id, timeout_s)
                    )
        except openai.APIStatusError as exc:
            response = exc.response
        except TimeoutError as exc:
            late = SendError("deadline", f"no whole reply within {timeout_s:g} s", maybe_paid=True)
            raise late from exc
        except Exception as exc:
            raise _send_error(exc, self.base_url) from exc
        sent = None if self._given is None else _body_sent(response, request)
        return Reply(response.status_code, dict(response.headers.items()), response.content, sent)

    async def models(self) -> list[str]:
        """Return the names of the models on offer, sorted."""
        client = self._connected()
        try:
            page = await client.models.list()
            return sorted(model.id for model in page.data)
        except Exception as exc:  # noqa: BLE001 - the client lets many kinds through, and none may be chained
            told, _ = redact(f"{type(exc).__name__}: {exc}".encode(), self.secrets, key_like=True)
        msg = f"{self.base_url} does not list its models; check the address. It said: {told.decode(errors='replace')}"
        raise BackendError(msg)

    async def aclose(self) -> None:
        """Close the connections; a client of the user's own stays open."""
        client, self._client, self._pool, self._envelopes = self._client, None, None, {}
        if client is not None and self._given is None:
            await client.close()

    def __repr__(self) -> str:
        return f"<HttpBackend {self.base_url}>"

    async def _post(self, client: AsyncOpenAI, request: Request, client_request_id: str, timeout_s: float) -> Any:
        import httpx2  # noqa: PLC0415 - see send

        options: Any = {
            "headers": {"X-Client-Request-Id": client_request_id},
            "timeout": _timeout(timeout_s),
            "follow_redirects": False,  # a user's own client would follow, and hand the prompt to another origin
        }
        # A client that puts parts of the body elsewhere (Azure: the model into the address) has to see the parts.
        body: Any = {"body": json.loads(request.body)} if self._rewrites else {"content": request.content}
        return await client.post(f"/{request.endpoint}", **body, cast_to=httpx2.Response, options=options)

    async def _enclosed(
        self, client: AsyncOpenAI, request: Request, client_request_id: str, timeout_s: float
    ) -> httpx2.Request:
        """Return what `_post` would send; to have the client build it each time costs 0.2 ms."""
        import httpx2  # noqa: PLC0415 - see send

        around = self._envelopes.get(request.endpoint)
        if around is None:
            around = self._envelopes[request.endpoint] = await _envelope(client, request.endpoint)
        content = request.content
        own = {"X-Client-Request-Id": client_request_id, "Content-Length": len(content)}
        made = httpx2.Request(
            "POST",
            around.url,
            headers=[*around.headers, *((name.encode(), str(value).encode()) for name, value in own.items())],
            stream=httpx2.ByteStream(content),
            extensions={"timeout": _timeout(timeout_s).as_dict()},
        )
        made.read()
        return made

    @property
    def _rewrites(self) -> bool:
        import openai  # noqa: PLC0415 - see send

        return isinstance(self._given, openai.AsyncAzureOpenAI)

    async def _opened(self) -> None:
        self._connected()

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = self._own_client() if self._given is None else self._given.with_options(max_retries=0)
            self._own_secrets = _secrets_of(self._client)  # kept: asked for with every reply, 20 µs to find
        return self._client

    def _own_client(self) -> AsyncOpenAI:
        import httpx2  # noqa: PLC0415 - see send
        import openai  # noqa: PLC0415 - see send

        # 0: no limit. With None the transport names none, and aiohttp's own of 100 connections holds.
        limits = httpx2.Limits(max_connections=0, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S)
        uses_proxy = (
            urlsplit(self.base_url).hostname not in _LOOPBACK
        )  # a proxy cannot reach this machine's own servers
        try:
            pool = openai.DefaultAioHttpClient(limits=limits, follow_redirects=False, trust_env=uses_proxy)
            client = openai.AsyncOpenAI(
                base_url=self.base_url, api_key=self._key.reveal(), max_retries=0, http_client=pool
            )
        except Exception as exc:  # noqa: BLE001 - e.g. a proxy or a setting of the environment that cannot be; unchained
            told, _ = redact(f"{type(exc).__name__}: {exc}".encode(), self.secrets, key_like=True)
        else:
            self._pool = pool
            return client
        msg = (
            f"no client could be made for {self.base_url}: {told.decode(errors='replace')}; check OPENAI_* and *_PROXY"
        )
        raise BackendError(msg)


async def _envelope(client: AsyncOpenAI, endpoint: str) -> _Envelope:
    """Have a client build a request that goes nowhere, and return its address and its headers but for our own."""
    import httpx2  # noqa: PLC0415 - see send

    built: list[httpx2.Request] = []

    def keep(request: httpx2.Request) -> httpx2.Response:
        built.append(request)
        return httpx2.Response(200)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(keep), trust_env=False) as nowhere:
        asking = client.with_options(http_client=nowhere)
        await asking.post(f"/{endpoint}", content=b"{}", cast_to=httpx2.Response)
    kept = [(name, value) for name, value in built[0].headers.raw if name.lower() not in _OWN_HEADERS]
    return _Envelope(built[0].url, kept)


_OWN_HEADERS = frozenset({b"content-length", b"x-stainless-read-timeout"})  # the latter says what the client waits for


def _timeout(timeout_s: float) -> httpx2.Timeout:
    """Return the time limits of the transport: none on a read, which would not wait for who slept; see `_within`."""
    import httpx2  # noqa: PLC0415 - see send

    return httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s), read=None)


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SHORTEST_SECRET = 8  # shorter "keys" (`local`, `x`) are placeholders, and words that answers may well contain
_SECRET_HEADER = re.compile(r"authorization|key|token|secret|password", re.IGNORECASE)
_KEY = re.compile(r"[!-~]*")
_NO_KEY = (
    "no API key was found; set OPENAI_API_KEY (in the environment or a .env file), or pass api_key=... (a local server "
    "takes any text), or use a small model on this machine without a key: Lab(backend=LocalModel())"
)
_BAD_KEY = "the API key holds a blank, a line break or a letter outside ASCII, which no key has; copy it again"


def _secrets_of(client: AsyncOpenAI) -> tuple[str, ...]:
    """Return what a client sends as credentials; a header's scheme (`Bearer`) is no part of it."""
    headers = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    kept = [value.split()[-1] for name, value in headers.items() if _SECRET_HEADER.search(name) and value.strip()]
    return _long_enough([client.api_key, *kept] if isinstance(client.api_key, str) else kept)


def _long_enough(texts: list[str]) -> tuple[str, ...]:
    return tuple(text for text in texts if len(text) >= _SHORTEST_SECRET)


def _check_client(client: Any, *, is_alone: bool) -> None:
    import openai  # noqa: PLC0415 - a client was given, so it is loaded already

    if not isinstance(client, openai.AsyncOpenAI):
        kind = type(client).__name__
        msg = f"client={kind}: an AsyncOpenAI is needed, e.g. Lab(client=AsyncOpenAI(...)) instead of {kind}(...)"
        raise BackendError(msg)
    if not is_alone:
        msg = "client= is given beside base_url= or api_key=; the client has both, so give it alone"
        raise BackendError(msg)


def _checked_key(key: Secret) -> Secret:
    """Return the key without blanks around it (a file or a copied line has them)."""
    stripped = Secret(key.reveal().strip())
    if not _KEY.fullmatch(stripped.reveal()):
        raise BackendError(_BAD_KEY)
    return stripped


def _checked_address(address: Secret) -> str:
    """Return the address without a trailing slash; refuse one that carries credentials or is no address."""
    problem = _address_problem(address.reveal())
    if problem:
        raise BackendError(problem)
    return (address.reveal() or DEFAULT_BASE_URL).rstrip("/")


def _address_problem(url: str) -> str | None:
    parts = _split(url or DEFAULT_BASE_URL)
    if "@" in url.partition("?")[0] or (parts and parts.query):
        host = parts.hostname if parts else None
        return (
            f"base_url{f' for {host}' if host else ''} carries credentials or a query, which others would log; give"
            " the key as api_key=..., or all of it through a client of your own: Lab(client=AsyncOpenAI(...))"
        )
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        shown, _ = redact(url.encode(errors="replace"), (), key_like=True)
        return f"base_url={shown.decode()!r} is no address; write e.g. http://localhost:11434/v1"
    return None


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


@asynccontextmanager
async def _within(timeout_s: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` after a time; a process that slept past it first reads what has arrived, and is paid for.

    Measured with a process stopped for longer than its deadline: of 16 answers that waited in the sockets 15 were
    dropped, and asked for and billed once more.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + timeout_s
    async with asyncio.timeout(None) as limit:

        def look() -> None:
            late_s = loop.time() - due_s
            limit.reschedule(loop.time() + (AWAKE_S if late_s > SLEPT_S else 0.0))

        timer = loop.call_at(due_s, look)
        try:
            yield
        finally:
            timer.cancel()


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
    "ClientHttpProxyError": ("connect", False),
    "ConnectError": ("connect", False),
    "ProxyError": ("connect", False),
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
    "LocalProtocolError": ("protocol", False),
    "UnsupportedProtocol": ("connect", False),
    "TimeoutException": ("timeout", True),
    "NetworkError": ("reset", True),
    "ClientConnectionError": ("reset", True),
}


def _send_error(exc: BaseException, url: str) -> SendError:
    chain = list(_chain(exc))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    for name, (kind, maybe_paid) in _CAUSES.items():
        if name in names:
            where = f"{url} cannot be reached; is the server running? " if kind == "connect" else ""
            return SendError(kind, where + _told(chain), maybe_paid=maybe_paid)
    return SendError("protocol", _told(chain), maybe_paid=True)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _told(chain: list[BaseException]) -> str:
    """Say it in the words of the innermost cause that has any."""
    innermost = next((link for link in reversed(chain) if str(link)), chain[0])
    return f"{type(innermost).__name__}: {innermost}"
