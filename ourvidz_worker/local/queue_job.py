"""The product's `queue-job`: makes a job's rows and puts the job on its queue (contract sections 2 and 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.contract.catalogue import Catalogue, JobType
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.prompts import negative_prompt
from ourvidz_worker.local.redis_commands import CommandFailed, RedisCommands, RedisUnreachable
from ourvidz_worker.local.requests import remember

MODEL_VARIANTS = {"sdxl": "lustify_sdxl", "wan": "wan_2_1_1_3b"}
FILE_EXTENSIONS = {"image": "png", "video": "mp4"}


class NotQueued(Exception):
    """Redis did not take the job; the job row says so, too."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a front end asks for."""

    user_id: str
    job_type: JobType
    metadata: Mapping[str, Any]
    project_id: str | None = None
    video_id: str | None = None
    image_id: str | None = None


class JobProducer:
    """Rows first, queue second, like the product: a worker may see a job before its rows are linked."""

    def __init__(self, database: Database, redis: RedisCommands, catalogue: Catalogue) -> None:
        self._database = database
        self._redis = redis
        self._catalogue = catalogue

    async def produce(self, order: Order, body: Mapping[str, Any] | None = None) -> tuple[Row, int]:
        """Queue a job and keep the request's `body`; gives its row and the queue's length. Raises `NotQueued`."""
        project = self._project(order)
        prompt = project.get("enhanced_prompt") or project.get("original_prompt") or order.metadata.get("prompt") or ""
        parameters = self._wan_parameters(order.job_type)
        metadata = self._metadata(order, str(prompt), project.get("character_id"), parameters)
        job = self._database.insert(
            "jobs",
            {
                "user_id": order.user_id,
                "job_type": order.job_type.name,
                "format": order.job_type.media,
                "quality": order.job_type.quality,
                "model_type": order.job_type.name,
                "metadata": metadata,
                "project_id": order.project_id,
            },
        )
        if body is not None:
            remember(self._database, job["id"], body)
        job = self.link(job, str(prompt), metadata["num_images"], order.image_id or order.video_id)
        payload = self._payload(order, job, str(prompt), parameters)
        return job, await self.push(order.job_type.queue, payload, job["id"])

    async def push(self, queue: str, payload: Mapping[str, Any] | str, job_id: str) -> int:
        """LPUSH a job, or the element that carries it; gives the queue's length. Raises `NotQueued`."""
        element = payload if isinstance(payload, str) else compact(payload)
        try:
            length = int(await self._redis.execute(["LPUSH", queue, element.encode("utf-8", "replace")]))
        except (CommandFailed, RedisUnreachable) as error:
            reason = f"Redis queue failed: {error}"
            self._database.update("jobs", {"status": "failed", "error_message": reason}, "id = ?", [job_id])
            raise NotQueued(reason) from error
        self._log_usage(job_id, queue)
        return length

    def link(self, job: Row, prompt: str, count: int, first_id: str | None = None) -> Row:
        """Make the job's image rows (one per image) or its video row, and name the first in the job."""
        shared = {
            "user_id": job["user_id"],
            "job_id": job["id"],
            "prompt": prompt,
            "title": title(prompt),
            "status": "queued",
            "quality": job["quality"],
            "format": FILE_EXTENSIONS[job["format"]],
            "metadata": job["metadata"],
        }
        if job["format"] == "video":
            video = self._database.insert("videos", shared | _named(first_id), replace=True)
            column, row_id = "video_id", video["id"]
        else:
            images = [
                self._database.insert(
                    "images", shared | {"image_index": index} | _named(first_id if index == 0 else None), replace=True
                )
                for index in range(count)
            ]
            column, row_id = "image_id", images[0]["id"]
        return self._database.update("jobs", {column: row_id}, "id = ?", [job["id"]])[0]

    def _project(self, order: Order) -> Row:
        """The caller's project, whose prompt goes before the request's."""
        found = self._database.one("projects", "id = ? AND user_id = ?", order.project_id, order.user_id)
        return found or {}

    def _wan_parameters(self, job_type: JobType) -> dict[str, Any]:
        """WAN's parameters for the same format and quality: SDXL jobs carry them too (contract section 2)."""
        wan = job_type if job_type.model_family == "wan" else self._catalogue[f"{job_type.media}_{job_type.quality}"]
        return {
            "size": f"{wan.width}*{wan.height}",
            "sample_steps": wan.num_inference_steps,
            "sample_guide_scale": wan.guidance_scale,
            "sample_solver": wan.solver,
            "sample_shift": _number(wan.flow_shift),
            "frame_num": wan.num_frames,
            "expected_time": _number(wan.expected_seconds),
        }

    def _metadata(
        self, order: Order, prompt: str, character_id: str | None, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        job_type = order.job_type
        sdxl = job_type.model_family == "sdxl"
        ids = {"project_id": order.project_id, "video_id": order.video_id, "image_id": order.image_id}
        return {
            **order.metadata,
            "model_variant": MODEL_VARIANTS[job_type.model_family],
            "queue": job_type.queue,
            "dual_worker_routing": True,
            "negative_prompt_supported": sdxl,
            **(
                {"negative_prompt": self._negative(order, prompt), "negative_prompt_generation_error": None}
                if sdxl
                else {}
            ),
            "prompt_length": len(prompt),
            "prompt_word_count": len(prompt.split(" ")),
            "generation_timestamp": _timestamp(),
            "edge_function_version": "2.1.0",
            "expected_generation_time": parameters["expected_time"],
            **{name: parameters[name] for name in SAMPLING},
            "num_images": order.metadata.get("num_images") or 1,
            "batch_count": order.metadata.get("batch_count") or 1,
            "content_type": job_type.media,
            "file_extension": FILE_EXTENSIONS[job_type.media],
            "user_id": order.user_id,
            **_present(ids),
            "character_id": character_id,
        }

    def _negative(self, order: Order, prompt: str) -> str:
        """The producer's terms, behind the user's own where there are any."""
        own = order.metadata.get("negative_prompt")
        terms = negative_prompt(prompt)
        return f"{own.strip().rstrip(',')}, {terms}" if isinstance(own, str) and own.strip() else terms

    def _payload(self, order: Order, job: Row, prompt: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        metadata = job["metadata"]
        sdxl = order.job_type.model_family == "sdxl"
        return {
            "id": job["id"],
            "type": order.job_type.name,
            "prompt": prompt,
            "config": {
                "size": parameters["size"],
                **{name: parameters[name] for name in SAMPLING},
                "frame_num": parameters["frame_num"],
                "enhance_prompt": order.job_type.enhanced,
                "expected_time": parameters["expected_time"],
                "content_type": order.job_type.media,
                "file_extension": FILE_EXTENSIONS[order.job_type.media],
                "num_images": metadata["num_images"],
            },
            "user_id": order.user_id,
            "created_at": _timestamp(),
            **({"negative_prompt": metadata["negative_prompt"]} if sdxl else {}),
            **_present({"video_id": order.video_id, "image_id": order.image_id}),
            "character_id": metadata["character_id"],
            "model_variant": metadata["model_variant"],
            "bucket": metadata.get("bucket") or order.job_type.bucket,
            "metadata": metadata,
        }

    def _log_usage(self, job_id: str, queue: str) -> None:
        job = self._database.one("jobs", "id = ?", job_id)
        if job is None:
            return
        spent = job["metadata"].get("credits")
        self._database.insert(
            "usage_logs",
            {
                "user_id": job["user_id"],
                "action": job["job_type"],
                "format": job["format"],
                "quality": job["quality"],
                "credits_consumed": spent if isinstance(spent, int) else 1,
                "metadata": {"job_id": job_id, "queue": queue, "model_type": job["job_type"]},
            },
        )


SAMPLING = ("sample_steps", "sample_guide_scale", "sample_solver", "sample_shift")


def compact(value: object) -> str:
    """JSON as the producer writes it: no blanks, no escapes for letters."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def title(prompt: object) -> str:
    prompt = str(prompt)
    return prompt if len(prompt) <= 60 else prompt[:60] + "..."


def _named(row_id: str | None) -> dict[str, str]:
    return {"id": row_id} if row_id else {}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _number(value: float) -> float | int:
    """A whole number without a fraction, as JavaScript writes it."""
    return int(value) if value.is_integer() else value


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
