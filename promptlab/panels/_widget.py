"""The one widget class: it carries the ES module and the first page to the browser, and messages both ways."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from importlib.resources import files
from json import dumps
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

if TYPE_CHECKING:
    from promptlab.panels._panel import Panel

_FOLDER = files("promptlab.panels") / "static"
_IMPORT = re.compile(r"^import .*? from \"\./(\w+)\.js\";\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def module(view: str) -> str:
    """Return the one ES module that the browser gets for a view: those it needs joined, the stylesheets as a string.

    They import from one another by name, so that editors and node read them as they stand; a browser that gets one
    text has no others to import from. The names at top level are therefore unique within what a view needs (test).
    """
    names = modules(view)
    sheets = [_FOLDER / f"{name}.css" for name in ("base", *names)]
    styles = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.is_file())
    texts = (_EXPORT.sub("", _IMPORT.sub("", _text(name))) for name in names)
    return "\n".join([f"const STYLES = {dumps(styles)};", *texts])


def modules(view: str) -> list[str]:
    """Return the names of the modules that a view needs, each after those it imports from."""
    found: list[str] = []

    def add(name: str) -> None:
        for needed in _IMPORT.findall(_text(name)):
            add(needed)
        if name not in found:
            found.append(name)

    add(view)
    add("main")
    return found


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.js").read_text(encoding="utf-8")


class PanelWidget(anywidget.AnyWidget):
    """A panel's end in the kernel; see `promptlab.panels._panel.Panel`, which does the work."""

    view = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    #: What the browser keeps here: cursor, open drawer, ...; it outlives a reload of the page, and views share it.
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, panel: Panel, *, key: str, first: dict[str, Any]) -> None:
        self._esm = module(panel.view)
        super().__init__(view=panel.view, label=panel.label, key=key, first=first)
        self._panel = panel
        self.on_msg(self._answer)
        self._forget_thread()

    def _answer(self, _: object, message: Any, __: object) -> None:
        self.tell(self._panel.handle(message))

    def tell(self, content: dict[str, Any]) -> None:
        """Send a message to all browsers."""
        self.send(content)
        self._forget_thread()

    def _forget_thread(self) -> None:
        """Let the next message of a browser be heard while a cell blocks.

        ipykernel 7.4 hands it to the thread that sent last on this comm, or opened it. The attribute is private, so
        nothing depends on it: without it clicks wait for the cell.
        """
        with suppress(AttributeError, KeyError):
            del self.comm.__dict__["_reply_subshell_id"]
