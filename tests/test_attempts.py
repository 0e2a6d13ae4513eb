"""Replies and failures, parsed: every odd one has a name, nothing raises, and no secret stays."""

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab.attempts import (
    REDACTED,
    Failure,
    Outcome,
    Output,
    Reply,
    SendError,
    Usage,
    from_reply,
    from_send_error,
    redact,
    retry_after_s,
)
from strategies import any_text, json_values

KEY = "sk-proj-abcdefgh1234"
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
ANSWER = {"id": "c1", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE}


def reply(body=ANSWER, status=200, **headers):
    """Return a reply with a body, given as bytes or as what JSON makes of it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def parsed(body=ANSWER, status=200, **headers):
    """Return the outcome of a reply to a request for model `m`."""
    return from_reply(reply(body, status, **headers), model="m", secrets=(KEY,))


def answer(message=None, **fields):
    """Return the ordinary answer with another message, or other fields of its choice."""
    choice = {**CHOICE, **({"message": message} if message is not None else {}), **fields}
    return {**ANSWER, "choices": [choice]}


# Answers


def test_an_ordinary_answer_is_parsed_whole():
    """Text, model, usage, tier and fingerprint are taken, and the bytes kept."""
    usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    body = {**ANSWER, "model": "m-2026-01-02", "usage": usage, "system_fingerprint": "fp", "service_tier": "default"}
    received = reply(body, X_Request_Id="req_1", Set_Cookie="no")
    assert from_reply(received, model="m") == Outcome(
        state="ok",
        outputs=(Output(choice=0, text="Paris", finish_reason="stop"),),
        http_status=200,
        headers={"x-request-id": "req_1"},
        response=received.content,
        model="m-2026-01-02",
        system_fingerprint="fp",
        service_tier="default",
        usage=Usage(9, 4, 3, 1, 12, usage),
    )


def test_a_text_completion_is_an_answer_as_well():
    """The older endpoint has its text in the choice."""
    body = {**ANSWER, "choices": [{"index": 0, "text": " Paris", "finish_reason": "stop", "logprobs": {"tokens": [1]}}]}
    assert parsed(body).outputs == (Output(0, " Paris", "stop", logprobs={"tokens": [1]}),)


def test_every_choice_is_an_output():
    """Choices keep their places."""
    second = {**CHOICE, "message": {"content": "Rome"}}
    assert parsed({**ANSWER, "choices": [CHOICE, second]}).outputs == (
        Output(0, "Paris", "stop"),
        Output(1, "Rome", "stop"),
    )


_CALL = {"id": "1", "type": "function", "function": {"name": "capital", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(answer(finish_reason="length"), Output(0, "Paris", "length", flags=("length",)), id="length"),
        pytest.param(
            answer({"content": ""}, finish_reason="content_filter"),
            Output(0, "", "content_filter", flags=("content_filter", "blank")),
            id="content filter",
        ),
        pytest.param(answer({"content": None}), Output(0, None, "stop", flags=("null",)), id="null content"),
        pytest.param(answer({}), Output(0, None, "stop", flags=("null",)), id="no content"),
        pytest.param(answer({"content": 5}), Output(0, None, "stop", flags=("null",)), id="number as content"),
        pytest.param(answer("Paris"), Output(0, None, "stop", flags=("null",)), id="text as message"),
        pytest.param(answer({"content": " \n"}), Output(0, " \n", "stop", flags=("blank",)), id="blank"),
        pytest.param(
            answer({"content": None, "refusal": "I can't."}),
            Output(0, None, "stop", refusal="I can't.", flags=("refusal",)),
            id="refusal",
        ),
        pytest.param(
            answer({"content": "", "tool_calls": [_CALL]}, finish_reason="tool_calls"),
            Output(0, "", "tool_calls", tool_calls=[_CALL], flags=("tool_calls",)),
            id="tool calls",
        ),
        pytest.param(
            answer({"content": None, "function_call": {"name": "capital"}}, finish_reason="function_call"),
            Output(0, None, "function_call", tool_calls=[{"name": "capital"}], flags=("tool_calls",)),
            id="function call",
        ),
        pytest.param(answer(finish_reason=None), Output(0, "Paris", None, flags=("no_finish",)), id="no finish"),
        pytest.param(answer(finish_reason="eos"), Output(0, "Paris", "eos"), id="another word for stop"),
        pytest.param(
            answer(finish_reason="abort"),
            Output(0, "Paris", "abort", flags=("unknown_finish",)),
            id="a server's own finish",
        ),
        pytest.param(
            answer({"content": "a\ud800"}), Output(0, "a\ufffd", "stop", flags=("surrogates",)), id="lone surrogate"
        ),
        pytest.param(answer({"content": "a\0b"}), Output(0, "a\0b", "stop"), id="NUL"),
        pytest.param(
            answer({"content": [{"type": "text", "text": "Pa"}, "?", {"type": "x"}, {"text": 1}, {"text": "ris"}]}),
            Output(0, "Paris", "stop"),
            id="content parts",
        ),
        pytest.param({**ANSWER, "model": "n"}, Output(0, "Paris", "stop", flags=("other_model",)), id="other model"),
        pytest.param({**ANSWER, "model": None}, Output(0, "Paris", "stop"), id="no model"),
        pytest.param({**ANSWER, "usage": None}, Output(0, "Paris", "stop", flags=("no_usage",)), id="no usage"),
        pytest.param({**ANSWER, "usage": []}, Output(0, "Paris", "stop", flags=("no_usage",)), id="usage as a list"),
        pytest.param(
            {"choices": [{}]}, Output(0, None, None, flags=("no_finish", "null", "no_usage")), id="as little as can be"
        ),
    ],
)
def test_an_odd_answer_carries_a_flag(body, expected):
    """An answer is kept whatever it lacks, and a reader is told."""
    outcome = parsed(body)
    assert (outcome.state, outcome.outputs, outcome.failure) == ("ok", (expected,), None)


@pytest.mark.parametrize(
    ("asked", "answered", "is_other"),
    [
        pytest.param("gpt-4o", "gpt-4o-2024-08-06", False, id="dated"),
        pytest.param("gpt-4o-2024-08-06", "gpt-4o", False, id="date dropped"),
        pytest.param("gpt-3.5-turbo", "gpt-3.5-turbo-0125", False, id="short date"),
        pytest.param("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022", False, id="latest"),
        pytest.param("openai/GPT-4o", "gpt-4o", False, id="prefix and capitals"),
        pytest.param("llama3", "llama3:latest", False, id="tag"),
        pytest.param("google/gemma-2-9b-it:free", "google/gemma-2-9b-it", False, id="free"),
        pytest.param("/models/tiny/", "tiny", False, id="path"),
        pytest.param("gpt-4o", "gpt-4o-mini", True, id="mini"),
        pytest.param("gpt-4o-mini", "gpt-4o", True, id="not mini"),
        pytest.param("gpt-4", "gpt-4.1", True, id="next version"),
        pytest.param("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", True, id="another date"),
        pytest.param("llama3:8b", "llama3:70b", True, id="another size"),
    ],
)
def test_another_model_is_told_from_a_version(asked, answered, is_other):
    """Servers name the snapshot that answered; only another model is worth a flag."""
    (output,) = from_reply(reply({**ANSWER, "model": answered}), model=asked).outputs
    assert output.flags == (("other_model",) if is_other else ())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param({"prompt_tokens": "9", "completion_tokens": 3.0}, (None, None), id="texts and floats"),
        pytest.param({"prompt_tokens": -1, "completion_tokens": True}, (None, None), id="negative and boolean"),
        pytest.param({"prompt_tokens": 2**53, "completion_tokens": 2**53 - 1}, (None, 2**53 - 1), id="huge"),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (None, None), id="zeros"),
        pytest.param({"prompt_tokens": 9, "completion_tokens": 0}, (9, 0), id="nothing said"),
        pytest.param({"prompt_tokens": 0, "prompt_tokens_details": [1]}, (0, None), id="details as a list"),
        pytest.param({"prompt_tokens": 1, "completion_tokens_details": None}, (1, None), id="details null"),
    ],
)
def test_tokens_that_are_no_count_are_unknown(usage, expected):
    """Unknown is None and never 0, and the usage is kept as it came."""
    found = parsed({**ANSWER, "usage": usage}).usage
    assert found == Usage(prompt_tokens=expected[0], completion_tokens=expected[1], whole=usage)


def test_numbers_that_json_does_not_have_are_unknown():
    """Python reads NaN and 1e999, but SQLite's JSON functions fail on what it would write of them."""
    body = b'{"choices": [{"text": "a", "logprobs": [NaN, -Infinity, 1e999, -0.5]}], "usage": {"x": Infinity}}'
    outcome = parsed(body)
    assert outcome.outputs[0].logprobs == [None, None, None, -0.5]
    assert outcome.usage.whole == {"x": None}


def test_a_body_that_was_sent_differently_is_kept():
    """A user's own client may rewrite the request."""
    received = Reply(200, {}, json.dumps(ANSWER).encode(), sent=b'{"model": "\xff"}')
    assert from_reply(received, model="m").sent == '{"model": "\ufffd"}'


# Replies without an answer


@pytest.mark.parametrize(
    ("body", "status", "failure"),
    [
        pytest.param(b"", 200, Failure("bad_reply", "the reply is empty", "empty"), id="empty"),
        pytest.param(b" \n", 204, Failure("bad_reply", "the reply is empty", "empty"), id="blank"),
        pytest.param(
            b"<html>\n <b>Log in</b>",
            200,
            Failure("bad_reply", "the reply is not JSON: <html> <b>Log in</b>", "not_json"),
            id="HTML with status 200",
        ),
        pytest.param(
            b'{"choices": [',
            200,
            Failure("bad_reply", 'the reply is not JSON: {"choices": [', "not_json"),
            id="JSON cut off",
        ),
        pytest.param(
            b'"\xff"', 200, Failure("bad_reply", 'the reply is not JSON: "\ufffd"', "not_json"), id="no UTF-8"
        ),
        pytest.param(
            b"[" * 99_999, 200, Failure("bad_reply", f"the reply is not JSON: {'[' * 200}", "not_json"), id="deep JSON"
        ),
        pytest.param(
            b"1" * 5_000,
            200,
            Failure("bad_reply", f"the reply is not JSON: {'1' * 200}", "not_json"),
            id="endless number",
        ),
        pytest.param(b"null", 200, Failure("bad_reply", "the reply holds no choices: null", "no_choices"), id="null"),
        pytest.param(b"[1]", 200, Failure("bad_reply", "the reply holds no choices: [1]", "no_choices"), id="list"),
        pytest.param(b"{}", 200, Failure("bad_reply", "the reply holds no choices: {}", "no_choices"), id="no choices"),
        pytest.param(
            {"choices": None},
            200,
            Failure("bad_reply", 'the reply holds no choices: {"choices": null}', "no_choices"),
            id="null choices",
        ),
        pytest.param(
            {"choices": []},
            200,
            Failure("bad_reply", 'the reply holds no choices: {"choices": []}', "no_choices"),
            id="empty choices",
        ),
        pytest.param(
            {"choices": [None]},
            200,
            Failure("bad_reply", 'the reply holds no choices: {"choices": [null]}', "no_choices"),
            id="choices that are none",
        ),
        pytest.param(
            {"error": {"message": "busy", "type": "server_error", "code": 503}},
            200,
            Failure("server_error", "busy", "503"),
            id="error with status 200",
        ),
        pytest.param(
            {"error": "busy", "choices": [CHOICE]}, 200, Failure("error_in_200", "busy"), id="error beside an answer"
        ),
        pytest.param(
            {
                "error": {
                    "message": "No.",
                    "type": "invalid_request_error",
                    "param": "top_p",
                    "code": "unsupported_value",
                }
            },
            400,
            Failure("invalid_request_error", "No.", "unsupported_value", "top_p"),
            id="OpenAI's form",
        ),
        pytest.param(
            {"object": "error", "message": "No.", "type": "BadRequestError", "param": None, "code": 400},
            400,
            Failure("BadRequestError", "No.", "400"),
            id="vLLM's form",
        ),
        pytest.param({"error": "no such model"}, 404, Failure("HTTP 404", "no such model"), id="Ollama's form"),
        pytest.param({"detail": "No."}, 422, Failure("HTTP 422", '{"detail": "No."}'), id="FastAPI's form"),
        pytest.param({"error": {"code": None}}, 500, Failure("HTTP 500", '{"error": {"code": null}}'), id="no message"),
        pytest.param(
            {"error": {"message": {"a": 1}, "type": 5, "param": ["x"]}},
            400,
            Failure("5", "{'a': 1}", param="['x']"),
            id="fields of other kinds",
        ),
        pytest.param(
            {"error": {"message": "a\ud800"}}, 500, Failure("HTTP 500", "a\ufffd"), id="surrogate in a message"
        ),
        pytest.param(b"<h1>Bad Gateway</h1>", 502, Failure("HTTP 502", "<h1>Bad Gateway</h1>"), id="HTML"),
        pytest.param(b"", 503, Failure("HTTP 503", "empty body"), id="empty error"),
        pytest.param(b"[1]", 307, Failure("HTTP 307", "[1]"), id="redirect"),
        pytest.param({"choices": [{}]}, 199, Failure("HTTP 199", '{"choices": [{}]}'), id="before the 2xx"),
        pytest.param({"choices": [{}]}, 300, Failure("HTTP 300", '{"choices": [{}]}'), id="after the 2xx"),
        pytest.param(ANSWER, 500, Failure("HTTP 500", json.dumps(ANSWER)[:200]), id="answer with status 500"),
    ],
)
def test_a_reply_without_an_answer_has_a_name(body, status, failure):
    """None of them is passed off as an answer, and the bytes are kept."""
    outcome = parsed(body, status)
    assert (outcome.state, outcome.failure, outcome.outputs, outcome.http_status) == ("error", failure, (), status)
    assert outcome.response == reply(body).content


def test_a_failure_that_was_paid_for_keeps_its_usage():
    """A reply without choices may have been billed."""
    assert parsed({"choices": [], "usage": USAGE}).usage == Usage(9, None, 3, None, 12, USAGE)


def test_a_message_has_an_end():
    """A page-long error stands in the bytes, not in every row."""
    assert parsed({"error": {"message": "x" * 9_999}}, 500).failure == Failure("HTTP 500", "x" * 2_000)


@given(st.binary(max_size=60), st.integers(100, 599), st.dictionaries(any_text, any_text, max_size=3))
def test_no_bytes_raise(content, status, headers):
    """Whatever a server sends has an outcome, with its bytes."""
    outcome = from_reply(Reply(status, headers, content), model="m")
    assert (outcome.state, outcome.response) == ("error", redact(content, (), key_like=not 200 <= status < 300)[0])


_details = st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens"]), json_values, max_size=2)
_usages = st.dictionaries(st.sampled_from([*USAGE, "prompt_tokens_details"]), json_values | _details, max_size=3)
_fields = st.sampled_from(["content", "refusal", "tool_calls", "function_call", "text", "finish_reason", "logprobs"])
_choices = st.dictionaries(
    _fields | st.just("message"), json_values | st.dictionaries(_fields, json_values, max_size=3)
)
_bodies = st.fixed_dictionaries(
    {"choices": st.lists(_choices, min_size=1, max_size=2) | json_values},
    optional={
        "usage": _usages | json_values,
        "error": st.dictionaries(st.sampled_from(["message", "type", "code", "param"]), json_values) | json_values,
        "model": json_values,
        "message": json_values,
    },
)


@given(_bodies, st.sampled_from([200, 400, 429, 500]))
def test_no_json_raises(body, status):
    """Whatever the fields hold, what is stored as text is UTF-8, and what is stored as JSON is JSON."""
    outcome = parsed(body, status)
    texts = [outcome.model, outcome.system_fingerprint, outcome.service_tier]
    texts += [text for output in outcome.outputs for text in (output.text, output.finish_reason, output.refusal)]
    texts += [outcome.failure.message, outcome.failure.type] if outcome.failure else []
    "".join(filter(None, texts)).encode()
    json.dumps([outcome.usage.whole, *[o.logprobs for o in outcome.outputs]], allow_nan=False)
    assert (outcome.state == "ok") == bool(outcome.outputs) == (outcome.failure is None)


# Headers


def test_only_harmless_headers_are_kept():
    """Limits, ids and times help later; cookies and accounts are nobody's business."""
    sent = {
        "Date": "d",
        "Content-Type": "application/json",
        "X-RateLimit-Remaining-Requests": "59",
        "retry-after-ms": "5",
        "OpenAI-Processing-Ms": "7",
        "openai-organization": "acme",
        "Set-Cookie": "session=1",
        "Authorization": "Bearer x",
        "x-request-id-of-another": "1",
    }
    assert from_reply(Reply(200, sent, b""), model="m").headers == {
        "date": "d",
        "content-type": "application/json",
        "x-ratelimit-remaining-requests": "59",
        "retry-after-ms": "5",
        "openai-processing-ms": "7",
    }


_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def http_date(seconds=0):
    """Return a date as servers write it, some seconds after the server's own."""
    return format_datetime(_NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"retry-after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": " 0.5 "}, 0.5, id="part of a second"),
        pytest.param({"retry-after": "0"}, 0.0, id="zero"),
        pytest.param({"retry-after-ms": "250"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "250", "retry-after": "7"}, 0.25, id="milliseconds first"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "7"}, 7.0, id="garbage, then seconds"),
        pytest.param({"retry-after": http_date(9), "date": http_date()}, 9.0, id="date by the server's clock"),
        pytest.param({"retry-after": http_date(-9), "date": http_date()}, 0.0, id="date in the past"),
        pytest.param({"retry-after": http_date(9)}, None, id="date without a clock"),
        pytest.param({"retry-after": http_date(9), "date": "today"}, None, id="date with a broken clock"),
        pytest.param(
            {"retry-after": "Fri, 02 Jan 2026 03:04:14 -0000", "date": http_date()}, 9.0, id="date without a zone"
        ),
        pytest.param(
            {"retry-after": "Fri, 02 Jan 2026 04:04:14 +0100", "date": http_date()}, 9.0, id="date in another zone"
        ),
        pytest.param({"retry-after": "1e9"}, None, id="decades"),
        pytest.param({"retry-after": "-1"}, None, id="negative"),
        pytest.param({"retry-after": "nan"}, None, id="NaN"),
        pytest.param({"retry-after": "inf"}, None, id="infinity"),
        pytest.param({"retry-after": "soon"}, None, id="garbage"),
        pytest.param({"retry-after": ""}, None, id="empty"),
    ],
)
def test_the_wait_a_server_asks_for(headers, expected):
    """A date is measured against the server's own clock, whatever ours says; what is no time is none."""
    assert retry_after_s(headers) == expected


def test_the_wait_is_read_whatever_the_case_of_its_name():
    """Header names have no case."""
    assert parsed(b"", 429, RETRY_AFTER="3").retry_after_s == 3.0


@given(any_text, any_text)
def test_no_wait_raises(retry_after, date):
    """Any text is a time to wait or none."""
    found = retry_after_s({"retry-after": retry_after, "retry-after-ms": date, "date": date})
    assert found is None or 0 <= found < math.inf


# Secrets


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"key sk-proj-abcdefgh1234!", b"key [redacted]!", id="own key"),
        pytest.param(b'"a\\/secret+key=="', b'"[redacted]"', id="escaped slash"),
        pytest.param(b"a/secret+key==, again a/secret+key==", b"[redacted], again [redacted]", id="twice"),
        pytest.param(b"sk-other-abcdefgh", b"sk-other-abcdefgh", id="another key in an answer"),
    ],
)
def test_the_labs_own_key_is_replaced_anywhere(content, expected):
    """A model can be made to print it."""
    assert redact(content, (KEY, "", "a/secret+key=="), key_like=False) == (expected, expected != content)


@pytest.mark.parametrize(
    "key",
    [
        "sk-abcdefgh12345678",
        "sk-proj-abc***xyz",
        "pk-abcdefgh1234",
        "gsk_abcdefghijklmnopqrst",
        "hf_abcdefghijklmnopqrstu",
        "xai-abcdefghijklmnopqrstu",
        "AIzaSyabcdefghijklmnopqrst",
    ],
)
def test_what_looks_like_a_key_is_replaced_in_an_error(key):
    """Servers print the key they refuse, sometimes somebody else's."""
    assert redact(f"Incorrect API key provided: {key}".encode(), (), key_like=True) == (
        b"Incorrect API key provided: [redacted]",
        True,
    )


@pytest.mark.parametrize("word", [b"Bearer", b"bearer"])
def test_a_token_is_replaced_in_an_error(word):
    """Proxies print the header they refuse."""
    assert redact(word + b" abc.def-123/4==, sorry", (), key_like=True) == (word + b" [redacted], sorry", True)


@pytest.mark.parametrize(
    "text", [b"risk-assessment-form", b"the task-force-1234", b"hf_hub_download failed", b"Bearer of"]
)
def test_ordinary_words_stay_in_an_error(text):
    """A message has to stay readable."""
    assert redact(text, (), key_like=True) == (text, False)


def test_the_longest_secret_is_replaced_first():
    """One that begins another would leave the rest of it."""
    assert redact(b"abcdefgh12345678", ("abcdefgh", "abcdefgh12345678"), key_like=False) == (b"[redacted]", True)


_secrets = st.text("abcdefghijkACDE012/+-_=", min_size=8, max_size=12).filter(lambda text: text not in REDACTED)


@given(st.lists(_secrets, min_size=1, max_size=3), st.lists(any_text, min_size=2, max_size=4), st.booleans())
def test_no_secret_stays(secrets, pieces, key_like):
    """Wherever a secret stands, it is gone afterwards, and the row says so."""
    content = secrets[0].join(pieces).encode(errors="replace")
    clean, is_redacted = redact(content, secrets, key_like=key_like)
    assert is_redacted
    assert not any(secret.encode() in clean for secret in secrets)


@pytest.mark.parametrize(
    ("status", "is_redacted"),
    [
        pytest.param(200, False, id="answer"),
        pytest.param(299, False, id="last of the 2xx"),
        pytest.param(300, True, id="redirect"),
        pytest.param(401, True, id="refusal"),
    ],
)
def test_somebodys_key_is_replaced_in_errors_alone(status, is_redacted):
    """An answer is kept as the model wrote it, keys that it made up included."""
    outcome = parsed(b"sk-other-abcdefgh", status)
    assert (outcome.response, outcome.redacted) == (b"[redacted]" if is_redacted else b"sk-other-abcdefgh", is_redacted)


def test_no_secret_stays_in_an_outcome():
    """Bytes, texts, messages and headers are all clean, and the row says so."""
    refused = parsed({"error": {"message": f"wrong key {KEY}"}}, 401, X_Request_Id=KEY)
    told = parsed(answer({"content": f"your key is {KEY}"}))
    assert KEY not in repr((refused, told))
    assert (refused.redacted, told.redacted, parsed().redacted) == (True, True, False)
    assert (refused.failure.message, told.outputs[0].text) == ("wrong key [redacted]", "your key is [redacted]")
    assert refused.headers == {"x-request-id": "[redacted]"}


# Exchanges without a whole reply


@pytest.mark.parametrize(
    ("maybe_paid", "state"), [pytest.param(True, "unknown", id="sent"), pytest.param(False, "error", id="not sent")]
)
def test_an_exchange_without_a_reply_may_have_been_paid(maybe_paid, state):
    """What may have reached the model is unknown, never an error that cost nothing."""
    error = SendError("reset", "closed after sk-proj-abcdefgh1234 was sent\ud800", maybe_paid=maybe_paid)
    assert from_send_error(error, secrets=(KEY,)) == Outcome(
        state=state, failure=Failure("reset", "closed after [redacted] was sent?"), redacted=True
    )
