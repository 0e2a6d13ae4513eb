"""Canonical JSON, keys, and values in JSON's own types."""

import datetime as dt
import enum
import json
import math
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab._json import canonical, compact, digest, exact_digest, plain, utf8
from strategies import any_text, json_values


class Size(enum.StrEnum):
    """An enumeration of texts, as a user may sweep one."""

    SMALL = "small"


class Count(enum.IntEnum):
    """An enumeration of numbers."""

    ONE = 1


# Canonical text


def test_canonical_text_sorts_keys_and_leaves_out_blanks():
    """Keys are sorted at every level, and nothing stands between the tokens."""
    assert canonical({"b": [1, {"d": None, "c": True}], "a": "x y"}) == '{"a":"x y","b":[1,{"c":true,"d":null}]}'


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(1, 1.0, id="whole"),
        pytest.param(0, -0.0, id="minus zero"),
        pytest.param(100, 1e2, id="exponent"),
        pytest.param({"a": [2.0]}, {"a": [2]}, id="nested"),
        pytest.param((1, 2), [1, 2], id="tuple"),
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="order of keys"),
        pytest.param(MappingProxyType({"a": 1}), {"a": 1}, id="other mapping"),
    ],
)
def test_values_that_mean_the_same_have_one_text(left, right):
    """Numbers are normalised, and the kind of sequence or mapping does not matter."""
    assert canonical(left) == canonical(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(1, True, id="number and boolean"),
        pytest.param(1, "1", id="number and text"),
        pytest.param(None, False, id="null and false"),
        pytest.param(0.1, 0.1000000001, id="close numbers"),
        pytest.param([1, 2], [2, 1], id="order of a list"),
        pytest.param({"a": None}, {}, id="null and absent"),
    ],
)
def test_values_that_differ_have_two_texts(left, right):
    """What a server may answer differently is told apart."""
    assert canonical(left) != canonical(right)


def test_canonical_text_holds_any_string():
    """The text is ASCII, so that an unpaired surrogate can be hashed."""
    assert canonical("é\ud800\0") == '"\\u00e9\\ud800\\u0000"'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_text_refuses_what_is_no_json(number):
    """NaN and infinities have no canonical text."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"temperature": number})


@given(json_values)
def test_canonical_text_is_json_of_the_same_value(value):
    """Reading the text gives what JSON makes of the value: two half pairs are one character. Its text is the same."""
    found = json.loads(canonical(value))
    assert found == json.loads(json.dumps(value))
    assert canonical(found) == canonical(value)


def test_a_key_is_the_sha256_of_the_canonical_text():
    """Keys are stored in files: this one must never change."""
    key = digest({"model": "m", "temperature": 1.0})
    assert key == "c648424b6640c2083bf5f4eb7140bd85b48fde4f00e5fec1352837ee12a8acb6"


def test_the_key_of_a_case_is_pinned():
    """Cases are stored under it."""
    key = exact_digest({"question": "é?", "n": 1})
    assert key == "b91ce08cd0d9432bffec241cfd5609c6f8f78b7b69c1f3ccf6d9ef06d0352e1e"


@pytest.mark.parametrize(
    ("left", "right", "is_equal"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="order of columns"),
        pytest.param({"a": 1}, {"a": 1.0}, False, id="number that prints differently"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, False, id="dict that prints differently"),
        pytest.param({"a": "\ud800"}, {"a": "\ufffd"}, False, id="surrogate"),
    ],
)
def test_a_case_has_one_key_exactly_when_it_prints_alike(left, right, is_equal):
    """What two prompts would show differently are two cases."""
    assert (exact_digest(left) == exact_digest(right)) == is_equal


# Text as it is sent


def test_sent_json_keeps_order_and_readable_characters():
    """The order of the keys is the user's, and a prompt can be read in the stored body."""
    assert compact({"b": "é", "a": 1.0}) == '{"b":"é","a":1.0}'


def test_sent_json_escapes_all_when_utf8_cannot_hold_it():
    """A text with an unpaired surrogate is written in ASCII, so that it can be sent at all."""
    assert compact({"b": ["é\ud800", 1], "a": 2}) == '{"b":["\\u00e9\\ud800",1],"a":2}'


def test_sent_json_refuses_nan():
    """NaN is refused before it is sent, since no server can read it."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        compact(["a", math.nan])


@given(json_values)
def test_sent_json_is_utf8_of_the_same_value(value):
    """Whatever JSON can hold can be sent, and arrives as JSON has it (two halves of a pair arrive as one character)."""
    assert json.loads(compact(value).encode()) == json.loads(json.dumps(value))


@given(any_text)
def test_utf8_changes_surrogates_alone(text):
    """A text comes back as UTF-8 can hold it, character for character."""
    assert utf8(text) == "".join("\ufffd" if 0xD800 <= ord(char) < 0xE000 else char for char in text)


# Values in JSON's own types


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(np.float64(0.5), 0.5, id="numpy float"),
        pytest.param(np.float32(0.5), 0.5, id="numpy float32"),
        pytest.param(np.int64(3), 3, id="numpy integer"),
        pytest.param(np.bool_(1), True, id="numpy boolean"),
        pytest.param(np.str_("a"), "a", id="numpy text"),
        pytest.param(np.array([[1.5, math.nan]]), [[1.5, None]], id="array"),
        pytest.param(np.datetime64("2026-01-02T03:04:05", "s"), "2026-01-02T03:04:05", id="numpy time"),
        pytest.param(np.datetime64("2026-01-02", "ns"), "2026-01-02T00:00:00.000000000", id="numpy nanoseconds"),
        pytest.param(np.datetime64("NaT"), None, id="numpy no time"),
        pytest.param(pd.NA, None, id="NA"),
        pytest.param(pd.NaT, None, id="NaT"),
        pytest.param(pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00", id="Timestamp"),
        pytest.param(pd.Series([1, 2]), [1, 2], id="Series"),
        pytest.param(dt.date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param(math.nan, None, id="NaN"),
        pytest.param(Size.SMALL, "small", id="enumeration of texts"),
        pytest.param(Count.ONE, 1, id="enumeration of numbers"),
        pytest.param(range(3), [0, 1, 2], id="range"),
        pytest.param((1, ("a",)), [1, ["a"]], id="tuple"),
        pytest.param({1: {"a": np.int8(2)}}, {"1": {"a": 2}}, id="number as a key"),
        pytest.param(MappingProxyType({"a": (1,)}), {"a": [1]}, id="other mapping"),
    ],
)
def test_plain_values_are_jsons_own(value, expected):
    """Values of numpy, pandas and the standard library become what JSON has, and print as that."""
    assert repr(plain(value)) == repr(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(math.inf, "inf is not JSON; use a finite number or None", id="infinity"),
        pytest.param({1}, r"\{1\} \(set\) is not JSON; use text, numbers", id="set"),
        pytest.param(b"a", r"b'a' \(bytes\) is not JSON", id="bytes"),
        pytest.param([{"a": 1j}], r"1j \(complex\) is not JSON", id="nested"),
    ],
)
def test_plain_refuses_what_json_cannot_hold(value, message):
    """An object is never turned into its repr; the error shows it and says what can be used."""
    with pytest.raises(TypeError, match=message):
        plain(value)


@given(json_values)
def test_plain_leaves_json_as_it_is(value):
    """A value in JSON's own types comes back equal, down to the type of each number."""
    assert repr(plain(value)) == repr(value)


@given(st.lists(json_values, max_size=3))
def test_plain_makes_new_containers(values):
    """A list that a user still holds cannot change what was made of it."""
    found = plain(values)
    values.append("later")
    assert found == values[:-1]
