"""Server-sent events: an answer in pieces, and the ways in which a stream goes wrong."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from faultserver.catalogue import Json
from faultserver.channel import CUT_PAUSE_S, Channel, ResetConnection
from faultserver.exchange import Exchange

PIECE_CHARS = 8
SERVER_ERROR: Json = {
    "message": "The server had an error while processing your request.",
    "type": "server_error",
    "param": None,
    "code": None,
}


class Stream:
    """One streamed answer, as chat.completion.chunk events."""

    def __init__(self, channel: Channel, ex: Exchange, answer: Json) -> None:
        self.channel, self.ex, self.answer, self.fault = channel, ex, answer, ex.fault
        self._line_end = b"\r\n" if ex.fault.name == "sse_crlf" else b"\n"
        asked = bool((ex.body.get("stream_options") or {}).get("include_usage"))
        self._sends_usage = asked and ex.fault.name != "sse_no_usage"

    async def send_all(self) -> None:
        """Send the whole stream, or as much of it as the fault lets through."""
        await self.channel.send_head(
            200,
            [
                *self.ex.reply_headers,
                ("content-type", "text/event-stream; charset=utf-8"),
                ("transfer-encoding", "chunked"),
                ("cache-control", "no-cache"),
            ],
        )
        if self.fault.name == "sse_empty":
            await self._finish()
            return
        await self._send_roles()
        for number, (index, piece) in enumerate(self._pieces(), 1):
            await self._send_piece(index, piece)
            if number >= self.fault.count("after", 2) and await self._interrupt():
                return
        await self._send_ends()
        await self._finish()

    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Yield the choices' texts piece by piece, the choices in turn."""
        texts = {choice["index"]: choice["message"]["content"] or "" for choice in self.answer["choices"]}
        step = max(1, self.fault.count("chunk", PIECE_CHARS))
        for start in range(0, max(map(len, texts.values()), default=0), step):
            yield from ((index, text[start : start + step]) for index, text in texts.items() if text[start:])

    async def _send_roles(self) -> None:
        usage = {"usage": None} if self._sends_usage else {}
        for choice in self.answer["choices"]:
            delta = {"role": "assistant", "content": ""}
            await self._send_event(self._chunk([_delta(choice["index"], delta)]) | usage)

    async def _send_piece(self, index: int, piece: str) -> None:
        if self.fault.name == "sse_split_utf8":
            await self._send_split(self._chunk([_delta(index, {"content": "é🧿" + piece})]))
        else:
            await self._send_event(self._chunk([_delta(index, {"content": piece})]))
        if self.fault.name == "sse_slow":
            await self.channel.wait(self.fault.number("gap", 0.3))
        if self.fault.name == "sse_pings":
            await self._send_raw(b": ping" + self._line_end * 2)

    async def _interrupt(self) -> bool:
        """Break the stream where the fault says so; return whether it ended."""
        match self.fault.name:
            case "sse_error":
                await self._send_event({"error": SERVER_ERROR})
                await self._end(delivered=True)
                return True
            case "sse_truncated":
                await self._end(delivered=False)
                return True
            case "sse_reset":
                await asyncio.sleep(CUT_PAUSE_S)
                raise ResetConnection
            case "sse_bad_json":
                await self._send_data(b'{"id": "x", "choices": [')
        return False

    async def _send_ends(self) -> None:
        if self.fault.name != "sse_no_finish":
            for choice in self.answer["choices"]:
                await self._send_event(self._chunk([_delta(choice["index"], {}, choice["finish_reason"])]))
        if self._sends_usage:
            await self._send_event(self._chunk([]) | {"usage": self.answer["usage"]})

    async def _finish(self) -> None:
        await self._send_data(b"[DONE]")
        await self._end(delivered=True)

    async def _end(self, *, delivered: bool) -> None:
        await self.channel.send(b"0\r\n\r\n")
        self.ex.entry["delivered"] = delivered

    def _chunk(self, choices: list[Json]) -> Json:
        same = {name: self.answer[name] for name in ("id", "created", "model", "system_fingerprint")}
        return {**same, "object": "chat.completion.chunk", "choices": choices}

    async def _send_event(self, event: Any) -> None:
        await self._send_data(json.dumps(event).encode())

    async def _send_data(self, data: bytes) -> None:
        await self._send_raw(b"data: " + data + self._line_end * 2)

    async def _send_split(self, event: Any) -> None:
        """Send an event in pieces of three bytes, so that characters are cut in the middle."""
        data = b"data: " + json.dumps(event, ensure_ascii=False).encode() + self._line_end * 2
        for start in range(0, len(data), 3):
            await self._send_raw(data[start : start + 3])

    async def _send_raw(self, data: bytes) -> None:
        await self.channel.send(b"%x\r\n%s\r\n" % (len(data), data))


def _delta(index: int, delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}
