"""Cards and tables: what a reader sees, and that nothing a model wrote is ever markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import _text
from strategies import any_text


class Reader(HTMLParser):
    """Collects the tags and the text of a page, as a browser would read them."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags = set()
        self.texts = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, _attributes):
        """Note a tag."""
        self.tags.add(tag)

    def handle_data(self, data):
        """Note a piece of text."""
        self.texts.append(data)


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\tb\nc é 漢 🙂", "a\tb\nc é 漢 🙂", id="ordinary"),
        pytest.param("a\x1b[31mb", "a⟨1B⟩[31mb", id="terminal colour"),
        pytest.param("a\rb\0c\x9bd", "a⟨0D⟩b⟨00⟩c⟨9B⟩d", id="controls"),
        pytest.param("\u202eabc\u2066\u061c", "⟨202E⟩abc⟨2066⟩⟨61C⟩", id="direction"),
        pytest.param("a\u200bb\ufeff\xad\u2028", "a⟨200B⟩b⟨FEFF⟩⟨AD⟩⟨2028⟩", id="invisible"),
        pytest.param("a\U000e0041", "a⟨E0041⟩", id="hidden tags"),
        pytest.param("\ud800", "⟨D800⟩", id="surrogate"),
    ],
)
def test_hidden_characters_are_shown_as_codes(text, expected):
    """Characters that hide or reorder others become visible; all others stay."""
    assert _text.visible(text) == expected


@pytest.mark.parametrize(
    ("text", "chars", "expected"),
    [
        pytest.param("short", 5, "short", id="fits"),
        pytest.param("longer", 5, "long…", id="cut"),
        pytest.param(" two\n\n  lines ", 20, "two lines", id="one line"),
    ],
)
def test_clipped_text_fits_one_line(text, chars, expected):
    """A clipped text has at most the characters asked for, and says when some are missing."""
    assert _text.clipped(text, chars) == expected


def test_brief_values_look_like_code():
    """A value in a message is its repr, cut."""
    assert _text.brief(["a" * 100], 12) == "['aaaaaaaaa…"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("temprature", "temperature", id="letter missing"),
        pytest.param("TEMPERATURE", "temperature", id="capitals"),
        pytest.param("questoin", "Question", id="capitals of the choice"),
        pytest.param("zzz", None, id="nothing near"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_nearest_name_is_found(name, expected):
    """A misspelt name finds the one it meant; one that resembles none finds none."""
    assert _text.nearest(name, ["model", "temperature", "Question"]) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(0, "0 cases", id="none"),
        pytest.param(1, "1 case", id="one"),
        pytest.param(2400, "2,400 cases", id="many"),
    ],
)
def test_a_count_agrees_with_its_noun(number, expected):
    """One is singular, all others are plural, with thousands set apart."""
    assert _text.count(number, "case") == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        pytest.param(None, "unknown", id="unknown"),
        pytest.param(0, "$0.00", id="nothing"),
        pytest.param(0.000012, "$0.000012", id="a tiny amount"),
        pytest.param(0.0123, "$0.012", id="cents"),
        pytest.param(0.5, "$0.50", id="half a dollar"),
        pytest.param(0.999, "$1.00", id="rounded up"),
        pytest.param(1234.5, "$1,234.50", id="thousands"),
    ],
)
def test_money_has_the_digits_it_needs(amount, expected):
    """Small amounts keep two figures, and never come with an exponent."""
    assert _text.usd(amount) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(None, "unknown", id="unknown"),
        pytest.param(0.35, "350 ms", id="milliseconds"),
        pytest.param(12.4, "12 s", id="seconds"),
        pytest.param(240, "4 min", id="minutes"),
        pytest.param(9000, "2.5 h", id="hours"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds, expected):
    """The unit fits the length."""
    assert _text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(0, "0 bytes", id="nothing"),
        pytest.param(1, "1 byte", id="one"),
        pytest.param(999, "999 bytes", id="bytes"),
        pytest.param(1_000, "1.0 kB", id="kilobytes"),
        pytest.param(1_234_567, "1.2 MB", id="megabytes"),
        pytest.param(2_099_408_896, "2.1 GB", id="gigabytes"),
    ],
)
def test_a_size_has_the_unit_that_fits(number, expected):
    """Bytes are counted, larger sizes rounded."""
    assert _text.size(number) == expected


def test_counts_leave_out_what_is_not_there():
    """Each count agrees with its noun."""
    assert _text.counts({"runs": 1, "votes": 0, "outputs": 2400}) == ["1 run", "2,400 outputs"]


def test_a_table_takes_html_of_ours_as_it_is():
    """Only what was made as HTML is not escaped."""
    table = _text.html_table([(_text.Html("<mark>a</mark>"), "<mark>b</mark>")])
    assert ("<mark>a</mark>" in table, "<mark>b</mark>" in table) == (True, False)


def test_a_text_table_lines_up():
    """Columns are as wide as their widest cell, hidden characters are shown, and no line ends in blanks."""
    table = _text.text_table([("a", 1), ("long\x1b", "")], head=("name", "n"))
    assert table == "name      n\na         1\nlong⟨1B⟩"


def test_an_empty_text_table_is_empty():
    """No rows and no head give no text."""
    assert _text.text_table([]) == ""


# HTML


def test_a_card_escapes_title_and_note():
    """A template may be called anything."""
    card = _text.html_card("<b>", "<p>body</p>", note='"n"')
    assert card == (
        '<div class="tex2jax_ignore mathjax_ignore" style="margin:4px 0">'
        '<div><b>&lt;b&gt;</b> <span style="opacity:.65">&quot;n&quot;</span></div>'
        "<p>body</p></div>"
    )


def test_a_table_has_a_head_only_when_asked():
    """Heads are cells of their own kind, and are left out when there are none."""
    cell = "text-align:left;vertical-align:top;padding:2px 10px"
    row = f'<tbody><tr><td style="{cell}">1</td></tr></tbody></table>'
    assert _text.html_table([[1]]) == f"<table>{row}"
    assert _text.html_table([[1]], head=["n"]) == f'<table><thead><tr><th style="{cell}">n</th></tr></thead>{row}'


@pytest.mark.parametrize(
    ("page", "tags"),
    [
        pytest.param(lambda text: _text.html_table([[text]]), {"table", "tbody", "tr", "td"}, id="table"),
        pytest.param(lambda text: _text.html_list([text]), {"ul", "li"}, id="list"),
        pytest.param(lambda text: _text.html_messages([("user", text)]), {"table", "tbody", "tr", "td"}, id="messages"),
        pytest.param(lambda text: _text.html_card(text, ""), {"div", "b"}, id="card"),
    ],
)
@given(text=any_text | st.sampled_from(["<script>x</script>", "<img src=x onerror=x>", "&lt;", '"><b>', "]]>", "<!--"]))
def test_no_text_is_ever_markup(page, tags, text):
    """A browser reads every text as that text, and no tag but ours."""
    read = Reader(page(text))
    assert read.tags == tags
    assert "".join(read.texts).removeprefix("user") == _text.visible(text)
