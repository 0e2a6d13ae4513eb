"""A loopback server that answers from a script and keeps, byte for byte, what crossed the wire.

For what the fault server does not speak: the text completions endpoint, Azure's addresses, replies that hold the key.
A script gets the parsed body and returns a text or a `Reply`, as for `promptlab.testing.ScriptedBackend`.
"""

import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from promptlab.testing import Reply, text_reply

Script = Callable[[dict[str, Any]], str | Reply]


@dataclass(frozen=True)
class Crossed:
    """One request and its reply; both bodies as they were before and after content encoding."""

    path: str
    headers: dict[str, str]
    body: bytes
    reply: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that hangs up is no fault of the server's."""


class Wire:
    """The server, as a context manager; `crossed` has every exchange in order."""

    def __init__(self, script: Script | str = "ok", *, zips: bool = False) -> None:
        self.script: Script = script if callable(script) else lambda _: script
        self.zips = zips
        self.crossed: list[Crossed] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def origin(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        """The address for an OpenAI client."""
        return f"{self.origin}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"{}")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["content-length"])))

            def _answer(self, body: bytes) -> None:
                asked = json.loads(body)
                found = wire.script(asked)
                reply = text_reply(found, asked) if isinstance(found, str) else found
                headers = {name.lower(): value for name, value in self.headers.items()}
                wire.crossed.append(Crossed(self.path, headers, body, reply.content))
                content = gzip.compress(reply.content) if wire.zips else reply.content
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if wire.zips:
                    self.send_header("content-encoding", "gzip")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
