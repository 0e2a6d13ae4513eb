"""Templates as text: exact in both directions, and plain about what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import _markdown
from strategies import any_text, json_values, prompt_texts

ROLES = ("system", "user", "assistant", "text")

FILE = """\
---
name: térse
note: 'yes'
---

# system

Answer with one word.

# user json

{
  "content": [
    {
      "type": "image_url",
      "image_url": {
        "url": "{{ url }}é"
      }
    }
  ]
}

# assistant

\\# user
\\\\# user
# User
"""
MESSAGES = [
    {"role": "system", "content": "Answer with one word."},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{{ url }}é"}}]},
    {"role": "assistant", "content": "# user\n\\# user\n# User"},
]

_roles = st.sampled_from(ROLES)
_rests = st.fixed_dictionaries({"content": prompt_texts}) | st.dictionaries(any_text, json_values, max_size=3)
_messages = st.builds(lambda rest, role: {**rest, "role": role}, _rests, _roles)


def test_a_template_is_a_readable_file():
    """Front matter, a heading for each message, JSON for what is no text, and a backslash before false headings."""
    assert _markdown.write({"name": "térse", "note": "yes", "parent": ""}, MESSAGES) == FILE


def test_a_file_gives_the_messages_back():
    """Reading what was written gives the head and the messages; every field of the head is text."""
    assert _markdown.read(FILE, roles=ROLES) == ({"name": "térse", "note": "yes"}, MESSAGES)


@given(st.lists(_messages, min_size=1, max_size=4))
def test_any_messages_survive_the_file(messages):
    """Headings, backslashes, carriage returns, surrogates and blank lines in a prompt come back as they were."""
    text = _markdown.write({"name": "x"}, messages)
    assert "\r" not in text
    assert _markdown.read(text.encode().decode(), roles=ROLES) == ({"name": "x"}, messages)


@given(st.text(min_size=1), any_text.filter(bool))
def test_any_name_and_note_survive_the_file(name, note):
    """The front matter keeps names that YAML would read as something else."""
    text = _markdown.write({"name": name, "note": note}, MESSAGES[:1])
    assert _markdown.read(text, roles=ROLES) == ({"name": name, "note": note}, MESSAGES[:1])


@pytest.mark.parametrize(
    ("body", "content"),
    [
        pytest.param("# user\nHi", "Hi", id="no blank lines"),
        pytest.param("\n\n# user\n\nHi\n\n", "Hi\n", id="more blank lines"),
        pytest.param("# user\n\n# Title\n\n## user", "# Title\n\n## user", id="other headings"),
        pytest.param("# user\n\n# tool\n", "# tool", id="a role that is not asked for"),
        pytest.param("# user", "", id="nothing"),
    ],
)
def test_a_file_written_by_hand_is_read_as_it_looks(body, content):
    """One blank line after a heading and one at the end are layout; all others are the prompt's."""
    assert _markdown.read(f"---\nname: x\n---\n{body}", roles=ROLES)[1] == [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "begins with front matter", id="empty"),
        pytest.param("# user\n\nHi", "begins with front matter", id="no front matter"),
        pytest.param("---\nname: x\n# user\n\nHi", "begins with front matter", id="front matter not closed"),
        pytest.param("---\nname: [\n---\n# user\n", "not valid YAML", id="broken front matter"),
        pytest.param("---\nnote: x\n---\n# user\n", "at least 'name: ...'", id="no name"),
        pytest.param("---\nx\n---\n# user\n", "at least 'name: ...'", id="no fields"),
        pytest.param("---\nname: x\nnote: [a]\n---\n# user\n", "nothing but 'field: text'", id="list in a field"),
        pytest.param("---\nname: x\n---\n\n", "no message found", id="no message"),
        pytest.param(
            "---\nname: x\n---\n# System\n\nHi",
            r"'# System' stands before the first message; the headings are # system, # user, # assistant, # text",
            id="text before the first heading",
        ),
        pytest.param("---\nname: x\n---\n# user json\n\n{", "'# user json' is not a JSON object", id="broken JSON"),
        pytest.param("---\nname: x\n---\n# user json\n\n[1]", "'# user json' is not a JSON object", id="JSON list"),
        pytest.param(f"---\nname: x\n---\n# user json\n\n{'[' * 9999}", "is not a JSON object", id="deep JSON"),
    ],
)
def test_a_file_that_is_no_template_says_what_to_mend(text, message):
    """Nothing in a file is passed over in silence."""
    with pytest.raises(ValueError, match=message):
        _markdown.read(text, roles=ROLES)
