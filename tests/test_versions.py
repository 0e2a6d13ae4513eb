"""Versions of a prompt: which there are, how two differ, and what that did to the answers."""

import warnings

import pytest

from promptlab import Lab, NotFoundError, ParameterGrid, PromptTemplate, promptdiffs, versions
from promptlab._text import visible
from promptlab.testing import ScriptedBackend
from promptlab.textdiff import LinePair, Piece
from promptlab.versions import RunName, Version

FIRST = PromptTemplate(
    "support", system="You are a support agent.\nApologise when unsure.\nBe kind.", user="{{ question }}"
)
SECOND = FIRST.replace(
    system="You are a concise support agent.\nSay it when unsure.\nBe kind.", user="{{ query }}\nLanguage: {{ lang }}"
)
CASES = [{"question": f"q{n}", "query": f"q{n}", "lang": "en"} for n in range(4)]


def answer(body):
    """Answer to the question, in a way that the system message decides; q3 is answered alike."""
    if "prompt" in body:
        return "Paris"
    style = "short" if "concise" in body["messages"][0]["content"] else "long"
    question = body["messages"][-1]["content"].split("\n")[0]
    return "the same" if question == "q3" else f"{style} answer to {question}"


@pytest.fixture
def lab(tmp_path):
    """A lab in which both versions were asked the same cases, the second at another temperature as well."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(answer)) as lab:
        lab.run(FIRST, ParameterGrid(model="m", temperature=0), cases=CASES, name="one", progress=False)
        lab.run(SECOND, ParameterGrid(model="m", temperature=[0, 0.5]), cases=CASES, name="two", progress=False)
        yield lab


def test_a_version_says_where_it_was_used(lab):
    """One version, whole."""
    found = versions.find(lab.store, "support@2")
    created = lab.runs()["created_at"]
    assert found == Version(
        id=2,
        name="support",
        number=2,
        key=SECOND.key,
        messages=tuple(SECOND.messages),
        created_at=found.created_at,
        parent="support@1",
        note="",
        runs=(RunName(2, "two", created[1]),),
        answers=8,
        parameters={"model": ("m",), "temperature": (0, 0.5)},
    )
    assert (found.label, found.variables, found.tokens) == ("support@2", ("lang", "query"), 31)
    assert (found.template(), repr(found)) == (SECOND, "<Version support@2: 1 run, 8 answers>")


@pytest.mark.parametrize("asked", ["support", "support@2", SECOND])
def test_a_version_is_found(lab, asked):
    """By name and number, by the name alone (the newest), or by a template that is it."""
    assert versions.find(lab.store, asked).label == "support@2"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("suport", "no template 'suport' in {path}; did you mean 'support'?"),
        ("suport@2", "no template 'suport' in {path}; did you mean 'support'?"),
        ("zzz", "no template 'zzz' in {path}; the newest are 'support'"),
        ("support@7", "{path} holds no version 7 of template 'support'; it has support@1 to support@2"),
        ("support@0", "{path} holds no version 0 of template 'support'; it has support@1 to support@2"),
        ("support@" + "1" * 5_000, "'support@1111"),
        ("support@v2", "'support@v2' names no version: 'v2' is no number; write 'support@1', or 'support' for the "),
        (FIRST.replace(user="x"), "{path} holds no 'support' as it is now, which was never asked; it has support@1 to"),
        (2, "2 names no version; write 'support@6', or 'support' for the newest"),
    ],
)
def test_a_version_that_is_not_there(lab, asked, says):
    """The message names the nearest name, or the versions there are."""
    with pytest.raises(NotFoundError) as error:
        versions.find(lab.store, asked)
    assert str(error.value).startswith(says.format(path=lab.path))


def test_a_name_may_hold_an_at(lab):
    """A template called `a@b` is found by its name, and its versions by another @."""
    lab.ask(PromptTemplate("a@b", user="hi"), model="m")
    assert [versions.find(lab.store, name).label for name in ("a@b", "a@b@1")] == ["a@b@1", "a@b@1"]


def test_versions_are_listed(lab):
    """Those of a name, the oldest first, or those of all templates, as text, HTML and a table."""
    lab.ask(PromptTemplate("<b>", user="hi"), model="m")
    found = versions.versions(lab.store, "support")
    assert [each.label for each in found] == ["support@1", "support@2"]
    assert [each.label for each in versions.versions(lab.store)] == ["<b>@1", "support@1", "support@2"]
    row = found.frame().drop(columns=["created_at", "key"]).iloc[1].to_dict()
    assert row == {
        "name": "support",
        "version": 2,
        "runs": 1,
        "first_run": "two",
        "last_run": "two",
        "answers": 8,
        "messages": 2,
        "variables": "lang, query",
        "tokens_estimate": 31,
        "parent": "support@1",
        "note": "",
    }
    assert "<td" in found._repr_html_()
    assert "<b>@1" not in versions.versions(lab.store)._repr_html_()
    with pytest.raises(NotFoundError, match="did you mean 'support'"):
        versions.versions(lab.store, "suport")


def test_a_version_that_no_run_asked_is_listed(lab):
    """A forgotten run leaves its template, which then has no runs and no answers."""
    lab.forget("one", dry_run=False)
    first = versions.versions(lab.store, "support")[0]
    assert (first.runs, first.answers, dict(first.parameters)) == ((), 0, {})
    assert promptdiffs.compare(lab.store, "support@1", "support@2").effect.pairs == ()


# How two differ


def version(template, number=1, parameters=()):
    """Return a version that no file holds."""
    return Version(
        id=number,
        name=template.name,
        number=number,
        key=template.key,
        messages=tuple(template.messages),
        created_at="2026-11-25T00:00:00.000Z",
        parent=None,
        note="",
        runs=(),
        answers=0,
        parameters=dict(parameters),
    )


def changes(before, after):
    """Return role and change of each message of two lists of (role, text) pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = [version(PromptTemplate("t", messages=messages)) for messages in (before, after)]
    return [(message.role, message.change) for message in promptdiffs.diff(*sides).messages]


def test_a_diff_says_what_changed():
    """The whole diff of two small prompts: pieces of lines, words, variables, parameters, tokens."""
    before = version(FIRST, 1, {"model": ("m",), "temperature": (0.7,)})
    after = version(SECOND, 2, {"model": ("m",), "temperature": (0.3,), "top_p": (1,)})
    found = promptdiffs.diff(before, after)
    system, user = found.messages
    assert system.lines[1] == LinePair(
        (Piece("removed", "Apologise"), Piece("same", " when unsure.")),
        (Piece("added", "Say it"), Piece("same", " when unsure.")),
    )
    assert user.lines[0] == LinePair(
        (Piece("removed", "{{ question }}", is_slot=True),), (Piece("added", "{{ query }}", is_slot=True),)
    )
    assert (found.variables_renamed, found.variables_added, found.variables_removed) == (
        (("question", "query"),),
        ("lang",),
        (),
    )
    assert (found.words, found.tokens) == ((6, 2), 5)
    assert [(each.name, each.before, each.after) for each in found.parameters if each.is_changed] == [
        ("temperature", (0.7,), (0.3,)),
        ("top_p", (), (1,)),
    ]


def test_a_diff_as_text():
    """The text is the same each time, marks words as git does, and tells what else changed."""
    found = promptdiffs.diff(version(FIRST), version(SECOND, 2, {"top_p": (1,)}))
    assert repr(found) == (
        "<VersionDiff support@1 → support@2: 2 changed of 2 messages, +6 −2 words, about +5 tokens>\n"
        "system:\n"
        "  You are a {+concise +}support agent.\n"
        "  [-Apologise-]{+Say it+} when unsure.\n"
        "  Be kind.\n"
        "user:\n"
        "  [-{{ question }}-]{+{{ query }}+}\n"
        "  {+Language: {{ lang }}+}\n"
        "variables: question → query, + lang\n"
        "top_p: not set → 1"
    )


def test_a_long_message_is_shown_around_its_changes():
    """Lines far from a change are counted, not shown."""
    lines = [f"line {n}" for n in range(9)]
    before, after = ("\n".join([*lines, end]) for end in ("old", "new"))
    found = promptdiffs.diff(*(version(PromptTemplate("t", user=text)) for text in (before, after)))
    assert repr(found).splitlines()[1:] == ["user:", "  … 8 lines the same", "  line 8", "  [-old-]", "  {+new+}"]
    assert "… 8 lines the same" in found._repr_html_()


def test_equal_versions_have_no_difference():
    """A version against itself says so."""
    found = promptdiffs.diff(version(FIRST), version(FIRST))
    assert repr(found) == "<VersionDiff support@1 → support@1: the same messages>\nsystem: the same\nuser: the same"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param(
            [("system", "Be brief."), ("user", "{{ q }}")],
            [("user", "{{ q }}")],
            [("system", "removed"), ("user", "same")],
            id="removed",
        ),
        pytest.param(
            [("user", "{{ q }}")],
            [("user", "One?"), ("assistant", "1"), ("user", "{{ q }}")],
            [("user", "added"), ("assistant", "added"), ("user", "same")],
            id="examples-put-before",
        ),
        pytest.param(
            [("system", "Be brief and kind."), ("user", "x")],
            [("developer", "Be brief and kind."), ("user", "x")],
            [("system → developer", "changed"), ("user", "same")],
            id="another-role",
        ),
        pytest.param(
            [("user", "a b c"), ("assistant", "d e f")],
            [("user", "a b x"), ("assistant", "d e f")],
            [("user", "changed"), ("assistant", "same")],
            id="one-word",
        ),
    ],
)
def test_messages_are_aligned_by_role_and_likeness(before, after, found):
    """Messages that belong together stand beside each other; others are alone."""
    assert changes(before, after) == found


def test_parts_and_tool_calls_are_compared_as_json():
    """Content that is no plain text differs in the lines of its JSON."""
    part = {"type": "image_url", "image_url": {"url": "https://a.example/1.png"}}
    other = {**part, "image_url": {"url": "https://a.example/2.png"}}
    sides = [version(PromptTemplate("t", messages=[("user", [content])])) for content in (part, other)]
    changed = [pair for pair in promptdiffs.diff(*sides).messages[0].lines if pair.is_changed]
    assert [piece.text for piece in changed[0].after if piece.kind == "added"] == ["2"]


def test_a_text_template_is_compared(lab):
    """A prompt for base models is one message, and comes back as such a template."""
    lab.ask(PromptTemplate("base", text="The capital of France is"), model="m")
    found = versions.find(lab.store, "base")
    assert (found.template().is_text, promptdiffs.diff(found, found).messages[0].role) == (True, "text")


def test_a_hostile_prompt_is_text():
    """What a prompt holds is escaped in the card, and what hides or reorders text is shown as its code."""
    evil = "<script>alert(1)</script>\u202e{{ '<img src=x>' }}"
    found = promptdiffs.diff(version(FIRST), version(PromptTemplate("<i>t</i>", system=evil, user="{{ q }}")))
    html = found._repr_html_()
    assert [word for word in ("<script", "<img", "<i>t", "\u202e") if word in html] == []
    assert "&lt;script&gt;alert(" in html
    assert "\u202e" not in repr(found)
    assert visible("\u202e") in repr(found)


def test_stored_messages_that_are_no_template_read_as_text():
    """A file that others wrote may hold slots that are none; they have no variables, and are compared as text."""
    broken = Version(
        **{
            **{name: getattr(version(FIRST), name) for name in Version.__slots__},
            "messages": ({"role": "user", "content": "{{ broken"},),
        }
    )
    assert (broken.variables, promptdiffs.diff(version(FIRST), broken).messages[-1].change) == ((), "changed")


def test_versions_are_headed_by_what_they_are(lab, tmp_path):
    """A template's name, or how many templates there are, with the number of versions; an empty file says so."""
    lab.ask(PromptTemplate("base", text="x"), model="m")
    with Lab(tmp_path / "empty.db", backend=ScriptedBackend("x")) as empty:
        found = [lab.versions("support"), lab.versions(), empty.versions()]
    assert [repr(each).split("\n")[0] for each in found] == [
        "<Versions support: 2 versions>",
        "<Versions 2 templates: 3 versions>",
        "<Versions no template was asked yet>",
    ]
    assert "<b>Versions · support: 2 versions</b>" in found[0]._repr_html_()
    assert repr(found[2]) == "<Versions no template was asked yet>"


# The effect


def test_the_effect_is_told_on_what_both_answered(lab):
    """Only the temperature that both were asked at is compared; equal outputs are the same, others unknown."""
    found = promptdiffs.compare(lab.store, "support@1", "support@2")
    effect = found.effect
    assert (len(effect.pairs), effect.changed, effect.count("same"), effect.count("unknown")) == (4, 3, 1, 3)
    assert repr(found).splitlines()[-1] == (
        "effect on 4 shared answers (same case, settings, repeat and generation): 3 changed, 1 same; "
        "+4.0 prompt tokens a request, as counted"
    )
    [first, *_] = effect.examples
    assert (first.case, first.setting, first.before, first.after) == (
        "q0 · q0 · en",
        "",
        "long answer to q0",
        "short answer to q0",
    )
    frame = effect.frame()
    assert frame["is_changed"].tolist() == [True, True, True, False]
    answers = [lab.load(name).frame().set_index("output_id") for name in ("one", "two")]
    sides = [
        side.loc[frame[column]] for side, column in zip(answers, ("before_output_id", "after_output_id"), strict=True)
    ]
    assert sides[0]["case"].tolist() == sides[1]["case"].tolist() == [0, 1, 2, 3]


SCORE = """
insert into scores (output_id, case_id, scorer, config_key, value, created_at)
select output_id, (select case_id from trials where trials.sample_id = samples.id), ?, ?, ?, '' from samples
where output_id = ?
"""


def value(lab, pairs, *values, scorer="exact"):
    """Score some pairs: each with its two values."""
    rows = [
        (scorer, scorer, score, output_id)
        for pair, (old, new) in zip(pairs, values, strict=False)
        for output_id, score in ((pair.before_output_id, old), (pair.after_output_id, new))
    ]
    lab.store.write(lambda connection: connection.executemany(SCORE, rows)).result()


def rate(lab, output_id, value, rater="me", scale="thumbs"):
    """Rate an output."""
    add = "insert into ratings (output_id, rater, value, scale, source, created_at) values (?, ?, ?, ?, 'test', '')"
    lab.store.write(lambda connection: connection.execute(add, (output_id, rater, value, scale))).result()


def verdicts(lab, **options):
    """Return what was said of each pair, and by what."""
    effect = promptdiffs.compare(lab.store, "support@1", "support@2", **options).effect
    return [(pair.verdict, pair.by) for pair in effect.pairs]


def test_better_and_worse_are_told_by_the_newest_scorer(lab):
    """More is better; a pair of which only one side is scored stays unknown."""
    pairs = promptdiffs.compare(lab.store, "support@1", "support@2").effect.pairs
    value(lab, pairs, (1, 0), (1, 0), (1, 0), scorer="old")
    value(lab, pairs, (0, 1), (1, 0), scorer="exact")
    assert verdicts(lab) == [("better", "exact"), ("worse", "exact"), ("worse", "old"), ("same", None)]
    assert verdicts(lab, by="old") == [("worse", "old"), ("worse", "old"), ("worse", "old"), ("same", None)]
    found = promptdiffs.compare(lab.store, "support@1", "support@2").effect
    assert [example.pair.verdict for example in found.examples] == ["worse", "worse", "better"]
    assert found.sentence().startswith(
        "effect on 4 shared answers (same case, settings, repeat and generation): "
        "3 changed; 1 better, 2 worse, 1 same by exact, old"
    )


def test_a_rating_goes_before_a_score(lab):
    """The last rating of each rater counts; a cleared one and another scale do not."""
    pairs = promptdiffs.compare(lab.store, "support@1", "support@2").effect.pairs
    value(lab, pairs, (0, 1), (0, 1), (0, 1))
    rate(lab, pairs[0].before_output_id, -1)
    rate(lab, pairs[0].before_output_id, 1)
    rate(lab, pairs[0].after_output_id, 0)
    rate(lab, pairs[1].before_output_id, 1)
    rate(lab, pairs[1].after_output_id, 0, scale="stars")
    rate(lab, pairs[2].before_output_id, 1)
    rate(lab, pairs[2].after_output_id, 0)
    rate(lab, pairs[2].after_output_id, None)
    assert verdicts(lab)[:3] == [("worse", "rating"), ("better", "exact"), ("better", "exact")]
    assert verdicts(lab, by="rating")[:2] == [("worse", "rating"), ("unknown", None)]


def test_an_unknown_scorer_is_refused(lab):
    """The message names the nearest scorer, or all there are."""
    pairs = promptdiffs.compare(lab.store, "support@1", "support@2").effect.pairs
    value(lab, pairs, (1, 0))
    with pytest.raises(NotFoundError, match=r"by='exat': no scorer of that name .*; did you mean 'exact'\?"):
        verdicts(lab, by="exat")


def test_a_diff_of_long_prompts_says_that_it_is_coarse():
    """What is too long to be compared word by word is compared as whole lines, and the summary says so."""
    before, after = (version(FIRST.replace(system=" ".join(word * 60_000))) for word in (["a"], ["a", "b"]))
    found = promptdiffs.diff(before, after)
    assert (found.is_coarse, promptdiffs.diff(before, before).is_coarse) == (True, False)
    assert found.summary().endswith("so long that parts are compared as whole lines")


def test_another_generation_of_one_version_changes_nothing(lab):
    """Answers are compared generation by generation, so one version asked afresh waits for the other."""
    before = promptdiffs.compare(lab.store, "support@1", "support@2").effect
    grid = ParameterGrid(model="m", temperature=0)
    lab.run(FIRST, grid, cases=CASES[:1], generation=1, name="again", progress=False)
    assert promptdiffs.compare(lab.store, "support@1", "support@2").effect == before
    lab.run(SECOND, grid, cases=CASES[:2], generation=1, name="again", progress=False)
    effect = promptdiffs.compare(lab.store, "support@1", "support@2").effect
    assert [(pair.repeat, pair.before_generation, pair.after_generation) for pair in effect.pairs] == [
        (0, 0, 0),
        (0, 1, 1),
        *[(0, 0, 0)] * 3,
    ]
    assert [example.setting for example in effect.examples[:2]] == ["generation 0", "generation 0"]
    assert {name: effect.frame()[name].tolist() for name in ("before_generation", "after_generation")} == {
        "before_generation": [0, 1, 0, 0, 0],
        "after_generation": [0, 1, 0, 0, 0],
    }


def test_without_a_generation_of_both_the_newest_answers_are_compared(lab):
    """A version that was only asked afresh is compared all the same, and it is said how."""
    third = FIRST.replace(system="You are concise.")
    for generation in (1, 2):
        grid = ParameterGrid(model="m", temperature=0)
        lab.run(third, grid, cases=CASES[:2], generation=generation, name=f"at {generation}", progress=False)
    effect = promptdiffs.compare(lab.store, "support@1", "support@3").effect
    newest = lab.load("at 2").frame()["output_id"].tolist()
    assert [(pair.before_generation, pair.after_generation, pair.after_output_id) for pair in effect.pairs] == [
        (0, 2, newest[0]),
        (0, 2, newest[1]),
    ]
    assert effect.sentence().startswith(
        "effect on 2 shared answers (same case, settings and repeat; the newest of each): 2 changed; −"
    )


def test_repeats_are_counted_from_0(lab):
    """Where there are several, each pair says which it is, as the frame does."""
    for template in (FIRST, SECOND):
        lab.run(template, ParameterGrid(model="m", temperature=1), cases=CASES[:1], repeats=2, progress=False)
    effect = promptdiffs.compare(lab.store, "support@1", "support@2").effect
    settings = {(example.pair.repeat, example.setting) for example in effect.examples if "1" in example.setting}
    assert settings == {(0, "temperature 1, repeat 0"), (1, "temperature 1, repeat 1")}
