"""Which answers are paired, on which side, in which order: without a file."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab.errors import RatingError
from promptlab.pairings import Answer, Item, Pairing, answers, drawn, label, variants

COLUMNS = ["template", "version", "temperature"]


def rows(templates=("terse", "guided"), cases=3, temperatures=(0.0, 0.7), repeats=1):
    """Return trials as a frame's rows, each with an output of its own."""
    found = []
    for template in templates:
        for temperature in temperatures:
            for case in range(cases):
                for repeat in range(repeats):
                    settings = {"template": template, "version": 1, "temperature": temperature}
                    text = f"{template} {temperature} {case} {repeat}"
                    found.append({**settings, "case": case, "repeat": repeat, "output": text, "output_id": len(found)})
    return found


def both(cases, variants=2, same=()):
    """Return the answers of some variants to each case; those of the cases in `same` are equal."""
    return [
        {Item(case, 0): Answer(1000 * side + case, "same" if case in same else f"{side}") for case in range(cases)}
        for side in range(variants)
    ]


def sides(pairings):
    """Return how often each variant stands on the left and on the right."""
    return Counter(pairing.left for pairing in pairings), Counter(pairing.right for pairing in pairings)


def test_two_variants_are_named_by_their_columns():
    """Both come back as they were given, in one order of columns and plain types."""
    a, b = {"template": "terse", "temperature": 0}, {"temperature": 0.7, "template": "guided"}
    found = variants(rows(), COLUMNS, a=a, b=b, by=None)
    assert found == [{"template": "terse", "temperature": 0}, {"template": "guided", "temperature": 0.7}]
    assert [list(variant) for variant in found] == [["template", "temperature"]] * 2


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("template", [{"template": "terse"}, {"template": "guided"}]),
        ("temperature", [{"temperature": 0.0}, {"temperature": 0.7}]),
        (
            ["template", "temperature"],
            [{"template": t, "temperature": x} for t in ("terse", "guided") for x in (0, 0.7)],
        ),
    ],
)
def test_by_names_every_value_of_its_columns(by, expected):
    """Every combination that is there is a variant, in the order of the run."""
    assert variants(rows(), COLUMNS, a=None, b=None, by=by) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({}, r"name two variants, as in judge\(a=", id="nothing"),
        pytest.param({"a": {"template": "terse"}}, r"name two variants", id="one"),
        pytest.param({"a": {"template": "terse"}, "by": "template"}, r"name two variants", id="both-ways"),
        pytest.param({"a": {"template": "terse"}, "b": {"temperature": 0}}, r"with the same columns", id="columns"),
        pytest.param({"a": "terse", "b": "guided"}, r"both are mappings", id="texts"),
        pytest.param({"by": "tempratur"}, r"does not tell variants apart; .*did you mean 'temperature'", id="typo"),
        pytest.param({"by": "case"}, r"'case' does not tell variants apart", id="case"),
        pytest.param(
            {"a": {"template": "terse"}, "b": {"template": "chatty"}},
            r"no trial with \{'template': 'chatty'\}; it has \{\"template\":\"terse\"\}, \{\"template\":\"guided\"\}",
            id="not-there",
        ),
        pytest.param({"a": {"template": "terse"}, "b": {"template": "terse"}}, r"that is 1 variant", id="same"),
        pytest.param({"by": "version"}, r"by='version': that is 1 variant", id="constant"),
        pytest.param({"a": {"template": object()}, "b": {"template": "terse"}}, r"no value of a setting", id="object"),
    ],
)
def test_what_cannot_be_compared_is_said(given, message):
    """One clear error says what to name instead."""
    with pytest.raises(RatingError, match=message):
        variants(rows(), COLUMNS, **{"a": None, "b": None, "by": None, **given})


def test_items_share_every_other_setting():
    """An item is the case, the repeat and what no variant names; the version goes with the template."""
    found = answers(rows(cases=1, repeats=2), COLUMNS, [{"template": "terse"}, {"template": "guided"}])
    items = [Item(0, repeat, (("temperature", t),)) for t in (0.0, 0.7) for repeat in (0, 1)]
    assert [list(side) for side in found] == [items, items]
    assert found[1][items[3]].text == "guided 0.7 0 1"


def test_a_trial_without_a_text_is_no_answer():
    """Failed trials and refusals leave a hole, which is counted as missing."""
    trials = rows(cases=2, temperatures=(0.0,))
    trials[1]["output"] = None
    trials[2]["output"] = float("nan")
    draw = drawn(answers(trials, COLUMNS, [{"template": "terse"}, {"template": "guided"}]), n=9, seed=0)
    assert (draw.pairings, draw.possible, draw.missing) == ((), 0, 2)


def test_two_answers_of_one_variant_to_one_item_are_refused():
    """Two versions of one template cannot stand for one variant."""
    trials = [*rows(cases=1, temperatures=(0.0,)), {**rows(cases=1)[0], "version": 2}]
    with pytest.raises(RatingError, match=r"has two answers to one case and repeat; name the version too"):
        answers(trials, COLUMNS, [{"template": "terse"}, {"template": "guided"}])


@given(cases=st.integers(2, 60), n=st.integers(1, 60), seed=st.integers(0, 10**6), kinds=st.integers(2, 4))
def test_sides_are_balanced_exactly(cases, n, seed, kinds):
    """Of the first showings of each two variants each is on the left as often as the other, or once more."""
    pairings = drawn(both(cases, kinds), n=n, seed=seed, mirrored=0).pairings
    for pair in {pairing.pair for pairing in pairings}:
        lefts = Counter(pairing.left for pairing in pairings if pairing.pair == pair)
        assert abs(lefts[pair[0]] - lefts[pair[1]]) == lefts.total() % 2


@given(blocks=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_two_variants_stay_balanced_with_their_mirrors(blocks, seed):
    """With the pairings that come back mirrored as well, sides differ by one at most."""
    pairings = drawn(both(200), n=blocks, seed=seed).pairings
    left, right = sides(pairings)
    assert left.total() == blocks + round(0.1 * blocks)
    assert abs(left[0] - left[1]) <= 1
    assert left + right == Counter({0: len(pairings), 1: len(pairings)})


def test_every_block_of_two_has_both_sides():
    """In the order asked, of every two pairings one has the first variant on the left: no run of one side."""
    pairings = drawn(both(40), n=40, seed=3, mirrored=0).pairings
    assert all(one.left != other.left for one, other in zip(pairings[::2], pairings[1::2], strict=True))


@given(cases=st.integers(10, 80), seed=st.integers(0, 10**6))
def test_mirrors_come_later_with_their_sides_exchanged(cases, seed):
    """A tenth comes back mirrored, a quarter of the session later or more; everything else is shown once."""
    pairings = drawn(both(cases), n=cases, seed=seed).pairings
    first = {}
    mirrors = []
    for place, pairing in enumerate(pairings):
        if pairing.item in first:
            mirrors.append((first[pairing.item], place))
        first.setdefault(pairing.item, place)
    assert len(first) == cases
    assert len(mirrors) == round(0.1 * cases)
    assert all(pairings[one].mirrored() == pairings[other] for one, other in mirrors)
    assert all(other - one >= cases // 4 for one, other in mirrors)


def test_the_same_seed_draws_the_same():
    """A seed says everything; another one draws otherwise."""
    assert drawn(both(30), n=20, seed=5) == drawn(both(30), n=20, seed=5)
    assert drawn(both(30), n=20, seed=5) != drawn(both(30), n=20, seed=6)


def test_cases_are_spread():
    """Of 10 cases at 3 temperatures, 10 pairs are of 10 cases, and 20 of each case twice."""
    trials = rows(cases=10, temperatures=(0.0, 0.7, 1.0))
    found = answers(trials, COLUMNS, [{"template": "terse"}, {"template": "guided"}])
    for n in (10, 20):
        draw = drawn(found, n=n, seed=0, mirrored=0)
        assert set(Counter(pairing.item.case for pairing in draw.pairings).values()) == {n // 10}
        assert draw.possible == 30


def test_all_pairs_of_variants_are_asked_as_often():
    """Of four variants each of the six pairs comes as often as the others."""
    pairings = drawn(both(20, 4), n=60, seed=0, mirrored=0).pairings
    assert Counter(pairing.pair for pairing in pairings) == dict.fromkeys(
        [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], 10
    )


def test_identical_answers_stand_last_and_do_not_unbalance_the_rest():
    """What needs no asking is not among what is asked, is never mirrored, and takes no side's place."""
    pairings = drawn(both(30, same=range(0, 30, 3)), n=30, seed=1).pairings
    asked = [pairing for pairing in pairings if not pairing.is_identical]
    assert [pairing.is_identical for pairing in pairings] == [False] * 22 + [True] * 10
    assert sides(asked)[0] == {0: 11, 1: 11}
    assert {pairing.item.case for pairing in pairings[22:]} == set(range(0, 30, 3))


@pytest.mark.parametrize(("tied", "is_identical"), [("identical", False), ("whitespace", True)])
def test_white_space_is_a_difference_unless_it_is_not(tied, is_identical):
    """A line break instead of a blank is tied without asking only where that is wanted."""
    side = [{Item(0, 0): Answer(1, "one two")}, {Item(0, 0): Answer(2, " one\ntwo")}]
    assert drawn(side, n=1, seed=0, tied=tied).pairings[0].is_identical is is_identical


def test_a_pairing_is_told_by_its_key():
    """What is stored of a pairing makes the same pairing again."""
    pairing = Pairing(Item(3, 1, (("temperature", 0.7),)), 1, 0, 17, 11)
    assert pairing.key == '{"case":3,"repeat":1,"settings":{"temperature":0.7},"variants":[1,0]}'
    key = {"case": 3, "repeat": 1, "settings": {"temperature": 0.7}, "variants": [1, 0]}
    assert Pairing.of_key(key, 17, 11, is_identical=False) == pairing


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ({"template": "terse"}, "terse"),
        ({"temperature": 0.70}, "temperature 0.7"),
        ({"template": "terse", "logprobs": True, "stop": None}, "terse, logprobs true, stop none"),
        ({"template": "v2.0", "temperature": 1.0}, "v2.0, temperature 1"),
        ({"model": "llama-3.0", "stop": "1.0", "seed": 10}, "llama-3.0, stop 1.0, seed 10"),
    ],
)
def test_labels_are_what_people_say(variant, expected):
    """A template is called by its name, anything else by its name and value; 1.0 is 1, but only of numbers."""
    assert label(variant) == expected
