"""A model as rater of pairs: both orders are asked, its votes stand beside people's, and its bias is told."""

import json

import pytest

from promptlab import Lab, ParameterGrid, PromptTemplate, RatingError
from promptlab.testing import ScriptedBackend


def better(said):
    """Return a rater's reply."""
    return json.dumps({"explanation": "so it is", "better": said})


def answers_of(text):
    """Return the two answers of a request, the first one first."""
    fence = text.split("<")[1].split(">")[0]
    return [part.split(f"\n</{fence}>")[0] for part in text.split(f"<{fence}>\n")[1:]]


@pytest.fixture
def compared(tmp_path):
    """Return a maker of a run of two templates on six cases, and of what a rater is asked, who goes by a function."""
    labs = []

    def made(says):
        asked = []

        def answer(body):
            system, text = body["messages"][0]["content"], body["messages"][-1]["content"]
            if body["model"] != "rater":
                return f"{text}, {'in a long sentence' if system == 'long' else 'short'}"
            asked.append(body)
            return says(*answers_of(text))

        lab = Lab(tmp_path / "lab.db", backend=ScriptedBackend(answer))
        labs.append(lab)
        prompts = [PromptTemplate(name, system=name, user="{{ q }}") for name in ("short", "long")]
        cases = [{"q": f"q{number}"} for number in range(6)]
        grid = ParameterGrid(model="any", temperature=0)
        return lab.run(prompts, grid, cases=cases, name="two", progress=False), asked

    yield made
    for lab in labs:
        lab.close()


SIDES = {"a": {"template": "short"}, "b": {"template": "long"}}


def by_length(first, second):
    """Prefer the longer answer, wherever it stands."""
    return better("1" if len(first) > len(second) else "2")


def test_a_model_votes_in_both_orders(compared):
    """Twelve requests for six pairs; the longer answer wins all, neither side is preferred."""
    run, asked = compared(by_length)
    rating = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert len(asked) == 12
    assert (rating.pairs, rating.consistent, rating.unread, rating.rater) == (6, 6, 0, "model:rater")
    assert (rating.bias.left, rating.bias.right) == (6, 6)
    assert [(row["variant"], row["wins"]) for row in rating.verdict.rows()] == [("long", 6), ("short", 0)]
    assert len(rating.frame()) == 6
    run.judge_by_model(model="rater", **SIDES, progress=False)
    assert len(asked) == 12


def test_who_prefers_a_side_says_nothing(compared):
    """A model that always prefers the first ties everything, and its bias is told."""
    run, _ = compared(lambda *_: better("1"))
    rating = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert (rating.consistent, rating.verdict.ties, rating.bias.left, rating.bias.right) == (0, 6, 12, 0)
    assert "first preferred: 12 of 12, p < 0.001" in repr(rating)
    assert "same verdict in 0 of 6 pairs, else a tie" in rating._repr_html_()


def test_it_is_told_nothing_of_the_variants(compared):
    """What is sent has the criterion, the case and the two answers, and no name of a template."""
    run, asked = compared(lambda *_: better("tie"))
    run.judge_by_model(model="rater", **SIDES, criterion="Which is kinder?", progress=False)
    text = asked[0]["messages"][-1]["content"]
    assert text.startswith("Which is kinder?\n\nq: q")
    sent = json.dumps(asked)
    assert "template" not in sent
    assert {"temperature": 0, "max_tokens": 300}.items() <= asked[0].items()


def test_replies_that_cannot_be_read_are_skipped_and_the_session_stays_open(compared):
    """Their pairs do not count, and the number is told."""
    run, _ = compared(lambda first, second: "hm" if "q3" in first else by_length(first, second))
    rating = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert (rating.unread, rating.pairs, rating.verdict.n, rating.verdict.skipped >= 1) == (2, 5, 5, True)
    assert "could not be read: 2 of the replies" in repr(rating)


def test_other_settings_do_not_pay_for_votes_that_cannot_count(compared):
    """A rater that has finished is not asked in another way: its votes stand, and another seed begins anew."""
    run, asked = compared(by_length)
    run.judge_by_model(model="rater", **SIDES, progress=False)
    with pytest.raises(RatingError, match="model:rater has finished this session with other settings"):
        run.judge_by_model(model="rater", **SIDES, temperature=1, progress=False)
    assert len(asked) == 12
    assert run.judge_by_model(model="rater", **SIDES, temperature=1, seed=1, progress=False).pairs == 6
    assert len(asked) == 24


def test_mirrored_pairings_say_nothing_of_a_model(compared):
    """Both orders were asked already, so a pair that comes back is not voted on, and no self-agreement is claimed."""
    run, _ = compared(by_length)
    rating = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert any(placed.is_mirror for placed in rating.session.asked)
    assert (rating.frame()["mirrored"].tolist(), rating.verdict.self_agreement.n) == ([False] * 6, 0)


def test_agreement_with_people_on_the_same_pairs(compared):
    """Who has finished the session is compared, pair by pair; who has not stays unknown."""
    run, _ = compared(by_length)
    panel = run.judge(**SIDES, rater="ann")
    while panel.pair:
        panel.vote("left" if len(panel.pair.left) > len(panel.pair.right) else "right")
    before = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert before.agreement == {}
    assert "agrees with people: unknown: nobody has finished this session" in repr(before)
    panel.finish()
    rating = run.judge_by_model(model="rater", **SIDES, progress=False)
    assert (rating.agreement["ann"].agreed, rating.agreement["ann"].n) == (6, 6)
    assert "agrees with ann: 6 of 6" in repr(rating)


def test_one_setting_only(compared):
    """A list of temperatures is no rater."""
    run, _ = compared(by_length)
    with pytest.raises(RatingError, match="one setting, not 2"):
        run.judge_by_model(model="rater", **SIDES, temperature=[0, 1], progress=False)
