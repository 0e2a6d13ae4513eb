"""The page on the analysis: its examples run, and its tables of columns are the code's."""

from pathlib import Path

import pytest

from promptlab.analysis import contrasts, rankings, shares, summaries, varieties
from test_readme import run_script, script

PAGE = Path(__file__).parent.parent / "docs" / "analysis.md"


@pytest.fixture(scope="module")
def page():
    """The text of the page."""
    return PAGE.read_text(encoding="utf-8")


def test_the_examples_run(page, tmp_path):
    """Every Python block runs, in order, as a user would paste it."""
    done = run_script(script(page), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", [summaries, contrasts, shares, rankings, varieties])
def test_every_column_is_documented(page, room):
    """The page has the table of columns that the room declares, in its order and words."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in room.COLUMNS.items()]
    assert "\n".join(["| column | what it holds |", "| --- | --- |", *rows]) in page
