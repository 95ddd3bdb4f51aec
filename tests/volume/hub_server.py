"""A hub on this machine: files with ranges and ETags, a redirect for large ones, and much that can go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

_ELSEWHERE = "/elsewhere/"


@dataclass(frozen=True)
class Asked:
    """One request, as the hub saw it."""

    path: str
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


@dataclass
class HubServer:
    """`with HubServer({"org/name/resolve/…": content}) as hub:`; `url` is what HF_ENDPOINT is set to.

    The lists under a path are used up, one entry for each request: `statuses` answered instead, `breaks` number of
    bytes after which the connection ends.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    breaks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    knows_ranges: bool = True
    states_lengths: bool = True
    redirects: bool = False
    stated_sha256: str | None = None
    extra_headers: dict[str, str] = field(default_factory=dict)
    refusal_headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="hub-server")
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.lstrip("/")
        elsewhere = self.path.startswith(_ELSEWHERE)
        path = path.removeprefix(_ELSEWHERE.lstrip("/"))
        hub.asked.append(Asked(self.path, dict(self.headers)))
        if hub.statuses[path]:
            self._refuse(hub.statuses[path].pop(0))
        elif path not in hub.files:
            self._refuse(404)
        elif hub.redirects and not elsewhere:
            self._redirect(path)
        else:
            with contextlib.suppress(ConnectionError):  # the client hung up
                self._send(path, hub.files[path])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing."""

    def _redirect(self, path: str) -> None:
        self.send_response(302)
        # Another host by name, though the same machine: credentials must stay behind.
        self.send_header("Location", self.hub.url.replace("127.0.0.1", "localhost") + _ELSEWHERE + path)
        self.send_header("Content-Length", "0")
        if self.hub.stated_sha256:
            self.send_header("X-Linked-ETag", f'"{self.hub.stated_sha256}"')
        self.end_headers()

    def _refuse(self, status: int) -> None:
        body = b"<html>not this file</html>"
        self.send_response(status)
        for name, value in self.hub.refusal_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, path: str, content: bytes) -> None:
        hub = self.hub
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = self._start(etag) if hub.knows_ranges else 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", etag)
        if hub.states_lengths:
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.send_header("Transfer-Encoding", "chunked")
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        for name, value in hub.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        if hub.breaks[path]:
            self.wfile.write(content[start : start + hub.breaks[path].pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def _start(self, etag: str) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(wanted[1]) if wanted and self.headers.get("If-Range") == etag else 0
