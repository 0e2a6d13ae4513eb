"""Blind rating in a real JupyterLab: by keyboard alone, by mouse, across a dead kernel, without a tell-tale word."""

import sqlite3
from contextlib import closing

import pytest
from axe_playwright_python.sync_playwright import Axe

import hostile
from labdrive import IS_OPEN

#: A module beside the notebook, so that no cell names what is compared.
STUDY = """
from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend

def answer(body):
    return ("Hm, well, " if body["messages"][0]["content"] == "SECRET-WORDY" else "") + body["messages"][1]["content"]

def forget(path):
    with Lab(path, offline=True) as lab:
        lab.forget("the study", dry_run=False)

def study(path, n=8, case="Question"):
    lab = Lab(path, backend=ScriptedBackend(answer))
    templates = [PromptTemplate(name, system=f"SECRET-{name.upper()}", user="{{ q }}") for name in ("terse", "wordy")]
    cases = [{"q": f"{case} {letter}?"} for letter in "ABCDEFGHIJKL"[:n]]
    grid = ParameterGrid(model="model-x", temperature=0.7316495, max_tokens=77)
    run = lab.run(templates, grid, cases=cases, name="the study", progress=False)
    return run.judge(by="template", criterion="Which is shorter?", rater="me")
"""
#: Another thread has the panel for a while: less than a browser waits for an answer to a vote.
HOLD = """
import threading
held = threading.Event()
def hold():
    with judge._lock:
        held.set()
        threading.Event().wait(4)
threading.Thread(target=hold).start()
held.wait()
"""
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel().then(() => null)"
AXE_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}


@pytest.fixture
def rated(jupyter):
    """Return a function that opens a notebook with a session of n pairs, and returns its page."""

    def rated(name, n=8):
        (jupyter.server.root / "study.py").write_text(STUDY)
        jupyter.write(f"{name}.ipynb", f"from study import study\njudge = study('{name}.db', {n})", "judge")
        page = jupyter.open(f"{name}.ipynb")
        panel(page).wait_for()
        return page

    return rated


def panel(page):
    """Return the live panel."""
    return page.locator(".promptlab-panel section.judge")


def saved(page):
    """Wait until the panel has heard that what was asked is done."""
    page.locator("section.judge:not(.sending):not(.busy)").wait_for()


def press(page, *keys):
    """Press keys one after the other, each when the one before is done."""
    for key in keys:
        page.keyboard.press(key)
        saved(page)


def votes(jupyter, name, columns="choice, strength, reasons"):
    """Return the standing votes of a file, in the order of their pairings."""
    sql = f"""
        select {columns} from votes join pairings on pairings.id = pairing_id
        where undone_by is null and rater = 'me' order by position
    """  # noqa: S608 - our own column names
    with closing(sqlite3.connect(jupyter.server.root / f"{name}.db")) as connection:
        return connection.execute(sql).fetchall()


def answers(page):
    """Return the two texts on the screen."""
    return panel(page).locator(".answer").all_inner_texts()


def violations(page):
    """Return what axe-core finds wrong with the panel."""
    found = Axe().run(page, context=".promptlab-panel", options=AXE_RULES)
    return [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]]


def test_a_session_by_keyboard_alone(jupyter, rated):
    """Every choice, strength, reasons, a note, marks, undo and the end, without a mouse; all of it is in the file."""
    page = rated("keys")
    panel(page).locator(".judging").focus()
    press(page, "1", "ArrowRight", "Shift+ArrowLeft", "Shift+Digit2")
    press(page, "3", "u", "u", "4", "x")
    press(page, "n")
    page.keyboard.type("12 xu")
    page.keyboard.press("Enter")
    press(page, "Space", "Space", "1")
    assert votes(jupyter, "keys") == [
        ("left", 1, None),
        ("right", 1, None),
        ("left", 2, None),
        ("bad", None, None),
        ("skip", None, None),
        ("left", 1, '[{"note":"12 xu"},{"differences":true}]'),
    ]
    assert panel(page).locator(".bar .push").first.inner_text().startswith("6 of 9 judged")
    press(page, "2", "2", "2")
    assert panel(page).get_by_text("Everything is judged.").is_visible()
    press(page, "u", "1", "f")
    panel(page).locator(".verdict").wait_for()
    shown = panel(page).inner_text()
    assert "won by" in shown
    assert "terse" in shown
    assert len(votes(jupyter, "keys")) == 9
    assert jupyter.run_code(page, "print(judge.is_finished, len(judge.frame()))") == "True 9\n"
    assert all(ms is not None and ms >= 0 for (ms,) in votes(jupyter, "keys", "ms"))


def test_finishing_early_asks_once(jupyter, rated):
    """Before everything is judged, the end has to be confirmed, by keyboard as well."""
    page = rated("early")
    panel(page).locator(".judging").focus()
    press(page, "1", "f")
    dialog = panel(page).get_by_role("dialog")
    assert "1 of 9 are judged" in dialog.inner_text()
    press(page, "2", "u", "f")
    assert (votes(jupyter, "early"), dialog.count()) == ([("left", 1, None)], 1)
    press(page, "Escape")
    assert dialog.count() == 0
    assert jupyter.run_code(page, "print(judge.is_finished)") == "False\n"
    press(page, "f", "Enter")
    panel(page).locator(".verdict").wait_for()
    assert jupyter.run_code(page, "print(judge.is_finished)") == "True\n"


def test_a_session_by_mouse(jupyter, rated):
    """The same with clicks: a choice, much better, reasons, a note, skip, undo, finish."""
    page = rated("mouse", 4)
    click = panel(page).locator
    click(".choice-right").click()
    saved(page)
    click("button.chip", has_text="much better").click()
    click("button.chip", has_text="facts").click()
    click("button.chip", has_text="tone").click()
    click("button.chip", has_text="tone").click()
    click("input.note").fill("so it is")
    click(".choice-left").click()
    saved(page)
    click(".choice-tie").click(modifiers=["Shift"])
    saved(page)
    click("button", has_text="Undo").click()
    saved(page)
    click(".choice-bad").click()
    saved(page)
    click("button", has_text="Skip").click()
    saved(page)
    assert votes(jupyter, "mouse") == [
        ("right", 1, None),
        ("left", 2, '["facts",{"note":"so it is"}]'),
        ("bad", None, None),
        ("skip", None, None),
    ]
    click("button", has_text="Finish and see").click()
    click(".verdict").wait_for()


def test_the_next_pair_is_drawn_after_the_vote_is_saved(jupyter, rated):
    """Whenever another pair is on the screen, the vote on the one before is in the file."""
    page = rated("order")
    panel(page).locator(".judging").focus()
    for number in range(1, 6):
        before = answers(page)
        page.keyboard.press("1")
        page.wait_for_function(
            """before => {
                const places = [...document.querySelectorAll('.promptlab-panel > div')]
                const root = places.map(place => place.shadowRoot).find(Boolean)
                return [...root.querySelectorAll('.answer')].map(each => each.innerText).join() !== before }""",
            arg=",".join(before),
        )
        assert len(votes(jupyter, "order")) == number


def test_a_vote_that_takes_long_is_said_to_be_unsaved(jupyter, rated):
    """While the kernel is held up, the status line says that the vote is not saved; then it is, and is said to be."""
    page = rated("slow")
    panel(page).locator(".judging").focus()
    jupyter.run_code(page, HOLD)
    page.keyboard.press("1")
    status = panel(page).locator(".status")
    status.filter(has_text="not saved yet: waiting for the kernel").wait_for()
    assert votes(jupyter, "slow") == []
    status.filter(has_text="saved: left is better").wait_for()
    assert votes(jupyter, "slow") == [("left", 1, None)]


def test_a_kernel_that_dies_loses_no_vote(jupyter, rated):
    """A vote cast on a dead kernel is kept, said to be unsaved, and saved by the next kernel; the session goes on."""
    page = rated("dies")
    panel(page).locator(".judging").focus()
    press(page, "1", "3")
    third = answers(page)
    page.evaluate(RESTART)  # the kernel that knew this panel is killed
    page.keyboard.press("2")
    status = panel(page).locator(".status")
    status.filter(has_text="not saved yet: the kernel does not answer").wait_for(timeout=30_000)
    assert "closing or reloading the page loses it" in status.inner_text()
    page.keyboard.press("4")
    assert answers(page) == third
    assert votes(jupyter, "dies", "choice") == [("left",), ("tie",)]
    jupyter.run_all(page)
    panel(page).locator(".status", has_text="saved: right is better").wait_for()
    assert votes(jupyter, "dies", "choice") == [("left",), ("tie",), ("right",)]
    assert answers(page) != third
    panel(page).locator(".judging").focus()
    press(page, "4")
    assert votes(jupyter, "dies", "choice")[-1] == ("bad",)


def test_all_of_long_texts_is_shown_when_it_is_asked_for(jupyter):
    """Long texts are cut alike and say so; one click shows both whole, and the next pair is cut again."""
    (jupyter.server.root / "study.py").write_text(STUDY)
    setup = "from study import study\njudge = study('long.db', case='Q' * 30_000)"
    jupyter.write("long.ipynb", setup, "judge")
    page = jupyter.open("long.ipynb")
    note = panel(page).get_by_text("Long texts are cut, both answers at the same length.")
    note.wait_for()
    assert [len(text) for text in answers(page)] == [25_000, 25_000]
    panel(page).get_by_role("button", name="Show all").click()
    note.wait_for(state="hidden")
    whole = {30_000 + len(" A?"), len("Hm, well, ") + 30_000 + len(" A?")}
    assert {len(text) for text in answers(page)} == whole
    press(page, "Space")
    assert {len(text) for text in answers(page)} == whole
    press(page, "1")
    note.wait_for()
    assert [len(text) for text in answers(page)] == [25_000, 25_000]
    assert len(votes(jupyter, "long")) == 1


def test_a_session_whose_run_was_forgotten_is_not_all_judged(jupyter, rated):
    """A vote on a session that is gone says so, and the panel with it; nothing is there to be finished."""
    page = rated("gone")
    jupyter.run_code(page, "from study import forget\nforget('gone.db')")
    panel(page).locator(".judging").focus()
    press(page, "1")
    panel(page).locator(".status", has_text="this session is gone: its run was forgotten").wait_for()
    panel(page).locator(".all-judged", has_text="this session is gone").wait_for()
    assert panel(page).get_by_role("button", name="Finish").count() == 0


def test_nothing_that_tells_a_variant_crosses_the_wire(jupyter, rated):
    """Every message of a session is read as it arrives: no name, prompt, parameter, id or key of a variant is in it."""
    heard = []

    def hear(frame):
        heard.append(frame)  # playwright takes no built-in function

    (jupyter.server.root / "study.py").write_text(STUDY)
    jupyter.write("wire.ipynb", "from study import study\njudge = study('wire.db')", "judge")
    page = jupyter.open("wire.ipynb", run=False)
    page.on("websocket", lambda socket: socket.on("framereceived", hear))
    page.reload()
    page.wait_for_function(IS_OPEN)
    jupyter.run_all(page)
    panel(page).locator(".judging").focus()
    press(page, "1", "2", "u", "Space", "3", "1")
    text = "\n".join(frame if isinstance(frame, str) else frame.decode(errors="replace") for frame in heard)
    assert text.count("Which is shorter?") > 1
    assert "Hm, well, Question " in text
    assert text.count("token") > 5
    tell_tales = [
        "terse",
        "wordy",
        "SECRET-",
        "model-x",
        "0.7316495",
        "the study",
        '"left_id"',
        '"output_id"',
        '"item_key"',
    ]
    assert [word for word in tell_tales if word in text] == []
    press(page, "f", "Enter")
    panel(page).locator(".verdict").wait_for()
    assert "terse" in panel(page).inner_text()


def test_marks_leave_both_texts_whole(rated):
    """With differences marked each side shows its own text to the last character, and they scroll together."""
    page = rated("marks")
    before = answers(page)
    panel(page).locator(".judging").focus()
    press(page, "Space")
    assert answers(page) == before
    assert panel(page).locator(".answer mark").count() > 0
    assert panel(page).get_by_role("button", name="Mark differences").get_attribute("aria-pressed") == "true"


def test_hostile_texts_run_nothing(jupyter):
    """Each of the payloads is shown on either side, marked and unmarked, through to the result: all of it is text."""
    (jupyter.server.root / "evil.py").write_text(hostile_source())
    setup = "from evil import hostile_lab\nrun = hostile_lab('evil.db').load(1)"
    payload = hostile.PAYLOADS["image"]
    options = f"by='template', n=16, criterion={payload!r}, show=['q', 'reference'], reasons=[{payload!r}]"
    jupyter.write("evil.ipynb", setup, f"run.judge({options})")
    page = jupyter.open("evil.ipynb")
    panel(page).locator(".judging").focus()
    press(page, "Space")
    seen = set()
    while panel(page).locator(".choices").is_visible():
        seen.update(answers(page))
        press(page, "1")
        assert page.evaluate(hostile.FAULTS) == []
    assert len(seen) >= len(hostile.PAYLOADS)
    press(page, "f")
    panel(page).locator(".verdict").wait_for()
    assert page.evaluate(hostile.FAULTS) == []
    assert jupyter.blocked == []


def hostile_source():
    """Return the hostile module's text, for a kernel to import."""
    with open(hostile.__file__, encoding="utf-8") as file:  # noqa: PTH123 - a module's own path
        return file.read()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_stage_is_accessible(jupyter, rated, theme):
    """axe-core finds nothing wrong while rating, with marks and keys shown, when all is judged, and at the reveal."""
    page = rated(f"axe-{theme[-4:].strip()}", 2)
    jupyter.command(page, "apputils:change-theme", theme=theme)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
    assert violations(page) == []
    panel(page).locator(".judging").focus()
    press(page, "Space", "?")
    assert violations(page) == []
    press(page, "Escape", "1", "2")
    assert violations(page) == []
    press(page, "f")
    panel(page).locator(".verdict").wait_for()
    assert violations(page) == []


def test_a_vote_in_python_moves_the_panel_on(jupyter, rated):
    """What a script votes is seen in the panel at once, and the panel goes on from there."""
    page = rated("python")
    jupyter.run_code(page, "judge.vote('left', ms=10)")
    panel(page).get_by_text("1 of 9 judged").wait_for()
    panel(page).locator(".judging").focus()
    press(page, "2")
    assert votes(jupyter, "python", "choice") == [("left",), ("right",)]
