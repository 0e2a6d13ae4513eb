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

import os
import secrets
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property, wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from promptlab import _text
from promptlab._json import plain, utf8
from promptlab.errors import NotFoundError, PromptlabError

if TYPE_CHECKING:
    from promptlab.panels._widget import PanelWidget
    from promptlab.store import Store

P = ParamSpec("P")
R = TypeVar("R")

PACE_S = 0.1  # ten updates a second: Jupyter's server drops messages above 1,000 a second in all
MOST_PX = 640  # of a snapshot's height
QUIET_S = 600.0  # without any change: whoever worked on what is followed is probably gone; `hello` begins again
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

    A panel gives `view`, `label`, `first` and `snapshot`, its own `__repr__`, operations, and where it follows
    something that goes on `update` and `may_rest`.

    Parameters
    ----------
    store
        The file that a panel that follows something reads.
    now_s
        The time, for tests: a monotonic clock in seconds.
    """

    #: The module in `static/` that draws it: its exported function `view`.
    view: ClassVar[str]
    #: What screen readers call it.
    label: ClassVar[str]

    def __init__(self, store: Store | None = None, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self._source, self._closings = store, 0 if store is None else store.closings
        self._lock = threading.RLock()
        self._key = secrets.token_hex(8)  # by which the browser finds the place of the live panel
        self._follower: threading.Thread | None = None
        self._places: list[str] = []  # the ids of the outputs that `renew` renews

    def first(self) -> dict[str, Any]:
        """Return what the browser draws first, without asking: enough to show something when the kernel is gone."""
        raise NotImplementedError

    def snapshot(self) -> str:
        """Return what a reader without a kernel sees, as HTML of `promptlab._text`'s making."""
        raise NotImplementedError

    def update(self, *, whole: bool) -> dict[str, Any] | None:
        """Return what changed since the last update, or with `whole` all of it; None when there is nothing to tell."""
        raise NotImplementedError

    def may_rest(self) -> bool:
        """Whether there is nothing to follow any more."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether the lab was closed since this panel was made: it follows nothing any more, and starts nothing."""
        return self._source is not None and self._source.closings != self._closings

    @property
    def lock(self) -> threading.RLock:
        """What everything that looks at the panel's state holds."""
        return self._lock

    def reading(self) -> AbstractContextManager[None]:
        """Have what this thread reads be refused once the lab is closed."""
        return nullcontext() if self._source is None else self._source.read_until_closed(self._closings)

    @cached_property
    def widget(self) -> PanelWidget:
        """The live panel as an ipywidget: for a `VBox`, and where HTML cannot hold it (VS Code, Colab)."""
        from promptlab.panels._widget import PanelWidget  # noqa: PLC0415 - loads ipywidgets, so only where it is shown

        return PanelWidget(self, key=self._key, first=sendable(self.first()))

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
            return {"re": message.get("re"), "answer": sendable(answer)}
        except Exception as exc:  # noqa: BLE001 - whatever it is, the person at the panel has to see it
            return {"re": message.get("re"), "error": _reason(exc, str(name))}

    def send(self, content: Mapping[str, Any]) -> None:
        """Tell all browsers something now; for what comes often, `follow` keeps the pace."""
        if "widget" in self.__dict__:
            self.widget.tell({"push": sendable(content)})

    def follow(self) -> None:
        """Send updates until there is nothing to follow, at most ten a second, and then the whole last state.

        It ends as well when nothing happens for long (whoever worked on it is probably gone), when the lab is closed,
        and with the panel.
        """
        with self._lock:
            if self._follower is None and not self.is_closed:
                self._follower = threading.Thread(target=Follower(self).run, daemon=True)
                self._follower.start()

    def note_end_of(self, follower: threading.Thread) -> None:
        """Note that a follower has ended, so that the next `follow` begins anew."""
        with self._lock:
            self._follower = None if self._follower is follower else self._follower

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

    def display(self) -> None:
        """Show the panel as an output of the cell that runs, which can be renewed.

        In VS Code and Colab it is the widget, which has nothing to mount itself into there; that was not tried.
        """
        from IPython.display import display  # noqa: PLC0415 - only in a kernel, which has it loaded

        self._places.append(secrets.token_hex(8))  # one each: of an id that comes again nbclient renews all
        is_html = mounts_html() or not is_in_kernel()
        shown = self._repr_mimebundle_() if is_html else self.widget
        display(shown, raw=is_html, display_id=self._places[-1])  # type: ignore[no-untyped-call]  # it has no types

    def renew(self) -> None:
        """Leave the present snapshot in the outputs of `display`, for whoever reads the saved notebook."""
        if self._places and is_in_kernel():
            from IPython.display import update_display  # noqa: PLC0415 - see display

            bundle = self._repr_mimebundle_()
            for place in self._places:
                update_display(bundle, raw=True, display_id=place)  # type: ignore[no-untyped-call]  # see display

    def html(self) -> str:
        """Return the snapshot in the place where the live panel mounts itself.

        It is no higher than a panel: Notebook 7 makes a cell with a longer output a small scrolling window, for good.
        """
        snapshot = f'<div style="max-height:{MOST_PX}px;overflow:auto">{self.snapshot()}</div>'
        return f'<div class="promptlab-panel promptlab-{self._key}">{snapshot}</div>'


class Follower:
    """What a thread does that follows a panel; it holds the panel only while it looks."""

    def __init__(self, panel: Panel, *, wait: Callable[[float], object] | None = None) -> None:
        self._panel, self._now_s, self._wait = weakref.ref(panel), panel.now_s, wait or threading.Event().wait
        self._moved_s = self._now_s()
        self._error: str | None = None  # what was told last, so that it is told once
        self._is_broken = False  # there is nothing to follow any more, and no last state

    def run(self) -> None:
        """Send updates until there is nothing to follow, and the whole last state twice."""
        try:
            is_last = False
            while not is_last:
                while not is_last:
                    self._wait(PACE_S)
                    is_last = self._look()
                self._wait(10 * PACE_S)  # a burst elsewhere can swallow messages, and the last stays on the screen
                is_last = self._look_last()
        finally:
            if (panel := self._panel()) is not None:
                panel.note_end_of(threading.current_thread())

    def _look(self) -> bool:
        """Tell what there is to tell; return whether there will be nothing more."""
        panel = self._panel()
        if panel is None:
            return True
        with panel.reading():
            is_last = self._has_ended(panel)
            self._tell(panel, whole=is_last)
            return is_last or self._is_broken

    def _look_last(self) -> bool:
        """Tell everything once more; return whether nothing was begun again meanwhile."""
        panel = self._panel()
        if panel is None:
            return True
        with panel.reading():
            self._tell(panel, whole=True)
            with panel.lock:  # whoever begins something again meanwhile is followed, or finds no follower
                if is_last := self._has_ended(panel):
                    panel.note_end_of(threading.current_thread())
                return is_last

    def _has_ended(self, panel: Panel) -> bool:
        if self._is_broken or panel.is_closed or self._now_s() - self._moved_s > QUIET_S:
            return True
        try:
            return panel.may_rest()
        except Exception as exc:  # noqa: BLE001 - this thread has nobody else to tell
            self._is_broken = True
            self._tell_error(panel, exc)
            return True

    def _tell(self, panel: Panel, *, whole: bool) -> None:
        if self._is_broken:
            return
        try:
            with panel.lock:
                content = panel.update(whole=whole)
        except Exception as exc:  # noqa: BLE001 - this thread has nobody else to tell
            self._is_broken = isinstance(exc, NotFoundError)  # what was followed is gone
            self._tell_error(panel, exc)
            return
        self._error = None
        if content is not None:
            self._moved_s = self._moved_s if whole else self._now_s()  # all of it is told at the end, change or not
            panel.send(content)

    def _tell_error(self, panel: Panel, exc: Exception) -> None:
        reason = _reason(exc, "update")
        if reason != self._error and not panel.is_closed:
            self._error = reason
            panel.send({"error": reason})


_NO_MOUNTS = ("VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")  # set in the kernels of these frontends


def mounts_html(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the live panel can mount itself into the HTML of an output, as in JupyterLab and Notebook.

    VS Code and Colab draw each output in a frame of its own, where only the widget itself is live. They are known by
    what they set in their kernels' environment, as tqdm.autonotebook does it. It was not tried there.
    """
    return not any(name in environment for name in _NO_MOUNTS)


def is_in_kernel() -> bool:
    """Return whether this is a Jupyter kernel, which may have a browser that draws panels."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


def sendable(value: Any) -> Any:
    """Return a value that JSON and UTF-8 can carry: no NaN, no half surrogate pairs, no types of numpy or pandas."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {utf8(str(name)): sendable(item) for name, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [sendable(item) for item in value]
    try:
        return plain(value)
    except TypeError:  # infinite, or nothing of JSON's
        return None if isinstance(value, float) else utf8(str(value))


def _reason(exc: Exception, name: str) -> str:
    """Return an exception as one message for the person at the panel."""
    if isinstance(exc, PromptlabError):
        return _text.clipped(str(exc), 500)
    if type(exc).__name__ == "ValidationError" and hasattr(exc, "errors"):
        problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors()]
        return _text.clipped(f"{name}: {'; '.join(problems)}", 500)
    return _text.clipped(f"{type(exc).__name__} in {name}: {exc}", 500)
