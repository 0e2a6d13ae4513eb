"""Offline: every answer comes from the file, and what it does not hold is one clear error."""

import pytest

from promptlab import Lab, OfflineError, PromptTemplate, _loop
from promptlab.backends.offline import OfflineBackend
from promptlab.requests import build
from promptlab.testing import ScriptedBackend
from studies import ASK, plan_of


@pytest.fixture
def path(tmp_path):
    """A file that holds three answers."""
    path = tmp_path / "lab.db"
    with Lab(path, backend=ScriptedBackend(lambda body: body["messages"][-1]["content"].upper())) as lab:
        lab.run(plan_of(lab, 3, temperature=0.5), name="first", progress=False)
    return path


@pytest.fixture
def lab(path):
    """The file, opened offline."""
    with Lab(path, offline=True) as lab:
        yield lab


def test_a_finished_run_comes_back(lab):
    """The same plan under the same name is the same run, without a key and without a network."""
    run = lab.run(plan_of(lab, 3, temperature=0.5), name="first", progress=False)
    assert (run.id, run.outputs, lab.is_offline) == (1, ["Q0", "Q1", "Q2"], True)


def test_a_part_of_what_is_held_can_be_run_anew(lab):
    """Another name is another run, answered from the file alone."""
    run = lab.run(plan_of(lab, 2, temperature=0.5), name="second", progress=False)
    assert (run.id, run.status, run.outputs, run.usage.attempts) == (2, "done", ["Q0", "Q1"], 0)


def test_the_plan_says_what_is_missing(lab):
    """The estimate tells answered from missing as it does with a backend."""
    estimate = plan_of(lab, 4, temperature=0.5).estimate
    assert (estimate.answered, estimate.to_send) == (3, 1)


def test_a_request_that_is_not_held_names_the_nearest(lab):
    """The error says how many are missing, which is the first, and in what it differs from the nearest one held."""
    with pytest.raises(OfflineError) as caught:
        lab.run(plan_of(lab, 3, temperature=0.7), progress=False)
    message = str(caught.value)
    assert message.startswith(
        f"offline: {lab.path} lacks 3 answers of 3; first <Trial 0: ask, model='m', max_tokens=16"
    )
    assert message.endswith(": the nearest is request 1: temperature is 0.7 here and 0.5 there")
    assert (caught.value.nearest, caught.value.differs) == (1, ("temperature",))
    assert lab.sql("select count(*) from runs").iat[0, 0] == 1


def test_a_missing_repeat_is_told_as_such(lab):
    """The request is held, but not so often."""
    with pytest.raises(OfflineError, match=r"lacks 1 answer of 2; .*: the nearest is request 1: the same, but as"):
        lab.run(plan_of(lab, 1, temperature=0.5, repeats=2), progress=False)


def test_an_endpoint_without_answers_has_nothing_near(lab):
    """A text template has nothing to be compared with here."""
    with pytest.raises(OfflineError, match="it holds none like it") as caught:
        lab.run(PromptTemplate("base", text="{{ q }}"), {"model": "m"}, cases=[{"q": "q0"}], progress=False)
    assert caught.value.nearest is None


def test_the_only_backend_of_the_file_is_meant(path):
    """Nobody has to name the address that the answers came from."""
    with Lab(path, offline=True) as lab:
        assert repr(lab.backend) == "<OfflineBackend scripted>"


def test_of_several_backends_one_has_to_be_named(path):
    """The error lists them; naming one is enough, by backend or by address."""
    with Lab(path, backend=ScriptedBackend(identity="http://localhost:1/v1")) as lab:
        lab.run(plan_of(lab, 1), progress=False)
    choice = "holds answers of 2 backends; name one with base_url= or backend=: http://localhost:1/v1, scripted"
    with pytest.raises(OfflineError) as caught:
        Lab(path, offline=True)
    assert str(caught.value) == f"offline: {path} {choice}"
    with Lab(path, offline=True, base_url="http://localhost:1/v1") as lab:
        assert plan_of(lab, 1).estimate.answered == 1
    with Lab(path, offline=True, backend=ScriptedBackend()) as lab:
        assert plan_of(lab, 3, temperature=0.5).estimate.answered == 3


def test_an_empty_file_answers_nothing(tmp_path):
    """Without any answer there is nothing to stand for."""
    Lab(tmp_path / "lab.db", backend=ScriptedBackend()).close()
    with pytest.raises(OfflineError, match=r"holds answers of 0 backends: nothing was asked yet$"):
        Lab(tmp_path / "lab.db", offline=True)


def test_asking_is_answered_from_the_file_too(lab):
    """One question that was asked before costs nothing and needs nobody."""
    assert lab.ask(ASK, {"q": "q1"}, model="m", max_tokens=16, temperature=0.5).text == "Q1"


def test_models_are_not_asked_for(lab):
    """The error tells how to list those in the file."""
    with pytest.raises(OfflineError, match=r"lab\.sql\('select distinct model from requests'\) lists those"):
        lab.models()


def test_the_backend_refuses_to_send():
    """Whatever the lab does, nothing leaves."""
    backend = OfflineBackend("x")
    request = build([{"role": "user", "content": "Hi"}], {"model": "m"}, identity="x")
    with pytest.raises(OfflineError, match=r"nothing is sent \(a request to m\)"):
        _loop.run(backend.send(request, client_request_id="a", timeout_s=1))
    assert (backend.info().kind, backend.info().identity) == ("offline", "x")
