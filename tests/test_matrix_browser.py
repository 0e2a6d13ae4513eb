"""The comparison matrix in a browser: used by mouse and by keyboard alone, and what the file holds afterwards."""

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import hostile
from helpdesk import helpdesk_lab
from panelpage import open_panel
from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.errors import RatingError
from promptlab.panels.matrix import Matrix
from promptlab.testing import ScriptedBackend

expect.set_options(timeout=30_000)  # a machine that does other things too takes its time
TESTS = str(Path(__file__).parent)
STUDY = """
from promptlab import Lab
lab = Lab({file!r}, offline=True)
panel = lab.load("help desk").compare(rows="question", columns=["template", "temperature"], rater="ann")
"""
HOSTILE = f"""
import sys
sys.path.insert(0, {TESTS!r})
from hostile import hostile_lab
lab = hostile_lab("evil.db")
panel = lab.load(1).compare(rows=["q"], columns=["template", "temperature"], baseline={{"temperature": 0}})
"""
LIVE = """
import asyncio
from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend
gate = asyncio.Event()
loops = []
async def answer(body):
    loops.append(asyncio.get_running_loop())
    if body["temperature"]:
        await gate.wait()
    return f"answer at {body['temperature']}"
lab = Lab("filling.db", backend=ScriptedBackend(answer))
run = lab.start(PromptTemplate("p", user="{{ q }}"), ParameterGrid(model="m", temperature=[0, 1], max_tokens=9),
                cases=[{"q": f"question {number}"} for number in range(6)])
panel = run.compare(rows="q")
"""
NODES = "() => document.querySelector('main > div').shadowRoot.querySelectorAll('*').length"
AXE_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The file of the help desk's study, made once."""
    path = tmp_path_factory.mktemp("study") / "helpdesk.db"
    helpdesk_lab(path, cases=8).close()
    return path.read_bytes()


@pytest.fixture
def lab(study, tmp_path):
    """A lab on a file of the test's own with the study in it."""
    (tmp_path / "helpdesk.db").write_bytes(study)
    with Lab(tmp_path / "helpdesk.db", offline=True) as lab:
        yield lab


@pytest.fixture
def matrix(browser, lab):
    """The live matrix of the study; its page is `matrix.page`."""
    panel = lab.load("help desk").compare(rows="question", columns=["template", "temperature"], rater="ann")
    yield from opened(browser, panel)


def opened(browser, panel):
    """Yield the live panel on a page of its own, and hold it to having made no error."""
    page = open_panel(browser, panel)
    errors = []
    page.on("pageerror", lambda error: errors.append(error.stack))
    matrix = page.locator("section.matrix")
    matrix.locator(".grid-row:not(.waiting) .cell .text").first.wait_for()
    yield matrix
    page.close()
    assert errors == []


def in_notebook(jupyter, code):
    """Show the matrix that some code calls `panel` in a notebook; return the live panel."""
    jupyter.write("matrix.ipynb", code, "panel")
    matrix = jupyter.open("matrix.ipynb").locator(".promptlab-panel section.matrix")
    matrix.locator(".grid-row:not(.waiting) .cell .text").first.wait_for()
    return matrix


def cell(matrix, row, column):
    """Return a cell by its place, from 0."""
    return matrix.locator(f".grid-row[aria-rowindex='{row + 2}']:visible .cell[aria-colindex='{column + 2}']")


def rows(lab, query):
    """Return the rows of a query on the file."""
    return [tuple(row) for row in lab.sql(query).astype(object).where(lambda frame: frame.notna(), None).to_numpy()]


def answers(lab, **settings):
    """Return the texts of the study with these settings, by question and repeat."""
    frame = lab.load("help desk").frame()
    for name, value in settings.items():
        frame = frame[frame[name] == value]
    return frame["output"].tolist()


def press(matrix, *keys):
    """Press keys with the grid in focus."""
    matrix.locator(".grid").focus()
    for key in keys:
        matrix.page.keyboard.press(key)


def picker(matrix, label):
    """Return one of the selects above the matrix."""
    return matrix.locator(".controls").get_by_role("combobox", name=label, exact=True)


def left(matrix):
    """Return the place that says how many rows are left."""
    return matrix.locator(".controls .bar > .push.muted")


RATINGS = "select rater, value, scale, source from ratings order by id"


def test_an_output_is_judged_by_keyboard_alone(matrix, lab):
    """Keys move, rate, take back, pin and write a note; all of it is in the file and in the cell."""
    press(matrix, "j", "l", "+", "0", "l", "4", "p", "n")
    matrix.page.keyboard.type("too curt")
    matrix.page.keyboard.press("Enter")
    here = cell(matrix, 1, 2)
    expect(here.get_by_role("img", name="rated 4 of 5")).to_be_visible()
    expect(here.get_by_role("img", name="note: too curt")).to_be_visible()
    expect(here.get_by_role("img", name="pinned")).to_be_visible()
    expect(here).to_have_attribute("aria-selected", "true")
    expect(matrix.locator(".grid")).to_be_focused()
    assert rows(lab, RATINGS) == [
        ("ann", 1, "thumbs", "matrix"),
        ("ann", None, "thumbs", "matrix"),
        ("ann", 4, "stars", "matrix"),
    ]
    assert rows(lab, "select rater, text from notes") == [("ann", "too curt")]
    assert rows(lab, "select rater, pinned from pins") == [("ann", 1)]


def test_details_of_a_case_call_it_one(browser, lab):
    """A number alone says nothing: cases and repeats are named as what they are."""
    panel = lab.load("help desk").compare(rows="case", columns="template", repeats="columns")
    for matrix in opened(browser, panel):
        cell(matrix, 0, 0).dblclick()
        expect(matrix.locator(".drawer .drawer-title")).to_have_text(re.compile("^case 0 × [a-z]+ × repeat 0"))


def test_an_output_is_judged_by_mouse(matrix, lab):
    """A double click opens a cell, buttons rate it, and close it again."""
    cell(matrix, 0, 1).dblclick()
    drawer = matrix.locator(".drawer")
    expect(drawer.locator(".drawer-title")).to_have_text(
        "Where is my order? I paid on Monday. × terse × 0.7 × repeat 0"
    )
    drawer.get_by_role("button", name="Bad (−)").click()
    expect(drawer.get_by_role("button", name="Bad (−)")).to_have_attribute("aria-pressed", "true")
    expect(cell(matrix, 0, 1).get_by_role("img", name="rated bad")).to_be_attached()
    drawer.get_by_role("button", name="Close details").click()
    expect(drawer).to_be_hidden()
    assert rows(lab, RATINGS) == [("ann", -1, "thumbs", "matrix")]


class FullFile(Matrix):
    """A matrix whose file takes no ratings."""

    def _check_output(self, output_id):  # noqa: ARG002 - it refuses all
        msg = "the file is full"
        raise RatingError(msg)


def test_a_rating_that_cannot_be_saved_is_taken_back_and_said(browser, lab):
    """What the kernel refuses does not stay on the screen."""
    for matrix in opened(browser, FullFile(lab.store, [1])):
        press(matrix, "+")
        expect(matrix.get_by_role("status")).to_have_text("the file is full")
        expect(cell(matrix, 0, 0).get_by_role("img", name="rated good")).to_have_count(0)
    assert rows(lab, RATINGS) == []


def test_search_leaves_the_rows_that_were_found_and_marks_why(matrix, lab):
    """A word that stands in some answers filters the rows and is highlighted, in texts and in differences."""
    frame = lab.load("help desk").frame()
    hits = frame[frame["output"].fillna("").str.contains("invoice")]["question"].nunique()
    press(matrix, "/")
    matrix.page.keyboard.type("invoice")
    expect(left(matrix)).to_have_text(f"{hits} of 8 rows")
    assert 0 < hits < 8
    matrix.page.keyboard.press("Enter")
    expect(matrix.locator(".grid")).to_be_focused()
    expect(matrix.locator(".cell mark").first).to_have_text("invoice")
    press(matrix, "b")
    expect(matrix.locator(".head-cell.baseline")).to_have_count(1)
    assert set(matrix.locator(".cell mark").all_inner_texts()) == {"invoice"}


def test_any_column_is_the_baseline_of_a_difference(matrix, lab):
    """`b` compares with the column of the cursor; kept and deleted are that column's text, to the character."""
    press(matrix, "l", "b", "l", "l", "Enter")
    expect(matrix.locator(".head-cell.baseline .tag")).to_have_text("baseline")
    expect(cell(matrix, 0, 1).locator("ins, del")).to_have_count(0)
    expect(cell(matrix, 0, 3).locator("ins").first).to_be_visible()
    matrix.get_by_role("tab", name="Difference").click()
    reading = matrix.locator(".drawer .reading")
    expect(reading.locator("ins").first).to_be_visible()
    sides = reading.evaluate("""block => ['INS', 'DEL'].map(left_out =>
        [...block.childNodes].filter(node => node.nodeName !== left_out).map(node => node.textContent).join(''))""")
    question = "Where is my order? I paid on Monday."
    assert sides[0] in answers(lab, question=question, template="terse", temperature=0.7)
    assert sides[1] in answers(lab, question=question, template="guided", temperature=0)
    press(matrix, "d")
    expect(matrix.locator(".cell").locator("ins, del")).to_have_count(0)


def test_details_have_the_exact_request_and_response(matrix, lab):
    """The drawer shows the very text that was sent, what came back, and the tokens."""
    press(matrix, "Enter")
    matrix.get_by_role("tab", name="Request").click()
    expect(matrix.locator(".drawer pre.exact")).to_have_text(lab.request(1).body)
    matrix.get_by_role("tab", name="Request").press("ArrowRight")
    expect(matrix.get_by_role("tab", name="Response")).to_be_focused()
    content = json.dumps(answers(lab, template="terse", temperature=0)[0])
    expect(matrix.locator(".drawer .json-string").get_by_text(content, exact=True)).to_have_count(1)
    matrix.get_by_role("tab", name="Tokens").click()
    expect(matrix.locator(".drawer .remark")).to_have_text(re.compile(r"^perplexity 1\.\d\d$"))
    expect(matrix.locator(".drawer .token-4").first).to_have_attribute("title", re.compile(r"^\d+\.\d %"))
    matrix.get_by_role("tab", name="curl").click()
    expect(matrix.locator(".drawer pre.exact")).to_contain_text("curl ")
    matrix.page.keyboard.press("Escape")
    expect(matrix.locator(".drawer")).to_be_hidden()


def test_a_response_opens_by_arrows(matrix):
    """The tree of a JSON text folds and unfolds with the keyboard."""
    press(matrix, "Enter")
    matrix.get_by_role("tab", name="Response").click()
    tree = matrix.get_by_role("tree", name="Response")
    items = tree.get_by_role("treeitem")
    expect(items.first).to_have_attribute("aria-expanded", "true")
    tree.press("ArrowLeft")
    expect(items).to_have_count(1)
    expect(items.first).to_have_attribute("aria-expanded", "false")
    tree.press("ArrowRight")
    assert items.count() > 5


def test_repeats_are_folded_and_stepped_through(matrix, lab):
    """A cell says how many repeats agree; full stop and comma show the others."""
    texts = answers(lab, question="Where is my order? I paid on Monday.", template="guided", temperature=1.2)
    assert len(set(texts)) == 3
    press(matrix, "l", "l", "l", "l", "l")
    here = cell(matrix, 0, 5)
    seen = []
    for key, badge in ((".", "×1/3 ◂2/3▸"), (".", "×1/3 ◂3/3▸"), (".", "×1/3 ◂1/3▸"), (",", "×1/3 ◂3/3▸")):
        press(matrix, key)
        expect(here.locator(".meta")).to_contain_text(badge)
        seen.append(here.locator(".text").inner_text())
    assert len({text[:60] for text in seen}) > 1
    assert seen[1] == seen[3]


def test_differences_and_ways_to_show_outputs_take_turns(matrix):
    """Choosing JSON turns differences off, and choosing differences goes back to text; the controls say so."""
    ways = matrix.get_by_role("group", name="Show outputs as")
    press(matrix, "b")
    expect(picker(matrix, "Differences")).to_have_value("words")
    expect(ways.locator("[aria-pressed=true]")).to_have_count(0)
    ways.get_by_role("button", name="JSON (J)").click()
    expect(picker(matrix, "Differences")).to_have_value("")
    expect(matrix.locator(".cell").locator("ins, del")).to_have_count(0)
    expect(ways.locator("[aria-pressed=true]")).to_have_text("JSON")
    picker(matrix, "Differences").select_option("lines")
    expect(ways.locator("[aria-pressed=true]")).to_have_count(0)
    press(matrix, "m")
    expect(ways.locator("[aria-pressed=true]")).to_have_text("MD")
    expect(picker(matrix, "Differences")).to_have_value("")


def test_facets_filter(matrix):
    """A click on a count leaves the rows with such a trial; a second one brings the others back."""
    press(matrix, "f")
    french = matrix.locator(".facet-value").filter(has_text=re.compile(r"^fr\d"))
    french.click()
    expect(left(matrix)).to_have_text("1 row")
    expect(matrix.get_by_role("button", name="Remove lang fr")).to_be_visible()
    french.click()
    expect(left(matrix)).to_have_text("8 rows")
    matrix.get_by_role("button", name=re.compile("^latency")).first.click()
    expect(matrix.locator(".chips .chip")).to_have_count(1)
    matrix.locator(".chips .chip").click()
    expect(matrix.locator(".chips .chip")).to_have_count(0)


def test_a_view_is_saved_and_taken_again(matrix, lab):
    """A layout gets a name, is in the file, and comes back."""
    axis = matrix.locator(".corner span").last
    picker(matrix, "Rows").select_option(label="topic")
    expect(axis).to_have_text("topic")
    picker(matrix, "View").select_option(label="save this view …")
    matrix.page.keyboard.type("by topic")
    matrix.page.keyboard.press("Enter")
    expect(matrix.locator(".dialog")).to_have_count(0)
    assert rows(lab, "select name from views") == [("by topic",)]
    picker(matrix, "Rows").select_option(label="question")
    expect(axis).to_have_text("question")
    picker(matrix, "View").select_option(label="by topic")
    expect(axis).to_have_text("topic")


def test_another_order_is_shown_from_its_top(matrix):
    """After a sort the first row is in sight and has the cursor, also when it was far down; the column stays."""
    press(matrix, "G", "k", "l")
    picker(matrix, "Sort").select_option(label="row label")
    here = matrix.locator(".grid-row:visible", has=matrix.page.locator(".cell.current"))
    expect(here.locator(".row-label")).to_have_text("Do you ship to Norway, and how much is it?")
    expect(here).to_have_attribute("aria-rowindex", "2")
    assert matrix.locator(".grid").evaluate("grid => grid.scrollTop") == 0
    press(matrix, "j", "r")
    expect(matrix.get_by_role("status")).to_be_empty()
    expect(here).to_have_attribute("aria-rowindex", "3")
    expect(cell(matrix, 1, 1)).to_have_attribute("aria-selected", "true")


EMPTY_IN_SIGHT = """grid => { const sight = grid.getBoundingClientRect(), left = sight.left + 190
    const boxes = [...grid.querySelectorAll('.grid-row:not([hidden]) .cell, .head-cell')].map(cell =>
        [cell.getBoundingClientRect(), cell.textContent]).filter(([box]) => box.right > left && box.left < sight.right)
    return [Math.min(...boxes.map(([box]) => box.left)) <= left + 1,
        Math.max(...boxes.map(([box]) => box.right)) >= sight.right - 2, boxes.filter(([, text]) => !text).length] }"""


def test_columns_that_come_into_sight_are_drawn(browser, lab):
    """When the details close, the columns that they covered have heads and texts, to the edge of the grid."""
    panel = lab.load("help desk").compare(rows="question", columns=["template", "temperature"], repeats="columns")
    for matrix in opened(browser, panel):
        for moves in (["l"] * 3, ["l"] * 3, ["h"] * 5):
            press(matrix, *moves, "Enter")
            expect(matrix.locator(".drawer .reading")).to_be_visible()
            press(matrix, "Escape")
            expect(matrix.locator(".drawer")).to_be_hidden()
            assert matrix.locator(".grid").evaluate(EMPTY_IN_SIGHT) == [True, True, 0]


def test_a_column_wider_than_the_room_shows_where_its_text_begins(browser, lab):
    """With the details open the one column is cut at its right, not at its left."""
    for matrix in opened(browser, lab.load("help desk").compare(rows="question", columns="template")):
        press(matrix, "Enter")
        expect(matrix.locator(".drawer .reading")).to_be_visible()
        grid = matrix.locator(".grid")
        wide = "grid => grid.querySelector('.cell').offsetWidth > grid.clientWidth - 190"
        assert (grid.evaluate(wide), grid.evaluate("grid => grid.scrollLeft")) == (True, 0)


def test_columns_are_hidden_and_come_back(matrix):
    """`X` hides a column, which is said beside the number of rows; a click brings it back, or the views' menu."""
    press(matrix, "l", "X")
    expect(matrix.locator(".grid")).to_have_attribute("aria-colcount", "6")
    matrix.get_by_role("button", name="1 hidden, show").click()
    expect(matrix.locator(".grid")).to_have_attribute("aria-colcount", "7")
    press(matrix, "X")
    picker(matrix, "View").select_option(label="show 1 hidden")
    expect(matrix.locator(".grid")).to_have_attribute("aria-colcount", "7")


def test_a_matrix_is_as_small_as_what_it_shows(browser, tmp_path):
    """One row takes no spare height, menus say what stands on the sides, and at 700 px nothing is cut."""
    grid = ParameterGrid(model="m", temperature=0, max_tokens=9)
    with Lab(tmp_path / "one.db", backend=ScriptedBackend("word")) as lab:
        run = lab.run(PromptTemplate("p", user="{{ q }}"), grid, cases=[{"q": "one"}], progress=False)
        for matrix in opened(browser, run.compare()):
            matrix.page.set_viewport_size({"width": 700, "height": 800})
            expect(left(matrix)).to_have_text("1 row")
            expect(picker(matrix, "Rows").locator("option:checked")).to_have_text("q")
            expect(picker(matrix, "Columns").locator("option:checked")).to_have_text("template")
            assert matrix.locator(".room").bounding_box()["height"] < 220
            controls = matrix.locator(".controls")
            assert controls.evaluate("box => box.querySelector('.bar').scrollWidth <= box.clientWidth")
            expect(picker(matrix, "View")).to_be_in_viewport(ratio=1)
            press(matrix, "f")
            expect(matrix.locator(".facet").first).to_be_visible()
            assert matrix.locator(".facets").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_what_python_reads_is_what_is_looked_at(browser, lab):
    """The cells that are picked in the browser are `panel.selection`."""
    panel = lab.load("help desk").compare(rows="question", columns=["template", "temperature"])
    for matrix in opened(browser, panel):
        press(matrix, "Space", "j", "l", "Space", "e")
        expect(matrix.get_by_role("status")).to_have_text("cells: 2, trials: 6; in Python they are panel.selection")
    assert panel.selection["temperature"].tolist() == [0, 0, 0, 0.7, 0.7, 0.7]


def test_few_elements_at_any_size(browser, tmp_path):
    """With 100 columns and 40 rows there are no more elements than with a few, wherever one scrolls."""
    backend = ScriptedBackend(" ".join(["word"] * 200))
    grid = ParameterGrid(model="m", temperature=[0, 1], presence_penalty=[k / 50 for k in range(50)], max_tokens=9)
    with Lab(tmp_path / "wide.db", backend=backend) as lab:
        cases = [{"q": f"question {number}"} for number in range(40)]
        run = lab.run(PromptTemplate("p", user="{{ q }}"), grid, cases=cases, progress=False)
        counts = []
        for matrix in opened(browser, run.compare(rows="q", columns=["temperature", "presence_penalty"])):
            for keys in ([], ["G"], ["l"] * 40, ["g"], ["b"]):
                press(matrix, *keys)
                expect(matrix.locator(".cell.current .text")).to_contain_text("word")
                counts.append(matrix.page.evaluate(NODES))
    assert max(counts) < 600, counts


def test_what_the_browser_draws_first_is_small(lab):
    """What travels with the widget is below the 100 kB that every view may cost."""
    assert len(json.dumps(Matrix(lab.store, [1]).first())) < 100_000


def test_two_views_of_one_panel_agree(jupyter, study):
    """What is done in one view of a panel is seen in the other."""
    (jupyter.root / "two.db").write_bytes(study)
    views = in_notebook(jupyter, STUDY.format(file="two.db"))
    views.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
    jupyter.command(views.page, "notebook:create-output-view")
    expect(views).to_have_count(2)
    one, other = views.first, views.nth(1)
    other.locator(".cell .text").first.wait_for()
    press(one, "j", "l", "+", "m")
    expect(cell(other, 1, 1).get_by_role("img", name="rated good")).to_be_attached()
    expect(cell(other, 1, 1)).to_have_class("cell current")
    expect(other.get_by_role("button", name="Markdown (m)")).to_have_attribute("aria-pressed", "true")
    picker(other, "Sort").select_option(label="latency")
    expect(picker(one, "Sort")).to_have_value("latency_ms")


def test_the_matrix_fills_while_a_run_goes_on(jupyter):
    """Cells that wait are filled when their answers come, without a click."""
    matrix = in_notebook(jupyter, LIVE)
    expect(matrix.locator(".chip.live")).to_have_text("● live: 6 of 12 answered")
    expect(cell(matrix, 0, 1).locator(".text")).to_have_text("◌ running")
    assert jupyter.run_code(matrix.page, "loops[0].call_soon_threadsafe(gate.set)") == ""
    expect(cell(matrix, 3, 1).locator(".text")).to_have_text("answer at 1")
    expect(matrix.locator(".chip.live")).to_be_hidden()


def test_escape_leaves_a_control_for_the_grid_and_the_grid_for_the_cell(jupyter, study):
    """From a select, a button or the search Escape goes to the grid, where letters are the panel's; from there out."""
    (jupyter.root / "escape.db").write_bytes(study)
    matrix = in_notebook(jupyter, STUDY.format(file="escape.db"))
    facets = matrix.get_by_role("button", name="Facets")
    for control in (picker(matrix, "Sort"), facets, matrix.get_by_role("searchbox")):
        control.focus()
        matrix.page.keyboard.press("Escape")
        expect(matrix.locator(".grid")).to_be_focused()
    matrix.page.keyboard.press("b")
    expect(matrix.locator(".head-cell.baseline")).to_have_count(1)
    assert matrix.page.locator(".jp-Notebook .jp-Cell").count() == 2
    matrix.page.keyboard.press("Escape")
    assert matrix.page.evaluate("() => document.activeElement.classList.contains('jp-Cell')")


def test_no_text_gets_out_in_any_view(jupyter):
    """As text, Markdown, JSON, tokens or difference, in cells and in details, hostile texts are only drawn."""
    matrix = in_notebook(jupyter, HOSTILE)
    press(matrix, "f", "Enter")
    for key in ("d", "m", "J", "t"):
        press(matrix, key, "j", "j")
        for tab in ("Output", "Difference", "Request", "Response", "Attempts", "curl"):
            matrix.get_by_role("tab", name=tab).click()
            matrix.locator(".drawer-page > *").first.wait_for()
    matrix.locator(".facet").first.wait_for()
    assert matrix.page.evaluate(hostile.FAULTS) == []
    assert jupyter.blocked == []
    assert [entry for entry in jupyter.console if entry[0] in {"error", "pageerror"}] == []


def test_nothing_is_hidden_from_those_who_cannot_see(jupyter, study):
    """axe-core finds nothing in either theme, with details, facets, differences and each way to show outputs open."""
    (jupyter.root / "axe.db").write_bytes(study)
    matrix = in_notebook(jupyter, STUDY.format(file="axe.db"))
    press(matrix, "l", "b", "l", "Enter", "f")
    faults = []
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        jupyter.command(matrix.page, "apputils:change-theme", theme=theme)
        matrix.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
        for key in ("d", "t", "?"):
            press(matrix, key)
            matrix.locator(".facet").first.wait_for()
            found = Axe().run(matrix.page, context=".promptlab-panel", options=AXE_RULES)
            faults += [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]]
        matrix.page.keyboard.press("Escape")
    assert faults == []


def test_few_small_messages_at_any_size(browser, tmp_path):
    """Of 2,000 rows only those looked at travel: to open takes at most four messages, to jump to the end two more."""
    backend = ScriptedBackend(" ".join(["word"] * 200))
    grid = ParameterGrid(model="m", temperature=[0, 1], max_tokens=9)
    with Lab(tmp_path / "long.db", backend=backend) as lab:
        cases = [{"q": f"question {number}"} for number in range(2_000)]
        run = lab.run(PromptTemplate("p", user="{{ q }}"), grid, cases=cases, progress=False)
        traffic = []
        panel = run.compare(rows="q", columns="temperature")
        page = open_panel(browser, panel, traffic=traffic)
        expect(page.locator(".cell .text").first).to_contain_text("word")
        press(page.locator("section.matrix"), "G")
        expect(page.locator(".row-head", has_text="question 1999")).to_be_visible()
        page.close()
    assert len(traffic) <= 6
    assert sum(traffic) < 600_000
