"""What came back, parsed once: from a reply's bytes, or from the failure to get one, to an outcome that can be stored.

The bytes are kept whatever they hold. Nothing in a reply is trusted: it may be no JSON, a page of HTML, an error with
status 200, or an answer without text; each of these has a name here and none is ever passed off as an answer. Secrets
are replaced before anything else looks at the bytes.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Literal

from promptlab._json import utf8

#: How an attempt ended. `unknown`: no whole reply came, and it may have been billed.
State = Literal["ok", "error", "unknown"]

#: Reply headers that are kept; no other is ever written.
KEPT_HEADERS = re.compile(
    r"date|content-type|server|retry-after(-ms)?|x-request-id|x-ratelimit-.*|x-should-retry"
    r"|openai-(processing-ms|version|model)|cf-ray|x-ms-region|apim-request-id"
)

REDACTED = "[redacted]"
_KEY_LIKE = re.compile(
    rb"\b(?:sk|pk|rk|pl)-[A-Za-z0-9_\-*.]{8,}"  # OpenAI's form, which many follow
    rb"|\b(?:gsk_|hf_|xai-|AIza)[A-Za-z0-9_\-]{20,}"  # Groq, Hugging Face, xAI, Google
    rb"|(?i:(?<=bearer ))[A-Za-z0-9_\-.~+/=]{8,}"
)
_MESSAGE_CHARS = 2_000  # of a failure's message; the reply's bytes have all of it


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
        What a reader should know before trusting it: `length`, `content_filter`, `unknown_finish` (a reason that is
        none of the API's, such as vLLM's `abort`), `no_finish`, `refusal`, `tool_calls`, `null`, `blank`, `surrogates`
        (unpaired ones were replaced by U+FFFD), `other_model`, `no_usage`.
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
    """Why an attempt has no answer: the API's own type, code, message and parameter, or promptlab's names for it.

    promptlab's types are `HTTP 500` and the like, `error_in_200`, `bad_reply` (codes `empty`, `not_json`, `no_choices`)
    and the kinds of `SendError`.
    """

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

    @property
    def is_unpaid(self) -> bool:
        """Whether it surely cost nothing: it never arrived, or the server answered with an error and no usage.

        A reply with status 200 that cannot be read was paid for, nobody knows how much.
        """
        is_success = self.http_status is not None and 200 <= self.http_status < 300  # noqa: PLR2004 - 2xx
        return self.state == "error" and self.usage.whole is None and not is_success


def from_reply(reply: Reply, *, model: str, secrets: Iterable[str] = ()) -> Outcome:
    """Parse one reply to a request for `model`; `secrets` are replaced wherever they stand."""
    secrets, is_error = tuple(secrets), not 200 <= reply.status < 300  # noqa: PLR2004 - 2xx
    content, redacted = redact(reply.content, secrets, key_like=is_error)
    headers = {name.lower(): value for name, value in reply.headers.items()}
    kept = {name: value for name, value in headers.items() if KEPT_HEADERS.fullmatch(name)}
    common: dict[str, Any] = {
        "http_status": reply.status,
        "headers": {name: _redacted_text(value, secrets) for name, value in kept.items()},
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


_ADDRESS_HINT = "; check the base URL: it should end as the server's documents say, often in /v1"
_KEY_HINT = "; check the key (OPENAI_API_KEY in the environment or in .env, or api_key=...)"


def told(outcome: Outcome) -> str:
    """Return one sentence on why an attempt has no answer."""
    failure = outcome.failure or Failure("unknown", "")
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    kind = "" if failure.type == status else failure.type
    code = f" ({failure.code})" if failure.code and failure.code != failure.type else ""
    is_no_api = status == "HTTP 404" and not kind and failure.code is None
    hint = _KEY_HINT if status == "HTTP 401" else _ADDRESS_HINT if is_no_api else ""
    wait = f" (it asks to wait {outcome.retry_after_s:g} s)" if outcome.retry_after_s else ""
    return f"{' '.join(filter(None, [status, kind]))}{code}: {failure.message}{hint}{wait}"


def redact(content: bytes, secrets: Iterable[str], *, key_like: bool) -> tuple[bytes, bool]:
    """Return the bytes with secrets, and key-like strings if asked, replaced, and whether any were."""
    clean = content
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # the longest first: one may begin another
        for spelling in {secret, secret.replace("/", "\\/")}:  # some servers write JSON's optional escape
            clean = clean.replace(spelling.encode(), REDACTED.encode())
    if key_like:
        clean = _KEY_LIKE.sub(REDACTED.encode(), clean)
    return clean, clean != content


def _redacted_text(text: str, secrets: Sequence[str]) -> str:
    if text.isascii() and "\\" not in text and not any(secret and secret in text for secret in secrets):
        return text  # as all but all headers are: nothing to spell otherwise, nothing to replace
    return redact(text.encode(errors="replace"), secrets, key_like=False)[0].decode()


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
    text = None if raw is None else utf8(raw)
    refusal, calls = _text_or_none(source.get("refusal")), _calls(source)
    finish = _text_or_none(choice.get("finish_reason"))
    is_silent = not refusal and not calls
    flags = [
        *_finish_flags(finish),
        *(["refusal"] if refusal else []),
        *(["tool_calls"] if calls else []),
        *(["null"] if raw is None and is_silent else []),
        *(["blank"] if raw is not None and not raw.strip() and is_silent else []),
        *(["surrogates"] if text != raw else []),
    ]
    return Output(place, text, finish, refusal, calls, choice.get("logprobs"), (*flags, *common_flags))


def _finish_flags(finish: str | None) -> list[str]:
    if finish is None:
        return ["no_finish"]
    if finish in _WHOLE_FINISHES:
        return []
    return [finish if finish in {"length", "content_filter"} else "unknown_finish"]


#: Reasons to stop that cut nothing short: the API's, and other servers' words for them (TGI's, Claude's).
_WHOLE_FINISHES = frozenset(
    {"stop", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence", "end_turn", "tool_use"}
)


def _calls(source: Mapping[str, Any]) -> list[Any] | None:
    """Return the calls of tools, or of the function that older models call."""
    calls = source.get("tool_calls") or source.get("function_call") or []
    return (calls if isinstance(calls, list) else [calls]) or None


def _failure(status: int, body: Any, content: bytes) -> Failure | None:
    fields = body if isinstance(body, Mapping) else {}
    error = fields.get("error")
    if not 200 <= status < 300:  # noqa: PLR2004 - 2xx
        error = fields if error is None and "message" in fields else error  # vLLM's form
        return _api_failure(error, fallback=f"HTTP {status}", content=content)
    if error:
        return _api_failure(error, fallback="error_in_200", content=content)
    choices = fields.get("choices")
    if isinstance(choices, list) and choices and all(isinstance(choice, Mapping) for choice in choices):
        return None
    return _bad_reply(body, content)


def _bad_reply(body: Any, content: bytes) -> Failure:
    if not content.strip():
        return Failure("bad_reply", "the reply is empty", code="empty")
    if body is _NO_JSON:
        return Failure("bad_reply", f"the reply is not JSON: {_start(content)}", code="not_json")
    return Failure("bad_reply", f"the reply holds no choices: {_start(content)}", code="no_choices")


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
    if (_tokens(whole, "prompt_tokens"), _tokens(whole, "completion_tokens")) == (
        0,
        0,
    ):  # a gateway that does not count
        return Usage(whole=whole)
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


_NO_JSON = object()


def _decoded(content: bytes) -> Any:
    try:
        return _JSON.decode(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _finite(text: str) -> float | None:
    """Return None for what JSON does not have and SQLite's JSON functions refuse: NaN, infinities, 1e999."""
    number = float(text)
    return number if math.isfinite(number) else None


_JSON = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _joined(content: Any) -> str | None:
    """Return the text of a message's content; some servers answer with parts, whose texts are joined."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _is_same_model(asked: str, answered: str) -> bool:
    """Whether one name is the other with a date, a version or a provider's prefix: `gpt-4o` but not `gpt-4o-mini`."""
    names = [name.lower().rstrip("/").rsplit("/", 1)[-1] for name in (asked, answered)]
    short, long = sorted((_ALIAS.sub("", name) for name in names), key=len)
    return long.startswith(short) and bool(_VERSION.fullmatch(long[len(short) :]))


_ALIAS = re.compile(r"[-:](latest|free)$")
_VERSION = re.compile(r"([-@:](\d{3,8}|\d{4}-\d\d-\d\d))?")  # gpt-4o-2024-08-06, gpt-3.5-turbo-0125, ...-flash-001


def _text_or_none(value: Any) -> str | None:
    return utf8(value) if isinstance(value, str) else None


def _printable(value: Any) -> str:
    return utf8(str(value))[:_MESSAGE_CHARS]


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
        date = email.utils.parsedate_to_datetime(value or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
