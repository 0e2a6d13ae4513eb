"""Templates: what they render, what they refuse, and that no template can reach beyond its text."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptlab import PromptTemplate, TemplateError
from promptlab.templates import ROLES, TemplateWarning
from strategies import any_text, prompt_texts

PARTS = [
    {"type": "text", "text": "What is {{ thing }}?"},
    {"type": "image_url", "image_url": {"url": "{{ url }}", "detail": "low"}},
]


@pytest.fixture
def terse():
    """A template of two messages and one slot."""
    return PromptTemplate("terse", system="Answer with one word.", user="{{ question }}")


def rendered(source, **case):
    """Return what a text with slots becomes."""
    return PromptTemplate("t", text=source).render(case)[0]["content"]


def raised(call, *args, **options):
    """Return the problems of the TemplateError that a call raises."""
    with pytest.raises(TemplateError) as caught:
        call(*args, **options)
    return caught.value.problems


# Messages


def test_system_and_user_are_the_short_form(terse):
    """Two texts make two messages."""
    assert terse.messages == [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": "{{ question }}"},
    ]


def test_messages_are_pairs_or_the_apis_own_dicts():
    """Pairs and dicts may be mixed, and dicts keep every field."""
    tool = {"role": "tool", "tool_call_id": "1", "content": "Rome"}
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "capital"}}]}
    template = PromptTemplate("t", messages=[("user", "Capital of Italy?"), call, tool])
    assert template.messages == [{"role": "user", "content": "Capital of Italy?"}, call, tool]


def test_every_role_of_the_api_is_accepted():
    """All roles that the endpoint knows can stand in a template."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TemplateWarning)
        template = PromptTemplate("t", messages=[(role, "x") for role in ROLES])
    assert [message["role"] for message in template.messages] == ["system", "developer", "user", "assistant", "tool"]


def test_a_plain_text_is_for_the_completions_endpoint(terse):
    """Base models take a text without roles."""
    template = PromptTemplate("base", text="Q: {{ question }}\nA:")
    assert template.render({"question": "Why?"}) == [{"role": "text", "content": "Q: Why?\nA:"}]
    assert (template.is_text, terse.is_text) == (True, False)


def test_a_template_does_not_change_with_what_it_was_made_of():
    """Neither the list given nor the list returned is the template's own."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    template = PromptTemplate("t", messages=messages)
    messages[0]["content"][0]["text"] = "changed"
    template.messages[0]["role"] = "system"
    assert template.messages == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({}, "give system= and user=, or messages=, or text=; exactly one of the three", id="nothing"),
        pytest.param({"user": "a", "text": "b"}, "exactly one of the three", id="two ways"),
        pytest.param({"messages": []}, "has no messages; give at least one", id="no messages"),
        pytest.param({"messages": ["Hi"]}, "'Hi' is not a message; write ('user', 'text')", id="no pair"),
        pytest.param({"messages": {"role": "user"}}, "'role' is not a message", id="one dict"),
        pytest.param({"messages": [("usr", "a")]}, "unknown role 'usr'; did you mean 'user'?", id="misspelt role"),
        pytest.param({"messages": [("x", "a")]}, "unknown role 'x'; the roles are system, ", id="unknown role"),
        pytest.param({"messages": [{"content": "a"}]}, "unknown role None", id="no role"),
        pytest.param({"user": 5}, "content 5 is neither text nor a list of parts", id="number"),
        pytest.param({"messages": [{"role": "assistant"}]}, "content None is neither", id="no content"),
        pytest.param({"messages": [("user", [])]}, "content [] is neither", id="no parts"),
        pytest.param({"messages": [("user", ["a"])]}, "content ['a'] is neither", id="texts as parts"),
        pytest.param({"messages": [("user", [{"text": "a"}])]}, "is neither", id="part without type"),
        pytest.param({"messages": [("user", [{"type": "x", "x": b""}])]}, "cannot be sent as JSON", id="bytes"),
        pytest.param({"messages": [("user", [{"type": "x", "x": math.nan}])]}, "cannot be sent as JSON", id="NaN"),
        pytest.param({"text": ["a"]}, "text=['a'] is not text", id="text that is none"),
    ],
)
def test_a_template_that_cannot_be_sent_is_refused(options, problem):
    """The error shows the value and says what to write."""
    (found,) = raised(PromptTemplate, "t", **options)
    assert problem in found


@pytest.mark.parametrize("name", ["", "  ", None, "two\nlines", "\ud800"])
def test_a_name_is_one_line_of_text(name):
    """A name stands in tables and in the file, so it has to be there and to be storable."""
    assert raised(PromptTemplate, name, user="Hi") == (
        f"a template needs a name on one line, not {name!r}; e.g. PromptTemplate('terse', user='{{{{ question }}}}')",
    )


def test_every_problem_of_the_messages_is_listed():
    """One error names all that is wrong, by place."""
    assert raised(PromptTemplate, "t", messages=[("sistem", "a"), ("user", 5)]) == (
        "template 't', message 0: unknown role 'sistem'; did you mean 'system'?",
        "template 't', message 1: content 5 is neither text nor a list of parts; write 'text' or [{'type': ...}]",
    )


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        pytest.param(["system", "user", "assistant", "user"], (), id="ordinary"),
        pytest.param(["developer", "user"], (), id="developer"),
        pytest.param(["assistant"], (), id="assistant alone"),
        pytest.param(["user", "assistant", "tool", "tool", "assistant"], (), id="tools in between"),
        pytest.param(
            ["user", "system"],
            ("message 1 is a system message but not the first; many models expect it first",),
            id="system late",
        ),
        pytest.param(
            ["user", "user"],
            ("two user messages follow each other; many models expect user and assistant to alternate",),
            id="user twice",
        ),
        pytest.param(
            ["user", "system", "user"],
            (
                "message 1 is a system message but not the first; many models expect it first",
                "two user messages follow each other; many models expect user and assistant to alternate",
            ),
            id="system between",
        ),
        pytest.param(
            ["user", "assistant", "developer", "assistant"],
            (
                "message 2 is a developer message but not the first; many models expect it first",
                "two assistant messages follow each other; many models expect user and assistant to alternate",
            ),
            id="both",
        ),
    ],
)
def test_an_unusual_order_is_warned_of(roles, expected):
    """Such messages can be sent, so the template is made, with a warning for each oddity."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        template = PromptTemplate("t", messages=[(role, "x") for role in roles])
    assert template.warnings == expected
    assert [(item.category, str(item.message)) for item in caught] == [
        (TemplateWarning, f"template 't': {sentence}") for sentence in expected
    ]


# Versions


def test_the_version_is_the_hash_of_the_messages(terse):
    """Keys are stored in files: this one must never change, and the name is no part of it."""
    assert terse.key == "059aee2930acb8e33cb153893c5129192113a8a108a600c265db1382be3e834f"
    assert PromptTemplate("other", system="Answer with one word.", user="{{ question }}", note="n").key == terse.key
    assert PromptTemplate("terse", system="Answer with one word!", user="{{ question }}").key != terse.key


def test_equal_templates_have_one_name_and_one_version(terse):
    """The same words under two names are one version, but two templates."""
    same = PromptTemplate("terse", system="Answer with one word.", user="{{ question }}", note="another remark")
    renamed = PromptTemplate("renamed", messages=terse.messages)
    assert {terse, same, renamed} == {terse, renamed}
    assert terse != "terse"


@pytest.mark.parametrize(
    ("edits", "messages"),
    [
        pytest.param({"system": "Short!"}, [("system", "Short!"), ("user", "{{ question }}")], id="system"),
        pytest.param({"user": "Q: {{ q }}"}, [("system", "Answer with one word."), ("user", "Q: {{ q }}")], id="user"),
        pytest.param({"messages": [("user", "Hi")]}, [("user", "Hi")], id="messages"),
        pytest.param({"text": "Hi"}, [("text", "Hi")], id="text"),
        pytest.param({}, [("system", "Answer with one word."), ("user", "{{ question }}")], id="name alone"),
    ],
)
def test_a_variant_replaces_what_is_given_and_remembers_its_parent(terse, edits, messages):
    """The parent's key is kept, so that a version's history can be told."""
    variant = terse.replace("variant", note="shorter", **edits)
    assert [tuple(message.values()) for message in variant.messages] == messages
    assert (variant.name, variant.note, variant.parent) == ("variant", "shorter", terse.key)


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        pytest.param([("user", "a")], {"system": "s"}, [("system", "s"), ("user", "a")], id="system put first"),
        pytest.param([("system", "s")], {"user": "a"}, [("system", "s"), ("user", "a")], id="user put last"),
        pytest.param([("developer", "d")], {"system": "s"}, [("developer", "s")], id="developer keeps its role"),
        pytest.param(
            [("user", "a"), ("assistant", "b"), ("user", "c")],
            {"user": "d"},
            [("user", "a"), ("assistant", "b"), ("user", "d")],
            id="last user message",
        ),
    ],
)
def test_a_variant_finds_the_message_to_replace(before, edits, after):
    """Few-shot examples stay: the first system and the last user message are the ones meant."""
    variant = PromptTemplate("t", messages=before).replace(**edits)
    assert [(message["role"], message["content"]) for message in variant.messages] == after


def test_a_variant_keeps_name_and_note(terse):
    """What is not given stays, in a plain text too."""
    parent = PromptTemplate("base", text="Q:", note="as in the paper")
    variant = parent.replace()
    assert (variant.name, variant.note, variant.messages) == ("base", "as in the paper", parent.messages)


@pytest.mark.parametrize(
    ("template", "edits"),
    [
        pytest.param(PromptTemplate("t", user="a"), {"system": "s", "messages": [("user", "b")]}, id="messages"),
        pytest.param(PromptTemplate("t", user="a"), {"user": "s", "text": "b"}, id="text"),
        pytest.param(PromptTemplate("t", text="a"), {"user": "b"}, id="of a plain text"),
    ],
)
def test_a_variant_is_edited_in_one_way(template, edits):
    """Edits that contradict each other are refused."""
    assert raised(template.replace, **edits) == (
        "replace() takes system= and user= for messages, or messages=, or text=; one of the three",
    )


def test_a_difference_reads_as_a_unified_diff(terse):
    """Only the lines that differ are shown, under both names."""
    other = terse.replace("curt", system="One word!")
    assert terse.diff(other).split("\n") == [
        "--- terse",
        "+++ curt",
        "@@ -1,6 +1,6 @@",
        " # system",
        " ",
        "-Answer with one word.",
        "+One word!",
        " ",
        " # user",
        " ",
    ]


def test_equal_messages_have_no_difference(terse):
    """A renamed template differs in nothing."""
    assert terse.diff(terse.replace("renamed")) == ""


# Slots


def test_variables_are_found_in_every_text_of_the_messages():
    """Content parts have slots as well; fields that only the API reads have none."""
    template = PromptTemplate("t", messages=[("system", "{% if tone %}{{ tone }}{% endif %}"), ("user", PARTS)])
    assert template.variables == ("thing", "tone", "url")


def test_content_parts_are_rendered():
    """A picture's address may come from a case."""
    template = PromptTemplate("t", messages=[("user", PARTS)])
    assert template.render({"thing": "this", "url": "https://x/y.png"}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ],
        }
    ]


def test_roles_and_types_are_never_rendered():
    """A type with braces is the API's business, not a slot."""
    template = PromptTemplate("t", messages=[("user", [{"type": "{{ a }}", "text": "{{ b }}", "n": 1}])])
    assert template.variables == ("b",)
    assert template.render({"b": "x"})[0]["content"] == [{"type": "{{ a }}", "text": "x", "n": 1}]


@pytest.mark.parametrize(
    ("source", "variables", "required"),
    [
        pytest.param("{{ a }} {{ b.c }}", ("a", "b"), ("a", "b"), id="both required"),
        pytest.param("{{ a | default('x') }}", ("a",), (), id="default"),
        pytest.param("{{ a | d('x') }}", ("a",), (), id="short default"),
        pytest.param("{% if a is defined %}{{ a }}{% endif %}", ("a",), (), id="defined"),
        pytest.param("{% if a is undefined %}x{% endif %}", ("a",), (), id="undefined"),
        pytest.param("{{ a.b | default('x') }}", ("a",), ("a",), id="default of an attribute"),
        pytest.param("{% for i in range(3) %}{{ i }}{% endfor %}", (), (), id="of the template's own"),
        pytest.param("{% raw %}{{ a }}{% endraw %}", (), (), id="raw"),
        pytest.param("{# {{ a }} #}", (), (), id="comment"),
        pytest.param("{ a } }}", (), (), id="other braces"),
    ],
)
def test_variables_with_a_way_out_are_optional(source, variables, required):
    """A case must have a variable unless the template says what to do without it."""
    template = PromptTemplate("t", text=source)
    assert (template.variables, template.required) == (variables, required)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param({}, "Dear friend,", id="absent"),
        pytest.param({"name": "Ann"}, "Dear Ann,", id="given"),
    ],
)
def test_an_optional_variable_may_be_absent(case, expected):
    """`default` stands in for a column that the cases do not have."""
    assert rendered("Dear {{ name | default('friend') }},", **case) == expected


@pytest.mark.parametrize(
    ("source", "case", "expected"),
    [
        pytest.param("a\n", {}, "a\n", id="trailing line break"),
        pytest.param("{{ a }}\n", {"a": "x"}, "x\n", id="trailing line break after a slot"),
        pytest.param("{{ a }}", {"a": "<b>&'\""}, "<b>&'\"", id="no escaping"),
        pytest.param("{{ a }}", {"a": 0.0}, "0.0", id="float"),
        pytest.param("{{ a }}", {"a": np.float64(0.5)}, "0.5", id="numpy"),
        pytest.param("{{ a }}", {"a": [np.str_("x"), np.float64(0.5)]}, "['x', 0.5]", id="numpy in a list"),
        pytest.param("{{ a }}", {"a": ""}, "", id="empty text"),
        pytest.param("{{ a }}", {"a": "\ud800\0"}, "\ud800\0", id="odd characters"),
        pytest.param("{{ 20000000 * 3 }} {{ 2 ** 10 }} {{ 'ab' * 2 }}", {}, "60000000 1024 abab", id="arithmetic"),
        pytest.param("{{ 4 ** 0.5 }} {{ 0.5 ** 2 }} {{ 0.5 * 3 }}", {}, "2.0 0.25 1.5", id="floats"),
        pytest.param("{# for me #}Hi", {}, "Hi", id="comment"),
        pytest.param("{{ a | tojson }}", {"a": {"b": "é's <", "a": None}}, '{"b": "é\'s <", "a": null}', id="tojson"),
        pytest.param("{{ a | tojson(indent=1) }}", {"a": [1]}, "[\n 1\n]", id="tojson indented"),
        pytest.param("{{ a | map('upper') | join(', ') }}", {"a": ["x", "y"]}, "X, Y", id="joined"),
    ],
)
def test_a_slot_prints_its_value_as_it_is(source, case, expected):
    """Nothing on the way escapes, rounds, sorts or drops anything."""
    assert rendered(source, **case) == expected


@given(any_text, any_text, prompt_texts)
def test_what_stands_in_a_case_is_never_rendered(before, after, value):
    """Braces in a value are text: a case cannot smuggle in a slot."""
    before, after = (text.replace("{", "").replace("\r", "") for text in (before, after))
    value = f"{value}{{{{ secret }}}}{{% raw %}}"
    assert rendered(f"{before}{{{{ value }}}}{after}", value=value, secret="hunter2") == f"{before}{value}{after}"


def test_every_missing_variable_is_named_with_the_nearest_column():
    """One error lists them all, so that one edit mends them."""
    template = PromptTemplate("t", system="{{ persona }}", user="{{ question }} {{ zzz }}")
    assert raised(template.render, {"Question": "x", 1: "y"}) == (
        "template 't' needs {{ persona }}, which the cases do not have; the columns are Question, 1",
        "template 't' needs {{ question }}, which the cases do not have; did you mean the column 'Question'?",
        "template 't' needs {{ zzz }}, which the cases do not have; the columns are Question, 1",
    )


def test_a_template_without_columns_says_so(terse):
    """With no columns at all there is none to suggest."""
    assert terse.missing([]) == [
        "template 'terse' needs {{ question }}, which the cases do not have; the columns are none"
    ]


def test_a_column_that_no_slot_reads_is_fine(terse):
    """Columns may be there for scoring alone."""
    assert terse.missing(["question", "capital"]) == []
    assert terse.render({"question": "a", "capital": "b"})[1]["content"] == "a"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("{{ a.b }}", "'dict object' has no attribute 'b'", id="attribute"),
        pytest.param("{{ a['b'] }}", "'dict object' has no attribute 'b'", id="item"),
        pytest.param("{{ l[5] }}", "list object has no element 5", id="element"),
        pytest.param("{% if a.b %}x{% endif %}", "'dict object' has no attribute 'b'", id="test"),
        pytest.param("{% for i in a.b %}x{% endfor %}", "'dict object' has no attribute 'b'", id="loop"),
        pytest.param("{{ a.b ~ 'x' }}", "'dict object' has no attribute 'b'", id="joined"),
    ],
)
def test_what_is_undefined_never_renders_as_nothing(source, message):
    """A misspelt attribute is an error, not a hole in the prompt."""
    assert raised(rendered, source, a={}, l=[]) == (f"template 't' cannot render {source!r}: {message}",)


@pytest.mark.parametrize(
    "source",
    [
        "{{ x }}",
        "{{ x | upper }}",
        "{{ x | string }}",
        "{{ 'a' ~ x }}",
        "{{ '%s' | format(x) }}",
        "{{ '{}'.format(x) }}",
        "{{ [x] | join }}",
        "{{ [x] }}",
        "{{ x | default('y') }}",
    ],
)
def test_none_is_never_printed(source):
    """A missing value is an error that names the column, however the slot prints it."""
    (problem,) = raised(rendered, source, x=None)
    reason = "a slot would print None; fill the case's value, or test it with {% if ... %}"
    assert problem == f"template 't' cannot render {source!r}: {reason} (None in this case: x)"


@pytest.mark.parametrize("source", ["{{ d }}", "{{ d.k }}", "{{ d | pprint }}", "{{ none }}"])
def test_none_is_not_printed_from_within_a_value_either(source):
    """A list or dict that holds None would print it, too."""
    (problem,) = raised(rendered, source, d={"k": None})
    assert problem.endswith("a slot would print None; fill the case's value, or test it with {% if ... %}")


@pytest.mark.parametrize(
    "source",
    [
        "{% if x %}wrong{% else %}right{% endif %}",
        "{% if x is none %}right{% endif %}",
        "{% if x == none %}right{% endif %}",
        "{% if x is not none %}wrong{% else %}right{% endif %}",
        "{{ x or 'right' }}",
        "{{ x | default('right', true) }}",
        "{% if x is defined %}right{% endif %}",
        "{% if d.x in [none] %}right{% endif %}",
        "{{ 'right' if x | tojson == 'null' }}",
    ],
)
def test_none_can_be_tested(source):
    """A template says itself what to do without a value."""
    assert rendered(source, x=None, d={"x": None}) == "right"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param("{{ l | map('upper') }}", "generator", id="generator"),
        pytest.param("{{ d.items }}", "builtin_function_or_method", id="method of the same name as a column"),
        pytest.param("{{ d.keys() }}", "dict_keys", id="view"),
        pytest.param("{{ range }}", "function", id="function"),
        pytest.param("{{ self }}", "TemplateReference", id="template"),
    ],
)
def test_what_is_no_text_is_not_printed(source, kind):
    """Jinja2 would print `<generator object ...>` into the prompt."""
    message = f"a slot would print a {kind}; call it, or make a text of it with | list or | join(', ')"
    assert raised(rendered, source, l=["a"], d={"items": 1}) == (f"template 't' cannot render {source!r}: {message}",)


def test_what_is_no_json_is_not_printed_as_json():
    """`tojson` says what to do with a generator."""
    (problem,) = raised(rendered, "{{ l | map('upper') | tojson }}", l=["a"])
    assert problem.endswith(": a generator is not JSON; make a list or a text of it first")


def test_a_value_that_is_no_json_is_refused(terse):
    """A template gets text, numbers, lists and dicts; an object could give away what it holds."""
    problem = "template 'terse': 1j (complex) is not JSON; use text, numbers, true/false, None, lists or dicts"
    assert raised(terse.render, {"question": 1j}) == (problem,)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("{{ 1 / 0 }}", "ZeroDivisionError: division by zero", id="division"),
        pytest.param("{{ '{a}'.format() }}", "KeyError: 'a'", id="format"),
        pytest.param("{{ 'a' + 1 }}", 'TypeError: can only concatenate str (not "int") to str', id="types"),
        pytest.param("{% include 'x' %}", "TypeError: no loader for this environment specified", id="include"),
        pytest.param(
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "RecursionError: maximum recursion depth exceeded",
            id="recursion",
        ),
    ],
)
def test_whatever_fails_in_a_template_is_a_template_error(source, message):
    """The error names the template, the text and the reason."""
    (problem,) = raised(rendered, source)
    assert problem.startswith(f"template 't' cannot render {source!r}: {message}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("a\n{{ question }", "line 2 of 'a\\n{{ question }': unexpected '}'", id="braces"),
        pytest.param("{% if x %}", "line 1 of '{% if x %}': Unexpected end of template.", id="not closed"),
        pytest.param("{{ x | nope }}", "line 1 of '{{ x | nope }}': No filter named 'nope'.", id="filter"),
        pytest.param("{{ " + "(" * 9999 + " }}", "line 1 of", id="nested too deeply"),
    ],
)
def test_a_slot_that_is_no_jinja_says_where(source, message):
    """The line is named, and how to write braces that are meant."""
    (problem,) = raised(PromptTemplate, "t", text=source)
    assert message in problem
    assert problem.endswith("; write {% raw %} for literal braces")


# The sandbox


@pytest.mark.parametrize(
    "payload",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [1] * 10**9 }}",
        "{{ (1, 2) * 10**9 }}",
        "{{ 2 ** 1000000000 }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    ],
)
def test_no_payload_fills_the_memory(payload):
    """A text longer than any prompt is stopped before it is made."""
    (problem,) = raised(rendered, payload)
    assert "longer than 10,000,000 characters" in problem or "Range too big" in problem


@pytest.mark.parametrize("source", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_nothing_random_is_on_offer(source):
    """The same case always gives the same request."""
    raised(rendered, source)


# Files


def test_a_template_is_saved_and_loaded(terse, tmp_path):
    """The file keeps name, note, parent and messages."""
    variant = terse.replace("curt", system="One word!", note="shorter")
    found = PromptTemplate.load(variant.save(tmp_path / "curt.md"))
    assert found == variant
    assert (found.note, found.parent) == ("shorter", terse.key)


def test_a_plain_text_is_saved_and_loaded(tmp_path):
    """A file with one message of role `text` is a plain text."""
    template = PromptTemplate("base", text="Q: {{ q }}\r\nA:")
    assert PromptTemplate.load(template.save(tmp_path / "base.md")) == template


_messages = st.lists(st.tuples(st.sampled_from(ROLES), prompt_texts), min_size=1, max_size=4)


@given(messages=_messages)
@example(messages=[("system", "\ud800\udc00")])
def test_any_template_survives_its_file(messages, tmp_path_factory):
    """Line ends, surrogates and lines that look like headings come back from disk as they were."""
    path = tmp_path_factory.getbasetemp() / "any.md"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TemplateWarning)
        template = PromptTemplate("any", messages=[(role, text.replace("{", "(")) for role, text in messages])
        found = PromptTemplate.load(template.save(path))
    assert found.messages == json.loads(json.dumps(template.messages))  # which makes one character of two halves
    assert found.key == template.key


def test_a_file_with_windows_line_ends_is_read(tmp_path):
    """An editor may write a byte-order mark and carriage returns."""
    path = tmp_path / "t.md"
    path.write_bytes(b"\xef\xbb\xbf---\r\nname: t\r\n---\r\n\r\n# user\r\n\r\nHi\r\n")
    assert PromptTemplate.load(path).messages == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "No such file or directory", id="no file"),
        pytest.param(b"\xff", "'utf-8' codec can't decode byte 0xff", id="no text"),
        pytest.param(b"Hi", "a template file begins with front matter", id="no template"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, message, tmp_path):
    """The error has the path and the reason."""
    path = tmp_path / "t.md"
    if content is not None:
        path.write_bytes(content)
    (problem,) = raised(PromptTemplate.load, path)
    assert problem.startswith(f"{path} cannot be read: ")
    assert message in problem


def test_text_beside_messages_in_a_file_is_refused(tmp_path):
    """A plain text stands alone; nothing after it is dropped in silence."""
    path = tmp_path / "t.md"
    path.write_text("---\nname: t\n---\n# text\n\nQ:\n\n# user\n\nHi\n")
    (problem,) = raised(PromptTemplate.load, path)
    assert problem.startswith("template 't', message 0: unknown role 'text'; the roles are ")


def test_a_folder_that_is_not_there_is_told(terse, tmp_path):
    """Saving raises promptlab's own error."""
    target = tmp_path / "no" / "t.md"
    assert raised(terse.save, target) == (f"{target} cannot be written: No such file or directory",)


# What a reader sees


def test_a_template_shows_its_shape(terse):
    """The repr names version, roles and variables."""
    assert repr(terse) == f"<PromptTemplate 'terse' {terse.key[:8]}: system, user; variables question>"
    assert repr(PromptTemplate("t", text="x")).endswith(": text; variables none>")


def test_the_card_shows_messages_as_text():
    """Markup in a prompt is shown, not drawn; a call of a tool is shown as JSON."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "é"}]}
    named = {"role": "user", "content": "Hi", "name": "Ann"}
    card = PromptTemplate("<t>", messages=[("user", "<b>"), call, named], note="<n>")._repr_html_()
    assert all(text in card for text in ("&lt;t&gt;", ">&lt;b&gt;<", "&lt;n&gt;", "&quot;id&quot;: &quot;é&quot;"))
    assert ">{\n  &quot;content&quot;: &quot;Hi&quot;,\n  &quot;name&quot;: &quot;Ann&quot;\n}<" in card
