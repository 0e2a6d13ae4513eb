"""The driver of JupyterLab: what a person would see and do."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest


def test_a_notebook_is_opened_run_and_saved(jupyter):
    """Cells run in the kernel, their outputs are on the page and, once saved, in the file."""
    jupyter.write("tiny.ipynb", "answer = 6 * 7", "print('the answer is', answer)")
    page = jupyter.open("tiny.ipynb")
    assert page.locator(".jp-OutputArea-output").all_inner_texts() == ["the answer is 42\n"]
    assert jupyter.run_code(page, "print(answer + 1)") == "43\n"
    jupyter.save(page)
    cells = nbformat.read(jupyter.root / "tiny.ipynb", as_version=4).cells
    assert [output.text for output in cells[1].outputs] == ["the answer is 42\n"]


def test_an_error_in_the_kernel_is_returned(jupyter):
    """Code that raises returns its error as text."""
    jupyter.write("error.ipynb", "ready = True")
    page = jupyter.open("error.ipynb")
    assert jupyter.run_code(page, "1 / 0") == "ZeroDivisionError: division by zero"


def test_pages_reach_nothing_but_the_server(jupyter):
    """A picture from outside is not fetched, and the attempt is noted."""
    picture = "http://outside.invalid/picture.png"
    jupyter.write("outside.ipynb", f"from IPython.display import HTML\nHTML('<img src=\"{picture}\">')")
    jupyter.open("outside.ipynb")
    assert set(jupyter.blocked) == {picture}


def test_each_test_meets_an_empty_jupyterlab(jupyter):
    """No kernel of an earlier test is left."""
    assert jupyter.server.api("sessions") == []


@pytest.mark.parametrize(
    ("required", "outcome"), [pytest.param("0", "1 skipped", id="skipped"), pytest.param("1", "1 error", id="failed")]
)
def test_a_missing_browser_is_named(required, outcome):
    """Without Chromium a browser test is skipped with the reason, and fails where the browser is required."""
    environment = {**os.environ, "PATH": "", "PROMPTLAB_CHROMIUM": "", "PROMPTLAB_REQUIRE_BROWSER": required}
    test = f"{Path(__file__)}::test_an_error_in_the_kernel_is_returned"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"{outcome} in" in done.stdout
    assert "no Chromium found" in done.stdout
