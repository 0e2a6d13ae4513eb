"""Scoring a run: what is stored, what is computed again, and what every room shows of it."""

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from comparisons import BY_COUNTRY, cell
from hostile import hostile_lab
from promptlab import (
    Lab,
    PromptTemplate,
    ScoreError,
    choice,
    contains,
    cost,
    exact_match,
    json_valid,
    latency,
    length,
    numeric,
    one_of,
    scorer,
    similarity,
)
from promptlab.comparison.table import Table
from promptlab.histories import detailed, past_runs
from promptlab.scorers import Score, Scorer
from promptlab.testing import ScriptedBackend, error_reply, sample_lab, text_reply

ALL = "select output_id, case_id, scorer, config_key, value, label, detail, id from scores order by id"


@pytest.fixture
def lab(tmp_path):
    """A lab with the run `capitals`: 12 answers, half of them right, and 4 trials without one."""
    with sample_lab(tmp_path / "scored.db") as lab:
        yield lab


@pytest.fixture
def run(lab):
    """That run."""
    return lab.load("capitals")


def counts(scored):
    """Return scorer -> (scored now, before, failed, unanswered)."""
    return {each.scorer: (each.scored, each.before, each.failed, each.unanswered) for each in scored.scorers}


def stored(lab):
    """Return all rows of the table."""
    return [tuple(row) for row in lab.store.read(ALL)]


def ask(lab, answer, cases, name="asked", **options):
    """Run a prompt over cases, answered by a function of what is asked."""
    backend = ScriptedBackend(lambda body: answer(body["messages"][-1]["content"]), identity=name)
    with Lab(lab.path, backend=backend) as other:
        template = PromptTemplate("ask", user="{{ q }}")
        other.run(template, {"model": "m", "max_tokens": 9}, cases=cases, name=name, progress=False, **options)
    return lab.load(name)


# What is scored


def test_scores_are_columns_of_the_frame(run):
    """The first scorer's comes first; a trial without an answer has none."""
    scored = run.score(exact_match("capital"), contains("capital"), length("words"))
    frame = run.frame()
    assert frame.columns[-3:].tolist() == ["exact_match", "contains", "length"]
    answered = frame["status"] == "ok"
    right = (frame["output"] == frame["capital"]).astype(float).where(answered)
    pd.testing.assert_series_equal(frame["exact_match"], right, check_names=False)
    pd.testing.assert_series_equal(frame["contains"], answered.where(answered).astype(float), check_names=False)
    assert frame.loc[frame["template"] == "chatty", "length"].dropna().unique().tolist() == [6.0]
    assert counts(scored) == dict.fromkeys(("exact_match", "contains", "length"), (12, 0, 0, 4))
    assert [each.mean for each in scored.scorers] == [0.5, 1.0, 3.5]


def test_a_frame_without_scores_is_as_it_was(run, lab):
    """Columns come with scores, also of other runs' only where they are on these trials."""
    before = run.frame().columns.tolist()
    ask(lab, str.upper, [{"q": "x"}]).score(length())
    assert run.frame().columns.tolist() == before


def test_labels_alone_are_a_column_of_labels(run):
    """There is no number to show, and none is made up."""
    run.score(choice({"named": "Paris", "other": ["Tokyo", "Lima"]}, name="which"))
    frame = run.frame()
    labels = frame.dropna(subset="which").groupby("country")["which"].unique().map(list).to_dict()
    assert labels == {"France": ["named"], "Japan": ["other"], "Peru": ["other"]}
    assert run.scores()[["value", "label"]].notna().sum().tolist() == [0, 12]


def test_scores_are_rows_of_their_own(run):
    """One row a score, with its trial, what was extracted, and why it is as it is."""
    made = exact_match("capital", extract=r"is (\w+)\.")
    run.score(made)
    rows = run.scores()
    assert rows.columns.tolist() == [
        *("position", "template", "version", "country", "capital", "temperature", "case", "repeat"),
        *("output_id", "scorer", "config_key", "value", "label", "extracted", "reason", "error", "detail"),
    ]
    chatty = rows[rows["template"] == "chatty"].iloc[0]
    assert chatty[["scorer", "config_key", "value", "extracted", "detail"]].tolist() == [
        *("exact_match", made.key, 1.0, "Paris", {"extracted": "Paris"})
    ]
    terse = rows[rows["template"] == "terse"].iloc[0]
    assert terse[["value", "reason"]].tolist() == [0.0, "there is nothing to extract in the answer"]
    assert len(rows) == 12


def test_columns_of_cases_give_way_to_those_of_scores(lab):
    """A case's `label` is `case.label` among the scores; a scorer named like a column is `score.NAME` in the frame."""
    run = ask(lab, lambda _: "good", [{"q": "x", "label": "good", "value": 1, "right": 2}])
    run.score(exact_match("label", name="right"))
    rows = run.scores()
    assert rows[["case.label", "case.value", "scorer", "value"]].iloc[0].tolist() == ["good", 1, "right", 1.0]
    assert run.frame()[["right", "score.right"]].iloc[0].tolist() == [2, 1.0]


def test_no_scores_are_an_empty_table(run):
    """With the columns it always has."""
    rows = run.scores()
    assert (len(rows), rows.columns[-1]) == (0, "detail")


def test_the_card_tells_what_came_of_it(run):
    """Counts are in trials; why scores failed is told; text is text."""
    card = run.score(exact_match("capital"), scorer(lambda *_: 1 / 0, name="<b>broken</b>"))
    assert repr(card) == (
        "<Scored run 1 'capitals'>\n"
        "scorer         mean  scored now  before  failed  no answer\n"
        "exact_match    0.5   12          0       0       4\n"
        "<b>broken</b>        0           0       12      4"
    )
    html = card._repr_html_()
    assert "&lt;b&gt;broken&lt;/b&gt;: 12 x ZeroDivisionError: division by zero" in html
    assert "<b>broken" not in html


# Again


def test_scoring_again_computes_and_writes_nothing(run, lab):
    """What is stored is counted; the scorer is not called, and the rows stay."""
    calls = []

    def counted(output, case):
        calls.append(output)
        return len(output)

    made = scorer(counted, version=1)
    run.score(made)
    rows, number = stored(lab), len(calls)
    assert counts(run.score(made)) == {"counted": (0, 12, 0, 4)}
    assert (stored(lab), len(calls)) == (rows, number)


def test_answers_that_came_since_are_scored(lab):
    """The others keep their scores."""
    broken = {"b": True}

    def answer(text):
        return error_reply(400, "refused") if broken.get(text) else text

    cases = [{"q": "a"}, {"q": "b"}]
    run = ask(lab, answer, cases)
    assert counts(run.score(length())) == {"length": (1, 0, 0, 1)}
    broken.clear()
    run = ask(lab, answer, cases, retry_failed=True)
    assert counts(run.score(length())) == {"length": (1, 1, 0, 0)}


def test_runs_that_share_an_answer_share_its_scores(lab):
    """A run that reuses the answers of the same cases finds them scored; those of other cases it scores."""
    ask(lab, str.upper, [{"q": "a", "want": "A"}]).score(exact_match("want"))
    backend = ScriptedBackend(lambda _: "never", identity="asked")
    with Lab(lab.path, backend=backend) as other:
        template = PromptTemplate("ask", user="{{ q }}")
        cases = [{"q": "a", "want": "A"}, {"q": "a", "want": "B"}]
        run = other.run(template, {"model": "m", "max_tokens": 9}, cases=cases, name="reused", progress=False)
        assert counts(run.score(exact_match("want"))) == {"exact_match": (1, 1, 0, 0)}
        assert (run.frame()["exact_match"].tolist(), backend.requests) == ([1.0, 0.0], [])


def test_trials_that_share_an_answer_are_scored_once(lab):
    """Two templates that render alike have one answer; both trials are counted."""
    calls = []
    backend = ScriptedBackend("same", identity="alike")
    with Lab(lab.path, backend=backend) as other:
        templates = [PromptTemplate(name, user="{{ q }}") for name in ("one", "two")]
        run = other.run(templates, {"model": "m", "max_tokens": 9}, cases=[{"q": "a"}], name="alike", progress=False)
        made = scorer(lambda output, _: calls.append(output) or 1, name="once", version=1)
        assert counts(run.score(made)) == {"once": (2, 0, 0, 0)}
        assert (calls, run.frame()["once"].tolist()) == (["same"], [1.0, 1.0])


# Failures


def test_a_scorer_that_raises_fails_alone(run):
    """Its other scores, and other scorers, go on."""

    def picky(output, case):
        if case["country"] == "Peru":
            raise LookupError(case["country"])
        return output.startswith("The")

    scored = run.score(scorer(picky, version=1), exact_match("capital"))
    assert counts(scored) == {"picky": (8, 0, 4, 4), "exact_match": (12, 0, 0, 4)}
    assert scored.scorers[0].errors == (("LookupError: Peru", 4),)
    frame = run.frame()
    assert frame.loc[frame["country"] == "Peru", "picky"].isna().all()
    errors = run.scores().query("scorer == 'picky'").groupby("country", sort=False)["error"].first()
    assert errors.dropna().to_dict() == {"Peru": "LookupError: Peru"}


def test_a_failed_score_is_tried_again(run, lab):
    """While it fails for the same reason nothing is written; then the score takes its place."""
    broken = [True]
    made = scorer(lambda *_: 1 / 0 if broken else 1, name="late", version=1)
    assert counts(run.score(made)) == {"late": (0, 0, 12, 4)}
    rows = stored(lab)
    assert counts(run.score(made)) == {"late": (0, 0, 12, 4)}
    assert stored(lab) == rows
    broken.clear()
    assert counts(run.score(made)) == {"late": (12, 0, 0, 4)}
    assert {(row[4], row[6]) for row in stored(lab)} == {(1.0, None)}
    assert len(stored(lab)) == len(rows)


def test_a_missing_reference_fails_that_score(lab):
    """The cases that have one are scored."""
    run = ask(lab, str.upper, [{"q": "a", "want": "A"}, {"q": "b", "want": None}, {"q": "c"}])
    scored = run.score(exact_match("want"))
    assert counts(scored) == {"exact_match": (1, 0, 2, 0)}
    assert scored.scorers[0].errors == (("MissingReferenceError: this case has no 'want'", 2),)


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        pytest.param(Score(float("nan")), "nan is no score; use a finite number", id="nan"),
        pytest.param(Score(float("inf")), "inf is no score; use a finite number", id="infinite"),
        pytest.param(Score(), "the scorer gave neither a value nor a label", id="nothing"),
        pytest.param(
            Score(1.0, None, {"why": {1}}),
            "detail: {1} (set) is not JSON; use text, numbers, true/false, None, lists or dicts",
            id="detail",
        ),
    ],
)
def test_what_the_file_cannot_hold_is_a_failed_score(run, score, reason):
    """With what is wrong with it."""
    scored = run.score(Scorer("odd", {"scorer": "odd"}, lambda _: score))
    assert (counts(scored), scored.scorers[0].errors) == ({"odd": (0, 0, 12, 4)}, ((reason, 12),))


@pytest.mark.parametrize(
    ("scorers", "problems"),
    [
        pytest.param(
            [],
            ["score() needs a scorer, e.g. score(exact_match('capital')), or a function of (output, case)"],
            id="none",
        ),
        pytest.param(
            [exact_match("captial"), numeric("population")],
            [
                "exact_match: the cases of this run have no column 'captial'; did you mean 'capital'?",
                "numeric: the cases of this run have no column 'population'; they have 'country', 'capital'",
            ],
            id="columns",
        ),
        pytest.param(
            [contains("capital"), contains("country")],
            ["2 scorers are called 'contains'; give each a name of its own: name='...'"],
            id="same-name",
        ),
        pytest.param(
            [length(name="output")],
            ["a scorer cannot be called 'output', a name that results have; give it another: name='...'"],
            id="taken-name",
        ),
        pytest.param(
            [length(name="rating")],
            ["a scorer cannot be called 'rating', a name that results have; give it another: name='...'"],
            id="rating",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_before_anything_is(run, lab, scorers, problems):
    """All problems at once, and nothing is written."""
    with pytest.raises(ScoreError) as caught:
        run.score(*([length(), *scorers] if scorers else []))
    assert (list(caught.value.problems), stored(lab)) == (problems, [])


def test_the_same_scorer_twice_is_one(run):
    """Equal keys are one scorer."""
    assert counts(run.score(length(), length())) == {"length": (12, 0, 0, 4)}


def test_an_answer_without_text_is_an_empty_one(lab):
    """A refusal or a tool call answered, and wrote nothing that could be right."""
    backend = ScriptedBackend(lambda body: text_reply(None, body), identity="silent")
    with Lab(lab.path, backend=backend) as other:
        template, grid = PromptTemplate("ask", user="{{ q }}"), {"model": "m", "max_tokens": 9}
        run = other.run(template, grid, cases=[{"q": "a", "want": "A"}], name="silent", progress=False)
        run.score(exact_match("want"), length())
        assert run.frame()[["status", "exact_match", "length"]].iloc[0].tolist() == ["ok", 0.0, 0.0]


# Several configurations


def test_a_changed_scorer_is_a_new_column(run):
    """The newest has the plain name, an older one its key; going back makes the older one the newest."""
    first, second = contains("capital"), contains("capital", words=True, ignore_case=True)
    run.score(first)
    run.score(second)
    assert run.frame().columns[-2:].tolist() == ["contains", f"contains@{first.key[:6]}"]
    assert counts(run.score(first)) == {"contains": (0, 12, 0, 4)}
    assert run.frame().columns[-2:].tolist() == ["contains", f"contains@{second.key[:6]}"]


def test_panels_show_one_configuration(run, lab):
    """The matrix does not mix two: what the newest has not scored has no score."""
    run.score(contains("country"))
    answered = lab.store.read("select id from outputs order by id")[0][0]
    newer = contains("capital")
    run.score(newer)
    lab.store.write(
        lambda connection: connection.execute(
            "delete from scores where config_key = ? and output_id = ?", (newer.key, answered)
        )
    ).result()
    table = Table(lab.store, [run.id], BY_COUNTRY, rater="ann")
    frame = run.frame()
    expected = frame.set_index("position")["contains"]
    assert pd.Series(table.trials.scores("contains")).equals(expected.reset_index(drop=True))
    shown = [cell(table, row.country, [row.template, row.temperature])["score"] for row in frame.itertuples()]
    assert [each and each["value"] for each in shown] == [None if pd.isna(value) else value for value in expected]
    assert expected.isna().sum() == 5


def test_measures_do_not_say_what_is_best(run, lab):
    """The longest or slowest answer is none to recommend: history and matrix go by what judges."""
    run.score(exact_match("capital"))
    run.score(length(), latency(), cost())
    [past] = detailed(lab.store, past_runs(lab.store))
    table = Table(lab.store, [run.id], BY_COUNTRY, rater="ann")
    assert (past.scorer, past.score, table.scorer) == ("exact_match", 1.0, "exact_match")
    assert set(table.trials.scorers) == {"exact_match", "length", "latency", "cost"}


def test_the_first_scorer_is_what_panels_show(run, lab):
    """It is stored last."""
    run.score(contains("capital"), exact_match("capital"))
    assert Table(lab.store, [run.id], BY_COUNTRY, rater="ann").scorer == "contains"


# A scorer that needs all answers at once


class Ranked(Scorer):
    """A scorer of the place of each answer's length among all."""

    batch = None

    def score_all(self, answers):
        """Return the places."""
        order = sorted({len(answer.text) for answer in answers})
        return [Score(float(order.index(len(answer.text)))) for answer in answers]


def test_a_scorer_can_be_given_all_answers(run):
    """As one that asks a model needs them."""
    ranked = Ranked("ranked", {"scorer": "ranked"}, lambda _: Score())
    assert counts(run.score(ranked)) == {"ranked": (12, 0, 0, 4)}
    terse = run.frame().query("template == 'terse' and temperature == 0").set_index("country")["ranked"]
    assert terse.dropna().to_dict() == {"France": 1.0, "Japan": 1.0, "Peru": 0.0}


# The file


def test_forgetting_a_run_takes_its_scores(run, lab):
    """What only it had goes, with a file that is whole."""
    run.score(exact_match("capital"), length())
    other = ask(lab, str.upper, [{"q": "a"}])
    other.score(length())
    assert lab.forget(run.id, dry_run=False).counts["scores"] == 24
    assert (len(stored(lab)), lab.check().ok) == (1, True)
    assert counts(other.score(length())) == {"length": (0, 1, 0, 0)}


def test_merging_brings_scores(run, lab, tmp_path):
    """They count as scored before; merging again adds none."""
    run.score(exact_match("capital"))
    with Lab(tmp_path / "other.db", backend=ScriptedBackend()) as other:
        assert other.merge(lab.path).counts["scores"] == 12
        assert other.merge(lab.path).counts["scores"] == 0
        assert counts(other.load("capitals").score(exact_match("capital"))) == {"exact_match": (0, 12, 0, 4)}
        assert other.check().ok


def test_no_text_breaks_scoring(tmp_path):
    """Hostile answers, names and cases are scored, stored, read and written out."""
    with hostile_lab(tmp_path / "hostile.db") as lab:
        run = lab.load(1)
        scored = run.score(
            *[contains("reference"), similarity("reference"), json_valid(), one_of(["a"]), numeric(number=6)],
            scorer(lambda output, _: output, name="echo", version=1),
        )
        assert {each[2] for each in counts(scored).values()} == {0}
        frame = run.frame()
        assert (frame["echo"] == frame["output"]).all()
        assert len(frame.to_csv().encode()) > 0
        assert len(run.scores()) == 6 * len(frame)


# Many


def test_scores_of_a_thousand_answers_agree_with_scikit_learn(lab):
    """Through the file and back, group by group, the means are accuracies."""
    cases = [{"q": f"{place}", "want": "ABC"[place % 3], "group": place % 4} for place in range(1_200)]
    run = ask(lab, lambda text: "ABCA"[int(text) * 7 % 4], cases, name="many")
    scored = run.score(exact_match("want"))
    frame = run.frame()
    assert counts(scored) == {"exact_match": (1_200, 0, 0, 0)}
    assert scored.scorers[0].mean == pytest.approx(accuracy_score(frame["want"], frame["output"]), abs=1e-12)
    for _, part in frame.groupby("group"):
        assert part["exact_match"].mean() == pytest.approx(accuracy_score(part["want"], part["output"]), abs=1e-12)
