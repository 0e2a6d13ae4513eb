"""Grids: which cells come out, in which order, and what is refused before anything can be sent."""

import inspect
import math

import numpy as np
import openai
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import GridError, ParameterGrid
from promptlab.grids import CHAT_ONLY, PARAMETERS, RESERVED, TEXT_ONLY

NO_BOUND = "no max_tokens: an answer may be as long as the model allows, and no worst case can be priced"


def cells(grid):
    """Return a grid's cells as dicts."""
    return [dict(cell) for cell in grid]


def raised(call, *args, **options):
    """Return the problems of the GridError that a call raises."""
    with pytest.raises(GridError) as caught:
        call(*args, **options)
    return caught.value.problems


def arguments(create):
    """Return the names of the body's fields that a method of the openai client takes."""
    others = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    return set(inspect.signature(create).parameters) - others


# The names


def test_the_names_are_those_of_the_installed_client():
    """A parameter that openai adds or drops shows here first."""
    chat, text = arguments(openai.resources.chat.Completions.create), arguments(openai.resources.Completions.create)
    assert {*PARAMETERS, *RESERVED} == chat | text
    assert {*CHAT_ONLY} == chat - text - {*RESERVED}
    assert {*TEXT_ONLY} == text - chat - {*RESERVED}
    assert len(PARAMETERS) == len({*PARAMETERS} - {*RESERVED})


# The cells


def test_a_product_varies_the_last_axis_fastest():
    """Axes are taken in the order they are written, as in nested loops; constants stand in every cell."""
    assert cells(ParameterGrid(temperature=[0, 1], model="m", top_p=[0.5, 1.0])) == [
        {"temperature": 0, "model": "m", "top_p": 0.5},
        {"temperature": 0, "model": "m", "top_p": 1.0},
        {"temperature": 1, "model": "m", "top_p": 0.5},
        {"temperature": 1, "model": "m", "top_p": 1.0},
    ]


@pytest.mark.parametrize(
    "axis",
    [
        pytest.param([1, 2], id="list"),
        pytest.param((1, 2), id="tuple"),
        pytest.param(range(1, 3), id="range"),
        pytest.param((n for n in (1, 2)), id="generator"),
        pytest.param(np.array([1, 2]), id="array"),
        pytest.param([np.int64(1), np.float64(2)], id="numpy scalars"),
        pytest.param(pd.Series([1.0, 2.0]), id="Series"),
        pytest.param({1: "a", 2: "b"}.keys(), id="view"),
    ],
)
def test_an_axis_may_come_from_anywhere(axis):
    """Values are unwrapped to JSON's own types, whole ones to integers where an integer is asked for."""
    assert repr(cells(ParameterGrid(max_tokens=axis))) == "[{'max_tokens': 1}, {'max_tokens': 2}]"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "seed", "best_of"])
def test_a_whole_number_is_sent_as_one(name):
    """Servers that read an integer refuse 16.0, which is what an array or a frame makes of it."""
    assert repr(cells(ParameterGrid({name: 16.0}))) == f"[{{{name!r}: 16}}]"


@pytest.mark.parametrize("constant", [0.5, np.float64(0.5), None], ids=["number", "numpy", "none"])
def test_a_single_value_is_a_constant(constant):
    """What is no axis stands in every cell."""
    assert cells(ParameterGrid(temperature=constant, top_p=[1])) == [{"temperature": constant, "top_p": 1}]


def test_texts_and_dicts_are_constants():
    """A text is not an axis of letters, nor a dict one of names."""
    form = {"type": "json_object"}
    assert cells(ParameterGrid(model="ab", response_format=form)) == [{"model": "ab", "response_format": form}]


def test_a_list_as_a_value_stands_in_a_list():
    """`stop` may be a text, several, or left out."""
    grid = ParameterGrid(stop=[["\n", "###"], "\n", None])
    assert [cell["stop"] for cell in grid] == [["\n", "###"], "\n", None]


def test_a_grid_does_not_change_with_what_it_was_made_of():
    """A list that a user still holds cannot change a checked grid."""
    stops = ["\n"]
    grid = ParameterGrid(stop=[stops])
    stops.append(5)
    assert cells(grid) == [{"stop": ["\n"]}]


def test_a_list_of_dicts_makes_a_product_of_each():
    """As in scikit-learn; keyword arguments are common to all."""
    grid = ParameterGrid([{"temperature": [0, 1]}, {"top_p": 0.5}], model="m")
    assert cells(grid) == [
        {"temperature": 0, "model": "m"},
        {"temperature": 1, "model": "m"},
        {"top_p": 0.5, "model": "m"},
    ]


def test_one_dict_is_a_grid_as_well():
    """A mapping may hold what keyword arguments would."""
    assert ParameterGrid({"temperature": [0, 1]}) == ParameterGrid(temperature=[0, 1])


def test_template_variables_are_swept_beside_parameters():
    """A cell tells apart what goes into the request and what into the template; None is left out of the request."""
    (cell,) = ParameterGrid(model="m", seed=None, variables={"persona": ["a poet"]}, extra={"top_k": 40})
    assert cell.params == {"model": "m", "top_k": 40}
    assert cell.variables == {"persona": "a poet"}
    assert dict(cell) == {"model": "m", "seed": None, "persona": "a poet", "top_k": 40}


def test_a_providers_own_parameters_pass_unchecked():
    """`extra` takes what promptlab does not know, and values that others may allow."""
    grid = ParameterGrid(extra={"top_k": [1, 40], "temperature": 5, "seed": 1.5})
    assert cells(grid) == [{"top_k": k, "temperature": 5, "seed": 1.5} for k in (1, 40)]


def test_zip_varies_in_step():
    """The first values stand together, then the second ones; constants stay, in the order written."""
    grid = ParameterGrid.zip(temperature=[0, 1], model="m", top_p=(x for x in (0.5, 1.0)))
    assert [list(cell.items()) for cell in grid] == [
        [("temperature", 0), ("model", "m"), ("top_p", 0.5)],
        [("temperature", 1), ("model", "m"), ("top_p", 1.0)],
    ]


def test_zip_of_constants_is_one_cell():
    """Without an axis there is one step."""
    assert cells(ParameterGrid.zip(model="m", stop=[["a", "b"]])) == [{"model": "m", "stop": ["a", "b"]}]


# The algebra

_rows = st.fixed_dictionaries({"temperature": st.sampled_from([0, 0.0, 1]), "top_p": st.sampled_from([1, 1.0, None])})
_grids = st.lists(_rows, min_size=1, max_size=6).map(ParameterGrid)


def distinct(found):
    """Return the cells without their later equals."""
    return [cell for place, cell in enumerate(found) if cell not in found[:place]]


@given(_grids, _grids)
def test_a_union_keeps_these_cells_then_adds_the_others(left, right):
    """Cells that are equal as numbers stand once, where they stood first."""
    assert cells(left + right) == distinct(cells(left) + cells(right))


@given(_grids, _grids, _grids)
def test_a_union_does_not_depend_on_grouping(one, two, three):
    """Three grids can be added in either way."""
    assert (one + two) + three == one + (two + three)


@given(_grids, st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
def test_a_product_is_every_pair_with_the_right_one_fastest(left, seeds):
    """Its size is the product of the sizes."""
    right = ParameterGrid(seed=seeds)
    assert cells(left * right) == [{**a, **b} for a in cells(left) for b in cells(right)]
    assert len(left * right) == len(left) * len(right)


def test_a_product_keeps_what_is_a_variable():
    """Template variables and a provider's parameters of both sides stay what they are."""
    left, right = ParameterGrid(variables={"tone": "dry"}), ParameterGrid(model="m", extra={"top_k": 1})
    (cell,) = left * right
    assert (cell.variables, cell.params, cell.extra_names) == ({"tone": "dry"}, {"model": "m", "top_k": 1}, {"top_k"})


def test_a_union_tells_variables_from_parameters():
    """The same name and value, once for the template and once for the provider, are two cells."""
    both = ParameterGrid(variables={"tone": "dry"}) + ParameterGrid(extra={"tone": "dry"})
    assert [(cell.variables, cell.params) for cell in both] == [({"tone": "dry"}, {}), ({}, {"tone": "dry"})]


def test_a_product_needs_different_names():
    """A name that both set would be ambiguous."""
    grid = ParameterGrid(model="m", temperature=[0, 1])
    assert raised(grid.__mul__, grid) == ("both grids set model, temperature; a product needs different names",)


def test_where_keeps_cells_in_order():
    """The predicate sees a cell as a mapping."""
    grid = ParameterGrid(temperature=[0, 0.5, 1], top_p=[0.5, 1])
    kept = grid.where(lambda cell: cell["temperature"] > 0 or cell["top_p"] == 1)
    assert [tuple(cell.values()) for cell in kept] == [(0, 1), (0.5, 0.5), (0.5, 1), (1, 0.5), (1, 1)]


def test_where_must_leave_something():
    """An empty grid could not be planned."""
    grid = ParameterGrid(temperature=[0, 1])
    assert raised(grid.where, lambda _: False) == ("the grid has no cells left; loosen the condition",)


@given(st.integers(1, 20), st.integers())
def test_a_sample_keeps_grid_order_and_repeats_itself(n, seed):
    """The same seed takes the same cells, each once, in their order."""
    grid = ParameterGrid(seed=range(20))
    found = [cell["seed"] for cell in grid.sample(n, seed=seed)]
    assert found == sorted({*found})
    assert len(found) == n
    assert grid.sample(n, seed=seed) == grid.sample(n, seed=seed)


def test_a_sample_stays_the_same_across_versions():
    """A seed in a notebook must give the cells it gave before."""
    grid = ParameterGrid(seed=range(20))
    assert [cell["seed"] for cell in grid.sample(4, seed=7)] == [1, 4, 10, 12]


@pytest.mark.parametrize("n", [-1, 0, 3])
def test_a_sample_is_no_larger_than_the_grid(n):
    """There is nothing to take beyond the cells."""
    grid = ParameterGrid(temperature=[0, 1])
    assert raised(grid.sample, n, seed=0) == (f"cannot sample {n} of 2 cells",)


def test_equal_grids_are_equal_and_hash_alike():
    """Numbers that mean the same make the same grid."""
    one, two = ParameterGrid(temperature=[0, 1]), ParameterGrid(temperature=[0.0, 1.0])
    assert {one, two, ParameterGrid(temperature=[1, 0])} == {one, ParameterGrid(temperature=[1, 0])}
    assert one != [{"temperature": 0}, {"temperature": 1}]


def test_names_stand_in_the_order_first_met():
    """What only some cells set counts as varying."""
    grid = ParameterGrid([{"model": "a", "temperature": [0, 1]}, {"model": "a", "seed": 3}], user="u")
    assert grid.names == ("model", "temperature", "user", "seed")
    assert grid.varying == ("temperature", "seed")


def test_absent_and_none_do_not_vary():
    """Both leave the parameter out of the request."""
    assert ParameterGrid([{"temperature": [0, 1]}, {"temperature": 2, "seed": None}]).varying == ("temperature",)


# What is refused


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        pytest.param({"temperature": 2.1}, "temperature=2.1: it must be between 0 and 2", id="temperature"),
        pytest.param({"temperature": -0.1}, "temperature=-0.1: it must be between 0 and 2", id="negative"),
        pytest.param({"top_p": 1.5}, "top_p=1.5: it must be between 0 and 1", id="top_p"),
        pytest.param({"frequency_penalty": 3}, "frequency_penalty=3: it must be between -2 and 2", id="frequency"),
        pytest.param({"presence_penalty": -3}, "presence_penalty=-3: it must be between -2 and 2", id="presence"),
        pytest.param(
            {"top_logprobs": 21, "logprobs": True}, "top_logprobs=21: it must be between 0 and 20", id="top_logprobs"
        ),
        pytest.param({"max_tokens": 0}, "max_tokens=0: it must be at least 1", id="max_tokens"),
        pytest.param({"max_tokens": 1.5}, "max_tokens=1.5: a whole number is needed", id="part of a token"),
        pytest.param({"seed": math.nan}, "seed=nan: a whole number is needed", id="NaN for a whole number"),
        pytest.param({"temperature": math.nan}, "temperature=nan: it must be between 0 and 2", id="NaN"),
        pytest.param({"temperature": math.inf}, "temperature=inf: it must be between 0 and 2", id="infinity"),
        pytest.param({"temperature": "0"}, "temperature='0': a number is needed", id="text"),
        pytest.param({"temperature": True}, "temperature=True: a number is needed", id="boolean"),
        pytest.param(
            {"stop": [["a"] * 5]},
            "stop=['a', 'a', 'a', 'a', 'a']: text, or a list of 1 to 4 texts inside the list of values",
            id="five stops",
        ),
        pytest.param({"stop": 5}, "stop=5: text, or a list of 1 to 4 texts inside the list of values", id="stop"),
        pytest.param({"stop": [[]]}, "stop=[]: text, or a list of 1 to 4 texts", id="no stop"),
        pytest.param(
            {"tools": [{"type": "function"}]},
            "tools={'type': 'function'}: a list is needed, inside the list of values: tools=[[...]]",
            id="tools as an axis",
        ),
        pytest.param({"model": 4}, "model=4: a model's name is text", id="model"),
        pytest.param({"model": ""}, "model='': a model's name is text", id="empty model"),
        pytest.param({"top_logprobs": 5}, "top_logprobs needs logprobs=True beside it", id="top_logprobs alone"),
        pytest.param(
            {"top_logprobs": 5, "logprobs": False}, "top_logprobs needs logprobs=True beside it", id="logprobs off"
        ),
        pytest.param({"temperature": []}, "temperature has no values; give at least one", id="no values"),
        pytest.param({"temperature": {0, 1}}, "temperature is a set, which has no order; write a list", id="set"),
        pytest.param({"user": [frozenset("a")]}, "user is a set, which has no order", id="set as a value"),
        pytest.param(
            {"logit_bias": {"1": math.nan}},
            "logit_bias={'1': nan} cannot be sent as JSON: Out of range float values",
            id="NaN within",
        ),
        pytest.param(
            {"metadata": {"a": 1j}},
            "metadata={'a': 1j} cannot be sent as JSON: Object of type complex is not JSON serializable",
            id="no JSON",
        ),
        pytest.param({"n": 3}, "'n' cannot be set: use repeats= in the plan", id="n"),
        pytest.param({"messages": []}, "messages has no values; give at least one", id="messages"),
        pytest.param({"extra": {"n": 3}}, "'n' cannot be set: use repeats= in the plan: each", id="n as extra"),
        pytest.param(
            {"variables": {"model": "m"}},
            "'model' is a request parameter; give it as a parameter, or rename the template variable",
            id="parameter as a variable",
        ),
        pytest.param({"model": "m", "extra": {"model": "x"}}, "model given twice", id="twice"),
        pytest.param({}, "the grid is empty; name at least one parameter, e.g. ParameterGrid(model=", id="empty"),
    ],
)
def test_what_a_server_would_refuse_is_refused_here(axes, problem):
    """The problem names the parameter, the value and what is needed, before a request is paid for."""
    assert raised(ParameterGrid, **axes)[0].startswith(problem)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_every_reserved_name_says_what_to_do_instead(name):
    """What is not a grid's to set has another place."""
    assert raised(ParameterGrid, {name: "x"}) == (f"{name!r} cannot be set: {RESERVED[name]}",)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("temprature", "did you mean 'temperature'? ", id="misspelt"),
        pytest.param("Top_P", "did you mean 'top_p'? ", id="capitals"),
        pytest.param("top_k", "did you mean 'top_p'? ", id="a provider's own"),
        pytest.param("engine", "", id="nothing near"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one_and_the_way_out(name, hint):
    """A misspelt name would be sent and ignored; a provider's own goes another way."""
    advice = f"a provider's own parameters go into extra={{{name!r}: ...}}"
    assert raised(ParameterGrid, {name: 1}) == (f"unknown parameter {name!r}; {hint}{advice}",)


def test_every_problem_is_listed_once():
    """One error names all that is wrong, in the order written, however many cells repeat it."""
    grid = {"model": ["a", "b"], "temperature": [0, 3], "tmp": 1, "n": 2, "top_p": [], "seed": {1}}
    assert raised(ParameterGrid, grid) == (
        "temperature=3: it must be between 0 and 2",
        "unknown parameter 'tmp'; a provider's own parameters go into extra={'tmp': ...}",
        f"'n' cannot be set: {RESERVED['n']}",
        "top_p has no values; give at least one",
        "seed is a set, which has no order; write a list",
    )


@pytest.mark.parametrize("parts", [["temperature"], "ab", [{"temperature": 0}, 5]])
def test_a_list_of_something_else_is_refused(parts):
    """Positional cells are mappings."""
    (problem,) = raised(ParameterGrid, parts)
    assert problem.endswith("is not a mapping of names to values; write [{'temperature': [0, 0.7]}]")


@pytest.mark.parametrize(
    ("axes", "sizes"),
    [
        pytest.param({"temperature": [0, 1], "top_p": [1]}, "temperature has 2, top_p has 1", id="shorter"),
        pytest.param({"temperature": [], "top_p": [1]}, "temperature has 0, top_p has 1", id="empty"),
    ],
)
def test_zip_needs_axes_of_equal_length(axes, sizes):
    """A value too many would be dropped in silence."""
    assert raised(ParameterGrid.zip, **axes) == (f"zip needs axes of equal length, but {sizes}",)


@given(st.floats())
def test_a_temperature_is_accepted_only_in_its_range(value):
    """Any float is either in the range or refused."""
    if 0 <= value <= 2:
        assert cells(ParameterGrid(temperature=value)) == [{"temperature": value}]
    else:
        assert raised(ParameterGrid, temperature=value) == (f"temperature={value!r}: it must be between 0 and 2",)


# What a reader sees


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        pytest.param(ParameterGrid(temperature=[0, 1], max_tokens=5), (), id="nothing"),
        pytest.param(ParameterGrid(temperature=[0, 1], max_completion_tokens=5), (), id="the newer name"),
        pytest.param(ParameterGrid(temperature=[0, 1]), (NO_BOUND,), id="no bound"),
        pytest.param(
            ParameterGrid([{"max_tokens": 5}, {"temperature": 0}]), (NO_BOUND,), id="no bound in one of the cells"
        ),
        pytest.param(
            ParameterGrid(temperature=[0.0, 1], top_p=[0.5, 1], max_tokens=5),
            ("top_p is swept at temperature 0, where it changes nothing; .where() can leave those cells out",),
            id="top_p at temperature 0",
        ),
        pytest.param(ParameterGrid(temperature=0, top_p=[1, 1.0], max_tokens=5), (), id="one top_p"),
    ],
)
def test_what_is_seldom_meant_is_warned_of(grid, expected):
    """Such a grid is valid, so it is only a warning."""
    assert grid.warnings == expected


def test_a_grid_shows_its_axes():
    """The repr names every axis with its values, constants without brackets, long ones cut."""
    grid = ParameterGrid(model="m", temperature=[n / 10 for n in range(8)], stop="x" * 50)
    assert repr(grid) == (
        "<ParameterGrid 8 cells: model='m', temperature=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, …], "
        "stop='xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…>"
    )
    assert repr(grid[0]).startswith("Cell({'model': 'm', 'temperature': 0.0, ")


def test_the_card_shows_the_first_cells():
    """A large grid is cut, and says so; values are text."""
    card = ParameterGrid(seed=range(21), user="<b>")._repr_html_()
    assert "ParameterGrid · 21 cells" in card
    assert "the first 20" in card
    assert card.count("<tr>") == 1 + 20
    assert card.count("&lt;b&gt;") == 20
    assert "the first" not in ParameterGrid(seed=range(20))._repr_html_()
