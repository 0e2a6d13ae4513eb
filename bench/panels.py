"""Panels in a real JupyterLab: the matrix on 100,000 outputs, a run of 500 answers a second, and an ipywidgets grid.

Prints one JSON object. Times are of the page: from the command that runs a cell to the frame in which what
was asked for stands, so they hold the kernel's part, the messages and the drawing.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from playwright.sync_api import Page  # noqa: E402 - after the path to the tests' browser

from labdrive import IS_OPEN, TWO_FRAMES, Jupyter, find_chromium, open_browser  # noqa: E402

OUTPUTS, ROWS = 100_000, 12_500
GRID_CELLS = 1_000
JUMPS, SCROLL_S = 40, 3
RATE, LATENCY_S, LIVE_ANSWERS = 500, 0.1, 5_000  # a second, each takes so long; ten seconds of it

OPEN = "from promptlab import Lab\nlab = Lab('large.db', offline=True)\nrun = lab.load(1)"
COMPARE = "run.compare(rows='question', columns=['template', 'temperature'])"
BUILD = f"import time\nt = time.perf_counter()\n{COMPARE}.first()\nprint(time.perf_counter() - t)"
GRID = f"""
import random
import ipywidgets
words = "the model answers with care and cites the source when asked for evidence".split()
texts = [" ".join(random.choices(words, k=90)) for _ in range({GRID_CELLS})]
ipywidgets.GridBox([ipywidgets.HTML(text) for text in texts],
                   layout=ipywidgets.Layout(grid_template_columns="repeat(8, 260px)", height="520px", overflow="auto"))
"""
LIVE = f"""
import asyncio
from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend

async def answer(body):
    await asyncio.sleep({LATENCY_S})
    return "a short answer of some words"

live = Lab("live.db", backend=ScriptedBackend(answer))
cases = [{{"q": str(number)}} for number in range({LIVE_ANSWERS})]
prompt, grid = PromptTemplate("p", user="{{{{ q }}}}"), ParameterGrid(model="m", max_tokens=9)
live_run = live.start(prompt, grid, cases=cases, concurrency={round(RATE * LATENCY_S)})
live_run
"""
#: Run the cell of an index, and give the milliseconds until the element is there and drawn.
PAINTED = """([index, selector]) => new Promise(done => {
    const notebook = window.jupyterapp.shell.currentWidget.content
    notebook.activeCellIndex = index
    const find = root => root.querySelector(selector)
        || [...root.querySelectorAll('*')].map(e => e.shadowRoot && find(e.shadowRoot)).find(Boolean)
    const cell = notebook.widgets[index].node
    const start = performance.now()
    window.jupyterapp.commands.execute('notebook:run-cell')
    const end = () => done(performance.now() - start)
    const look = () => requestAnimationFrame(find(cell) ? end : look)
    look() })"""
IN_PANEL = "[...document.querySelectorAll('.promptlab-panel *')].find(element => element.shadowRoot).shadowRoot"
#: Scroll to a row, and give the milliseconds until it is drawn with its text.
JUMP = f"""index => new Promise(done => {{
    const grid = {IN_PANEL}.querySelector('.grid'), height = grid.querySelector('.grid-row').offsetHeight
    const start = performance.now()
    grid.scrollTop = index * height
    const look = () => {{
        const row = grid.querySelector(`[aria-rowindex="${{index + 2}}"]:not([hidden]):not(.waiting)`)
        if (row) requestAnimationFrame(() => done(performance.now() - start)); else requestAnimationFrame(look) }}
    requestAnimationFrame(look) }})"""
SCROLL = f"""seconds => new Promise(done => {{
    const grid = {IN_PANEL}.querySelector('.grid'), start = performance.now()
    let frames = 0, last = start, worst = 0
    const step = now => {{
        worst = Math.max(worst, now - last); last = now; frames += 1
        grid.scrollTop += 60
        if (now - start < seconds * 1000) requestAnimationFrame(step)
        else done({{fps: frames / ((now - start) / 1000), worst}}) }}
    requestAnimationFrame(step) }})"""
SEARCH = f"""text => new Promise(done => {{
    const root = {IN_PANEL}, input = root.querySelector('input[type=search]'), start = performance.now()
    input.value = text
    input.dispatchEvent(new Event('input', {{bubbles: true}}))
    const look = () => root.querySelector('mark') ? requestAnimationFrame(() => done(performance.now() - start))
        : requestAnimationFrame(look)
    look() }})"""
NODES = f"() => {IN_PANEL}.querySelectorAll('*').length"
FRAMES = """seconds => new Promise(done => {
    const start = performance.now()
    let frames = 0, last = start, worst = 0
    const step = now => {
        worst = Math.max(worst, now - last); last = now; frames += 1
        if (now - start < seconds * 1000) requestAnimationFrame(step)
        else done({fps: frames / ((now - start) / 1000), worst}) }
    requestAnimationFrame(step) })"""


def main() -> None:
    """Measure all of it in one browser, and print it."""
    executable = find_chromium()
    if executable is None:
        print(json.dumps({"skipped": "no Chromium found; install it, or set PROMPTLAB_CHROMIUM to its path"}))
        return
    import matrixfile

    with tempfile.TemporaryDirectory() as folder, open_browser(executable) as browser:
        root = Path(folder)
        matrixfile.make(root / "large.db", OUTPUTS)
        with Jupyter(browser, root) as jupyter:
            print(json.dumps({**_matrix(jupyter), **_grid(jupyter), **_live(jupyter)}))


def _matrix(jupyter: Jupyter) -> dict[str, Any]:
    jupyter.write("matrix.ipynb", OPEN, COMPARE)
    page = jupyter.open("matrix.ipynb", run=False)
    traffic = heard(page)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0 }")
    jupyter.command(page, "notebook:run-cell")
    jupyter.idle(page)
    built = float(
        jupyter.run_code(
            page, f"import time\nt = time.perf_counter()\n{COMPARE}.first()\nprint(time.perf_counter() - t)"
        )
    )
    traffic.clear()
    painted = page.evaluate(PAINTED, [1, ".grid-row .cell .text"])
    messages, kilobytes = traffic.frames, traffic.bytes / 1000
    chance = random.Random(5)
    jumps = [page.evaluate(JUMP, chance.randrange(ROWS)) for _ in range(JUMPS)]
    scrolled = page.evaluate(SCROLL, SCROLL_S)
    nodes = page.evaluate(NODES)
    searched = page.evaluate(SEARCH, "zebra")
    return {
        "built_s": built,
        "painted_s": painted / 1000,
        "messages": messages,
        "kilobytes": kilobytes,
        "jump_ms": median(jumps),
        "jump_p90_ms": quantiles(jumps, n=10)[-1],
        "jump_worst_ms": max(jumps),
        "scroll_fps": scrolled["fps"],
        "nodes": nodes,
        "search_ms": searched,
    }


def _grid(jupyter: Jupyter) -> dict[str, Any]:
    jupyter.write("grid.ipynb", GRID)
    page = jupyter.open("grid.ipynb", run=False)
    traffic = heard(page)
    painted = page.evaluate(PAINTED, [0, f".widget-html:nth-child({GRID_CELLS}) .widget-html-content"])
    nodes = page.evaluate("() => document.querySelectorAll('.jp-OutputArea-output *').length")
    return {
        "grid_painted_s": painted / 1000,
        "grid_nodes": nodes,
        "grid_messages": traffic.frames,
        "grid_kilobytes": traffic.bytes / 1000,
    }


def _live(jupyter: Jupyter) -> dict[str, Any]:
    jupyter.write("live.ipynb", LIVE)
    page = jupyter.open("live.ipynb", run=False)
    traffic = heard(page)
    page.evaluate(PAINTED, [0, "section.monitor"])
    traffic.clear()
    frames = page.evaluate(FRAMES, LIVE_ANSWERS / RATE * 0.8)
    pushes = traffic.pushes / (LIVE_ANSWERS / RATE * 0.8)
    jupyter.run_code(page, "_ = live_run.wait()")
    page.wait_for_timeout(1_500)
    page.evaluate(TWO_FRAMES)
    last = page.locator("section.monitor").first.inner_text()
    return {
        "live_fps": frames["fps"],
        "live_worst_ms": frames["worst"],
        "pushes_a_second": pushes,
        "is_last_shown": f"{LIVE_ANSWERS:,}" in last,
    }


def heard(page: Page) -> Traffic:
    """Return the traffic of a page, loaded again for it: a socket is heard from its beginning or not at all."""
    traffic = Traffic(page)
    page.reload()
    page.wait_for_function(IS_OPEN)
    traffic.clear()
    return traffic


class Traffic:
    """What a page's websockets bring from now on."""

    def __init__(self, page: Page) -> None:
        self.clear()
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def clear(self) -> None:
        """Begin anew."""
        self.frames = self.bytes = self.pushes = 0

    def _count(self, payload: str | bytes) -> None:
        content = payload.encode() if isinstance(payload, str) else payload
        self.frames += 1
        self.bytes += len(content)
        self.pushes += b'"push"' in content


if __name__ == "__main__":
    main()
