"""Past runs and prompt versions in a real JupyterLab, by keyboard alone and by mouse alone."""

import json

import pytest

import hostile
from panelpage import open_panel
from promptlab import Lab, PromptTemplate
from promptlab.testing import ScriptedBackend, sample_lab

SETUP = "from promptlab import Lab\nlab = Lab({file!r}, offline=True)"


@pytest.fixture
def study(jupyter, request):
    """A file in the server's folder with three runs and two versions of a prompt; return its name."""
    name = f"{request.node.name.replace('[', '-').replace(']', '')}.db"
    with sample_lab(jupyter.root / name) as lab:
        past = lab.load("capitals")
        terse = past.templates[0]
        curt = terse.replace(system="Answer with a single word, and no more.")
        lab.run(curt, past.grid, cases=past.cases, name="one word", note="does it help?", progress=False)
        lab.run(terse, past.grid, cases=past.cases, name="again", progress=False)
    return name


def shown(jupyter, name, cell):
    """Open a notebook with one panel, and return the page and the live panel."""
    jupyter.write(f"{name}.ipynb", SETUP.format(file=name), cell)
    page = jupyter.open(f"{name}.ipynb")
    panel = page.locator(".promptlab-panel section")
    panel.wait_for()
    page.wait_for_function("() => !document.querySelector('.promptlab-panel').querySelector('.busy')")
    return page, panel


def rows(panel):
    """Return the text of the first line of every row in sight, from top to bottom."""
    texts = panel.locator(".grid-row:visible").evaluate_all(
        "rows => rows.map(row => [Number(row.getAttribute('aria-rowindex')),"
        " row.querySelector('.title')?.firstChild?.parentElement?.innerText ?? '']).sort((a, b) => a[0] - b[0])"
    )
    return [" ".join(text.split()) for _, text in texts]


def wait_for_rows(page, panel, expected):
    """Wait until the list shows these rows."""
    for _ in range(100):
        if rows(panel) == expected:
            return
        page.wait_for_timeout(50)
    assert rows(panel) == expected


def stored(jupyter, name, run_id):
    """Return tags, note and the archive mark of a run as they are in the file."""
    with Lab(jupyter.root / name, offline=True) as lab:
        tags, note, archived = lab.sql("select tags, note, archived from runs where id = ?", [run_id]).iloc[0]
    return json.loads(tags), note, archived


def wait_for_stored(page, jupyter, name, run_id, expected):
    """Wait until a run is in the file as expected."""
    for _ in range(100):
        if stored(jupyter, name, run_id) == expected:
            return
        page.wait_for_timeout(50)
    assert stored(jupyter, name, run_id) == expected


def test_history_by_keyboard(jupyter, study):
    """Opened, searched, tagged, noted, archived and taken back without a mouse; the notebook stays as it is."""
    page, panel = shown(jupyter, study, "history = lab.history()\nhistory")
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(w => w.model.sharedModel.source)"
    before = page.evaluate(cells)
    wait_for_rows(page, panel, ["again", "one word", "capitals"])
    panel.locator(".grid").focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    wait_for_rows(
        page,
        panel,
        [
            "again",
            "one word",
            "0 France · Paris",
            "1 Japan · Tokyo",
            "2 Peru · Lima",
            "3 Kenya · Nairobi",
            "4 France · Paris",
            "5 Japan · Tokyo",
            "6 Peru · Lima",
            "7 Kenya · Nairobi",
            "capitals",
        ],
    )
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    panel.locator(".drawer pre").first.wait_for()
    assert "single word, and no more" in panel.locator(".drawer pre").first.inner_text()
    assert '"content": "Paris"' in panel.locator(".drawer pre").nth(1).inner_text()
    page.keyboard.press("Escape")
    panel.locator(".drawer").wait_for(state="hidden")
    page.keyboard.press("h")
    wait_for_rows(page, panel, ["again", "one word", "capitals"])

    page.keyboard.press("t")
    page.keyboard.type("baseline, Q4")
    page.keyboard.press("Enter")
    wait_for_stored(page, jupyter, study, 2, (["baseline", "Q4"], "does it help?", 0))
    page.keyboard.press("n")
    page.keyboard.press("End")
    page.keyboard.type(" no")
    page.keyboard.press("Enter")
    wait_for_stored(page, jupyter, study, 2, (["baseline", "Q4"], "does it help? no", 0))
    page.keyboard.press("u")
    wait_for_stored(page, jupyter, study, 2, (["baseline", "Q4"], "does it help?", 0))
    page.keyboard.press("a")
    wait_for_rows(page, panel, ["again", "capitals"])
    assert stored(jupyter, study, 2)[2] == 1
    page.keyboard.press("u")
    wait_for_rows(page, panel, ["again", "one word baseline Q4", "capitals"])
    assert stored(jupyter, study, 2)[2] == 0

    page.keyboard.press("/")
    page.keyboard.type("sentence")
    wait_for_rows(page, panel, ["capitals"])
    assert panel.locator(".found").inner_text().endswith("Answer in a sentence. Capital of Kenya?")
    assert panel.locator(".found mark").all_inner_texts() == ["sentence"]
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    page.keyboard.press("c")
    panel.locator(".code pre").wait_for()
    assert panel.locator(".code pre").inner_text() == "lab.compare([1])  # capitals"
    assert jupyter.run_code(page, "print(history.selection)") == "[1]\n"
    assert page.evaluate(cells) == before


def test_each_repeat_shows_its_own_reply(jupyter):
    """Repeats share a request; moving from one to the next shows the reply that each got, and that there are others."""
    replies = iter(["first reply", "second reply"])
    with Lab(jupyter.root / "repeats.db", backend=ScriptedBackend(lambda _: next(replies))) as lab:
        ask = PromptTemplate("ask", user="Say something.")
        lab.run(ask, {"model": "m", "temperature": 1}, repeats=2, concurrency=1, name="twice", progress=False)
    _, panel = shown(jupyter, "repeats.db", "lab.history()")
    panel.locator(".twist").first.click()
    panel.locator(".grid-row.inside").nth(0).dblclick()
    response = panel.get_by_role("region", name="response, as it came")
    response.get_by_text("first reply").wait_for()
    panel.locator(".grid-row.inside").nth(1).click()
    response.get_by_text("second reply").wait_for()
    assert "response of attempt 2; there is 1 other" in panel.locator(".drawer .bar").inner_text()


def test_a_file_without_runs_says_so(browser, tmp_path):
    """There is nothing to clear where nothing was run."""
    with Lab(tmp_path / "empty.db", backend=ScriptedBackend("x")) as lab:
        panel = open_panel(browser, lab.history()).locator("section")
        panel.get_by_text("The file holds no run yet; lab.run(...) makes one.").wait_for()
        assert "0 trials" in panel.locator(".bar").first.inner_text()


def test_history_by_mouse(jupyter, study):
    """The same with a mouse alone: every operation has its place to click."""
    page, panel = shown(jupyter, study, "lab.history()")
    wait_for_rows(page, panel, ["again", "one word", "capitals"])
    panel.locator(".twist").nth(1).click()
    panel.locator(".grid-row.inside").first.dblclick()
    panel.get_by_role("button", name="Close the request").click()
    panel.locator(".twist").nth(1).click()
    wait_for_rows(page, panel, ["again", "one word", "capitals"])
    panel.locator(".tick").nth(0).click()
    panel.locator(".tick").nth(1).click()
    panel.get_by_role("button", name="Diff prompts").click()
    panel.locator(".code pre", has_text="lab.diff('terse@2', 'terse@1')").wait_for()
    panel.get_by_role("button", name="Re-run as new").click()
    panel.locator(".code pre", has_text="past = lab.load(3)").wait_for()
    panel.get_by_role("button", name="Archive").click()
    wait_for_rows(page, panel, ["capitals"])
    assert [stored(jupyter, study, run_id)[2] for run_id in (1, 2, 3)] == [0, 1, 1]
    panel.get_by_role("button", name="Undo").click()
    wait_for_rows(page, panel, ["again", "one word", "capitals"])
    panel.locator(".grid-row:visible", has_text="capitals").locator(".cell").last.dblclick()
    page.locator("input.edit").fill("the first study")
    panel.locator(".grid-row:visible .title").first.click()  # leaving the field keeps what was typed
    wait_for_stored(page, jupyter, study, 1, ([], "the first study", 0))
    panel.get_by_label("Only runs with this prompt").select_option("chatty")
    wait_for_rows(page, panel, ["capitals"])


def test_marked_runs_are_tagged_together(jupyter, study):
    """With several marked, tags go to all of them; a tag that is none is refused in the panel."""
    page, panel = shown(jupyter, study, "lab.history()")
    panel.locator(".tick").nth(0).click()
    panel.locator(".tick").nth(2).click()
    page.keyboard.press("t")
    page.keyboard.type("kept")
    page.keyboard.press("Enter")
    wait_for_stored(page, jupyter, study, 1, (["kept"], "", 0))
    assert [stored(jupyter, study, run_id)[0] for run_id in (1, 2, 3)] == [["kept"], [], ["kept"]]
    page.keyboard.press("t")
    page.keyboard.type("x" * 70)
    page.keyboard.press("Enter")
    panel.locator(".status.bad", has_text="is no tag").wait_for()
    assert stored(jupyter, study, 1)[0] == ["kept"]


def test_a_read_only_file_says_so_in_the_panel(jupyter, study):
    """Where nothing can be written, the change is refused in words, and the list stays."""
    cell = "from promptlab.store import Store\nlab.store = Store(lab.path, write=False)\nlab.history()"
    page, panel = shown(jupyter, study, cell)
    panel.locator(".grid").focus()
    page.keyboard.press("a")
    panel.locator(".status.bad", has_text="was opened to be read only").wait_for()
    assert rows(panel) == ["again", "one word", "capitals"]


def test_versions_by_keyboard(jupyter, study):
    """Changes are walked through, layouts switched, sides swapped, versions walked, and answers opened."""
    page, panel = shown(jupyter, study, "lab.diff('terse@1', 'terse')")
    text = panel.locator(".versions-text")
    text.locator("ins").first.wait_for()
    assert (text.locator("del").all_inner_texts(), text.locator("ins").all_inner_texts()) == (
        ["one"],
        ["a single", ", and no more"],
    )
    assert panel.locator(".effect").inner_text().split("\n")[0].startswith("Effect on 6 shared answers")
    assert "(same case, settings, repeat and generation)" in panel.locator(".effect").inner_text()
    assert [
        name for name in ("unknown", "nothing was scored or rated") if name in panel.locator(".effect").inner_text()
    ] == ["nothing was scored or rated"]
    text.focus()
    page.keyboard.press("n")
    assert panel.locator("tr.here").count() == 1
    page.keyboard.press("i")
    assert text.locator("thead th").all_inner_texts()[1:] == ["terse@1 → terse@2"]
    page.keyboard.press("s")
    panel.locator("thead th", has_text="terse@2 → terse@1").wait_for()
    text.locator("del", has_text="a single").wait_for()
    page.keyboard.press("]")
    panel.locator("thead th", has_text="terse@1 → terse@2").wait_for()
    page.keyboard.press("]")
    panel.locator(".status", has_text="this is the newest version").wait_for()


def test_versions_by_mouse(jupyter, study):
    """Menus choose the sides, buttons the layout, and the effect opens the answers behind it."""
    _, panel = shown(jupyter, study, "lab.diff('terse@1', 'chatty')")
    panel.locator(".effect button", has_text="changed").click()
    panel.locator(".pairs .grid-row:visible", has_text="The capital of France is Paris.").first.wait_for()
    panel.get_by_label("Version after the change").select_option(label="terse@2")
    panel.locator("ins", has_text="a single").wait_for()
    panel.get_by_role("button", name="Inline").click()
    assert panel.locator("thead th").all_inner_texts()[1:] == ["terse@1 → terse@2"]


def test_lines_far_from_a_change_unfold(jupyter, study):
    """A long prompt is shown around its changes; a click shows the rest."""
    rules = "\n".join(f"rule {number}" for number in range(30))
    with Lab(jupyter.root / study, backend=ScriptedBackend(identity="sample")) as lab:
        for end in ("Be brief.", "Be kind."):
            lab.ask(PromptTemplate("long", system=f"{rules}\n{end}", user="Hello"), model="sample")
    _, panel = shown(jupyter, study, "lab.diff('long@1', 'long@2')")
    panel.locator("ins", has_text="kind").wait_for()
    assert panel.locator("tr.gap").all_inner_texts() == ["system\t28 lines the same"]
    panel.locator(".gap button").click()
    assert panel.locator("td .text", has_text="rule 3").count() == 2
    assert panel.locator("tr.gap").count() == 0


@pytest.mark.parametrize("cell", ["lab.history()", "lab.history('hello')", "lab.diff('evil@1', 'evil@2')"])
def test_hostile_text_runs_nothing(jupyter, request, cell):
    """Opened, searched, edited and looked into, hostile names, notes, prompts and answers are text."""
    name = f"hostile-{abs(hash(cell))}.db"
    hostile.hostile_lab(jupyter.root / name).close()
    page, panel = shown(jupyter, name, cell)
    keys = ["j", "Enter", "j", "Enter"] if "history" in cell else ["n", "i", "Enter"]
    panel.locator("[tabindex='0']").first.focus()
    for key in [*keys, "d", "r", "c", "y", "t", "Escape", "n", "Escape"]:
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    assert page.evaluate(hostile.FAULTS) == []
    assert jupyter.blocked == []
    assert [kind for kind, _ in jupyter.console if kind == "pageerror"] == []
