"""The blind rating panel without a browser: what it tells, what it takes, what it keeps to itself."""

import json

import pytest

from hostile import PAYLOADS
from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.errors import RatingError
from promptlab.judgements import login_name
from promptlab.judging import GONE
from promptlab.panels.judge import CUT
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
    return lab.load("capitals").judge(a=A, b=B, criterion="shorter", rater="me")


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
        "gone": None,
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
            told += [{"pair": ask(judge, "whole", token=token)}, refusal(judge, "whole", token=token[:-1])]
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
        again = other.load("capitals").judge(a=A, b=B, criterion="shorter", rater="me")
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
    again = lab.load("capitals").judge(a=A, b=B, criterion="shorter", rater="me")
    assert ask(again, "cast", token=token, choice="left")["done"] == 1
    assert ask(again, "cast", token=token, choice="left")["done"] == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        pytest.param({"token": "0" * 24, "choice": "left"}, "this pair is not in this session", id="token"),
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
def test_only_five_things_can_be_asked_for(judge, name):
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
    assert repr(judge) == "<Judge 'shorter': 1 of 7 judged>"
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


def long_judge(folder, texts, *, inputs=("x",), **options):
    """Open a session on two templates, of which each answers with one of the texts."""
    templates = [PromptTemplate(name, system="same " * 9_000, user=f"{name} {{{{ c0 }}}}") for name in texts]
    backend = ScriptedBackend(lambda body: texts[body["messages"][1]["content"].split()[0]])
    cases = [{f"c{number}": text for number, text in enumerate(inputs)}]
    with Lab(folder / "long.db", backend=backend) as lab:
        yield lab.run(templates, {"model": "m"}, cases=cases, progress=False).judge(by="template", **options)


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        pytest.param(("a" * 40_000, "b" * 90_000), (25_000, 25_000), id="ascii"),
        pytest.param(("漢" * 30_000, "字" * 40_000), (8_333, 8_333), id="cjk"),
        pytest.param(("漢" * 30_000, "b" * 20_000), (8_333, 8_333), id="one-cjk"),
        pytest.param(("漢" * 30_000, "b" * 500), (8_333, 500), id="one-short"),
        pytest.param(("\x01" * 30_000, "\ud800" * 30_000), (4_166, 4_166), id="escaped"),
        pytest.param(("a" * 25_000, "b" * 90), (25_000, 90), id="not-cut"),
    ],
)
def test_long_texts_are_cut_alike(tmp_path, texts, shown):
    """Both sides are cut after as many characters, and it is said; the whole comes when it is asked for."""
    texts = dict(zip(("one", "two"), texts, strict=True))
    for judge in long_judge(tmp_path, texts):
        pair = judge.first()["pair"]
        assert sorted((len(pair["left"]), len(pair["right"])), reverse=True) == sorted(shown, reverse=True)
        assert (pair["is_cut"], pair["system"]) == (True, ("same " * 2_000) + CUT)
        whole = ask(judge, "whole", token=pair["token"])
        assert (whole["left"], whole["right"]) == tuple(map(as_sent, (judge.pair.left, judge.pair.right)))
        assert {len(whole["left"]), len(whole["right"])} == set(map(len, texts.values()))
        assert (whole["is_cut"], whole["system"]) == (False, "same " * 9_000)


def as_sent(text):
    """Return a text as UTF-8 can carry it."""
    return text.encode(errors="replace").decode().replace("?", "\ufffd")


def test_what_is_too_long_even_for_the_whole_says_so(tmp_path):
    """Answers of megabytes are cut alike in the whole as well."""
    for judge in long_judge(tmp_path, {"one": "a" * 1_000_500, "two": "b" * 2_000_000}):
        whole = ask(judge, "whole", token=judge.first()["pair"]["token"])
        assert (len(whole["left"]), len(whole["right"]), whole["is_cut"]) == (1_000_000, 1_000_000, True)


def test_the_first_state_stays_small(tmp_path):
    """With the longest answers, columns, system prompt, criterion and reasons it is below 100 kB on the wire."""
    texts = {"one": "漢" * 90_000, "two": "字" * 80_000}
    reasons = [f"{number:02}" + "理" * 98 for number in range(20)]
    columns = ["入" * 50_000] * 5
    show = [f"c{number}" for number in range(5)]
    for judge in long_judge(tmp_path, texts, inputs=columns, criterion="準" * 10_000, reasons=reasons, show=show):
        state = judge.first()
        assert [text for _, text in state["pair"]["inputs"]] == ["入" * 1_000 + CUT] * 5
        assert 50_000 < len(json.dumps(state, ensure_ascii=False).encode()) < 100_000


@pytest.mark.parametrize("by", [["template"], ["template", "version"]])
def test_a_system_prompt_that_only_some_variants_share_is_not_shown(tmp_path, by):
    """Of three templates two have one system prompt: to show it would tell which two are on the screen."""
    systems = {"one": "SHARED", "two": "SHARED", "three": "OTHER"}
    templates = [PromptTemplate(name, system=text, user=f"{name} {{{{ q }}}}") for name, text in systems.items()]
    backend = ScriptedBackend(lambda body: body["messages"][1]["content"])
    with Lab(tmp_path / "three.db", backend=backend) as lab:
        run = lab.run(templates, {"model": "m"}, cases=[{"q": f"q{n}"} for n in range(4)], progress=False)
        judge = run.judge(by=by)
        told = []
        while token := (state := judge.first())["pair"] and state["pair"]["token"]:
            told += [state, ask(judge, "whole", token=token), judge.snapshot(), repr(judge)]
            judge.vote("tie")
        assert len(told) > 40
        text = json.dumps(told)
        assert [word for word in ("SHARED", "OTHER") if word in text] == []
        two = run.judge(a={"template": "one"}, b={"template": "two"})
        assert two.first()["pair"]["system"] == "SHARED"


def test_a_system_prompt_that_all_variants_share_is_shown(tmp_path):
    """Three templates and two temperatures with one system prompt: it tells nothing, also where one gave no answer."""
    templates = [PromptTemplate(name, system="SHARED {{ q }}", user=f"{name}") for name in ("one", "two", "three")]
    backend = ScriptedBackend(lambda body: f"{body['messages'][1]['content']} {body['temperature']}")
    with Lab(tmp_path / "three.db", backend=backend) as lab:
        grid = ParameterGrid(model="m", temperature=[0, 1])
        judge = lab.run(templates, grid, cases=[{"q": "q"}], progress=False).judge(by=["template", "temperature"])
        assert judge.first()["pair"]["system"] == "SHARED q"


def test_a_judge_whose_run_was_forgotten_says_so(lab, judge):
    """It is not "everything judged": text, snapshot, state and every operation say that the session is gone."""
    token = judge.first()["pair"]["token"]
    judge.vote("left", ms=9)
    lab.forget("capitals", dry_run=False)
    assert repr(judge) == f"<Judge 'shorter': {GONE}>"
    assert GONE in judge.snapshot()
    assert "judged" not in judge.snapshot()
    state = ask(judge, "hello")
    assert (state["pair"], state["gone"], state["result"]) == (None, GONE, None)
    for op, args in [
        ("cast", {"token": token, "choice": "left"}),
        ("take_back", {}),
        ("reveal", {}),
        ("whole", {"token": token}),
    ]:
        assert refusal(judge, op, **args) == GONE
    for asked in (lambda: judge.pair, lambda: judge.vote("left"), judge.undo, judge.finish, judge.result, judge.frame):
        with pytest.raises(RatingError) as caught:
            asked()
        assert str(caught.value) == GONE
    assert lab.sql("select name from views where name like 'judge:%'").empty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"show": ["template"]}, "show='template': only columns of the cases can be shown", id="template"),
        pytest.param({"show": ["temperature"]}, "show='temperature': only columns", id="parameter"),
        pytest.param({"show": "cost_usd"}, "show='cost_usd': .*: country, capital", id="cost"),
        pytest.param({"rater": "identical"}, "rater='identical': name whoever judges", id="reserved"),
        pytest.param({"rater": " identical "}, "rater=' identical ': name whoever judges", id="reserved-in-blanks"),
        pytest.param({"rater": ""}, "rater='': a name of 1 to 200 characters is needed", id="nobody"),
        pytest.param({"rater": 5}, "rater=5: a name of 1 to 200 characters is needed", id="number"),
        pytest.param({"rater": "x" * 201}, "a name of 1 to 200 characters is needed", id="long-name"),
        pytest.param({"show": 5}, "show=5: only columns of the cases", id="show-number"),
        pytest.param({"show": [["country"]]}, r"show=\['country'\]: only columns of the cases", id="show-list"),
        pytest.param({"reasons": "tone"}, "reasons='tone': a list of at most 20 texts", id="letters"),
        pytest.param({"reasons": 5}, "reasons=5: a list of at most 20 texts", id="reasons-number"),
        pytest.param({"reasons": ["x"] * 21}, "a list of at most 20 texts of 1 to 100 characters", id="reasons-many"),
        pytest.param({"by": 5, "a": None, "b": None}, "by=5: a column, or a list of columns", id="by-number"),
    ],
)
def test_what_a_panel_cannot_show(lab, options, message):
    """A column that could tell a variant is refused, and so is a rater that means something else."""
    with pytest.raises(RatingError, match=message):
        lab.load("capitals").judge(**{"a": A, "b": B, **options})


def test_half_a_character_in_a_name_or_criterion_is_replaced(lab):
    """What UTF-8 cannot hold becomes U+FFFD, as in all judgements; the session opens, is stored and found again."""
    options = {"a": A, "b": B, "rater": " ann\ud800 ", "criterion": "short\ud800"}
    judge = lab.load("capitals").judge(**options)
    judge.vote("left", reasons=["to\ud800ne"], note="hm\ud800", ms=1)
    again = lab.load("capitals").judge(**options)
    assert (judge.rater, repr(again)) == ("ann\ufffd", "<Judge 'short\ufffd': 1 of 7 judged>")
    stored = lab.sql("select rater, reasons from votes").to_numpy().tolist()
    assert stored == [["ann\ufffd", '["to\ufffdne",{"note":"hm\ufffd"}]']]


def test_whoever_is_not_named_is_the_login_name(lab):
    """As for ratings of single outputs."""
    assert lab.load("capitals").judge(a=A, b=B).rater == login_name()


def test_the_reference_can_be_shown(lab):
    """Any column of the cases can be shown by name."""
    judge = lab.load("capitals").judge(a=A, b=B, show=["capital"])
    assert [name for name, _ in judge.pair.inputs] == ["capital"]
