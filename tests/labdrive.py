"""Drive JupyterLab or Notebook 7 in a real Chromium, as a person would.

    with open_browser(find_chromium()) as browser, Jupyter(browser, tmp_path) as jupyter:
        jupyter.write("demo.ipynb", "print(6 * 7)")
        page = jupyter.open("demo.ipynb")                # opened, all cells run, kernel idle, painted
        page.locator("button", has_text="Go").click()
        jupyter.idle(page)
        page.screenshot(path="demo.png")

The server listens on loopback with configuration, settings and data folders of its own, so that a user's JupyterLab is
neither used nor changed. Pages reach nothing but that server: other requests are cut and listed in `Jupyter.blocked`.

By hand: `python tests/labdrive.py notebooks/01-name.ipynb picture.png`.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

App = Literal["lab", "notebook"]
Settings = Mapping[str, Mapping[str, Any]]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--no-pings",
    "--mute-audio",
    "--enable-precise-memory-info",
]
MODULES = {"lab": "jupyterlab", "notebook": "notebook"}
CLASSES = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}
PATHS = {"lab": "doc/tree", "notebook": "notebooks"}
SETTINGS: Settings = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # every cell is in the DOM
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
}
START_S, STOP_S, API_S = 60.0, 10.0, 20.0
WAIT_MS = 60_000  # a cell that runs a local model on a busy machine takes its time

NOTEBOOK = "window.jupyterapp.shell.currentWidget"
IS_OPEN = f"""() => {{
    const context = window.jupyterapp && {NOTEBOOK} && {NOTEBOOK}.context
    const session = context && context.sessionContext
    return !!(session && context.isReady && session.isReady && session.session && session.session.kernel
        && session.session.kernel.status === 'idle') }}"""
IS_IDLE = f"""() => {NOTEBOOK}.context.sessionContext.session.kernel.status === 'idle'
    && {NOTEBOOK}.content.widgets.every(({{model}}) => model.type !== 'code' || model.executionState !== 'running')"""
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
# `evaluate` has no time limit, so a page must not be asked to wait for its own cells: it sets a flag instead.
RUN_ALL = """() => { window.__ranAll = false
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.__ranAll = true }) }"""
COMMAND = "([command, args]) => window.jupyterapp.commands.execute(command, args).then(() => null)"
RUN_CODE = f"""async code => {{
    let text = ''
    const future = {NOTEBOOK}.context.sessionContext.session.kernel.requestExecute({{code, store_history: false}})
    future.onIOPub = message => {{
        if (message.header.msg_type === 'stream') text += message.content.text
        if (message.header.msg_type === 'error') text += message.content.ename + ': ' + message.content.evalue }}
    await future.done
    return text }}"""


def find_chromium() -> str | None:
    """Return the path of Chromium or Chrome: PROMPTLAB_CHROMIUM, else the first on PATH, else None."""
    return os.environ.get("PROMPTLAB_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextlib.contextmanager
def open_browser(executable: str) -> Iterator[Browser]:
    """Open a headless browser; while it is open, `asyncio.run` fails in this thread (playwright's loop is running)."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class JupyterServer:
    """A JupyterLab or Notebook server on loopback, with nothing of the user's own."""

    def __init__(self, root: Path, *, app: App = "lab", settings: Settings | None = None) -> None:
        self.root, self.app = root.resolve(), app
        self.token = secrets.token_hex(12)
        self._settings = {**SETTINGS, **(settings or {})}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labdrive-")))
            self._write_settings()
            self.url = f"http://127.0.0.1:{_free_port()}"
            log = stack.enter_context((self._folder / "server.log").open("wb"))
            self._process = subprocess.Popen(
                self._command(), cwd=self.root, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(self._stop)
            self._wait_until_up()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def api(self, path: str, *, method: str = "GET") -> Any:
        """Call the server's REST API, and return its JSON."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=API_S) as reply:
            body = reply.read()
        return json.loads(body) if body else None

    def log(self) -> str:
        """Return what the server has written so far."""
        return (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def close_sessions(self) -> None:
        """Shut every kernel down."""
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", method="DELETE")

    def _write_settings(self) -> None:
        for plugin, values in self._settings.items():
            path = self._folder / "settings" / (plugin.replace(":", "/") + ".jupyterlab-settings")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def _command(self) -> list[str]:
        name = CLASSES[self.app]
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.url.rpartition(":")[2],
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root,
            "IdentityProvider.token": self.token,
            f"{name}.expose_app_in_browser": True,  # window.jupyterapp: commands and kernel state, steadier than menus
            f"{name}.user_settings_dir": self._folder / "settings",
            f"{name}.workspaces_dir": self._folder / "workspaces",
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "LabApp.news_url": None,
            "LabApp.extension_manager": "readonly",
        }
        flags = [f"--{option}={value}" for option, value in options.items()]
        return [sys.executable, "-m", MODULES[self.app], "--no-browser", "--allow-root", *flags]

    def _environment(self) -> dict[str, str]:
        # Coverage is not carried into the server: it would trace all of JupyterLab.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        return inherited | {
            "JUPYTER_CONFIG_DIR": str(self._folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._folder / "runtime"),
            "JUPYTER_DATA_DIR": str(self._folder / "data"),
            "JUPYTERLAB_SETTINGS_DIR": str(self._folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._folder / "workspaces"),
            "IPYTHONDIR": str(self._folder / "ipython"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.api("status")
                return
            time.sleep(0.05)
        msg = f"Jupyter did not start in {START_S:.0f} s; it wrote:\n{self.log()}"
        raise RuntimeError(msg)

    def _stop(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.close_sessions()  # kernels run in sessions of their own and would outlive the server
            self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Jupyter:
    """A Jupyter server and a browser window on it.

    `console` holds the page's console messages and uncaught errors as (type, text), `blocked` the addresses outside the
    server that it asked for; both start afresh with every `open`.
    """

    def __init__(
        self,
        browser: Browser,
        root: Path,
        *,
        app: App = "lab",
        theme: str | None = None,
        settings: Settings | None = None,
        viewport: tuple[int, int] = (1280, 900),
    ) -> None:
        chosen = {"@jupyterlab/apputils-extension:themes": {"theme": theme, "adaptive-theme": False}} if theme else {}
        self.server = JupyterServer(root, app=app, settings={**chosen, **(settings or {})})
        self.root = root
        self.console: list[tuple[str, str]] = []
        self.blocked: list[str] = []
        self._browser, self._viewport = browser, viewport

    def __enter__(self) -> Self:
        self.server.__enter__()
        width, height = self._viewport
        self._context = self._browser.new_context(viewport={"width": width, "height": height})
        self._context.set_default_timeout(WAIT_MS)
        self._context.route(self._is_outside, self._block)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._context.close()
        self.server.__exit__(*exc_info)

    def write(self, name: str, *cells: str) -> None:
        """Write a notebook of code cells into the server's folder."""
        (self.root / name).write_text(json.dumps(_notebook(cells)), encoding="utf-8")

    def open(self, name: str, *, run: bool = True) -> Page:
        """Open a notebook in a new page, and run all its cells."""
        self.console.clear()
        self.blocked.clear()
        page = self._context.new_page()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.console.append(("pageerror", str(error))))
        page.goto(f"{self.server.url}/{PATHS[self.server.app]}/{name}?token={self.server.token}")
        page.wait_for_function(IS_OPEN)
        if run:
            self.run_all(page)
        return page

    def run_all(self, page: Page) -> None:
        """Run all cells, and wait until they are done and painted."""
        page.evaluate(RUN_ALL)
        page.wait_for_function("() => window.__ranAll")
        self.idle(page)

    def idle(self, page: Page) -> None:
        """Wait until no cell runs, the kernel is idle, and two frames were painted."""
        page.wait_for_function(IS_IDLE)
        page.evaluate(TWO_FRAMES)

    def command(self, page: Page, command: str, **args: Any) -> None:
        """Execute one of JupyterLab's commands, such as `kernelmenu:interrupt`."""
        page.evaluate(COMMAND, [command, args])

    def run_code(self, page: Page, code: str) -> str:
        """Execute code in the notebook's kernel without a cell; return what it printed, and its error."""
        return str(page.evaluate(RUN_CODE, code))

    def save(self, page: Page) -> None:
        """Save the notebook."""
        self.command(page, "docmanager:save")

    def close_pages(self) -> None:
        """Close every page and its kernel, so that the next test meets nothing of the last."""
        for page in self._context.pages:
            page.close()
        self.server.close_sessions()

    def _is_outside(self, url: str) -> bool:
        return not url.startswith((self.server.url, "data:", "blob:"))

    def _block(self, route: Route) -> None:
        self.blocked.append(route.request.url)
        route.abort()

    def _note_console(self, message: ConsoleMessage) -> None:
        self.console.append((message.type, message.text))


def _notebook(cells: Sequence[str]) -> dict[str, Any]:
    """Return a notebook in format 4.5; without the kernel's name JupyterLab would ask for one."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [{**empty, "id": f"cell-{number}", "source": source} for number, source in enumerate(cells)],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _main(notebook: str, picture: str) -> None:
    path = Path(notebook).resolve()
    executable = find_chromium()
    if executable is None:
        sys.exit("no Chromium found: install it, or set PROMPTLAB_CHROMIUM to its path")
    with open_browser(executable) as browser, Jupyter(browser, path.parent) as jupyter:
        jupyter.open(path.name).screenshot(path=picture)


if __name__ == "__main__":
    _main(*sys.argv[1:])
