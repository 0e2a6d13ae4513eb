"""The run monitor in a real JupyterLab: alive in a blocked cell, obeyed there, and what it leaves in the notebook."""

import json
import os
import re
import signal

import pytest

from labdrive import IS_IDLE, RUN_ALL
from test_in_jupyter import script

STATE = ".monitor .state"
VALUES = ".monitor .fact .value"
IN_FLIGHT = 4


@pytest.fixture
def begin(jupyter, fault_server):
    """Return a function that opens a notebook with a sweep against a slow server, and begins its cells."""

    def begin(name, *cells, cases=30, latency_ms=150, **options):
        fault_server.set(latency_ms=latency_ms)
        jupyter.write(f"{name}.ipynb", script(fault_server, file=f"{name}.db", cases=cases, **options), *cells)
        page = jupyter.open(f"{name}.ipynb", run=False)
        page.evaluate(RUN_ALL)
        page.wait_for_selector(STATE)
        return page

    return begin


def until(page, word):
    """Wait until the monitor says that the run is in some state."""
    page.locator(STATE, has_text=word).first.wait_for()


def ended(page):
    """Return how many trials have an end, as the monitor shows it."""
    return int(page.locator(VALUES).first.inner_text().split("/")[0].replace(",", ""))


def until_ended(page, number):
    """Wait until so many trials have an end."""
    while ended(page) < number:
        page.wait_for_timeout(50)


def is_busy(page):
    """Whether a cell blocks the kernel."""
    return not page.evaluate(IS_IDLE)


def saved(jupyter, page, name):
    """Save the notebook, and return its cells' outputs."""
    jupyter.save(page)
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    return [cell["outputs"] for cell in json.loads((jupyter.root / f"{name}.ipynb").read_text())["cells"]]


def test_a_blocked_cell_shows_its_run_live_and_leaves_its_end(jupyter, begin):
    """Figures and squares change while the cell blocks; what is saved is the end, under a name that does not change."""
    page = begin("live", "run = lab.run(plan, concurrency=4, name='live')")
    until_ended(page, 8)
    assert (is_busy(page), page.locator(f"{STATE}").inner_text()) == (True, "● running")
    assert page.locator(".monitor .map .square.o").count() >= 8
    until(page, "done")
    jupyter.idle(page)
    assert page.locator(".monitor .map .square.o").count() == 60
    assert jupyter.run_code(page, "print(run.status)") == "done\n"
    (output,) = saved(jupyter, page, "live")[1]
    html = "".join(output["data"]["text/html"])
    assert "".join(output["data"]["text/plain"]) == "<Monitor of run 1 'live'>"
    assert (">done<" in html, ">60: 60 ok<" in html, ">30 ok<" in html, "<script" in html) == (True, True, True, False)
    assert not [each for each in jupyter.console if each[0] in {"error", "pageerror"}]


def test_a_blocked_cell_is_paused_and_stopped_from_its_panel(jupyter, begin, fault_server):
    """A key pauses and a click stops while the cell blocks; what is in flight is logged, and the next line runs."""
    page = begin("stop", "run = lab.run(plan, concurrency=2); print('went on')")
    until_ended(page, 3)
    page.locator(".monitor .run-name").click()
    page.keyboard.press("p")
    until(page, "paused")
    page.locator(VALUES).nth(IN_FLIGHT).filter(has_text=re.compile("^0 / ")).wait_for()
    assert is_busy(page)
    sent = fault_server.stats()["requests"]
    page.locator(".monitor button", has_text="Resume").click()
    until(page, "running")
    until_ended(page, sent + 2)
    page.locator(".monitor button", has_text="Stop").click()
    page.locator(".monitor .question button", has_text="Stop").click()
    until(page, "stopped")
    jupyter.idle(page)
    stats = fault_server.stats()
    assert (stats["delivered"], sent < stats["requests"] < 60) == (stats["requests"], True)
    assert jupyter.run_code(page, "print(run.status, run.reason)") == "stopped stopped by its user\n"
    assert page.locator(".jp-OutputArea-output", has_text="went on").count() == 1


def test_a_run_in_the_background_is_stopped_by_key(jupyter, begin, fault_server):
    """After lab.start the panel is heard at once: s asks, Escape takes it back, s and Enter stop, r goes on."""
    page = begin("keys", "run = lab.start(plan, concurrency=2)", "print('next')")
    until_ended(page, 2)
    assert not is_busy(page)
    assert (
        page.locator(".monitor .note").inner_text() == "It runs in the background; the kernel is free for other cells."
    )
    page.locator(".monitor .run-name").click()
    page.keyboard.press("s")
    page.locator(".monitor .question").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".monitor .question").is_hidden()
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    until(page, "stopped")
    stopped = fault_server.stats()["requests"]
    assert stopped < 60
    fault_server.set(latency_ms=0)
    page.keyboard.press("r")
    until(page, "done")
    assert (ended(page), fault_server.stats()["requests"]) == (60, 60)
    assert page.locator(".jp-Notebook .jp-Cell").count() == 3  # no key reached the notebook


def test_a_blocked_cell_that_is_stopped_by_key_leaves_the_focus_in_its_panel(jupyter, begin, fault_server):
    """JupyterLab makes the output anew when the run has ended; the next key acts on the panel all the same."""
    page = begin("focus", "run = lab.run(plan, concurrency=2)")
    until_ended(page, 2)
    page.locator(".monitor .run-name").click()
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    until(page, "stopped")
    jupyter.idle(page)
    fault_server.set(latency_ms=0)
    page.wait_for_function("() => document.activeElement.shadowRoot !== null")
    page.keyboard.press("r")
    until(page, "done")
    assert (ended(page), page.locator(".jp-Notebook .jp-Cell").count()) == (60, 2)


def test_the_kernels_interrupt_stops_a_run_and_its_monitor_says_so(jupyter, begin, fault_server):
    """The cell ends with KeyboardInterrupt, what was in flight is logged, and panel and saved output show it."""
    page = begin("interrupt", "lab.run(plan, concurrency=2)")
    until_ended(page, 3)
    assert "The kernel's interrupt button stops it cleanly as well." in page.locator(".monitor .note").inner_text()
    jupyter.command(page, "kernelmenu:interrupt")
    until(page, "stopped")
    jupyter.idle(page)
    stats = fault_server.stats()
    assert (stats["delivered"], stats["requests"] < 60) == (stats["requests"], True)
    monitor, error = saved(jupyter, page, "interrupt")[1]
    assert ("stopped by its user" in "".join(monitor["data"]["text/html"]), error["ename"]) == (
        True,
        "KeyboardInterrupt",
    )


def test_a_trial_opens_with_its_request_and_response(jupyter, begin):
    """Arrow keys choose a square, Enter shows the body and the reply; Escape closes it, and again leaves the panel."""
    page = begin("detail", "run = await lab.start(plan)", cases=4, latency_ms=0)
    until(page, "done")
    jupyter.idle(page)
    page.locator(".monitor .map").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    drawer = page.locator(".monitor .drawer")
    drawer.wait_for()
    request, response = drawer.locator("pre").all_inner_texts()
    assert json.loads(request)["messages"][-1]["content"] == "What is 1?"
    assert json.loads(response)["object"] == "chat.completion"
    page.keyboard.press("Escape")
    assert drawer.is_hidden()
    assert page.evaluate("() => document.activeElement.shadowRoot !== null")
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.shadowRoot === null")


@pytest.mark.parametrize("fault", ["html", "markdown", "rtl"])
def test_a_hostile_newest_output_is_text(jupyter, begin, fault_server, fault):
    """What a model wrote runs nothing in the panel, asks no address outside, and hides nothing."""
    fault_server.set(default=fault)
    page = begin(f"hostile-{fault}", "run = lab.run(plan)", cases=2, latency_ms=50)
    until(page, "done")
    jupyter.idle(page)
    page.locator(".monitor .map .square").first.click()
    page.locator(".monitor .drawer pre").first.wait_for()
    assert page.locator(".monitor .newest-text").inner_text()
    assert page.locator(".monitor :is(img, a, script, iframe, svg, style)").count() == 0
    assert page.evaluate("() => window.__pwned === undefined")
    assert jupyter.blocked == []


COMPUTE = """
import time
end = time.time() + 30
while run.status == "running" and time.time() < end:
    pass
print("seen:", run.status)
"""


def test_a_cell_that_is_busy_with_something_else_does_not_deafen_the_panel(jupyter, begin):
    """A run in the background is stopped while another cell computes, not when that has ended."""
    page = begin("busy", "run = lab.start(plan, concurrency=2)", COMPUTE)
    until_ended(page, 2)
    page.locator(".monitor button", has_text="Stop").click()
    page.locator(".monitor .question button", has_text="Stop").click()
    page.locator(".jp-OutputArea-output", has_text="seen:").wait_for()
    assert page.locator(".jp-OutputArea-output", has_text="seen: stopped").count() == 1


def test_a_monitor_whose_kernel_died_says_so(jupyter, begin):
    """It does not go on to say that the run is running; what was drawn stays."""
    page = begin("dead", "run = lab.start(plan, concurrency=2)", latency_ms=1_000)
    until_ended(page, 2)
    os.kill(int(jupyter.run_code(page, "import os; print(os.getpid())")), signal.SIGKILL)
    until(page, "last seen running")
    assert "No word from the kernel for" in page.locator(".monitor .note").inner_text()
    assert ended(page) >= 2


def test_what_sends_nothing_shows_no_monitor(jupyter, begin, fault_server):
    """A cell that is run again finds every answer in the file, so its output is the same whatever the machine."""
    fault_server.set(latency_ms=0)
    jupyter.write("again.ipynb", script(fault_server, file="again.db"), "run = lab.run(plan)", "run = lab.run(plan)")
    page = jupyter.open("again.ipynb")
    outputs = saved(jupyter, page, "again")
    assert ([len(each) for each in outputs], page.locator(STATE).count()) == ([0, 1, 0], 1)
