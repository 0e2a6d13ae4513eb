"""One chat request: what was asked, which fault meets it, and its line in the ledger."""

import email.utils
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from faultserver.answers import choices_asked
from faultserver.catalogue import Json
from faultserver.channel import Message
from faultserver.service import Headers, Service
from faultserver.specs import Fault

UNCAPPED_TOKENS = 16  # what an answer without max_tokens counts against the rate limit
PARAMS = ("temperature", "top_p", "seed", "n", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One chat request on its way to an answer."""

    message: Message
    body: Any
    fault: Fault
    entry: Json
    reply_headers: Headers

    @property
    def model(self) -> str:
        """The model asked for, as text whatever was sent."""
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""

    @property
    def auth(self) -> str:
        """The Authorization header."""
        return self.message.headers.get("authorization", "")

    @property
    def api_key(self) -> str:
        """The key in the Authorization header."""
        return self.auth.removeprefix("Bearer ").strip()

    @property
    def key_hint(self) -> str:
        """The key as OpenAI repeats it in a 401."""
        return f"{self.api_key[:3]}{'*' * 8}{self.api_key[-4:]}" if len(self.api_key) > 10 else "***"


def open_exchange(service: Service, message: Message, path_spec: str | None, connection: int) -> Exchange:
    """Choose the fault for a request, and open its ledger entry."""
    key = service.key_of(message.headers, message.raw)
    attempt = service.count_attempt(key)
    body = _parse(message.raw)
    fault, source = service.choose(message.headers, path_spec, body, key, attempt)
    place = {
        "seq": service.requests,
        "t": time.time(),
        "conn": connection,
        "key": key,
        "attempt": attempt,
        "fault": fault.name,
        "fault_source": source,
        "request_id": f"req_{hashlib.md5(f'{time.time_ns()}|{service.requests}'.encode()).hexdigest()}",
    }
    entry = {**place, **_asked(message, body), **_nothing_yet()}
    return Exchange(message, body, fault, entry, _standard_headers(entry, service.clock_s(entry["t"])))


def _asked(message: Message, body: Any) -> Json:
    fields = body if isinstance(body, dict) else {}
    auth = message.headers.get("authorization")
    return {
        "client_request_id": message.headers.get("x-client-request-id"),
        "idempotency_key": message.headers.get("idempotency-key"),
        "sdk_retry_count": message.headers.get("x-stainless-retry-count"),
        "model": fields.get("model"),
        "api_key_sha8": sha256(auth.encode("latin-1", "replace"))[:8] if auth else None,
        "host": message.headers.get("host"),
        "body_sha256": sha256(message.raw),
        "body_bytes": len(message.raw),
        "stream": bool(fields.get("stream")),
        "params": {name: fields[name] for name in PARAMS if name in fields},
        "tokens": _counted_tokens(message.raw, fields),
    }


def _counted_tokens(raw: bytes, fields: Json) -> int:
    """Return what a request takes from the tokens a minute: its size, and all that its choices may become."""
    cap = int(fields.get("max_completion_tokens") or fields.get("max_tokens") or UNCAPPED_TOKENS)
    return max(1, len(raw) // 4) + choices_asked(fields) * cap


def _nothing_yet() -> Json:
    return {
        "status": None,
        "billed": False,
        "choices": 0,
        "id": None,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0},
        "delivered": False,
        "client_gone": False,
        "bytes": 0,
        "ms": None,
        "reply_sha256": None,
    }


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def sha256(data: bytes) -> str:
    """Return the hash as the ledger writes it."""
    return hashlib.sha256(data).hexdigest()


def _standard_headers(entry: Json, now_s: float) -> Headers:
    return [
        ("x-request-id", entry["request_id"]),
        ("openai-version", "2020-10-01"),
        ("openai-organization", "org-fault"),
        ("date", email.utils.formatdate(now_s, usegmt=True)),
    ]
