"""The tiny models as a models folder: what `models.toml` would say, and building what is not there yet."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ourvidz_worker.engines.tiny.shapes import ADAPTERS, VACE, folder_name
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part, QwenModel, SdxlModel, WanModel

_ADAPTERS = f"{folder_name('sdxl')}/{ADAPTERS}"

MODELS = ModelsConfig(
    sdxl=SdxlModel(
        "tiny-sdxl",
        folder_name("sdxl"),
        dtype="float32",
        vae_dtype="float32",
        image_encoder=f"{_ADAPTERS}/image_encoder",
        ip_adapter=f"{_ADAPTERS}/ip_adapter.safetensors",
        ip_adapter_face=f"{_ADAPTERS}/ip_adapter_face.safetensors",
        controlnet=f"{_ADAPTERS}/controlnet",
    ),
    wan=WanModel(
        "tiny-wan", folder_name("wan"), dtype="float32", vae_dtype="float32", vace=f"{folder_name('wan')}/{VACE}"
    ),
    qwen=QwenModel("tiny-qwen", folder_name("qwen"), dtype="float32", max_new_tokens=24),
)


def ensure_built(cache_dir: Path, part: Part) -> None:
    """Build a tiny model unless it is in the cache.

    It is built aside and renamed into place, so that a folder with the final name is always whole, and two
    workers that start at once both succeed: the second to finish drops its copy.
    """
    folder = cache_dir / folder_name(part)
    if folder.is_dir():
        return
    from ourvidz_worker.engines.quiet import quieten_model_libraries  # noqa: PLC0415 - brings torch

    quieten_model_libraries()
    from ourvidz_worker.engines.tiny.build import build  # noqa: PLC0415

    cache_dir.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache_dir))
    try:
        build(part, aside)
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
