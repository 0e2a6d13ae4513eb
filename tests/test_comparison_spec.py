"""The layout of a comparison as a value: what has no meaning is refused, JSON and code give it back."""

import pytest

from promptlab.comparison import Spec
from promptlab.errors import ComparisonError


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param(
            {"rows": ["a", "b", "c"]}, "rows=['a', 'b', 'c']: one or two different axes are possible", id="three"
        ),
        pytest.param({"rows": 3}, "rows=3: the name of an axis is needed, or a list of them", id="number"),
        pytest.param({"repeats": "fould"}, "repeats='fould'; did you mean 'fold'?", id="repeats"),
        pytest.param({"sort": "chnged"}, "sort['by']='chnged'; did you mean 'changed'?", id="sort"),
        pytest.param({"filters": {"shows": "all"}}, "filters: no field 'shows'; did you mean 'show'?", id="filter"),
        pytest.param(
            {"filters": {"ranges": {"latency_ms": 3}}},
            "filters['ranges']['latency_ms']=3: [low, high] is needed, None for no bound",
            id="range",
        ),
        pytest.param({"filters": {"status": ["fine"]}}, None, id="status"),
        pytest.param({"search": None}, "search=None: a text is needed", id="search"),
        pytest.param({"density": "XL"}, None, id="density"),
        pytest.param({"colums": "x"}, "a comparison: no field 'colums'; did you mean 'columns'?", id="field"),
        pytest.param({"baseline": {}}, None, id="baseline"),
        pytest.param({"hidden": 3}, "hidden=3: a list of columns is needed, each by its values", id="hidden"),
        pytest.param({"sort": {"by": "label", "descending": "no"}}, None, id="descending"),
    ],
)
def test_the_form_of_a_spec_is_checked(fields, problem):
    """What has no meaning in any table is refused when the spec is made."""
    with pytest.raises(ComparisonError) as caught:
        Spec().changed(fields)
    assert problem in {None, str(caught.value)}


def test_a_spec_is_json_and_code():
    """A layout can be saved, and written as the arguments that give it."""
    fields = {
        "rows": "question",
        "columns": ["template", "temperature"],
        "baseline": {"template": "terse"},
        "filters": {"show": "different", "ranges": {"latency_ms": [2000, None]}},
        "sort": {"by": "changed", "column": ("terse", 0.7)},
        "hidden": [("terse", 0.7)],
    }
    spec = Spec().changed(fields)
    assert Spec.of(spec.json()) == spec
    assert spec.code() == (
        "rows='question', columns=['template', 'temperature'], baseline={'template': 'terse'}, "
        "filters={'show': 'different', 'ranges': {'latency_ms': [2000.0, None]}}, "
        "sort={'by': 'changed', 'column': ['terse', 0.7]}, hidden=[['terse', 0.7]]"
    ).replace("2000.0", "2000")
    assert Spec().changed(eval(f"dict({spec.code()})")) == spec  # noqa: S307 - code of our own
