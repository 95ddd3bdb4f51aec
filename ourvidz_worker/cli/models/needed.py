"""Which tables of `models.toml` the workers of this pod load from."""

from __future__ import annotations

from ourvidz_worker.settings import QwenSettings


def needed_parts(settings: QwenSettings) -> tuple[str, ...]:
    """None where no weights are used. WAN's enhanced types need the language model where it runs nowhere else."""
    if settings.models != "real":
        return ()
    parts = dict.fromkeys(str(kind) for kind in settings.workers)
    if "wan" in parts and settings.own_language_model:
        parts["qwen"] = None
    if settings.language_model_url is not None:
        parts.pop("qwen", None)
    return tuple(parts)
