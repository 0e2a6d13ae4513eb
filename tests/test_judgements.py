"""Ratings, notes, pins and views: only ever added to, and the last word counts."""

import shutil
import threading

import pytest

from promptlab import judgements
from promptlab.errors import NotFoundError, RatingError, ReadOnlyError
from promptlab.judgements import Judgement
from promptlab.store import Store
from promptlab.testing import sample_lab


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A file with a finished run, with outputs 1 to 12."""
    path = tmp_path_factory.mktemp("recorded") / "sample.db"
    sample_lab(path).close()
    return path


@pytest.fixture
def store(recorded, tmp_path):
    """A copy of that file, to be written to."""
    store = Store(shutil.copy(recorded, tmp_path))
    yield store
    store.close()


def rows(store, table):
    """Return how many rows a table has."""
    return store.read(f"select count(*) from {table}")[0][0]  # noqa: S608 - a name of our own


def test_the_last_rating_of_a_rater_counts(store):
    """Each rater has one current rating an output; earlier ones stay in the file."""
    judgements.rate(store, 1, -1, rater="ann")
    judgements.rate(store, 1, 4, rater="bob", scale="stars")
    judgements.rate(store, 1, 1, rater="ann")
    assert judgements.current(store, [1, 2]) == {1: Judgement({"bob": (4.0, "stars"), "ann": (1.0, "thumbs")})}
    assert rows(store, "ratings") == 3


def test_none_takes_a_rating_back(store):
    """A rating of None, a note of no text and a pin that is false are as if nothing had been said."""
    judgements.rate(store, 1, 1, rater="ann")
    judgements.note(store, 1, "good", rater="ann")
    judgements.pin(store, 1, rater="ann")
    assert judgements.current(store, [1]) == {1: Judgement({"ann": (1.0, "thumbs")}, "good", "ann", pinned=True)}
    judgements.rate(store, 1, None, rater="ann")
    judgements.note(store, 1, " ", rater="ann")
    judgements.pin(store, 1, pinned=False, rater="ann")
    assert judgements.current(store, [1]) == {}
    assert [rows(store, table) for table in ("ratings", "notes", "pins")] == [2, 2, 2]


def test_the_newest_note_is_shown_with_its_writer(store):
    """Of several raters' notes the newest is the current one; when it is taken back, the one before is."""
    judgements.note(store, 3, "wrong city", rater="ann")
    judgements.note(store, 3, "right after all", rater="bob")
    assert judgements.current(store, [3])[3] == Judgement({}, "right after all", "bob")
    judgements.note(store, 3, "", rater="bob")
    assert judgements.current(store, [3])[3] == Judgement({}, "wrong city", "ann")


def test_what_was_said_is_kept_in_order(store):
    """Every rating and note that an output ever got can be read."""
    judgements.rate(store, 1, 1, rater="ann")
    judgements.rate(store, 1, None, rater="ann")
    judgements.note(store, 1, "hm", rater="bob")
    said = judgements.said(store, 1)
    assert [(each["rater"], each["value"], each["scale"]) for each in said["ratings"]] == [
        ("ann", 1.0, "thumbs"),
        ("ann", None, "thumbs"),
    ]
    assert [(each["rater"], each["text"]) for each in said["notes"]] == [("bob", "hm")]


def test_a_range_of_outputs_is_read_at_once(store):
    """What is said of outputs between two ids, both included, is what is said of each."""
    for output in (1, 5, 12):
        judgements.rate(store, output, 1, rater="ann")
    assert list(judgements.between(store, 5, 12)) == [5, 12]


@pytest.mark.parametrize(
    ("value", "scale", "reason"),
    [
        pytest.param(2, "thumbs", "2 is not on the scale 'thumbs': -1, 0, 1, or None", id="too large"),
        pytest.param(0, "stars", "0 is not on the scale 'stars': 1, 2, 3, 4, 5, or None", id="too small"),
        pytest.param(0.5, "thumbs", "0.5 is not on the scale 'thumbs': -1, 0, 1, or None", id="between"),
        pytest.param(True, "thumbs", "True is not on the scale 'thumbs': -1, 0, 1, or None", id="a bool"),
        pytest.param("1", "thumbs", "'1' is not on the scale 'thumbs': -1, 0, 1, or None", id="a text"),
        pytest.param(1, "marks", "scale='marks': one of 'thumbs', 'stars' is needed", id="scale"),
    ],
)
def test_a_value_off_the_scale_is_refused(store, value, scale, reason):
    """The message says what the scale has, and nothing is written."""
    with pytest.raises(RatingError) as caught:
        judgements.rate(store, 1, value, scale=scale)
    assert str(caught.value) == reason
    assert rows(store, "ratings") == 0


@pytest.mark.parametrize("output", [pytest.param(99, id="unknown"), pytest.param(-1, id="negative"), 2**70])
def test_an_output_that_is_not_there_is_refused(store, output):
    """Nothing can be said of what the file does not hold."""
    with pytest.raises(NotFoundError, match=f"no output {output} in .*; run.frame"):
        judgements.rate(store, output, 1)
    assert rows(store, "ratings") == 0


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(lambda store: judgements.rate(store, 1, 1, rater=" "), id="no rater"),
        pytest.param(lambda store: judgements.rate(store, "1", 1), id="id as text"),
        pytest.param(lambda store: judgements.rate(store, output_id=True, value=1), id="id as bool"),
        pytest.param(lambda store: judgements.note(store, 1, None), id="no text"),
        pytest.param(lambda store: judgements.note(store, 1, "x" * 10_001), id="long note"),
        pytest.param(lambda store: judgements.pin(store, 1, pinned=1), id="pin as number"),
        pytest.param(lambda store: judgements.save_view(store, "", {}), id="no name"),
    ],
)
def test_what_makes_no_sense_is_refused(store, say):
    """A bad argument is one clear error."""
    with pytest.raises(RatingError):
        say(store)


def test_the_rater_is_the_login_name(store):
    """Who rates without saying who is known to the machine."""
    judgements.rate(store, 1, 1)
    assert list(judgements.current(store, [1])[1].ratings) == [judgements.login_name()]


def test_two_threads_lose_no_rating(store):
    """Ratings from several threads are all kept."""
    threads = [
        threading.Thread(target=lambda name=name: [judgements.rate(store, n, 1, rater=name) for n in range(1, 13)])
        for name in ("ann", "bob")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = judgements.current(store, range(1, 13))
    assert {output: set(each.ratings) for output, each in said.items()} == {n: {"ann", "bob"} for n in range(1, 13)}


def test_half_a_surrogate_pair_can_be_kept(store):
    """What UTF-8 cannot hold is replaced, as everywhere in the file."""
    judgements.note(store, 1, "a\ud800b", rater="\udfffann")
    assert judgements.current(store, [1])[1] == Judgement({}, "a\ufffdb", "\ufffdann")


def test_a_view_is_found_by_its_name(store):
    """The newest of a name is the view; older ones stay in the file."""
    judgements.save_view(store, "mine", {"rows": ["q"]})
    judgements.save_view(store, "other", {})
    judgements.save_view(store, "mine", {"rows": ["case"]})
    assert [(each.name, each.spec) for each in judgements.views(store)] == [("mine", {"rows": ["case"]}), ("other", {})]
    assert judgements.view(store, "mine").spec == {"rows": ["case"]}
    assert rows(store, "views") == 3


def test_a_view_that_is_not_there_is_named_with_the_nearest(store):
    """The message says which view was probably meant."""
    judgements.save_view(store, "by question", {})
    with pytest.raises(NotFoundError, match=r"no view 'by qestion' in .*; did you mean 'by question'\?"):
        judgements.view(store, "by qestion")


def test_a_file_that_is_read_only_takes_nothing(recorded):
    """Nothing can be said of a file that cannot be written, and the reason is told."""
    store = Store(recorded, write=False)
    with pytest.raises(ReadOnlyError, match="was opened to be read only"):
        judgements.rate(store, 1, 1)
    store.close()
