"""Scorers made of functions: what they may return, and how they are told apart."""

import functools
import importlib.util

import numpy as np
import pytest

from promptlab import ScoreError, exact_match, scorer
from promptlab.scorers import Answered, Score


def starts_well(output, case):
    """Say whether an answer begins with what the case says."""
    return output.startswith(case["start"])


def with_default(output, case, most=3):
    """Say whether an answer is short."""
    return len(output) <= most


def said(function, text="Paris", **case):
    """Return the score of a text by a function."""
    return scorer(function, name="f", version=1).score(Answered(text, case))


@pytest.fixture
def module(tmp_path):
    """Return what imports a module of some lines."""

    def load(*lines, name="written"):
        path = tmp_path / f"{name}.py"
        path.write_text("\n".join(lines) + "\n")
        spec = importlib.util.spec_from_file_location(name, path)
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made

    return load


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        pytest.param(True, Score(1.0), id="bool"),
        pytest.param(3, Score(3.0), id="int"),
        pytest.param(np.float32(0.5), Score(0.5), id="numpy"),
        pytest.param(np.True_, Score(1.0), id="numpy-bool"),
        pytest.param("rude", Score(None, "rude"), id="label"),
        pytest.param({"value": False, "label": "rude"}, Score(0.0, "rude"), id="mapping"),
        pytest.param({"value": 2, "detail": {"why": (1,)}}, Score(2.0, None, {"why": [1]}), id="detail"),
        pytest.param({"label": "a", "detail": "why"}, Score(None, "a", {"detail": "why"}), id="plain-detail"),
    ],
)
def test_what_a_function_may_return(returned, expected):
    """Bools and numbers are values, a text is a label, a mapping has both and a detail."""
    assert said(lambda *_: returned) == expected


WHAT = "a score is a bool, a number, a text or a mapping"


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        pytest.param(None, f"TypeError: the function returned None; {WHAT}", id="none"),
        pytest.param([1], f"TypeError: the function returned [1]; {WHAT}", id="list"),
        pytest.param(np.array([1.0]), f"TypeError: the function returned array([1.]); {WHAT}", id="array"),
        pytest.param(
            {"score": 1}, "ValueError: the mapping has 'score'; a score has value, label, detail", id="strange-name"
        ),
        pytest.param({"value": "1"}, "TypeError: value is '1', no number", id="value"),
        pytest.param({"label": 1}, "TypeError: label is 1, no text", id="label"),
    ],
)
def test_anything_else_fails_the_score(returned, reason):
    """The reason names what was returned."""
    assert said(lambda *_: returned) == Score.failed(reason)


class SpeechlessError(Exception):
    """An error that cannot say what it is."""

    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(KeyError("capital"), "KeyError: 'capital'", id="message"),
        pytest.param(ValueError(), "ValueError", id="no-message"),
        pytest.param(ValueError("\ud800 \x1b[31m"), "ValueError: ⟨D800⟩ ⟨1B⟩[31m", id="hostile"),
        pytest.param(SpeechlessError(), "SpeechlessError", id="speechless"),
        pytest.param(RecursionError("deep"), "RecursionError: deep", id="recursion"),
    ],
)
def test_a_function_that_raises_fails_the_score(error, reason):
    """The reason is what was raised, made visible."""

    def broken(output, case):
        raise error

    assert said(broken) == Score.failed(reason)


def test_an_interrupt_is_not_a_score():
    """Ctrl-C in a function stops the scoring."""

    def interrupted(output, case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        said(interrupted)


def test_a_function_has_a_case_of_its_own():
    """What it does with it, no other answer sees."""
    case = {"words": ["a"]}

    def greedy(output, case):
        case["words"].append(output)
        return len(case["words"])

    made = scorer(greedy, version=1)
    assert [made.score(Answered("b", case)).value for _ in range(2)] == [2.0, 2.0]
    assert case == {"words": ["a"]}


# Keys


def test_a_function_is_known_by_name_and_source(module):
    """The same lines elsewhere are the same scorer, indented or not; edited ones are another."""
    first = module("def short(output, case):", "    return len(output) < 5").short
    same = module("if True:", "    def short(output, case):", "        return len(output) < 5", name="same").short
    edited = module("def short(output, case):", "    return len(output) < 6", name="edited").short
    keys = [scorer(function).key for function in (first, same, edited)]
    assert (keys[0] == keys[1], keys[0] == keys[2]) == (True, False)
    assert scorer(first, name="other").key != keys[0]


def test_a_version_stands_for_the_source(module):
    """It keeps the key while the source changes, and changes it while the source stays."""
    first = module("def short(output, case):", "    return len(output) < 5").short
    edited = module("def short(output, case):", "    return len(output) < 6", name="edited").short
    assert scorer(first, version="1").key == scorer(edited, version="1").key != scorer(first, version="2").key


def test_defaults_are_part_of_the_key(module):
    """A default may be computed, so its value counts and not how it is written."""
    lines = ("def short(output, case, most=MOST):", "    return len(output) < most")
    functions = [module(f"MOST = {most}", *lines, name=f"most{most}").short for most in (5, 6)]
    assert len({scorer(function).key for function in functions}) == 2


def test_a_lambda_is_known_where_its_line_has_no_other(module):
    """Wherever in a call it stands, and whatever stands around it."""
    pair = module("pair = (", "    lambda output, case: 1,", "    lambda output, case: 2,", ")").pair
    alone = module("alone = lambda output, case: 1", name="alone").alone
    keys = [scorer(each, name="f").key for each in (*pair, alone)]
    assert (keys[0] == keys[2], keys[0] == keys[1]) == (True, False)


def closure(most):
    """Return a function that uses a variable of this one."""

    def short(output, case):
        return len(output) < most

    return short


class Called:
    """An object that is called."""

    def __call__(self, *_):
        """Score."""
        return 1

    def method(self, *_):
        """Score."""
        return 1


def decorated(function):
    """Return the function in another one."""

    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


AND_SO = (
    "so its scores could not be told from another's; give it a version, scorer(..., version='1'), and change that"
    " whenever the function changes"
)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        pytest.param(
            closure(3), "it uses most of the function around it, which its source does not show", id="closure"
        ),
        pytest.param(Called(), "it is no plain function", id="object"),
        pytest.param(Called().method, "it is no plain function", id="method"),
        pytest.param(functools.partial(with_default, most=5), "it is no plain function", id="partial"),
        pytest.param(decorated(starts_well), "it is no plain function", id="decorated"),
        pytest.param(
            eval("lambda output, case: 1"),  # noqa: S307 - what has no source
            "its source cannot be read",
            id="no-source",
        ),
        pytest.param(
            [lambda *_: 1, lambda *_: 2][0],
            "its line has 2 lambdas, which cannot be told apart",
            id="two-lambdas",
        ),
    ],
)
def test_what_the_source_does_not_tell_needs_a_version(function, reason):
    """One clear error, and with a version it is a scorer."""
    with pytest.raises(ScoreError) as caught:
        scorer(function, name="f")
    assert str(caught.value) == f"f: {reason}, {AND_SO}"
    assert scorer(function, name="f", version="1").name == "f"


def test_a_default_that_is_an_object_needs_a_version(module):
    """It has no value that a key could be made of."""
    function = module("def f(output, case, by=object()):", "    return 1").f
    with pytest.raises(ScoreError) as caught:
        scorer(function)
    expected = "a default of its arguments is an object, which its source does not show"
    assert str(caught.value) == f"f: {expected}, {AND_SO}"


async def later(output, case):
    """Return a score, but not yet."""
    return 1


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        pytest.param(
            "exact_match",
            "'exact_match' is no scorer; give one, e.g. exact_match('capital'), or a function of (output, case)",
            id="text",
        ),
        pytest.param(exact_match, "exact_match makes a scorer; call it, e.g. exact_match(...)", id="not-called"),
        pytest.param(lambda _: 1, "cannot be called as function(output, case): too many", id="one-argument"),
        pytest.param(later, "is asynchronous; a scorer is a plain function of (output, case)", id="asynchronous"),
        pytest.param(lambda *_: 1, "has no name of its own; give it one: scorer(..., name='...')", id="name"),
    ],
)
def test_what_is_no_scorer_is_told(function, problem):
    """Before anything is scored, with what to write instead."""
    with pytest.raises(ScoreError) as caught:
        scorer(function)
    assert problem in str(caught.value)


def test_a_scorer_is_a_scorer():
    """It is returned as it is."""
    made = scorer(starts_well)
    assert scorer(made) is made
    assert (made.name, made.score(Answered("Paris", {"start": "Pa"}))) == ("starts_well", Score(1.0))


LIMIT = 3


def test_a_function_that_reads_a_global_value_needs_a_version():
    """Its source does not show the value, so another value would be taken for the same scorer."""

    def short(output, case):
        return len(output) <= LIMIT

    with pytest.raises(ScoreError, match="it reads LIMIT of the notebook"):
        scorer(short)
    assert scorer(short, version=1).name == "short"
