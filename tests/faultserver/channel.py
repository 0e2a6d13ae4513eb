"""Bytes in and out of one client connection: HTTP/1.1 messages, and ways to cut them."""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from faultserver.service import Headers

MAX_BODY_BYTES = 64 << 20
JSON_TYPE = ("content-type", "application/json")
CUT_PAUSE_S = 0.02  # so that the bytes before a cut have left this machine's buffers
REASONS = {
    200: "OK",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    529: "Overloaded",
}


class ResetConnection(Exception):  # noqa: N818 - an order, not an error
    """Cut the connection with a TCP RST."""


class CloseConnection(Exception):  # noqa: N818 - an order, not an error
    """Cut the connection with a FIN."""


class ClientGone(CloseConnection):
    """The client hung up while it was waiting."""


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP request as it was read."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to send another request on this connection."""
        return self.headers.get("connection", "").lower() != "close"


class Channel:
    """The two streams of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sent_bytes = 0

    async def read(self) -> Message | None:
        """Read a request; None where the client has gone or what it sent is no request."""
        line = await self._reader.readline()
        if not line:
            return None
        try:
            method, target, _version = line.decode("latin-1").split()
        except ValueError:
            await self.respond(400, b"bad request line", [("connection", "close")], "text/plain")
            return None
        headers = {}
        while (line := await self._reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if int(headers.get("content-length", "0")) > MAX_BODY_BYTES:
            await self.respond(413, b"{}", [("connection", "close")])
            return None
        return Message(method, target, headers, await self._read_body(headers))

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if "chunked" not in headers.get("transfer-encoding", ""):
            return b""
        parts = []
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(parts)

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._writer.write(data)
        self.sent_bytes += len(data)
        await self._writer.drain()

    async def send_head(self, status: int, headers: Headers, version: str = "HTTP/1.1") -> None:
        """Write a status line and headers."""
        await self.send(build_head(status, headers, version))

    async def respond(
        self,
        status: int,
        body: bytes,
        headers: Headers,
        content_type: str | None = "application/json",
        version: str = "HTTP/1.1",
    ) -> None:
        """Write a whole reply at once."""
        typed = [("content-type", content_type)] if content_type else []
        length = ("content-length", str(len(body)))
        await self.send(build_head(status, [*headers, *typed, length], version) + body)

    async def wait(self, seconds: float) -> None:
        """Sleep, but notice when the client hangs up: a cancelled or timed-out request."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.05))
            if self._reader.at_eof() or self._writer.transport.is_closing():
                raise ClientGone

    def close(self) -> None:
        """Close the connection once what was written is out."""
        self._writer.close()

    def abort(self) -> None:
        """Drop the connection and what was not yet written."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Cut the connection with a TCP RST."""
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()


def build_head(status: int, headers: Headers, version: str = "HTTP/1.1") -> bytes:
    """Return a status line and headers as bytes."""
    lines = [f"{version} {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
