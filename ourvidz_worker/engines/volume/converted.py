"""Faster copies of weights: where they lie, and whether they still fit what they were made of.

A single file or WAN's original layout is renamed and cast at each start; its copy in the Diffusers layout is read as
it is. Nothing here imports torch: `conversion` makes the copies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part, SdxlModel, WanModel
from ourvidz_worker.engines.wan.layouts import layout_of

FOLDER = "converted"
MANIFEST = "converted.json"


@dataclass(frozen=True, slots=True)
class Copy:
    """The faster copy of one model, whether it is there or not."""

    part: Part
    source: Path
    path: Path
    manifest: Mapping[str, Any]

    @property
    def fits(self) -> bool:
        """Whether it is there in full, and was made of what lies at `source` now, for the same dtypes."""
        try:
            written = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            whole = all((self.path / name).stat().st_size == size for name, size in written["copy"].items())
            return whole and bool(written["source"] == self.manifest)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False

    def write_manifest(self, folder: Path) -> None:
        """Into the folder that is to become the copy: of what it was made, and how long its files are."""
        sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in _files(folder)}
        text = json.dumps({"source": self.manifest, "copy": sizes}, indent=2)
        (folder / MANIFEST).write_text(text, encoding="utf-8")


def copies(models: ModelsConfig, models_dir: Path) -> list[Copy]:
    """Of every model that is there and slow to load as it lies."""
    found = (
        _copy("sdxl", models.sdxl, models_dir) if models.sdxl.path.endswith(".safetensors") else None,
        _copy("wan", models.wan, models_dir) if layout_of(models_dir / models.wan.path) == "original" else None,
    )
    return [copy for copy in found if copy is not None]


def leftovers(models: ModelsConfig, models_dir: Path) -> list[Path]:
    """Folders among the copies that none of these models loads from: of other models or dtypes, or half written."""
    folder, used = models_dir / FOLDER, {copy.path for copy in copies(models, models_dir)}
    return [path for path in sorted(folder.glob("*")) if path.is_dir() and path not in used]


def prefer_copies(models: ModelsConfig, models_dir: Path) -> ModelsConfig:
    """The same models, loaded from their faster copies where these fit and can be read."""
    try:
        return _with_copies(models, models_dir)
    except OSError:  # whoever looks for the weights themselves says what is wrong
        return models


def _with_copies(models: ModelsConfig, models_dir: Path) -> ModelsConfig:
    paths = {copy.part: str(copy.path.relative_to(models_dir)) for copy in copies(models, models_dir) if copy.fits}
    return replace(
        models,
        sdxl=replace(models.sdxl, path=paths.get("sdxl", models.sdxl.path)),
        wan=replace(models.wan, path=paths.get("wan", models.wan.path)),
    )


def _copy(part: Part, model: SdxlModel | WanModel, models_dir: Path) -> Copy | None:
    source = models_dir / model.path
    if not source.exists():
        return None
    name = PurePosixPath(model.path).name.removesuffix(".safetensors")
    vae = models_dir / model.vae if isinstance(model, SdxlModel) and model.vae is not None else None
    manifest = {
        "dtype": model.dtype,
        "vae_dtype": model.vae_dtype,
        "files": dict(_stamps(source, models_dir)) | ({} if vae is None else dict(_stamps(vae, models_dir))),
        "config": None if model.config is None else _digest(models_dir / model.config),
    }
    return Copy(part, source, models_dir / FOLDER / f"{part}-{name}-{model.dtype}", manifest)


def _stamps(path: Path, models_dir: Path) -> Iterator[tuple[str, list[int]]]:
    """Size and time of each file: hashing gigabytes at each start would cost more than the copy saves."""
    for file in [path] if path.is_file() else _files(path):
        status = file.stat()
        name = file.relative_to(models_dir) if file.is_relative_to(models_dir) else file
        yield name.as_posix(), [status.st_size, status.st_mtime_ns]


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _digest(config: Path) -> str:
    """Of the configuration files, wherever they lie."""
    digest = hashlib.sha256()
    for file in sorted(config.rglob("*config.json")):
        digest.update(file.relative_to(config).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
