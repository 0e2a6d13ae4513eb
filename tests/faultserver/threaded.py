"""The server's life: in a thread for tests, as a process through `python -m faultserver`."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from faultserver.catalogue import Json
from faultserver.channel import Channel
from faultserver.connection import Connection
from faultserver.service import Load, Service

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections waiting to be accepted: a test may open a thousand at once
LINE_LIMIT = 1 << 20
START_S, STOP_S, SETTLE_S = 10.0, 5.0, 2.0


async def serve(service: Service, host: str, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `ready` gets the port."""
    count = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await Connection(service, Channel(reader, writer), count).run()

    server = await asyncio.start_server(on_connection, host, port, backlog=BACKLOG, limit=LINE_LIMIT)
    ready(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    service.close()


class FaultServer:
    """The server in a thread of this process, as a context manager; arguments are those of `Service` and `Switches`."""

    def __init__(self, *, host: str = LOOPBACK, port: int = 0, **options: Any) -> None:
        self.service, self.host, self.port = Service(**options), host, port
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_up.wait(START_S):
            msg = f"the fault server did not start on {self.host}:{self.port}; is the port in use?"
            raise RuntimeError(msg)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await serve(self.service, self.host, self.port, self._on_ready, self._stop)

    def _on_ready(self, port: int) -> None:
        self.port = port
        self._is_up.set()

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"http://{self.host}:{self.port}/v1"

    def set(self, **switches: Any) -> None:
        """Change switches while the server runs; the rate limits start afresh."""
        self.service.set(**switches)

    def reset(self) -> None:
        """Forget everything served so far; the switches stay."""
        self.service.reset()

    def ledger(self) -> list[Json]:
        """Return the ledger, one entry a request, once nothing is being served."""
        self.settle()
        return list(self.service.entries)

    def stats(self) -> Json:
        """Return the ledger in figures, once nothing is being served."""
        self.settle()
        return self.service.stats()

    def busiest(self, window_s: float) -> dict[tuple[str | None, str | None], Load]:
        """Return the most that came within any `window_s` seconds, by key and model; see `Service.busiest`."""
        return self.service.busiest(window_s)

    def settle(self, timeout_s: float = SETTLE_S) -> bool:
        """Wait until no request is being served, so that `delivered` is final; return whether that came true."""
        end = time.monotonic() + timeout_s
        while self.service.in_flight and time.monotonic() < end:
            time.sleep(0.002)
        return not self.service.in_flight
