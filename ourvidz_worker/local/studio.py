"""What the studio asks for beside the product's own interfaces, under `/local`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ourvidz_worker import __version__
from ourvidz_worker.contract.catalogue import Catalogue, JobType
from ourvidz_worker.contract.job import FRAME_ROLES, IMAGE_ROLES
from ourvidz_worker.contract.parse import NUM_IMAGES
from ourvidz_worker.local.auth import DEMO_EMAIL, Auth
from ourvidz_worker.local.cancellation import AlreadyOver, Cancellation
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.gateway import bearer
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.live import Live
from ourvidz_worker.local.pods import Pods
from ourvidz_worker.local.redis_commands import CommandFailed, RedisUnreachable
from ourvidz_worker.local.same_origin import objection
from ourvidz_worker.local.showcase import Showcase
from ourvidz_worker.local.waiting_line import WaitingLine

PRIVATE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

Handler = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A request that gets no more than a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Studio:
    """A user sees the user's own jobs, the service key all; no other site reads any of it."""

    def __init__(
        self,
        *,
        database: Database,
        keys: Keys,
        auth: Auth,
        catalogue: Catalogue,
        showcase: Showcase,
        line: WaitingLine,
        pods: Pods,
        live: Live,
        host: str,
    ) -> None:
        self._database = database
        self._keys = keys
        self._auth = auth
        self._catalogue = catalogue
        self._showcase = showcase
        self._line = line
        self._pods = pods
        self._live = live
        self._cancellation = Cancellation(database, line, catalogue)
        self._host = host

    def routes(self) -> list[Route]:
        return [
            Route("/local/config", self.config),
            Route("/local/session", _answering(self.session), methods=["POST"]),
            Route("/local/jobs", _answering(self.jobs)),
            Route("/local/jobs/{job_id}/cancel", _answering(self.cancel), methods=["POST"]),
            Route("/local/previews/{job_id}", _answering(self.preview)),
            Route("/local/events", self.events),
        ]

    async def config(self, _request: Request) -> Response:
        """What there is to choose from; nothing in it is secret."""
        return _json(
            {
                "version": __version__,
                "anon_key": self._keys.anon_key,
                "demo_email": DEMO_EMAIL,
                "job_types": [_choice(job_type) for job_type in self._catalogue.values()],
            }
        )

    async def session(self, request: Request) -> Response:
        """Signs the demo user in without a password: this is a development backend."""
        if (problem := objection(request, self._host)) is not None:
            raise Refused(403, problem)
        return _json(self._auth.demo_session())

    async def jobs(self, request: Request) -> Response:
        """The newest jobs, each with all that is known of it and signed addresses of its files."""
        rows = self._showcase.rows(self._identify(request).user_id)
        waiting = [row["id"] for row in rows if row["status"] in ("queued", "processing")]
        return _json({"jobs": self._showcase.shown(rows, await self._line.cancelled(waiting))})

    async def cancel(self, request: Request) -> Response:
        job = self._job(request)
        try:
            status = await self._cancellation.cancel(job)
        except AlreadyOver as error:
            raise Refused(409, str(error)) from error
        self._live.rows_changed()  # a mark in Redis is no row, and to be seen all the same
        return _json({"status": status}, 202)

    async def preview(self, request: Request) -> Response:
        """204 where there is none (any more): the page asks a moment after it heard of one, and that is no mistake."""
        picture = await self._pods.preview(self._job(request)["id"])
        if picture is None:
            return Response(status_code=204, headers=PRIVATE)
        return Response(picture, media_type="image/webp", headers=PRIVATE)

    async def events(self, _request: Request) -> Response:
        """Without a token, as a browser's EventSource sends none: it tells ids, and nothing that a job holds."""
        headers = {**PRIVATE, "X-Accel-Buffering": "no"}
        return StreamingResponse(self._live.events(), media_type="text/event-stream", headers=headers)

    def _identify(self, request: Request) -> Identity:
        try:
            identity = bearer(request, self._keys)
        except BadToken as error:
            raise Refused(401, f"sign in first: {error}") from error
        if identity.user_id is None and not identity.is_service:
            raise Refused(401, "sign in first: the anonymous key has no jobs")
        return identity

    def _job(self, request: Request) -> Row:
        """The job of the path, if this caller may know of it."""
        identity = self._identify(request)
        row = self._database.one("jobs", "id = ?", request.path_params["job_id"])
        if row is None or not (identity.is_service or row["user_id"] == identity.user_id):
            raise Refused(404, "there is no such job")
        return row


def _choice(job_type: JobType) -> dict[str, object]:
    video = job_type.media == "video"
    return {
        "name": job_type.name,
        "family": job_type.model_family,
        "media": job_type.media,
        "quality": job_type.quality,
        "enhanced": job_type.enhanced,
        "num_inference_steps": job_type.num_inference_steps,
        "guidance_scale": job_type.guidance_scale,
        "width": job_type.width,
        "height": job_type.height,
        "num_frames": job_type.num_frames,
        "fps": job_type.fps,
        "expected_seconds": job_type.expected_seconds,
        "num_images": [1] if video else list(NUM_IMAGES),
        "negative_prompt": job_type.model_family == "sdxl",
        "references": [*IMAGE_ROLES, *(FRAME_ROLES if video else ())],
    }


def _json(content: object, status: int = 200) -> Response:
    """In ASCII: a report may hold half of a surrogate pair, which no UTF-8 can."""
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, headers=PRIVATE, media_type="application/json")


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _json({"error": str(refused)}, refused.status)
        except (CommandFailed, RedisUnreachable) as error:
            return _json({"error": f"the queue cannot be asked: {error}"}, 503)

    return answer
