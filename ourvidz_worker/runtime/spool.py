"""Finished results on disk, from before the first upload until the job is acknowledged, or parked for an operator.

A GPU minute is dear: a job that is delivered again finds its result here and is not generated again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.catalogue import MIB
from ourvidz_worker.contract.fields import Found, identifier
from ourvidz_worker.instruments.metrics import DISK_FREE_BYTES, series
from ourvidz_worker.ports import Asset
from ourvidz_worker.runtime import durable

_MANIFEST = "result.json"
_NOTE = "parked.json"
_RESERVED_SHARE = 20
_PROVEN_SECONDS = 60.0  # a quota shows only when something is written


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """A file and the key it belongs under."""

    key: str
    asset: Asset


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that is needed to deliver a job: the files, their bucket, and the callback to send.

    A parked report alone has no files, and an empty bucket where its job could not be read.
    """

    bucket: str
    assets: tuple[StoredAsset, ...]
    callback: Callback


@dataclass(frozen=True, slots=True)
class Parked:
    """What the far side refused for good, and why; `result` is None where the files are damaged."""

    job_id: str
    result: Result | None
    reason: str
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of a disk."""

    free: int
    total: int


def _room(folder: Path) -> Room:
    usage = shutil.disk_usage(folder)
    return Room(usage.free, usage.total)


class Spool:
    """One folder per job below `root`, readable by this user alone; several processes may share it.

    `root/results/<job_id>` waits for its delivery, `root/parked/<job_id>` for an operator, and `root/doubtful/<job_id>`
    is a final report that a late start may still undo. A result in the making lies in a draft of its own: a worker
    that was paused until its lease ran out may go on writing, while another one of this pod makes the result again.
    `reserve_bytes` is the free space below which no more jobs should be taken, but never more than a twentieth of the
    disk.

    Everything that writes raises `OSError`; a job id that could leave the spool is a `ValueError`.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0, room: Callable[[Path], Room] = _room) -> None:
        self._root = root
        self._results = root / "results"
        self._parked = root / "parked"
        self._doubtful = root / "doubtful"
        self._reserve_bytes = reserve_bytes
        self._room = room
        self._proven_at: float | None = None

    def draft(self, job_id: str) -> Path:
        """An empty folder for the files of a job, until `save` or `drop`."""
        place = _place(self._results, job_id)
        with self._writing():
            return durable.draft_of(place)

    def drop(self, draft: Path) -> None:
        """Nothing is made of it. What cannot be removed is logged, and swept later."""
        try:
            durable.remove(draft)
        except OSError as error:
            structlog.get_logger().warning("spool_not_emptied", problem=str(error))

    def save(self, result: Result) -> Result:
        """Make the result durable, and say where its files are then: all of it has its final name at once.

        Where the job has a whole result already, from another worker, that one counts, and is what is returned: it may
        be on its way, and what two workers report of one job must be the same.
        """
        place = _place(self._results, result.callback.job_id)
        draft = result.assets[0].asset.path.parent
        with self._writing():
            for path in _files(result):
                durable.flush(path)
            durable.write(draft / _MANIFEST, json.dumps(_to_json(result)))
            if draft == place:
                return result
            if not durable.give_name(draft, place):
                if (earlier := _read(place)) is not None:
                    durable.remove(draft)
                    return earlier
                durable.move(draft, place)
        return _moved(result, place)

    def find(self, job_id: str) -> Result | None:
        """The finished result of a job, waiting or parked, or None; a damaged one counts as none."""
        for place in (self._results, self._parked):
            folder = _place(place, job_id)
            result = _read(folder)
            if result is not None and result.callback.status == "completed":
                with contextlib.suppress(OSError):
                    os.utime(folder)  # somebody came back for it, so no sweep takes it away during the delivery
                return result
        return None

    def discard(self, job_id: str) -> None:
        """Remove a job, in the making, waiting or parked. What cannot be removed is logged, for the job is over."""
        try:
            for place in (self._results, self._parked):
                durable.remove(_place(place, job_id))
            for draft in durable.drafts_of(_place(self._results, job_id)):
                durable.remove(draft)
        except OSError as error:
            structlog.get_logger().warning("spool_not_emptied", job_id=job_id, problem=str(error))

    def park(self, job_id: str, reason: str) -> None:
        """Keep the finished result of a job for an operator; one that is parked already gets the new reason."""
        waiting, parked = (_place(place, job_id) for place in (self._results, self._parked))
        with self._writing():
            whole = next((folder for folder in (waiting, parked) if _read(folder) is not None), None)
            if whole is None:
                raise FileNotFoundError(f"the spool has no result of job {job_id} that could be parked")
            _take_note(whole, reason)
            if whole is waiting:
                durable.move(waiting, parked)

    def park_callback(self, callback: Callback, reason: str, bucket: str | None = None) -> None:
        """Keep a refused report for an operator.

        Where the job has a finished result, that is parked instead: it says more than the report.
        """
        parked = _place(self._parked, callback.job_id)
        if self.find(callback.job_id) is not None:
            self.park(callback.job_id, reason)
            return
        with self._writing():
            draft = durable.draft_of(parked)
            durable.write(draft / _MANIFEST, json.dumps(_to_json(Result(bucket or "", (), callback))))
            _take_note(draft, reason)
            durable.move(draft, parked)

    def doubt(self, callback: Callback) -> None:
        """Keep a final report until `settle`, so that the next process goes on looking whether it stands."""
        doubtful = _place(self._doubtful, callback.job_id)
        with self._writing():
            draft = durable.draft_of(doubtful)
            durable.write(draft / _MANIFEST, json.dumps(_to_json(Result("", (), callback))))
            durable.move(draft, doubtful)

    def settle(self, job_id: str) -> None:
        """The final report of a job stands."""
        durable.remove(_place(self._doubtful, job_id))

    def doubtful(self) -> list[Callback]:
        """The final reports that are still to be looked after."""
        return [result.callback for result in map(_read, durable.entries(self._doubtful)) if result is not None]

    def parked(self) -> list[Parked]:
        """Everything that waits for an operator, the oldest first."""
        return sorted(map(_entry, durable.entries(self._parked)), key=lambda entry: entry.parked_at)

    def shortage(self) -> str | None:
        """A sentence on what keeps results from being saved, or None. Cheap enough to ask before every claim."""
        try:
            self._prepare()
            room = self._room(self._root)
            series(DISK_FREE_BYTES, "spool").set(room.free)
            reserve = min(self._reserve_bytes, room.total // _RESERVED_SHARE)
            if room.free < reserve:
                return (
                    f"the spool {self._root} has {room.free // MIB} MiB free, less than the "
                    f"{reserve // MIB} MiB kept in reserve: free some space or move OURVIDZ_SPOOL"
                )
            self._prove()
        except OSError as error:
            reason = error.strerror or str(error)
            return f"the spool {self._root} cannot be written ({reason}): mend that or move OURVIDZ_SPOOL"
        return None

    def sweep(self, older_than_seconds: float) -> list[str]:
        """Remove results that nobody came back for and drafts nobody finished, never what is parked.

        Returns the ids of their jobs. Anything written to or found within `older_than_seconds` stays, for
        another process may be at it.
        """
        latest = time.time() - older_than_seconds
        swept = [folder for folder in durable.entries(self._results) if _touched_at(folder) < latest]
        for folder in swept:
            durable.remove(folder)
        for place in (self._root, self._results, self._parked, self._doubtful):
            for leftover in durable.leftovers(place):
                if _touched_at(leftover) < latest:
                    durable.remove(leftover)
        return [folder.name for folder in swept]

    def _prepare(self) -> None:
        for folder in (self._root.resolve(), self._results, self._parked, self._doubtful):
            durable.make_private(folder)

    def _prove(self) -> None:
        if self._proven_at is None or time.monotonic() - self._proven_at > _PROVEN_SECONDS:
            self._proven_at = None
            durable.probe(self._root)
            self._proven_at = time.monotonic()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._prepare()
            yield
        except OSError:
            self._proven_at = None
            raise


def _place(parent: Path, job_id: str) -> Path:
    return parent / identifier(Found("job_id", job_id))


def _take_note(folder: Path, reason: str) -> None:
    note = {"reason": reason, "parked_at": datetime.now(UTC).isoformat()}
    durable.write(folder / _NOTE, json.dumps(note))


def _entry(folder: Path) -> Parked:
    result = _read(folder)
    damage = "" if result is not None else "its files are damaged; "
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        reason, parked_at = str(note["reason"]), datetime.fromisoformat(note["parked_at"]).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError):
        reason, parked_at = "its note is damaged", datetime.fromtimestamp(_touched_at(folder), UTC)
    return Parked(folder.name, result, damage + reason, parked_at)


def _read(folder: Path) -> Result | None:
    """The result in a folder if it is whole."""
    try:
        result = _from_json(json.loads((folder / _MANIFEST).read_text(encoding="utf-8")), folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if all(_is_whole(stored.asset) for stored in result.assets) else None


def _is_whole(asset: Asset) -> bool:
    return asset.path.is_file() and asset.path.stat().st_size == asset.bytes


def _moved(result: Result, folder: Path) -> Result:
    return replace(
        result, assets=tuple(replace(stored, asset=_asset_moved(stored.asset, folder)) for stored in result.assets)
    )


def _asset_moved(asset: Asset, folder: Path) -> Asset:
    small = asset.thumbnail and _asset_moved(asset.thumbnail, folder)
    return replace(asset, path=folder / asset.path.name, thumbnail=small)


def _files(result: Result) -> Iterator[Path]:
    for stored in result.assets:
        yield stored.asset.path
        if stored.asset.thumbnail is not None:
            yield stored.asset.thumbnail.path


def _touched_at(path: Path) -> float:
    """Seconds since 1970 of the last change of a folder or of a file in it; now, if it is just being removed."""
    try:
        inside = list(path.iterdir()) if path.is_dir() else []
        return max(file.lstat().st_mtime for file in (path, *inside))
    except FileNotFoundError:
        return time.time()


def _to_json(result: Result) -> dict[str, Any]:
    return {
        "bucket": result.bucket,
        "assets": [{"key": stored.key, **_asset_to_json(stored.asset)} for stored in result.assets],
        "callback": asdict(result.callback),
    }


def _asset_to_json(asset: Asset) -> dict[str, Any]:
    thumbnail = _asset_to_json(asset.thumbnail) if asset.thumbnail else None
    return {**asdict(asset), "path": asset.path.name, "thumbnail": thumbnail}


def _from_json(document: dict[str, Any], folder: Path) -> Result:
    callback = Callback(**document["callback"])
    reported = tuple(ReportedAsset(**asset) for asset in document["callback"]["assets"])
    return Result(
        bucket=document["bucket"],
        assets=tuple(StoredAsset(entry.pop("key"), _asset_from_json(entry, folder)) for entry in document["assets"]),
        callback=replace(callback, assets=reported),
    )


def _asset_from_json(entry: dict[str, Any], folder: Path) -> Asset:
    """Manifests of earlier versions know no thumbnails, and a damaged one is not worth its picture."""
    small = entry.get("thumbnail")
    thumbnail = _asset_from_json(small, folder) if small else None
    if thumbnail is not None and not _is_whole(thumbnail):
        thumbnail = None
    return Asset(**{**entry, "path": folder / Path(entry["path"]).name, "thumbnail": thumbnail})
