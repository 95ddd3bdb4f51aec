"""A receiver of signed reports, as somebody else's product would have it."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ReportReceiver:
    """`with ReportReceiver(secret) as receiver:` keeps the reports whose signature is right, in order."""

    def __init__(self, secret: str) -> None:
        self.reports: list[dict[str, Any]] = []
        reports = self.reports

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
                genuine = hmac.compare_digest(signature, self.headers.get("X-Callback-Signature", ""))
                if genuine:
                    reports.append(json.loads(body))
                self.send_response(204 if genuine else 401)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="report-receiver")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/reports"

    def statuses(self, job_id: str) -> list[str]:
        return [report["status"] for report in self.reports if report["job_id"] == job_id]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
