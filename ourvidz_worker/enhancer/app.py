"""The routes of the language worker."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.enhancer.answers import enhanced_answer, original_answer, storyboard_answer
from ourvidz_worker.enhancer.bodies import (
    MAX_BODY,
    BodyTooLarge,
    BodyTooSlow,
    EnhanceRequest,
    enhance_request,
    read_body,
    storyboard_request,
)
from ourvidz_worker.enhancer.events import EventStream, event
from ourvidz_worker.enhancer.presence import ClientGone, while_present
from ourvidz_worker.enhancer.refusals import Refusal, refused
from ourvidz_worker.enhancer.token_guard import OPEN_PATH, TokenGuard
from ourvidz_worker.errors import AnswerRefused, AnswerUnusable, Restart, WorkerError
from ourvidz_worker.instruments.exchanges import language_answer
from ourvidz_worker.runtime.language.enhanced import Enhanced
from ourvidz_worker.runtime.language.service import PromptService

Endpoint = Callable[[Request], Awaitable[Response]]

EVENT_STREAM = "text/event-stream"
STORYBOARD_PATIENCE = 5  # times the limit: a storyboard is as long as many prompts
NOBODY_LISTENS = 499
PLACES = f"GET {OPEN_PATH}, POST /enhance or POST /storyboard"


def build_app(
    service: PromptService,
    *,
    token: str,
    time_limit: float,
    catalogue: Catalogue,
    on_restart: Callable[[Restart], None],
) -> Starlette:
    """The language worker over HTTP; `time_limit` bounds one request, in seconds, its wait included, and a
    storyboard at `STORYBOARD_PATIENCE` times that.

    `on_restart` hears of an error after which the process cannot go on.
    """
    worker = _LanguageWorker(service, time_limit, catalogue, on_restart)
    app = Starlette(
        routes=[
            Route(OPEN_PATH, worker.health, methods=["GET"]),
            Route("/enhance", worker.answering(worker.enhance), methods=["POST"]),
            Route("/storyboard", worker.answering(worker.storyboard), methods=["POST"]),
        ],
        middleware=[Middleware(TokenGuard, token)],
        exception_handlers={HTTPException: _not_here},
    )
    app.router.redirect_slashes = False  # behind a proxy they would lead to another scheme
    return app


class _LanguageWorker:
    def __init__(
        self,
        service: PromptService,
        time_limit: float,
        catalogue: Catalogue,
        on_restart: Callable[[Restart], None],
    ) -> None:
        self._service = service
        self._time_limit = time_limit
        self._catalogue = catalogue
        self._on_restart = on_restart

    async def health(self, _request: Request) -> Response:
        service = self._service
        return JSONResponse(
            {"state": service.state, "model": service.model_name, "queue_length": service.waiting},
            headers={"Cache-Control": "no-store"},
        )

    async def enhance(self, request: Request) -> Response:
        body = await read_body(request)
        asked = enhance_request(body, self._catalogue, stream=EVENT_STREAM in request.headers.get("accept", ""))
        if asked.stream:
            return await self._stream(request, asked)
        begun = time.monotonic()
        try:
            enhanced = await while_present(
                request.receive,
                self._service.enhance(
                    asked.prompt,
                    asked.job_type,
                    time_limit=self._time_limit,
                    seed=asked.seed,
                    language=asked.language,
                    fresh=asked.fresh,
                ),
            )
        except AnswerUnusable as error:
            return JSONResponse(self._fallback(asked, error, begun))
        return JSONResponse(self._result(asked, enhanced))

    async def storyboard(self, request: Request) -> Response:
        asked = storyboard_request(await read_body(request), self._catalogue)
        storyboard = await while_present(
            request.receive,
            self._service.storyboard(
                asked.script,
                asked.job_type,
                time_limit=self._time_limit * STORYBOARD_PATIENCE,
                scenes=asked.scenes,
                seed=asked.seed,
                language=asked.language,
            ),
        )
        return JSONResponse(storyboard_answer(storyboard))

    def answering(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with every error turned into its JSON, and every answer counted."""

        async def answer(request: Request) -> Response:
            begun = time.monotonic()
            response = await self._answered(endpoint, request)
            language_answer(request.url.path.strip("/"), response.status_code, time.monotonic() - begun)
            return response

        return answer

    async def _answered(self, endpoint: Endpoint, request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientGone:
            return Response(status_code=NOBODY_LISTENS)
        except Exception as error:  # noqa: BLE001 - a bug costs one request, not the worker
            return self._refusal(error).response()

    async def _stream(self, request: Request, asked: EnhanceRequest) -> Response:
        """The status line waits for the first piece, so that a refusal before it has a status of its own."""
        pieces = self._service.stream(
            asked.prompt,
            asked.job_type,
            time_limit=self._time_limit,
            seed=asked.seed,
            language=asked.language,
            fresh=asked.fresh,
        )
        begun = time.monotonic()
        try:
            first = await while_present(request.receive, _next(pieces))
        except AnswerRefused:
            raise
        except AnswerUnusable as error:
            return JSONResponse(self._fallback(asked, error, begun))
        except BaseException:
            await pieces.aclose()
            raise
        return EventStream(self._events(first, pieces, asked, begun), pieces, self._time_limit)

    async def _events(
        self, first: str | Enhanced, others: AsyncIterator[str | Enhanced], asked: EnhanceRequest, begun: float
    ) -> AsyncIterator[bytes]:
        yield self._event(first, asked)
        try:
            async for piece in others:
                yield self._event(piece, asked)
        except Exception as error:  # noqa: BLE001 - as above
            if isinstance(error, AnswerUnusable) and not isinstance(error, AnswerRefused):
                yield event("result", self._fallback(asked, error, begun))
            else:
                refusal = self._refusal(error)
                yield event("error", {**refusal.body, "status": refusal.status})

    def _event(self, piece: str | Enhanced, asked: EnhanceRequest) -> bytes:
        if isinstance(piece, str):
            return event("piece", {"text": piece})
        return event("result", self._result(asked, piece))

    def _result(self, asked: EnhanceRequest, enhanced: Enhanced) -> dict[str, object]:
        return enhanced_answer(asked, enhanced, self._service.content_mode(asked.prompt))

    def _fallback(self, asked: EnhanceRequest, error: AnswerUnusable, begun: float) -> dict[str, object]:
        structlog.get_logger().warning("prompt_not_rewritten", problem=str(error))
        return original_answer(asked, error, time.monotonic() - begun, self._service.content_mode(asked.prompt))

    def _refusal(self, error: Exception) -> Refusal:
        match error:
            case BodyTooLarge():
                return Refusal(413, f"the body is larger than {MAX_BODY} bytes")
            case BodyTooSlow():
                return Refusal(408, "the body did not come in time")
            case PayloadError():
                return refused(error)
            case WorkerError():
                if isinstance(error, Restart):
                    self._on_restart(error)
                refusal = refused(error)
                structlog.get_logger().warning("request_refused", status=refusal.status, problem=str(error))
                return refusal
            case _:
                structlog.get_logger().error("request_failed", exc_info=error)
                return Refusal(500, "the request failed because of an internal error")


async def _next(pieces: AsyncGenerator[str | Enhanced, None]) -> str | Enhanced:
    return await anext(pieces)


async def _not_here(request: Request, error: Exception) -> Response:
    """404 and 405: Starlette raises nothing else."""
    assert isinstance(error, HTTPException)
    problem = f"there is no {request.method} {request.url.path[:100]}: ask {PLACES}"
    return JSONResponse({"success": False, "error": problem}, error.status_code, headers=error.headers)
