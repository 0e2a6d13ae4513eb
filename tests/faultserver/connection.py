"""One client connection: which request goes where."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from faultserver.catalogue import FAULT_NAMES, REQUEST, Json
from faultserver.channel import Channel, ClientGone, CloseConnection, Message, ResetConnection
from faultserver.chat import Chat
from faultserver.exchange import open_exchange
from faultserver.service import Service


class Connection:
    """A client connection, from accept to close."""

    def __init__(self, service: Service, channel: Channel, number: int) -> None:
        self.service, self.channel, self.number = service, channel, number
        self._answers = Chat(service, channel)

    async def run(self) -> None:
        """Serve requests until one side ends the connection."""
        try:
            while await self._serve_one():
                pass
        except ResetConnection:
            self.channel.reset()
        except asyncio.CancelledError:
            self.channel.abort()
        except (CloseConnection, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        finally:
            self.channel.close()

    async def _serve_one(self) -> bool:
        message = await self.channel.read()
        if message is None:
            return False
        path, path_spec = _split_spec(message.target.partition("?")[0])
        if path.startswith("/__"):
            await self._administer(message.method, path, message.raw)
        elif message.method == "GET" and path.rstrip("/").endswith("/models"):
            await self._list_models()
        elif message.method == "POST" and path.rstrip("/").endswith("/chat/completions"):
            await self._chat(message, path_spec)
        else:
            await self._reply_json(404, {"error": _unknown_url(message.method, path)})
        return message.keeps_alive

    async def _chat(self, message: Message, path_spec: str | None) -> None:
        ex = open_exchange(self.service, message, path_spec, self.number)
        self.service.admit(ex.entry)
        started, self.channel.sent_bytes = time.perf_counter(), 0
        try:
            await self._answers.answer(ex)
        except (ClientGone, ConnectionError, TimeoutError):
            ex.entry["client_gone"] = True
            raise
        finally:
            ms = round((time.perf_counter() - started) * 1e3, 2)
            ex.entry.update(bytes=self.channel.sent_bytes, ms=ms)
            self.service.dismiss(ex.entry)

    async def _list_models(self) -> None:
        names = self.service.switches.models or ["gpt-fault-1"]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "fault"} for name in names]
        await self._reply_json(200, {"object": "list", "data": data})

    async def _administer(self, method: str, path: str, raw: bytes) -> None:
        if method == "POST" and path == "/__reset":
            self.service.reset()
        if method == "POST" and path == "/__config":
            self.service.set(**json.loads(raw or b"{}"))
        pages: dict[str, Callable[[], Any]] = {
            "/__health": lambda: {"ok": True},
            "/__reset": lambda: {"ok": True},
            "/__config": lambda: asdict(self.service.switches),
            "/__stats": self.service.stats,
            "/__ledger": lambda: self.service.entries,
            "/__faults": lambda: FAULT_NAMES,
        }
        if path in pages:
            await self._reply_json(200, pages[path]())
        else:
            await self._reply_json(404, {})

    async def _reply_json(self, status: int, value: Any) -> None:
        await self.channel.respond(status, json.dumps(value).encode(), [])


def _split_spec(path: str) -> tuple[str, str | None]:
    """Return the API's path, and the fault spec that stands before it in /f/SPEC/v1/..."""
    if not path.startswith("/f/"):
        return path, None
    _, _, quoted, rest = path.split("/", 3)
    return "/" + rest, unquote(quoted)


def _unknown_url(method: str, path: str) -> Json:
    message = f"Unknown request URL: {method} {path}."
    return {"message": message, "type": REQUEST, "param": None, "code": "unknown_url"}
