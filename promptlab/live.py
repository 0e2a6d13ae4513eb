"""A run being executed, and what shows its progress to who waits for it."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from promptlab import _loop, _text
from promptlab.errors import RunError
from promptlab.runner import Runner

if TYPE_CHECKING:
    from promptlab.panels.monitor import Monitor

POLL_S = 0.1  # how often a waiting cell looks: a tenth of a second is at once for a person


class Display(Protocol):
    """What shows the progress of a run to who waits for it."""

    def show(self) -> None:
        """Show how the run stands now."""

    def say(self, text: str) -> None:
        """Show a sentence besides."""

    def close(self) -> None:
        """Show the end."""


class LiveRun:
    """A run being executed: its workers on the background loop, and the ways to wait for them."""

    def __init__(self, runner: Runner, future: Future[None]) -> None:
        self.runner = runner
        self._began_s, self._ended_s = time.monotonic(), math.inf
        self.is_awaited = False  # whether a cell waits for it, so that an interrupt of the kernel stops it
        self._future = future
        self._gate = threading.Lock()  # not the future's own, which an interrupt could leave taken: see writer.Pending
        self._gate.acquire()
        future.add_done_callback(self._note_end)

    @property
    def is_ended(self) -> bool:
        """Whether the workers are gone and the log is closed."""
        return self._future.done()

    @property
    def elapsed_s(self) -> float:
        """How long it has taken, or took."""
        return min(time.monotonic(), self._ended_s) - self._began_s

    def pause(self) -> None:
        """Send nothing new until `resume`."""
        _loop.running_loop().call_soon_threadsafe(self.runner.pause)

    def resume(self) -> None:
        """Go on sending."""
        _loop.running_loop().call_soon_threadsafe(self.runner.resume)

    def stop(self) -> None:
        """Send nothing new."""
        _loop.running_loop().call_soon_threadsafe(self.runner.stop)

    def abort(self) -> None:
        """Drop what is in flight as well."""
        _loop.running_loop().call_soon_threadsafe(self.runner.abort)

    def wait(self, shown: Callable[[], Display] | None = None) -> None:
        """Block in short polls until the run has ended; `shown` makes what shows the progress."""
        bar = None
        try:
            self.is_awaited = True
            bar = shown() if shown else None  # here, since an interrupt may come meanwhile
            self._poll(bar)
        except KeyboardInterrupt:
            self._wind_down(bar)
            progress = self.runner.progress
            answered = f"{progress.answered_before + progress.done:,} of {progress.total:,}"
            msg = f"stopped with {answered} samples answered; run the same again to go on"
            raise KeyboardInterrupt(msg) from None
        finally:
            self.is_awaited = False
            if bar:
                bar.close()
        self._raise_errors()

    async def awaited(self) -> None:
        """Wait without blocking the caller's event loop; the first cancellation stops the run, a second aborts it."""
        self.is_awaited = True
        try:
            await self._ended()
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.stop()
            try:
                await self._ended()
            except (asyncio.CancelledError, KeyboardInterrupt):
                self.abort()
                await self._ended()
            raise
        finally:
            self.is_awaited = False
        self._raise_errors()

    def settle(self) -> None:
        """Stop, and wait until what is in flight is logged; how the run ended is not raised here."""
        self._wind_down(None)

    def _note_end(self, _: Future[None]) -> None:
        self._ended_s = time.monotonic()
        self._gate.release()

    async def _ended(self) -> None:
        while not self._future.done():  # noqa: ASYNC110 - a heartbeat: only a running loop hears of an interrupt
            await asyncio.sleep(POLL_S)

    def _poll(self, bar: Display | None) -> None:
        while not self._future.done():
            if bar:
                bar.show()
            if self._gate.acquire(timeout=POLL_S):  # at once when it has ended
                self._gate.release()

    def _wind_down(self, bar: Display | None) -> None:
        try:
            self.stop()
            in_flight = self.runner.progress.in_flight
            if bar:
                bar.say(f"stopping: {_text.count(in_flight, 'request')} in flight, interrupt again to drop them")
            self._poll(bar)
        except KeyboardInterrupt:
            self.abort()
            self._poll(bar)

    def _raise_errors(self) -> None:
        self._future.result()
        if self.runner.failure:
            msg = f"the run was stopped at its first failed trial: {self.runner.failure}"
            raise RunError(msg)


class Shown:
    """A monitor on display: it follows the run by itself, and says what there is to say."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def show(self) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing: the monitor shows that the run is being stopped, and what is in flight."""

    def close(self) -> None:
        """Leave the end in the output."""
        self._monitor.finish()


_LOG_EVERY_S = 10.0  # a bar in a log file is a line each time it is drawn


class Bar:
    """A tqdm bar, drawn only from the waiting thread; made when first drawn, since an interrupt may come meanwhile."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._made: Any = None

    @property
    def _bar(self) -> Any:
        from tqdm.auto import tqdm  # noqa: PLC0415 - costs 0.1 s, so only where it is used

        if self._made is None:
            self._made = tqdm(
                total=self._runner.progress.total,
                initial=self._runner.progress.answered_before,
                unit="sample",
                mininterval=0.1 if sys.stderr.isatty() else _LOG_EVERY_S,
            )
        return self._made

    @property
    def _is_text(self) -> bool:
        return type(self._bar).__module__ == "tqdm.asyncio"  # what tqdm.auto gives outside notebooks

    def show(self) -> None:
        """Draw how far it is, and what is worth a note."""
        progress = self._runner.progress
        notes = [
            "paused" if progress.is_paused else "",
            f"{progress.failed} failed" if progress.failed else "",
            f"{progress.unknown} unknown" if progress.unknown else "",
            _text.usd(progress.cost_usd) if progress.cost_usd else "",
            self._waiting(),
        ]
        self._bar.set_postfix_str(", ".join(filter(None, notes)), refresh=False)
        self._bar.update(progress.finished - self._bar.n)
        if not self._is_text:
            self._bar.refresh()

    def _waiting(self) -> str:
        reason = self._runner.waiting_for
        return f"waiting {_text.duration(self._runner.waiting_s)} for {reason}" if reason else ""

    def say(self, text: str) -> None:
        """Put a sentence before the bar."""
        self._bar.set_description_str(text)

    def close(self) -> None:
        """Leave the end on the screen."""
        self.show()
        self._bar.close()
