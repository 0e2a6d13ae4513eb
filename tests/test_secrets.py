"""Secrets: the key is in no file, no log, no text form and no traceback, whoever tries to put it there."""

import contextlib
import logging
import traceback
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from IPython.core.ultratb import VerboseTB

from promptlab import HttpBackend, Lab, _loop
from promptlab.backends._base import Secret
from promptlab.errors import BackendError, PromptlabError
from promptlab.testing import error_reply, text_reply
from studies import ASK, BRISK, plan_of
from wire import Wire

KEY = "sk-lab-" + "5ecret" * 4
PASSWORD = "pa55word-of-mine"
PACKAGE = str(Path(_loop.__file__).parent)


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """A folder of its own with the key in `.env`, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text(f"OPENAI_API_KEY={KEY}\n", encoding="utf-8")


def leaks(text, *, of=KEY):
    """Whether a text, or bytes, hold the secret or a good part of it."""
    return any(part.encode() in (text.encode() if isinstance(text, str) else text) for part in (of, of[4:-4]))


def files():
    """Return the bytes of every file but the one that is meant to hold the key."""
    return b"".join(path.read_bytes() for path in Path().iterdir() if path.name != ".env")


def chain(exc):
    """Yield an exception and everything it is chained to and shows."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def frames(exc):
    """Yield the frames of this library, and of those it calls, on the way to an exception."""
    for link in chain(exc):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename != __file__ and "/_pytest/" not in frame.f_code.co_filename:
                yield frame


def verbose(exc):
    """Return IPython's verbose traceback without the frames of the tests, which hold the key themselves."""
    for link in chain(exc):
        while link.__traceback__ and link.__traceback__.tb_frame.f_code.co_filename == __file__:
            link.__traceback__ = link.__traceback__.tb_next
    return VerboseTB().text(type(exc), exc, exc.__traceback__)


# The file


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda _: "fine", id="answer"),
        pytest.param(lambda _: f"your key is {KEY}, is it not", id="in-an-answer"),
        pytest.param(lambda _: error_reply(401, f"Incorrect API key provided: {KEY}"), id="in-an-error"),
        pytest.param(lambda _: error_reply(400, "no", code=KEY, param=KEY, type=KEY), id="in-its-fields"),
        pytest.param(lambda body: text_reply("x", body, model=KEY, system_fingerprint=KEY), id="in-other-fields"),
        pytest.param(lambda body: replace(text_reply("x", body), headers={"x-request-id": KEY}), id="in-a-header"),
    ],
)
def test_the_file_never_holds_the_key(script):
    """Whatever the server repeats, neither the file nor its log has the key, before and after it is folded."""
    with Wire(script) as wire, Lab(base_url=wire.base_url, policy=BRISK) as lab:
        run = lab.run(plan_of(lab, 3), progress=False)
        assert (leaks(files()), "experiments.db-wal" in {each.name for each in Path().iterdir()}) == (False, True)
        shown = [repr(lab), lab._repr_html_(), repr(run), run._repr_html_(), run.frame().to_csv(), repr(lab.backend)]
        shown += [repr(lab.request(1)), lab.request(1)._repr_html_(), lab.request(1).as_curl(), lab.runs().to_csv()]
        assert [text for text in shown if leaks(text)] == []
    assert leaks(wire.crossed[0].headers["authorization"])  # it was sent, and to the server alone
    assert not leaks(files())


def test_what_was_taken_out_is_marked():
    """The answer says where something stood, and the attempt that it was changed."""
    with Wire(lambda _: f"it is {KEY}!") as wire, Lab(base_url=wire.base_url) as lab:
        answer = lab.ask(ASK, {"q": "key?"}, model="m")
        logged = lab.request(answer.request_id)
    assert (answer.text, logged.answer["redacted"]) == ("it is [redacted]!", 1)


def test_what_looks_like_a_key_is_taken_out_of_errors():
    """Somebody else's key in an error body is nobody's business either; in an answer it is text."""
    other = "sk-other-" + "k3y" * 6
    with Wire(lambda _: error_reply(400, f"bad: {other}")) as wire, Lab(base_url=wire.base_url) as lab:
        lab.run(plan_of(lab, 1), progress=False)
        assert not leaks(lab.request(1).response, of=other)


def test_an_answer_without_secrets_is_not_marked():
    """Nothing was changed, so nothing says so."""
    with Wire("fine") as wire, Lab(base_url=wire.base_url) as lab:
        assert lab.request(lab.ask(ASK, {"q": "key?"}, model="m").request_id).answer["redacted"] == 0


def test_a_placeholder_is_no_secret():
    """`local` is a word that answers may contain."""
    with Wire("a local one") as wire, Lab(base_url=wire.base_url, api_key="local") as lab:
        assert lab.ask(ASK, {"q": "Which?"}, model="m").text == "a local one"


def test_the_keys_of_a_users_client_are_secrets_too():
    """Its key, and the headers by which it shows itself to a gateway."""
    gateway = "gate-" + "k3y" * 5
    client = openai.AsyncOpenAI(api_key=KEY, base_url="http://localhost:1", default_headers={"X-Gate-Key": gateway})
    backend = HttpBackend(client=client)
    assert set(backend.secrets) == {KEY, gateway}
    _loop.run(client.close())


# Logs


@pytest.mark.parametrize("fault", ["ok", "401", "500|ok", "reset_before|ok", "429,retry_after=0.01,ms=1|ok"])
@pytest.mark.parametrize("of_the_user", [pytest.param(False, id="ours"), pytest.param(True, id="users")])
def test_no_log_holds_the_key(fault_server, caplog, capfd, fault, of_the_user):
    """At level DEBUG neither we nor the libraries below write it, nor does anything reach the terminal."""
    caplog.set_level(logging.DEBUG)
    fault_server.set(default=fault, key_by="body")
    client = openai.AsyncOpenAI(api_key=KEY, base_url=fault_server.base_url) if of_the_user else None
    given = {"client": client} if of_the_user else {"base_url": fault_server.base_url}
    with Lab(policy=BRISK, **given) as lab:
        lab.run(plan_of(lab, 2), progress=False)
    if client:
        _loop.run(client.close())
    assert (len(caplog.records) > 0, leaks(caplog.text), leaks("".join(capfd.readouterr()))) == (True, False, False)


# Errors


def in_a_file_that_is_no_text():
    """Read settings from a file in another encoding."""
    Path(".env").write_bytes(f"OPENAI_API_KEY={KEY}\nNAME=M\xfcller\n".encode("latin-1"))
    Lab()


def in_a_proxy_that_is_none():
    """Make a client that cannot be made."""
    Path(".env").write_text(f"OPENAI_API_KEY={KEY}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, Lab(base_url="http://localhost:1") as lab:
        patch.setenv("ALL_PROXY", f"foo://{KEY}@proxy:1")
        patch.setenv("HTTP_PROXY", f"foo://{KEY}@proxy:1")
        lab.models()


def asked(script, ask, **options):
    """Ask a server that answers from a script."""
    with Wire(script) as wire, Lab(base_url=wire.base_url, policy=BRISK, **options) as lab:
        ask(lab)


def models_nowhere():
    """Ask where nobody listens."""
    with Lab(base_url="http://127.0.0.1:9/v1") as lab:
        lab.models()


def with_a_client_of_the_wrong_kind():
    """Give a blocking client."""
    with contextlib.closing(openai.OpenAI(api_key=KEY)) as client:
        Lab(client=client)


ECHO = lambda _: error_reply(401, f"Incorrect API key provided: {KEY}")  # noqa: E731 - a script is one line

ERRORS = {
    "a key with a blank": lambda: Lab(api_key=f"{KEY} {KEY}"),
    "a key with a blank, in a backend": lambda: HttpBackend(api_key=f"{KEY} {KEY}"),
    "a key beside a backend": lambda: Lab(backend=HttpBackend(), api_key=KEY),
    "no address": lambda: Lab(base_url="nowhere", api_key=KEY),
    "no address, in a backend": lambda: HttpBackend(base_url="nowhere", api_key=KEY),
    "the key as address": lambda: Lab(base_url=KEY),
    "the key in the address": lambda: Lab(base_url=f"https://{KEY}@example.com/v1"),
    "no file": lambda: Lab("gone/lab.db", api_key=KEY),
    "no file offline": lambda: Lab("gone.db", api_key=KEY, offline=True),
    "a client of the wrong kind": with_a_client_of_the_wrong_kind,
    "a key beside a client": lambda: Lab(api_key=KEY, client=openai.AsyncOpenAI(api_key=KEY)),
    "settings that cannot be read": in_a_file_that_is_no_text,
    "a client that cannot be made": in_a_proxy_that_is_none,
    "models refused": lambda: asked(ECHO, lambda lab: lab.models()),
    "models nowhere": models_nowhere,
    "an answer refused": lambda: asked(ECHO, lambda lab: lab.ask(ASK, {"q": "Hi"}, model="m")),
    "a run stopped": lambda: asked(ECHO, lambda lab: lab.run(plan_of(lab, 2), on_error="stop", progress=False)),
    "a plan refused": lambda: asked(ECHO, lambda lab: lab.plan(ASK, {"model": "m"})),
    "a run refused": lambda: asked(ECHO, lambda lab: lab.run(plan_of(lab, 2), concurrency=0)),
}


@pytest.mark.parametrize("raising", [pytest.param(each, id=name) for name, each in ERRORS.items()])
def test_no_error_shows_the_key(raising):
    """Neither the message, nor IPython's verbose traceback, nor a variable of ours that another tool may print."""
    with pytest.raises(PromptlabError) as caught:
        raising()
    ours = [frame for frame in frames(caught.value) if frame.f_code.co_filename.startswith(PACKAGE)]
    values = [f"{name}={value!r}" for frame in ours for name, value in frame.f_locals.items() if name != "self"]
    assert len(ours) > 0
    assert [value for value in values if leaks(value)] == []
    assert not leaks("".join(map(str, chain(caught.value))))
    assert not leaks(verbose(caught.value))
    assert not leaks(files())


def test_the_verbose_traceback_of_the_test_would_show_it():
    """The double check can fail: with its own frame, which holds the key, the key is there."""
    with pytest.raises(BackendError) as caught:
        ERRORS["no address"]()
    shown = VerboseTB().text(type(caught.value), caught.value, caught.value.__traceback__)
    assert leaks(shown)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{PASSWORD}@example.com/v1",
        f"https://{PASSWORD}@example.com/v1",
        f"me:{PASSWORD}@example.com/v1",
        f"https://example.com/v1?key={PASSWORD}",
        f"https://me:{PASSWORD}@[::1/v1",
        f"https://me:{PASSWORD}\u2100@example.com/v1",
    ],
)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_an_address_with_credentials_is_refused_without_repeating_them(monkeypatch, url, how):
    """They would be in every log; the error says where a key belongs."""
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(BackendError, match="carries credentials or a query, which others would log; give") as caught:
        Lab(base_url=url if how == "argument" else None)
    assert not leaks(str(caught.value) + verbose(caught.value), of=PASSWORD)


def test_a_client_with_credentials_in_its_address_is_refused():
    """It would send them with every request, and its own log would show them."""
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"https://me:{PASSWORD}@example.com/v1")
    with pytest.raises(BackendError, match=r"base_url for example\.com carries credentials") as caught:
        Lab(client=client)
    assert not leaks(str(caught.value) + verbose(caught.value), of=PASSWORD)


def test_a_secret_shows_nothing():
    """However it is looked at, a secret is only told when it is asked."""
    secret = Secret(Secret(KEY))
    assert (repr(secret), str(secret), f"{secret}", bool(secret), bool(Secret(None))) == (
        "<secret>",
        "<secret>",
        "<secret>",
        True,
        False,
    )
    assert secret.reveal() == KEY
