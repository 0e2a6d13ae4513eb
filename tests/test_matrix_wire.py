"""The comparison matrix and its browser: long values by their place, what stays chosen, what is no longer there."""

import json

import pytest

from comparisons import lab_of, run_in
from promptlab import Lab, PromptTemplate
from promptlab.errors import ComparisonError
from promptlab.testing import ScriptedBackend

DOCUMENT = "word " * 4_000


@pytest.fixture
def documents(tmp_path):
    """A lab with a run over 40 long documents; some columns of its cases are long as well."""
    with Lab(tmp_path / "long.db", backend=ScriptedBackend(DOCUMENT)) as lab:
        cases = [
            {"doc": f"{DOCUMENT}{number}", "ref": DOCUMENT, **{f"other {k}": f"{number} {DOCUMENT}" for k in range(20)}}
            for number in range(40)
        ]
        lab.run(PromptTemplate("sum", user="{{ doc }}"), {"model": "m"}, cases=cases, progress=False)
        yield lab


def ask(panel, op, **args):
    """Ask as a browser does, and return the answer as it gets it."""
    message = panel.handle({"op": op, "re": "1", "args": args})
    assert "error" not in message, message
    return json.loads(json.dumps(message["answer"], allow_nan=False))


def size(content):
    """Return the characters that it travels as."""
    return len(json.dumps(content, default=str))


def test_long_values_travel_as_labels(documents):
    """With documents on either side, in filters and as the baseline, state and pages stay small."""
    for fields in (
        {"rows": "doc", "columns": "ref"},
        {"rows": "template", "columns": "doc", "filters": {"values": {"doc": [f"{DOCUMENT}{n}" for n in range(30)]}}},
        {"rows": "doc", "columns": "ref", "baseline": {"ref": DOCUMENT}, "hidden": [[DOCUMENT]]},
        {"rows": "doc", "columns": "template", "baseline": {"reference": "ref"}},
    ):
        panel = documents.load(1).compare(**fields)
        assert (size(panel.first()) < 100_000, size(panel.hello()) < 50_000) == (True, True)
        assert size(panel.page(0, 40)["rows"]) < 40 * 40 * 2_000
        assert size(panel.facets()) < 50_000
    assert size(panel.page(0, 1)["rows"][0]) < 10_000


def test_a_large_page_has_shorter_texts(documents):
    """However many rows and characters are asked for, a page has a bound."""
    panel = documents.load(1).compare(rows="doc", columns="template")
    assert len(panel.page(0, 200, chars=20_000)["rows"][0]["cells"][0]["text"]) == 10_000


def test_a_value_is_chosen_by_its_place(documents):
    """What a head or a facet gives chooses it: for the baseline, a filter, a sort, a hidden column."""
    panel = documents.load(1).compare(rows="template", columns="doc")
    third = ask(panel, "hello")["columns"][2]["values"]
    assert third == [{"at": 2, "label": f"{DOCUMENT[:79]}…"}]
    state = ask(panel, "spec", change={"baseline": {"doc": third[0]}, "sort": {"by": "length", "column": third}})
    assert (state["spec"]["baseline"], state["spec"]["sort"]["column"]) == ({"doc": third[0]}, third)
    assert panel.layout.baseline == {"doc": f"{DOCUMENT}2"}
    assert [head["is_baseline"] for head in state["columns"]][:4] == [False, False, True, False]
    state = ask(panel, "spec", change={"hidden": [[{"at": 0}]], "sort": "plan"})
    assert (len(state["columns"]), state["spec"]["hidden"]) == (39, [[{"at": 0, "label": f"{DOCUMENT[:79]}…"}]])
    state = ask(panel, "spec", change={"baseline": None, "filters": {"values": {"doc": third}}})
    assert panel.frame()["doc"].tolist() == [f"{DOCUMENT}2"]
    answer = panel.handle({"op": "spec", "args": {"change": {"baseline": {"doc": {"at": 40}}}}})
    assert answer["error"] == "'doc' has no value 40: it has 40, counted from 0"


def test_a_filter_of_many_values_stays_whole(tmp_path):
    """The values that a browser is not told go by together, and come back with it."""
    with lab_of(tmp_path / "x.db", lambda _: "fine") as lab:
        run_in(lab, cases=[{"country": str(number)} for number in range(80)], repeats=1, temperature=[0])
        panel = lab.load(1).compare(filters={"values": {"country": [str(number) for number in range(70)]}})
        filters = ask(panel, "hello")["spec"]["filters"]
        told = filters["values"]["country"]
        assert (len(told), told[0], told[50]) == (51, {"at": 0, "label": "0"}, {"more": 20, "label": "20 more"})
        assert ask(panel, "spec", change={"filters": {**filters, "show": "same"}})["rows"] == 70
        assert ask(panel, "spec", change={"filters": {**filters, "values": {"country": told[1:]}}})["rows"] == 69


def test_the_selection_stays_when_the_rows_change(capitals):
    """The trials that were picked are the same ones in any layout."""
    panel = capitals.load(1).compare(rows="country", columns="temperature")
    panel.select([[1, None]])
    picked = panel.selection["trial_id"].tolist()
    assert (set(panel.selection["country"]), len(picked)) == ({"Japan"}, 12)
    panel.spec({"rows": ["template"], "filters": {"values": {"country": ["Peru"]}}})
    assert panel.selection["trial_id"].tolist() == picked


def test_the_frame_says_on_which_scale(capitals):
    """A rating of 1 is the best thumb and the fewest stars."""
    panel = capitals.load(1).compare(rater="ann")
    panel.rate(1, 1, "thumbs")
    panel.rate(2, 1, "stars")
    said = panel.frame().set_index("output_id").loc[[1, 2], ["rating", "scale"]]
    assert said.to_numpy().tolist() == [[1.0, "thumbs"], [1.0, "stars"]]


@pytest.mark.parametrize("op", ["page", "refresh", "detail", "variants", "spec", "facets"])
def test_a_run_that_was_forgotten_is_told(capitals, op):
    """An open panel says what happened, whatever is asked of it."""
    panel = capitals.load(1).compare()
    capitals.forget(1, dry_run=False)
    at = {"row": 0, "column": 0}
    args = {"page": {"start": 0, "n": 5}, "detail": at, "variants": at, "spec": {"change": {"sort": "label"}}}
    answer = panel.handle({"op": op, "args": args.get(op, {})})
    assert answer["error"] == (
        "run 1 'capitals' was forgotten: the file no longer has what is compared here; lab.runs() lists what it has"
    )
    with pytest.raises(ComparisonError, match="was forgotten"):
        panel.frame()


@pytest.mark.parametrize("spec", ["[1]", "3", "null", '{"panel": "matrix", "spec": [1]}'])
def test_a_row_of_views_that_is_no_layout_is_passed_over(capitals, spec):
    """Whatever JSON another program left there, the matrix opens."""
    add = "insert into views (name, spec, created_at) values ('odd', ?, '')"
    capitals.store.write(lambda connection: connection.execute(add, (spec,))).result()
    assert capitals.load(1).compare().hello()["views"] == []
    with pytest.raises(ComparisonError, match="the view 'odd' is of another panel"):
        capitals.load(1).compare(view="odd")
