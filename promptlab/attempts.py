"""What came back, parsed once: from a reply's bytes, or from the failure to get one, to an outcome that can be stored.

The bytes are kept whatever they hold. Nothing in a reply is trusted: it may be no JSON, a page of HTML, an error with
status 200, or an answer without text; each of these has a name here and none is ever passed off as an answer. Secrets
are replaced before anything else looks at the bytes.
"""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: How an attempt ended. `unknown`: no whole reply came, and it may have been billed.
State = Literal["ok", "error", "unknown"]

#: Reply headers that are kept; no other is ever written.
KEPT_HEADERS = re.compile(
    r"date|content-type|server|retry-after(-ms)?|x-request-id|x-ratelimit-.*|x-should-retry"
    r"|openai-(processing-ms|version|model)|cf-ray|x-ms-region|apim-request-id"
)

REDACTED = "[redacted]"
_KEY_LIKE = re.compile(rb"\b(?:sk|pk|rk|pl)-[A-Za-z0-9_\-*.]{8,}|(?<=Bearer )[A-Za-z0-9_\-.~+/=]{8,}")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply: status, headers and the exact bytes after content decoding.

    `sent` holds the body that crossed the wire where it is not the one asked for (a user's own client may rewrite it).
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    sent: bytes | None = None


class SendError(Exception):
    """The exchange ended without a whole reply.

    Attributes
    ----------
    kind
        A short name: `connect`, `timeout`, `deadline`, `reset`, `body_cut`, `protocol`, `cancelled`.
    maybe_paid
        True when the request may have reached the model, so that it may have been billed.
    """

    def __init__(self, kind: str, message: str, *, maybe_paid: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.maybe_paid = maybe_paid


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the reply counts them; None where it says nothing."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    whole: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One choice of a reply.

    Attributes
    ----------
    text
        What the model wrote; None when it wrote no text at all (a tool call, a refusal).
    flags
        What a reader should know before trusting it: `length`, `content_filter`, `refusal`, `tool_calls`, `null`,
        `blank`, `no_finish`, `other_model`, `no_usage`, `surrogates` (unpaired ones were replaced by U+FFFD).
    """

    choice: int
    text: str | None
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    logprobs: Any = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt has no answer: the API's own type, code, message and parameter, or promptlab's name for it."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One HTTP exchange, as it is stored."""

    state: State
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    http_status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    response: bytes | None = None
    redacted: bool = False
    retry_after_s: float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: Usage = Usage()
    sent: str | None = None


def from_reply(reply: Reply, *, model: str, secrets: Iterable[str] = ()) -> Outcome:
    """Parse one reply to a request for `model`; `secrets` are replaced wherever they stand."""
    content, redacted = redact(reply.content, secrets, key_like=not 200 <= reply.status < 300)  # noqa: PLR2004 - 2xx
    headers = {name.lower(): value for name, value in reply.headers.items()}
    kept = {name: value for name, value in headers.items() if KEPT_HEADERS.fullmatch(name)}
    common: dict[str, Any] = {
        "http_status": reply.status,
        "headers": kept,
        "response": content,
        "redacted": redacted,
        "retry_after_s": retry_after_s(headers),
        "sent": None if reply.sent is None else reply.sent.decode(errors="replace"),
    }
    body = _decoded(content)
    failure = _failure(reply.status, body, content)
    if failure is not None:
        return Outcome(state="error", failure=failure, usage=_usage(body), **common)
    return _answered(body, model, common)


def from_send_error(error: SendError, *, secrets: Iterable[str] = ()) -> Outcome:
    """Return the outcome of an exchange that gave no whole reply."""
    message, redacted = redact(str(error).encode(errors="replace"), secrets, key_like=True)
    failure = Failure(type=error.kind, message=message.decode(errors="replace"))
    return Outcome(state="unknown" if error.maybe_paid else "error", failure=failure, redacted=redacted)


def redact(content: bytes, secrets: Iterable[str], *, key_like: bool) -> tuple[bytes, bool]:
    """Return the bytes with secrets, and key-like strings if asked, replaced, and whether any were."""
    clean = content
    for secret in filter(None, secrets):
        clean = clean.replace(secret.encode(), REDACTED.encode())
    if key_like:
        clean = _KEY_LIKE.sub(REDACTED.encode(), clean)
    return clean, clean != content


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the server asks to wait, in seconds; a date is measured against the server's own clock."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    until, now = _date(value), _date(headers.get("date"))
    return None if until is None or now is None else max(0.0, until - now)


def _answered(body: Mapping[str, Any], model: str, common: Mapping[str, Any]) -> Outcome:
    usage, answered_by = _usage(body), _text_or_none(body.get("model"))
    flags = [
        *(["other_model"] if answered_by and not _is_same_model(model, answered_by) else []),
        *(["no_usage"] if usage.completion_tokens is None else []),
    ]
    return Outcome(
        state="ok",
        outputs=tuple(_output(place, choice, flags) for place, choice in enumerate(body["choices"])),
        model=answered_by,
        system_fingerprint=_text_or_none(body.get("system_fingerprint")),
        service_tier=_text_or_none(body.get("service_tier")),
        usage=usage,
        **common,
    )


def _output(place: int, choice: Mapping[str, Any], common_flags: list[str]) -> Output:
    message = choice.get("message")
    source = message if isinstance(message, Mapping) else {"content": choice.get("text")}
    raw = _joined(source.get("content"))
    text = None if raw is None else _SURROGATES.sub("\ufffd", raw)
    refusal, calls = _text_or_none(source.get("refusal")), source.get("tool_calls") or None
    finish = _text_or_none(choice.get("finish_reason"))
    flags = [
        *([finish] if finish in {"length", "content_filter"} else []),
        *(["no_finish"] if finish is None else []),
        *(["refusal"] if refusal else []),
        *(["tool_calls"] if calls else []),
        *(["null"] if raw is None and not refusal and not calls else []),
        *(["blank"] if raw is not None and not raw.strip() else []),
        *(["surrogates"] if text != raw else []),
    ]
    return Output(place, text, finish, refusal, calls, choice.get("logprobs"), (*flags, *common_flags))


def _failure(status: int, body: Any, content: bytes) -> Failure | None:
    error = body.get("error") if isinstance(body, Mapping) else None
    if not 200 <= status < 300:  # noqa: PLR2004 - 2xx
        return _api_failure(error, fallback=f"HTTP {status}", content=content)
    if error:
        return _api_failure(error, fallback="error_in_200", content=content)
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if isinstance(choices, list) and choices and all(isinstance(choice, Mapping) for choice in choices):
        return None
    return Failure("bad_reply", f"the reply holds no choices: {_start(content)}")


def _api_failure(error: Any, *, fallback: str, content: bytes) -> Failure:
    if isinstance(error, str):
        return Failure(fallback, _printable(error))
    if not isinstance(error, Mapping):
        return Failure(fallback, _start(content) or "empty body")
    code = error.get("code")
    return Failure(
        type=_printable(error.get("type") or fallback),
        message=_printable(error.get("message") or _start(content)),
        code=None if code is None else _printable(code),
        param=None if error.get("param") is None else _printable(error["param"]),
    )


def _usage(body: Any) -> Usage:
    whole = body.get("usage") if isinstance(body, Mapping) else None
    if not isinstance(whole, Mapping):
        return Usage()
    prompt, completion = (whole.get(f"{side}_tokens_details") or {} for side in ("prompt", "completion"))
    return Usage(
        prompt_tokens=_tokens(whole, "prompt_tokens"),
        cached_tokens=_tokens(prompt, "cached_tokens"),
        completion_tokens=_tokens(whole, "completion_tokens"),
        reasoning_tokens=_tokens(completion, "reasoning_tokens"),
        total_tokens=_tokens(whole, "total_tokens"),
        whole=whole,
    )


def _tokens(counts: Any, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _joined(content: Any) -> str | None:
    """Some servers answer with content parts; their texts are joined."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else None


def _is_same_model(asked: str, answered: str) -> bool:
    """A dated snapshot or a provider's prefix is the model that was asked for."""
    asked, answered = asked.lower().rsplit("/", 1)[-1], answered.lower().rsplit("/", 1)[-1]
    return answered.startswith(asked) or asked.startswith(answered)


def _text_or_none(value: Any) -> str | None:
    return _printable(value) if isinstance(value, str) else None


def _printable(value: Any) -> str:
    return _SURROGATES.sub("\ufffd", str(value))


def _start(content: bytes) -> str:
    return " ".join(content[:300].decode(errors="replace").split())[:200]


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None  # noqa: PLR2004 - NaN, negatives and nonsense are no waiting time


def _date(value: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value or "").timestamp()
    except (ValueError, TypeError):
        return None
