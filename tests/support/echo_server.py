"""A server that repeats in its answer whatever it was sent, credentials included."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

HTML = "text/html"
TEXT = "text/plain"
JSON = "application/json"


class EchoServer:
    """`with EchoServer(403) as server:` answers every request so at `server.url`; `targets` are the paths asked for."""

    def __init__(self, status: int = 400, *, media_type: str = JSON) -> None:
        self.targets: list[str] = []
        self.echoed: list[str] = []
        self.status = status
        self.media_type = media_type
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, said: str) -> bytes:
        if self.media_type == HTML:
            return f"<html><body><h1>{said}</h1></body></html>".encode()
        if self.media_type == TEXT:
            return said.encode()
        words = dict.fromkeys(("error", "message", "msg", "error_description", "details", "hint"), said)
        return json.dumps({**words, "statusCode": str(self.status), "code": "refused"}).encode()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the inner class has its own self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # every answer ends its connection, so that the server can stop

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = "; ".join(f"{name}: {value}" for name, value in self.headers.items())
                said = f"refused: {headers}; {self.path} {body[:500].decode('utf-8', 'replace')}"
                server.targets.append(self.path)
                server.echoed.append(said)
                content = server._answer(said)
                self.send_response(server.status)
                self.send_header("Content-Type", server.media_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
