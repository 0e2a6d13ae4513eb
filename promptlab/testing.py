"""Doubles for testing notebooks, scorers and panels: no network, no key, no money.

>>> import tempfile
>>> from promptlab import Lab, PromptTemplate
>>> backend = ScriptedBackend(lambda body: "Paris" if "France" in body["messages"][-1]["content"] else "?")
>>> capital = PromptTemplate("capital", user="Capital of {{ country }}?")
>>> with tempfile.TemporaryDirectory() as folder, Lab(f"{folder}/test.db", backend=backend) as lab:
...     run = lab.run(capital, {"model": "any"}, cases=[{"country": "France"}, {"country": "Peru"}], progress=False)
...     run.outputs
['Paris', '?']
>>> backend.requests[0].text
'Capital of France?'
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from promptlab.attempts import Reply, SendError
from promptlab.backends._base import BackendInfo
from promptlab.requests import Request

__all__ = ["Reply", "ScriptedBackend", "SendError", "error_reply", "text_reply"]

#: What a script may answer: a text, a whole reply, or the failure to get one.
Answer = str | Reply | SendError
Script = Callable[[dict[str, Any]], Answer | Awaitable[Answer]]

_BYTES_PER_TOKEN = 4


class ScriptedBackend:
    """A backend that answers from a function instead of a model.

    Parameters
    ----------
    answer
        A function of the parsed request body. It returns the text, a `Reply` (see `text_reply`, `error_reply`), or a
        `SendError` for an exchange that broke. It may be asynchronous, so as to wait. A plain text answers everything.
    identity
        Part of every sample's key: labs with the same one share their answers.
    is_free
        False: answers cost what the model named in the request costs at OpenAI.

    Attributes
    ----------
    requests
        What was sent, in order, as `Request` objects.
    """

    secrets: tuple[str, ...] = ()

    def __init__(
        self,
        answer: Script | str = "ok",
        *,
        identity: str = "scripted",
        concurrency: int = 32,
        is_free: bool = True,
    ) -> None:
        self.identity = identity
        self.concurrency = self.most_concurrency = concurrency
        self.is_free = is_free
        self.requests: list[Request] = []
        self._answer: Script = answer if callable(answer) else lambda _: answer

    def info(self) -> BackendInfo:
        """Return the identity."""
        return BackendInfo("scripted", self.identity)

    def start(self) -> None:
        """Do nothing: it is always ready."""

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:  # noqa: ARG002 - a script needs neither
        """Answer from the script."""
        self.requests.append(request)
        body = json.loads(request.body)
        found = self._answer(body)
        answer = await found if inspect.isawaitable(found) else found
        if isinstance(answer, SendError):
            raise answer
        return text_reply(answer, body) if isinstance(answer, str) else answer

    async def models(self) -> list[str]:
        """Return the names of the models that were asked for, sorted."""
        return sorted({request.model for request in self.requests})

    async def aclose(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return f"<ScriptedBackend {self.identity}: {len(self.requests)} requests>"


def text_reply(
    text: str | None, body: Mapping[str, Any], *, finish_reason: str | None = "stop", **fields: Any
) -> Reply:
    """Return a good reply to a request body; `fields` replace its own, such as `usage` or `model`.

    Four bytes count as a token, so that the usage of equal requests is equal.

    >>> json.loads(text_reply("Paris", {"model": "any", "prompt": "Capital of France?"}).content)["choices"]
    [{'index': 0, 'finish_reason': 'stop', 'text': 'Paris'}]
    """
    is_chat = "messages" in body
    content = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
    prompt_tokens = _tokens(json.dumps(body.get("messages") or body.get("prompt")))
    completion_tokens = _tokens(text or "")
    reply = {
        "id": "scripted",
        "object": "chat.completion" if is_chat else "text_completion",
        "model": body.get("model"),
        "choices": [{"index": 0, "finish_reason": finish_reason, **content}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
        **fields,
    }
    return Reply(200, {"content-type": "application/json"}, json.dumps(reply).encode())


def error_reply(
    status: int,
    message: str = "made up for a test",
    *,
    type: str = "invalid_request_error",  # noqa: A002 - the API's own word
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error as the API words it.

    >>> error_reply(429, code="rate_limit_exceeded", headers={"retry-after": "1"}).status
    429
    """
    error = {"message": message, "type": type, "code": code, "param": param}
    kept = {"content-type": "application/json", **(headers or {})}
    return Reply(status, kept, json.dumps({"error": error}).encode())


def _tokens(text: str) -> int:
    return max(1, len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)
