"""How texts differ: both sides always come out whole, and what is marked is what changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import textdiff
from promptlab.textdiff import LinePair, Piece

TEXTS = st.text(alphabet="ab {}\n.é東\u202e", max_size=40) | st.text(max_size=20)


def side(pairs, name):
    """Return one side's text again."""
    lines = [getattr(pair, name) for pair in pairs]
    return "\n".join("".join(piece.text for piece in line) for line in lines if line is not None)


@given(TEXTS, TEXTS)
def test_both_sides_come_out_whole(before, after):
    """The pieces of one side, joined, are its text, whatever the two texts are."""
    pairs = textdiff.lines(before, after)
    assert (side(pairs, "before"), side(pairs, "after")) == (before, after)
    assert any(pair.is_changed for pair in pairs) == (before != after)


@given(TEXTS, TEXTS)
def test_what_is_called_the_same_is_on_both_sides(before, after):
    """In every pair the pieces that are the same are equal, in order."""
    for pair in textdiff.lines(before, after):
        same = [[piece.text for piece in line or () if piece.kind == "same"] for line in (pair.before, pair.after)]
        assert same[0] == same[1]


def test_a_changed_word_is_marked_alone():
    """In a line that stayed, only the words that changed are marked."""
    assert textdiff.lines("a\nkeep the old word", "a\nkeep the new word") == (
        LinePair((Piece("same", "a"),), (Piece("same", "a"),)),
        LinePair(
            (Piece("same", "keep the "), Piece("removed", "old"), Piece("same", " word")),
            (Piece("same", "keep the "), Piece("added", "new"), Piece("same", " word")),
        ),
    )


def test_a_blank_does_not_divide_what_changed():
    """Two changed words with a blank between them are one change."""
    [pair] = textdiff.lines("see the old rule there", "see the new law there")
    assert [piece.text for piece in pair.after] == ["see the ", "new law", " there"]


def test_a_blank_after_a_change_is_the_same():
    """What ends with the same blank on both sides is marked without it."""
    [pair] = textdiff.lines("with one word.", "with a single word, no more.")
    assert [piece.text for piece in pair.before] == ["with ", "one", " word", "."]
    assert [piece.text for piece in pair.after] == ["with ", "a single", " word", ", no more", "."]


def test_a_renamed_slot_is_a_piece_of_its_own():
    """A slot is one word, and stands beside the slot it replaces."""
    [pair] = textdiff.lines("Ask {{ question }}!", "Ask {{ query | trim }}!")
    assert pair.before[1:] == (Piece("removed", "{{ question }}", is_slot=True), Piece("same", "!"))
    assert pair.after[1:] == (Piece("added", "{{ query | trim }}", is_slot=True), Piece("same", "!"))


def test_lines_without_a_counterpart_stand_alone():
    """A line put in between leaves its neighbours beside each other."""
    pairs = textdiff.lines("one thing\nanother matter", "one thing\nzzz yyy xxx\nanother matter")
    assert [(pair.before is None, pair.after is None) for pair in pairs] == [
        (False, False),
        (True, False),
        (False, False),
    ]
    assert textdiff.alone("x\ny", "removed") == (
        LinePair((Piece("removed", "x"),), None),
        LinePair((Piece("removed", "y"),), None),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("it's 3.5 %", ["it", "'", "s", " ", "3", ".", "5", " ", "%"], id="signs"),
        pytest.param("東京 abc東", ["東", "京", " ", "abc", "東"], id="without-blanks"),
        pytest.param("{% if a %}b{# c #}", ["{% if a %}", "b", "{# c #}"], id="every-slot"),
        pytest.param("{{ a", ["{", "{", " ", "a"], id="no-slot"),
    ],
)
def test_words(text, words):
    """Words are what a reader would call so, and whole slots."""
    assert textdiff.words(text) == words


def test_lines_too_long_to_compare_are_shown_whole():
    """Two lines whose comparison the budget cannot pay for are removed and added as they are, and it says so."""
    before, after, budget = "x " * 40_000 + "1", "y x " * 20_000 + "2", textdiff.Budget()
    [pair] = textdiff.lines(before, after, budget)
    assert (pair.before, pair.after) == ((Piece("removed", before),), (Piece("added", after),))
    assert budget.is_spent


def test_equal_ends_of_long_lines_cost_nothing():
    """One word changed in a line of 80,000 is marked alone."""
    budget = textdiff.Budget()
    [pair] = textdiff.lines("x " * 40_000 + "1 end", "x " * 40_000 + "2 end", budget)
    assert [piece.text for piece in pair.after[1:]] == ["2", " end"]
    assert not budget.is_spent


def test_lines_stand_in_their_order_when_the_budget_is_spent():
    """The lines that a spent budget leaves are shown whole, and equal ones are still the same."""
    budget = textdiff.Budget(left=0)
    pairs = textdiff.lines("same\na b\nc d\nend", "same\na c\nx\nend", budget)
    assert [[piece.kind for piece in pair.before] for pair in pairs] == [["same"], ["removed"], ["removed"], ["same"]]
    assert budget.is_spent


def test_many_lines_stand_beside_each_other_in_order():
    """Beyond ten thousand combinations no best alignment is looked for."""
    places = textdiff.aligned(range(200), range(150), lambda *_: pytest.fail("compared"), least=0)
    assert (places[0], places[149], places[150], len(places)) == ((0, 0), (149, 149), (150, None), 200)


def test_words_are_counted_without_signs():
    """Words and slots count, blanks and signs do not."""
    assert textdiff.count_words([Piece("added", "Say it, now"), Piece("added", "{{ x }}", is_slot=True)]) == 4
