"""The product's `job-callback` of 2025-07, with its oddities (contract section 5)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ourvidz_worker.local.answers import Answer, refused
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.queue_job import title
from ourvidz_worker.local.schema import now

STATUSES = ("processing", "completed", "failed")
KEPT_FROM_WORKER = ("seed", "generation_time", "num_images")
REFERENCE = ("reference_image_url", "reference_strength", "reference_type")
VIDEO_THUMBNAIL = "system_assets/video-placeholder-thumbnail.png"


class CallbackRefused(Exception):
    """Whatever goes wrong, the function answers 400 with the message."""


def job_callback(database: Database, body: bytes) -> Answer:
    """Record what a worker says about a job.

    Every failure is 400 with a sentence, passing or final: a caller can only decide by the message.
    """
    try:
        call = _parsed(body)
        job = _job(database, call)
        _check(call, job)
    except CallbackRefused as error:
        return refused(400, str(error))
    assets = call.get("assets") or []
    job = _record(database, job, call, assets)
    if job["format"] == "video":
        _record_video(database, job, assets)
    else:
        _record_images(database, job, assets)
    return Answer(
        200,
        {
            "success": True,
            "message": "Job callback processed successfully",
            "debug": {
                "job_id": job["id"],
                "jobStatus": job["status"],
                "jobType": job["job_type"],
                "format": job["format"],
                "quality": job["quality"],
                "assetsProcessed": len(assets),
            },
        },
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        call = parse_json(body)
    except ValueError as error:
        raise CallbackRefused(f"the body is not JSON: {error}") from error
    if not isinstance(call, dict) or not call.get("job_id"):
        raise CallbackRefused("job_id is required")
    return call


def _job(database: Database, call: Mapping[str, Any]) -> Row:
    job_id = str(call["job_id"])
    try:
        uuid.UUID(job_id)
    except ValueError as error:
        raise CallbackRefused(f'invalid input syntax for type uuid: "{job_id}"') from error
    job = database.one("jobs", "id = ?", job_id)
    if job is None:
        raise CallbackRefused("Cannot coerce the result to a single JSON object")
    return job


def _check(call: Mapping[str, Any], job: Row) -> None:
    status, assets = call.get("status"), call.get("assets") or []
    if status not in STATUSES:
        raise CallbackRefused('new row for relation "jobs" violates check constraint "jobs_status_check"')
    if status != "completed":
        return
    if not isinstance(assets, list) or not all(isinstance(asset, str) for asset in assets):
        raise CallbackRefused("primaryAsset.includes is not a function")
    # The race: the job was queued, taken and finished before the front end linked its row.
    column = "video_id" if job["format"] == "video" else "image_id"
    if job[column] is None:
        kind = job["format"].capitalize()
        raise CallbackRefused(f"{kind} job {job['id']} cannot be completed without an associated {column}")


def _record(database: Database, job: Row, call: Mapping[str, Any], assets: Sequence[str]) -> Row:
    status = call["status"]
    changes = {
        "status": status,
        "completed_at": now() if status in ("completed", "failed") else None,
        "error_message": call.get("error_message") or None,
        "metadata": {**(job["metadata"] or {}), **_learned(call, job, assets)},
    }
    return database.update("jobs", changes, "id = ?", [job["id"]])[0]


def _learned(call: Mapping[str, Any], job: Row, assets: Sequence[str]) -> dict[str, Any]:
    """What the call adds to the job's metadata; most of what a worker reports is not kept."""
    reported = call.get("metadata")
    if not isinstance(reported, dict):
        reported = {}
    learned = {name: reported[name] for name in KEPT_FROM_WORKER if reported.get(name)}
    if reported.get("reference_image_url"):
        learned |= {name: reported.get(name) for name in REFERENCE}
    if job["job_type"] == "image_high" and call.get("enhancedPrompt"):
        learned["enhanced_prompt"] = call["enhancedPrompt"]
    if call["status"] == "completed":
        learned |= (
            {"primary_asset": assets[0], "all_assets": list(assets), "callback_processed_at": now()}
            if assets
            else {"callback_error": {"issue": "completed_without_assets", "timestamp": now()}}
        )
    return learned


def _record_images(database: Database, job: Row, assets: Sequence[str]) -> None:
    metadata = job["metadata"]
    if job["status"] == "completed":
        name = title(metadata.get("prompt") or metadata.get("original_prompt") or "Untitled Image")
        for index, asset in enumerate(assets):
            changes = {
                "title": f"{name} ({index + 1})" if len(assets) > 1 else name,
                "image_url": asset,
                "thumbnail_url": asset,
                "status": "completed",
                "updated_at": now(),
                "metadata": {**metadata, "image_index": index, "total_images": len(assets)},
            }
            database.update("images", changes, "job_id = ? AND image_index = ?", [job["id"], index])
        return
    # Only the first picture's row hears of it; so it is in the product.
    status = "failed" if job["status"] == "failed" else "generating"
    changes = {"status": status, "updated_at": now(), "metadata": {**metadata, "error_message": job["error_message"]}}
    database.update("images", changes, "id = ?", [job["image_id"]])


def _record_video(database: Database, job: Row, assets: Sequence[str]) -> None:
    changes: dict[str, Any] = {"status": job["status"]}
    if job["status"] == "failed":
        changes["error_message"] = job["error_message"]
    elif job["status"] == "completed":
        if not assets:
            return
        prompt = job["metadata"].get("prompt") or "Untitled Video"
        changes |= {
            "title": title(prompt),
            "video_url": assets[0],
            "thumbnail_url": VIDEO_THUMBNAIL,
            "completed_at": now(),
            "metadata": {**job["metadata"], "stored_path": assets[0]},
        }
    database.update("videos", changes, "id = ?", [job["video_id"]])
