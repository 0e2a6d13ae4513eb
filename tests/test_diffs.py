"""What differs between two requests, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab._json import canonical
from promptlab.diffs import describe, differing_fields, distance
from promptlab.requests import UNKEYED
from strategies import any_text, json_values

ASKED = {"model": "m", "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "seed": 1}
_bodies = st.dictionaries(st.sampled_from(sorted(UNKEYED)) | any_text, json_values, max_size=4)


@pytest.mark.parametrize(
    ("changes", "fields", "sentence"),
    [
        pytest.param({}, [], "", id="nothing"),
        pytest.param({"seed": 1.0}, [], "", id="the same number"),
        pytest.param({"user": "me", "n": 2}, [], "", id="fields that do not count"),
        pytest.param({"seed": 2}, ["seed"], "seed is 1 here and 2 there", id="value"),
        pytest.param({"seed": True}, ["seed"], "seed is 1 here and true there", id="kind"),
        pytest.param({"top_p": None}, ["top_p"], "top_p is absent here and null there", id="field more"),
        pytest.param(
            {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "c", "name": "n"}]},
            ["messages[1].content", "messages[1].name"],
            'messages[1].content is "b" here and "c" there; messages[1].name is absent here and "n" there',
            id="within a message",
        ),
        pytest.param(
            {"messages": []},
            ["messages"],
            'messages is [{"role": "system", "content": "a"}, {"role": "user", "conte… here and [] there',
            id="number of messages",
        ),
        pytest.param({"messages": "a"}, ["messages"], None, id="list and text"),
    ],
)
def test_fields_that_differ_are_named_with_both_values(changes, fields, sentence):
    """Paths lead into messages; numbers that mean the same do not differ."""
    stored = {**ASKED, **changes}
    assert differing_fields(ASKED, stored) == fields
    assert sentence is None or describe(ASKED, stored) == sentence


def test_a_field_that_is_gone_is_named():
    """What one request has and the other lacks differs, and is shown in its own letters."""
    assert describe({"stop": "é" * 60}, {}) == f'stop is "{"é" * 59}… here and absent there'


def test_a_value_that_fits_is_shown_whole():
    """Sixty characters, quotes included."""
    assert describe({"stop": "x" * 58}, {"stop": "y" * 59}) == f'stop is "{"x" * 58}" here and "{"y" * 59}… there'


def test_long_values_are_shown_where_they_differ():
    """Two prompts that begin alike would look the same if only their beginnings were shown."""
    prompt = "You are a helpful assistant. " * 4
    assert describe({"prompt": f"{prompt}Be terse, and kind."}, {"prompt": f"{prompt}Be brief, and kind."}) == (
        'prompt is …assistant. You are a helpful assistant. Be terse, and kind." here '
        'and …assistant. You are a helpful assistant. Be brief, and kind." there'
    )


def test_a_long_value_is_cut_on_both_sides():
    """The part shown begins shortly before the difference."""
    asked, stored = {"prompt": "a" * 100 + "b" * 100}, {"prompt": "a" * 100 + "c" * 100}
    assert describe(asked, stored) == (f"prompt is …{'a' * 20}{'b' * 40}… here and …{'a' * 20}{'c' * 40}… there")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param({"temperature": 0.5, "top_p": 1.0, "user": "me"}, (0, 0.0), id="the same"),
        pytest.param({"temperature": 0.75, "top_p": 1}, (1, 0.25), id="another number"),
        pytest.param({"temperature": 0, "top_p": 0.5}, (2, 1.0), id="two numbers"),
        pytest.param({"temperature": 0.5, "top_p": True}, (1, 0.0), id="no number"),
        pytest.param({"temperature": 0.5}, (1, 0.0), id="field less"),
    ],
)
def test_requests_are_apart_by_fields_and_then_by_numbers(stored, expected):
    """Of two that differ in one number, the nearer number is the nearer request."""
    assert distance({"temperature": 0.5, "top_p": 1}, stored) == expected


@given(_bodies, _bodies)
def test_requests_differ_exactly_when_their_keyed_parts_do(asked, stored):
    """No field is named when the sample keys are equal, and at least one when they are not."""
    left, right = ({name: value for name, value in body.items() if name not in UNKEYED} for body in (asked, stored))
    assert bool(differing_fields(asked, stored)) == (canonical(left) != canonical(right))
    assert bool(describe(asked, stored)) == bool(differing_fields(asked, stored))
