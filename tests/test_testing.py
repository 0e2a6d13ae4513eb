"""The public doubles."""

import asyncio
import json

import pytest

from promptlab import Lab, _loop
from promptlab.requests import build
from promptlab.testing import ScriptedBackend, SendError, error_reply, text_reply
from studies import ASK, plan_of

CHAT = build([{"role": "user", "content": "Hi"}], {"model": "m"}, identity="scripted")
TEXT = build([{"role": "text", "content": "Once"}], {"model": "m"}, identity="scripted")


def send(backend, request):
    """Send one request."""
    return _loop.run(backend.send(request, client_request_id="a", timeout_s=1))


def test_a_text_becomes_a_whole_reply():
    """Chat and text endpoints each get their shape, with usage."""
    chat, text = (json.loads(send(ScriptedBackend("yes"), request).content) for request in (CHAT, TEXT))
    assert chat["choices"][0]["message"] == {"role": "assistant", "content": "yes"}
    assert text["choices"][0]["text"] == "yes"
    assert chat["usage"] == {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9}


def test_a_script_sees_the_body_and_its_requests_are_kept():
    """What was sent can be asserted on afterwards."""
    backend = ScriptedBackend(lambda body: body["messages"][0]["content"])
    assert json.loads(send(backend, CHAT).content)["choices"][0]["message"]["content"] == "Hi"
    assert (backend.requests, _loop.run(backend.models()), repr(backend)) == (
        [CHAT],
        ["m"],
        "<ScriptedBackend scripted: 1 requests>",
    )


def test_a_script_may_wait():
    """An asynchronous function is awaited."""

    async def script(_):
        await asyncio.sleep(0)
        return "later"

    assert b"later" in send(ScriptedBackend(script), CHAT).content


def test_a_script_may_fail():
    """A whole reply is handed on, a broken exchange is raised."""
    assert send(ScriptedBackend(lambda _: error_reply(429, headers={"retry-after": "1"})), CHAT).status == 429
    with pytest.raises(SendError, match="cut"):
        send(ScriptedBackend(lambda _: SendError("reset", "cut", maybe_paid=True)), CHAT)


def test_fields_of_a_reply_can_be_replaced():
    """Usage, model or anything else can be what a test needs."""
    reply = text_reply(None, {"model": "m", "messages": []}, finish_reason="length", usage=None, model="other")
    body = json.loads(reply.content)
    assert (body["usage"], body["model"], body["choices"][0]["finish_reason"]) == (None, "other", "length")


def test_a_lab_runs_on_it(tmp_path):
    """It is a backend like any other, free unless it is told to cost."""
    with Lab(tmp_path / "a.db", backend=ScriptedBackend("yes")) as lab:
        assert (lab.ask(ASK, {"q": "Hi"}, model="m").text, lab.load("ask ask").cost_usd) == ("yes", 0.0)
    with Lab(tmp_path / "b.db", backend=ScriptedBackend("yes", is_free=False)) as lab:
        assert lab.run(plan_of(lab, 1, model="gpt-4.1-mini"), progress=False).cost_usd > 0
