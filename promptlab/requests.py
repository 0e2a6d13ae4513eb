"""Requests: the exact bytes that are sent, and the keys under which they and their answers are known.

A request's own key is the hash of its exact bytes. A sample's key is the hash of what makes its answer what it is: the
backend's identity, the endpoint and the body, with numbers normalised and without the fields that cannot change the
text of an answer (`UNKEYED`). Two requests with one sample key share their answers.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from promptlab._json import canonical, compact, digest, is_utf8, readable, utf8

#: The endpoints, as paths below the base URL.
Endpoint = Literal["chat/completions", "completions"]

#: Fields of a body that are no part of a sample's key: they say how to deliver, bill or file an answer.
UNKEYED = frozenset(
    {"n", "stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "store"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a model.

    Attributes
    ----------
    endpoint
        The path below the base URL.
    body
        The JSON text, exactly as it is sent (UTF-8).
    model
        The model asked for.
    text
        The rendered prompt, for reading and search; what UTF-8 cannot hold is replaced.
    sample_key
        The key its answers are stored under.
    """

    endpoint: Endpoint
    body: str
    model: str
    text: str
    sample_key: str

    @property
    def key(self) -> str:
        """The hash of the exact bytes and their endpoint."""
        return exact_key(self.endpoint, self.body)

    @property
    def content(self) -> bytes:
        """The bytes that are sent."""
        return self.body.encode()


def build(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any], *, identity: str) -> Request:
    """Return the request for rendered messages and parameters against one backend.

    >>> build([{"role": "user", "content": "Hi"}], {"model": "m", "temperature": 0}, identity="x").body
    '{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0}'
    """
    made = prompt(messages)
    return joined(made, settings(params, made.endpoint, identity=identity))


@dataclass(frozen=True, slots=True)
class Prompt:
    """Rendered messages, written as JSON once for all the requests that carry them: as sent, and as in a key."""

    endpoint: Endpoint
    value: Any
    sent: str
    keyed: str
    text: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters against one backend and endpoint, written once as the JSON before and after a prompt."""

    params: Mapping[str, Any]
    sent: list[str]
    keyed: list[str]


def prompt(messages: Sequence[Mapping[str, Any]]) -> Prompt:
    """Return what the requests of some rendered messages have in common."""
    is_text = messages[0]["role"] == "text"
    value = messages[0]["content"] if is_text else list(messages)
    return Prompt(
        endpoint="completions" if is_text else "chat/completions",
        value=value,
        sent=readable(value),
        keyed=canonical(value),
        text=utf8("\n\n".join(_texts(messages))),
    )


def repeated(request: Request, choices: int) -> Request:
    """Return the request that asks for several choices at once; its sample's key stays, which leaves `n` out.

    >>> repeated(build([{"role": "user", "content": "Hi"}], {"model": "m"}, identity="x"), 3).body
    '{"model":"m","messages":[{"role":"user","content":"Hi"}],"n":3}'
    """
    return replace(request, body=f'{request.body[:-1]},"n":{choices}}}')


def exact_key(endpoint: str, body: str) -> str:
    """Return the key of the exact bytes that go to an endpoint."""
    return hashlib.sha256(f"{endpoint}\n{body}".encode()).hexdigest()


def sample_key(identity: str, endpoint: str, body: Mapping[str, Any]) -> str:
    """Return the key that the answers to a body are stored under."""
    return digest(_keyed(identity, endpoint, body))


def settings(params: Mapping[str, Any], endpoint: Endpoint, *, identity: str) -> Settings:
    """Return what the requests with some parameters have in common."""
    body = _body(params, endpoint, _PLACE)
    keyed = canonical(_keyed(identity, endpoint, body))
    return Settings(params, readable(body).split(f'"{_PLACE}"'), keyed.split(f'"{_PLACE}"'))


def joined(prompt: Prompt, settings: Settings) -> Request:
    """Return the request that carries a prompt with some parameters."""
    body = prompt.sent.join(settings.sent)
    return Request(
        endpoint=prompt.endpoint,
        body=body if is_utf8(body) else compact(_body(settings.params, prompt.endpoint, prompt.value)),
        model=str(settings.params["model"]),
        text=prompt.text,
        sample_key=hashlib.sha256(prompt.keyed.join(settings.keyed).encode("ascii")).hexdigest(),
    )


_PLACE = uuid.uuid4().hex  # stands for a prompt; random, so that no parameter can hold it


def _body(params: Mapping[str, Any], endpoint: Endpoint, prompt: Any) -> dict[str, Any]:
    rest = {name: value for name, value in params.items() if name != "model"}
    return {"model": params["model"], "messages" if endpoint == "chat/completions" else "prompt": prompt, **rest}


def _keyed(identity: str, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in UNKEYED}
    return {"backend": identity, "endpoint": endpoint, "body": kept}


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield every text that a reader would call part of the prompt."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content or () if isinstance(part.get("text"), str))
