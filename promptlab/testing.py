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

`sample_lab` is a lab with a finished study in it, for a scorer or a panel that wants something to read. `ManualClock`
lets a test wait through retries and rate limits in no time.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptlab import ledger
from promptlab.attempts import Reply, SendError
from promptlab.backends._base import BackendInfo
from promptlab.grids import ParameterGrid
from promptlab.jobs import Clock
from promptlab.lab import Lab
from promptlab.requests import Request
from promptlab.templates import PromptTemplate

__all__ = ["ManualClock", "Reply", "ScriptedBackend", "SendError", "error_reply", "sample_lab", "text_reply"]

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


@dataclass
class ManualClock:
    """Time that passes by waiting alone: every wait is over at once, and noted.

    Give `ManualClock().clock()` to a lab. Leases are not renewed by it, so a real run needs real time.

    Attributes
    ----------
    now_s
        The time, in seconds, of both clocks: the monotonic one and the one on the wall.
    waits
        How long each wait would have been, in seconds, in order.

    >>> import tempfile
    >>> time, replies = ManualClock(), iter([error_reply(429, headers={"retry-after": "7"}), "Paris"])
    >>> hello = PromptTemplate("hello", user="Hello")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     backend = ScriptedBackend(lambda _: next(replies))
    ...     with Lab(f"{folder}/test.db", backend=backend, clock=time.clock()) as lab:
    ...         print(lab.ask(hello, model="any"), time.waits)
    Paris [7.0]
    """

    now_s: float = 1_800_000_000.0
    waits: list[float] = field(default_factory=list)

    async def wait(self, event: asyncio.Event, wait_s: float) -> None:
        """Let the time pass at once; a heartbeat's wait never ends."""
        if wait_s == ledger.RENEW_EVERY_S:
            await event.wait()
            return
        self.waits.append(wait_s)
        until_s = self.now_s + wait_s
        await asyncio.sleep(0)
        self.now_s = max(self.now_s, until_s)

    def clock(self) -> Clock:
        """Return it as a lab wants it; chance is always at its upper end, so that each wait is the longest."""
        return Clock(lambda: self.now_s, lambda: self.now_s, self.wait, lambda: 1.0)


_FACTS = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi"}


def sample_lab(path: str | Path) -> Lab:
    """Return a lab on a new file with one finished run in it, `capitals`: 2 templates x 2 temperatures x 4 cases.

    The terse template names the right capital, the chatty one wraps it in a sentence, and Kenya's is refused, so that
    there is something right, something wrong and something missing to read. Closing the lab is the caller's.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
    ...     frame = lab.load("capitals").frame()
    >>> frame.groupby("template")["status"].value_counts().to_dict()
    {('chatty', 'ok'): 6, ('chatty', 'failed'): 2, ('terse', 'ok'): 6, ('terse', 'failed'): 2}
    """
    lab = Lab(path, backend=ScriptedBackend(_sample_answer, identity="sample"))
    terse = PromptTemplate("terse", system="Answer with one word.", user="Capital of {{ country }}?")
    chatty = PromptTemplate("chatty", system="Answer in a sentence.", user="Capital of {{ country }}?")
    grid = ParameterGrid(model="sample", temperature=[0, 1], max_tokens=16)
    cases = [{"country": country, "capital": capital} for country, capital in _FACTS.items()]
    lab.run([terse, chatty], grid, cases=cases, name="capitals", progress=False)
    return lab


def _sample_answer(body: dict[str, Any]) -> str | Reply:
    system, question = (message["content"] for message in body["messages"])
    country = question.removeprefix("Capital of ").removesuffix("?")
    if country == "Kenya":
        return error_reply(400, "this question is refused", code="content_policy_violation")
    return f"The capital of {country} is {_FACTS[country]}." if "sentence" in system else _FACTS[country]


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
