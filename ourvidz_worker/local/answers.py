"""What a function of the product answers, before it becomes an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON object, or plain text where the real function sends plain text."""

    status: int
    body: Mapping[str, Any] | str

    def response(self) -> Response:
        if isinstance(self.body, str):
            return PlainTextResponse(self.body, self.status)
        return JSONResponse(dict(self.body), self.status)


def refused(status: int, error: str, **more: Any) -> Answer:
    return Answer(status, {"success": False, "error": error, **more})
