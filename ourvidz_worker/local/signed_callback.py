"""The product's `job-callback` of 2026-02: signed, with asset objects (contract section 5)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from ourvidz_worker.contract.callback import callback_signature
from ourvidz_worker.contract.catalogue import MEDIA_TYPES, Media
from ourvidz_worker.local.answers import Answer
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.job_callback import STATUSES
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.schema import now

SKIPPED = Answer(200, {"success": True, "skipped": True})


def signed_callback(database: Database, body: bytes, signature: str | None, secret: str) -> Answer:
    """Record what a worker says, if `signature` is the HMAC over exactly these bytes.

    A job that is unknown or already finished is skipped with 200; refusals are plain text.
    """
    expected = callback_signature(body, secret)
    if signature is None or not hmac.compare_digest(signature.encode(), expected.encode()):
        return Answer(401, "Unauthorized")
    try:
        call = parse_json(body)
    except ValueError as error:
        return Answer(500, {"error": "Internal server error", "details": str(error)})
    if not isinstance(call, dict) or not call.get("job_id") or not call.get("status"):
        return Answer(400, "Missing required fields: job_id/jobId, status")
    job = database.one("jobs", "id = ?", str(call["job_id"]))
    if job is None or job["status"] in ("completed", "cancelled"):
        return SKIPPED
    if call["status"] not in STATUSES:
        return Answer(500, "Failed to update job")
    _record(database, job, call)
    return Answer(
        200,
        {
            "success": True,
            "jobId": job["id"],
            "status": call["status"],
            "message": "Callback processed successfully",
        },
    )


def _record(database: Database, job: Row, call: Mapping[str, Any]) -> None:
    changes = {
        "status": call["status"],
        "completed_at": now(),
        "error_message": call.get("error_message"),
        "metadata": {**(job["metadata"] or {}), **_object(call.get("metadata")), "callback_received_at": now()},
    }
    database.update("jobs", changes, "id = ?", [job["id"]])
    if call["status"] != "completed":
        return
    for index, asset in enumerate(call.get("assets") or []):
        # A string has no url, its row is refused, and the call succeeds all the same.
        if isinstance(asset, dict) and asset.get("url"):
            _record_asset(database, job, index, asset)


def _record_asset(database: Database, job: Row, index: int, asset: Mapping[str, Any]) -> None:
    kind: Media = "video" if str(asset["url"]).endswith(".mp4") else "image"
    metadata = _object(asset.get("metadata"))
    seed = metadata.get("seed")
    database.insert(
        "workspace_assets",
        {
            "user_id": job["user_id"],
            "job_id": job["id"],
            "asset_type": kind,
            "temp_storage_path": str(asset["url"]).removeprefix("workspace-temp/"),
            "thumbnail_path": asset.get("thumbnail_url"),
            "mime_type": MEDIA_TYPES[kind],
            "asset_index": index,
            "generation_seed": seed if isinstance(seed, int) and abs(seed) < 2**63 else None,
            "generation_settings": metadata,
        },
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
