"""A panel in a real browser without Jupyter: the real panel answers a widget model that is made up in the page.

Opening one takes a fifth of a second, so that most of a view can be tested here. What needs a notebook around it (its
keys, its themes, other views, a kernel that works or is lost) is tested in JupyterLab.
"""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Browser, Page

from promptlab.panels import _widget
from promptlab.panels._panel import Panel, sendable

_EMPTY = "<!doctype html><html lang='en'><title>panel</title><body><main class='promptlab-panel'></main></body></html>"
#: A model of anywidget: its state is here, and what it sends is answered by `__ask`.
_OPEN = """async ({module, state}) => {
    const heard = {}
    const on = (event, listener) => (heard[event] ??= []).push(listener)
    const off = (event, listener) => { heard[event] = (heard[event] ?? []).filter(one => one !== listener) }
    const hear = messages => { for (const one of messages) for (const fn of heard['msg:custom'] ?? []) fn(one, []) }
    const model = {on, off, get: name => state[name], set: (name, value) => { state[name] = value },
        save_changes: () => {}, send: message => window.__ask(message).then(hear)}
    const {default: widget} = await import(URL.createObjectURL(new Blob([module], {type: 'text/javascript'})))
    await widget.render({model, el: document.querySelector('main'), signal: new AbortController().signal}) }"""


class Wire:
    """What stands in for the widget: it keeps what the panel tells its browsers until they are told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def tell(self, content: dict[str, Any]) -> None:
        """Keep a message."""
        self.told.append(content)


def open_panel(
    browser: Browser, panel: Panel, *, width: int = 1180, height: int = 800, traffic: list[int] | None = None
) -> Page:
    """Return a page with the live panel; faults of its script raise at the next call.

    `traffic` is filled with the size of every message that the browser gets, in bytes.
    """
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(20_000)
    wire = panel.__dict__["widget"] = Wire()

    def ask(message: dict[str, Any]) -> list[dict[str, Any]]:
        answer = panel.handle(message)
        messages, wire.told = [*wire.told, answer], []
        if traffic is not None:
            traffic.extend(len(json.dumps(message).encode()) for message in messages)
        return messages

    page.expose_function("__ask", ask)
    page.set_content(_EMPTY)
    state = {"view": panel.view, "label": panel.label, "key": "k", "first": sendable(panel.first()), "state": {}}
    page.evaluate(_OPEN, {"module": _widget.module(panel.view), "state": state})
    return page
