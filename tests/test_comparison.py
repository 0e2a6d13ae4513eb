"""The comparison matrix below the browser: axes, cells, filters, order, search, heads, and the same as one SELECT."""

import shutil

import pytest

from comparisons import CAPITALS, CASES, TERSE, answers, lab_of, run_beside, run_in
from promptlab import PromptTemplate, judgements
from promptlab.attempts import Reply
from promptlab.comparison import Spec, Table, cells, details, measures, order, sql
from promptlab.errors import ComparisonError
from promptlab.testing import text_reply

BY_COUNTRY = Spec(rows="country", columns=["template", "temperature"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A file with the run `capitals`, whose answer for Japan differs once in three times when the temperature is 1."""
    path = tmp_path_factory.mktemp("recorded") / "compared.db"
    with lab_of(path) as lab:
        run_in(lab)
    return path


@pytest.fixture
def lab(recorded, tmp_path):
    """A lab on a copy of that file."""
    with lab_of(shutil.copy(recorded, tmp_path)) as lab:
        yield lab


@pytest.fixture
def table(lab):
    """The run by country over template and temperature."""
    return Table(lab.store, [1], BY_COUNTRY, rater="ann")


def change(table, **fields):
    """Lay a table out with some fields of its spec replaced, and return it."""
    table.lay_out(table.spec.changed(fields))
    return table


def countries(table):
    """Return the first label of each row that is left, as shown."""
    return [table.layout.labels(row)[0] for row in table.layout.order.tolist()]


def cell(table, country, column, variant=0):
    """Return one cell as it is drawn."""
    place = table.layout.cell(table.layout.row_of_labels([country]), table.layout.column_of(column))
    return cells.draw(table, [cells.Place(place, variant)])[0]


def frame_of(lab, run=1):
    """Return the run's own frame: what the table has to agree with."""
    return lab.load(run).frame()


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
    """The usual layout has the cases on the rows and the first two settings that vary on the columns."""
    table = Table(lab.store, [1])
    assert (table.spec.rows, table.spec.columns) == (("case",), ("template", "temperature"))
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
        pytest.param({"ratings": [1]}, ["France"], id="rating"),
        pytest.param({"ratings": [-1]}, [], id="rating of another"),
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


def trials_left(table):
    """Return the ids of the trials in the rows that are left."""
    layout = table.layout
    return sorted(table.trials.id[layout.members[layout.kept_members]].tolist())


def trials_of_sql(lab, table):
    """Return the ids of the trials that the table's SELECT gives on the file."""
    return sorted(lab.sql(sql.select(table))["trial_id"].tolist())


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


# Baselines, scores, heads


def score(lab, scorer, value_of, run=1):
    """Score every answer of a run as a function of its row says."""
    answered = frame_of(lab, run).dropna(subset="output_id")
    rows = [(int(row.output_id), scorer, float(value_of(row))) for row in answered.itertuples()]
    add = """
insert into scores (output_id, case_id, scorer, config_key, value, label, detail, created_at)
select ?1, case_id, ?2, ?2, ?3, 'label', 'why', '' from trials join samples on samples.id = sample_id
where samples.output_id = ?1
"""
    lab.store.write(lambda connection: connection.executemany(add, rows)).result()


def test_heads_have_the_scores_and_the_difference_to_the_baseline(lab):
    """Means are over what was scored, differences over the rows that both columns have, as pandas reckons them."""
    score(lab, "exact_match", lambda row: row.output == row.capital)
    table = Table(lab.store, [1], BY_COUNTRY.changed({"baseline": {"template": "terse"}}))
    heads = measures.heads(table)
    frame = (
        frame_of(lab).query("status == 'ok'").assign(score=lambda frame: (frame["output"] == frame["capital"]) * 1.0)
    )
    means = frame.groupby(["template", "temperature"])["score"].mean()
    assert [head["score"] for head in heads] == [pytest.approx(means[head["values"]]) for head in map(_keyed, heads)]
    assert [(head["baseline"], head["is_baseline"]) for head in heads] == [
        (None, True),
        (None, True),
        (0, False),
        (1, False),
    ]
    by_row = frame.groupby(["template", "temperature", "country"])["score"].mean()
    delta = (by_row["chatty", 1] - by_row["terse", 1]).mean()
    assert heads[3]["delta"]["score"] == pytest.approx(delta)
    assert (heads[3]["delta"]["n"], heads[0]["delta"]) == (3, None)
    assert heads[0]["histogram"] == {"of": "score", "low": 0.0, "high": 1.0, "counts": [*11 * [0], 9]}
    assert cell(table, "Japan", ["terse", 0])["score"] == {"value": 1.0, "label": "label", "detail": "why"}


def _keyed(head):
    return {**head, "values": tuple(head["values"])}


def test_the_last_scorer_is_shown_unless_another_is_asked_for(lab):
    """A spec names the scorer; without one it is the one that scored last."""
    score(lab, "first", lambda _: 0.25)
    score(lab, "second", lambda _: 0.75)
    table = Table(lab.store, [1], BY_COUNTRY)
    assert (table.trials.scorers, table.scorer, measures.heads(table)[0]["score"]) == (
        ["second", "first"],
        "second",
        0.75,
    )
    assert measures.heads(change(table, scorer="first"))[0]["score"] == 0.25


def test_regressions_come_first(lab):
    """The row that lost most against its baseline is on top."""
    score(
        lab,
        "s",
        lambda row: {"France": 0.0, "Japan": 0.9, "Peru": 0.5}[row.country] if row.template == "chatty" else 0.8,
    )
    table = Table(lab.store, [1], BY_COUNTRY.changed({"baseline": {"template": "terse"}, "sort": "regressions"}))
    assert countries(table) == ["France", "Peru", "Japan", "Kenya"]


def test_a_reference_answer_is_a_baseline(lab):
    """The cases' own answer stands before the row, and is what texts are compared with."""
    table = Table(lab.store, [1], BY_COUNTRY.changed({"baseline": {"reference": "capital"}, "sort": "changed"}))
    assert [row["reference"] for row in cells.page(table, 0, 4)] == [CAPITALS[name] for name in countries(table)]
    assert cell(table, "Peru", ["terse", 0])["change"] == 0.0
    assert [head["baseline"] for head in measures.heads(table)] == 4 * [None]


def test_a_whole_column_is_a_baseline(lab):
    """Given by its values, one column is what all others are compared with."""
    table = Table(lab.store, [1], BY_COUNTRY.changed({"baseline": ("terse", 0)}))
    assert [head["baseline"] for head in measures.heads(table)] == [None, 0, 0, 0]
    assert table.spec.baseline == {"template": "terse", "temperature": 0}


def test_a_hidden_column_is_gone_but_for_the_baseline(lab):
    """What others are compared with cannot be hidden."""
    hidden = [["chatty", 1], ["terse", 0], ["gone", 7]]
    table = Table(lab.store, [1], BY_COUNTRY.changed({"baseline": {"template": "terse"}, "hidden": hidden}))
    assert table.layout.columns == [("terse", 0), ("terse", 1), ("chatty", 0)]
    assert measures.counts(table)["ok"] == 27


def test_facets_count_what_is_left(lab, table):
    """Every category and number is of the trials in the rows that are left."""
    change(table, filters={"values": {"template": ["chatty"]}})
    found = measures.facets(table)
    categories = {each["name"]: {one["value"]: one["count"] for one in each["values"]} for each in found["categories"]}
    assert categories["status"] == {"ok": 18, "failed": 6}
    assert categories["finish_reason"] == {"stop": 17, "length": 1}
    assert categories["flags"] == {"length": 1}
    assert categories["rating"] == {None: 18}
    assert categories["temperature"] == {0: 12, 1: 12}
    lengths = next(each for each in found["numbers"] if each["name"] == "length")
    texts = frame_of(lab).query("template == 'chatty' and status == 'ok'")["output"].str.len()
    assert (lengths["low"], lengths["high"], lengths["unknown"]) == (texts.min(), texts.max(), 6)
    assert sum(lengths["counts"]) == 18


# Several runs


def test_runs_are_aligned_by_the_values_of_their_cases(lab):
    """Two runs with other templates and other places of the same cases stand in the same rows."""
    run_beside(lab, answers(Peru=["Cusco"]), name="again", templates=[TERSE], cases=CASES[::-1], repeats=1)
    table = Table(lab.store, [1, 2], Spec(rows="case", columns=["run", "temperature"], baseline={"run": "capitals"}))
    assert table.layout.columns == [(run, heat) for run in ("capitals", "again") for heat in (0, 1)]
    assert [row["context"][0] for row in cells.page(table, 0, 4)] == [("country", country) for country in CAPITALS]
    change(table, filters={"values": {"template": ["terse"]}, "show": "different"})
    assert [row["labels"] for row in cells.page(table, 0, 9)] == [[1], [2]]
    assert trials_of_sql(lab, table) == trials_left(table)


def test_runs_of_one_name_are_told_apart(lab):
    """Where two runs have one name their ids stand with it, also in the SELECT."""
    run_beside(lab, lambda _: "hm", repeats=1)
    table = Table(lab.store, [1, 2], Spec(rows="country", columns="run"))
    assert table.layout.columns == [("capitals (1)",), ("capitals (2)",)]
    assert set(lab.sql(sql.select(table))["run"]) == {"capitals (1)", "capitals (2)"}


# What cannot be


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        pytest.param({"rows": "contry"}, ["rows: no axis 'contry'; did you mean 'country'?"], id="axis"),
        pytest.param(
            {"columns": "temprature"}, ["columns: no axis 'temprature'; did you mean 'temperature'?"], id="column"
        ),
        pytest.param(
            {"rows": "template"}, ["'template' is on rows and on columns; take it from one of them"], id="on both sides"
        ),
        pytest.param(
            {"filters": {"values": {"contient": ["Asia"]}}},
            ["filters['values']: no axis 'contient'; did you mean 'continent'?"],
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
            ["baseline['reference']: no case column 'capitol'; did you mean 'capital'?"],
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


def test_a_table_as_wide_as_the_cases_is_refused(tmp_path):
    """What has very many values belongs on the rows."""
    with lab_of(tmp_path / "x.db", "fine") as lab:
        cases = [{"country": str(number)} for number in range(101)]
        run_in(lab, templates=[TERSE], cases=cases, repeats=1, temperature=[0])
        with pytest.raises(ComparisonError) as caught:
            Table(lab.store, [1], Spec(rows="template", columns="country"))
    assert str(caught.value) == "'country' on the columns makes 101 of them; 100 are possible; put it on rows"


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


# Details, and what comes while a run goes on


def test_details_have_everything_of_one_answer(lab, table):
    """Request, response, attempts, usage and the text that it is compared with are those of the log."""
    change(table, baseline={"template": "terse"})
    layout = table.layout
    row, column = layout.row_of_labels(["Japan"]), layout.column_of(["chatty", 1])
    found = details.detail(table, row, column, layout.cell(row, column), variant=1)
    trial = frame_of(lab).set_index("trial_id").loc[found["cell"]["trial_id"]]
    logged = lab.request(trial["request_id"])
    assert found["cell"]["text"] == trial["output"] == "Kyoto, or"
    assert (found["request"], found["curl"]) == (logged.body, logged.as_curl())
    assert found["prompt"] == [
        {"role": "system", "text": "Answer in a sentence."},
        {"role": "user", "text": "Capital of Japan?"},
    ]
    assert [attempt["id"] for attempt in found["attempts"]] == [trial["attempt_id"]]
    mine = next(attempt for attempt in logged.attempts if attempt["id"] == trial["attempt_id"])
    assert (found["response"], found["usage"]) == (mine["response"].decode(), mine["usage"])
    assert found["baseline"] == "Tokyo"


def test_details_of_a_failed_trial_have_its_attempt(lab, table):
    """What was refused is shown with the server's reply."""
    layout = table.layout
    row = layout.row_of_labels(["Kenya"])
    found = details.detail(table, row, 0, layout.cell(row, 0))
    assert [(each["state"], each["http_status"]) for each in found["attempts"]] == [("error", 400)]
    assert "this question is refused" in found["response"]
    assert (found["tokens"], found["scores"], found["ratings"]) == (None, [], [])


CHAT = {
    "content": [
        {
            "token": "Par",
            "logprob": -0.1,
            "top_logprobs": [{"token": "Par", "logprob": -0.1}, {"token": "Ly", "logprob": -3}],
        },
        {"token": "is", "logprob": -0.2, "top_logprobs": []},
    ]
}
LEGACY = {"tokens": ["Par", "is"], "token_logprobs": [-0.1, -0.2], "top_logprobs": [{"Par": -0.1, "Ly": -3}, None]}


@pytest.mark.parametrize("logprobs", [pytest.param(CHAT, id="chat"), pytest.param(LEGACY, id="completions")])
def test_tokens_have_their_probabilities(tmp_path, logprobs):
    """Either form of log probabilities becomes tokens, their probability and the alternatives."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Paris"},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    with lab_of(tmp_path / "x.db", lambda body: text_reply("", body, choices=[choice])) as lab:
        run_in(lab, templates=[TERSE], cases=CASES[:1], repeats=1, temperature=[0])
        table = Table(lab.store, [1])
        found = details.detail(table, 0, 0, 0)
    assert cells.draw(table, [cells.Place(0)])[0]["has_logprobs"] is True
    assert [(token["text"], round(token["probability"], 4)) for token in found["tokens"]] == [
        ("Par", 0.9048),
        ("is", 0.8187),
    ]
    assert [(other, round(value, 4)) for other, value in found["tokens"][0]["others"]] == [("Ly", 0.0498)]
    assert found["perplexity"] == pytest.approx(2.718281828 ** (0.3 / 2))


def test_a_table_takes_in_what_comes_and_keeps_its_order(lab):
    """Answers that came since are found; which rows are left, and where, stays as it was until it is laid out anew."""
    run_beside(lab, answers(), name="later", templates=[TERSE], repeats=1)
    undo = """
update samples set state = 'todo', output_id = null where id in (select sample_id from trials where run_id = 2)
"""
    redo = """
update samples set state = 'done', output_id = (select max(id) from outputs where sample_id = samples.id)
where id in (select sample_id from trials where run_id = 2 and case_index = 2)
"""
    lab.store.write(lambda connection: connection.execute(undo)).result()
    table = Table(
        lab.store, [2], Spec(rows="country", columns="temperature", sort="length", filters={"status": ["todo"]})
    )
    assert countries(table) == list(CAPITALS)
    assert order.changes(table).tolist() == pytest.approx([float("nan")] * 8, nan_ok=True)
    lab.store.write(lambda connection: connection.execute(redo)).result()
    version, changed = table.version, table.update()
    assert [CASES[table.trials.case_indexes[case]]["country"] for case in table.trials.case[changed]] == [
        "Peru",
        "Peru",
    ]
    assert cell(table, "Peru", [1])["text"] == "Lima"
    assert (countries(table), table.version) == (list(CAPITALS), version)
    assert measures.counts(table) == {"ok": 2, "failed": 0, "stopped": 0, "running": 0, "todo": 6}
    table.refresh()
    assert countries(table) == ["France", "Japan", "Kenya"]


def test_a_template_may_have_several_versions(lab):
    """Two versions of one template stand side by side by their numbers."""
    changed = PromptTemplate("terse", system="Answer with one word, please.", user="Capital of {{ country }}?")
    run_in(lab, name="versions", templates=[TERSE, changed], repeats=1)
    table = Table(lab.store, [2], Spec(rows="country"))
    assert table.layout.columns == [(version, heat) for version in (1, 2) for heat in (0, 1)]
    assert countries(table) == list(CAPITALS)


def test_no_run_is_refused(lab):
    """There has to be something to compare."""
    with pytest.raises(ComparisonError, match="there is no run to compare"):
        Table(lab.store, [])
