"""Estimates: what a plan will take, as far as it can be known, and unknown where it cannot."""

import pytest

from promptlab import Lab, ParameterGrid, PromptTemplate, RateLimits, estimates
from promptlab.plans import Estimate
from promptlab.testing import ScriptedBackend, error_reply, text_reply
from studies import ASK, cases, plan_of

PROMPT = 8 / 4 + 4  # tokens of an eight-byte prompt in one message, by the general rule
PRICED = "gpt-4.1-mini"


@pytest.fixture
def lab_of(tmp_path):
    """Return a function that opens a lab on one file, with answers that cost money."""
    labs = []

    def lab_of(script="ok", **options):
        labs.append(Lab(tmp_path / "lab.db", backend=ScriptedBackend(script, **{"is_free": False, **options})))
        return labs[-1]

    yield lab_of
    for lab in labs:
        lab.close()


def estimate(lab, n=3, **params):
    """Return the estimate of a plan of n eight-byte prompts."""
    return plan_of(lab, n, word="eight-b", **params).estimate


def test_a_fresh_file_knows_bounds_and_prices(lab_of):
    """Prompt tokens by the general rule, completions by max_tokens, their price, and no time."""
    assert estimate(lab_of(), model=PRICED) == Estimate(
        to_send=3,
        answered=0,
        prompt_tokens=18,
        completion_tokens=48,
        completion_is_bound=True,
        cost_usd=pytest.approx(18 * 0.4e-6 + 48 * 1.6e-6),
        time_s=None,
    )


def test_without_max_tokens_nothing_is_known_of_the_answers(lab_of):
    """Their tokens and their price are unknown, not 0."""
    found = estimate(lab_of(), model=PRICED, max_tokens=None)
    assert (found.completion_tokens, found.cost_usd, found.prompt_tokens) == (None, None, 18)


def test_one_setting_without_a_bound_makes_the_sum_unknown(lab_of):
    """A sum with an unknown part is unknown."""
    found = estimate(lab_of(), model=PRICED, max_tokens=[5, None])
    assert (found.to_send, found.completion_tokens, found.cost_usd) == (6, None, None)


def test_a_model_without_a_price_is_unknown_and_a_free_backend_is_free(lab_of):
    """Unknown is None, free is 0."""
    assert estimate(lab_of(), model="nobody/knows").cost_usd is None
    assert estimate(lab_of(is_free=True), model="nobody/knows").cost_usd == 0.0


def test_one_model_without_a_price_makes_the_sum_unknown(lab_of):
    """Half a price would look like the whole."""
    assert estimate(lab_of(), model=[PRICED, "nobody/knows"]).cost_usd is None


def test_what_is_answered_is_counted_and_not_paid(lab_of):
    """Trials whose answer the file holds are in `answered`, and cost nothing."""
    lab = lab_of()
    lab.run(plan_of(lab, 2, word="eight-b", model=PRICED), progress=False)
    found = estimate(lab, 5, model=PRICED)
    assert (found.answered, found.to_send) == (2, 3)


def test_a_plan_with_every_answer_takes_nothing(lab_of):
    """There is nothing to send, so everything is 0 and nothing unknown."""
    lab = lab_of()
    lab.run(plan_of(lab, 2, word="eight-b"), progress=False)
    assert estimate(lab, 2) == Estimate(0, 2, 0, 0, completion_is_bound=False, cost_usd=0.0, time_s=0.0)


def test_repeats_are_counted_one_by_one(lab_of):
    """Of five samples of one request, two are there."""
    lab = lab_of()
    lab.run(plan_of(lab, 1, word="eight-b", repeats=2), progress=False)
    found = estimate(lab, 1, repeats=5)
    assert (found.answered, found.to_send, found.prompt_tokens) == (2, 3, 3 * 10)


def test_another_generation_has_nothing_yet(lab_of):
    """Sampling afresh is all to be paid."""
    lab = lab_of()
    lab.run(plan_of(lab, 2, word="eight-b"), progress=False)
    assert estimate(lab, 2, generation=1).to_send == 2


def test_equal_requests_are_sent_once(lab_of):
    """Two templates that render alike are one request, in the estimate as in the run."""
    lab = lab_of()
    templates = [PromptTemplate("a", user="{{ q }}"), PromptTemplate("b", user="{{ q }}")]
    plan = lab.plan(templates, {"model": "m", "max_tokens": 5}, cases=cases(3), repeats=2)
    run = lab.run(plan, progress=False)
    assert (plan.estimate.to_send, len(lab.backend.requests), len(run)) == (6, 6, 12)


def test_a_file_with_answers_knows_better(lab_of):
    """Tokens a byte, tokens an answer and latency are this model's own."""
    lab = lab_of(lambda body: text_reply("x" * 40, body))
    lab.run(plan_of(lab, 2, word="eight-b", model=PRICED), progress=False)
    found = estimate(lab, 4, model=PRICED)
    assert (found.to_send, found.prompt_tokens, found.completion_tokens) == (2, 2 * 10, 20)
    assert (found.completion_is_bound, found.time_s > 0) == (False, True)
    assert found.cost_usd == pytest.approx(20 * 0.4e-6 + 20 * 1.6e-6)


def test_what_one_backend_showed_is_not_held_of_another(lab_of):
    """The same model at another address may be another."""
    lab = lab_of()
    lab.run(plan_of(lab, 2, word="eight-b"), progress=False)
    assert estimate(lab_of(identity="elsewhere"), 2).time_s is None


def test_answers_without_usage_teach_nothing(lab_of):
    """Where the server counts no tokens, the general rule stays."""
    lab = lab_of(lambda body: text_reply("x", body, usage=None))
    lab.run(plan_of(lab, 2, word="eight-b"), progress=False)
    assert estimate(lab, 4).prompt_tokens == 12


def test_unanswered_trials_are_found_in_plan_order(lab_of):
    """Positions, not counts, for whoever has to name one."""
    lab = lab_of()
    lab.run(plan_of(lab, 1, repeats=1), progress=False)
    assert list(estimates.unanswered(plan_of(lab, 2, repeats=2), lab.store)) == [1, 2, 3]


def test_a_refusal_once_seen_is_a_warning_of_the_next_plan(lab_of):
    """Only for plans that have both the model and the parameter."""
    lab = lab_of(lambda _: error_reply(400, "no", code="unsupported_parameter", param="top_p"))
    lab.run(plan_of(lab, 1, top_p=0.5), progress=False)
    warning = "m was seen to refuse top_p; requests with both will fail"
    found = [plan_of(lab, 1, **params).learned for params in ({"top_p": 1}, {}, {"model": "n", "top_p": 1})]
    assert found == [(warning,), (), ()]


def test_a_refused_value_says_nothing_about_others(lab_of):
    """`unsupported_value` speaks of one value: another one of the same parameter is not warned of."""
    lab = lab_of(lambda _: error_reply(400, "only 1", code="unsupported_value", param="temperature"))
    lab.run(plan_of(lab, 1, temperature=0.5), progress=False)
    found = [plan_of(lab, 1, temperature=value).learned for value in (0.5, 1)]
    assert found == [("m was seen to refuse temperature=0.5; requests with both will fail",), ()]


def test_a_plan_keeps_its_key_and_its_order(lab_of):
    """The estimate is added to the plan; nothing else changes."""
    lab = lab_of()
    plan = lab.plan(ASK, ParameterGrid(model="m"), cases=cases(3))
    assert (plan.key, [trial.position for trial in plan]) == (plan_of(lab, 3, max_tokens=None).key, [0, 1, 2])


def test_a_plan_explains_itself(lab_of):
    """It says whether a trial is answered, and if not, in what it differs from the nearest one that is."""
    lab = lab_of()
    lab.run(plan_of(lab, 1, temperature=0.5), progress=False)
    answered, warmer = plan_of(lab, 1, temperature=0.5), plan_of(lab, 1, temperature=0.7)
    more, afresh = plan_of(lab, 1, temperature=0.5, repeats=2), plan_of(lab, 1, temperature=0.5, generation=1)
    text = lab.plan(PromptTemplate("base", text="Once"), {"model": "m"})
    ends = [plan.explain(-1).partition("> is ")[2] for plan in (answered, warmer, more, afresh, text)]
    assert ends == [
        f"answered in {lab.path} and costs nothing",
        "not answered; the nearest answered request is 1: temperature is 0.7 here and 0.5 there",
        "not answered: this request is, but only its repeats 0",
        "not answered; the nearest answered request is 1: the same, but as another repeat or generation, or of another "
        "backend than scripted",
        f"not answered: {lab.path} holds no answer from POST /completions",
    ]


def test_what_the_server_refused_is_told_by_the_next_plan(lab_of):
    """A run that met the refusal does not ask again by itself, so the plan says how to."""
    lab = lab_of(lambda body: error_reply(400, "no") if body["messages"][-1]["content"] == "q1" else "yes")
    lab.run(plan_of(lab, 3), progress=False)
    assert plan_of(lab, 3).learned == (
        "the server refused 1 request of this plan before; a run that met this asks them again only with"
        " retry_failed=True",
    )
    assert plan_of(lab, 1).learned == ()


@pytest.mark.parametrize(
    ("limits", "time_s"),
    [
        pytest.param({"requests_per_minute": 6}, 6000.0, id="requests"),
        pytest.param({"requests_per_minute": 6, "window_s": 10}, 1000.0, id="another window"),
        pytest.param({"tokens_per_minute": 1000}, 780.0, id="tokens"),
        pytest.param({"requests_per_day": 300}, 2 * 86_400.0, id="a day"),
        pytest.param({"requests_per_minute": 601}, None, id="enough"),
    ],
)
def test_a_users_limits_take_their_time(tmp_path, limits, time_s):
    """The time is at least what the windows take, the first of which is used at once."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(), limits=RateLimits(**limits)) as lab:
        assert plan_of(lab, 601, word="eight-").estimate.time_s == time_s
