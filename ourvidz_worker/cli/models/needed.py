"""Which tables of `models.toml` the workers of this pod load from."""

from __future__ import annotations

from collections.abc import Sequence

from ourvidz_worker.engines.volume.model_config import Part
from ourvidz_worker.settings import QwenSettings


def needed_parts(settings: QwenSettings) -> tuple[Part, ...]:
    """None where no weights on the volume are used."""
    return loaded_parts(settings, settings.workers) if settings.models == "real" else ()


def loaded_parts(settings: QwenSettings, workers: Sequence[Part]) -> tuple[Part, ...]:
    """What these workers load. WAN's enhanced types need the language model where it runs nowhere else."""
    parts: dict[Part, None] = dict.fromkeys(workers)
    if "wan" in parts and settings.own_language_model:
        parts["qwen"] = None
    if settings.language_model_url is not None:
        parts.pop("qwen", None)
    return tuple(parts)
