"""What `queue-job` was asked for, word for word, so that it can be asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ourvidz_worker.local.database import Database, Row

# What a producer may have put into a job's config or metadata because somebody asked for it.
_WISHES = (
    "num_images",
    "seed",
    "scheduler",
    "reference_image",
    "reference_image_url",
    "reference_type",
    "reference_strength",
    "references",
    "start_reference_url",
    "start_reference_image_url",
    "end_reference_url",
    "end_reference_image_url",
    "first_frame",
    "last_frame",
)


def remember(database: Database, job_id: str, body: Mapping[str, Any]) -> None:
    database.insert("requests", {"job_id": job_id, "body": dict(body)}, replace=True)


def remembered(database: Database, job: Row) -> Mapping[str, Any]:
    """The body that queues this job once more; made up of its row where it came by another way."""
    found = database.one("requests", "job_id = ?", job["id"])
    return found["body"] if found else body_of(job["job_type"], job["metadata"] or {})


def body_of(job_type: str, metadata: Mapping[str, Any], *sections: Mapping[str, Any]) -> dict[str, Any]:
    """A body for `queue-job` of what a job says in its metadata and, going over that, in `sections`."""
    wishes: dict[str, Any] = {"prompt": metadata.get("original_prompt") or metadata.get("prompt") or ""}
    for section in (metadata, *sections):
        wishes |= {name: section[name] for name in _WISHES if section.get(name) not in (None, "")}
    return {"jobType": job_type, "metadata": wishes}
