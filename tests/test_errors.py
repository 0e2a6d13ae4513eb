"""The tree of errors: what a message shows, and what it keeps as facts."""

import copy
import inspect
import pickle

import pytest

from promptlab import errors
from promptlab.errors import GridError, NotFoundError, OfflineError, PromptlabError

_CLASSES = [kind for kind in vars(errors).values() if inspect.isclass(kind) and kind.__module__ == errors.__name__]
ERRORS = [kind for kind in _CLASSES if not issubclass(kind, Warning)]
LISTING = [
    errors.TemplateError,
    errors.GridError,
    errors.CaseError,
    errors.PlanError,
    errors.SearchError,
    errors.ComparisonError,
    errors.ScoreError,
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_promptlab_error(kind):
    """One `except PromptlabError` catches all that promptlab raises."""
    assert issubclass(kind, PromptlabError)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    """The drawing at the head of the file names every error."""
    drawn = {word for line in errors.__doc__.splitlines() for word in line.split() if word.endswith("Error")}
    assert drawn == {kind.__name__ for kind in ERRORS if not kind.__name__.startswith("_")}


@pytest.mark.parametrize("kind", LISTING)
def test_one_problem_is_the_message(kind):
    """A single problem needs no list."""
    error = kind("top_p=2: it must be between 0 and 1")
    assert str(error) == "top_p=2: it must be between 0 and 1"
    assert error.problems == ("top_p=2: it must be between 0 and 1",)


def test_several_problems_are_listed():
    """Every problem stands on a line of its own, in the order found."""
    error = GridError(["one", "two"])
    assert str(error) == "2 problems:\n- one\n- two"
    assert error.problems == ("one", "two")


def test_a_long_list_is_cut_in_the_message_alone():
    """The message shows the first twenty and says how many more there are; the facts keep all."""
    error = GridError(map(str, range(1500)))
    assert str(error).splitlines()[0] == "1,500 problems:"
    assert str(error).splitlines()[20:] == ["- 19", "... and 1,480 more"]
    assert error.problems == tuple(map(str, range(1500)))


@pytest.mark.parametrize(("number", "last"), [(20, "- 19"), (21, "... and 1 more")])
def test_twenty_problems_fit_into_a_message(number, last):
    """Only what is left out is counted."""
    assert str(GridError(map(str, range(number)))).splitlines()[-1] == last


def test_an_offline_error_keeps_the_nearest_request():
    """Code can go on from the facts."""
    error = OfflineError("not held", nearest=7, differs=["temperature"])
    assert (str(error), error.nearest, error.differs) == ("not held", 7, ("temperature",))


def test_what_is_not_found_is_a_lookup_error():
    """A caller who knows Python alone can catch it."""
    assert issubclass(NotFoundError, LookupError)


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])  # noqa: S301 - our own bytes
@pytest.mark.parametrize(
    "error", [GridError(["one", "two"]), OfflineError("not held", nearest=7, differs=["seed"])], ids=["grid", "offline"]
)
def test_facts_survive_a_copy(error, copied):
    """An error that comes from another process has its message and its facts."""
    found = copied(error)
    assert (str(found), vars(found)) == (str(error), vars(error))
