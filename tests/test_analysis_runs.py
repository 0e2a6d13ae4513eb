"""The analysis of runs: one, and several together, from the file."""

import pytest

from promptlab import AnalysisError, Lab, NotFoundError, ParameterGrid, PromptTemplate
from promptlab.results import COLUMNS
from promptlab.testing import ScriptedBackend, sample_lab

SHORT = PromptTemplate("ask", user="{{ q }}")
LONG = PromptTemplate("ask", user="Please: {{ q }}")
OTHER = PromptTemplate("other", user="{{ q }}!")
NAMES = list(COLUMNS)
LEFT, RIGHT = NAMES[: NAMES.index("...")], NAMES[NAMES.index("...") + 1 :]


@pytest.fixture
def lab(tmp_path):
    """Return a lab whose answers are as long as the temperature says."""
    backend = ScriptedBackend(lambda body: "word " * (1 + round(10 * body.get("temperature", 0))))
    with Lab(tmp_path / "lab.db", backend=backend) as lab:
        yield lab


def cases(*words, **more):
    """Return cases with a question each."""
    return [{"q": word, **more} for word in words]


def run_of(lab, name, templates=SHORT, words="abc", **params):
    """Run templates over questions under a name."""
    return lab.run(templates, ParameterGrid(model="m", **params), cases=cases(*words), name=name, progress=False)


def test_the_axes_are_what_varies_by_plan(lab):
    """Template, version and parameters are axes where they vary; cases and repeats are none."""
    assert run_of(lab, "one").axes == []
    assert run_of(lab, "two", [SHORT, OTHER], temperature=[0, 1], max_tokens=5).axes == ["template", "temperature"]
    assert run_of(lab, "three", [SHORT, LONG]).axes == ["version"]
    assert run_of(lab, "four", [SHORT, LONG, OTHER], top_p=[0.5, 1]).axes == ["template", "version", "top_p"]


def test_what_is_fixed_is_what_has_no_column(lab):
    """The other parameters keep their one value."""
    run = run_of(lab, "two", temperature=[0, 1], max_tokens=5, stop=[["x", "y"]])
    assert run.fixed == {"model": "m", "max_tokens": 5, "stop": '["x","y"]'}


def test_a_run_answers_by_itself(tmp_path):
    """Summary, contrast, effects' error, best and variety are the run's own methods; failures are counted."""
    with sample_lab(tmp_path / "sample.db") as lab:
        run = lab.load("capitals")
        summary = run.summary("template")
        assert summary[["template", "n", "cases", "failed", "missing"]].to_numpy().tolist() == [
            ["terse", 6, 3, 2, 0],
            ["chatty", 6, 3, 2, 0],
        ]
        contrast = run.contrast("template", "completion_tokens")
        assert contrast[["difference", "cases", "pairs", "dropped_failed"]].to_numpy().tolist() == [[6, 3, 6, 2]]
        best = run.best("completion_tokens", by="template")
        assert best[["template", "rank"]].to_numpy().tolist() == [["terse", 1], ["chatty", 2]]
        assert run.variety()["left_out"].tolist() == [4] * 16
        assert "12 trials" not in summary.verdict
        assert summary.verdict == "4 trials failed of 16; means are over the others"


def test_several_runs_are_one_frame(lab):
    """Trials of all runs, with the run's name in front, and columns in the order of one run's frame."""
    both = lab.analysis([run_of(lab, "cold", temperature=0), run_of(lab, "warm", temperature=1)])
    frame = both.frame()
    assert list(frame.columns) == ["run", *LEFT, "q", "temperature", *RIGHT]
    assert frame[["run", "q", "temperature", "case"]].to_numpy().tolist() == [
        ["cold", "a", 0, 0],
        ["cold", "b", 0, 1],
        ["cold", "c", 0, 2],
        ["warm", "a", 1, 0],
        ["warm", "b", 1, 1],
        ["warm", "c", 1, 2],
    ]
    assert (both.axes, both.name, len(both)) == (["run", "temperature"], "cold, warm", 2)


def test_runs_are_contrasted_over_the_cases_they_share(lab):
    """A case is known by its values: in another order, or beside others, it is the same."""
    old = run_of(lab, "old", words="abcd", temperature=0)
    new = run_of(lab, "new", words="xdcb", temperature=1)
    table = lab.analysis([old, new]).contrast("run", "completion_tokens")
    row = table.iloc[0]
    assert row[["level", "against", "cases", "dropped"]].tolist() == ["new", "old", 3, 2]
    frames = {run.name: run.frame().set_index("q")["completion_tokens"] for run in (old, new)}
    assert row["difference"] == (frames["new"] - frames["old"]).mean()
    assert table.verdict.splitlines()[-1] == "each level of run has its own temperature, so that this differs as well"


def test_an_axis_is_contrasted_across_runs(lab):
    """What was fixed in each run can be compared between them: the runs are not held equal."""
    both = lab.analysis([run_of(lab, "cold", temperature=0), run_of(lab, "warm", temperature=1)])
    table = both.contrast("temperature", "completion_tokens")
    assert table[["level", "against", "cases", "pairs"]].to_numpy().tolist() == [[1, 0, 3, 3]]


def test_versions_of_a_prompt_are_contrasted_across_runs(lab):
    """Two runs with a version each have the axis `version`."""
    both = lab.analysis([run_of(lab, "before", SHORT), run_of(lab, "after", LONG)])
    assert both.axes == ["run", "version"]
    assert both.contrast("version", "prompt_tokens")[["level", "against", "cases"]].to_numpy().tolist() == [[2, 1, 3]]


def test_runs_of_one_name_keep_apart(lab):
    """The id tells runs of one name apart."""
    one, other = run_of(lab, "same", temperature=0), run_of(lab, "same", temperature=1)
    assert lab.analysis([one, other]).labels == [f"same #{one.id}", f"same #{other.id}"]


def test_cases_with_another_column_are_matched_by_what_is_shared(lab):
    """A column that only one run has does not keep equal questions apart."""
    old = run_of(lab, "old", words="ab")
    new = lab.run(SHORT, {"model": "m"}, cases=cases("b", "a", run="x"), name="new", progress=False)
    frame = lab.analysis([old, new]).frame()
    assert frame[["q", "case"]].to_numpy().tolist() == [["a", 0], ["b", 1], ["b", 1], ["a", 0]]
    assert frame["case.run"].tolist()[2:] == ["x", "x"]


def test_cases_that_the_shared_columns_do_not_tell_apart_need_all(lab):
    """Two cases of one run never become one."""
    twice = [{"q": "a", "hint": "x"}, {"q": "a", "hint": "y"}]
    old = run_of(lab, "old", words="a")
    new = lab.run(SHORT, {"model": "m"}, cases=twice, name="new", progress=False)
    assert lab.analysis([old, new]).frame()["case"].tolist() == [0, 1, 2]


def test_runs_are_named_by_name_id_or_themselves(lab):
    """`lab.analysis` takes what `lab.compare` takes."""
    one, other = run_of(lab, "one"), run_of(lab, "other")
    assert repr(lab.analysis([one, "other"])) == "<Runs one, other>"
    assert lab.analysis([one.id, other.id]).frame()["run"].tolist() == ["one"] * 3 + ["other"] * 3
    assert lab.analysis("one").axes == ["run"]
    with pytest.raises(NotFoundError):
        lab.analysis(["nothing"])


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        pytest.param([], "no runs are given", id="none"),
        pytest.param(["one", "one"], "run 1 is given twice", id="twice"),
    ],
)
def test_no_run_twice(lab, runs, said):
    """The same trials would count twice."""
    run_of(lab, "one")
    with pytest.raises(AnalysisError, match=said):
        lab.analysis(runs)
