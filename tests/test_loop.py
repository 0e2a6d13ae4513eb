"""The background loop: one for the process, never blocked by itself, anew in a forked child."""

import asyncio
import os
import threading
import warnings

import pytest

from promptlab import _loop


async def the_loop():
    """Return the loop this runs on."""
    return asyncio.get_running_loop()


def test_a_coroutine_runs_elsewhere_and_its_result_comes_back():
    """The caller gets the result, though another thread did the work."""

    async def work():
        return threading.current_thread().name

    assert _loop.run(work()) == "promptlab-loop"


def test_there_is_one_loop():
    """Every call meets the same loop, which is what an HTTP client needs."""
    assert _loop.run(the_loop()) is _loop.run(the_loop()) is _loop.running_loop()


def test_submit_returns_at_once():
    """A submitted coroutine has not ended when its future is handed out."""
    gate = threading.Event()

    async def work():
        await asyncio.to_thread(gate.wait)
        return "done"

    future = _loop.submit(work())
    assert not future.done()
    gate.set()
    assert future.result(timeout=5) == "done"


def test_it_works_inside_a_running_loop():
    """A kernel's own running loop is no obstacle."""

    async def cell():
        return _loop.run(the_loop())

    assert asyncio.run(cell()) is _loop.running_loop()


def test_an_error_comes_back():
    """What the coroutine raises is raised to the caller."""

    async def work():
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match=r"^no$"):
        _loop.run(work())


def test_a_blocking_call_from_the_loop_itself_is_refused():
    """Waiting on the loop for the loop would never end, so it is an error."""

    async def inner():
        return 1

    async def outer():
        return _loop.run(inner())

    with pytest.raises(RuntimeError, match="await the asynchronous form instead"):
        _loop.run(outer())


def test_a_forked_child_has_a_loop_of_its_own():
    """A child does not wait for its parent's thread, which it has not got."""
    _loop.running_loop()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # forking beside threads, 3.12 on
        child = os.fork()
    if child == 0:
        os._exit(0 if _loop.run(asyncio.sleep(0, "alive")) == "alive" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
