"""Requests: the exact bytes, and the keys under which answers are kept."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import requests
from promptlab._json import compact, digest, utf8
from promptlab.requests import UNKEYED, Request
from strategies import any_text, json_values

HI = [{"role": "user", "content": "Hi"}]
PARAMS = {"model": "m", "temperature": 0.7}


def sample_key(messages=HI, *, identity="x", **params):
    """Return the sample key of a request."""
    return requests.build(messages, {**PARAMS, **params}, identity=identity).sample_key


def test_messages_go_to_the_chat_endpoint():
    """The body has the model, the messages and the parameters in the order given."""
    messages = [{"role": "system", "content": "é"}, *HI]
    request = requests.build(messages, {"temperature": 0.7, "model": "m", "stop": ["\n"]}, identity="x")
    assert request == Request(
        endpoint="chat/completions",
        body='{"model":"m","messages":[{"role":"system","content":"é"},{"role":"user","content":"Hi"}],'
        '"temperature":0.7,"stop":["\\n"]}',
        model="m",
        text="é\n\nHi",
        sample_key=request.sample_key,
    )
    assert request.content == request.body.encode()


def test_a_plain_text_goes_to_the_text_endpoint():
    """A base model gets a prompt instead of messages."""
    request = requests.build([{"role": "text", "content": "Q:"}], PARAMS, identity="x")
    assert (request.endpoint, request.body, request.text) == (
        "completions",
        '{"model":"m","prompt":"Q:","temperature":0.7}',
        "Q:",
    )


def test_the_text_is_what_a_reader_calls_the_prompt():
    """Texts of content parts belong to it; pictures and calls of tools do not."""
    parts = [{"type": "text", "text": "This?"}, {"type": "image_url", "image_url": {"url": "u"}}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "Rome"},
    ]
    assert requests.build(messages, PARAMS, identity="x").text == "This?\n\nRome"


@given(any_text, st.dictionaries(any_text.map("extra {}".format), json_values, max_size=3))
def test_any_prompt_can_be_sent_and_stored(text, params):
    """The bytes are UTF-8 of the very body, and the text for search is one that SQLite can hold."""
    request = requests.build([{"role": "user", "content": text}], {**params, "model": "m"}, identity="x")
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **params}
    assert json.loads(request.content) == json.loads(json.dumps(body))  # which joins two halves of one character
    assert request.text == utf8(text)


@given(any_text, st.dictionaries(any_text.map("extra {}".format), json_values, max_size=3), st.booleans())
def test_a_request_joined_from_parts_is_the_one_written_whole(text, params, is_text):
    """Prompt and settings are written as JSON apart, once each; body and key are those of the whole."""
    messages = [{"role": "text" if is_text else "user", "content": text}]
    request = requests.build(messages, {**params, "model": "m"}, identity="x")
    body = {"model": "m", **({"prompt": text} if is_text else {"messages": messages}), **params}
    assert request.body == compact(body)
    assert request.sample_key == digest({"backend": "x", "endpoint": request.endpoint, "body": body})


# The key of a request


def test_a_requests_key_is_the_hash_of_its_bytes():
    """Keys are stored in files: this one must never change."""
    request = requests.build(HI, PARAMS, identity="x")
    assert request.key == "aae153b50523827b400410170ab20c48024a38db5cb6ef634e352a0722cf454f"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"endpoint": "completions"}, id="endpoint"),
        pytest.param({"body": '{"model": "m"}'}, id="a blank in the body"),
    ],
)
def test_other_bytes_have_another_key(change):
    """Endpoint and body make the request."""
    request = requests.build(HI, PARAMS, identity="x")
    assert replace(request, **change).key != request.key


# The key of a sample


def test_the_fields_that_no_key_holds_are_pinned():
    """One field more or less would have answers bought again, or shared where they differ."""
    delivered, filed = {"n", "stream", "stream_options", "store"}, {"user", "metadata", "safety_identifier"}
    assert delivered | filed | {"prompt_cache_key"} == UNKEYED


def test_a_samples_key_is_pinned():
    """Answers are found under it: a change would have everything paid for again."""
    assert (
        sample_key(identity="https://api.openai.com/v1")
        == "cc2805b54c41103155701ead98816edcfa29f70a0c03ef003456200a1f3314ec"
    )


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"max_tokens": 16.0}, id="whole number"),
        *[pytest.param({name: "changed"}, id=name) for name in sorted(UNKEYED)],
    ],
)
def test_what_cannot_change_an_answer_is_no_part_of_the_key(params):
    """Numbers are normalised, and how an answer is delivered, billed or filed does not count."""
    assert sample_key(**{"max_tokens": 16, **params}) == sample_key(max_tokens=16)


def test_the_order_of_parameters_is_no_part_of_the_key():
    """Two notebooks may name them in another order."""
    one = requests.build(HI, {"model": "m", "seed": 1, "top_p": 1}, identity="x")
    two = requests.build(HI, {"top_p": 1, "seed": 1, "model": "m"}, identity="x")
    assert (one.sample_key, one.key == two.key) == (two.sample_key, False)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"identity": "y"}, id="backend"),
        pytest.param({"messages": [{"role": "system", "content": "Hi"}]}, id="role"),
        pytest.param({"messages": [{"role": "user", "content": "Hi "}]}, id="content"),
        pytest.param({"messages": [{"role": "text", "content": "Hi"}]}, id="endpoint"),
        pytest.param({"model": "n"}, id="model"),
        pytest.param({"temperature": 0.70001}, id="value"),
        pytest.param({"seed": 1}, id="parameter more"),
        pytest.param({"reasoning_effort": "low"}, id="effort"),
        pytest.param({"service_tier": "flex"}, id="tier"),
        pytest.param({"top_k": 40}, id="a provider's own"),
    ],
)
def test_what_can_change_an_answer_is_part_of_the_key(change):
    """Another backend, prompt or setting has answers of its own."""
    assert sample_key(**change) != sample_key()


def test_a_boolean_is_not_a_number_in_the_key():
    """`logprobs` is true for one endpoint and a number for the other."""
    assert sample_key(logprobs=True) != sample_key(logprobs=1)
