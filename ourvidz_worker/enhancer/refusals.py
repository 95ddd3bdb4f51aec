"""Errors as HTTP: what a status means to a client is written in the README."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.errors import (
    AnswerRefused,
    AnswerTooLate,
    BadJob,
    ContentRefused,
    ModelUnavailable,
    Restart,
    TooManyWaiting,
    WorkerError,
)

RETRY_SECONDS = 5
GOING = "the language worker cannot go on and is about to start again; try again later"


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    error: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        return {"success": False, "error": self.error, **self.more}

    def response(self) -> JSONResponse:
        headers = {"Retry-After": str(RETRY_SECONDS)} if self.status == 503 else None
        return JSONResponse(self.body, self.status, headers=headers)


def refused(error: WorkerError | PayloadError) -> Refusal:
    match error:
        case PayloadError() | BadJob():
            return Refusal(400, str(error), {"field": error.field})
        case ContentRefused() | AnswerRefused():
            return Refusal(422, str(error), {"error_type": ContentRefused.error_type})
        case TooManyWaiting() | ModelUnavailable():
            return Refusal(503, str(error))
        case Restart():
            return Refusal(503, GOING)
        case AnswerTooLate():
            return Refusal(504, str(error))
        case _:
            return Refusal(502, str(error))
