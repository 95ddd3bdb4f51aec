"""The folders of a worker: writable, roomy, lasting; and what was left in them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, Mend, counted, good, note, problem
from ourvidz_worker.settings import QwenSettings, Settings

FREE_GB = 2.0  # a few videos in the spool, and the tiny models
LEFT_AFTER = 24 * 3600.0
"""Seconds after which a download that nobody goes on with was broken off for good."""
_MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = ("tmpfs", "ramfs")
_ON_THE_CONTAINER = ("overlay", "aufs")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder and the variable that names it; what a pod loses with it when it is not on a volume."""

    variable: str
    folder: Path
    loss: str


def places_of(settings: QwenSettings) -> list[Place]:
    places = [Place("OURVIDZ_CACHE", settings.cache_dir, "tiny models are built again")]
    if isinstance(settings, Settings):
        loss = "finished results that are not delivered yet are lost"
        places.insert(0, Place("OURVIDZ_SPOOL", settings.spool_dir, loss))
    return places


def examine_disks(settings: QwenSettings, mounts: Path = _MOUNTS) -> Iterator[Diagnosis]:
    kinds = _file_systems(mounts)
    for place in places_of(settings):
        yield _room(place)
        if place.variable == "OURVIDZ_SPOOL":
            yield from _lasting(place, kinds)
    if settings.models == "real":
        loss = "weights are downloaded again"
        yield from _lasting(Place("OURVIDZ_MODELS_DIR", settings.models_dir, loss), kinds)
    yield from _leftovers(settings.models_dir)


def _room(place: Place) -> Diagnosis:
    existing = nearest_existing(place.folder)
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        cure = f"make it writable for this user, or set {place.variable} to another folder"
        return problem("disk", f"{existing} cannot be written to", cure)
    if free < FREE_GB:
        cure = f"free some space, or set {place.variable} to a folder on another disk"
        return problem("disk", f"{existing} has {free:.1f} GB free", cure)
    making = None if place.folder.is_dir() else _maker_of(place.folder)
    return good("disk", f"{place.folder} can be written to, {free:.0f} GB free", mend=making)


def _maker_of(folder: Path) -> Mend:
    async def make() -> str:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        return f"made the folder {folder}"

    return make


def _lasting(place: Place, kinds: Mapping[Path, str]) -> Iterator[Diagnosis]:
    """On a rented pod all but the volume goes with the container; elsewhere a plain disk is the usual place."""
    mount = next((path for path in (place.folder, *place.folder.absolute().parents) if path in kinds), None)
    kind = kinds.get(mount, "") if mount else ""
    if kind in _IN_MEMORY:
        where = f"{place.folder} lies in memory ({kind} at {mount})"
    elif kind in _ON_THE_CONTAINER and "RUNPOD_POD_ID" in os.environ:
        where = f"{place.folder} lies on the container's own disk"
    else:
        return
    cure = f"set {place.variable} to a folder on the pod's volume, like one below /workspace"
    yield note("disk", f"{where}: when the pod ends, {place.loss}", cure)


def _leftovers(models_dir: Path) -> Iterator[Diagnosis]:
    left = [file for file in sorted(models_dir.rglob("*.part")) if _is_left(file)] if models_dir.is_dir() else []
    if left:
        size = sum(file.stat().st_size for file in left) / 1e9
        sentence = (
            f"{counted(len(left), 'broken-off download')} of more than a day ago below {models_dir}: {size:.1f} GB"
        )
        cure = "`ourvidz-worker models fetch` goes on with them; `doctor --fix` removes them"
        yield note("models", sentence, cure, mend=partial(_remove, left))


async def _remove(files: list[Path]) -> str:
    removed = [file for file in files if await asyncio.to_thread(_removed, file)]
    return f"removed {len(removed)} of {counted(len(files), 'broken-off download')}"


def _removed(file: Path) -> bool:
    """Only while this process alone has it, as whoever downloads has it, too."""
    if not _is_left(file):
        return False
    with contextlib.suppress(OSError), file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()
        file.with_name(f"{file.name}.etag").unlink(missing_ok=True)
        return True
    return False


def _is_left(file: Path) -> bool:
    try:
        return file.is_file() and time.time() - file.stat().st_mtime > LEFT_AFTER
    except OSError:
        return False


def _file_systems(mounts: Path) -> Mapping[Path, str]:
    """The kind of file system at each mount point; empty where the kernel does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    fields = (line.split(" ") for line in lines)
    return {Path(field[1].replace("\\040", " ")): field[2] for field in fields if len(field) > 2}


def nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
