"""The product's functions below `/functions/v1`, behind the gateway that checks the token first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ourvidz_worker.contract.callback import CallbackProfile
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.local.answers import Answer, refused
from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.database import Database
from ourvidz_worker.local.enhance_prompt import Enhance, enhance_prompt
from ourvidz_worker.local.job_callback import job_callback
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.queue_job import JobProducer, NotQueued, Order
from ourvidz_worker.local.schema import now
from ourvidz_worker.local.signed_callback import signed_callback

ADMIN_JOB_TYPE = "sdxl_image_fast"
PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, x-client-info, apikey, content-type",
}

Function = Callable[[Request, Identity], Awaitable[Answer]]


class BadBody(Exception):
    """A body that is not a JSON object."""


class Functions:
    """One method per function; each gives an `Answer`."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        producer: JobProducer,
        catalogue: Catalogue,
        *,
        enhance: Enhance | None,
        callback_profile: CallbackProfile,
        callback_secret: str,
    ) -> None:
        self._database = database
        self._keys = keys
        self._producer = producer
        self._catalogue = catalogue
        self._enhance = enhance
        self._profile = callback_profile
        self._callback_secret = callback_secret
        self._functions: dict[str, Function] = {
            "queue-job": self.queue_job,
            "job-callback": self.job_callback,
            "enhance-prompt": self.enhance_prompt,
            "generate-admin-image": self.generate_admin_image,
        }

    def routes(self) -> list[Route]:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return [Route("/{name}", self.answer, methods=methods)]

    async def answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=PREFLIGHT)
        try:
            identity = self._admit(request)
        except BadToken as error:
            return JSONResponse({"code": 401, "message": str(error)}, 401)
        function = self._functions.get(request.path_params["name"])
        if function is None:
            return JSONResponse({"code": "NOT_FOUND", "message": "Requested function was not found"}, 404)
        return (await function(request, identity)).response()

    def _admit(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BadToken("Missing authorization header")
        try:
            if key := request.headers.get("apikey"):
                self._keys.identify(key)
            return self._keys.identify(token)
        except BadToken as error:
            raise BadToken("Invalid JWT") from error

    async def queue_job(self, request: Request, identity: Identity) -> Answer:
        """Contract section 6."""
        if identity.user_id is None:
            return refused(401, "Authentication required", details="Auth session missing!")
        try:
            body = await _json(request)
            order = self._order(identity.user_id, body)
            if isinstance(order, Answer):
                return order
            return await self._queued(order, body)
        except BadBody as error:
            return refused(500, str(error), details="Unhandled server error")

    async def job_callback(self, request: Request, _identity: Identity) -> Answer:
        """Contract section 5, in the profile that the backend was started with; every call is recorded."""
        body = await request.body()
        if self._profile == "2025-07":
            answer = job_callback(self._database, body)
        elif request.method == "POST":
            signature = request.headers.get("x-callback-signature")
            answer = signed_callback(self._database, body, signature, self._callback_secret)
        else:
            answer = Answer(405, "Method not allowed")
        self._remember(body, answer)
        return answer

    async def enhance_prompt(self, request: Request, _identity: Identity) -> Answer:
        """Rewrite a prompt with the model at hand, or openly by a template."""
        try:
            body = await _json(request)
        except BadBody as error:
            return refused(500, "Failed to enhance prompt", details=str(error))
        return await enhance_prompt(body, self._enhance, self._catalogue)

    async def generate_admin_image(self, request: Request, identity: Identity) -> Answer:
        """Queue a fast SDXL job for the demo user; only the service key may."""
        if not identity.is_service:
            return refused(403, "Admin access required: call this function with the service key")
        try:
            body = await _json(request)
        except BadBody as error:
            return refused(400, str(error))
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            return refused(400, "Prompt is required and must be a string")
        mode, more = body.get("mode"), body.get("metadata")
        metadata = {**(more if isinstance(more, dict) else {}), "prompt": prompt, "mode": mode}
        answer = await self._queued(Order(DEMO_USER_ID, self._catalogue[ADMIN_JOB_TYPE], metadata))
        if isinstance(answer.body, str) or not answer.body["success"]:
            return answer
        job = answer.body["job"]
        image = {"id": job["image_id"], "prompt": prompt, "mode": mode, "timestamp": now(), "metadata": more}
        return Answer(200, {**answer.body, "image": image})

    def _order(self, user_id: str, body: dict[str, Any]) -> Order | Answer:
        name, metadata = body.get("jobType"), body.get("metadata") or {}
        if not isinstance(name, str) or name not in self._catalogue:
            return refused(400, f"Invalid job type: {name}", validJobTypes=list(self._catalogue))
        if not isinstance(metadata, dict):
            raise BadBody("metadata must be a JSON object")
        if not _is_count(metadata.get("num_images", 1)):
            raise BadBody(f"metadata.num_images must be a whole number from 1 to 6, not {metadata['num_images']!r}")
        ids = {column: _uuid(body.get(field), field) for field, column in ID_FIELDS.items()}
        return Order(user_id, self._catalogue[name], metadata, **ids)

    async def _queued(self, order: Order, body: dict[str, Any] | None = None) -> Answer:
        """`body` is what was asked for, to be asked for again."""
        try:
            job, length = await self._producer.produce(order, body)
        except NotQueued as error:
            return refused(500, f"Failed to queue job in Redis: {error}", details={"queueName": order.job_type.queue})
        sdxl = order.job_type.model_family == "sdxl"
        return Answer(
            200,
            {
                "success": True,
                "job": job,
                "queueLength": length,
                "modelVariant": job["metadata"]["model_variant"],
                "isSDXL": sdxl,
                "negativePromptSupported": sdxl,
                "queue": order.job_type.queue,
                "jobType": order.job_type.name,
                "message": "Job queued successfully",
            },
        )

    def _remember(self, body: bytes, answer: Answer) -> None:
        try:
            call = parse_json(body)
        except ValueError:
            call = None
        named = call if isinstance(call, dict) else {}
        self._database.insert(
            "callbacks",
            {
                "job_id": str(named.get("job_id", "")),
                "status": str(named.get("status", "")),
                "body": body.decode("utf-8", "replace"),
                "answer_status": answer.status,
                "answer": answer.body if isinstance(answer.body, str) else json.dumps(dict(answer.body)),
            },
        )


ID_FIELDS = {"projectId": "project_id", "videoId": "video_id", "imageId": "image_id"}


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.body())
    except ValueError as error:
        raise BadBody(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadBody("the body is not a JSON object")
    return body


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 6)


def _uuid(value: object, name: str) -> str | None:
    if value is None:
        return None
    try:
        return str(uuid.UUID(str(value)))
    except ValueError as error:
        raise BadBody(f'{name}: invalid input syntax for type uuid: "{value}"') from error
