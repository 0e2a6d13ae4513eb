"""What a past run was made of comes back as it was, so that it can be planned again."""

import pytest

from promptlab import Lab, NotFoundError, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend

PLAIN = PromptTemplate("plain", system="Be {{ tone }}.", user="{{ q }}")
BASE = PromptTemplate("base", text="Q: {{ q }}\nA:")
CASES = [{"q": "one", "answer": 1, "tags": ["a"]}, {"q": "two", "answer": 1.0, "tags": None}]


@pytest.fixture
def lab(tmp_path):
    """A lab that answers anything."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        yield lab


def test_the_parts_of_a_run_make_the_same_plan(lab):
    """Planned again from its parts, a run is found and not run a second time."""
    grid = ParameterGrid(
        {"model": ["m", "n"], "stop": [["A", "B"]], "temperature": [0, None], "max_tokens": 9},
        variables={"tone": ["kind", "curt"]},
        extra={"top_k": [1, 40]},
    )
    first = lab.run([PLAIN], grid, cases=CASES, repeats=2, generation=1, name="all", progress=False)
    past = lab.load("all")
    assert (past.templates, past.grid, list(past.cases)) == ([PLAIN], grid, CASES)
    again = lab.run(
        past.templates,
        past.grid,
        cases=past.cases,
        repeats=past.repeats,
        generation=past.generation,
        name="all",
        progress=False,
    )
    assert (again.id, past.cases.columns) == (first.id, ("q", "answer", "tags"))


def test_a_text_template_comes_back(lab):
    """A prompt for base models is one again, and cases without columns are cases."""
    lab.run(BASE, {"model": "m"}, cases=CASES, progress=False)
    lab.ask(PromptTemplate("hi", user="Hi"), model="m")
    assert lab.load("base").templates == [BASE]
    assert list(lab.load("ask hi").cases) == [{}]


def test_messages_that_are_gone_are_told(lab):
    """A file that lost a template says which."""
    lab.ask(PromptTemplate("hi", user="Hi"), model="m")
    lab.store.write(lambda connection: connection.execute("update templates set key = 'other'")).result()
    with pytest.raises(NotFoundError, match="does not hold the messages of template 'hi' any more"):
        _ = lab.last_run.templates
