"""What tests share: a server that fails on purpose, a browser, and JupyterLab in it.

The browser fixtures skip by name where there is no Chromium, and fail with PROMPTLAB_REQUIRE_BROWSER=1 (as CI sets).
Tests marked `soak` take minutes, and are skipped unless PROMPTLAB_SOAK=1 (as `make soak` sets).
"""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

from comparisons import lab_of, run_in
from faultserver import FaultServer
from labdrive import Jupyter, find_chromium, open_browser

# No time limit, since machines are slow at times, and the same examples in every run.
settings.register_profile("promptlab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("promptlab")


@pytest.fixture
def fault_server():
    """A fresh OpenAI-compatible server on loopback that answers well until told otherwise."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def capitals_file(tmp_path_factory):
    """A file with the run `capitals`, whose answer for Japan differs once in three times when the temperature is 1."""
    path = tmp_path_factory.mktemp("recorded") / "compared.db"
    with lab_of(path) as lab:
        run_in(lab)
    return path


@pytest.fixture
def capitals(capitals_file, tmp_path):
    """A lab on a copy of that file."""
    with lab_of(shutil.copy(capitals_file, tmp_path)) as lab:
        yield lab


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for the session; a test makes its own pages with `browser.new_page()`."""
    executable = find_chromium()
    if executable is None:
        report = pytest.fail if os.environ.get("PROMPTLAB_REQUIRE_BROWSER") == "1" else pytest.skip
        report("no Chromium found: install it, or set PROMPTLAB_CHROMIUM to its path")
    with open_browser(executable) as browser:
        yield browser


@pytest.fixture(scope="session")
def _session_jupyter(browser, tmp_path_factory):
    with Jupyter(browser, tmp_path_factory.mktemp("notebooks")) as jupyter:
        yield jupyter


@pytest.fixture
def jupyter(_session_jupyter):
    """JupyterLab in the session's browser, without the pages and kernels of earlier tests."""
    yield _session_jupyter
    _session_jupyter.close_pages()


def pytest_configure():
    """Forget the user's keys, so that no test can ever send a request that somebody pays for."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items):
    """Skip what takes minutes, and run the browser last: while it is open, asyncio.run fails in this thread."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if item.get_closest_marker("soak") and os.environ.get("PROMPTLAB_SOAK") != "1":
            item.add_marker(pytest.mark.skip(reason="takes minutes; run it with `make soak`"))
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
