"""The comparison matrix below the browser: axes, cells, filters, order, search, and the same as one SELECT."""

import pytest

from comparisons import (
    BY_COUNTRY,
    CAPITALS,
    CASES,
    TERSE,
    cell,
    change,
    countries,
    frame_of,
    lab_of,
    run_beside,
    run_in,
    trials_left,
    trials_of_sql,
)
from promptlab import PromptTemplate, judgements
from promptlab.attempts import Reply
from promptlab.comparison import Spec, Table, cells, measures, sql
from promptlab.errors import ComparisonError
from promptlab.testing import text_reply


@pytest.fixture
def lab(capitals):
    """A lab with the run `capitals`."""
    return capitals


@pytest.fixture
def table(lab):
    """The run by country over template and temperature."""
    return Table(lab.store, [1], BY_COUNTRY, rater="ann")


# What varies


def test_what_varies_stands_on_either_side_and_the_rest_is_constant(table):
    """Settings, case columns, the case and the repeats vary; what has one value is for the caption."""
    assert [(axis.name, axis.kind, list(axis.values)) for axis in table.axes.varying] == [
        ("template", "template", ["terse", "chatty"]),
        ("temperature", "parameter", [0, 1]),
        ("country", "case", list(CAPITALS)),
        ("capital", "case", list(CAPITALS.values())),
        ("continent", "case", ["Europe", "Asia", "America", "Africa"]),
        ("case", "case", [0, 1, 2, 3]),
        ("repeat", "repeat", [0, 1, 2]),
    ]
    assert table.axes.constants == [("run", "capitals"), ("version", 1), ("model", "m"), ("max_tokens", 16)]
    assert table.folded == ["repeat"]


def test_without_a_word_cases_are_compared_over_the_settings(lab):
    """The usual layout has on the rows what the templates are asked with, on the columns two settings that vary."""
    table = Table(lab.store, [1])
    assert (table.spec.rows, table.spec.columns) == (("country",), ("template", "temperature"))
    assert table.layout.columns == [("terse", 0), ("terse", 1), ("chatty", 0), ("chatty", 1)]


def test_a_case_column_with_a_taken_name_is_found_under_its_own(tmp_path):
    """A column of the cases that is called like one of ours has the name that `run.frame()` gives it."""
    with lab_of(tmp_path / "x.db", "fine") as lab:
        template = PromptTemplate("ask", user="{{ template }}{{ run }}")
        lab.run(
            template, {"model": "m"}, cases=[{"template": "a", "run": 1}, {"template": "b", "run": 2}], progress=False
        )
        table = Table(lab.store, [1], Spec(rows=["case.template", "case.run"], columns="template"))
        assert [table.layout.labels(row) for row in table.layout.order] == [["a", 1], ["b", 2]]
        assert "case.template" in lab.load(1).frame().columns


# Cells


def test_a_cell_folds_its_repeats_and_shows_the_most_frequent_answer(table):
    """The count of equal answers stands with the answer; the other one is the next variant."""
    first = cell(table, "Japan", ["terse", 1])
    assert {name: first[name] for name in ("text", "trials", "answered", "failed", "same", "variants", "variant")} == {
        "text": "Tokyo",
        "trials": 3,
        "answered": 3,
        "failed": 0,
        "same": 2,
        "variants": 2,
        "variant": 0,
    }
    other = cell(table, "Japan", ["terse", 1], variant=1)
    assert (other["text"], other["same"], other["variant"]) == ("Kyoto, or", 1, 1)
    assert (other["finish_reason"], other["flags"]) == ("length", ["length"])


def test_a_failed_trial_is_a_cell_with_its_reason(table):
    """What has no answer is shown with its state and the reason, and counted above its column."""
    failed = cell(table, "Kenya", ["terse", 0])
    assert (failed["status"], failed["text"], failed["output_id"]) == ("failed", None, None)
    assert "this question is refused" in failed["reason"]
    assert (failed["trials"], failed["answered"], failed["failed"], failed["variants"]) == (3, 0, 3, 1)
    heads = measures.heads(table)
    assert [(head["trials"], head["ok"], head["failed"], head["unfinished"]) for head in heads] == 4 * [(12, 9, 3, 0)]


def test_repeats_can_have_columns_of_their_own(table):
    """Then a cell holds one trial."""
    change(table, repeats="columns", columns="temperature", filters={"values": {"template": ["terse"]}})
    assert table.layout.columns == [(heat, repeat) for heat in (0, 1) for repeat in (0, 1, 2)]
    assert [each["text"] for each in cells.page(table, 1, 1)[0]["cells"]] == [
        *("Tokyo", "Tokyo", "Tokyo"),
        *("Tokyo", "Kyoto, or", "Tokyo"),
    ]
    assert cell(table, "Japan", [1, 1])["trials"] == 1


def test_what_was_never_planned_is_no_cell(lab):
    """A place without a trial is None; a column without any is not there at all."""
    run_in(
        lab, name="other", templates=[PromptTemplate("third", user="{{ country }}")], cases=CASES[:1], temperature=[2]
    )
    table = Table(lab.store, [1, 2], Spec(rows="country", columns=["template", "temperature"]))
    assert table.layout.columns == [("terse", 0), ("terse", 1), ("chatty", 0), ("chatty", 1), ("third", 2)]
    assert [each and each["text"] for each in cells.page(table, 1, 1)[0]["cells"]][4] is None
    assert cells.page(table, 0, 1)[0]["cells"][4]["status"] == "ok"


def test_a_row_says_what_its_other_columns_hold(table):
    """Columns of the cases that are the same all along a row stand beside its label."""
    row = cells.page(table, 0, 1)[0]
    assert (row["index"], row["key"], row["labels"]) == (0, "r0", ["France"])
    assert row["context"] == [("capital", "Paris"), ("continent", "Europe")]
    assert change(table, rows="template", columns="temperature").layout.rows_in_all == 2
    assert cells.page(table, 0, 1)[0]["context"] == []


def test_a_key_stays_when_the_order_changes(table):
    """A row is found by its key in any order; by none when a filter took it out."""
    key = table.layout.key(table.layout.row_of_labels(["Peru"]))
    change(table, sort={"by": "label", "descending": True})
    assert cells.page(table, 0, 4)[0]["key"] == key
    change(table, filters={"show": "failed"})
    assert table.layout.index_of[table.layout.row_of_key(key)] == -1


@pytest.mark.parametrize(
    ("text", "chars", "shown", "in_all"),
    [
        pytest.param("abc", 2, "ab", 3, id="clipped"),
        pytest.param("é😀x", 2, "é😀", 3, id="characters, not bytes"),
        pytest.param("a\0b", 5, "a\0b", 3, id="NUL"),
        pytest.param("", 5, "", 0, id="empty"),
        pytest.param("x" * 40, 5, "x" * 5, 40, id="long"),
    ],
)
def test_a_text_is_clipped_by_characters(tmp_path, text, chars, shown, in_all):
    """A clipped text says how long it is."""
    with lab_of(tmp_path / "x.db", lambda body: text_reply(text, body)) as lab:
        run_in(lab, templates=[TERSE], cases=CASES[:1], repeats=1, temperature=[0])
        drawn = cells.draw(Table(lab.store, [1]), [cells.Place(0)], chars=chars)[0]
    assert (drawn["text"], drawn["chars"]) == (shown, in_all)


def test_what_is_not_known_is_none(tmp_path):
    """Latency, tokens and cost that nobody told are unknown, and not 0, also above the columns."""
    reply = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hm"}, "finish_reason": "stop"}]}'
    with lab_of(tmp_path / "x.db", lambda _: Reply(200, {}, reply), is_free=False) as lab:
        run_in(lab, templates=[TERSE], cases=CASES[:1], repeats=1, temperature=[0])
        table = Table(lab.store, [1])
    drawn = cells.draw(table, [cells.Place(0)])[0]
    assert (drawn["prompt_tokens"], drawn["completion_tokens"]) == (None, None)
    head = measures.heads(table)[0]
    assert (drawn["cost_usd"], head["cost_usd"], head["cost_unknown"]) == (None, None, 1)
    assert (head["score"], head["rating"], head["delta"]) == (None, None, None)


# Filters, search, order


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        pytest.param({}, ["France", "Japan", "Peru", "Kenya"], id="none"),
        pytest.param({"show": "different"}, ["France", "Japan", "Peru"], id="different"),
        pytest.param({"show": "same"}, [], id="same"),
        pytest.param({"show": "failed"}, ["Kenya"], id="failed"),
        pytest.param({"show": "rated"}, ["France"], id="rated"),
        pytest.param({"show": "unrated"}, ["France", "Japan", "Peru"], id="unrated: in some cell"),
        pytest.param({"show": "pinned"}, ["Peru"], id="pinned"),
        pytest.param({"values": {"continent": ["Asia", "Africa"]}}, ["Japan", "Kenya"], id="values"),
        pytest.param({"values": {"template": ["terse"]}, "show": "different"}, ["Japan"], id="values, then different"),
        pytest.param({"values": {"template": ["terse"]}, "show": "same"}, ["France", "Peru"], id="values, then same"),
        pytest.param({"values": {"temperature": []}}, [], id="no value"),
        pytest.param({"status": ["failed"]}, ["Kenya"], id="status"),
        pytest.param({"finish_reason": ["length"]}, ["Japan"], id="finish reason"),
        pytest.param({"flags": ["length"]}, ["Japan"], id="flags"),
        pytest.param({"ratings": [("thumbs", 1)]}, ["France"], id="rating"),
        pytest.param({"ratings": [("stars", 1)]}, [], id="rating on another scale"),
        pytest.param({"ratings": [("thumbs", -1)]}, [], id="rating of another"),
        pytest.param({"ratings": [None]}, ["France", "Japan", "Peru"], id="no rating"),
        pytest.param({"ranges": {"length": [30, None]}}, ["France", "Japan"], id="from"),
        pytest.param({"ranges": {"length": [None, 4]}}, ["Peru"], id="up to"),
        pytest.param({"ranges": {"length": [5, 5], "score": [0, 1]}}, [], id="no score"),
        pytest.param(
            {"status": ["ok"], "finish_reason": ["length"], "ranges": {"length": [0, 8]}}, [], id="all at once"
        ),
    ],
)
def test_filters_leave_rows_in_which_one_trial_meets_all(lab, table, filters, left):
    """What is left is told by the rows; the SELECT has the same trials, and the frame of the panel too."""
    shown = {country: cell(table, country, ["terse", 0])["output_id"] for country in ("France", "Peru")}
    judgements.rate(lab.store, shown["France"], 1, rater="ann")
    judgements.rate(lab.store, shown["Peru"], -1, rater="bob")
    judgements.pin(lab.store, shown["Peru"], rater="bob")
    table.forget_judgements()
    change(table, filters=filters)
    assert countries(table) == left
    assert trials_of_sql(lab, table) == trials_left(table)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"search": "capital of Peru"}, id="words"),
        pytest.param({"search": "toky*"}, id="beginning of a word"),
        pytest.param({"search": "Kyoto,", "filters": {"show": "different"}}, id="with a filter"),
        pytest.param({"search": "=>"}, id="signs alone"),
        pytest.param({"filters": {"show": "different"}, "baseline": {"template": "terse"}}, id="baseline"),
        pytest.param({"filters": {"show": "same"}, "baseline": {"temperature": 0}}, id="same as baseline"),
        pytest.param({"filters": {"show": "different"}, "baseline": {"reference": "capital"}}, id="reference"),
        pytest.param({"filters": {"show": "same"}, "baseline": {"reference": "capital"}}, id="same as reference"),
        pytest.param({"hidden": [["chatty", 0], ["chatty", 1]], "filters": {"show": "different"}}, id="hidden"),
        pytest.param({"rows": ["continent", "template"], "columns": ["temperature"]}, id="two axes on the rows"),
        pytest.param({"rows": "case", "filters": {"values": {"case": [1, 2]}}}, id="the case"),
        pytest.param({"repeats": "columns", "filters": {"show": "unrated"}}, id="repeats"),
    ],
)
def test_the_select_gives_the_same_cells(lab, table, fields):
    """The one SELECT, run with `lab.sql`, has exactly the trials that are left, and the axes' values with them."""
    change(table, **fields)
    found = lab.sql(sql.select(table))
    assert sorted(found["trial_id"]) == trials_left(table)
    whole = frame_of(lab).set_index("trial_id")
    for name in ("template", "temperature", "country", "capital", "repeat"):
        assert found[name].tolist() == whole.loc[found["trial_id"], name].tolist()


def test_different_is_what_pandas_finds(lab, table):
    """Rows whose answers differ from those of the other template at the same temperature, reckoned another way."""
    change(table, filters={"show": "different"}, baseline={"template": "terse"})
    frame = frame_of(lab).query("status == 'ok'")
    varied = frame.groupby(["country", "temperature"])["output"].nunique().groupby("country").max()
    assert countries(table) == [country for country in CAPITALS if varied.get(country, 0) > 1]


def test_search_marks_what_it_found(lab):
    """Hits are marked in the units of JavaScript, in which an emoji counts twice."""
    run_beside(
        lab,
        lambda body: "😀 Tokyo, tokyo" if "Japan" in str(body) else "none",
        name="emoji",
        templates=[TERSE],
        repeats=1,
        temperature=[0],
    )
    table = Table(lab.store, [2], Spec(rows="country", search="TOKYO"))
    assert countries(table) == ["Japan"]
    drawn = cells.page(table, 0, 1)[0]["cells"][0]
    assert (drawn["hit"], drawn["marks"]) == (True, [[3, 8], [10, 15]])
    assert table.layout.search.terms == ["TOKYO"]


def test_search_finds_what_the_index_does_not_know_yet(lab, table):
    """Answers that were not indexed are read through."""
    lab.store.write(
        lambda connection: connection.execute("insert into outputs_fts (outputs_fts) values ('delete-all')")
    ).result()
    change(table, search="lima")
    assert countries(table) == ["Peru"]


def test_the_rank_of_a_search_is_an_order(lab):
    """The answer in which the word weighs most comes first."""
    said = {"France": "rare rare rare", "Japan": "rare among many other words", "Peru": "nothing", "Kenya": "rare"}
    answer = lambda body: next(text for name, text in said.items() if name in str(body))  # noqa: E731
    run_beside(lab, answer, name="ranked", templates=[TERSE], repeats=1, temperature=[0])
    lab.store.index()
    table = Table(lab.store, [2], Spec(rows="country", search="rare", sort="rank"))
    ranks = {
        row[0]: row[1] for row in lab.store.read("select rowid, rank from outputs_fts where outputs_fts match 'rare'")
    }
    frame = frame_of(lab, 2).assign(rank=lambda frame: frame["output_id"].map(ranks)).dropna(subset="rank")
    assert countries(table) == frame.sort_values("rank")["country"].tolist()


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        pytest.param("plan", ["France", "Japan", "Peru", "Kenya"], id="plan"),
        pytest.param({"by": "plan", "descending": True}, ["Kenya", "Peru", "Japan", "France"], id="plan, backwards"),
        pytest.param("label", ["France", "Japan", "Kenya", "Peru"], id="label"),
        pytest.param("length", ["France", "Japan", "Peru", "Kenya"], id="length: unknown last"),
        pytest.param({"by": "length", "descending": False}, ["Peru", "Japan", "France", "Kenya"], id="shortest first"),
        pytest.param("disagreement", ["Japan", "France", "Peru", "Kenya"], id="disagreement between repeats"),
        pytest.param({"by": "rating"}, ["Peru", "France", "Japan", "Kenya"], id="rating"),
    ],
)
def test_rows_are_ordered_as_asked(lab, table, sort, first):
    """What is not known of a row puts it last, whichever way the order goes."""
    judgements.rate(lab.store, cell(table, "France", ["terse", 0])["output_id"], -1, rater="ann")
    judgements.rate(lab.store, cell(table, "Peru", ["terse", 0])["output_id"], 1, rater="ann")
    table.forget_judgements()
    assert countries(change(table, sort=sort)) == first


def test_the_most_changed_comes_first(table):
    """The change is the share of characters that would have to go or come; equal answers have none."""
    change(table, baseline={"template": "terse", "temperature": 0}, sort={"by": "changed", "column": ["chatty", 0]})
    drawn = {country: cell(table, country, ["chatty", 0])["change"] for country in CAPITALS}
    expected = {
        country: pytest.approx(1 - 2 * len(capital) / (len(capital) + len(f"The capital of {country} is {capital}.")))
        for country, capital in CAPITALS.items()
    }
    assert drawn == {**expected, "Kenya": None}
    assert cell(table, "Peru", ["terse", 1])["change"] == 0.0
    assert countries(table) == [*sorted(CAPITALS, key=lambda name: -(drawn[name] or 0))[:3], "Kenya"]


def test_without_a_baseline_a_cell_is_compared_with_the_first_of_its_row(table):
    """So that `changed` is an order also where nothing is compared yet."""
    change(table, sort="changed")
    assert cell(table, "Peru", ["terse", 1])["change"] == 0.0
    assert cell(table, "Peru", ["chatty", 0])["change"] > 0.5
    assert cell(table, "Peru", ["terse", 0])["change"] is None


# What cannot be

AXES = (
    "there are 'run', 'template', 'version', 'temperature', 'model', 'max_tokens', 'country', 'capital', 'continent', "
    "'case', 'repeat'"
)


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        pytest.param({"rows": "contry"}, ["rows: no axis 'contry'; did you mean 'country'? " + AXES], id="axis"),
        pytest.param(
            {"columns": "temprature"},
            ["columns: no axis 'temprature'; did you mean 'temperature'? " + AXES],
            id="column",
        ),
        pytest.param(
            {"rows": "template"}, ["'template' is on rows and on columns; take it from one of them"], id="on both sides"
        ),
        pytest.param(
            {"filters": {"values": {"contient": ["Asia"]}}},
            ["filters['values']: no axis 'contient'; did you mean 'continent'? " + AXES],
            id="filter",
        ),
        pytest.param(
            {"baseline": {"template": "ters"}},
            ["baseline: 'template' is never 'ters'; did you mean 'terse'?"],
            id="value of the baseline",
        ),
        pytest.param(
            {"baseline": {"country": "Peru"}},
            ["baseline: no column axis 'country'; there are 'template', 'temperature'"],
            id="axis of the baseline",
        ),
        pytest.param(
            {"baseline": {"reference": "capitol"}},
            [
                "baseline['reference']: no case column 'capitol'; did you mean 'capital'? "
                "there are 'country', 'capital', 'continent'"
            ],
            id="reference",
        ),
        pytest.param(
            {"baseline": ("terse",)},
            ["baseline=('terse',): a column has 2 values, one for each of 'template', 'temperature'"],
            id="column",
        ),
        pytest.param({"scorer": "exact"}, ["scorer: no scorer 'exact'; there are none"], id="scorer"),
    ],
)
def test_a_name_that_is_none_is_told_with_the_nearest(table, fields, problems):
    """The error names what was meant, or what there is; the table stays as it was."""
    before = (table.version, table.spec)
    with pytest.raises(ComparisonError) as caught:
        change(table, **fields)
    assert list(caught.value.problems) == problems
    assert (table.version, table.spec) == before


def test_a_table_as_wide_as_the_cases_is_refused(tmp_path):
    """What has very many values belongs on the rows."""
    with lab_of(tmp_path / "x.db", "fine") as lab:
        cases = [{"country": str(number)} for number in range(101)]
        run_in(lab, templates=[TERSE], cases=cases, repeats=1, temperature=[0])
        with pytest.raises(ComparisonError) as caught:
            Table(lab.store, [1], Spec(rows="template", columns="country"))
    assert str(caught.value) == "'country' on the columns makes 101 of them; 100 are possible; put it on rows"
