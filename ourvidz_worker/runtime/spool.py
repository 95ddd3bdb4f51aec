"""Finished results on disk, from before the first upload until the job is acknowledged.

A GPU minute is dear: a job that is delivered again finds its result here and is not generated again.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.ports import Asset

_MANIFEST = "result.json"


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """A file and the key it belongs under."""

    key: str
    asset: Asset


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that is needed to deliver a job: the files, their bucket, and the callback to send."""

    bucket: str
    assets: tuple[StoredAsset, ...]
    callback: Callback


class Spool:
    """One folder per job, readable by this user alone. Job ids were checked by the parser."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job_id: str) -> Path:
        """An empty folder for the files of a job."""
        self.discard(job_id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._root / job_id
        folder.mkdir(mode=0o700)
        return folder

    def save(self, result: Result) -> None:
        """Make the result durable; it counts as finished only once the manifest has its final name."""
        folder = self._root / result.callback.job_id
        for stored in result.assets:
            _flush(stored.asset.path)
        draft = folder / f"{_MANIFEST}.part"
        draft.write_text(json.dumps(_to_json(result)), encoding="utf-8")
        _flush(draft)
        draft.replace(folder / _MANIFEST)
        _flush(folder)

    def find(self, job_id: str) -> Result | None:
        """The finished result of a job, or None; a damaged one counts as none."""
        folder = self._root / job_id
        try:
            result = _from_json(json.loads((folder / _MANIFEST).read_text(encoding="utf-8")), folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        whole = all(_size(stored.asset.path) == stored.asset.bytes for stored in result.assets)
        return result if whole else None

    def discard(self, job_id: str) -> None:
        shutil.rmtree(self._root / job_id, ignore_errors=True)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_json(result: Result) -> dict[str, Any]:
    return {
        "bucket": result.bucket,
        "assets": [
            {"key": stored.key, **asdict(stored.asset), "path": stored.asset.path.name} for stored in result.assets
        ],
        "callback": asdict(result.callback),
    }


def _from_json(document: dict[str, Any], folder: Path) -> Result:
    callback = Callback(**document["callback"])
    reported = tuple(ReportedAsset(**asset) for asset in document["callback"]["assets"])
    return Result(
        bucket=document["bucket"],
        assets=tuple(
            StoredAsset(entry.pop("key"), Asset(**{**entry, "path": folder / entry["path"]}))
            for entry in document["assets"]
        ),
        callback=replace(callback, assets=reported),
    )
