"""The way of a chat request to its answer, or to its fault.

In the order of `Chat.answer`: what fails before the request is looked at, refusals, the wait, what fails unbilled, and
only then the bill and the delivery. From the bill on the model has done its work: the answer is paid for, whatever
happens to its bytes.
"""

import asyncio
import email.utils
import gzip
import json
from collections.abc import Awaitable, Callable

from faultserver.answers import bend, choices_asked, encode
from faultserver.catalogue import ERRORS, HTML_PAGES, Json
from faultserver.channel import CUT_PAUSE_S, JSON_TYPE, Channel, CloseConnection, ResetConnection, build_head
from faultserver.checks import complaint
from faultserver.exchange import Exchange, sha256
from faultserver.service import Headers, Service
from faultserver.specs import Fault
from faultserver.streams import Stream

FOREVER_S = 3600.0


class Chat:
    """Answers chat requests on one channel."""

    def __init__(self, service: Service, channel: Channel) -> None:
        self.service, self.channel = service, channel

    async def answer(self, ex: Exchange) -> None:
        """Answer a request, or raise how its connection ends."""
        await self._fail_unread(ex)
        if await self._refuse(ex):
            return
        delay_ms = await self._think(ex)
        if await self._fail_unbilled(ex) or await self._replay(ex):
            return
        answer = self.service.bill(ex.body, ex.fault, ex.entry)
        self._remember(ex, answer)
        self.service.write(ex.entry, "billed")
        await self._lose(ex)
        ex.entry["status"] = 200
        ex.reply_headers.append(("openai-processing-ms", str(int(delay_ms))))
        if ex.body.get("stream") and ex.fault.name != "sse_as_json":
            await Stream(self.channel, ex, answer).send_all()
        else:
            await self._deliver(ex, encode(bend(answer, ex.fault), ex.fault))

    async def _fail_unread(self, ex: Exchange) -> None:
        match ex.fault.name:
            case "close_before":
                raise CloseConnection
            case "reset_before":
                raise ResetConnection
            case "hang":
                await self._hang(ex)
            case "garbage":
                await self.channel.send(b"\x16\x03\x01\x02\x00 this is not http\r\n\r\n")
                raise CloseConnection

    async def _refuse(self, ex: Exchange) -> bool:
        """Refuse what OpenAI would refuse at the door; return whether it was."""
        switches, model = self.service.switches, ex.model
        if not isinstance(ex.body, dict):
            return await self._reply_error("400", ex)
        if switches.require_key and ex.api_key != switches.require_key:
            return await self._reply_error("401", ex)
        if switches.models and model not in switches.models and not model.startswith("fault:"):
            return await self._reply_error("404", ex)
        if switches.strict and (error := complaint(ex.body)):
            await self._reply(ex, 400, json.dumps({"error": error}).encode())
            return True
        return await self._refuse_for_rate(ex)

    async def _refuse_for_rate(self, ex: Exchange) -> bool:
        headers, passed = self.service.spend(ex.auth, ex.model, ex.entry["tokens"])
        ex.reply_headers.extend(headers)
        if passed:
            kind, wait_s = passed
            ex.entry["fault"] = f"bucket_{kind}"
            name = "429" if kind == "requests" else "429_tpm"
            args = {"retry_after": f"{wait_s:.3f}", **({"ms": "1"} if wait_s < 1 else {})}
            return await self._reply_error(name, ex, Fault(name, args))
        most = self.service.switches.max_concurrent
        if most and self.service.in_flight > most:
            ex.entry["fault"] = "concurrency"
            return await self._reply_error("slow_down", ex, Fault("slow_down", {"retry_after": "0.05", "ms": "1"}))
        return False

    async def _think(self, ex: Exchange) -> float:
        """Wait as long as the model takes; return that in milliseconds."""
        fault, delay_ms = ex.fault, self.service.delay_ms()
        if fault.name == "slow":
            delay_ms = fault.number("ms", fault.number("s", 2) * 1e3)
        elif fault.name == "ok":
            delay_ms = fault.number("ms", delay_ms)
        try:
            await self.channel.wait(delay_ms / 1e3)
        except CloseConnection:
            fails = fault.name in ERRORS or fault.name in HTML_PAGES
            if self.service.switches.bill_on_disconnect and not fails:
                self.service.bill(ex.body, fault, ex.entry)  # the model finished the work for nobody
            raise
        return delay_ms

    async def _fail_unbilled(self, ex: Exchange) -> bool:
        """Answer with a fault that costs nothing; return whether there was one."""
        name = ex.fault.name
        if name == "refuse_n" and choices_asked(ex.body) == 1:
            return False
        if name in ERRORS:
            return await self._reply_error(name, ex)
        if name in ("retry_after_date", "retry_after_garbage"):
            return await self._reply_error("429", ex)
        if name in HTML_PAGES:
            status, page = HTML_PAGES[name]
            await self._reply(ex, status, page.encode(), content_type="text/html; charset=UTF-8")
            return True
        if name == "redirect":
            ex.reply_headers.append(("location", ex.fault.text("to", "http://127.0.0.1:9/v1/chat/completions")))
            await self._reply(ex, ex.fault.count("status", 307), b"", content_type=None)
            return True
        if name == "reset_headers":
            await self.channel.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/js")
            await asyncio.sleep(CUT_PAUSE_S)
            raise ResetConnection
        if name == "hang_after_headers":
            await self.channel.send_head(200, [*ex.reply_headers, JSON_TYPE, ("content-length", "500")])
            await self._hang(ex)
        return False

    async def _replay(self, ex: Exchange) -> bool:
        """Answer a known Idempotency-Key with the saved reply; return whether it was known."""
        saved = self.service.replies.get(ex.message.headers.get("idempotency-key", ""))
        if saved is None:
            return False
        body_sha256, reply = saved
        if body_sha256 != ex.entry["body_sha256"]:
            return await self._reply_error("409", ex)
        ex.entry.update(fault="idempotent_replay", id=json.loads(reply)["id"])
        ex.reply_headers.append(("idempotent-replayed", "true"))
        await self._reply(ex, 200, reply)
        return True

    def _remember(self, ex: Exchange, answer: Json) -> None:
        key = ex.message.headers.get("idempotency-key")
        if self.service.switches.idempotency and key:
            self.service.replies[key] = (ex.entry["body_sha256"], json.dumps(answer).encode())

    async def _lose(self, ex: Exchange) -> None:
        if ex.fault.name == "served_then_reset":
            raise ResetConnection
        if ex.fault.name == "served_then_hang":
            await self._hang(ex)

    async def _hang(self, ex: Exchange) -> None:
        await self.channel.wait(ex.fault.number("s", FOREVER_S))
        raise CloseConnection

    async def _reply_error(self, name: str, ex: Exchange, fault: Fault | None = None) -> bool:
        error, fault = ERRORS[name], fault or ex.fault
        retry_after = fault.text("retry_after", "0.2" if error.status in (429, 503) else "")
        message = error.message.format(model=ex.model, key=ex.key_hint, retry_after=retry_after or "20")
        ex.reply_headers.extend(_retry_headers(fault, retry_after, now_s=self.service.clock_s(ex.entry["t"])))
        content = {"message": message, "type": error.type, "param": error.param, "code": error.code}
        await self._reply(ex, error.status, json.dumps({"error": content}).encode())
        return True

    async def _reply(
        self,
        ex: Exchange,
        status: int,
        data: bytes,
        *,
        content_type: str | None = "application/json",
        version: str = "HTTP/1.1",
    ) -> None:
        ex.entry.update(status=status, reply_sha256=ex.entry["reply_sha256"] or sha256(data))
        await self.channel.respond(status, data, ex.reply_headers, content_type, version)
        ex.entry["delivered"] = True

    # Delivering what was billed

    async def _deliver(self, ex: Exchange, data: bytes) -> None:
        ex.entry["reply_sha256"] = sha256(data)
        name, fault = ex.fault.name, ex.fault
        if name == "big_header":
            ex.reply_headers.append(("x-big", "h" * fault.count("size", 70_000)))
        if name in ("gzip", "bad_gzip"):
            ex.reply_headers.append(("content-encoding", "gzip"))
            data = gzip.compress(data) if name == "gzip" else gzip.compress(data)[:-12]
        deliveries: dict[str, Callable[[Exchange, bytes], Awaitable[None]]] = {
            "reset_body": self._cut,
            "close_body": self._cut,
            "chunked_truncated": self._cut_chunked,
            "drip": self._drip,
        }
        if name in deliveries:
            await deliveries[name](ex, data)
            return
        version = "HTTP/1.0" if name == "http10" else "HTTP/1.1"
        await self._reply(ex, 200, data, content_type=_content_type(fault), version=version)
        if name == "http10":
            raise CloseConnection
        if name == "stale_keepalive":  # keep-alive was announced: the next request meets a dead socket
            await asyncio.sleep(fault.number("after", 0.0))
            raise CloseConnection

    async def _cut(self, ex: Exchange, data: bytes) -> None:
        keep = max(1, int(len(data) * ex.fault.number("at", 0.5)))
        head = build_head(200, [*ex.reply_headers, JSON_TYPE, ("content-length", str(len(data)))])
        await self.channel.send(head + data[:keep])
        await asyncio.sleep(CUT_PAUSE_S)
        raise ResetConnection if ex.fault.name == "reset_body" else CloseConnection

    async def _cut_chunked(self, ex: Exchange, data: bytes) -> None:
        await self.channel.send_head(200, [*ex.reply_headers, JSON_TYPE, ("transfer-encoding", "chunked")])
        half = data[: len(data) // 2]
        await self.channel.send(b"%x\r\n%s\r\n" % (len(half), half))
        await asyncio.sleep(CUT_PAUSE_S)
        raise CloseConnection

    async def _drip(self, ex: Exchange, data: bytes) -> None:
        step, gap_s = ex.fault.count("bytes", 16), ex.fault.number("gap", 0.05)
        await self.channel.send_head(200, [*ex.reply_headers, JSON_TYPE, ("content-length", str(len(data)))])
        for start in range(0, len(data), step):
            await self.channel.send(data[start : start + step])
            await self.channel.wait(gap_s)
        ex.entry["delivered"] = True


def _retry_headers(fault: Fault, retry_after: str, *, now_s: float) -> Headers:
    headers: Headers = []
    if fault.name == "retry_after_date":
        headers.append(("retry-after", email.utils.formatdate(now_s + fault.number("s", 2), usegmt=True)))
    elif fault.name == "retry_after_garbage":
        headers.append(("retry-after", fault.text("value", "soon")))
    elif retry_after and fault.text("ms", ""):
        headers.append(("retry-after-ms", str(int(float(retry_after) * 1000))))
    elif retry_after:
        headers.append(("retry-after", retry_after))
    if should_retry := fault.text("should_retry", ""):
        headers.append(("x-should-retry", should_retry))
    return headers


def _content_type(fault: Fault) -> str | None:
    if fault.name == "wrong_content_type":
        return fault.text("type", "text/plain; charset=utf-8").replace("+", "; ")
    if fault.name == "latin1":
        return "application/json; charset=iso-8859-1"
    return None if fault.name == "no_content_type" else "application/json"
