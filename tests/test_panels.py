"""What all panels share: a closed set of operations, errors that are shown, a pace, and a snapshot for every reader."""

import json
import math
import re
import threading
from collections import Counter as Counts
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field

from promptlab.errors import NotFoundError
from promptlab.panels import _widget
from promptlab.panels._panel import PACE_S, Panel, operation, plain

VIEWS = ("history", "judge", "matrix", "monitor", "versions")


class Counter(Panel):
    """A panel that counts: `first`, one operation, updates."""

    view, label = "versions", "Counter"

    def __init__(self):
        super().__init__()
        self.value, self.told, self.threads = 0, [], set()

    def first(self):
        """Return the value."""
        return {"value": self.value}

    def snapshot(self):
        """Return something."""
        return "<b>counted</b>"

    def __repr__(self):
        return "<Counter>"

    def update(self, *, whole):
        """Count on; the second time there is nothing to tell."""
        self.value += 1
        return None if self.value == 2 else {"value": self.value, "whole": whole}

    def send(self, content):
        """Keep what would be sent."""
        self.told.append(content)

    @operation
    def add(self, step: Annotated[int, Field(ge=1, le=9)] = 1, sign: Literal["+", "-"] = "+"):
        """Add to the value."""
        self.threads.add(threading.current_thread().name)
        self.value += step if sign == "+" else -step
        return {"value": self.value}

    @operation
    def fail(self, kind: str):
        """Fail in the way asked for."""
        raise {"ours": NotFoundError("no output 7 in x.db"), "other": ZeroDivisionError("division by zero")}[kind]

    def not_offered(self):
        """Stay behind the door."""
        self.value = -1


@pytest.fixture
def counter():
    """A panel that nobody shows."""
    return Counter()


def ask(panel, op, **args):
    """Ask as a browser does."""
    return panel.handle({"op": op, "re": "1.a", "args": args})


def test_an_operation_is_answered_under_its_number(counter):
    """The answer carries the number of its question."""
    assert ask(counter, "add", step=3) == {"re": "1.a", "answer": {"value": 3}}


def test_hello_says_what_first_is_now(counter):
    """A page that was loaded again gets the present state, not that of the start."""
    counter.value = 41
    assert ask(counter, "hello") == {"re": "1.a", "answer": {"value": 41}}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param({"op": "not_offered"}, "this panel has no operation 'not_offered'", id="a method"),
        pytest.param({"op": "_lock"}, "this panel has no operation '_lock'", id="an attribute"),
        pytest.param({"op": "__class__"}, "this panel has no operation '__class__'", id="a class"),
        pytest.param({"op": ["add"]}, "this panel has no operation ['add']", id="no name"),
        pytest.param({}, "this panel has no operation None", id="nothing"),
        pytest.param("text", "this panel has no operation None", id="no mapping"),
        pytest.param(
            {"op": "add", "args": {"step": 10}}, "add: step: Input should be less than or equal to 9", id="too large"
        ),
        pytest.param({"op": "add", "args": {"sign": "*"}}, "add: sign: Input should be '+' or '-'", id="no choice"),
        pytest.param({"op": "add", "args": {"other": 1}}, "add: other: Unexpected keyword argument", id="unknown"),
        pytest.param({"op": "fail", "args": {"kind": "ours"}}, "no output 7 in x.db", id="ours"),
        pytest.param(
            {"op": "fail", "args": {"kind": "other"}}, "ZeroDivisionError in fail: division by zero", id="any other"
        ),
    ],
)
def test_what_goes_wrong_is_said_and_changes_nothing(counter, message, reason):
    """Whatever a browser sends, it gets one sentence back, and nothing is raised in the kernel."""
    assert counter.handle(message)["error"] == reason
    assert counter.value == 0


def test_operations_take_turns(counter):
    """Messages come on several threads; each finds the state as another left it."""
    threads = [threading.Thread(target=lambda: [ask(counter, "add") for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 1_600
    assert len(counter.threads) == 8


def test_following_keeps_the_pace_and_ends_with_all_of_it_twice(counter):
    """Updates come ten a second at most; at the end the whole state is sent, and once more in case it is lost."""
    waits, ends = [], iter([False, False, True, True])
    counter._follow(lambda: next(ends), waits.append)
    assert waits == [PACE_S, PACE_S, PACE_S, 10 * PACE_S]
    assert counter.told == [{"value": 1, "whole": False}, {"value": 3, "whole": True}, {"value": 4, "whole": True}]


def test_what_begins_again_is_followed_on(counter):
    """Between the end and its second telling something may have been started again: it is told to its end as well."""
    waits, ends = [], iter([True, False, False, True, True])
    counter._follow(lambda: next(ends), waits.append)
    assert waits == [PACE_S, 10 * PACE_S, PACE_S, PACE_S, 10 * PACE_S]
    assert [told["whole"] for told in counter.told] == [True, False, True, True]


def test_an_update_that_fails_is_told(counter):
    """The thread that follows has nobody else to tell, and goes on."""
    counter.update = lambda **_: 1 / 0
    counter._follow(lambda: True, lambda _: None)
    assert counter.told == 2 * [{"error": "ZeroDivisionError in update: division by zero"}]


def test_outside_a_kernel_a_panel_is_its_snapshot(counter):
    """The output is HTML and a fixed text, never a widget; nothing of Jupyter's is made."""
    bundle = counter._repr_mimebundle_()
    assert bundle["text/plain"] == "<Counter>"
    assert bundle["text/html"] == counter.html()
    assert counter.html().startswith(f'<div class="promptlab-panel promptlab-{counter._key}">')
    assert "<b>counted</b>" in counter.html()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "widget" not in counter.__dict__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(math.nan, None, id="NaN"),
        pytest.param({"a": [math.inf, 1.5]}, {"a": [None, 1.5]}, id="infinite, inside"),
        pytest.param("a\ud800b", "a\ufffdb", id="half a surrogate pair"),
        pytest.param(np.int64(3), 3, id="numpy"),
        pytest.param((True, None, {2}), [True, None, [2]], id="tuple and set"),
        pytest.param({1: "x"}, {"1": "x"}, id="a key that is no text"),
    ],
)
def test_what_is_sent_can_be_carried(value, expected):
    """What JSON and UTF-8 have no place for becomes what they have."""
    assert plain(value) == expected
    assert json.dumps(plain(value), allow_nan=False, ensure_ascii=False).encode()


def test_the_widget_carries_module_and_first_page(counter):
    """The one widget class gets the view's name, the first page and the joined module."""
    counter.value = 5
    state = counter.widget.get_state()
    assert (state["view"], state["label"], state["key"]) == ("versions", "Counter", counter._key)
    assert state["first"] == {"value": 5}
    assert state["_esm"] == _widget.module("versions")


@pytest.mark.parametrize("view", VIEWS)
def test_the_joined_module_stands_alone(view):
    """Nothing is imported in the browser, no name stands twice, and the one export is what anywidget calls."""
    text = _widget.module(view)
    assert "\nimport " not in text
    exports = [line for line in text.splitlines() if line.startswith("export ")]
    assert exports == ["export default { initialize, render };"]
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE)
    assert [name for name, number in Counts(names).items() if number > 1] == []
    assert names.count("view") == 1


def test_modules_stand_after_those_they_need():
    """The order follows from the imports."""
    assert _widget.modules("versions") == ["dom", "grid", "keys", "rpc", "versions", "main"]
