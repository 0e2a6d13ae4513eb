"""One background event loop for the process, on one daemon thread.

Everything asynchronous runs here: the kernel's own loop stays free, a blocked cell stops nothing, and the HTTP client,
which belongs to one loop, always meets the same one. Nothing is ever printed from this thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid = 0


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the background loop and return its future at once."""
    return asyncio.run_coroutine_threadsafe(coroutine, running_loop())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result."""
    if threading.current_thread().name == _THREAD_NAME:
        coroutine.close()
        msg = "a blocking call was made from promptlab's own loop thread; await the asynchronous form instead"
        raise RuntimeError(msg)
    return submit(coroutine).result()


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, started on first use, and anew in a forked child."""
    global _loop, _owner_pid
    with _lock:
        if _loop is None or _owner_pid != os.getpid():
            _loop, _owner_pid = _started(), os.getpid()
        return _loop


_THREAD_NAME = "promptlab-loop"


def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=_THREAD_NAME, daemon=True).start()
    return loop
