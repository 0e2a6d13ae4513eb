"""The pages in docs: their examples run as a user would paste them, and every page is linked from somewhere."""

from pathlib import Path

import pytest

from test_readme import ROOT, run_script, script

PAGES = sorted((ROOT / "docs").glob("*.md"))
TESTED_ELSEWHERE = {"analysis.md", "export.md", "panels.md", "plots.md", "race.md"}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in TESTED_ELSEWHERE], ids=lambda page: page.stem
)
def test_the_examples_run(page, tmp_path):
    """Every Python block of a page runs, in order."""
    done = run_script(script(page.read_text(encoding="utf-8")), tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_page_is_linked():
    """The README, or another page, leads to each."""
    texts = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *PAGES]}
    lost = [
        page.name
        for page in PAGES
        if not any(f"{page.name})" in text or f"{page.name}#" in text for path, text in texts.items() if path != page)
    ]
    assert lost == []


def test_every_page_is_tested_by_somebody():
    """A page named as tested elsewhere is named in another test."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in TESTED_ELSEWHERE - {"panels.md"} if tests.count(f'"{name}"') < 2] == []
