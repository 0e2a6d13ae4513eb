"""Results: what the file says of runs, trials, money and single requests."""

import asyncio
import json
import shlex
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from promptlab import Cases, Lab, NotFoundError, ParameterGrid, PromptTemplate, RetryPolicy, results
from promptlab.accounts import Spending
from promptlab.results import COLUMNS
from promptlab.retries import Refusal
from promptlab.testing import ScriptedBackend, SendError, error_reply, text_reply
from studies import ASK, plan_of

FIXED = [name for name in COLUMNS if name != "..."]


@pytest.fixture
def lab_of(tmp_path):
    """Return a function that makes a lab answering from a script, on one file; all are closed."""
    labs = []

    def lab_of(script="ok", **options):
        backend = ScriptedBackend(script, **options)
        labs.append(Lab(tmp_path / "lab.db", backend=backend, policy=RetryPolicy(attempts=2, first_wait_s=0.001)))
        return labs[-1]

    yield lab_of
    for lab in labs:
        lab.close()


def question(body):
    """Return what a request asks."""
    return body["messages"][-1]["content"]


# The frame


def test_the_columns_are_those_declared(lab_of):
    """The frame's columns are COLUMNS in their order, the case's and the varying parameters where the dots are."""
    lab = lab_of()
    cases = Cases([{"q": "a", "answer": "x"}, {"q": "b", "answer": "y"}])
    run = lab.run(ASK, ParameterGrid(model="m", top_p=[0.5, 1], max_tokens=5), cases=cases, progress=False)
    names = list(COLUMNS)
    at = names.index("...")
    assert list(run.frame().columns) == [*names[:at], "q", "answer", "top_p", *names[at + 1 :]]


def test_a_row_says_everything_about_its_trial(lab_of):
    """One row, whole."""
    lab = lab_of(is_free=False)
    plan = lab.plan(ASK, {"model": "gpt-4.1-mini"}, cases=[{"q": "Hi"}])
    row = lab.run(plan, progress=False).frame().iloc[0].to_dict()
    assert row.pop("latency_ms") >= 0
    assert row.pop("cost_usd") == pytest.approx(8 * 0.4e-6 + 1.6e-6)
    assert pd.isna(row.pop("error"))
    assert row == {
        "position": 0,
        "template": "ask",
        "version": 1,
        "q": "Hi",
        "case": 0,
        "repeat": 0,
        "output": "ok",
        "finish_reason": "stop",
        "flags": "",
        "status": "ok",
        "prompt_tokens": 8,
        "cached_tokens": None,
        "completion_tokens": 1,
        "reasoning_tokens": None,
        "total_tokens": 9,
        "reused": False,
        "trial_id": 1,
        "sample_id": 1,
        "output_id": 1,
        "attempt_id": 1,
        "request_id": 1,
    }


def test_rows_stand_in_plan_order_whatever_order_answers_come_in(lab_of):
    """The last request may be answered first; its row is the last."""
    answered, turns = [], [asyncio.Event() for _ in range(5)]

    async def script(body):
        text = question(body)
        if text != "q4":
            await turns[int(text[1:]) + 1].wait()
        answered.append(text)
        turns[int(text[1:])].set()
        return text.upper()

    lab = lab_of(script)
    frame = lab.run(plan_of(lab, 5), progress=False).frame()
    assert answered == ["q4", "q3", "q2", "q1", "q0"]
    assert (list(frame["position"]), list(frame["output"])) == (list(range(5)), ["Q0", "Q1", "Q2", "Q3", "Q4"])


def test_types_hold_whatever_is_missing(lab_of):
    """A column has one type, also where every value is missing."""
    lab = lab_of(error_reply_script)
    frame = lab.run(plan_of(lab, 2), progress=False).frame()
    integers = ["prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens"]
    assert {str(frame[name].dtype) for name in [*integers, "output_id", "attempt_id"]} == {"Int64"}
    assert {str(frame[name].dtype) for name in ("cost_usd", "latency_ms")} == {"float64"}
    assert {str(frame[name].dtype) for name in ("position", "version", "case", "repeat", "request_id")} == {"int64"}
    assert str(frame["reused"].dtype) == "bool"


def error_reply_script(_):
    """Refuse."""
    return error_reply(400, "no")


def test_names_that_are_taken_are_prefixed(lab_of):
    """A case's column called like one of ours, or like a parameter, is `case.NAME`."""
    lab = lab_of()
    cases = [{"q": "a", "output": "expected", "model": "t-ford", "note": "free"}]
    frame = lab.run(ASK, {"model": "m"}, cases=cases, progress=False).frame()
    assert list(frame.columns)[3:7] == ["q", "case.output", "case.model", "note"]
    assert (frame["case.output"][0], frame["output"][0], frame["case.model"][0]) == ("expected", "ok", "t-ford")


def test_half_a_surrogate_pair_is_shown_as_a_replacement(lab_of):
    """UTF-8 has no place for one, so pandas could not hold it: not in a value, a nested one, a swept one or a name."""
    lab, half = lab_of(), "\ud83d"
    ask = PromptTemplate("ask", user="{{ q | tojson }} {{ n | tojson }} {{ v }}")
    case = {"q": half, "n": [{half: half}], half: 1}
    grid = ParameterGrid(model="m", variables={"v": [half, "w"]})
    row = lab.run(ask, grid, cases=[case], progress=False).frame().iloc[0]
    assert (row["q"], row["n"], row["v"], row["\ufffd"]) == ("\ufffd", [{"\ufffd": "\ufffd"}], "\ufffd", 1)


def test_a_varying_parameter_that_cannot_be_grouped_by_becomes_its_json(lab_of):
    """Lists and dicts have their JSON text, and a parameter that a setting lacks is missing there."""
    lab = lab_of()
    grid = ParameterGrid([{"model": "m", "stop": [["a", "b"]]}, {"model": "m", "seed": 7}])
    frame = lab.run(PromptTemplate("hi", user="Hi"), grid, progress=False).frame()
    assert list(frame["stop"].fillna("")) == ['["a","b"]', ""]
    assert list(frame["seed"].fillna(0)) == [0, 7]


def test_a_swept_template_variable_is_a_column(lab_of):
    """Variables of the grid vary like parameters."""
    grid = ParameterGrid(model="m", variables={"tone": ["kind", "curt"]})
    run = lab_of(question).run(PromptTemplate("t", user="Be {{ tone }}."), grid, progress=False)
    assert list(zip(run.frame()["tone"], run.outputs, strict=True)) == [("kind", "Be kind."), ("curt", "Be curt.")]


def test_trials_without_an_answer_have_their_row(lab_of):
    """Failed, stopped and not yet asked trials say so, and why."""

    def script(body):
        if body["model"] == "gone":
            return error_reply(404, "no such model", code="model_not_found")
        return error_reply(400, "too long") if question(body) == "q1" else "yes"

    lab = lab_of(script)
    plan = plan_of(lab, 3, model=["m", "gone"])
    run = lab.run(plan, concurrency=1, progress=False)
    frame = run.frame()
    missing = "HTTP 404 invalid_request_error (model_not_found): no such model"
    refused = "HTTP 400 invalid_request_error: too long"
    assert list(frame["status"]) == ["ok", "failed", "ok", "failed", "stopped", "stopped"]
    assert list(frame["error"].fillna("")) == ["", refused, "", missing, missing, missing]
    assert list(frame["output"].isna()) == [False, True, False, True, True, True]
    assert list(run.errors.columns) == ["position", "template", "case", "repeat", "status", "error", "request_id"]
    assert (list(run.errors["position"]), run.outputs) == ([1, 3, 4, 5], ["yes", None, "yes", None, None, None])


def test_a_stopped_run_has_rows_for_what_was_not_asked(lab_of):
    """They are todo, since they can still be asked."""
    lab = lab_of(lambda _: error_reply(400, "no"))
    with pytest.raises(Exception, match="stopped at its first failed trial"):
        lab.run(plan_of(lab, 3), concurrency=1, on_error="stop", progress=False)
    assert list(lab.last_run.frame()["status"]) == ["failed", "todo", "todo"]


def test_flags_are_one_text(lab_of):
    """What to know before trusting an answer stands beside it, joined by commas."""
    lab = lab_of(lambda body: text_reply(" ", body, finish_reason="length", model="other"))
    frame = lab.run(plan_of(lab, 1), progress=False).frame()
    assert frame["flags"][0] == "length, blank, other_model"


def test_a_run_without_trials_has_the_fixed_columns(lab_of):
    """A registration cut off at once leaves a frame without rows."""
    lab = lab_of()
    lab.run(plan_of(lab, 1), progress=False)
    lab.store.write(lambda c: c.execute("delete from trials")).result()
    assert list(lab.load(1).frame().columns) == FIXED


# Runs


@pytest.mark.parametrize("name", [2, np.int64(2), "same", "20"])
def test_a_run_is_found_by_id_name_or_uid(lab_of, name):
    """Of several with one name it is the newest; a frame's own integers are ids too."""
    lab = lab_of()
    lab.run(plan_of(lab, 1), name="same", progress=False)
    lab.run(plan_of(lab, 2), name="same", progress=False)
    uid = lab.sql("select uid from runs where id = 2").iat[0, 0]
    assert lab.load(uid if name == "20" else name).id == 2


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        pytest.param([], "it holds none yet", id="none"),
        pytest.param(["a", "b", "a"], "the newest are 'a', 'b'", id="some"),
    ],
)
def test_a_run_that_is_not_there_is_told_with_those_that_are(lab_of, names, sentence):
    """The error has the newest names, each once."""
    lab = lab_of()
    for size, name in enumerate(names, 1):
        lab.run(plan_of(lab, size), name=name, progress=False)
    with pytest.raises(NotFoundError) as caught:
        lab.load("c")
    assert str(caught.value) == f"no run 'c' in {lab.path}; {sentence}"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        pytest.param(["moods"], "did you mean 'moods'?", id="alone"),
        pytest.param(["moods", "a", "b"], "did you mean 'moods'? the newest are 'b', 'a'", id="among-others"),
    ],
)
def test_a_misspelt_run_is_told_with_the_nearest(lab_of, names, sentence):
    """The name that was probably meant comes first, then the newest others."""
    lab = lab_of()
    for size, name in enumerate(names, 1):
        lab.run(plan_of(lab, size), name=name, progress=False)
    with pytest.raises(NotFoundError) as caught:
        lab.load("mods")
    assert str(caught.value) == f"no run 'mods' in {lab.path}; {sentence}"


# Money


def test_spending_counts_every_attempt(lab_of):
    """Failed attempts are in it, unknown ones apart, and what was reused is not."""

    def scripts():
        yield error_reply(500)
        yield "yes"
        yield SendError("reset", "cut", maybe_paid=True)
        yield "yes"

    answers = scripts()
    lab = lab_of(lambda _: next(answers), is_free=False)
    plan = plan_of(lab, 2, model="gpt-4.1-mini")
    run = lab.run(plan, concurrency=1, progress=False)
    again = lab.run(plan, name="again", progress=False)
    most = len(plan.request(1).content) * 0.4e-6 + 16 * 1.6e-6
    spent = pytest.approx(16 * 0.4e-6 + 2 * 1.6e-6)
    assert run.usage == Spending(4, 16, 0, 2, 0, spent, unknown=1, unpriced=0, reserved_usd=pytest.approx(most))
    assert again.usage == Spending(0, 0, 0, 0, 0, 0.0, unknown=0, unpriced=0, reserved_usd=0.0)
    assert (run.cost_usd, again.cost_usd) == (pytest.approx(9.6e-6), 0.0)


def test_a_cost_that_is_not_known_stays_unknown(lab_of):
    """A model without a price is not free."""
    lab = lab_of(is_free=False)
    run = lab.run(plan_of(lab, 2, model="nobody/knows"), progress=False)
    assert (run.cost_usd, run.usage.unpriced, bool(run.frame()["cost_usd"].isna().all())) == (None, 2, True)


def test_what_is_known_is_summed_and_the_rest_counted(lab_of):
    """A run over two models, one without a price, costs what is known, and says what is left out."""
    lab = lab_of(is_free=False)
    run = lab.run(plan_of(lab, 1, model=["gpt-4.1-mini", "nobody/knows"]), progress=False)
    assert (run.cost_usd, run.usage.unpriced) == (pytest.approx(8 * 0.4e-6 + 1.6e-6), 1)


# One logged request


def test_a_logged_request_has_everything(lab_of):
    """Body, reply and every attempt, the oldest first."""
    answers = iter([error_reply(500, "ouch"), "yes"])
    lab = lab_of(lambda _: next(answers))
    frame = lab.run(plan_of(lab, 1), progress=False).frame()
    logged = lab.request(frame["request_id"][0])
    assert (logged.model, logged.endpoint, logged.text) == ("m", "chat/completions", "q0")
    assert json.loads(logged.body)["messages"] == [{"role": "user", "content": "q0"}]
    assert [(each["number"], each["state"], each["http_status"]) for each in logged.attempts] == [
        (1, "error", 500),
        (2, "ok", 200),
    ]
    assert (json.loads(logged.response)["id"], logged.headers) == ("scripted", {"content-type": "application/json"})


def test_a_request_without_an_answer_shows_its_last_reply(lab_of):
    """The newest attempt is the one to look at when none was answered."""
    lab = lab_of(lambda _: error_reply(400, "no"))
    frame = lab.run(plan_of(lab, 1), progress=False).frame()
    logged = lab.request(int(frame["request_id"][0]))
    assert json.loads(logged.response)["error"]["message"] == "no"


def test_a_repeat_has_a_response_of_its_own(lab_of):
    """Repeats share their request; the attempt says whose response is shown, and it is said that there are others."""
    numbers = iter(range(3))
    lab = lab_of(lambda _: f"answer {next(numbers)}")
    frame = lab.run(plan_of(lab, 1, repeats=3), progress=False, concurrency=1).frame()
    assert frame["request_id"].tolist() == [1, 1, 1]
    logged = [lab.request(1, attempt=attempt) for attempt in frame["attempt_id"]]
    answers = [json.loads(each.response)["choices"][0]["message"]["content"] for each in logged]
    assert answers == frame["output"].tolist()
    assert [each.code() for each in logged] == [f"lab.request(1, attempt={number})" for number in (1, 2, 3)]
    says = "response of attempt 2; there are 2 others, e.g. lab.request(1, attempt=3)"
    assert repr(logged[1]).split("\n")[-1] == says
    assert f"m; {says}" in logged[1]._repr_html_()
    newest = "response of attempt 3, the newest answer; there are 2 others, e.g. lab.request(1, attempt=2)"
    assert (lab.request(1).shown(), lab.request(1).code()) == (newest, "lab.request(1)")


@pytest.mark.parametrize("attempt", [pytest.param(9, id="no-such"), pytest.param(pd.NA, id="never-asked")])
def test_an_attempt_that_is_not_of_the_request_is_told(lab_of, attempt):
    """The error names the attempts there are."""
    lab = lab_of()
    lab.run(plan_of(lab, 2), progress=False)
    with pytest.raises(NotFoundError) as caught:
        lab.request(2, attempt=attempt)
    assert str(caught.value) == f"no attempt {attempt!r} at request 2 in {lab.path}; its newest are 2"


def test_a_request_that_was_never_sent_has_nothing_to_show(lab_of):
    """Registered, not asked: body and no reply."""
    lab = lab_of(lambda _: error_reply(401, "no"))
    lab.run(plan_of(lab, 2), concurrency=1, progress=False)
    logged = lab.request(2)
    assert (logged.attempts, logged.response, logged.headers, logged.answer) == ((), None, {}, None)
    assert logged.shown() == ""
    assert logged.as_curl().startswith('curl "$OPENAI_BASE_URL/chat/completions" ')
    assert "q1" in logged._repr_html_()


def test_a_request_that_is_not_there_is_told(lab_of):
    """The error says where ids come from."""
    lab = lab_of()
    with pytest.raises(NotFoundError) as caught:
        lab.request(7)
    assert str(caught.value) == f"no request 7 in {lab.path}; the column request_id of run.frame() has the ids"


@pytest.mark.parametrize("text", ["it's", 'say "hi"', "$HOME `id` $(id)", "a\\b\nc\t", "Ünï \U0001f600", "@file", "!x"])
def test_the_curl_command_survives_a_shell(lab_of, text):
    """Whatever is in the prompt, the shell hands curl the body byte for byte, and the key stays a variable."""
    lab = lab_of()
    lab.run(ASK, {"model": "m"}, cases=[{"q": text}], progress=False)
    logged = lab.request(1)
    words = shlex.split(logged.as_curl().replace("\\\n", ""))
    shown = logged.as_curl().replace("curl ", "printf '%s\\n' ", 1)
    shell = [shutil.which("bash"), "-c", shown]
    printed = subprocess.run(shell, capture_output=True, check=True, env={"OPENAI_API_KEY": "K"}).stdout
    assert words[-2:] == ["--data-raw", logged.body]
    assert printed.endswith(b"--data-raw\n" + logged.body.encode() + b"\n")
    assert b"Authorization: Bearer K\n" in printed


def test_it_can_be_looked_at(lab_of):
    """The text form has a line an attempt; the rich one escapes what the model wrote."""
    lab = lab_of("<script>alert(1)</script>")
    lab.run(plan_of(lab, 1), progress=False)
    logged = lab.request(1)
    head, columns, first = repr(logged).split("\n")
    assert head == "<LoggedRequest 1: m, 1 attempt>"
    assert columns.split() == ["attempt", "state", "HTTP", "sent", "at", "latency", "tokens", "error"]
    assert (first.split()[:3], first.split()[-3:]) == (["1", "ok", "200"], ["8", "+", "6"])
    assert "<script>" not in logged._repr_html_()


def test_a_reply_that_is_very_long_or_no_json_is_shown_in_part(lab_of):
    """The card stays small; the bytes have all of it."""
    lab = lab_of("word " * 5_000)
    lab.run(plan_of(lab, 1), progress=False)
    assert ".body and .response have all of it" in lab.request(1)._repr_html_()


# What the file knows


def test_refusals_are_learned_for_the_backend_that_refused(lab_of):
    """A parameter that one address refuses is not held against another."""
    lab = lab_of(lambda _: error_reply(400, "no", code="unsupported_value", param="top_p"))
    lab.run(plan_of(lab, 1, top_p=0.5), progress=False)
    assert results.refusals(lab.store, "scripted") == {Refusal("m", "top_p", "0.5")}
    assert results.refusals(lab.store, "elsewhere") == set()


def test_other_errors_that_name_a_parameter_are_not_learned(lab_of):
    """A prompt that is too long says nothing about the model."""
    lab = lab_of(lambda _: error_reply(400, "too long", code="context_length_exceeded", param="messages"))
    lab.run(plan_of(lab, 1), progress=False)
    assert results.refusals(lab.store, "scripted") == set()


def test_facts_of_a_model_are_those_of_its_answers(lab_of):
    """Tokens a byte, tokens an answer and latency come from this backend's own answers, each counted once."""
    lab = lab_of(lambda body: text_reply("x" * (4 if question(body) == "q0" else 12), body))
    lab.run(plan_of(lab, 2, repeats=2), progress=False)
    facts = results.model_facts(lab.store, "m", "scripted")
    assert (facts.tokens_per_byte, facts.completion_tokens) == (8 / 2, 2.0)
    assert facts.latency_ms >= 0
    nothing = results.ModelFacts(None, None, None)
    assert (
        results.model_facts(lab.store, "m", "elsewhere") == results.model_facts(lab.store, "n", "scripted") == nothing
    )


def test_facts_look_at_the_newest_attempts_only(lab_of):
    """A model that a large file does not know is not looked for in all of it."""
    lab = lab_of()
    steps = [row["detail"] for row in lab.store.read(f"explain query plan {results._FACTS}", ("m", "scripted"))]
    assert "SEARCH attempts USING INTEGER PRIMARY KEY (rowid>?)" in steps


def test_the_index_of_refusals_is_used(lab_of):
    """Making a plan does not read every attempt of a large file."""
    lab = lab_of()
    steps = lab.store.read(f"explain query plan {results._REFUSALS}", ("scripted",))
    assert any("attempts USING INDEX attempts_refused" in row["detail"] for row in steps)


def test_swept_names_that_are_columns_are_told_apart(lab_of):
    """A template variable called like a column stands beside it, as `param.NAME`, and loses nothing."""
    lab = lab_of(lambda body: body["messages"][-1]["content"])
    echo = PromptTemplate("echo", user="{{ output }} {{ q }}")
    grid = ParameterGrid(model="m", variables={"output": ["a", "b"]})
    run = lab.run(echo, grid, cases=[{"q": "x", "status": "mine"}], progress=False)
    frame = run.frame()
    assert frame.columns.is_unique
    assert frame[["param.output", "output", "case.status", "status"]].to_numpy().tolist() == [
        ["a", "a x", "mine", "ok"],
        ["b", "b x", "mine", "ok"],
    ]
    assert run.outputs == ["a x", "b x"]


def test_one_and_one_point_nought_are_two_cases(lab_of):
    """They make two prompts, so each run's frame shows the value that its prompt had."""
    lab = lab_of(lambda body: body["messages"][-1]["content"])
    ask = PromptTemplate("ask", user="{{ q }}")
    runs = [lab.run(ask, {"model": "m"}, cases=[{"q": q}], name=str(q), progress=False) for q in (1, 1.0)]
    assert [(str(run.frame()["q"][0]), run.outputs) for run in runs] == [("1", ["1"]), ("1.0", ["1.0"])]
