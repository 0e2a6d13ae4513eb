"""The lab: where it gets its settings, what it refuses, what it shows, and what it leaves behind."""

import os
import threading
from pathlib import Path

import openai
import pandas as pd
import pytest

from promptlab import Lab, LocalModel, ParameterGrid, Price, PromptTemplate, _loop
from promptlab.endpoints import environment
from promptlab.errors import BackendError, MissingKeyError, NotFoundError, PlanError, StoreError
from promptlab.testing import ManualClock, ScriptedBackend, error_reply, text_reply
from studies import ASK, cases, plan_of

KEY = "sk-test-1234567890"


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """A folder of its own, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab():
    """A lab that answers in capitals."""
    with Lab(backend=ScriptedBackend(lambda body: body["messages"][-1]["content"].upper())) as lab:
        yield lab


# Settings


def test_the_file_is_in_this_folder(lab):
    """Without a path it is experiments.db, made when it is not there."""
    assert (lab.path, Path("experiments.db").exists()) == (Path("experiments.db"), True)


def test_address_and_key_come_from_the_environment(monkeypatch, fault_server):
    """With both set, a lab needs no argument."""
    fault_server.set(require_key=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", fault_server.base_url)
    with Lab() as lab:
        assert (lab.ask(ASK, {"q": "Hi"}, model="m").run.status, lab.backend.identity) == (
            "done",
            fault_server.base_url,
        )


def test_address_and_key_come_from_a_file_in_this_folder(fault_server):
    """`.env` is read, and the environment stays as it is."""
    fault_server.set(require_key=KEY)
    Path(".env").write_text(f"OPENAI_API_KEY='{KEY}'\nOPENAI_BASE_URL={fault_server.base_url}\n", encoding="utf-8")
    with Lab() as lab:
        assert lab.ask(ASK, {"q": "Hi"}, model="m").run.status == "done"
    assert "OPENAI_API_KEY" not in os.environ


@pytest.mark.parametrize(
    ("given", "in_environment", "in_file", "used"),
    [
        pytest.param("http://a/v1", "http://b/v1", "http://c/v1", "http://a/v1", id="argument-first"),
        pytest.param(None, "http://b/v1", "http://c/v1", "http://b/v1", id="then-the-environment"),
        pytest.param(None, None, "http://c/v1", "http://c/v1", id="then-the-file"),
        pytest.param(None, "", "http://c/v1", "https://api.openai.com/v1", id="an-empty-variable-hides-the-file"),
        pytest.param(None, None, None, "https://api.openai.com/v1", id="then-the-default"),
    ],
)
def test_the_nearest_setting_wins(monkeypatch, given, in_environment, in_file, used):
    """What is passed wins over the environment, that over the file."""
    if in_environment is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", in_environment)
    if in_file:
        Path(".env").write_text(f"OPENAI_BASE_URL={in_file}\n", encoding="utf-8")
    with Lab(base_url=given) as lab:
        assert lab.backend.identity == used


def test_settings_without_a_value_are_left_out(monkeypatch):
    """Only what is set is a setting."""
    monkeypatch.setenv("OPENAI_API_KEY", "")
    Path(".env").write_text("OPENAI_BASE_URL\nOTHER=1\n", encoding="utf-8")
    assert environment() == {}


def test_without_a_key_everything_but_asking_works():
    """A plan can be made and the file read; asking says how to give a key, and writes nothing."""
    with Lab() as lab:
        plan = plan_of(lab, 2)
        with pytest.raises(MissingKeyError, match=r"Lab\(backend=LocalModel\(\)\)"):
            lab.run(plan, progress=False)
        assert (plan.estimate.to_send, len(lab.runs())) == (2, 0)


def test_a_backend_is_given_alone():
    """Address, key or client beside it would be ignored, so they are refused."""
    with pytest.raises(BackendError, match="backend= is given beside base_url=, api_key= or client=; give one of them"):
        Lab(backend=ScriptedBackend(), api_key=KEY)


def test_a_client_of_the_users_own_is_asked(fault_server):
    """Its address is the identity, the environment is not looked at, and it stays open."""
    Path(".env").write_text("OPENAI_BASE_URL=http://nobody.invalid/v1\n", encoding="utf-8")
    client = openai.AsyncOpenAI(base_url=fault_server.base_url, api_key=KEY)
    with Lab(client=client) as lab:
        assert (lab.ask(ASK, {"q": "Hi"}, model="m").run.status, lab.backend.identity) == (
            "done",
            fault_server.base_url,
        )
    assert not client.is_closed()
    _loop.run(client.close())


def test_a_file_that_cannot_be_opened_is_told():
    """The lab has the store's error."""
    with pytest.raises(StoreError, match="gone does not exist"):
        Lab("gone/lab.db", backend=ScriptedBackend())


# Plans and runs


def test_one_template_a_mapping_and_rows_are_enough(lab):
    """A grid may be a plain mapping, cases may be rows or a DataFrame, and templates one or several."""
    plans = [
        lab.plan(ASK, {"model": "m"}, cases=cases(2)),
        lab.plan([ASK], ParameterGrid(model="m"), cases=pd.DataFrame(cases(2))),
    ]
    assert plans[0].key == plans[1].key


def test_a_plan_can_be_made_and_run_in_one_call(lab):
    """Templates and a grid are as good as a plan."""
    run = lab.run([ASK], {"model": "m"}, cases=cases(2), repeats=2, generation=1, note="in one", progress=False)
    assert (run.outputs, run.name, lab.runs()["note"][0]) == (["Q0", "Q0", "Q1", "Q1"], "ask", "in one")


def test_templates_without_variables_need_no_cases(lab):
    """There is one trial a setting."""
    run = lab.run(PromptTemplate("hi", user="Hi"), {"model": "m", "temperature": [0, 1]}, progress=False)
    assert run.outputs == ["HI", "HI"]


def test_a_plan_without_a_grid_is_told(lab):
    """Templates alone do not make a plan."""
    with pytest.raises(PlanError, match="give a plan, or templates and a grid"):
        lab.run(ASK)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"grid": {"model": "m"}}, id="grid"),
        pytest.param({"cases": pd.DataFrame(cases(2))}, id="frame"),
        pytest.param({"repeats": 2}, id="repeats"),
        pytest.param({"generation": 1}, id="generation"),
    ],
)
def test_what_a_plan_has_already_is_not_given_again(lab, more):
    """It would be ignored, so it is refused."""
    with pytest.raises(PlanError, match="a plan has its grid, cases, repeats and generation already"):
        lab.run(plan_of(lab, 2), progress=False, **more)


def test_a_plan_is_made_for_one_backend(lab):
    """The keys of another backend's plan would find nothing here."""
    with (
        Lab("other.db", backend=ScriptedBackend(identity="other")) as other,
        pytest.raises(PlanError, match="this plan was made for other, and this lab asks scripted; make it anew"),
    ):
        lab.run(plan_of(other, 1))


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True])
def test_concurrency_is_a_whole_number_from_one(lab, concurrency):
    """Any other is refused before anything is written, together with whatever else is wrong."""
    with pytest.raises(PlanError) as caught:
        lab.run(plan_of(lab, 1), concurrency=concurrency, on_error="explode")
    assert caught.value.problems == (
        f"concurrency={concurrency!r}: a whole number from 1 is needed, or None to let it adapt",
        "on_error='explode': one of 'continue', 'stop' is needed",
    )
    assert len(lab.runs()) == 0


def test_the_run_says_where_it_was_made(lab, monkeypatch):
    """Versions, host and the notebook's name are kept, and no path of the machine."""
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/private/study.ipynb")
    lab.run(plan_of(lab, 1), progress=False)
    row = lab.sql("select * from runs").iloc[0]
    assert tuple(row[["notebook", "host", "openai_version"]]) == (
        "study.ipynb",
        os.uname().nodename,
        openai.__version__,
    )
    assert "private" not in row.to_json()


# One answer


def test_one_question_is_one_logged_answer(lab):
    """Text, reason and ids; asked again it costs nothing."""
    first, second = (lab.ask(ASK, {"q": "Hi"}, model="m", temperature=0.5) for _ in "ab")
    assert (first.text, str(first), repr(first), first.finish_reason, first.flags) == ("HI", "HI", "HI", "stop", "")
    assert (second.request_id, len(lab.backend.requests), second.run.name) == (1, 1, "ask ask")


def test_an_answer_says_what_to_know_before_trusting_it():
    """What was cut short says so, and control characters are shown, not obeyed."""
    script = lambda body: text_reply("a\x1b[31m", body, finish_reason="length")  # noqa: E731 - a script is one line
    with Lab(backend=ScriptedBackend(script)) as lab:
        answer = lab.ask(PromptTemplate("hi", user="Hi"), model="m")
    assert ("\x1b" in repr(answer), repr(answer).endswith("\n[length]"), answer.text) == (False, True, "a\x1b[31m")


def test_an_answer_without_text_is_empty():
    """A tool call or a refusal has no text, and the flags say why."""
    with Lab(backend=ScriptedBackend(lambda body: text_reply(None, body, finish_reason=None))) as lab:
        answer = lab.ask(PromptTemplate("hi", user="Hi"), model="m")
    assert (answer.text, answer.finish_reason, answer.flags) == ("", None, "no_finish, null")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        pytest.param(error_reply(400, "too long"), "no answer: HTTP 400 invalid_request_error: too long", id="refused"),
        pytest.param(
            error_reply(401, "who?"),
            "no answer: HTTP 401 invalid_request_error: who?; check the key (OPENAI_API_KEY in the environment or"
            " in .env, or api_key=...)",
            id="account",
        ),
    ],
)
def test_a_question_without_an_answer_raises(reply, message):
    """The error says why; asked again it is asked again."""
    with Lab(backend=ScriptedBackend(lambda _: reply)) as lab:
        for _ in range(2):
            with pytest.raises(BackendError) as caught:
                lab.ask(PromptTemplate("hi", user="Hi"), model="m")
        assert (str(caught.value), len(lab.backend.requests)) == (message, 2)


def test_the_local_model_is_the_only_model():
    """With it, `model=` may be left out, and another name is refused, since the server would answer to any."""

    class Quick(LocalModel):
        """A local model whose answers are scripted."""

        def start(self):
            """Start nothing."""

        async def send(self, request, **_):
            return text_reply(request.model, {"model": request.model, "messages": []})

    with Lab(backend=Quick()) as lab:
        hi = PromptTemplate("hi", user="Hi")
        assert lab.ask(hi).text == "smollm2-135m"
        with pytest.raises(PlanError, match=r"model='other' is not on offer here; .* for 'smollm2-135m' only"):
            lab.ask(hi, model="other")


# What the file holds


def test_a_query_gives_a_frame(lab):
    """Columns and rows, with parameters beside the text; nothing can be written."""
    lab.run(plan_of(lab, 2), progress=False)
    frame = lab.sql("select position, output from trials_view where position > ? order by 1", (0,))
    assert frame.to_dict("list") == {"position": [1], "output": ["Q1"]}
    assert lab.sql("select 1 as n where 0").columns.tolist() == ["n"]
    with pytest.raises(StoreError, match=r"not allowed .*: lab\.sql reads this file only"):
        lab.sql("delete from runs")


def test_models_are_listed(fault_server):
    """The endpoint's own list, sorted."""
    fault_server.set(models=["b", "a"])
    with Lab(base_url=fault_server.base_url, api_key=KEY) as lab:
        assert lab.models() == ["a", "b"]


def test_a_run_that_is_not_there_is_told(lab):
    """An id or a name nobody gave is an error of ours, and a LookupError too."""
    for name in (7, "nothing"):
        with pytest.raises(NotFoundError, match="it holds none yet"):
            lab.load(name)


def test_it_shows_what_it_is(lab):
    """File, contents and backend, as text and as a card."""
    lab.run(plan_of(lab, 2), progress=False)
    backend = "ScriptedBackend scripted: 2 requests"
    assert repr(lab) == f"<Lab experiments.db, 1 run and 2 answers, {backend}>"
    assert backend in lab._repr_html_()


# What it leaves behind


def test_closing_leaves_one_file_and_no_thread(lab):
    """Connections, threads and side files are gone; closing twice does nothing."""
    lab.run(plan_of(lab, 2), progress=False)
    lab.close()
    lab.close()
    names = {thread.name for thread in threading.enumerate()}
    assert ([each.name for each in Path().iterdir()], "promptlab-writer" in names) == (["experiments.db"], False)


def test_the_file_is_closed_even_when_the_backend_cannot_be():
    """An error while connections are given back is raised after the file has been closed."""

    class Stuck(ScriptedBackend):
        async def aclose(self):
            msg = "stuck"
            raise RuntimeError(msg)

    lab = Lab(backend=Stuck())
    lab.run(plan_of(lab, 1), progress=False)
    with pytest.raises(RuntimeError, match="stuck"):
        lab.close()
    assert [each.name for each in Path().iterdir()] == ["experiments.db"]


def test_a_lab_can_be_used_again_after_closing(lab):
    """What was given back is made anew."""
    lab.run(plan_of(lab, 1), progress=False)
    lab.close()
    assert lab.run(plan_of(lab, 2), progress=False).outputs == ["Q0", "Q1"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"limits": {"requests_per_minute": 5}}, "limits={'requests_per_minute': 5}: write RateLimits("),
        ({"prices": {"m": (1, 2)}}, "prices={'m': (1, 2)}: prices by model are needed"),
        ({"prices": Price(1, 2)}, "prices=Price(prompt=1, completion=2, cached=None): prices by model are needed"),
        ({"backend": "gpt"}, "backend='gpt': one that answers is needed, e.g. LocalModel()"),
        ({"backend": LocalModel}, "backend=<class 'promptlab.backends.local.LocalModel'>: one that answers is needed"),
        ({"policy": 3}, "policy=3: write RetryPolicy("),
        ({"clock": ManualClock()}, "write ManualClock().clock()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_of_the_wrong_kind_is_told(tmp_path, options, problem):
    """Before any file is made, with what to write instead."""
    with pytest.raises(PlanError) as caught:
        Lab(tmp_path / "lab.db", **options)
    assert problem in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [":memory:", "."])
def test_a_lab_needs_a_file(name):
    """A folder is none, and neither is what SQLite would keep in memory."""
    with pytest.raises(StoreError, match=r"needs a file|is a folder; name a file in it"):
        Lab(name, backend=ScriptedBackend())


def test_a_lab_stays_with_its_file_when_the_notebook_moves(tmp_path, monkeypatch):
    """After %cd it goes on with the file it opened, and leaves one of the same name elsewhere alone."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    with Lab(tmp_path / "b" / "lab.db", backend=ScriptedBackend("theirs")) as other:
        other.run(plan_of(other, 2), progress=False)
    monkeypatch.chdir(tmp_path / "a")
    with Lab("lab.db", backend=ScriptedBackend("mine")) as lab:
        lab.run(plan_of(lab, 1), progress=False)
        monkeypatch.chdir(tmp_path / "b")
        assert lab.run(plan_of(lab, 3), progress=False).outputs == ["mine"] * 3
        assert str(lab.path) == "lab.db"
    with Lab(tmp_path / "b" / "lab.db", backend=ScriptedBackend("theirs")) as other:
        assert other.load(1).outputs == ["theirs"] * 2


def test_a_run_that_is_there_already_says_that_nothing_was_sent(lab):
    """What it spent is the past; the cell that was run again cost nothing."""
    first = lab.run(plan_of(lab, 2), progress=False)
    again = lab.run(plan_of(lab, 2), progress=False)
    assert ("nothing sent now; before: 2 requests sent" in repr(again), "now" in repr(first)) == (True, False)


def test_forgetting_needs_a_name_that_one_run_has(lab):
    """Of two runs of a name, as after a merge, neither is taken for the other; one that is gone is not found."""
    runs = [lab.run(plan_of(lab, n), name="study", progress=False) for n in (1, 2)]
    with pytest.raises(StoreError, match=r"2 runs are called 'study'; name the one to forget by its id: 1, 2 "):
        lab.forget("study")
    lab.forget(runs[1].id, dry_run=False)
    assert lab.forget("study").run_id == 1
