"""The demo models as a models folder: which of them ship, and whether they are what `models.toml` says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

from ourvidz_worker.engines.volume.model_config import DemoModels, ModelsConfig, Part
from ourvidz_worker.engines.volume.shipped import ShippedFile
from ourvidz_worker.errors import ConfigurationError

WEIGHTS = Path(__file__).parent / "weights"
PARTS: tuple[Part, ...] = ("sdxl", "wan", "qwen")

_NONE = "OURVIDZ_MODELS=demo: no demo models of {} ship with this version; choose real, tiny or testcard"
_CURE = "install the package again, or check the file out again"


def shipped_models(models: ModelsConfig) -> DemoModels:
    """Without the adapters that this version does not ship, which jobs can do without.

    Raises `ConfigurationError` where the configuration knows no demo models.
    """
    demo = models.demo
    if demo is None:
        raise ConfigurationError(_NONE.format("any kind"))

    def if_there(path: str | None) -> str | None:
        return path if path is not None and any(_below(path, demo.files)) else None

    return replace(
        demo,
        sdxl=replace(
            demo.sdxl,
            image_encoder=if_there(demo.sdxl.image_encoder),
            ip_adapter=if_there(demo.sdxl.ip_adapter),
            ip_adapter_face=if_there(demo.sdxl.ip_adapter_face),
            controlnet=if_there(demo.sdxl.controlnet),
        ),
        wan=replace(demo.wan, vace=if_there(demo.wan.vace)),
    )


def files_of(demo: DemoModels, part: Part) -> list[ShippedFile]:
    """Adapters included; empty for a part that this version does not ship."""
    return list(_below(getattr(demo, part).path, demo.files))


def findings(demo: DemoModels, part: Part) -> list[str]:
    """One sentence per file that is missing or not what it should be, with the cure; empty for sound ones."""
    files = files_of(demo, part)
    if not files:
        return [_NONE.format(part)]
    return [f"{WEIGHTS / file.name} {problem}; {_CURE}" for file in files if (problem := _problem(file)) is not None]


def require_shipped(demo: DemoModels, part: Part, *, own_language_model: bool = True) -> None:
    """Raises `ConfigurationError` with everything that is missing or changed; there is no fallback.

    As of real weights, `wan` includes the language model unless that runs elsewhere.
    """
    problems = findings(demo, part)
    if part == "wan" and own_language_model:
        problems += findings(demo, "qwen")
    if problems:
        raise ConfigurationError(problems)


def _below(path: str, files: Iterable[ShippedFile]) -> Iterator[ShippedFile]:
    """The file of this name, or those in the folder of this name."""
    return (file for file in files if PurePosixPath(file.name).is_relative_to(path))


def _problem(file: ShippedFile) -> str | None:
    path = WEIGHTS / file.name
    try:
        status = path.stat()
        if status.st_size != file.bytes:
            return f"has {status.st_size} bytes instead of {file.bytes}"
        found = _sha256(path, status.st_mtime_ns)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return None if found == file.sha256 else f"is damaged: its SHA-256 is {found}, not {file.sha256}"


@cache
def _sha256(path: Path, _written_at: int) -> str:
    """Read once in a process, although each model asks for its own."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
