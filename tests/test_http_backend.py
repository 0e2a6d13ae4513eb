"""The HTTP backend: what crosses the wire, what comes of each way it can break, and whose client it may be."""

import asyncio
import gzip
import hashlib
import json
from contextlib import closing, contextmanager

import aiohttp
import httpx2
import openai
import pytest

from promptlab import HttpBackend, Lab, ParameterGrid, PromptTemplate, _loop, requests
from promptlab.errors import BackendError, MissingKeyError
from promptlab.testing import SendError, error_reply
from studies import ASK, cases, plan_of
from wire import Wire

KEY = "sk-test-1234567890"


@pytest.fixture
def connect():
    """Return a function that makes a backend, and close what it made."""
    made = []

    def connect(base_url, **options):
        made.append(HttpBackend(base_url=base_url, api_key=KEY, **options))
        return made[-1]

    yield connect
    for backend in made:
        _loop.run(backend.aclose())


@contextmanager
def users_client(kind, **options):
    """A client as a user makes it, closed on the loop it lived on."""
    client = kind(api_key=KEY, max_retries=5, **options)
    yield client
    _loop.run(client.close())


def a_request(model="m", **params):
    """Return a chat request."""
    return requests.build([{"role": "user", "content": "Hi"}], {"model": model, **params}, identity="x")


def send(backend, request, *, timeout_s=5.0):
    """Send one request and return the reply."""
    return _loop.run(backend.send(request, client_request_id="plab-1", timeout_s=timeout_s))


# What crosses the wire


def test_the_bytes_sent_and_received_are_exact(fault_server, connect):
    """The body leaves as it is, with our id, and the reply's bytes come back as they were."""
    request = a_request(temperature=0.7)
    reply = send(connect(fault_server.base_url), request)
    (entry,) = fault_server.ledger()
    assert entry["body_sha256"] == hashlib.sha256(request.content).hexdigest()
    assert entry["reply_sha256"] == hashlib.sha256(reply.content).hexdigest()
    assert (entry["client_request_id"], entry["sdk_retry_count"]) == ("plab-1", "0")
    assert (reply.status, reply.sent, reply.headers["x-request-id"]) == (200, None, entry["request_id"])


@pytest.mark.parametrize("zips", [pytest.param(False, id="plain"), pytest.param(True, id="gzip")])
@pytest.mark.parametrize(
    "template",
    [
        pytest.param(PromptTemplate("chat", system="Übersetze.", user="{{ q }}"), id="chat"),
        pytest.param(PromptTemplate("base", text="{{ q }} ->"), id="text"),
    ],
)
def test_every_stored_byte_is_what_crossed_the_wire(tmp_path, template, zips):
    """For every trial, request text and response bytes in the file equal the server's own record, zipped or not."""
    with Wire(lambda body: f"«{body['temperature']}» \U0001f600", zips=zips) as wire:
        with Lab(tmp_path / "lab.db", base_url=wire.base_url, api_key=KEY) as lab:
            grid = ParameterGrid(model="m", temperature=[0, 0.5, 1])
            run = lab.run(template, grid, cases=cases(4, "¿né\n"), progress=False)
            logged = [lab.request(found) for found in run.frame()["request_id"]]
        crossed = {each.headers["x-client-request-id"]: each for each in wire.crossed}
    assert len(logged) == len(crossed) == 12
    for each in logged:
        served = crossed[each.answer["client_request_id"]]
        assert (each.body.encode(), each.response) == (served.body, served.reply)
        assert served.path == f"/v1/{each.endpoint}"
        assert served.headers["x-stainless-retry-count"] == "0"


def test_a_text_template_asks_the_completions_endpoint(connect):
    """The prompt goes as it is, and the text of the choice comes back."""
    request = requests.build([{"role": "text", "content": "Once upon"}], {"model": "m"}, identity="x")
    with Wire(" a time") as wire:
        reply = send(connect(wire.base_url), request)
    assert wire.crossed[0].body == b'{"model":"m","prompt":"Once upon"}'
    assert json.loads(reply.content)["choices"][0]["text"] == " a time"


def test_what_leaves_is_what_the_client_itself_would_send(monkeypatch):
    """Address and headers, those of the environment too, are the ones of `client.post`, for both endpoints."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: blue")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    told = [a_request(), requests.build([{"role": "text", "content": "Once"}], {"model": "m"}, identity="x")]
    with Wire() as wire:
        ours = HttpBackend(base_url=wire.base_url, api_key=KEY)
        pool = openai.DefaultAioHttpClient()
        with users_client(openai.AsyncOpenAI, base_url=wire.base_url, http_client=pool) as client:
            for backend in (ours, HttpBackend(client=client)):
                for request in told * 2:
                    send(backend, request)
        _loop.run(ours.aclose())
    crossed = [(each.path, each.headers, each.body) for each in wire.crossed]
    assert crossed[:4] == crossed[4:]
    assert (crossed[0][1]["x-team"], crossed[0][1]["openai-organization"]) == ("blue", "org-1")
    assert crossed[0][1]["authorization"] == f"Bearer {KEY}"


# How it can break

#: What the transports' errors mean: (kind, whether it may have been paid for). All others are no more than a protocol
#: that broke, and may have been paid for.
CONNECT, RESET, TIMEOUT = ("connect", False), ("reset", True), ("timeout", True)
MEANINGS = {
    "ClientConnectorError": CONNECT,
    "ClientConnectorDNSError": CONNECT,
    "ClientConnectorCertificateError": CONNECT,
    "ClientConnectorSSLError": CONNECT,
    "ClientHttpProxyError": CONNECT,
    "ClientProxyConnectionError": CONNECT,
    "ClientSSLError": CONNECT,
    "UnixClientConnectorError": CONNECT,
    "ConnectionTimeoutError": CONNECT,
    "ConnectError": CONNECT,
    "ConnectTimeout": CONNECT,
    "PoolTimeout": CONNECT,
    "ProxyError": CONNECT,
    "UnsupportedProtocol": CONNECT,
    "LocalProtocolError": ("protocol", False),
    "ClientPayloadError": ("body_cut", True),
    "ClientConnectionError": RESET,
    "ClientConnectionResetError": RESET,
    "ClientOSError": RESET,
    "ServerConnectionError": RESET,
    "ServerDisconnectedError": RESET,
    "ServerFingerprintMismatch": RESET,
    "NetworkError": RESET,
    "ReadError": RESET,
    "WriteError": RESET,
    "CloseError": RESET,
    "ServerTimeoutError": TIMEOUT,
    "SocketTimeoutError": TIMEOUT,
    "TimeoutException": TIMEOUT,
    "ReadTimeout": TIMEOUT,
    "WriteTimeout": TIMEOUT,
}


def tree(root):
    """Return a class of errors and all below it that are installed, by name."""
    below = {kind for child in root.__subclasses__() for kind in tree(child)}
    return sorted({root, *below}, key=lambda kind: kind.__name__)


def made(kind):
    """Return an error of a class whose own way to be made may ask for much."""
    return type(kind.__name__, (kind,), {"__init__": lambda _: None, "__str__": lambda _: "made up"})()


def ended(error):
    """Return what becomes of a request whose client raises this error."""

    class Broken(openai.AsyncOpenAI):
        async def post(self, *_, **__):
            raise error

    with users_client(Broken, base_url="http://localhost:1/v1") as client:
        try:
            return send(HttpBackend(client=client), a_request()).status
        except SendError as exc:
            return exc.kind, exc.maybe_paid


@pytest.mark.parametrize("wrapper", [openai.APIConnectionError, openai.APITimeoutError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("kind", [*tree(aiohttp.ClientError), *tree(httpx2.HTTPError)], ids=lambda kind: kind.__name__)
def test_an_error_is_told_by_its_causes(kind, wrapper):
    """Whatever the client makes of it: it calls some connections that broke a time-out."""
    outer = made(wrapper)
    outer.__cause__ = made(kind)
    assert ended(outer) == MEANINGS.get(kind.__name__, ("protocol", True))


@pytest.mark.parametrize("kind", tree(openai.OpenAIError), ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_is_an_attempt(kind):
    """One that carries a reply hands it on; any other may have been paid for."""
    error = made(kind)
    if isinstance(error, openai.APIStatusError):
        error.response = httpx2.Response(418, request=httpx2.Request("POST", "http://localhost:1"))
        assert ended(error) == 418
    else:
        assert ended(error) == ("protocol", True)


@pytest.mark.parametrize(
    "base_url",
    [pytest.param("http://127.0.0.1:9/v1", id="refused"), pytest.param("http://nowhere.invalid/v1", id="no-such-host")],
)
def test_who_cannot_be_reached_was_not_paid(connect, base_url):
    """Without a connection nothing was sent."""
    with pytest.raises(SendError) as caught:
        send(connect(base_url), a_request())
    assert (caught.value.kind, caught.value.maybe_paid) == ("connect", False)


@pytest.mark.parametrize("fault", ["401", "404", "429", "500", "502_html", "captive_portal", "invalid_utf8", "http10"])
def test_any_whole_reply_is_handed_on(fault_server, connect, fault):
    """What the server said is not judged here, whatever its status and its bytes."""
    fault_server.set(default=fault)
    reply = send(connect(fault_server.base_url), a_request())
    (entry,) = fault_server.ledger()
    assert (reply.status, hashlib.sha256(reply.content).hexdigest()) == (entry["status"], entry["reply_sha256"])


# Whose client


def test_a_users_client_is_used_without_its_retries(fault_server):
    """Its own retries would be invisible and could be billed, so it is asked once."""
    fault_server.set(default="500")
    with users_client(openai.AsyncOpenAI, base_url=fault_server.base_url) as client:
        backend = HttpBackend(client=client)
        reply = send(backend, a_request())
        _loop.run(backend.aclose())
        assert send(backend, a_request()).status == 500  # its connections are the user's: they were not closed
    assert (reply.status, len(fault_server.ledger())) == (500, 2)
    assert backend.info().details == {"client": "AsyncOpenAI"}


def test_an_azure_client_puts_the_model_into_the_address(tmp_path):
    """The request goes where Azure wants it, and the log has the body as it was sent."""
    version = "2024-10-21"
    with (
        Wire("yes") as wire,
        users_client(openai.AsyncAzureOpenAI, azure_endpoint=wire.origin, api_version=version) as client,
        Lab(tmp_path / "lab.db", client=client) as lab,
    ):
        run = lab.run(plan_of(lab, 1), progress=False)
        logged = lab.request(run.frame()["request_id"][0])
        kind = lab.sql("select json_extract(backend, '$.client') from runs").iat[0, 0]
    (crossed,) = wire.crossed
    assert crossed.path == "/openai/deployments/m/chat/completions?api-version=2024-10-21"
    assert (crossed.headers["api-key"], kind, run.outputs) == (KEY, "AsyncAzureOpenAI", ["yes"])
    assert (logged.answer["sent_body"] or logged.body).encode() == crossed.body


def test_a_client_that_rewrites_the_body_is_noticed(tmp_path):
    """What was sent instead of what was asked is kept beside it."""

    class Gateway(openai.AsyncOpenAI):
        async def _prepare_request(self, request):
            changed = json.dumps({**json.loads(request.content), "user": "gateway"}).encode()
            request.stream = type(request.stream)(changed)
            request._content = changed
            request.headers["content-length"] = str(len(changed))

    with (
        Wire("yes") as wire,
        users_client(Gateway, base_url=wire.base_url) as client,
        Lab(tmp_path / "lab.db", client=client) as lab,
    ):
        logged = lab.request(lab.ask(ASK, {"q": "Hi"}, model="m").request_id)
    assert logged.body == '{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
    assert logged.answer["sent_body"].encode() == wire.crossed[0].body
    assert json.loads(wire.crossed[0].body)["user"] == "gateway"


def test_a_blocking_client_is_refused_with_advice():
    """An OpenAI object cannot be awaited; the error names the one that can."""
    with closing(openai.OpenAI(api_key=KEY)) as client, pytest.raises(BackendError) as caught:
        HttpBackend(client=client)
    advice = "an AsyncOpenAI is needed, e.g. Lab(client=AsyncOpenAI(...)) instead of OpenAI(...)"
    assert str(caught.value) == f"client=OpenAI: {advice}"


def test_a_client_is_given_alone():
    """An address or a key beside it would be ignored, so they are refused."""
    client = openai.AsyncOpenAI(api_key=KEY)
    with pytest.raises(BackendError, match=r"client= is given beside base_url= or api_key="):
        HttpBackend(client=client, base_url="http://localhost:1/v1")


# Address and key


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(None, "https://api.openai.com/v1", id="default"),
        pytest.param("http://localhost:11434/v1/", "http://localhost:11434/v1", id="slash"),
        pytest.param("https://example.com/some/path", "https://example.com/some/path", id="path"),
    ],
)
def test_the_address_is_the_identity(given, kept):
    """Answers of one address are comparable, however its end is written."""
    backend = HttpBackend(base_url=given)
    assert (backend.identity, backend.info().base_url, repr(backend)) == (kept, kept, f"<HttpBackend {kept}>")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://example.com", "http://", "/v1", "http://[::1", "v1"])
def test_what_is_no_address_is_refused(url):
    """The error repeats it, and shows what one looks like."""
    with pytest.raises(BackendError) as caught:
        HttpBackend(base_url=url)
    assert str(caught.value) == f"base_url={url!r} is no address; write e.g. http://localhost:11434/v1"


def test_without_a_key_it_can_be_named_but_not_used():
    """The error lists the ways to give a key, and the one that needs none."""
    backend = HttpBackend()
    with pytest.raises(MissingKeyError, match=r"set OPENAI_API_KEY .* or use a small model on this machine"):
        backend.start()


def test_blanks_around_a_key_are_no_part_of_it(fault_server):
    """A key read from a file has a line break at its end."""
    fault_server.set(require_key=KEY)
    backend = HttpBackend(base_url=fault_server.base_url, api_key=f" {KEY}\n")
    assert send(backend, a_request()).status == 200
    _loop.run(backend.aclose())


@pytest.mark.parametrize("key", ["sk-test 1234567890", "sk-test-123\n4567890", "sk-tést-1234567890"])
def test_what_cannot_be_a_key_is_refused(key):
    """The error comes before anything is sent, and does not repeat it."""
    with pytest.raises(BackendError, match="which no key has; copy it again") as caught:
        HttpBackend(api_key=key)
    assert "sk-t" not in str(caught.value)


def test_headers_from_the_environment_are_logged_by_name_alone(monkeypatch):
    """A gateway's header shows that it was there, and not what it said."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: blue\nX-Api-Key: hidden-value")
    backend = HttpBackend(api_key=KEY)
    assert backend.info().details == {"client": "AsyncOpenAI", "custom_headers": ["X-Team", "X-Api-Key"]}
    backend.start()
    assert set(backend.secrets) == {KEY, "hidden-value"}
    _loop.run(backend.aclose())


def test_a_setting_that_cannot_be_is_named(monkeypatch):
    """A proxy that is none is an error of ours, before anything is sent."""
    monkeypatch.setenv("HTTPS_PROXY", "foo://proxy:1")
    monkeypatch.setenv("ALL_PROXY", "foo://proxy:1")
    with pytest.raises(BackendError, match=r"no client could be made for https://api.invalid/v1: .*; check OPENAI_\*"):
        HttpBackend(base_url="https://api.invalid/v1", api_key=KEY).start()


def test_a_proxy_is_not_asked_for_this_machine(fault_server, monkeypatch):
    """A server on loopback is reached directly, whatever proxy the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    backend = HttpBackend(base_url=fault_server.base_url, api_key=KEY)
    assert _loop.run(backend.models()) == ["gpt-fault-1"]
    _loop.run(backend.aclose())


# Models


def test_models_are_listed_by_name(fault_server, connect):
    """The names are sorted."""
    fault_server.set(models=["b", "a"])
    assert _loop.run(connect(fault_server.base_url).models()) == ["a", "b"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(error_reply(401, f"wrong key {KEY}"), id="refused"),
        pytest.param(error_reply(404), id="not-there"),
        pytest.param(error_reply(200), id="another-shape"),
    ],
)
def test_a_server_that_lists_no_models_is_told(connect, reply):
    """The error names the address and what it said, without the key."""
    with Wire(lambda _: reply) as wire:
        backend = connect(wire.base_url)
        with pytest.raises(BackendError, match=r"does not list its models; check the address\. It said: ") as caught:
            _loop.run(backend.models())
    assert (KEY in str(caught.value), caught.value.__cause__, caught.value.__context__) == (False, None, None)


def test_it_can_be_used_again_after_closing(fault_server, connect):
    """Connections are given back, and made anew when something is sent."""
    backend = connect(fault_server.base_url)
    send(backend, a_request())
    _loop.run(backend.aclose())
    assert send(backend, a_request()).status == 200


def test_many_at_once_share_its_connections(fault_server, connect):
    """A hundred requests at a time need no hundred-and-first connection for the next hundred."""
    backend = connect(fault_server.base_url)

    async def hundred():
        sends = (backend.send(a_request(), client_request_id=f"p{n}", timeout_s=20.0) for n in range(100))
        return [reply.status for reply in await asyncio.gather(*sends)]

    assert _loop.run(hundred()) == _loop.run(hundred()) == [200] * 100
    assert len({entry["conn"] for entry in fault_server.ledger()}) <= 100


def test_more_than_a_hundred_can_be_in_flight(fault_server, connect):
    """No pool of connections holds back what the user's concurrency lets go."""
    fault_server.set(latency_ms=1000)
    backend = connect(fault_server.base_url)

    async def many():
        sends = (backend.send(a_request(), client_request_id=f"p{n}", timeout_s=20.0) for n in range(150))
        return [reply.status for reply in await asyncio.gather(*sends)]

    assert _loop.run(many()) == [200] * 150
    assert fault_server.stats()["peak_in_flight"] == 150


def test_gzip_is_undone_before_anything_is_stored():
    """The double used above does compress."""
    with Wire("ok" * 100, zips=True) as wire:
        import urllib.request

        asked = urllib.request.Request(f"{wire.base_url}/completions", b'{"prompt": "x"}')
        with urllib.request.urlopen(asked) as reply:
            assert gzip.decompress(reply.read()) == wire.crossed[0].reply
