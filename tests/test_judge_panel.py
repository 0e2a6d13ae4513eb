"""The blind rating panel without a browser: what it tells, what it takes, what it keeps to itself."""

import json

import pytest

from hostile import PAYLOADS
from promptlab import Lab, PromptTemplate
from promptlab.errors import RatingError
from promptlab.panels.judge import SHOWN_CHARS
from promptlab.testing import ScriptedBackend, sample_lab

A, B = {"template": "terse"}, {"template": "chatty"}


@pytest.fixture
def lab(tmp_path):
    """The sample lab: 2 templates x 2 temperatures x 4 cases, of which one has no answer."""
    with sample_lab(tmp_path / "sample.db") as lab:
        yield lab


@pytest.fixture
def judge(lab):
    """A session on the sample lab: six pairs, one of them mirrored."""
    return lab.load("capitals").judge(a=A, b=B, criterion="shorter")


def ask(panel, op, **args):
    """Ask as a browser does, and return the answer."""
    reply = panel.handle({"op": op, "re": "1", "args": args})
    assert "error" not in reply, reply["error"]
    return reply["answer"]


def refusal(panel, op, **args):
    """Ask as a browser does, and return why not."""
    return panel.handle({"op": op, "re": "1", "args": args})["error"]


def everything(value):
    """Yield every key and every scalar of a JSON value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from everything(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from everything(item)
    else:
        yield value


def test_the_first_state_is_the_first_pair(lab, judge):
    """Criterion, counts, the columns that the prompts use, two texts and a token."""
    state = json.loads(json.dumps(judge.first()))
    pair = state["pair"]
    shown = judge.pair
    assert state == {
        "session": state["session"],
        "criterion": "shorter",
        "reasons": ["facts", "tone", "length"],
        "done": 0,
        "total": 7,
        "left_s": None,
        "pair": {
            "token": pair["token"],
            "inputs": [["country", shown.inputs[0][1]]],
            "system": None,
            "left": shown.left,
            "right": shown.right,
            "is_cut": False,
        },
        "result": None,
    }
    assert len(bytes.fromhex(pair["token"])) == 12


def test_nothing_tells_the_variants_before_the_end(tmp_path):
    """In all that browsers hear of a whole session there is no name, parameter, id, cost, time or key of a variant."""

    def answer(body):
        return f"{'yes' if body['messages'][0]['content'] == 'SECRET-ONE' else 'no'} {body['temperature'] < 0.2}"

    secrets = ["zebra", "giraffe", "SECRET-ONE", "SECRET-TWO", "model-tell-tale", "the-run's-name", "tell_tale_case"]
    templates = [
        PromptTemplate("zebra", system="SECRET-ONE", user="{{ q }}"),
        PromptTemplate("giraffe", system="SECRET-TWO", user="{{ q }}"),
    ]
    cases = [{"q": f"question {letter}", "tell_tale_case": "reference"} for letter in "abcdefghij"]
    with Lab(tmp_path / "blind.db", backend=ScriptedBackend(answer)) as lab:
        grid = {"model": "model-tell-tale", "temperature": [0.1371, 0.2371], "max_tokens": 9}
        run = lab.run(templates, grid, cases=cases, name="the-run's-name", progress=False)
        judge = run.judge(a={"template": "zebra"}, b={"template": "giraffe"})
        told = []
        judge.__dict__["widget"] = Ear(told)  # what every browser is told besides its answers
        told += [judge.first(), ask(judge, "hello"), judge.snapshot(), repr(judge), judge.html()]
        number = 0
        while token := (pair := ask(judge, "hello")["pair"]) and pair["token"]:
            told.append(ask(judge, "cast", token=token, choice="left", ms=10))
            if number % 7 == 3:
                told.append(ask(judge, "take_back"))
            number += 1
            told += [judge.snapshot(), repr(judge)]
        assert number > 20
        text = json.dumps(told, ensure_ascii=False)
        assert [secret for secret in [*secrets, "0.1371", "0.2371"] if secret in text] == []
        names = {name for name in everything(json.loads(text)) if isinstance(name, str)}
        assert names & {"template", "model", "temperature", "output_id", "pairing_id", "case", "cost_usd"} == set()
        numbers = {value for state in told if isinstance(state, dict) for value in everything(state["pair"])}
        assert not [value for value in numbers if isinstance(value, int | float) and not isinstance(value, bool)]
        revealed = json.dumps(ask(judge, "reveal"))
        assert "zebra" in revealed
        assert "giraffe" in judge.snapshot()


class Ear:
    """A widget that keeps what it is to tell browsers."""

    def __init__(self, told):
        self._told = told

    def tell(self, content):
        """Keep it."""
        self._told.append(content["push"])


def test_tokens_tell_nothing_and_hold_after_a_restart(lab, judge):
    """Tokens of pairings are all different, in no order, the same for the next kernel, and others for another rater."""
    tokens = list(judge._tokens)
    assert len(set(tokens)) == 7
    assert tokens != sorted(tokens)
    lab.close()
    with Lab(lab.path, offline=True) as other:
        again = other.load("capitals").judge(a=A, b=B, criterion="shorter")
        assert list(again._tokens) == tokens
        someone = other.load("capitals").judge(a=A, b=B, criterion="shorter", rater="ann")
        assert set(someone._tokens) & set(tokens) == set()
        assert someone.first()["session"] != again.first()["session"]


def test_a_vote_is_in_the_file_when_it_is_answered(lab, judge):
    """The answer to a vote is the next pair; by then every word of the vote is stored."""
    first = judge.first()["pair"]
    state = ask(
        judge,
        "cast",
        token=first["token"],
        choice="right",
        strength=2,
        reasons=["facts"],
        note="why not",
        saw_differences=True,
        ms=1234,
    )
    assert (state["done"], state["left_s"]) == (1, pytest.approx(6 * 1.234))
    assert state["pair"]["token"] != first["token"]
    stored = lab.sql("select rater, choice, strength, reasons, ms from votes").to_numpy().tolist()
    assert stored == [["me", "right", 2, '["facts",{"note":"why not"},{"differences":true}]', 1234]]


def test_a_vote_from_before_a_restart_is_taken(lab, judge):
    """What a browser could not send goes to the next kernel's panel, though that one has not shown the pair."""
    token = judge.first()["pair"]["token"]
    again = lab.load("capitals").judge(a=A, b=B, criterion="shorter")
    assert ask(again, "cast", token=token, choice="left")["done"] == 1
    assert ask(again, "cast", token=token, choice="left")["done"] == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        pytest.param({"token": "0" * 24, "choice": "left"}, "on a pair that is not in this session", id="token"),
        pytest.param({"token": "x" * 65, "choice": "left"}, "cast: token: String should have at most 64", id="long"),
        pytest.param({"choice": "left"}, "cast: token: ", id="none"),
        pytest.param({"token": "a", "choice": "up"}, "cast: choice: Input should be 'left', 'right'", id="choice"),
        pytest.param({"token": "a", "choice": "left", "strength": 3}, "cast: strength: ", id="strength"),
        pytest.param({"token": "a", "choice": "left", "ms": -1}, "cast: ms: ", id="time"),
        pytest.param({"token": "a", "choice": "left", "reasons": ["x" * 101]}, "cast: reasons.0: ", id="reason"),
        pytest.param({"token": "a", "choice": "left", "rater": "you"}, "cast: rater: Unexpected keyword", id="rater"),
    ],
)
def test_what_a_browser_may_not_send(lab, judge, args, reason):
    """A vote that is not one is refused with a reason, and nothing is stored."""
    assert reason in refusal(judge, "cast", **args)
    assert lab.sql("select count(*) as n from votes")["n"][0] == 0


@pytest.mark.parametrize(
    "name", ["vote", "undo", "finish", "result", "frame", "to_jsonl", "pair", "_tokens", "_session"]
)
def test_only_four_things_can_be_asked_for(judge, name):
    """What reveals or writes files is no operation."""
    assert f"no operation '{name}'" in refusal(judge, name)


def test_undo_brings_the_pair_back(judge):
    """Any number of votes can be taken back; the pair before comes again."""
    tokens = []
    for choice in ("left", "tie", "skip"):
        tokens.append(judge.first()["pair"]["token"])
        ask(judge, "cast", token=tokens[-1], choice=choice)
    for number in (2, 1, 0):
        state = ask(judge, "take_back")
        assert (state["done"], state["pair"]["token"]) == (number, tokens[number])
    assert refusal(judge, "take_back") == "there is no vote to take back"


def test_python_and_browser_do_the_same(judge):
    """Votes cast in Python count like those of the panel, and the panel hears of them."""
    told = []
    judge.__dict__["widget"] = Ear(told)
    judge.vote("left", strength=2, note="by hand", ms=1500)
    assert [state["done"] for state in told] == [1]
    judge.undo()
    assert [state["done"] for state in told] == [1, 0]
    while judge.pair:
        judge.vote("tie")
    with pytest.raises(RatingError, match=r"everything is judged; judge.finish\(\) says what came out"):
        judge.vote("tie")
    verdict = judge.finish()
    assert told[-1]["result"]["rate"]["estimate"] == verdict.win_rate.estimate == 0.5
    with pytest.raises(RatingError, match="this session is finished"):
        judge.vote("tie")
    with pytest.raises(RatingError, match="this session is finished"):
        judge.undo()


def test_the_end_reveals(judge):
    """Result, table and code come only with the end; then the pair is gone and the same call shows the result."""
    while (pair := judge.pair) is not None:
        judge.vote("left" if len(pair.left) < len(pair.right) else "right", ms=900)
    for closed in (judge.result, judge.frame):
        with pytest.raises(RatingError, match="blind until it is finished: 7 of 7 judged"):
            closed()
    state = ask(judge, "reveal")
    assert (state["pair"], state["done"], state["total"]) == (None, 7, 7)
    result = state["result"]
    assert result["labels"] == ["terse", "chatty"]
    assert [row["variant"] for row in result["rows"]] == ["terse", "chatty"]
    assert result["rate"]["estimate"] == 1.0
    assert ["criterion", "shorter"] in result["facts"]
    assert judge.pair is None
    assert repr(judge) == repr(judge.result())
    assert judge.frame()["preferred"].tolist() == ["terse"] * 7


def test_text_and_snapshot_of_an_unfinished_session(judge):
    """Both say how far it is, and how to get the panel; neither changes from run to run."""
    judge.vote("left", ms=17)
    assert repr(judge) == "<Judge me, shorter, 1 of 7 judged>"
    snapshot = judge.snapshot()
    assert "1 of 7 judged" in snapshot
    assert "run this cell for the live panel" in snapshot
    assert "<script" not in snapshot


def test_hostile_texts_stay_texts_in_the_snapshot(lab):
    """A criterion and labels that are HTML are escaped, before and after the end."""
    for number, payload in enumerate(PAYLOADS.values()):
        judge = lab.load("capitals").judge(a=A, b=B, criterion=payload, n=1, seed=number)
        judge.vote("left")
        before = judge.snapshot()
        judge.finish()
        for html in (before, judge.snapshot(), judge.html()):
            assert "<script" not in html
            assert "<img" not in html
            assert "<iframe" not in html
            assert "<style" not in html


def test_long_texts_are_cut_alike(tmp_path):
    """Both sides are cut at the same length, and it is said."""
    backend = ScriptedBackend(lambda body: body["messages"][0]["content"] * SHOWN_CHARS)
    templates = [PromptTemplate("one", user="ab {{ q }}"), PromptTemplate("two", user="c")]
    with Lab(tmp_path / "long.db", backend=backend) as lab:
        run = lab.run(templates, {"model": "m"}, cases=[{"q": "x"}], progress=False)
        pair = run.judge(by="template").first()["pair"]
    assert (len(pair["left"]), len(pair["right"]), pair["is_cut"]) == (SHOWN_CHARS, SHOWN_CHARS, True)
    assert len(json.dumps(pair)) < 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"show": ["template"]}, "show='template': only columns of the cases can be shown", id="template"),
        pytest.param({"show": ["temperature"]}, "show='temperature': only columns", id="parameter"),
        pytest.param({"show": "cost_usd"}, "show='cost_usd': .*: country, capital", id="cost"),
        pytest.param({"rater": "identical"}, "rater='identical': name whoever judges", id="reserved"),
        pytest.param({"rater": ""}, "rater='': name whoever judges", id="nobody"),
    ],
)
def test_what_a_panel_cannot_show(lab, options, message):
    """A column that could tell a variant is refused, and so is a rater that means something else."""
    with pytest.raises(RatingError, match=message):
        lab.load("capitals").judge(a=A, b=B, **options)


def test_the_reference_can_be_shown(lab):
    """Any column of the cases can be shown by name."""
    judge = lab.load("capitals").judge(a=A, b=B, show=["capital"])
    assert [name for name, _ in judge.pair.inputs] == ["capital"]
