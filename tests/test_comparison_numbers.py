"""The comparison matrix below the browser: heads, baselines, facets, several runs, details, and what comes later."""

import pytest

from comparisons import (
    BY_COUNTRY,
    CAPITALS,
    CASES,
    TERSE,
    answers,
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
from promptlab.comparison import Spec, Table, cells, details, measures, order, sql
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
    return {**head, "values": tuple(each["label"] for each in head["values"])}


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


def test_ratings_tell_what_is_good_where_nothing_was_scored(lab, table):
    """Then regressions, and the order by score, go by the mean rating; a few ratings make no histogram."""
    for country, value in (("Japan", -1), ("Peru", 1)):
        judgements.rate(lab.store, cell(table, country, ["chatty", 0])["output_id"], value, rater="ann")
        judgements.rate(lab.store, cell(table, country, ["terse", 0])["output_id"], 0, rater="ann")
    table.refresh()
    assert countries(change(table, baseline={"template": "terse"}, sort="regressions"))[:2] == ["Japan", "Peru"]
    assert countries(change(table, sort="score"))[:2] == ["Peru", "Japan"]
    heads = measures.heads(table)
    assert [(head["rating"], head["rated"], head["rating_scale"]) for head in heads] == [
        (0.0, 2, "thumbs"),
        (None, 0, None),
        (0.0, 2, "thumbs"),
        (None, 0, None),
    ]
    assert heads[0]["histogram"]["of"] == "latency_ms"


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
    categories = {
        each["name"]: [(one["value"], one["count"]) for one in each["values"]] for each in found["categories"]
    }
    assert categories["status"] == [("ok", 18), ("failed", 6)]
    assert categories["finish_reason"] == [("stop", 17), ("length", 1)]
    assert categories["flags"] == [("length", 1)]
    assert categories["rating"] == [(None, 18)]
    assert categories["temperature"] == [({"at": 0, "label": 0}, 12), ({"at": 1, "label": 1}, 12)]
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


# Details


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
    assert (found["logprobs"], found["scores"], found["ratings"]) == (None, [], [])


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
def test_log_probabilities_are_told_as_they_came(tmp_path, logprobs):
    """Either form of log probabilities reaches the browser, which knows how to read them, as the API gave it."""
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
    assert found["logprobs"] == logprobs


# What comes while a run goes on


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
