"""Every panel in a real JupyterLab: live where it can be, a snapshot everywhere else, never a door for model text."""

from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

import hostile
from labdrive import IS_OPEN, Jupyter

SETUP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from hostile import hostile_lab
lab = hostile_lab("hostile.db")
run = lab.load(1)
"""
#: panel -> the cell that shows it
PANELS = {
    "matrix": "panel = run.compare()\npanel",
    "monitor": "monitor = run.monitor()\nmonitor",
    "judge": "judge = run.judge(a={'template': 'evil'}, b={'template': 'other'}, n=8, seed=1)\njudge",
    "history": "history = lab.history()\nhistory",
    "versions": "versions = lab.diff('evil@1', 'evil@2')\nversions",
}
#: Keys with which a notebook, where they reach it, inserts, changes, merges, cuts, runs or leaves cells.
LETTERS = "abcxvzmyrddo00jkhlspnM12"
NOTEBOOK_KEYS = (
    *LETTERS,
    *("Enter", "Shift+Enter", "Escape", "ArrowDown", "ArrowUp", "Space", "Delete", "Backspace", "Control+f"),
)
CELLS = (
    "() => window.jupyterapp.shell.currentWidget.content.widgets.map(w => [w.model.type, w.model.sharedModel.source])"
)
AXE_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
ERRORS = ("Error displaying widget", "Loading widget", "model not found")


def live(page, name):
    """Return the live panel of a view."""
    return page.locator(f".promptlab-panel section.{name}")


def open_all(jupyter, name):
    """Open a notebook that shows every panel, and wait until they live."""
    jupyter.write(name, SETUP, *PANELS.values())
    page = jupyter.open(name)
    for view in PANELS:
        live(page, view).wait_for()
    return page


def violations(page):
    """Return what axe-core finds wrong with the panels."""
    found = Axe().run(page, context=".promptlab-panel", options=AXE_RULES)
    return [
        (violation["id"], node["html"], node["failureSummary"])
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    """One JupyterLab and one page with all panels for the tests that leave them as they are."""
    with Jupyter(browser, tmp_path_factory.mktemp("panels")) as jupyter:
        yield jupyter, open_all(jupyter, "all.ipynb")


@pytest.mark.parametrize("view", PANELS)
def test_no_text_runs_or_fetches_anything(shown, view):
    """Names, prompts, cases, notes and answers that try to are drawn as text."""
    jupyter, page = shown
    assert live(page, view).count() == 1
    assert page.evaluate(hostile.FAULTS) == []
    assert jupyter.blocked == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_panels_are_accessible(shown, theme):
    """axe-core finds nothing to complain about."""
    jupyter, page = shown
    jupyter.command(page, "apputils:change-theme", theme=theme)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
    assert violations(page) == []


@pytest.mark.parametrize("view", PANELS)
def test_keys_stay_in_the_panel(shown, view):
    """Whatever is typed in a panel, the notebook's cells stay as they are."""
    _, page = shown
    before = page.evaluate(CELLS)
    for key in NOTEBOOK_KEYS:
        live(page, view).locator("[tabindex='0'], button").first.focus()
        page.keyboard.press(key)
    assert page.evaluate(CELLS) == before


def test_saving_is_let_through(shown):
    """Control and S saves the notebook, also while a panel has the focus."""
    jupyter, page = shown
    path = jupyter.server.root / "all.ipynb"
    before = path.read_bytes()
    jupyter.run_code(page, "1")
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.model.setMetadata('touched', true) }")
    live(page, "history").locator("[tabindex='0']").first.focus()
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.model.dirty")
    assert path.read_bytes() != before


def test_a_page_that_is_loaded_again_is_live_again(jupyter):
    """With the kernel alive, a panel comes back, in the state in which it was left."""
    page = open_all(jupyter, "again.ipynb")
    live(page, "matrix").locator(".grid").focus()
    page.keyboard.press("j")
    page.keyboard.press("l")
    for _ in range(200):  # the second change is sent once the first was heard
        state = jupyter.run_code(page, "print(panel.widget.state)")
        if "'at': [1, 1]" in state:
            break
    jupyter.save(page)
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.model.dirty")
    page.reload()
    page.wait_for_function(IS_OPEN)
    for view in PANELS:
        live(page, view).wait_for()
    assert "'at': [1, 1]" in state
    assert jupyter.run_code(page, "print(panel.widget.state)") == state
    assert live(page, "matrix").locator(".cell.current").count() == 1


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "untrusted"])
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_without_a_kernel_a_reader_sees_the_snapshot(browser, tmp_path, app, is_trusted):
    """Reopened with a new kernel, every output is its snapshot; no reader sees an error, no text gets through."""
    with Jupyter(browser, tmp_path, app=app) as jupyter:
        page = open_all(jupyter, "kept.ipynb")
        jupyter.save(page)
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.model.dirty")
        page.close()
        jupyter.server.close_sessions()
        if not is_trusted:
            notebook = nbformat.read(tmp_path / "kept.ipynb", as_version=4)
            notebook.cells[0].source += "\n# changed by somebody else"
            for cell in notebook.cells:
                for output in cell.get("outputs", []):
                    output.get("data", {})["text/plain"] = "changed"
            nbformat.write(notebook, tmp_path / "kept.ipynb")
        page = jupyter.open("kept.ipynb", run=False)
        page.locator(".promptlab-panel").last.wait_for()
        text = "\n".join(page.locator(".jp-OutputArea-output").all_inner_texts())
        assert [error for error in ERRORS if error in text] == []
        assert page.locator(".promptlab-panel").count() == len(PANELS)
        assert page.locator(".promptlab-panel section").count() == 0
        assert text.count("live panel") >= len(PANELS)
        assert page.evaluate(hostile.FAULTS) == []
        assert jupyter.blocked == []


def test_a_lost_kernel_is_said_and_what_was_loaded_stays(jupyter):
    """When the kernel dies, the panel says so at the next question, and goes on showing what it has."""
    page = open_all(jupyter, "lost.ipynb")
    cells = live(page, "matrix").locator(".grid-row:visible").count()
    jupyter.server.close_sessions()
    live(page, "matrix").locator(".grid").focus()
    page.keyboard.press("+")
    live(page, "matrix").locator(".status", has_text="kernel not reachable").wait_for(timeout=30_000)
    assert live(page, "matrix").locator(".grid-row:visible").count() == cells > 0


def test_two_views_of_one_panel_agree(jupyter):
    """The cursor that moves in one view moves in the other."""
    jupyter.write("two.ipynb", SETUP, PANELS["matrix"])
    page = jupyter.open("two.ipynb")
    live(page, "matrix").wait_for()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
    jupyter.command(page, "notebook:create-output-view")
    page.wait_for_function("() => document.querySelectorAll('.promptlab-panel').length === 2")
    live(page, "matrix").nth(1).wait_for()
    live(page, "matrix").first.locator(".grid").focus()
    page.keyboard.press("j")
    page.keyboard.press("l")
    current = [
        live(page, "matrix").nth(view).locator(".cell.current").get_attribute("aria-colindex") for view in (0, 1)
    ]
    assert current[0] == current[1] != "2"
