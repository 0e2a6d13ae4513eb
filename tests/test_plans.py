"""Plans: which trials, in which order, under which key, and what is refused before anything is sent."""

import itertools
import json
import warnings
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import Cases, ParameterGrid, PlanError, PromptTemplate, plans
from promptlab.plans import CASES_IN_BLOCK, Estimate, validated

ONE_SEED = "one seed for all cases: the same draw decides every answer, so that sampling noise does not average out"
IDENTITY = "https://api.openai.com/v1"
TERSE = PromptTemplate("terse", system="Answer with one word.", user="{{ question }}")
KIND = PromptTemplate("kind", user="Please: {{ question }}")
GRID = ParameterGrid(model="m", temperature=[0, 0.7], max_tokens=16)
CASES = Cases([{"question": "Capital of France?", "capital": "Paris"}, {"question": "Of Italy?", "capital": "Rome"}])


def planned(templates=(TERSE,), grid=GRID, cases=CASES, *, repeats=1, generation=0, identity=IDENTITY):
    """Return a plan of whatever is given."""
    cases = cases if isinstance(cases, Cases) else Cases(cases)
    return validated(list(templates), grid, cases, repeats=repeats, generation=generation, identity=identity)


def raised(*args, **options):
    """Return the problems of a plan that is refused."""
    with pytest.raises(PlanError) as caught:
        planned(*args, **options)
    return caught.value.problems


# Trials


def test_trials_stand_in_plan_order():
    """Template, setting, case and repeat, the last varying fastest."""
    plan = planned([TERSE, KIND], repeats=2)
    assert [(t.position, t.template.name, t.cell["temperature"], t.case["capital"], t.repeat) for t in plan] == [
        (position, template, temperature, capital, repeat)
        for position, (template, temperature, capital, repeat) in enumerate(
            (template, temperature, capital, repeat)
            for template in ("terse", "kind")
            for temperature in (0, 0.7)
            for capital in ("Paris", "Rome")
            for repeat in (0, 1)
        )
    ]


def test_a_trial_has_the_request_of_its_place():
    """Slots are filled from the case, and the cell's parameters follow."""
    trial = planned()[3]
    assert json.loads(trial.request.body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Answer with one word."},
            {"role": "user", "content": "Of Italy?"},
        ],
        "temperature": 0.7,
        "max_tokens": 16,
    }
    assert (trial.case_index, trial.request) == (1, planned().request(3))
    assert repr(trial) == "<Trial 3: terse, model='m', temperature=0.7, max_tokens=16, case 1, repeat 0>"


def test_a_plan_is_indexed_like_a_list():
    """From the end and in slices as well, and not beyond it."""
    plan = planned()
    assert (plan[-1].position, len(plan)) == (3, 4)
    assert [trial.position for trial in plan[1:]] == [1, 2, 3]
    with pytest.raises(IndexError):
        plan[4]


def test_variables_of_the_grid_fill_slots():
    """A persona may be swept like a parameter, and is no part of the body."""
    template = PromptTemplate("t", user="You are {{ persona }}. {{ question }}")
    grid = ParameterGrid(model="m", variables={"persona": ["a poet", 1.0]})
    bodies = [json.loads(trial.request.body) for trial in planned([template], grid, [{"question": "Why?"}])]
    assert bodies == [
        {"model": "m", "messages": [{"role": "user", "content": f"You are {persona}. Why?"}]}
        for persona in ("a poet", "1.0")
    ]


def test_a_parameter_of_none_is_left_out():
    """A sweep may have a setting without the parameter."""
    plan = planned(grid=ParameterGrid(model="m", reasoning_effort=["low", None]), cases=CASES.head(1))
    assert [json.loads(trial.request.body).get("reasoning_effort", "absent") for trial in plan] == ["low", "absent"]


def test_repeats_share_their_request():
    """They are samples of one and the same request."""
    plan = planned(repeats=3)
    assert len({trial.request.sample_key for trial in plan}) == len(plan) / 3


@pytest.mark.parametrize("repeats", [1, 2])
def test_keys_and_sizes_of_all_requests(repeats):
    """One pair for each template, setting and case, found by position // repeats."""
    plan = planned([TERSE, KIND], cases=[{"question": "é"}], repeats=repeats)
    keys, sizes = plan.measured
    assert keys == [plan.request(position).sample_key for position in range(0, len(plan), repeats)]
    assert sizes == [len(b"Answer with one word.\n\n\xc3\xa9")] * 2 + [len(b"Please: \xc3\xa9")] * 2


def test_long_prompts_are_not_all_kept():
    """What is at hand stays within its bound, and every request is the one it should be, also a second time."""
    plan = planned(cases=[{"question": str(number) * 2_000_000} for number in range(4)])
    for _ in range(2):
        assert [plan.request(number).text[-2_000_001:] for number in range(4)] == [
            f"\n{str(number) * 2_000_000}" for number in range(4)
        ]
        assert plan._prompts._chars <= plans._KEPT_CHARS


# The order of sending

_sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3 * CASES_IN_BLOCK), st.integers(1, 3))


def sized(templates, cells, cases, repeats):
    """Return a plan of some size."""
    return planned(
        [PromptTemplate(f"t{n}", user=f"{n} {{{{ x }}}}") for n in range(templates)],
        ParameterGrid(model="m", seed=range(cells)),
        [{"x": n} for n in range(cases)],
        repeats=repeats,
    )


@given(_sizes)
def test_every_trial_is_sent_once(sizes):
    """The order of sending is another order of the same positions."""
    plan = sized(*sizes)
    order = list(plan.sending_order())
    assert sorted(order) == list(range(len(plan)))
    assert [plan.place(position) for position in sorted(order)] == [
        (plan.templates.index(t.template), list(plan.grid).index(t.cell), t.case_index, t.repeat) for t in plan
    ]


@given(_sizes)
def test_a_run_stopped_early_is_balanced(sizes):
    """A block of cases is sent in every template and setting before the next block begins."""
    plan = sized(*sizes)
    blocks = [plan.place(position)[2] // CASES_IN_BLOCK for position in plan.sending_order()]
    assert blocks == sorted(blocks)


@given(_sizes)
def test_a_prompt_is_sent_in_one_go(sizes):
    """All settings and repeats of one prompt follow each other, so that a prompt cache can help."""
    plan = sized(*sizes)
    prompts = [(template, case) for template, _, case, _ in map(plan.place, plan.sending_order())]
    changes = 1 + sum(one != other for one, other in itertools.pairwise(prompts))
    assert changes == len(set(prompts))


# The key


def test_a_plans_key_is_pinned():
    """A run is found by it again: a change would have every notebook begin a new run."""
    assert planned([TERSE, KIND], repeats=2).key == "0ff89ddafb797506733c2abd2f44eec38c3ebc94e3c27b885ee3323a4d73cb5d"


@pytest.mark.parametrize(
    "same",
    [
        pytest.param({"grid": ParameterGrid(max_tokens=16, model="m", temperature=[0.0, 0.7])}, id="order of names"),
        pytest.param({"grid": ParameterGrid(model="m", temperature=[0, 0.7], max_tokens=16, seed=None)}, id="none"),
        pytest.param({"cases": [dict(reversed(case.items())) for case in CASES]}, id="order of columns"),
        pytest.param({"templates": [TERSE.replace(note="n")]}, id="note"),
    ],
)
def test_plans_of_the_same_trials_have_one_key(same):
    """What is not sent and not reported does not count."""
    assert planned(**same).key == planned().key


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"templates": [TERSE.replace("another")]}, id="name of a template"),
        pytest.param({"templates": [TERSE.replace(system="Be brief.")]}, id="text of a template"),
        pytest.param({"templates": [TERSE, KIND]}, id="template more"),
        pytest.param({"grid": GRID.where(lambda cell: cell["temperature"])}, id="setting less"),
        pytest.param({"cases": CASES.head(1)}, id="case less"),
        pytest.param({"cases": [{**case, "capital": "?"} for case in CASES]}, id="reference"),
        pytest.param({"cases": Cases(list(CASES)[::-1])}, id="order of cases"),
        pytest.param({"repeats": 2}, id="repeats"),
        pytest.param({"generation": 1}, id="generation"),
        pytest.param({"identity": "http://localhost/v1"}, id="backend"),
    ],
)
def test_plans_of_other_trials_have_other_keys(change):
    """Each part of a plan is part of its key."""
    assert planned(**change).key != planned().key


def test_a_number_that_prints_differently_makes_another_plan():
    """1 and 1.0 are one number to a server, but two texts in a prompt."""
    template = PromptTemplate("t", user="{{ x }} {{ y }}")
    plans = [
        planned([template], ParameterGrid(model="m", variables={"y": y}), [{"x": x}])
        for x, y in ((1, 1), (1.0, 1), (1, 1.0))
    ]
    assert [plan[0].request.text for plan in plans] == ["1 1", "1.0 1", "1 1.0"]
    assert len({plan.key for plan in plans}) == 3


# What is refused


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"templates": []}, "there is no template; give at least one PromptTemplate", id="no template"),
        pytest.param({"templates": [TERSE, TERSE]}, "a template is given twice; remove one", id="template twice"),
        pytest.param(
            {"cases": []},
            "there are no cases; give at least one row, or leave cases= out for templates without variables",
            id="no cases",
        ),
        pytest.param(
            {"cases": [*CASES, CASES[0]]},
            "cases 0 and 2 are equal; remove one (to ask several times, use repeats=)",
            id="case twice",
        ),
        pytest.param({"repeats": 0}, "repeats=0: a whole number from 1 is needed", id="no repeats"),
        pytest.param({"repeats": 1.5}, "repeats=1.5: a whole number from 1 is needed", id="part of a repeat"),
        pytest.param({"repeats": True}, "repeats=True: a whole number from 1 is needed", id="boolean repeats"),
        pytest.param({"generation": -1}, "generation=-1: a whole number from 0 is needed", id="generation"),
        pytest.param(
            {"generation": False}, "generation=False: a whole number from 0 is needed", id="boolean generation"
        ),
        pytest.param(
            {"grid": ParameterGrid(temperature=0)},
            "the grid names no model; add e.g. model='gpt-4.1-mini' (lab.models() lists what is on offer)",
            id="no model",
        ),
        pytest.param(
            {"grid": ParameterGrid(model=["m", None])},
            "the grid names no model; add e.g. model='gpt-4.1-mini' (lab.models() lists what is on offer)",
            id="no model in one setting",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", temperature=[0, 0.0])},
            "the grid has equal settings; remove one (to ask several times, use repeats=)",
            id="setting twice",
        ),
        pytest.param(
            {
                "grid": ParameterGrid(model="m", variables={"capital": "x"}),
                "templates": [TERSE.replace(user="{{ question }}{{ capital }}")],
            },
            "'capital' is both a column of the cases and a variable of the grid; rename one",
            id="column and variable",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", variables={"persona": "x"})},
            "no template has a slot {{ persona }}, which the grid sweeps",
            id="variable without a slot",
        ),
        pytest.param(
            {"cases": [{"Question": "x"}]},
            "template 'terse' needs {{ question }}, which the cases do not have; did you mean the column 'Question'?",
            id="missing variable",
        ),
        pytest.param(
            {"cases": [{"question": None}]},
            "case 0: template 'terse' cannot render '{{ question }}': a slot would print None; fill the case's value, "
            "or test it with {% if ... %} (None in this case: question)",
            id="missing value",
        ),
        pytest.param(
            {
                "templates": [PromptTemplate("base", text="{{ question }}")],
                "grid": ParameterGrid(model="m", verbosity="low"),
            },
            "template 'base' is plain text, whose endpoint takes no verbosity; use a grid of its own",
            id="chat parameter for a plain text",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", best_of=[None, 2])},
            "template 'terse' is messages, whose endpoint takes no best_of; use a grid of its own",
            id="text parameter for messages",
        ),
    ],
)
def test_a_plan_that_cannot_be_sent_is_refused(change, problem):
    """Each problem is told before anything is paid for, with what to do."""
    assert raised(**change) == (problem,)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        pytest.param(
            ["m", "gpt-4o"], "model='gpt-4o' is not on offer here; this backend answers for 'm', 'n' only", id="another"
        ),
        pytest.param(
            None, "the grid names no model; add e.g. model='m' (lab.models() lists what is on offer)", id="none"
        ),
    ],
)
def test_a_backend_that_knows_its_models_refuses_others(model, problem):
    """The local model answers for itself alone, and its name is the one to write."""
    with pytest.raises(PlanError) as caught:
        validated(
            [TERSE],
            ParameterGrid(model=model, temperature=0),
            CASES,
            repeats=1,
            generation=0,
            identity=IDENTITY,
            models=("m", "n"),
        )
    assert caught.value.problems == (problem,)


def test_a_backend_that_knows_its_models_answers_for_them():
    """Each of them may stand in the grid."""
    grid = ParameterGrid(model=["n", "m"])
    plan = validated([TERSE], grid, CASES, repeats=1, generation=0, identity=IDENTITY, models=("m", "n"))
    assert [trial.request.model for trial in plan] == ["n", "n", "m", "m"]


def test_a_providers_own_parameter_goes_to_either_endpoint():
    """Some servers take at one endpoint what OpenAI takes at the other."""
    grid = ParameterGrid(model="m", extra={"response_format": {"type": "json_object"}})
    assert len(planned([PromptTemplate("base", text="{{ question }}")], grid)) == 2


def test_every_problem_is_listed():
    """One error names all that is wrong, so that one edit mends it."""
    assert raised(
        [TERSE, PromptTemplate("t", user="{{ zzz }}")],
        ParameterGrid(temperature=[0, 0.0]),
        [{"question": "a"}, {"question": "a"}, {"question": None}],
        repeats=0,
        generation=-1,
    ) == (
        "cases 0 and 1 are equal; remove one (to ask several times, use repeats=)",
        "repeats=0: a whole number from 1 is needed",
        "generation=-1: a whole number from 0 is needed",
        "the grid has equal settings; remove one (to ask several times, use repeats=)",
        "template 't' needs {{ zzz }}, which the cases do not have; the columns are question",
        "the grid names no model; add e.g. model='gpt-4.1-mini' (lab.models() lists what is on offer)",
        "case 2: template 'terse' cannot render '{{ question }}': a slot would print None; fill the case's value, "
        "or test it with {% if ... %} (None in this case: question)",
    )


def test_a_variable_that_only_some_settings_have_is_missing_in_the_others():
    """Every trial is rendered before the first is sent."""
    template = PromptTemplate("t", user="{{ persona }}")
    grid = ParameterGrid(model="m", variables={"persona": "x"}) + ParameterGrid(model="n")
    assert raised([template], grid, [{}]) == (
        "case 0: template 't' cannot render '{{ persona }}': 'persona' is undefined",
    )


# What is warned of


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, (), id="nothing"),
        pytest.param(
            {"repeats": 2, "grid": ParameterGrid(model="m", temperature=0, max_tokens=1, seed=[None, 1])},
            ("repeats with a fixed seed: a server that honours the seed gives the same answer each time",),
            id="repeats with a seed",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", temperature=0, max_tokens=1, seed=1)}, (), id="seed and no noise"
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", max_tokens=1, seed=1)},
            (ONE_SEED,),
            id="one seed for all cases",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="m", temperature=0, top_p=[0.5, 1])},
            (
                "top_p is swept at temperature 0, where it changes nothing; .where() can leave those cells out",
                "no max_tokens: an answer may be as long as the model allows, and no worst case can be priced",
            ),
            id="the grid's own",
        ),
        pytest.param(
            {"grid": ParameterGrid(model=["o3-mini", "m"], temperature=[0, 1], top_p=0.5, max_tokens=1)},
            ("o3-mini is known to refuse temperature, top_p unless reasoning_effort is 'none'",),
            id="reasoning model",
        ),
        pytest.param(
            {"grid": ParameterGrid(model="gpt-5.1", temperature=1, reasoning_effort="none", max_tokens=1)},
            (),
            id="reasoning model that does not reason",
        ),
        pytest.param({"grid": ParameterGrid(model="gpt-5", max_tokens=1)}, (), id="reasoning model left alone"),
    ],
)
def test_what_is_seldom_meant_is_warned_of(change, expected):
    """The plan can be sent; its card says what to know first."""
    assert planned(**change).warnings == expected


@pytest.mark.parametrize(
    ("model", "is_known"),
    [
        ("o1", True),
        ("o4-mini-2025-04-16", True),
        ("gpt-5", True),
        ("gpt-6.1-sol", True),
        ("openai/gpt-5-mini", True),
        ("gpt-4o", False),
        ("gpt-4.1", False),
        ("o1js", False),
        ("gpt-oss-20b", False),
        ("smollm2-135m", False),
    ],
)
def test_reasoning_models_are_known_by_name(model, is_known):
    """With a provider's prefix as well."""
    plan = planned(grid=ParameterGrid(model=model, temperature=1, max_tokens=1))
    assert bool(plan.warnings) == is_known


def test_cases_without_a_slot_are_warned_of():
    """Every case would get the same prompt; one case alone, or one slot somewhere, is meant."""
    fixed = PromptTemplate("fixed", user="Hi")
    grid = ParameterGrid(model="m", max_tokens=1)
    sentence = "no template has a slot, so every case gets the same prompt; a slot is written {{ column }}"
    assert planned([fixed], grid).warnings == (sentence,)
    assert planned([fixed], grid, CASES.head(1)).warnings == ()
    assert planned([fixed, TERSE], grid).warnings == ()


def test_an_odd_template_and_what_the_file_learned_are_told():
    """Warnings of the templates come first, what servers refused before comes last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = PromptTemplate("odd", messages=[("user", "{{ question }}"), ("user", "again")])
    plan = replace(planned([odd]), learned=("m was seen to refuse temperature",))
    assert plan.warnings == (
        "template 'odd': two user messages follow each other; many models expect user and assistant to alternate",
        "m was seen to refuse temperature",
    )


# What a reader sees


def test_a_plan_shows_size_and_warnings():
    """Without an estimate the card has the shape alone."""
    plan = planned([TERSE, KIND], ParameterGrid(model="m", temperature=[0.1, 0.7], top_p=[0.5, 1]), repeats=2)
    assert repr(plan).splitlines() == [
        "<Plan 32 trials: 2 templates x 4 settings x 2 cases x 2 repeats>",
        "templates  terse, kind",
        "varying    temperature x 2, top_p x 2",
        "! no max_tokens: an answer may be as long as the model allows, and no worst case can be priced",
    ]


@pytest.mark.parametrize(
    ("estimate", "lines"),
    [
        pytest.param(
            Estimate(2, 0, 1200, 32, completion_is_bound=True, cost_usd=0.0123, time_s=42),
            [
                "already answered   0",
                "to send            2 requests",
                "prompt tokens      about 1,200",
                "completion tokens  at most 32",
                "cost               up to about $0.012",
                "time               about 42 s",
            ],
            id="bound",
        ),
        pytest.param(
            Estimate(1, 1, 1200, 32, cost_usd=0.0123, time_s=42),
            [
                "already answered   1",
                "to send            1 request",
                "prompt tokens      about 1,200",
                "completion tokens  about 32",
                "cost               about $0.012",
                "time               about 42 s",
            ],
            id="learned",
        ),
        pytest.param(
            Estimate(2, 0),
            [
                "already answered   0",
                "to send            2 requests",
                "prompt tokens      unknown",
                "completion tokens  unknown",
                "cost               unknown",
                "time               unknown",
            ],
            id="unknown",
        ),
        pytest.param(Estimate(2, 0, 9, 9, cost_usd=0.0, time_s=1), ["cost               nothing"], id="free"),
        pytest.param(
            Estimate(0, 2),
            ["already answered  2", "to send           nothing: every answer is in the file"],
            id="all answered",
        ),
    ],
)
def test_a_plan_shows_what_it_will_take(estimate, lines):
    """What is not known is shown as unknown, and a bound as a bound."""
    plan = replace(planned(grid=ParameterGrid(model="m", max_tokens=16)), estimate=estimate)
    shown = repr(plan).splitlines()
    assert shown[2].split(maxsplit=1) == ["varying", "nothing in the grid"]
    assert [line for line in shown[3:] if line in lines] == lines
    assert len(shown[3:]) == (2 if estimate.to_send == 0 else 6)


def test_the_card_of_a_plan_is_text():
    """Names are shown, not drawn."""
    plan = replace(planned([TERSE.replace("<b>")]), learned=("<i>",))
    card = plan._repr_html_()
    assert "Plan · 4 trials: 1 template x 2 settings x 2 cases" in card
    assert "&lt;b&gt;" in card
    assert "<ul><li>&lt;i&gt;</li></ul>" in card
    assert "<ul>" not in planned()._repr_html_()


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        pytest.param([TERSE, KIND], "terse or kind", id="names"),
        pytest.param([TERSE, TERSE.replace(system="Be brief.")], "terse", id="two versions"),
        pytest.param([TERSE.replace("x" * 70)], "x" * 59 + "…", id="long"),
    ],
)
def test_a_run_is_named_after_its_templates(templates, expected):
    """The name fits a table."""
    assert planned(templates).default_name == expected


@pytest.mark.parametrize(
    ("n", "positions"),
    [
        pytest.param(0, [], id="none"),
        pytest.param(1, [0], id="one"),
        pytest.param(3, [0, 2, 4], id="three"),
        pytest.param(99, [0, 2, 4, 6], id="all"),
    ],
)
def test_a_preview_has_different_requests(n, positions):
    """Repeats of a request are not shown again."""
    plan = planned(repeats=2)
    preview = plan.preview(n)
    assert [trial.position for trial in preview.trials] == positions
    assert [preview[place] for place in range(len(preview))] == [plan.request(position) for position in positions]


def test_a_preview_has_three_requests_when_no_number_is_given():
    """Three are enough to see what varies."""
    assert len(planned().preview()) == 3


def test_requests_that_render_alike_are_previewed_once():
    """Two templates may come to the same request."""
    plan = planned([TERSE, TERSE.replace("same")], cases=CASES.head(1))
    assert [trial.position for trial in plan.preview(9).trials] == [0, 1]


def test_a_preview_shows_the_exact_request():
    """The endpoint and the body, indented for reading, cut when long."""
    plan = planned([PromptTemplate("base", text="{{ question }}")], ParameterGrid(model="m"))
    assert repr(plan.preview(1)) == (
        "<Trial 0: base, model='m', case 0, repeat 0>\n"
        "POST /completions\n"
        '{\n  "model": "m",\n  "prompt": "Capital of France?"\n}'
    )
    long = planned(cases=[{"question": "x" * 5000}])
    assert repr(long.preview(1)).endswith("x" * 100 + "…")


def test_the_card_of_a_preview_is_text():
    """Messages keep their line breaks, calls of tools are shown as JSON, and markup is not drawn."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "<i>"}]}
    chat = PromptTemplate("chat", messages=[("user", "<b>\n{{ question }}"), call])
    card = planned([chat, PromptTemplate("base", text="<p>{{ question }}")]).preview(9)._repr_html_()
    assert "Trial 0 · POST /chat/completions" in card
    assert "Trial 4 · POST /completions" in card
    assert "&lt;b&gt;\nCapital of France?" in card
    assert "&lt;p&gt;Capital of France?" in card
    assert "[{&quot;id&quot;:&quot;&lt;i&gt;&quot;}]" in card
    assert "{&quot;model&quot;:&quot;m&quot;,&quot;temperature&quot;:0,&quot;max_tokens&quot;:16}" in card


def test_a_plan_explains_through_its_lab():
    """A trial may be given by place; what is explained is the lab's to know."""
    plan = replace(planned(), explainer=lambda trial: f"asked about {trial.position}")
    assert (plan.explain(2), plan.explain(plan[-1])) == ("asked about 2", "asked about 3")


def test_a_plan_without_a_lab_explains_nothing():
    """Only a file knows what was asked before."""
    with pytest.raises(PlanError, match=r"this plan was made without a file; use lab\.plan\(\.\.\.\)"):
        planned().explain(0)
