"""The comparison matrix and its SELECT with awkward values: equal ones in other forms, odd names, NUL, long texts."""

import random

import pytest

from comparisons import CASES, change, countries, lab_of, run_beside, run_in, trials_left, trials_of_sql
from promptlab import PromptTemplate, judgements
from promptlab.comparison import Spec, Table, cells, measures, order
from promptlab.comparison.layout import shown
from promptlab.errors import ComparisonError
from promptlab.testing import error_reply, text_reply

ASK = PromptTemplate("ask", user="{{ q }}")
PLEASE = PromptTemplate("please", user="Please {{ q }}")


def asked(lab, cases, *, templates=(ASK,), repeats=1, **params):
    """Run a study with these cases and return its table."""
    grid = {"model": "m", "temperature": [0.0, 1.0], **params}
    run = lab.run(list(templates), grid, cases=cases, repeats=repeats, concurrency=1, progress=False)
    return Table(lab.store, [run.id], rater="o'brien")


def echo(body):
    """Answer with the question, refuse one."""
    question = body["messages"][-1]["content"]
    return error_reply(400) if "refused" in question else question


@pytest.fixture
def lab(tmp_path):
    """A lab that answers with the question."""
    with lab_of(tmp_path / "x.db", echo) as lab:
        yield lab


# Equal values


def test_a_number_in_another_form_is_the_same_value(lab):
    """0 and 0.0 are one temperature: as a baseline, for the column of a sort, and for a hidden column."""
    table = asked(lab, [{"q": "a"}, {"q": "b"}])
    change(table, columns="temperature", baseline={"temperature": 0})
    assert [(head["baseline"], head["is_baseline"]) for head in measures.heads(table)] == [(None, True), (0, False)]
    assert change(table, baseline=[0], sort={"by": "length", "column": 1}).layout.sort_column == 1
    assert change(table, baseline=None, sort="plan", hidden=[[1]]).layout.columns == [(0.0,)]


def test_a_list_is_found_as_a_list_or_as_its_text(lab):
    """A parameter whose values are lists may be the baseline, filtered by and sorted by; the SELECT agrees."""
    table = asked(lab, [{"q": "a"}, {"q": "b"}], stop=[["a"], ["b", "c"]])
    for value in (["a"], '["a"]'):
        change(table, columns="stop", baseline={"stop": value}, sort={"by": "length", "column": [value]})
        assert ([head["baseline"] for head in measures.heads(table)], table.layout.sort_column) == ([None, 0], 0)
        change(table, baseline=None, sort="plan", filters={"values": {"stop": [value]}})
        assert len(trials_of_sql(lab, table)) == len(trials_left(table)) == 4
        change(table, filters={})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param(
            {"sort": {"by": "length", "column": [7]}},
            "sort['column']=(7,): there is no such column; there are (0.0,), (1.0,)",
            id="sort",
        ),
        pytest.param(
            {"baseline": {"temperature": 0}, "filters": {"values": {"temperature": [1]}}},
            "baseline={'temperature': 0.0}: no column that is left has this; there are (1.0,)",
            id="baseline",
        ),
    ],
)
def test_a_column_that_is_not_there_is_told_with_those_that_are(lab, fields, problem):
    """What is asked for and not found is an error, never lost."""
    table = change(asked(lab, [{"q": "a"}]), columns="temperature")
    with pytest.raises(ComparisonError) as caught:
        change(table, **fields)
    assert str(caught.value) == problem


def test_a_sort_lets_go_of_a_column_that_another_layout_has_not(lab):
    """Where the columns change, and the sort stays as it was, rows are sorted over the whole row."""
    table = change(
        asked(lab, [{"q": "a"}], templates=(ASK, PLEASE)),
        columns="temperature",
        sort={"by": "length", "column": [0]},
    )
    assert change(table, columns="template").spec.sort.column is None


# References


def test_each_answer_is_compared_with_the_reference_of_its_own_case(lab):
    """A row may hold several cases; what it shows before all of them is a reference that they share."""
    table = asked(lab, [{"q": "A", "of": "E", "ref": "A"}, {"q": "B", "of": "E", "ref": "B"}])
    change(table, rows="of", columns="temperature", baseline={"reference": "ref"}, filters={"show": "same"})
    assert (countries(table), trials_of_sql(lab, table)) == (["E"], trials_left(table))
    row = cells.page(table, 0, 1)[0]
    assert (row["reference"], [each["reference"] for each in row["cells"]]) == (None, ["A", "A"])
    assert order.changes(table).tolist() == [0.0, 0.0]
    assert countries(change(table, filters={"show": "different"})) == []


@pytest.mark.parametrize("value", [42, 0.1 + 0.2, True, [1, {"a": None}], 'say "hi"'])
def test_a_reference_that_is_no_text_is_compared_as_json(tmp_path, value):
    """The table and the SELECT find the same answers equal to it."""
    with lab_of(tmp_path / "x.db", lambda _: shown(value)) as lab:
        table = change(asked(lab, [{"q": "a", "ref": value}]), baseline={"reference": "ref"}, filters={"show": "same"})
        assert len(trials_left(table)) == len(trials_of_sql(lab, table)) == 2


# Texts


def test_texts_that_differ_far_behind_are_not_equal(tmp_path):
    """What is shown of two texts may be equal; the whole texts tell, also in the order by change."""
    long = "word " * 50_000
    answer = lambda body: long + ("x" if body["temperature"] and "far" in str(body["messages"]) else "")  # noqa: E731
    with lab_of(tmp_path / "x.db", answer) as lab:
        table = change(asked(lab, [{"q": "same"}, {"q": "far"}]), columns="temperature", baseline={"temperature": 0})
        rows = cells.page(table, 0, 2)
        assert len({cell["text"] for row in rows for cell in row["cells"]}) == 1
        assert [[cell["equal"] for cell in row["cells"]] for row in rows] == [[None, True], [None, False]]
        assert countries(change(table, sort="changed")) == ["far", "same"]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", 0, id="empty"),
        pytest.param("a\0b", 3, id="NUL"),
        pytest.param('\\u0000 "\\\\" \0\n\x1f é😀' + "x" * 50, 68, id="escapes"),
    ],
)
def test_a_text_is_as_long_for_sql_as_for_python(tmp_path, text, length):
    """An answer without a text has no length; NUL, backslashes and emoji are one character each."""
    with lab_of(tmp_path / "x.db", lambda body: text_reply(text, body, finish_reason="stop")) as lab:
        table = asked(lab, [{"q": "a"}])
        assert cells.draw(table, [cells.Place(0)], chars=5)[0]["chars"] == length
        for low, high in ((0, None), (length or 0, length or 0), ((length or 0) + 1, None)):
            change(table, filters={"ranges": {"length": [low, high]}})
            is_in = length is not None and low <= length
            assert (len(trials_left(table)), len(trials_of_sql(lab, table))) == ((2, 2) if is_in else (0, 0))


# Ratings


def test_thumbs_and_stars_are_told_apart(lab):
    """One thumb up is the best, one star the worst: facet, filter and SELECT say which."""
    table = asked(lab, [{"q": "a"}, {"q": "b"}, {"q": "c"}])
    for output, scale in ((1, "thumbs"), (2, "stars")):
        judgements.rate(lab.store, output, 1, rater="o'brien", scale=scale)
    table.refresh()
    facet = next(each for each in measures.facets(table)["categories"] if each["name"] == "rating")
    assert [(each["value"], each["count"]) for each in facet["values"]] == [
        (["thumbs", 1], 1),
        (["stars", 1], 1),
        (None, 4),
    ]
    found = {}
    for scale in ("thumbs", "stars"):
        change(table, rows=["case", "temperature"], columns="template", filters={"ratings": [(scale, 1)]})
        found[scale] = trials_left(table)
        assert trials_of_sql(lab, table) == found[scale]
    assert [len(each) for each in found.values()] == [1, 1]
    assert found["thumbs"] != found["stars"]


@pytest.mark.parametrize("ratings", [[1], [("thumbs", 2)], [("starts", 1)], "x"])
def test_a_rating_without_its_scale_is_refused(ratings):
    """The error shows how it is written."""
    with pytest.raises(ComparisonError, match=r"write \[\('thumbs', 1\), \('stars', 5\), None\]"):
        Spec(filters={"ratings": ratings})


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("state", "STATE", "run_id", "case_values", "case_id", "case_index", "output_id", "trial_id", "position"),
        *("key", "value", "type", "fullkey", "axis_0", "order", "Q", "params", "cells"),
        *("a.b", "0", "[0]", "[ab]", "$x", "$.q", "a b", 'a"b', "a'b; drop", "a\nb", "\0k", "é", "\\"),
    ],
)
def test_a_column_of_the_cases_may_have_any_name(lab, name):
    """Whatever it is called, it stands on rows and is filtered by, and the SELECT gives the same trials."""
    rows = [{"q": "refused a", name: "T"}, {"q": "b", name: True}, {"q": "c", name: "U"}]
    table = asked(lab, rows)
    column = next(own for own, key in table.axes.case_columns.items() if key == name)
    for fields in (
        {"filters": {"show": "failed"}},
        {"filters": {"status": ["ok"], "values": {column: ["T", True]}}},
        {"rows": column, "filters": {"show": "failed"}},
        {"rows": column, "filters": {"show": "same"}},
        {"rows": "case", "filters": {"values": {column: [1]}}},
    ):
        change(table, **{"rows": "case", "columns": "temperature", **fields})
        assert trials_of_sql(lab, table) == trials_left(table)


VALUES = [
    *(None, True, False, 0, 1, 1.0, 1.5, -2, 10**20, "x", "it's", 'a"b', "new\nline", "NUL\0x", "é😀", "", [1, 2]),
    *({"a": "b"}, "1", "null", "%", 0.1, 0.1 + 0.2, 0.3, 1e300, "\u202e", "\\", "\\u0000"),
]
TEXTS = ["yes", "no", 'say "hi"', "it's", "a\0b", "a\0c", "", None, "refund window", "x" * 50]


def any_answer(body):
    """Answer anything, always the same to the same question."""
    dice = random.Random(body["messages"][-1]["content"] + str(body["temperature"]))
    if dice.random() < 0.1:
        return error_reply(400)
    return text_reply(dice.choice(TEXTS), body, finish_reason=dice.choice(["stop", "length"]))


def any_layout(dice):
    """Return fields of a spec."""
    rows = dice.choice(["case", "q", "v", "w", ["v", "w"], "temperature"])
    filters = {"show": dice.choice(["all", "different", "same", "failed", "rated", "unrated", "pinned"])}
    if dice.random() < 0.5:
        filters["values"] = {dice.choice(["v", "w"]): dice.sample(VALUES, 6)}
    if dice.random() < 0.3:
        filters["ranges"] = {"length": [dice.choice([None, 1, 3]), dice.choice([None, 5])]}
    if dice.random() < 0.2:
        filters["ratings"] = [dice.choice([("thumbs", 1), None, ("stars", 1)])]
    baseline = dice.choice([None, None, {"template": "ask"}, {"reference": "v"}])
    columns = dice.choice(["template", ["template", "repeat"]])
    return {"rows": rows, "columns": columns, "filters": filters, "baseline": baseline}


def test_any_layout_of_any_values_is_the_same_in_sql(tmp_path):
    """Over 150 layouts drawn at random the SELECT has exactly the trials that the table leaves."""
    dice = random.Random(5)
    with lab_of(tmp_path / "x.db", any_answer) as lab:
        rows = [{"q": f"q{place}", "v": value, "w": dice.choice(VALUES)} for place, value in enumerate(VALUES)]
        table = asked(lab, rows, templates=(ASK, PLEASE), repeats=2)
        for output in range(1, 60, 7):
            judgements.rate(lab.store, output, 1, rater="o'brien", scale=dice.choice(["thumbs", "stars"]))
            judgements.pin(lab.store, output + 1)
        table.refresh()
        for _ in range(150):
            fields = any_layout(dice)
            change(table, **fields)
            assert (fields, trials_of_sql(lab, table)) == (fields, trials_left(table))


def test_a_case_of_several_runs_is_that_case_and_not_its_place(tmp_path):
    """Place 1 of one run is another case in the other; the SELECT takes the same one."""
    with lab_of(tmp_path / "x.db", lambda _: "x") as lab:
        run_in(lab, cases=CASES[:2], repeats=1)
        run_beside(lab, lambda _: "y", name="other", cases=CASES[1:3], repeats=1)
        table = Table(lab.store, [1, 2], Spec(filters={"values": {"case": [1]}}))
        assert countries(table) == ["Japan"]
        assert trials_of_sql(lab, table) == trials_left(table)


# Without a word


@pytest.mark.parametrize(
    ("params", "columns"),
    [
        pytest.param({"top_p": [each / 10 for each in range(1, 11)]}, ("temperature", "top_p"), id="both fit"),
        pytest.param({"top_p": [each / 100 for each in range(1, 61)]}, ("temperature",), id="one fits"),
        pytest.param({"temperature": [each / 100 for each in range(101)]}, ("template",), id="none fits"),
    ],
)
def test_the_usual_columns_fit(lab, params, columns):
    """There is no error where nothing was asked for."""
    assert asked(lab, [{"q": "a"}], **params).spec.columns == columns


@pytest.mark.parametrize(
    ("cases", "rows"),
    [
        pytest.param([{"q": "a", "n": 1}, {"q": "b", "n": 1}], "q", id="all different"),
        pytest.param([{"q": "a", "n": 1}, {"q": "a", "n": 2}], "case", id="one twice"),
    ],
)
def test_the_usual_rows_say_what_was_asked(lab, cases, rows):
    """The column that the templates use stands on the rows where it tells the cases apart."""
    assert asked(lab, cases).spec.rows == (rows,)


def test_cases_with_several_variables_are_on_the_rows_themselves(lab):
    """No single column says what was asked."""
    template = PromptTemplate("two", user="{{ q }} {{ n }}")
    assert asked(lab, [{"q": "a", "n": 1}, {"q": "b", "n": 2}], templates=[template]).spec.rows == ("case",)
