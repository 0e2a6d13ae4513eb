"""What all panels share: a closed set of operations, errors that are shown, a pace, and a snapshot for every reader."""

import gc
import json
import math
import re
import threading
import weakref
from collections import Counter as Counts
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field

from promptlab.errors import NotFoundError
from promptlab.panels import _widget
from promptlab.panels._panel import PACE_S, QUIET_S, Follower, Panel, mounts_html, operation, sendable

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
    counter.may_rest = lambda: next(ends)
    Follower(counter, wait=waits.append).run()
    assert waits == [PACE_S, PACE_S, PACE_S, 10 * PACE_S]
    assert counter.told == [{"value": 1, "whole": False}, {"value": 3, "whole": True}, {"value": 4, "whole": True}]


def test_what_begins_again_is_followed_on(counter):
    """Between the end and its second telling something may have been started again: it is told to its end as well."""
    waits, ends = [], iter([True, False, False, True, True])
    counter.may_rest = lambda: next(ends)
    Follower(counter, wait=waits.append).run()
    assert waits == [PACE_S, 10 * PACE_S, PACE_S, PACE_S, 10 * PACE_S]
    assert [told["whole"] for told in counter.told] == [True, False, True, True]


def test_an_update_that_fails_is_told(counter):
    """The thread that follows has nobody else to tell, goes on, and says it once."""
    counter.update, ends = lambda **_: 1 / 0, iter([False, False, True, True])
    counter.may_rest = lambda: next(ends)
    Follower(counter, wait=lambda _: None).run()
    assert counter.told == [{"error": "ZeroDivisionError in update: division by zero"}]
    assert next(ends, "all asked") == "all asked"


def test_following_ends_when_what_is_followed_is_gone(counter):
    """It is said once, and nothing is looked at any more."""
    counter.update = lambda **_: counter.fail("ours")
    counter.may_rest = lambda: False
    waits = []
    Follower(counter, wait=waits.append).run()
    assert (waits, counter.told) == ([PACE_S, 10 * PACE_S], [{"error": "no output 7 in x.db"}])


def test_following_ends_with_an_error_in_its_own_question_and_begins_anew(counter):
    """Whether there is an end cannot be told: that is said, and the panel can be followed again."""
    counter.may_rest = lambda: 1 / 0
    counter.follow()
    first = counter._follower
    first.join(20)
    assert (first.is_alive(), counter._follower) == (False, None)
    assert counter.told == [{"error": "ZeroDivisionError in update: division by zero"}]
    counter.may_rest = lambda: True
    counter.follow()
    counter._follower.join(20)
    assert [told.get("whole") for told in counter.told[1:]] == [True]


def test_following_ends_after_ten_minutes_without_a_change(counter):
    """Whoever worked on it is probably gone; an error is no change."""
    time_s = [0.0]
    counter.now_s = lambda: time_s[0]
    counter.may_rest = lambda: False
    answers = iter([{"value": 1}])
    counter.update = lambda **_: next(answers, None)
    Follower(counter, wait=lambda _: time_s.__setitem__(0, time_s[0] + 60)).run()
    assert QUIET_S + 60 <= time_s[0] <= QUIET_S + 180


def test_a_panel_that_nobody_holds_is_not_followed(counter):
    """The thread that follows does not keep it alive, and ends with it."""
    panel = Counter()
    panel.may_rest = lambda: False
    panel.follow()
    thread, gone = panel._follower, weakref.ref(panel)
    del panel
    gc.collect()
    thread.join(20)
    assert (thread.is_alive(), gone()) == (False, None)


@pytest.mark.parametrize(
    ("environment", "mounts"),
    [
        pytest.param({}, True, id="JupyterLab"),
        pytest.param({"VSCODE_PID": "7"}, False, id="VS Code"),
        pytest.param({"VSCODE_CWD": "/"}, False, id="VS Code, remote"),
        pytest.param({"COLAB_RELEASE_TAG": "release-colab-20261101"}, False, id="Colab"),
    ],
)
def test_frontends_that_cannot_mount_are_known_by_their_environment(environment, mounts):
    """As tqdm does it: by what they set in the kernel's environment."""
    assert mounts_html(environment) is mounts


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
    assert sendable(value) == expected
    assert json.dumps(sendable(value), allow_nan=False, ensure_ascii=False).encode()


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
