"""A panel: what a user holds, what a reader sees, and what a browser may ask for.

A panel is plain Python and works without Jupyter: its state, a closed set of operations, a static snapshot, a text.
In a notebook its output is the snapshot as HTML and nothing else, so a reader without a kernel never meets an error.
The live panel mounts itself into that HTML when the browser hears of its widget. (The usual bundle of widget and HTML
was tried on JupyterLab 4.6 and Notebook 7.6: in a trusted notebook with a new kernel it shows "Loading widget..." or
"Error displaying widget", for ever.)

Operations may be called on any thread: JupyterLab delivers messages on the main thread and on subshells. Every one runs
under the panel's lock. What it raises is shown in the panel.
"""

from __future__ import annotations

import math
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from promptlab import _text
from promptlab._json import utf8
from promptlab.errors import PromptlabError

if TYPE_CHECKING:
    from promptlab.panels._widget import PanelWidget

P = ParamSpec("P")
R = TypeVar("R")

PACE_S = 0.1  # ten updates a second: Jupyter's server drops messages above 1,000 a second in all
MOST_PX = 640  # of a snapshot's height
LIVE_HINT = "run this cell for the live panel"

_OPERATION = "_is_operation"


def operation(method: Callable[P, R]) -> Callable[P, R]:
    """Let a browser call this method by its name; its arguments are checked against its annotations."""

    @wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        answer: R = _checked(method)(*args, **kwargs)
        return answer

    setattr(checked, _OPERATION, True)
    return checked


@cache
def _checked(method: Callable[P, R]) -> Callable[P, R]:
    from pydantic import ConfigDict, validate_call  # noqa: PLC0415 - costs 0.1 s, so only where a browser asks

    checked: Callable[P, R] = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(method)
    return checked


class Panel:
    """What every panel has in common.

    A panel gives `view`, `label`, `first` and `snapshot`, its own `__repr__`, operations, and `update` where it follows
    something that goes on.
    """

    #: The module in `static/` that draws it: its exported function `view`.
    view: ClassVar[str]
    #: What screen readers call it.
    label: ClassVar[str]

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._key = secrets.token_hex(8)  # by which the browser finds the place of the live panel
        self._follower: threading.Thread | None = None

    def first(self) -> dict[str, Any]:
        """Return what the browser draws first, without asking: enough to show something when the kernel is gone."""
        raise NotImplementedError

    def snapshot(self) -> str:
        """Return what a reader without a kernel sees, as HTML of `promptlab._text`'s making."""
        raise NotImplementedError

    def update(self, *, whole: bool) -> dict[str, Any] | None:
        """Return what changed since the last update, or with `whole` all of it; None when there is nothing to tell."""
        raise NotImplementedError

    @cached_property
    def widget(self) -> PanelWidget:
        """The live panel as an ipywidget: for a `VBox`, and where HTML cannot hold it (VS Code, Colab)."""
        from promptlab.panels._widget import PanelWidget  # noqa: PLC0415 - loads ipywidgets, so only where it is shown

        return PanelWidget(self, key=self._key, first=plain(self.first()))

    @operation
    def hello(self) -> dict[str, Any]:
        """Return `first` as it is now: a browser asks for it when it draws, also after a reload."""
        return self.first()

    def handle(self, message: Any) -> dict[str, Any]:
        """Answer one message of a browser: its result, or why there is none. Nothing is raised."""
        message = message if isinstance(message, dict) else {}
        name, arguments = message.get("op"), message.get("args")
        try:
            with self._lock:
                answer = self._operation(name)(**(arguments if isinstance(arguments, dict) else {}))
            return {"re": message.get("re"), "answer": plain(answer)}
        except Exception as exc:  # noqa: BLE001 - whatever it is, the person at the panel has to see it
            return {"re": message.get("re"), "error": _reason(exc, str(name))}

    def send(self, content: Mapping[str, Any]) -> None:
        """Tell all browsers something now; for what comes often, `follow` keeps the pace."""
        if "widget" in self.__dict__:
            self.widget.tell({"push": plain(content)})

    def follow(self, is_ended: Callable[[], bool]) -> None:
        """Send updates until something has ended, at most ten a second, and then the whole last state."""
        with self._lock:
            if self._follower is None:
                self._follower = threading.Thread(target=self._follow, args=(is_ended,), daemon=True)
                self._follower.start()

    def _follow(self, is_ended: Callable[[], bool], wait: Callable[[float], object] | None = None) -> None:
        pause, is_last = wait or threading.Event().wait, False
        while not is_last:
            while not is_last:
                pause(PACE_S)
                is_last = is_ended()
                self._tell_update(whole=is_last)
            pause(10 * PACE_S)  # a burst elsewhere can swallow messages, and the last one is what stays on the screen
            self._tell_update(whole=True)
            with self._lock:  # whoever begins something again meanwhile is followed, or finds no follower
                is_last = is_ended()
                self._follower = None if is_last else self._follower

    def _tell_update(self, *, whole: bool) -> None:
        try:
            with self._lock:
                content = self.update(whole=whole)
        except Exception as exc:  # noqa: BLE001 - this thread has nobody else to tell
            content = {"error": _reason(exc, "update")}
        if content is not None:
            self.send(content)

    def _operation(self, name: Any) -> Callable[..., Any]:
        method = getattr(self, name, None) if isinstance(name, str) else None
        if not getattr(method, _OPERATION, False):
            msg = f"this panel has no operation {_text.brief(name)}"
            raise PromptlabError(msg)
        return method  # type: ignore[return-value]  # an operation is callable

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if is_in_kernel():
            self.widget  # noqa: B018 - made now, so that the browser knows it when it draws the HTML
        return {"text/plain": repr(self), "text/html": self.html()}

    def html(self) -> str:
        """Return the snapshot in the place where the live panel mounts itself.

        It is no higher than a panel: Notebook 7 makes a cell with a longer output a small scrolling window, for good.
        """
        snapshot = f'<div style="max-height:{MOST_PX}px;overflow:auto">{self.snapshot()}</div>'
        return f'<div class="promptlab-panel promptlab-{self._key}">{snapshot}</div>'


def is_in_kernel() -> bool:
    """Return whether this is a Jupyter kernel, which may have a browser that draws panels."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


def plain(value: Any) -> Any:
    """Return a value that JSON and UTF-8 can carry: no NaN, no half surrogate pairs, no types of numpy or pandas."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {utf8(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return plain(value.item()) if hasattr(value, "item") else utf8(str(value))  # a number of numpy, or a time


def _reason(exc: Exception, name: str) -> str:
    """Return an exception as one message for the person at the panel."""
    if isinstance(exc, PromptlabError):
        return _text.clipped(str(exc), 500)
    if type(exc).__name__ == "ValidationError" and hasattr(exc, "errors"):
        problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors()]
        return _text.clipped(f"{name}: {'; '.join(problems)}", 500)
    return _text.clipped(f"{type(exc).__name__} in {name}: {exc}", 500)
