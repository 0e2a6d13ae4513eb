"""A trial frame as a file."""

import io
import json
from html.parser import HTMLParser

import mistune
import pandas as pd
import pytest

import hostile
from promptlab._text import visible
from promptlab.errors import ExportError
from promptlab.exports import export, format_of, markdown, write
from promptlab.testing import sample_lab
from test_readme import ROOT, run_script, script

FRAME = pd.DataFrame(
    {"output": ["=1+1", "plain", None, "-5"], "cost_usd": [-1.0, 2.0, None, 0.5], "reused": [True] * 4}
)


def test_csv_disarms_formulas_and_leaves_numbers_alone():
    """A text that a spreadsheet would run gets a quote before it; a negative number stays a number."""
    lines = export(FRAME, "csv").decode().splitlines()
    assert lines == [
        '"output","cost_usd","reused"',
        '"\'=1+1",-1.0,True',
        '"plain",2.0,True',
        '"","",True',
        '"\'-5",0.5,True',
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_csv_disarms_every_start_of_a_formula(start):
    """Each character that begins a formula in a spreadsheet is disarmed."""
    content = export(pd.DataFrame({"output": [f"{start}cmd"]}), "csv")
    assert pd.read_csv(io.BytesIO(content))["output"][0] == f"'{start}cmd"


def test_csv_disarms_names_of_columns():
    """A column of the cases may be named by anyone, so heads are disarmed as well."""
    assert export(pd.DataFrame({"=1+1": ["x"]}), "csv").decode().splitlines()[0] == '"\'=1+1"'


def test_jsonl_keeps_every_text_as_it_is():
    """JSON lines hold formulas, missing values and any alphabet unchanged."""
    frame = pd.DataFrame({"output": ["=1+1", None, "שלום\n2"]})
    rows = [json.loads(line) for line in export(frame, "jsonl").decode().splitlines()]
    assert rows == [{"output": "=1+1"}, {"output": None}, {"output": "שלום\n2"}]


def test_parquet_keeps_values_and_types():
    """Parquet gives the frame back."""
    frame = pd.DataFrame({"output": ["=1+1", None], "prompt_tokens": pd.array([1, None], dtype="Int64")})
    found = pd.read_parquet(io.BytesIO(export(frame, "parquet")))
    assert found["output"][0] == "=1+1"
    assert found["prompt_tokens"].dropna().tolist() == [1]


@pytest.mark.parametrize("values", [[["=1", 2]], [2**70], [1, "a"]], ids=["list", "huge", "mixed"])
def test_parquet_says_what_it_cannot_hold(values):
    """One clear error, which names the form that can."""
    frame = pd.DataFrame({"q": pd.Series(values, dtype=object)})
    with pytest.raises(ExportError, match=r"does not fit into Parquet, .*; export it as jsonl"):
        export(frame, "parquet")


def test_write_refuses_to_overwrite(tmp_path):
    """A file that is there stays as it is."""
    target = tmp_path / "run.csv"
    target.write_text("mine")
    with pytest.raises(ExportError, match=r"run\.csv exists; remove it or name another file"):
        write(FRAME, target, "csv")
    assert target.read_text() == "mine"


def test_write_returns_the_path(tmp_path):
    """The file holds what export gives."""
    target = write(FRAME, tmp_path / "run.jsonl", "jsonl")
    assert target.read_bytes() == export(FRAME, "jsonl")


def test_write_replaces_a_file_when_asked(tmp_path):
    """With overwrite the new content is all there is."""
    target = tmp_path / "run.jsonl"
    target.write_text("an old and much longer file\n" * 100)
    assert write(FRAME, target, "jsonl", overwrite=True).read_bytes() == export(FRAME, "jsonl")


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path):
    """Folders are not made, and the message says what is needed."""
    with pytest.raises(ExportError, match=r"run\.csv cannot be written: No such file or directory; name a file in a"):
        write(FRAME, tmp_path / "nowhere" / "run.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a.csv", "a.jsonl", "a.PARQUET", "a.md"])
def test_the_suffix_names_the_format(path):
    """Every format has a suffix, in small or capital letters."""
    assert format_of(path) == path.split(".")[1].lower()


@pytest.mark.parametrize(
    ("path", "asked", "message"),
    [
        pytest.param(
            "run", None, r"run has no suffix of a format; there are \.csv, \.jsonl, \.parquet, \.md", id="none"
        ),
        pytest.param("run.xlsx", None, r"run\.xlsx has no suffix of a format", id="other"),
        pytest.param("run.csv", "excel", r"format='excel'; there are 'csv', 'jsonl', 'parquet', 'md'", id="format"),
    ],
)
def test_a_format_that_is_none_is_refused(path, asked, message):
    """The message lists those that there are."""
    with pytest.raises(ExportError, match=message):
        format_of(path, asked)


def test_a_format_given_goes_before_the_suffix():
    """A file may be called as one likes."""
    assert format_of("run.txt", "csv") == "csv"


# Markdown


def test_markdown_shows_numbers_and_what_is_unknown():
    """Four digits, numbers on the right, a dash for what is missing, lists as JSON."""
    frame = pd.DataFrame(
        {
            "name": ["a", None],
            "rate": [1 / 3, None],
            "tokens": pd.array([1234567, None], dtype="Int64"),
            "tags": [["x", 1], None],
        }
    )
    assert markdown(frame).splitlines() == [
        "| name | rate | tokens | tags |",
        "| :--- | ---: | ---: | :--- |",
        '| a | 0.3333 | 1234567 | \\["x",1\\] |',
        "| – | – | – | – |",
    ]


def test_markdown_of_no_rows_has_its_head():
    """An empty table is a table."""
    assert markdown(pd.DataFrame({"a": []})) == "| a |\n| ---: |"


def test_markdown_cuts_long_texts_when_asked():
    """A text of several lines becomes one of so many characters."""
    assert markdown(pd.DataFrame({"a": ["one\ntwo " * 9]}), chars=10).splitlines()[2] == "| one two o… |"


@pytest.mark.parametrize("text", hostile.PAYLOADS.values(), ids=hostile.PAYLOADS)
def test_no_text_becomes_markup(text):
    """Read by a Markdown reader with HTML, tables and links, each text is itself again, in one cell."""
    cells, tags = read_markdown(markdown(pd.DataFrame({"a": [text], "b": [1]})))
    assert cells == ["a", "b", " ".join(_shown(text).split()), "1"]
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td", "span", "br"}


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.org/x?a=1&b=2 and www.example.org",
        "a `code` | **bold** _it_ ~~no~~ # head ![i](u) <b>&amp;</b>",
        r"\(x\) \\[y\\] $a$ $$b$$ \| \` me@example.org",
        "first\r\nsecond\n\n    third",
    ],
)
def test_markup_links_and_mathematics_are_text(text):
    """What Markdown, GitHub and JupyterLab would read as something is what was written."""
    table = markdown(pd.DataFrame({"a": [text], "b": [1]}))
    cells, tags = read_markdown(table)
    assert cells == ["a", "b", " ".join(text.split()), "1"]
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td", "span", "br"}
    assert "$" not in table
    assert "://" not in table


def test_the_reader_of_these_tests_sees_markup():
    """Unescaped, links, emphasis, mathematics and HTML are elements to it."""
    cells, tags = read_markdown("| a | b |\n| --- | --- |\n| https://example.org **x** ~~y~~ | $x$ <img src=x> |")
    assert cells == ["a", "b", "https://example.org x y", r"\(x\)"]
    assert tags >= {"a", "strong", "del", "img"}


class _Cells(HTMLParser):
    """Collects the texts of table cells, and the names of all elements."""

    def __init__(self):
        super().__init__()
        self.cells, self.tags = [], set()

    def handle_starttag(self, tag, _attrs):
        self.tags.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")
        elif tag == "br":
            self.cells[-1] += " "

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def read_markdown(text):
    """Return the cells and the names of the elements that a reader of GitHub's Markdown makes of a text."""
    reader = _Cells()
    read = mistune.create_markdown(escape=False, plugins=["table", "url", "strikethrough", "math", "footnotes"])
    reader.feed(str(read(text)))
    return [" ".join(cell.split()) for cell in reader.cells], reader.tags


def _shown(text):
    return visible(text.replace("\r\n", "\n"))


# A run's own


def test_a_run_is_exported_by_its_suffix(tmp_path):
    """One row a trial, those without an answer too, with the columns of the frame."""
    with sample_lab(tmp_path / "sample.db") as lab:
        run = lab.load("capitals")
        path = run.export(tmp_path / "capitals.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(path), run.frame(), check_dtype=False)
        with pytest.raises(ExportError, match=r"capitals\.parquet exists"):
            run.export(path)
        assert run.export(path, format="csv", overwrite=True).read_bytes() == export(run.frame(), "csv")


def test_the_trials_as_markdown(tmp_path):
    """The frame, or a part of it, as a table for a text."""
    with sample_lab(tmp_path / "sample.db") as lab:
        run = lab.load("capitals")
        assert run.to_markdown(run.frame()[["template", "country", "output"]].iloc[[2, 3, 8]]).splitlines() == [
            "| template | country | output |",
            "| :--- | :--- | :--- |",
            "| terse | Peru | Lima |",
            "| terse | Kenya | – |",
            "| chatty | France | The capital of France is Paris. |",
        ]
        assert run.to_markdown("frame") == markdown(run.frame(), chars=300)
        with pytest.raises(ExportError, match="table='rows': 'summary', 'frame' or a DataFrame is needed"):
            run.to_markdown("rows")


def test_the_examples_of_its_page_run(tmp_path):
    """What docs/export.md shows works, in order, in an empty folder."""
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    done = run_script(script(page), tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".jsonl", ".parquet", ".txt", ".html"}


MARKDOWN_CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import pandas as pd
from IPython.display import Markdown
import hostile
from promptlab.exports import markdown
more = ["$a$ and $b$", r"\\(x\\) \\[y\\] \\$", "https://example.org www.example.org a@example.org"]
texts = [*hostile.PAYLOADS.values(), *more]
Markdown(markdown(pd.DataFrame({{"a": texts, "b": texts[::-1]}})))
"""


def test_jupyterlab_shows_a_table_as_text(jupyter):
    """Drawn as Markdown in a notebook, nothing is mathematics, a link, a picture or a script."""
    jupyter.write("table.ipynb", MARKDOWN_CELL, "Markdown('$x^2$')")
    page = jupyter.open("table.ipynb")
    page.locator(".jp-RenderedMarkdown").last.locator("mjx-container").wait_for()  # typeset after what stands before
    output = page.locator(".jp-RenderedMarkdown").first
    assert output.locator("mjx-container, .MathJax, a[href], img, script, iframe, svg, h1").count() == 0
    assert output.locator("td", has_text=r"\(x\) \[y\] \$").count() == 2
    assert output.locator("tr").count() == len(hostile.PAYLOADS) + 4
    assert page.evaluate("() => window.__hostile") is None
    assert jupyter.blocked == []
