"""Making the faster copy of a model, once."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ourvidz_worker.engines.devices import GB
from ourvidz_worker.engines.sdxl.loading import load_sdxl
from ourvidz_worker.engines.volume.converted import Copy
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import ModelsConfig, SdxlModel, WanModel
from ourvidz_worker.engines.wan.loading import load_wan
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.file_lock import lock


@dataclass(frozen=True, slots=True)
class Gain:
    """Seconds that loading took before and after, and the size of the copy."""

    before: float
    after: float
    bytes: int


def convert(copy: Copy, models: ModelsConfig, models_dir: Path) -> Gain:
    """Load the model as a worker does, write the copy aside, load that, and rename it when all went well.

    Raises `ConfigurationError` when there is no room for it, when the weights or the copy cannot be loaded, or while
    another process makes the same copy, and `OSError` when it cannot be written.
    """
    model = models.sdxl if copy.part == "sdxl" else models.wan
    copy.path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(copy), _aside(copy) as folder:
        _require_room(copy, model.dtype)
        before, pipe = _timed(model, models_dir)
        _save(pipe, folder)
        copy.write_manifest(folder)
        del pipe
        gc.collect()
        after, _ = _timed(replace(model, path=str(folder.relative_to(models_dir))), models_dir)
    return Gain(before, after, sum(file.stat().st_size for file in copy.path.rglob("*") if file.is_file()))


def _save(pipe: Any, folder: Path) -> None:
    try:
        pipe.save_pretrained(folder)
    except SafetensorError as error:  # so the library words a full disk
        raise OSError(errno.EIO, str(error)) from error


def _timed(model: SdxlModel | WanModel, models_dir: Path) -> tuple[float, Any]:
    """On the CPU: a conversion must not disturb a worker on the card."""
    _forget(models_dir / model.path)
    on_cpu = replace(model, device="cpu")
    begun = time.perf_counter()
    pipe = load_sdxl(on_cpu, models_dir) if isinstance(on_cpu, SdxlModel) else load_wan(on_cpu, models_dir)
    return time.perf_counter() - begun, pipe


def _forget(path: Path) -> None:
    """What is in memory of the files would be read faster than after a start of the machine."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened)  # only what is on the disk can be forgotten
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _require_room(copy: Copy, dtype: str) -> None:
    needed = loaded_bytes(copy.source, dtype)
    free = shutil.disk_usage(copy.path.parent).free
    if needed > free:
        raise ConfigurationError(
            f"the copy of {copy.source} needs {needed / GB:.1f} GB, and {copy.path.parent} has {free / GB:.1f} GB "
            "free: make room"
        )


@contextmanager
def _alone(copy: Copy) -> Iterator[None]:
    with copy.path.with_name(f".{copy.path.name}.lock").open("w") as file:
        lock(file, f"another process converts {copy.source}: wait for it, or end it first")
        yield


@contextmanager
def _aside(copy: Copy) -> Iterator[Path]:
    """A folder that takes the copy's place at the end, or is gone."""
    folder = copy.path.with_name(f".{copy.path.name}.part")
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir()
    try:
        yield folder
        shutil.rmtree(copy.path, ignore_errors=True)
        folder.rename(copy.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
