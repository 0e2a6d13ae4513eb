"""Fine-tuning data: which answers are chosen, what an example holds, and what is refused."""

import json

import pandas as pd
import pytest

from promptlab import Lab, ParameterGrid, PromptTemplate, judgements
from promptlab.attempts import Reply
from promptlab.errors import ExportError
from promptlab.finetuning import faults
from promptlab.testing import ScriptedBackend, text_reply

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
FEW_SHOT = [("system", "Be brief."), ("user", "Capital of Italy?"), ("assistant", "Rome"), ("user", "{{ q }}")]


def lab_that_answers(path, answer):
    """Return a lab on a file of its own whose model answers a question by a function."""
    return Lab(path / "lab.db", backend=ScriptedBackend(answer))


def run_of(lab, questions, *, template=None, repeats=1, **params):
    """Run one template, or `{{ q }}` alone, over some questions."""
    asked = template or PromptTemplate("plain", user="{{ q }}")
    grid = ParameterGrid(model="m", max_tokens=9, **params)
    return lab.run(asked, grid, cases=[{"q": q} for q in questions], repeats=repeats, progress=False)


def question(body):
    """Return what the user said last."""
    return body["messages"][-1]["content"]


def shout(body):
    """Answer with the question in capitals."""
    return question(body).upper()


def rows(path):
    """Return the examples in a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(path):
    """Return the texts of the answers in a file."""
    return [row["messages"][-1]["content"] for row in rows(path)]


@pytest.fixture
def shouted(tmp_path):
    """A run over the questions a to f whose answers are A to F."""
    with lab_that_answers(tmp_path, shout) as lab:
        yield lab, run_of(lab, "abcdef")


def test_an_example_is_the_request_and_its_answer(tmp_path):
    """The messages as sent, the answer last; answers within the prompt are not learned from."""
    with lab_that_answers(tmp_path, lambda _: "Lima\nü") as lab:
        run = run_of(lab, ["Capital of Peru?"], template=PromptTemplate("few", messages=FEW_SHOT))
        done = run.finetuning(tmp_path / "train.jsonl")
    assert done.path.read_text(encoding="utf-8") == (
        '{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Capital of Italy?"},'
        '{"role":"assistant","content":"Rome","weight":0},{"role":"user","content":"Capital of Peru?"},'
        '{"role":"assistant","content":"Lima\\nü"}]}\n'
    )
    assert repr(done) == f"<Written 1 example to {tmp_path / 'train.jsonl'}; OpenAI asks for 10 at least>"


def test_tool_calls_are_kept_with_their_tools(tmp_path):
    """An answer that calls a tool is a whole one; the tools on offer stand in the example."""
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}

    def answer(body):
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        return Reply(200, {}, json.dumps({"model": "m", "choices": [choice]}).encode())

    with lab_that_answers(tmp_path, answer) as lab:
        done = run_of(lab, ["Look"], tools=[[TOOL]]).finetuning(tmp_path / "train.jsonl")
    assert rows(done.path) == [
        {
            "messages": [{"role": "user", "content": "Look"}, {"role": "assistant", "tool_calls": [CALL]}],
            "tools": [TOOL],
        }
    ]


def test_equal_examples_are_written_once(tmp_path):
    """Repeats, and settings that no example shows, give one line where the answer is the same."""
    with lab_that_answers(tmp_path, shout) as lab:
        done = run_of(lab, "ab", repeats=3, temperature=[0, 1]).finetuning(tmp_path / "train.jsonl")
    assert answers(done.path) == ["A", "B"]
    assert done.left_out == {"equal to another": 10}


def test_what_is_no_whole_answer_is_left_out_and_counted(tmp_path):
    """Answers that were cut, filtered, refused, empty or of another model, and trials without one."""
    said = {
        "good": "yes",
        "cut": ("no", {"finish_reason": "length"}),
        "filtered": ("no", {"finish_reason": "content_filter"}),
        "blank": " ",
        "other": ("no", {"model": "another"}),
    }

    def answer(body):
        text, fields = said[question(body)] if isinstance(said[question(body)], tuple) else (said[question(body)], {})
        return text_reply(text, body, **fields)

    with lab_that_answers(tmp_path, answer) as lab:
        run = run_of(lab, said)
        done = run.finetuning(tmp_path / "train.jsonl")
        more = run.finetuning(tmp_path / "more.jsonl", flags=["length", "other_model"])
        with pytest.raises(ExportError, match="trial 3 has an empty answer"):
            run.finetuning(tmp_path / "none.jsonl", flags=["blank"])
    assert answers(done.path) == ["yes"]
    assert done.left_out == {
        "flagged blank": 1,
        "flagged content_filter": 1,
        "flagged length": 1,
        "flagged other_model": 1,
    }
    assert answers(more.path) == ["yes", "no", "no"]
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param("q in ['a', 'c'] and repeat == 0", ["A", "C"], id="query"),
        pytest.param({"q": ["b", "f"], "status": "ok"}, ["B", "F"], id="mapping"),
        pytest.param({}, list("ABCDEF"), id="empty mapping"),
        pytest.param([True, False, False, False, False, True], ["A", "F"], id="booleans"),
        pytest.param(pd.Series([None, True] + [False] * 4, dtype="boolean"), ["B"], id="with unknown"),
    ],
)
def test_answers_are_chosen_by_the_frame(shouted, tmp_path, where, expected):
    """A query, values by column, or a boolean a row; unknown is not chosen."""
    _, run = shouted
    done = run.finetuning(tmp_path / "train.jsonl", where=where)
    assert answers(done.path) == expected
    assert done.left_out == ({"not asked for": 6 - len(expected)} if len(expected) < 6 else {})


def test_answers_are_chosen_by_a_bound(shouted, tmp_path):
    """Any numeric column has one; what is below it, or unknown, is left out."""
    _, run = shouted
    done = run.finetuning(tmp_path / "train.jsonl", min_score={"position": 4, "completion_tokens": 1})
    assert answers(done.path) == ["E", "F"]
    assert done.left_out == {"below the score, or not scored": 4}


def test_answers_are_chosen_by_rating_and_pin(shouted, tmp_path):
    """A thumb up or enough stars, by whoever rated last; choices add up."""
    lab, run = shouted
    ids = [int(key) for key in run.frame()["output_id"]]
    judgements.rate(lab.store, ids[0], 1, rater="ann")
    judgements.rate(lab.store, ids[1], 1, rater="ann")
    judgements.rate(lab.store, ids[1], -1, rater="bob")
    judgements.rate(lab.store, ids[2], 4, rater="ann", scale="stars")
    judgements.rate(lab.store, ids[3], 2, rater="ann", scale="stars")
    for key in ids[2:5]:
        judgements.pin(lab.store, key)

    def chosen(name, **choice):
        done = run.finetuning(tmp_path / name, **choice)
        return answers(done.path), done.left_out

    assert chosen("up", rated="up") == (["A"], {"not rated so": 5})
    assert chosen("stars", rated=3) == (["C"], {"not rated so": 5})
    assert chosen("pins", pinned=True) == (["C", "D", "E"], {"not pinned": 3})
    assert chosen("both", pinned=True, rated=1) == (["C", "D"], {"not rated so": 4})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        pytest.param({"where": "q ="}, r"where='q =' is no query on run\.frame\(\): ", id="syntax"),
        pytest.param({"where": "qq == 'a'"}, r"is no query on run\.frame\(\): name 'qq' is not defined", id="name"),
        pytest.param({"where": "repeat + 1"}, r"one boolean for each of the 6 rows is needed", id="numbers"),
        pytest.param({"where": [True]}, r"where=\[True\]: .* one boolean for each of the 6 rows", id="too few"),
        pytest.param({"where": 3}, r"where=3: a query, a mapping, or one boolean", id="number"),
        pytest.param({"where": {"templat": "a"}}, r"no column 'templat'; did you mean 'template'\?", id="column"),
        pytest.param({"min_score": {"exact": 1}}, r"no column 'exact'; .* run\.score\(\.\.\.\) adds", id="score"),
        pytest.param({"min_score": {"output": 1}}, r"min_score=\{'output': \.\.\.\}: that column holds no", id="text"),
        pytest.param({"rated": "down"}, r"rated='down': 'up' \(a thumb\), or 1 to 5", id="rating"),
        pytest.param({"rated": True}, r"rated=True: 'up' \(a thumb\), or 1 to 5", id="true"),
        pytest.param({"flags": "length"}, r"flags='length': a list of flags is needed", id="flags"),
    ],
)
def test_a_choice_that_is_none_is_refused(shouted, tmp_path, choice, message):
    """One clear error, and nothing is written."""
    _, run = shouted
    with pytest.raises(ExportError, match=message):
        run.finetuning(tmp_path / "train.jsonl", **choice)
    assert not (tmp_path / "train.jsonl").exists()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456",
        "hf_abcdefghijklmnopqrstuvwx",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "-----BEGIN " + "PRIVATE KEY-----",
    ],
)
def test_secrets_are_refused(tmp_path, secret):
    """A key in a prompt or an answer is named by its trial, and nothing is written; it can be left out."""
    with lab_that_answers(tmp_path, shout) as lab:
        run = run_of(lab, ["a", f"my key is {secret}"])
        with pytest.raises(ExportError, match="nothing was written: trial 1 holds what looks like a secret key; "):
            run.finetuning(tmp_path / "train.jsonl")
        assert not (tmp_path / "train.jsonl").exists()
        assert answers(run.finetuning(tmp_path / "train.jsonl", where={"position": 0}).path) == ["A"]


def test_an_error_names_five_trials(tmp_path):
    """Of many problems the first are told, and how many there are."""
    with lab_that_answers(tmp_path, shout) as lab:
        run = run_of(lab, [f"sk-abcdefgh{number}" for number in range(7)])
        with pytest.raises(ExportError, match=r"trial 4 holds what looks like a secret key, and 2 more; leave"):
            run.finetuning(tmp_path / "train.jsonl")


def test_a_file_that_is_there_stays(shouted, tmp_path):
    """Unless it is asked for, nothing is overwritten."""
    _, run = shouted
    run.finetuning(tmp_path / "train.jsonl", where={"q": "a"})
    with pytest.raises(ExportError, match=r"train\.jsonl exists; remove it or name another file"):
        run.finetuning(tmp_path / "train.jsonl")
    assert answers(tmp_path / "train.jsonl") == ["A"]
    assert answers(run.finetuning(tmp_path / "train.jsonl", overwrite=True).path) == list("ABCDEF")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], [], id="parts"),
        pytest.param([{"role": "critic", "content": "Hi"}], ["has a message of the unknown role 'critic'"], id="role"),
        pytest.param([{"role": "user"}], ["has a message without content"], id="content"),
        pytest.param(
            [{"role": "user", "content": "Hi", "mood": "gay"}],
            ["has a message with the unknown field 'mood'"],
            id="field",
        ),
    ],
)
def test_the_format_is_checked(messages, expected):
    """What the format has no place for is said."""
    assert faults({"messages": [*messages, {"role": "assistant", "content": "Hello"}]}) == expected


def test_a_completion_is_no_chat(tmp_path):
    """A run of the old endpoint has nothing in this format, and says so."""
    with lab_that_answers(tmp_path, lambda _: "B") as lab:
        run = lab.run(PromptTemplate("old", text="A, "), ParameterGrid(model="m", max_tokens=3), progress=False)
        with pytest.raises(ExportError, match="nothing was written: trial 0 is no chat request"):
            run.finetuning(tmp_path / "train.jsonl")
