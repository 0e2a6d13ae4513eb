"""Search: whatever is typed finds what a reader would expect, newest first, and nothing that is typed can break it."""

import random
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest

from files import beside, sha256
from processes import run_python
from promptlab import Lab, ParameterGrid, PromptTemplate, RetryPolicy, SearchError, search
from promptlab.search import COLUMNS, Hit
from promptlab.store import Store
from promptlab.testing import ScriptedBackend, error_reply
from studies import ASK

TEXTS = (
    "The refund window is thirty days.",
    "A window seat, refunded in full.",
    "Café crème, naïve façade",
    "x => y, foo_bar and foo-bar",
    "私は東京に住んでいます",
    "Привет, мир! สวัสดีชาวโลก 😀",
    'She said "no refund" twice: (a AND b) OR NOT c*',
    "",
)


@pytest.fixture
def lab(tmp_path):
    """A lab that answers question number n with the n-th text."""
    backend = ScriptedBackend(lambda body: TEXTS[int(body["messages"][-1]["content"].split()[-1])])
    with Lab(tmp_path / "lab.db", backend=backend) as lab:
        ask(lab, *range(len(TEXTS)))
        yield lab


def ask(lab, *numbers, template=ASK, name="texts", **params):
    """Ask for some of the texts."""
    cases = [{"q": f"question number {number}"} for number in numbers]
    return lab.run(template, ParameterGrid({"model": "m", **params}), cases=cases, name=name, progress=False)


def texts(found):
    """Return the numbers of the texts whose outputs were found."""
    return sorted(hit.output_id - 1 for hit in found if hit.matched == "output")


def test_a_hit_says_where_the_text_stands(lab):
    """One hit in an output, whole."""
    [hit] = lab.search("refund window")
    created_at = lab.sql("select created_at from outputs where id = 1")["created_at"][0]
    assert hit == Hit(
        matched="output",
        parts=(("The ", False), ("refund", True), (" ", False), ("window", True), (" is thirty days.", False)),
        run="texts",
        template="ask",
        version=1,
        model="m",
        status="ok",
        created_at=created_at,
        rank=hit.rank,
        run_id=1,
        trial_id=1,
        sample_id=1,
        output_id=1,
        attempt_id=1,
        request_id=1,
    )
    assert (hit.rank < 0, hit.snippet) == (True, "The refund window is thirty days.")


def test_prompts_are_found_as_well(lab):
    """A hit in a prompt leads to its newest run, its output and the time it was sent."""
    [hit] = lab.search('"number 3"')
    sent_at = lab.sql("select sent_at from attempts where request_id = 4")["sent_at"][0]
    assert (hit.matched, hit.snippet, hit.run, hit.status) == ("prompt", "question number 3", "texts", "ok")
    assert (hit.output_id, hit.attempt_id, hit.request_id, hit.created_at) == (4, 4, 4, sent_at)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("refund", [0, 6], id="whole-words"),
        pytest.param("refund*", [0, 1, 6], id="the-beginning-of-words"),
        pytest.param("WINDOW", [0, 1], id="any-case"),
        pytest.param("window refund", [0], id="all-words-in-any-order"),
        pytest.param('"refund window"', [0], id="a-phrase"),
        pytest.param('"window refund"', [], id="a-phrase-has-an-order"),
        pytest.param('"window is thir"*', [0], id="a-phrase-with-a-beginning"),
        pytest.param('window "thirty days"', [0], id="a-word-and-a-phrase"),
        pytest.param('"refund window', [0], id="a-quote-left-open"),
        pytest.param("cafe naive FAÇADE", [2], id="accents-do-not-count"),
        pytest.param("foo-bar", [3], id="a-word-with-a-sign-in-it"),
        pytest.param("=>", [3], id="signs-alone"),
        pytest.param("=> y", [3], id="signs-and-words"),
        pytest.param("=> window", [], id="signs-and-words-that-do-not-meet"),
        pytest.param("東京", [4], id="no-blanks-between-words"),
        pytest.param("東京 住ん", [4], id="several-of-them"),
        pytest.param("привет", [5], id="other-letters"),
        pytest.param("ชาวโลก", [5], id="thai"),
        pytest.param("😀", [5], id="emoji"),
        pytest.param("AND", [3, 6], id="an-operator-is-a-word"),
        pytest.param("(a AND b)", [6], id="operators-and-parentheses"),
        pytest.param("NEAR(refund window)", [], id="a-function-is-words"),
        pytest.param("text:refund", [], id="a-column-is-a-word"),
        pytest.param("ref\0und window", [0], id="nul"),
        pytest.param("refund \ud800", [], id="half-a-surrogate"),
        pytest.param("*", [6], id="a-star-alone"),
        pytest.param(" \t\n", [], id="blank"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_what_is_typed_finds_what_is_meant(lab, text, found):
    """Words, beginnings, phrases, signs and scripts without blanks; operators are words like any other."""
    assert texts(lab.search(text)) == found


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param(r"thirty|seat", [0, 1], id="alternatives"),
        pytest.param(r"^A ", [1], id="an-anchor"),
        pytest.param(r"(?i)REFUNDED", [1], id="flags"),
        pytest.param(r"REFUNDED", [], id="case-counts"),
        pytest.param(r"x*$", list(range(7)), id="an-empty-match"),
    ],
)
def test_a_regular_expression_is_one(lab, pattern, found):
    """With regex=True Python's own syntax holds, and texts are read through; an output without text has none."""
    assert [number for number in texts(lab.search(pattern, regex=True)) if TEXTS[number]] == found


@pytest.mark.slow
def test_search_fuzz(tmp_path):
    """30,000 strings of what means something to a search engine, to SQL, to Python and to nobody: no exception."""
    chance = random.Random(45)
    pieces = [
        *"\"'()*^:-+{}[]|&~<>=!?%_;,.\\/ \t\n\0\ud800\udfff\ufffd\u202e\ue000é東😀aZ9",
        "AND",
        "OR",
        "NOT",
        "NEAR(",
    ]
    pieces += ["text:", "rowid", "--", "/*", "*/", "refund", "window", '""', "'; drop table runs; --", "a" * 300]
    with closing(Store(tmp_path / "lab.db")) as store:
        store.write(
            lambda c: c.execute("insert into requests values (1, 'k', 'e', 'm', '{}', 'refund window')")
        ).result()
        strings = ["".join(chance.choices(pieces, k=chance.randint(0, 12))) for _ in range(30_000)]
        assert {type(search.search(store, text)).__name__ for text in strings} == {"SearchResults"}
        assert len(search.search(store, "refund window")) == 1
        assert len(search.search(store, "word " * 5_000)) == 0


def test_filters_narrow_the_search(lab):
    """Model, template, status and time: each takes what it says, in outputs and in prompts."""
    other = PromptTemplate("other", user="Now {{ q }}")
    ask(lab, 0, 1, template=other, name="others", model="n")
    assert [hit.run for hit in lab.search("window", model="n")] == ["others", "others"]
    assert [hit.template for hit in lab.search("question", template="other")] == ["other", "other"]
    assert len(lab.search("question", template="absent")) == 0
    assert len(lab.search("window", status="failed")) == 0
    assert len(lab.search("question", status="ok")) == 10
    assert len(lab.search("question number", model="n", template="ask")) == 0


def test_a_trial_without_an_answer_is_found_by_its_status(tmp_path):
    """The prompts of failed trials can be told from those of answered ones."""

    def script(body):
        return error_reply(400, "no") if body["messages"][-1]["content"].endswith("1") else "yes"

    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(script), policy=RetryPolicy(attempts=1)) as lab:
        ask(lab, 0, 1)
        found = {
            status: [hit.request_id for hit in lab.search("question", status=status)] for status in ("ok", "failed")
        }
    assert found == {"ok": [1], "failed": [2]}


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "at"),
    [
        pytest.param("2026-11-24", "2026-11-24T00:00:00.000Z", id="a-day"),
        pytest.param("2026-11-24T10:00", "2026-11-24T10:00:00.000Z", id="a-time"),
        pytest.param("2026-11-24T10:00:00.123Z", "2026-11-24T10:00:00.123Z", id="as-shown"),
        pytest.param("2026-11-24T10:00+02:00", "2026-11-24T08:00:00.000Z", id="a-zone"),
        pytest.param(date(2026, 11, 24), "2026-11-24T00:00:00.000Z", id="date"),
        pytest.param(datetime(2026, 11, 24, 10), "2026-11-24T10:00:00.000Z", id="datetime"),  # noqa: DTZ001 - no zone
        pytest.param(NOW, "2026-11-24T12:00:00.000Z", id="datetime-with-zone"),
        pytest.param(timedelta(hours=3), "2026-11-24T09:00:00.000Z", id="timedelta"),
    ],
)
def test_since_takes_dates_times_and_spans(lab, since, at):
    """An output that came at that time is found, one that came a millisecond earlier is not."""
    earlier = (datetime.fromisoformat(at) - timedelta(milliseconds=1)).isoformat(timespec="milliseconds")[:-6] + "Z"
    lab.store.write(lambda c: c.execute("update outputs set created_at = ?", (earlier,))).result()
    lab.store.write(lambda c: c.execute("update outputs set created_at = ? where id = 1", (at,))).result()
    assert texts(search.search(lab.store, "window", since=since, now_s=NOW.timestamp())) == [0]


def test_every_option_that_cannot_be_understood_is_told(lab):
    """One error lists them all."""
    with pytest.raises(SearchError) as caught:
        lab.search("x", status="done", since="yesterday", limit=0)
    assert caught.value.problems == (
        "status='done': one of 'ok', 'failed', 'stopped', 'running', 'todo' is needed",
        "limit=0: a whole number from 1 is needed",
        "since='yesterday': a date, a time or a timedelta is needed, e.g. '2026-11-24' (UTC)",
    )


def test_a_wrong_expression_is_told(lab):
    """The error has Python's reason and the way out."""
    with pytest.raises(SearchError, match=r"'\(a' is no regular expression: missing \).*; leave out regex=True"):
        lab.search("(a", regex=True)


def test_the_newest_come_first_and_a_limit_is_told(lab):
    """Of more hits than the limit the newest are taken, in outputs and in prompts, and the result says so."""
    lab.store.write(
        lambda c: c.executemany(
            "update outputs set created_at = ? where id = ?", [(f"2026-{n:02}", n) for n in range(1, 9)]
        )
    ).result()
    found = lab.search("refund*", limit=2)
    assert [hit.output_id for hit in found] == [7, 2]
    assert found.notes == ("more than 2 outputs match; these are the newest",)
    prompts = lab.search("question", limit=3)
    assert [hit.request_id for hit in prompts] == [8, 7, 6]
    assert prompts.notes == ("more than 3 prompts match; these are the newest",)
    assert lab.search("refund*", limit=3).notes == ()


def fill(store, number, text):
    """Add so many requests that no run uses."""
    rows = [(f"key{place}", f"{text} {place}") for place in range(number)]
    add = "insert into requests (key, endpoint, model, body, text) values (?, 'e', 'm', '{}', ?)"
    store.write(lambda connection: connection.executemany(add, rows)).result()


def test_filters_look_at_so_many_and_say_so(tmp_path):
    """A filter that fits nothing does not go through a million matches."""
    with closing(Store(tmp_path / "lab.db")) as store:
        fill(store, search.CANDIDATES + 1, "same")
        found = search.search(store, "same", model="absent")
        signs = search.search(store, "same =>")
    assert found.notes == ("the filters were tried on the newest 20,000 matching prompts",)
    assert signs.notes == ("looked through the newest 20,000 prompts with the words alone",)


def test_reading_through_ends_when_time_is_up(tmp_path):
    """What the index cannot tell is looked for in the newest texts, for a bounded time, and the result says so."""
    moments = iter([0.0, *[0.5] * 10, *[search.SCAN_S + 1] * 1000])
    with closing(Store(tmp_path / "lab.db")) as store:
        fill(store, 100, "=>")
        place = search._PLACES[1]
        filters = {"model": None, "template": None, "since": None, "state": None, "limit": 1000}
        found = search._Search(store, place, search._words("=>"), filters, lambda: next(moments))
        hits = found.hits()
    assert [hit.snippet for hit in hits] == [f"=> {number}" for number in range(99, 89, -1)]
    assert found.notes == ["time was up after 10 prompts, the newest; words are looked up much faster"]


def test_what_is_shown_is_escaped_and_marked(tmp_path):
    """Markup in an output is text, also inside a match; matches are marked; what hides is visible."""
    hostile = "<script>alert('needle')</script> \u202e needle <mark>"
    with Lab(tmp_path / "<b>.db", backend=ScriptedBackend(hostile)) as lab:
        lab.ask(PromptTemplate("<i>", user="Hi"), model="<m>")
        found = lab.search("needle")
        html, text = found._repr_html_(), repr(found)
        signs = lab.search("<mark>$", regex=True)._repr_html_()
    assert (
        "&lt;script&gt;alert(&#x27;<mark>needle</mark>&#x27;)&lt;/script&gt; ⟨202E⟩ <mark>needle</mark> &lt;mark&gt;"
        in html
    )
    assert "<mark>&lt;mark&gt;</mark>" in signs
    assert [html.count(tag) for tag in ("<script", "<i>", "<m>", "<b>'")] == [0, 0, 0, 0]
    assert "<script>alert('›needle‹')</script> ⟨202E⟩ ›needle‹ <mark>" in text


def test_many_hits_are_shown_in_part(tmp_path):
    """The card shows the newest fifty and says where the others are."""
    with closing(Store(tmp_path / "lab.db")) as store:
        fill(store, 60, "same")
        found = search.search(store, "same")
    assert (len(found), found._repr_html_().count("<tr>"), "10 older ones are in .frame()" in repr(found)) == (
        60,
        51,
        True,
    )


def test_the_frame_has_the_declared_columns(lab):
    """One row a hit, with types that hold when nothing was found."""
    frame, empty = lab.search("refund*").frame(), lab.search("absent").frame()
    assert list(frame.columns) == list(empty.columns) == list(COLUMNS)
    assert (len(frame), len(empty)) == (3, 0)
    typed = [name for name in COLUMNS if name.endswith("_id") or name in {"version", "rank"}]
    kinds = ["Int64", "float64", *["Int64"] * 6]
    assert [[str(each[name].dtype) for name in typed] for each in (frame, empty)] == [kinds, kinds]
    assert sorted(frame["snippet"]) == sorted(TEXTS[number] for number in (0, 1, 6))


def test_what_was_just_written_is_found(lab):
    """The index is brought up to date first, so that nobody has to wait for idle time."""
    lab.store.write(lambda c: c.execute("insert into requests values (99, 'k', 'e', 'm', '{}', 'fresh')")).result()
    assert [hit.request_id for hit in lab.search("fresh")] == [99]


def test_searching_a_file_at_rest_leaves_it_as_it_was(lab, tmp_path):
    """Where all is indexed nothing is written."""
    copy = lab.backup(tmp_path / "copy.db")
    before = sha256(copy)
    with closing(Store(copy)) as store:
        assert len(search.search(store, "refund")) == 2
    assert sha256(copy) == before


SEARCH = """
import sys
from promptlab.search import search
from promptlab.store import Store
store = Store(sys.argv[1])
for text in ("old needle", "needle*", "NEEDLE", "=>", "needles"):
    print([hit.snippet for hit in search(store, text)])
store.close()
"""


def test_a_read_only_file_is_searched_beyond_its_index(tmp_path):
    """Rows that nobody indexed are read through, by the same rules, and the file stays as it is."""
    (tmp_path / "shelf").mkdir()
    path = tmp_path / "shelf" / "lab.db"
    with closing(Store(path)) as store:
        insert = "insert into requests values (?, ?, 'e', 'm', '{}', ?)"
        store.write(lambda c: c.execute(insert, (1, "a", "an old needle"))).result()
        store.index()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(insert, (2, "b", "=> a new needle"))
        connection.commit()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    before = sha256(path)
    said = run_python(SEARCH, path, as_anybody=True).splitlines()
    both = "['=> a new needle', 'an old needle']"
    assert said == ["['an old needle']", both, both, "['=> a new needle']", "[]"]
    assert (sha256(path), beside(path)) == (before, ["lab.db"])


def test_an_expression_that_would_take_for_ever_is_left_out(tmp_path):
    """Each look is ended after a second; the rest is found, and a note says what was left out."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend("a" * 60 + "b")) as lab:
        lab.ask(PromptTemplate("ask", user="aaac"), model="m")
        found = lab.search("(a|a|aa)+c", regex=True)
    assert [hit.matched for hit in found] == ["prompt"]
    assert [note for note in found.notes if "takes too long on some outputs, which were left out" in note] != []


def test_a_search_needs_a_text(tmp_path):
    """Nothing typed finds nothing, and says so; what is no text is an error."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend()) as lab:
        assert lab.search("  ").notes == ("nothing to look for; give a word, or lab.sql() lists everything there is",)
        for wrong in (
            {"text": None},
            {"text": "a", "since": 7},
            {"text": "a", "template": ASK},
        ):
            with pytest.raises(SearchError):
                lab.search(**wrong)
