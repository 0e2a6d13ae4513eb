"""Take the pictures in docs/images anew: every panel in a real JupyterLab, in the light theme and in the dark one.

    python tools/pictures.py            all of them
    python tools/pictures.py matrix     some of them

They show the studies in experiments.db, on a copy, so that nothing is written there. Needs Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from playwright.sync_api import Page  # noqa: E402 - after the path to the tests' browser

from labdrive import Jupyter, find_chromium, open_browser  # noqa: E402

FOLDER = ROOT / "docs" / "images"
COLORS = 96  # a panel has few; the files stay small
WIDTH = 1180

SETUP = """
from promptlab import Lab
lab = Lab("experiments.db", offline=True)
run = lab.load("explaining")
"""
LIVE = """
import asyncio, random
from promptlab import ParameterGrid, PromptTemplate, RateLimits
from promptlab.testing import ScriptedBackend, error_reply

words = "the answer a child would like is short and true and has one picture in it".split()
chance = random.Random(3)
async def answer(body):
    await asyncio.sleep(0.12)
    if chance.random() < 0.02:
        return error_reply(500, "the server had an error", type="server_error")
    if "17" in body["messages"][-1]["content"]:
        return error_reply(400, "this question is refused", code="content_policy_violation")
    return " ".join(chance.choices(words, k=chance.randint(6, 24)))
live = Lab("live.db", backend=ScriptedBackend(answer), limits=RateLimits(concurrency=12))
grid = ParameterGrid(model="my-model", temperature=[0, 0.4, 0.8, 1.2], max_tokens=60)
cases = [{"question": f"question {number}"} for number in range(60)]
prompts = [PromptTemplate(name, system=name, user="{{ question }}") for name in ("plain", "friendly", "curious")]
going = live.start(prompts, grid, cases=cases, name="three tones")
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: the cells, of which the last shows the panel, and what is done before it is taken."""

    cells: tuple[str, ...]
    then: Callable[[Page], None]
    height: int = 900


def _wait(page: Page) -> None:
    page.wait_for_timeout(400)


def _matrix(page: Page) -> None:
    page.locator(".grid").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "-", "ArrowDown", "+"):
        page.keyboard.press(key)
        page.wait_for_timeout(120)


def _drawer(page: Page) -> None:
    _matrix(page)
    page.keyboard.press("Enter")
    page.wait_for_timeout(600)


def _judge(page: Page) -> None:
    page.locator(".judging").focus()
    for key in ("1", "2", "2"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)


def _reveal(page: Page) -> None:
    page.wait_for_timeout(300)


def _history(page: Page) -> None:
    page.locator(".grid").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_timeout(600)


def _monitor(page: Page) -> None:
    page.wait_for_timeout(5_000)


COMPARE = """run.compare(
    rows="question", columns=["template", "temperature"], baseline={"template": "friendly", "temperature": 0}
)"""
JUDGE = (
    "judge = run.judge(a={'template': 'plain'}, b={'template': 'friendly'}, n=20, seed=2,\n"
    "                  criterion='Which answer would a child understand?')"
)
VOTES = """
while judge.pair:
    left, right = (len(text) for text in (judge.pair.left, judge.pair.right))
    judge.vote("tie" if abs(left - right) < 60 else "left" if left < right else "right", ms=4_000)
judge.finish()
judge
"""
PICTURES = {
    "matrix": Picture((SETUP, COMPARE), _matrix),
    "drawer": Picture((SETUP, COMPARE), _drawer, height=1200),
    "judge": Picture((SETUP, f"{JUDGE}\njudge"), _judge),
    "verdict": Picture((SETUP, JUDGE, VOTES), _reveal),
    "history": Picture((SETUP, "lab.history()"), _history),
    "versions": Picture((SETUP, "lab.diff('friendly@1', 'friendly@2')"), _wait),
    "monitor": Picture((SETUP + LIVE,), _monitor),
}


def main(names: list[str]) -> None:
    """Take the pictures named, or all."""
    if unknown := set(names) - set(PICTURES):
        sys.exit(f"no picture {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    executable = find_chromium()
    if executable is None:
        sys.exit("no Chromium found: install it, or set PROMPTLAB_CHROMIUM to its path")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open_browser(executable) as browser:
        for theme in ("light", "dark"):
            named = f"JupyterLab {theme.title()}"
            with tempfile.TemporaryDirectory() as folder, Jupyter(browser, Path(folder), theme=named) as jupyter:
                for name in names or PICTURES:
                    _take(jupyter, name, FOLDER / f"{name}-{theme}.png")


def _take(jupyter: Jupyter, name: str, path: Path) -> None:
    picture = PICTURES[name]
    shutil.copy(ROOT / "experiments.db", jupyter.server.root / "experiments.db")
    (jupyter.server.root / "live.db").unlink(missing_ok=True)
    jupyter.write(f"{name}.ipynb", *picture.cells)
    page = jupyter.open(f"{name}.ipynb", run=False)
    page.set_viewport_size({"width": WIDTH, "height": picture.height})
    jupyter.run_all(page)
    panel = page.locator(".promptlab-panel section.panel")
    panel.wait_for()
    page.wait_for_timeout(600)
    picture.then(page)
    image = Image.open(io.BytesIO(panel.screenshot())).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    jupyter.close_pages()


if __name__ == "__main__":
    main(sys.argv[1:])
