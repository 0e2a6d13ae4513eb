"""Requests: the exact bytes that are sent, and the keys under which they and their answers are known.

A request's own key is the hash of its exact bytes. A sample's key is the hash of what makes its answer what it is: the
backend's identity, the endpoint and the body, with numbers normalised and without the fields that cannot change the
text of an answer (`UNKEYED`). Two requests with one sample key share their answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptlab._json import compact, digest, utf8

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
    is_text = messages[0]["role"] == "text"
    endpoint: Endpoint = "completions" if is_text else "chat/completions"
    prompt = {"prompt": messages[0]["content"]} if is_text else {"messages": list(messages)}
    body = {"model": params["model"], **prompt, **{name: value for name, value in params.items() if name != "model"}}
    return Request(
        endpoint=endpoint,
        body=compact(body),
        model=str(params["model"]),
        text=utf8("\n\n".join(_texts(messages))),
        sample_key=sample_key(identity, endpoint, body),
    )


def exact_key(endpoint: str, body: str) -> str:
    """Return the key of the exact bytes that go to an endpoint."""
    return hashlib.sha256(f"{endpoint}\n{body}".encode()).hexdigest()


def sample_key(identity: str, endpoint: str, body: Mapping[str, Any]) -> str:
    """Return the key that the answers to a body are stored under."""
    keyed = {name: value for name, value in body.items() if name not in UNKEYED}
    return digest({"backend": identity, "endpoint": endpoint, "body": keyed})


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield every text that a reader would call part of the prompt."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content or () if isinstance(part.get("text"), str))
