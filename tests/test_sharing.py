"""Repeats that ride on one call: shares add up exactly, and servers that do not honour `n` are told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab.attempts import Outcome, Output, Usage
from promptlab.sharing import Share, oddity, shares


def answer(*texts, prompt=None, completion=None, finish="stop"):
    """Return an answer with so many choices, and the usage of its call."""
    outputs = tuple(Output(place, text, finish) for place, text in enumerate(texts))
    return Outcome(state="ok", outputs=outputs, usage=Usage(prompt_tokens=prompt, completion_tokens=completion))


def test_a_single_choice_takes_all():
    """A call for one sample is shared with nobody."""
    outcome = answer("Paris", prompt=8, completion=2)
    assert shares(outcome.outputs, outcome, 0.25) == [Share(8, 2, 0.25)]


def test_the_prompt_is_split_evenly_and_the_completion_by_length():
    """What is left over goes to the first ones; long answers take more of the completion than short ones."""
    outcome = answer("x" * 99, "x" * 9, "x" * 9, prompt=8, completion=120)
    assert shares(outcome.outputs, outcome, 0.3) == [
        Share(3, 100, pytest.approx(0.1)),
        Share(3, 10, pytest.approx(0.1)),
        Share(2, 10, pytest.approx(0.1)),
    ]


def test_what_is_unknown_stays_unknown():
    """No usage and no price are no zeros."""
    outcome = answer("a", "b")
    assert shares(outcome.outputs, outcome, None) == [Share(None, None, None)] * 2
    assert shares((), outcome, 1.0) == []


@given(
    st.lists(st.one_of(st.none(), st.text(max_size=30)), min_size=1, max_size=64),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.floats(0, 1e6),
)
def test_sums_are_exact(texts, prompt, completion, cost_usd):
    """Tokens add up to the last one, money to the last bit but for the order in which floats are added."""
    outcome = answer(*texts, prompt=prompt, completion=completion)
    found = shares(outcome.outputs, outcome, cost_usd)
    assert sum(share.prompt_tokens for share in found) == prompt
    assert sum(share.completion_tokens for share in found) == completion
    assert sum(share.cost_usd for share in found) == pytest.approx(cost_usd, rel=1e-12)
    assert all(share.completion_tokens >= 0 for share in found)


@pytest.mark.parametrize(
    ("outcome", "asked", "expected"),
    [
        pytest.param(answer("Paris", "Paris", completion=4), 2, None, id="all well"),
        pytest.param(answer("Paris", completion=2), 2, "fewer_choices", id="one of two"),
        pytest.param(answer("Paris", completion=2), 1, None, id="one of one"),
        pytest.param(answer("so it is", "so it is", completion=5), 2, "usage_of_first_choice", id="fewer than words"),
        pytest.param(answer("x" * 64, "x" * 64, completion=7), 2, "usage_of_first_choice", id="fewer than bytes allow"),
        pytest.param(answer("a", "b", completion=9, finish="length"), 2, "usage_of_first_choice", id="both were cut"),
        pytest.param(answer("a b c", completion=1), 1, None, id="a single choice is taken as counted"),
        pytest.param(answer("a b c", "d e f"), 2, None, id="nothing counted"),
        pytest.param(answer(None, None, completion=0), 2, None, id="no text"),
    ],
)
def test_a_server_that_does_not_honour_n_is_told(outcome, asked, expected):
    """By fewer choices than asked, or by fewer tokens than their texts must have."""
    assert oddity(outcome, asked, {"max_tokens": 8}) == expected
