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

#: In the order they are joined: a module stands after those it imports from.
MODULES = (
    *("dom", "keys", "rpc", "grid"),
    *("jsonview", "diff", "markdown", "tokens", "draw"),
    *("matrixcells", "matrixbar", "drawer", "matrix"),
    *("monitor",),
    "judge",
    *("history", "versions"),
    "main",
)

_IMPORT = re.compile(r"^import .*? from \"\./\w+\.js\";\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def module() -> str:
    """Return the one ES module that the browser gets: those in `static/` joined, with the stylesheets as a string.

    They import from one another by name, so that editors and node read them as they stand; a browser that gets one
    text has no others to import from. Their names at top level are therefore unique over all of them (test).
    """
    folder = files("promptlab.panels") / "static"
    sheets = sorted(file.name for file in folder.iterdir() if file.name.endswith(".css"))
    styles = "\n".join((folder / name).read_text(encoding="utf-8") for name in sheets)
    texts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in MODULES]
    return "\n".join([f"const STYLES = {dumps(styles)};", *map(_joined, texts)])


def _joined(text: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", text))


class PanelWidget(anywidget.AnyWidget):
    """A panel's end in the kernel; see `promptlab.panels._panel.Panel`, which does the work."""

    view = traitlets.Unicode().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    #: What the browser keeps here: cursor, open drawer, ...; it outlives a reload of the page, and views share it.
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, panel: Panel, *, key: str, first: dict[str, Any]) -> None:
        self._esm = module()
        super().__init__(view=panel.view, key=key, first=first)
        self._panel = panel
        self.on_msg(self._answer)

    def _answer(self, _: object, message: Any, __: object) -> None:
        self.tell(self._panel.handle(message))

    def tell(self, content: dict[str, Any]) -> None:
        """Send a message to all browsers.

        ipykernel 7.4 hands a browser's next message to the thread that sent last on this comm; forgetting that lets a
        click be heard while a cell blocks. The attribute is private, so nothing depends on it: without it clicks wait.
        """
        self.send(content)
        with suppress(AttributeError, KeyError):
            del self.comm.__dict__["_reply_subshell_id"]
