"""Jobs as the studio shows them: their row, what their worker reported, and their files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.fields import Sections
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.contract.references import parse_references
from ourvidz_worker.errors import JobCancelled
from ourvidz_worker.local.addresses import Addresses
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.requests import remembered

SHOWN = 200
OVER = ("completed", "failed", "cancelled")
ACCEPTED = 200
_STORED = re.compile(r"/storage/v1/object/(?:sign/|public/|authenticated/)?([^/]+)/(.+)")


@dataclass(slots=True)
class Heard:
    """What a worker told the product of one job."""

    started_at: str | None = None
    status: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    enhanced_prompt: str | None = None


class Showcase:
    def __init__(self, database: Database, addresses: Addresses, catalogue: Catalogue) -> None:
        self._database = database
        self._addresses = addresses
        self._catalogue = catalogue

    def rows(self, user_id: str | None) -> list[Row]:
        """The newest jobs of a user, or of all."""
        tail = f"ORDER BY created_at DESC, rowid DESC LIMIT {SHOWN}"
        if user_id is None:
            return self._database.select("jobs", tail=tail)
        return self._database.select("jobs", "user_id = ?", [user_id], tail=tail)

    def shown(self, jobs: Sequence[Row], cancelled: Collection[str]) -> list[dict[str, Any]]:
        """`cancelled` are those that somebody wants to stop."""
        heard = self._heard([job["id"] for job in jobs])
        return [self._shown(job, heard[job["id"]], cancelled) for job in jobs]

    def assets(self, job: Row) -> list[dict[str, Any]]:
        """The job's files that exist: bucket, key, size, type and a signed address, and one of its thumbnail."""
        metadata = job["metadata"] or {}
        workspace = self._database.select("workspace_assets", "job_id = ?", [job["id"]], tail="ORDER BY asset_index")
        told = metadata.get("all_assets")  # a producer may have put anything there
        keys = told if told and isinstance(told, list) else [row["temp_storage_path"] for row in workspace]
        return self._addresses.files(str(metadata.get("bucket") or job["job_type"]), [str(key) for key in keys])

    def _shown(self, job: Row, heard: Heard, cancelled: Collection[str]) -> dict[str, Any]:
        metadata, told = job["metadata"] or {}, heard.metadata
        job_type = self._catalogue.get(job["job_type"])
        family = job_type.model_family if job_type else None
        seeds = [seed for seed in _list(told.get("seeds")) if isinstance(seed, int)]
        size = {"width": told.get("width"), "height": told.get("height")}
        request = remembered(self._database, job)
        return {
            "id": job["id"],
            "type": job["job_type"],
            "media": job["format"],
            "family": family,
            "status": _status(job, heard),
            "cancelling": job["id"] in cancelled and job["status"] not in OVER,
            "prompt": metadata.get("prompt") or "",
            "enhanced_prompt": heard.enhanced_prompt or metadata.get("enhanced_prompt"),
            "negative_prompt": metadata.get("negative_prompt") if family == "sdxl" else None,
            "num_images": metadata.get("num_images") or 1,
            "created_at": job["created_at"],
            "started_at": heard.started_at,
            "completed_at": job["completed_at"],
            "seconds": told.get("generation_time") or metadata.get("generation_time"),
            "error": job["error_message"],
            "error_type": told.get("error_type"),
            "retryable": told.get("retryable"),
            "seed": told.get("seed", metadata.get("seed")),
            "seeds": seeds,
            "model": told.get("model"),
            "methods": _methods(told),
            "metadata": told,
            "references": [self._reference(each, job) for each in self._references(request, job)],
            "request": request,
            "assets": [
                {**size, **asset, "seed": seeds[index] if index < len(seeds) else None}
                for index, asset in enumerate(self.assets(job))
            ],
        }

    def _heard(self, job_ids: Sequence[str]) -> Mapping[str, Heard]:
        """Of each job what its worker said first and last; a report that was not accepted was not heard."""
        heard = {job_id: Heard() for job_id in job_ids}
        places = ", ".join("?" for _ in job_ids)
        where = f"answer_status = {ACCEPTED} AND job_id IN ({places})"
        for call in self._database.select("callbacks", where, job_ids, tail="ORDER BY id"):
            said, body = heard[call["job_id"]], _object(call["body"])
            if call["status"] == "processing":
                said.started_at = said.started_at or call["received_at"]
            elif said.status != "completed":  # of what comes after that nothing is recorded (profile 2026-02)
                said.status, said.metadata = call["status"], _mapping(body.get("metadata"))
            prompt = body.get("enhancedPrompt") or body.get("enhanced_prompt")
            if isinstance(prompt, str):
                said.enhanced_prompt = prompt
        return heard

    def _references(self, request: Mapping[str, Any], job: Row) -> Iterable[Reference]:
        job_type = self._catalogue.get(job["job_type"])
        if job_type is None:
            return ()
        wishes = Sections({}, _mapping(request.get("metadata")), {})
        try:
            return parse_references(wishes, job_type, user_id=str(job["user_id"]), buckets=self._catalogue.buckets)
        except PayloadError:
            return ()  # the worker says what is wrong with it

    def _reference(self, reference: Reference, job: Row) -> dict[str, Any]:
        return {
            "type": reference.role,
            "url": self._displayable(reference.source, str(job["user_id"])),
            "strength": reference.strength,
        }

    def _displayable(self, source: str, user_id: str) -> str | None:
        """An own file under a fresh address, for the one that was given may have lapsed; else the source itself."""
        path = f"/storage/v1/object/{source}" if "://" not in source else unquote(urlsplit(source).path)
        stored = _STORED.fullmatch(path)
        if stored is None:
            return source
        bucket, key = stored[1], stored[2]
        if key.startswith(f"{user_id}/") and (address := self._addresses.of(bucket, key)):
            return address
        return source if "://" in source else self._addresses.of(bucket, key)


def _status(job: Row, heard: Heard) -> str:
    """A job that failed because somebody stopped it counts as cancelled."""
    stopped = job["status"] == "failed" and heard.metadata.get("error_type") == JobCancelled.error_type
    return "cancelled" if stopped else str(job["status"])


def _methods(told: Mapping[str, Any]) -> dict[str, str]:
    methods = (each for each in _list(told.get("reference_methods")) if isinstance(each, dict))
    return {str(each["type"]): str(each["method"]) for each in methods if "type" in each and "method" in each}


def _object(text: str) -> Mapping[str, Any]:
    try:
        return _mapping(parse_json(text))
    except ValueError:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []
