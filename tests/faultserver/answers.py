"""What the model answers: a good completion, then bent in shape or broken in bytes by a fault."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from faultserver.catalogue import Json, content_of
from faultserver.specs import Fault


def complete(body: Json, fault: Fault, *, key: str, serial: int, echo: str) -> Json:
    """Return a good completion; each text has a serial number of its own, its digest repeats at temperature 0."""
    messages = body.get("messages") or []
    choices = [
        _choice(body, index, _text(body, fault, key=key, serial=serial, index=index, echo=echo))
        for index in range(1 if fault.name == "no_n" else choices_asked(body))
    ]
    prompt_tokens = _tokens(json.dumps(messages, ensure_ascii=False))
    completion_tokens = sum(_tokens(choice["message"]["content"]) for choice in choices)
    model = body.get("model", "m")
    return {
        "id": f"chatcmpl-fault{serial:08d}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": _usage(prompt_tokens, completion_tokens),
        "service_tier": "default",
        "system_fingerprint": "fp_fault",
    }


def choices_asked(body: Json) -> int:
    """Return how many choices a request asks for."""
    return max(1, int(body.get("n") or 1))


def _usage(prompt_tokens: int, completion_tokens: int) -> Json:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _text(body: Json, fault: Fault, *, key: str, serial: int, index: int, echo: str) -> str:
    messages = body.get("messages")
    content = content_of(fault)
    if content is not None:
        return content
    if echo == "last" and messages:
        last = messages[-1].get("content")
        return last if isinstance(last, str) else json.dumps(last)
    fresh = str(serial) if body.get("temperature") else ""
    seen = f"{key}|{body.get('temperature')}|{body.get('top_p')}|{body.get('seed')}|{index}|{fresh}"
    digest = hashlib.sha256(seen.encode("utf-8", "replace")).hexdigest()
    return f"serial={serial} choice={index} answer {digest[:16]}" + " word" * fault.count("tokens", 0)


def _choice(body: Json, index: int, text: str) -> Json:
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    words = text.split(" ")
    cut = bool(cap and len(words) > cap)
    text = " ".join(words[:cap]) if cut else text
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
        "logprobs": _logprobs(text) if body.get("logprobs") else None,
        "finish_reason": "length" if cut else "stop",
    }


def _logprobs(text: str) -> Json:
    words = text.split(" ")
    content = [
        {"token": word, "logprob": -0.1, "bytes": list(word.encode("utf-8", "replace")), "top_logprobs": []}
        for word in words
    ]
    return {"content": content, "refusal": None}


def _tokens(text: str) -> int:
    return max(1, len(text.encode("utf-8", "replace")) // 4)


# The shape faults, as the fields they set: in the answer, in its first choice, in that choice's message.
ANSWER_FIELDS: dict[str, Json] = {
    "empty_choices": {"choices": []},
    "null_choices": {"choices": None},
    "zero_usage": {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    "string_usage": {"usage": {"prompt_tokens": "12", "completion_tokens": "3.5", "total_tokens": None}},
    "negative_usage": {"usage": {"prompt_tokens": -1, "completion_tokens": 2**63, "total_tokens": 0}},
    "extra_fields": {"x_future": {"nested": [1, {"a": None}]}},
    "other_model": {"model": "gpt-something-else-2026-11-01"},
    "dup_id": {"id": "chatcmpl-duplicate"},
}
CHOICE_FIELDS: dict[str, Json] = {
    "content_filter": {"finish_reason": "content_filter"},
    "length": {"finish_reason": "length"},
    "tool_calls": {"finish_reason": "tool_calls"},
    "unknown_finish": {"finish_reason": "model_ennui"},
    "null_finish": {"finish_reason": None},
}
MESSAGE_FIELDS: dict[str, Json] = {
    "null_content": {"content": None},
    "refusal": {"content": None, "refusal": "I'm sorry, I can't help with that."},
    "content_filter": {"content": ""},
    "tool_calls": {
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}}],
    },
    "extra_fields": {"reasoning_content": "because"},
}
MISSING_FIELDS = {"missing_choices": "choices", "no_usage": "usage"}
WHOLE_BODIES: dict[str, Callable[[Json], Any]] = {
    "json_null": lambda _: None,
    "json_list": lambda answer: [answer],
    "json_string": lambda _: "ok",
    "fewer_choices": lambda answer: {**answer, "choices": answer["choices"][:1]},
    "usage_first_choice": lambda answer: {**answer, "usage": _first_choice_usage(answer)},
    "error_in_200": lambda _: {
        "error": {"message": "Provider returned error", "type": "upstream_error", "code": 502, "param": None}
    },
}


def bend(answer: Json, fault: Fault) -> Any:
    """Return a good answer in the shape the fault gives it."""
    choice = answer["choices"][0]
    choice["message"].update(MESSAGE_FIELDS.get(fault.name, {}))
    choice.update(CHOICE_FIELDS.get(fault.name, {}))
    answer.update(ANSWER_FIELDS.get(fault.name, {}))
    answer.pop(MISSING_FIELDS.get(fault.name, ""), None)
    if fault.name == "deep_json":
        answer["x_deep"] = _nested(fault.count("depth", 300))
    return WHOLE_BODIES[fault.name](answer) if fault.name in WHOLE_BODIES else answer


def _first_choice_usage(answer: Json) -> Json:
    return _usage(answer["usage"]["prompt_tokens"], _tokens(answer["choices"][0]["message"]["content"]))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BROKEN_BYTES: dict[str, Callable[[bytes, Fault], bytes]] = {
    "nan_json": lambda data, _: data[:-1] + b', "x_logprob": NaN, "x_inf": -Infinity}',
    "invalid_json": lambda data, _: data.replace(b'"choices":', b'"choices"', 1),
    "truncated_json": lambda data, fault: data[: int(len(data) * fault.number("at", 0.6))],
    "empty_body": lambda _, __: b"",
    "invalid_utf8": lambda data, _: data.replace(b"answer", b"\xff\xfe\xc3(", 1),
    "latin1": lambda data, _: data.replace(b"answer", "réponse".encode("latin-1")),
    "utf8_bom": lambda data, _: b"\xef\xbb\xbf" + data,
}


def encode(answer: Any, fault: Fault) -> bytes:
    """Return the answer as JSON bytes, broken where the fault breaks bytes."""
    data = json.dumps(answer, ensure_ascii=True, allow_nan=True).encode()
    return BROKEN_BYTES[fault.name](data, fault) if fault.name in BROKEN_BYTES else data
