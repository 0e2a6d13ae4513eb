"""Scorers: what each says of an answer, and that independent implementations say the same."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix

from hostile import PAYLOADS
from promptlab import (
    ScoreError,
    choice,
    contains,
    cost,
    exact_match,
    json_schema,
    json_valid,
    latency,
    length,
    numeric,
    one_of,
    regex,
    scorer,
    similarity,
)
from promptlab.scorers import Answered, Score

NOTHING = "there is nothing to extract in the answer"
TIGHT = "^(a|aa)+$"  # takes for ever on a text of many a and something else


def said(scorer, text, **case):
    """Return the score of a text."""
    return scorer.score(Answered(text, case))


def value(scorer, text, **case):
    """Return the value of a text's score."""
    return said(scorer, text, **case).value


# Texts


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        pytest.param({}, "Paris", 1.0, id="equal"),
        pytest.param({}, "\n Paris\t", 1.0, id="white-space-around"),
        pytest.param({"strip": False}, "Paris ", 0.0, id="white-space-counts"),
        pytest.param({}, "Paris.", 0.0, id="full-stop"),
        pytest.param({"strip": " ."}, "Paris. ", 1.0, id="full-stop-left-out"),
        pytest.param({}, "paris", 0.0, id="case-counts"),
        pytest.param({"ignore_case": True}, "PARIS", 1.0, id="case-left-out"),
        pytest.param({}, "", 0.0, id="empty"),
    ],
)
def test_exact_match_compares_the_whole_text(options, text, expected):
    """White space around it is left out by default, and nothing else."""
    assert value(exact_match("capital", **options), text, capital="Paris") == expected


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        pytest.param("é", "e\u0301", id="two-ways-to-write-a-letter"),
        pytest.param(42.0, "42", id="integer-among-gaps"),
        pytest.param(42, "42", id="integer"),
        pytest.param(0.5, "0.5", id="float"),
        pytest.param(True, "True", id="bool"),
        pytest.param({"a": [1]}, '{"a":[1]}', id="json"),
    ],
)
def test_references_are_compared_as_text(reference, text):
    """A value of a case is compared as it would be written."""
    assert value(exact_match("it"), text, it=reference) == 1.0


@pytest.mark.parametrize(
    ("scorer", "case", "reason"),
    [
        pytest.param(exact_match("it"), {"it": None}, "MissingReferenceError: this case has no 'it'", id="none"),
        pytest.param(contains("it"), {"it": math.nan}, "MissingReferenceError: this case has no 'it'", id="nan"),
        pytest.param(numeric("it"), {}, "MissingReferenceError: this case has no 'it'", id="absent"),
        pytest.param(
            exact_match("it", extract="x"), {"it": None}, "MissingReferenceError: this case has no 'it'", id="extract"
        ),
        pytest.param(
            exact_match("it"),
            {"it": ["a"]},
            "TypeError: the reference is a list; one_of(column) takes any of it",
            id="list",
        ),
        pytest.param(
            one_of("it"),
            {"it": "a"},
            "TypeError: the reference 'a' is no list; exact_match takes a single one",
            id="no-list",
        ),
        pytest.param(contains("it"), {"it": " "}, "ValueError: the reference ' ' has nothing to look for", id="blank"),
        pytest.param(numeric("it"), {"it": "many"}, "ValueError: the reference 'many' is no number", id="no-number"),
        pytest.param(numeric("it"), {"it": True}, "ValueError: the reference True is no number", id="bool"),
        pytest.param(
            choice(["a", "b"], "it"),
            {"it": "c"},
            "ValueError: the reference 'c' is none of the labels",
            id="no-label",
        ),
    ],
)
def test_a_bad_reference_fails_the_score(scorer, case, reason):
    """It is not the answer's fault, so it is no 0; the reason is kept."""
    assert scorer.score(Answered("a", case)) == Score(None, None, {"error": reason})


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        pytest.param({}, "It is Paris, of course.", 1.0, id="inside"),
        pytest.param({}, "It is PARIS.", 0.0, id="case-counts"),
        pytest.param({"ignore_case": True}, "It is PARIS.", 1.0, id="case-left-out"),
        pytest.param({}, "Parisians", 1.0, id="in-a-word"),
        pytest.param({"words": True}, "Parisians", 0.0, id="whole-words"),
        pytest.param({"words": True}, "(Paris)", 1.0, id="between-signs"),
    ],
)
def test_contains_looks_anywhere(options, text, expected):
    """The reference stands in the text, or as words of its own where that is asked."""
    assert value(contains("capital", **options), text, capital="Paris") == expected


def test_contains_takes_any_of_a_list_and_any_white_space():
    """A list counts where one of it is found; a blank stands for line breaks too."""
    capital = contains("capital")
    assert [value(capital, text, capital=["New Delhi", "Delhi NCR"]) for text in ("New\n Delhi", "Delhi")] == [1.0, 0.0]
    assert value(contains(text="Straße", ignore_case=True), "STRASSE") == 1.0


def test_one_of_takes_a_list_or_a_column():
    """Either gives what counts."""
    assert [value(one_of(["yes", "no"]), text) for text in ("yes", "maybe")] == [1.0, 0.0]
    assert [value(one_of("aliases", ignore_case=True), text, aliases=["NYC"]) for text in ("nyc", "LA")] == [1.0, 0.0]


def test_regex_keeps_what_it_found():
    """With one group that group, else the whole match."""
    assert said(regex(r"answer: (\d+)"), "the answer: 42.") == Score(1.0, None, {"extracted": "42"})
    assert said(regex(r"\d+"), "the answer: 42.") == Score(1.0, None, {"extracted": "42"})
    assert said(regex(r"\d+", match="whole"), "the answer: 42.") == Score(0.0)


@pytest.mark.parametrize(
    "scorer",
    [
        pytest.param(regex(TIGHT), id="regex"),
        pytest.param(exact_match(text="a", extract=TIGHT), id="extract"),
        pytest.param(json_schema({"type": "string", "pattern": TIGHT}), id="schema"),
    ],
)
def test_a_pattern_that_does_not_end_fails_the_score(scorer):
    """A text on which a search would take for ever takes a second."""
    text = "a" * 50 + "!"
    found = said(scorer, f'"{text}"' if "schema" in scorer.name else text)
    assert found == Score(
        None, None, {"error": f"TimeoutError: the pattern took longer than 1 s on a text of {len(text)} characters"}
    )


# Extraction


@pytest.mark.parametrize(
    ("extract", "text", "extracted"),
    [
        pytest.param("last_line", "So:\n\nParis\n  \n", "Paris", id="last-line"),
        pytest.param("first_line", "\n Paris\nsince", "Paris", id="first-line"),
        pytest.param("code_block", "a\n```\nx\n```\nb\n```json\nParis\n```\n", "Paris\n", id="last-block"),
        pytest.param("code_block", "Paris", "Paris", id="no-block"),
        pytest.param(r"answer: (\w+)", "answer: Paris, answer: Rome", "Paris", id="group"),
        pytest.param("P[a-z]+", "It is Paris.", "Paris", id="whole-match"),
        pytest.param(lambda text: text.split()[-1], "It is Paris", "Paris", id="function"),
    ],
)
def test_what_is_extracted_is_compared_and_kept(extract, text, extracted):
    """The score is that of the part; the part is kept."""
    assert said(exact_match("capital", extract=extract), text, capital="Paris") == Score(
        1.0, None, {"extracted": extracted}
    )


@pytest.mark.parametrize(
    ("extract", "text"),
    [
        pytest.param("last_line", " \n ", id="blank"),
        pytest.param("answer: (.*)", "Paris", id="no-match"),
        pytest.param("(x)?Paris", "Paris", id="empty-group"),
        pytest.param(lambda _: None, "Paris", id="function"),
    ],
)
def test_nothing_to_extract_is_a_wrong_answer(extract, text):
    """It scores 0 with the reason, so that a template whose answers cannot be read does not gain by it."""
    assert said(exact_match("capital", extract=extract), text, capital="Paris") == Score(0.0, None, {"reason": NOTHING})


def test_an_extraction_that_raises_fails_the_score():
    """The function is the user's, so the answer is not at fault."""
    broken = exact_match(text="a", extract=lambda text: text.split(":")[1])
    odd = exact_match(text="a", extract=lambda text: [text])
    assert [said(each, "a").detail["error"] for each in (broken, odd)] == [
        "IndexError: list index out of range",
        "TypeError: extract returned ['a'], no text",
    ]


# Numbers


@pytest.mark.parametrize(
    ("text", "number", "extracted"),
    [
        pytest.param("2 + 2 = 4.", 4, "4", id="last"),
        pytest.param("about 1,234,567.89 people", 1234567.89, "1,234,567.89", id="commas"),
        pytest.param("1\u202f234\u202f567 people", 1234567, "1\u202f234\u202f567", id="thin-blanks"),
        pytest.param("100, 200, 30", 30, "30", id="list"),
        pytest.param("1,2,3", 3, "3", id="tight-list"),
        pytest.param("-5", -5, "-5", id="minus"),
        pytest.param("x=\u22125", -5, "\u22125", id="unicode-minus"),
        pytest.param("-$5", -5, "-$5", id="minus-before-currency"),
        pytest.param("$-5.50", -5.5, "-5.50", id="currency-before-minus"),
        pytest.param("+7", 7, "+7", id="plus"),
        pytest.param("2020-11", 11, "11", id="hyphen-after-digit"),
        pytest.param("pages 3\u20135", 5, "5", id="dash"),
        pytest.param("a list:\n- 5 apples", 5, "5", id="bullet"),
        pytest.param("(3)-2", 2, "2", id="after-parenthesis"),
        pytest.param("6.02e23", 6.02e23, "6.02e23", id="scientific"),
        pytest.param("1.5E\u22123 m", 1.5e-3, "1.5E\u22123", id="scientific-unicode-minus"),
        pytest.param("3 × 10^8 m/s", 3e8, "3 × 10^8", id="times-ten"),
        pytest.param("2·10^{-3}", 2e-3, "2·10^{-3}", id="times-ten-latex"),
        pytest.param("45 %", 45, "45", id="percent"),
        pytest.param(".5", 0.5, ".5", id="no-zero"),
        pytest.param("5kg of H2O", 5, "5", id="letters"),
        pytest.param("**42**", 42, "42", id="markdown"),
        pytest.param("version 1.2.3", 1.2, "1.2", id="version"),
    ],
)
def test_numeric_reads_numbers_as_people_write_them(text, number, extracted):
    """The last number counts; it is kept as it was written."""
    assert said(numeric("it"), text, it=number) == Score(1.0, None, {"extracted": extracted})


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        pytest.param({}, "0.3", 1.0, id="floats-are-not-exact"),
        pytest.param({}, "0.31", 0.0, id="off"),
        pytest.param({"absolute": 0.01}, "0.31", 1.0, id="absolute"),
        pytest.param({"relative": 0.05}, "0.31", 1.0, id="relative"),
        pytest.param({"relative": 0.01}, "0.31", 0.0, id="relative-off"),
        pytest.param({"pick": "first"}, "0.3 or 7", 1.0, id="first"),
        pytest.param({"decimal": ","}, "0,3", 1.0, id="decimal-comma"),
        pytest.param({}, "1e999", 0.0, id="beyond-floats"),
    ],
)
def test_numeric_has_tolerances(options, text, expected):
    """The larger of both counts."""
    assert value(numeric("it", **options), text, it=0.1 + 0.2) == expected


def test_numeric_reads_references_as_it_reads_answers():
    """Text with separators or a percent sign is a number too, also in the decimal comma's notation."""
    assert [value(numeric("it"), "it is 1234", it=it) for it in ("1,234", " 1234 ", "1234 %", 1234)] == [1.0] * 4
    assert value(numeric("it", decimal=","), "es sind 1.234,5", it="1234,5") == 1.0


def test_an_answer_without_a_number_is_wrong():
    """It is 0, with the reason."""
    assert said(numeric(number=4), "four") == Score(0.0, None, {"reason": "there is no number in the answer"})


# Form


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"a": [1, null]}', None, id="object"),
        pytest.param("3", None, id="number"),
        pytest.param("", "not JSON: Expecting value: line 1 column 1 (char 0)", id="empty"),
        pytest.param('{"a": NaN}', "not JSON: NaN is not JSON", id="nan"),
        pytest.param("{'a': 1}", None, id="quotes"),
        pytest.param("[" * 100_000, "not JSON: it is nested too deeply", id="deep"),
        pytest.param('{"a": 1} I hope', "not JSON: Extra data: line 1 column 10 (char 9)", id="more"),
    ],
)
def test_json_valid_is_strict(text, reason):
    """Standard JSON, whole; what it is not is told."""
    if text.startswith("{'"):
        reason = "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    expected = Score(1.0) if reason is None else Score(0.0, None, {"reason": reason})
    assert said(json_valid(), text) == expected


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"name": "Ann", "age": 3}', None, id="fits"),
        pytest.param('{"name": "Ann", "age": -1}', "$.age: -1 is less than the minimum of 0", id="range"),
        pytest.param('{"name": "ann"}', "$.name: 'ann' does not match '^[A-Z]'", id="pattern"),
        pytest.param('{"age": 3}', "'name' is a required property", id="missing"),
        pytest.param("Ann", "not JSON: Expecting value: line 1 column 1 (char 0)", id="not-json"),
    ],
)
def test_json_schema_tells_what_does_not_fit(text, reason):
    """An answer that fits is 1, others 0 with the reason."""
    assert said(json_schema(PERSON), text) == (Score(1.0) if reason is None else Score(0.0, None, {"reason": reason}))


def test_json_schema_takes_json_out_of_a_fence():
    """As models wrap it."""
    fenced = 'Sure!\n```json\n{"name": "Ann"}\n```\nAnything else?'
    assert said(json_schema(PERSON, extract="code_block"), fenced).value == 1.0
    assert said(json_schema(PERSON), fenced).value == 0.0


def test_json_schema_fetches_nothing():
    """A reference to another place fails the score."""
    found = said(json_schema({"$ref": "http://127.0.0.1:9/person.json"}), "{}")
    assert (found.value, "Unresolvable" in found.detail["error"]) == (None, True)


# Measures


def test_measures_are_what_the_answer_took():
    """Length in three units, cost and latency; what is unknown fails the score."""
    answer = Answered("It is\nParis.", {}, cost_usd=0.25, latency_ms=120.5, completion_tokens=4)
    scorers = [length(), length("words"), length("tokens"), cost(), latency()]
    assert [each.score(answer).value for each in scorers] == [12.0, 3.0, 4.0, 0.25, 120.5]
    assert [each.score(Answered("", {})) for each in scorers] == [
        Score(0.0),
        Score(0.0),
        *[Score.failed(f"{what} unknown") for what in ("tokens", "cost", "latency")],
    ]


# Choices

MOODS = {"positive": ["good", "great"], "negative": "bad", "not sure": []}


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        pytest.param({}, "Positive.", Score(1.0, "positive", {"extracted": "Positive"}), id="label"),
        pytest.param({}, "it was GREAT, really good", Score(1.0, "positive", {"extracted": "GREAT"}), id="synonyms"),
        pytest.param({}, "bad", Score(0.0, "negative", {"extracted": "bad"}), id="wrong"),
        pytest.param({}, "I am not\nsure", Score(0.0, "not sure", {"extracted": "not\nsure"}), id="two-words"),
        pytest.param({}, "badly", Score(0.0, None, {"reason": "it names no label"}), id="in-a-word"),
        pytest.param({"words": False}, "badly", Score(0.0, "negative", {"extracted": "bad"}), id="in-a-word-taken"),
        pytest.param({}, "good or bad", Score(0.0, None, {"reason": "it names 'positive', 'negative'"}), id="unclear"),
        pytest.param({"pick": "first"}, "good or bad", Score(1.0, "positive", {"extracted": "good"}), id="first"),
        pytest.param({"pick": "last"}, "good or bad", Score(0.0, "negative", {"extracted": "bad"}), id="last"),
        pytest.param({"ignore_case": False}, "BAD", Score(0.0, None, {"reason": "it names no label"}), id="case"),
    ],
)
def test_choice_reads_a_label(options, text, expected):
    """Whole words count; an unclear answer is a wrong one, with the reason."""
    assert said(choice(MOODS, "mood", **options), text, mood="good") == expected


def test_choice_without_a_reference_gives_labels():
    """Then an unclear answer fails the score: there is no label to give, and nothing to be wrong about."""
    mood = choice(MOODS)
    assert [said(mood, text) for text in ("great", "good or bad")] == [
        Score(None, "positive", {"extracted": "great"}),
        Score.failed("it names 'positive', 'negative'"),
    ]


def test_the_longest_label_counts():
    """A label that holds another one is not mistaken for it."""
    assert said(choice(["spam", "not spam"]), "This is not spam.").label == "not spam"


# Against independent implementations

WORDS = ["alpha", "beta", "gamma", "delta", "Alpha", "beta.", "  gamma "]


def test_exact_match_agrees_with_scikit_learn():
    """The mean over 2,000 answers is `accuracy_score` of the same texts."""
    draw = random.Random(1)
    references, outputs = (draw.choices(WORDS[:5], k=2_000) for _ in range(2))
    mine = [value(exact_match("it"), text, it=it) for it, text in zip(references, outputs, strict=True)]
    assert np.mean(mine) == pytest.approx(accuracy_score(references, outputs), abs=1e-12)
    assert mine == [float(same) for same in np.array(references) == np.array(outputs)]


def test_choice_agrees_with_scikit_learn():
    """Labels read from sentences give the confusion matrix of what the sentences were made from."""
    draw = random.Random(2)
    labels = ["billing", "refund", "other"]
    right, chosen = (draw.choices(labels, k=1_500) for _ in range(2))
    frames = ["The label is {}.", "{}", "I'd say: **{}**!", "Label:\n{}\n"]
    texts = [draw.choice(frames).format(draw.choice([str.upper, str.lower])(label)) for label in chosen]
    scores = [said(choice(labels, "it"), text, it=it) for text, it in zip(texts, right, strict=True)]
    read = [score.label for score in scores]
    assert (confusion_matrix(right, read, labels=labels) == confusion_matrix(right, chosen, labels=labels)).all()
    assert sum(score.value for score in scores) / 1_500 == pytest.approx(accuracy_score(right, chosen), abs=1e-12)


def test_numeric_agrees_with_numpy():
    """2,000 numbers, written in four ways, are within a tolerance where `numpy.isclose` says so."""
    draw = random.Random(3)
    ways = ["{:.6f}", "{:,.6f}", "{:.9e}", "{:+.7g}"]
    references = [draw.uniform(-1, 1) * 10 ** draw.randint(0, 7) for _ in range(2_000)]
    numbers = [float(f"{draw.choice([1, 1.001, 1.1]) * it:.6f}") for it in references]
    texts = [f"First 7, then {draw.choice(ways).format(number)}, I think." for number in numbers]
    written = [float(text.split("then ")[1].split(", I")[0].replace(",", "")) for text in texts]
    scorer = numeric("it", absolute=1e-3, relative=0)
    mine = [value(scorer, text, it=it) for text, it in zip(texts, references, strict=True)]
    assert mine == [float(near) for near in np.isclose(written, references, rtol=0, atol=1e-3)]
    assert 0.2 < np.mean(mine) < 0.8


def test_similarity_agrees_with_the_textbook():
    """1,000 pairs have the distance of the dynamic programme of Wagner and Fischer (1974)."""
    draw = random.Random(4)
    pairs = [tuple("".join(draw.choices("abcé ", k=draw.randint(0, 12))) for _ in range(2)) for _ in range(1_000)]
    mine = [value(similarity(text=two, strip=False), one) for one, two in pairs]
    assert mine == pytest.approx([likeness(one, two) for one, two in pairs], abs=1e-12)


def likeness(one, two):
    """Return 1 less the edits between two texts over the longer length."""
    row = list(range(len(two) + 1))
    for at, char in enumerate(one, 1):
        left, row[0] = row[0], at
        for place, other in enumerate(two, 1):
            left, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, left + (char != other))
    return 1 - row[-1] / max(len(one), len(two), 1)


@pytest.mark.parametrize(
    ("ratio", "one", "two", "expected"),
    [
        pytest.param("indel", "this is a test", "this is a test!", 28 / 29, id="indel"),
        pytest.param("partial", "this is a test", "so this is a test!", 1.0, id="partial"),
        pytest.param("token_sort", "fuzzy wuzzy was a bear", "wuzzy fuzzy was a bear", 1.0, id="token-sort"),
        pytest.param("token_set", "fuzzy was a bear", "fuzzy fuzzy was a bear", 1.0, id="token-set"),
        pytest.param("jaro_winkler", "MARTHA", "MARHTA", 0.9611, id="winkler-1990"),
    ],
)
def test_similarity_has_other_ratios(ratio, one, two, expected):
    """Each is what rapidfuzz's documentation says of it, or Winkler's own example, from 0 to 1."""
    assert value(similarity(text=two, ratio=ratio), one) == pytest.approx(expected, abs=5e-5)


def test_similarity_refuses_huge_texts():
    """The time grows with the square of the length, so it fails the score instead."""
    found = said(similarity(text="a"), "a" * 100_001)
    assert found.detail["error"] == (
        "ValueError: a text has more than 100,000 characters; extract= what is to be compared"
    )


# Any text


EVERY = [
    exact_match(text="a", ignore_case=True),
    contains(text="a", words=True, ignore_case=True),
    one_of(["a", "b"]),
    regex("a+b"),
    numeric(number=1),
    json_valid(extract="code_block"),
    json_schema({"type": "object"}),
    similarity(text="a"),
    choice({"a": ["b"], "c": []}),
    length("words", extract="last_line"),
    scorer(lambda output, _: output, name="echo", version=1),
]


@pytest.mark.parametrize("scorer", EVERY, ids=lambda scorer: scorer.name)
@given(text=st.text(st.characters(codec=None)) | st.sampled_from([*PAYLOADS.values(), "\ud800", "\0", "9" * 10_000]))
def test_no_text_breaks_a_scorer(scorer, text):
    """Whatever a model writes, the score has a finite value, a label, or a reason why not; never the scorer's error."""
    found = said(scorer, text)
    assert found.is_failed == ("error" in found.detail)
    assert found.value is None or math.isfinite(found.value)
    assert "Error:" not in found.detail.get("error", "")


@given(text=st.text(), options=st.fixed_dictionaries({"ignore_case": st.booleans(), "strip": st.booleans()}))
def test_every_text_is_itself(text, options):
    """A text matches itself whatever the options, and is wholly like itself."""
    assert value(exact_match("it", **options), text, it=text) == 1.0
    assert value(similarity("it", **options), text, it=text) == 1.0


@given(number=st.floats(-1e15, 1e15), way=st.sampled_from(["{!r}", "{:.17e}", "{:,.10f}"]))
def test_numbers_are_read_back(number, way):
    """What Python writes, with or without separators, is the number again."""
    assert value(numeric("it", absolute=1e-9), f"so {way.format(number)}.", it=number) == 1.0


def test_a_huge_text_takes_no_time():
    """A million characters of the worst kind for each pattern are read in one pass."""
    answers = ["1," * 500_000, "1" * 1_000_000, "a" * 1_000_000, "```\n" * 250_000, "- " * 500_000]
    scorers = [numeric(number=1), json_valid(extract="code_block"), choice(["a", "b"]), contains(text="ab")]
    assert [[said(each, text).is_failed for each in scorers] for text in answers] == [
        [False, False, True, False],
        [False, False, True, False],
        [False, False, True, False],
        [False, False, True, False],
        [False, False, True, False],
    ]


# Configuration


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
