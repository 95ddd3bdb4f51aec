"""Recorded jobs put back on the queue under their own ids, with the rows they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ourvidz_worker.contract.catalogue import Catalogue, JobType
from ourvidz_worker.contract.envelope import open_delivery, open_payload
from ourvidz_worker.contract.parse import OLDEST_NUM_IMAGES
from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.queue_job import JobProducer
from ourvidz_worker.local.requests import body_of, remember


class Recorder:
    """Replays payloads; a job that was replayed before starts anew."""

    def __init__(self, database: Database, producer: JobProducer, catalogue: Catalogue) -> None:
        self._database = database
        self._producer = producer
        self._catalogue = catalogue
        self._unlinked: dict[str, Mapping[str, Any]] = {}

    async def submit(self, payload: Mapping[str, Any] | str, *, link: bool) -> str:
        """Make the job's rows and LPUSH it; a string goes onto the queue byte for byte. Gives the job's id.

        Raises `ValueError` when the payload has no id or a type that is not in the catalogue.
        """
        job = open_payload(open_delivery(payload).original) if isinstance(payload, str) else payload
        job_type = self._type(job)
        row = self._insert(job, job_type)
        self._unlinked[row["id"]] = job
        if link:
            self.link(row["id"])
        await self._producer.push(job_type.queue, payload, row["id"])
        return str(row["id"])

    def link(self, job_id: str) -> None:
        """Make and link the image or video rows, which the product is sometimes late with. Raises `KeyError`."""
        job = self._unlinked.pop(job_id)
        row = self._database.select("jobs", "id = ?", [job_id])[0]
        first_id = job.get("image_id") or job.get("video_id")
        self._producer.link(row, prompt_of(job), images_of(job), str(first_id) if first_id else None)

    def _type(self, job: Mapping[str, Any]) -> JobType:
        name = job.get("type") or job.get("job_type")
        if name not in self._catalogue:
            raise ValueError(f"the payload's type {name!r} is not in the catalogue: {', '.join(self._catalogue)}")
        return self._catalogue[str(name)]

    def _insert(self, job: Mapping[str, Any], job_type: JobType) -> Row:
        job_id = job.get("id") or job.get("job_id")
        if not job_id:
            raise ValueError("the payload has no id")
        for table in ("images", "videos", "workspace_assets", "callbacks"):
            self._database.delete(table, "job_id = ?", [str(job_id)])
        sections = [section for section in (job.get("config"), job) if isinstance(section, Mapping)]
        remember(
            self._database,
            str(job_id),
            body_of(job_type.name, {**metadata_of(job), "prompt": prompt_of(job)}, *sections),
        )
        return self._database.insert(
            "jobs",
            {
                "id": str(job_id),
                "user_id": job.get("user_id") or DEMO_USER_ID,
                "job_type": job_type.name,
                "format": job_type.media,
                "quality": job_type.quality,
                "model_type": job_type.name,
                "metadata": {
                    "prompt": prompt_of(job),
                    **metadata_of(job),
                    "bucket": job.get("bucket") or job_type.bucket,  # where the page looks for the files
                },
                "project_id": metadata_of(job).get("project_id"),
            },
            replace=True,
        )


def metadata_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = job.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def prompt_of(job: Mapping[str, Any]) -> str:
    return str(job.get("prompt") or metadata_of(job).get("prompt") or "")


def images_of(job: Mapping[str, Any]) -> int:
    """How many rows the product made; a number that only the worker may refuse counts as one."""
    sections = [part for part in (job.get("config"), job.get("metadata"), job) if isinstance(part, Mapping)]
    named = next((section["num_images"] for section in sections if section.get("num_images")), OLDEST_NUM_IMAGES)
    return named if isinstance(named, int) and 1 <= named <= OLDEST_NUM_IMAGES else 1
