"""The options of scorers: each makes another key, and a bad one is told when the scorer is made."""

import math

import pytest

from promptlab import (
    ScoreError,
    choice,
    contains,
    exact_match,
    json_schema,
    length,
    numeric,
    one_of,
    regex,
    similarity,
)


def test_the_key_is_the_whole_configuration():
    """Every option makes another key; the same ones, in whatever order they are said, the same."""
    scorers = [
        exact_match("capital"),
        exact_match("country"),
        exact_match(text="capital"),
        exact_match("capital", ignore_case=True),
        exact_match("capital", strip=" ."),
        exact_match("capital", extract="last_line"),
        exact_match("capital", extract=lambda text: text[1:]),
        exact_match("capital", extract=lambda text: text[2:]),
        exact_match("capital", name="other"),
        contains("capital"),
        numeric("capital"),
        numeric("capital", absolute=1),
        json_schema({"type": "object"}),
        json_schema({"type": "array"}),
        choice(["a", "b"]),
        choice({"a": ["b"]}),
        length("chars"),
        length("words"),
    ]
    assert len({each.key for each in scorers}) == len(scorers)
    same = exact_match(strip=True, ignore_case=True, column="capital")
    assert exact_match("capital", ignore_case=True).key == same.key


def test_keys_stay_the_same():
    """A key is a promise to every file in which scores are stored: another one would score all answers again."""
    assert exact_match("capital").key == "30f5b1c82ee80bf01abfc4129ff579578eb872e60e92699eac80161422906d05"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(
            exact_match,
            "exact_match: name the column of the cases that holds the reference, or give text=, one of the two",
            id="neither",
        ),
        pytest.param(
            lambda: contains("a", text="b"),
            "contains: name the column of the cases that holds the reference, or give text=, one of the two",
            id="both",
        ),
        pytest.param(
            lambda: exact_match(3),
            "exact_match(3): the first argument is the name of a column of the cases",
            id="column",
        ),
        pytest.param(
            lambda: exact_match("a", strip=3),
            "strip=3: True leaves out white space around a text, a text these characters",
            id="strip",
        ),
        pytest.param(
            lambda: exact_match("a", name="\n"),
            "name='\\n': a scorer's name is a text of 1 to 100 visible characters",
            id="name",
        ),
        pytest.param(
            lambda: exact_match("a", extract=3),
            "extract=3: give 'last_line', 'first_line', 'code_block', a pattern or a function",
            id="extract",
        ),
        pytest.param(
            lambda: exact_match("a", extract="("), "extract='(': missing ) at position 1", id="extract-pattern"
        ),
        pytest.param(
            lambda: exact_match("a", extract="(a)(b)"),
            "extract='(a)(b)' has 2 groups; leave one, and write the others (?:...)",
            id="extract-groups",
        ),
        pytest.param(lambda: regex("["), "pattern='[': unterminated character set at position 1", id="pattern"),
        pytest.param(lambda: regex("a", match="all"), "match='all': it is 'anywhere' or 'whole'", id="match"),
        pytest.param(lambda: one_of([]), "one_of: the list is empty; give at least one text", id="no-values"),
        pytest.param(
            lambda: one_of(3), "one_of(3): give a list of texts, or the name of a column that holds one", id="values"
        ),
        pytest.param(
            lambda: numeric("a", absolute=-1), "absolute=-1: a tolerance is a number from 0 up", id="tolerance"
        ),
        pytest.param(lambda: numeric(number=math.inf), "the reference inf is no number", id="number"),
        pytest.param(
            lambda: numeric("a", pick="any"),
            "pick='any', decimal='.': pick is 'last' or 'first', decimal '.' or ','",
            id="pick",
        ),
        pytest.param(
            lambda: json_schema({"type": "objekt"}),
            "schema={'type': 'objekt'}: 'objekt' is not valid under any of the given schemas",
            id="schema",
        ),
        pytest.param(
            lambda: json_schema("{}"), "schema='{}': a schema is a mapping, such as {'type': 'object'}", id="no-schema"
        ),
        pytest.param(
            lambda: similarity("a", ratio="cosine"),
            "ratio='cosine': it is one of levenshtein, indel, partial, token_sort, token_set, jaro_winkler",
            id="ratio",
        ),
        pytest.param(
            lambda: length("lines"), "length('lines'): the unit is 'chars', 'words' or 'tokens'", id="length-unit"
        ),
        pytest.param(
            lambda: length("tokens", extract="last_line"),
            "length('tokens'): the server counted the whole answer; leave out extract=",
            id="length-of-a-part",
        ),
        pytest.param(
            lambda: choice("ab"),
            "choice('ab'): give the labels in a list, or a mapping of labels to synonyms",
            id="labels",
        ),
        pytest.param(
            lambda: choice({"a": ["x"], "b": "X"}), "choice: 'X' stands for both 'a' and 'b'", id="twofold-synonym"
        ),
        pytest.param(
            lambda: choice(["a", ""]), "choice: '' is no label; labels and synonyms are texts", id="empty-label"
        ),
        pytest.param(
            lambda: choice(["a"], "it", pick="best"), "pick='best': it is 'only', 'first' or 'last'", id="choice-pick"
        ),
    ],
)
def test_a_bad_option_is_one_clear_error(make, problem):
    """What cannot be is told when the scorer is made, with the value and what to do."""
    with pytest.raises(ScoreError) as caught:
        make()
    assert str(caught.value) == problem
