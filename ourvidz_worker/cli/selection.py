"""Which models a command runs that brings its own backend: those of OURVIDZ_MODELS, or the best that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ourvidz_worker.cli.chosen import read_models
from ourvidz_worker.cli.models.needed import loaded_parts
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.engines.volume.model_config import Part
from ourvidz_worker.engines.volume.weights import missing_weights
from ourvidz_worker.settings import QwenSettings
from ourvidz_worker.settings.qwen import ModelSelection


@dataclass(frozen=True, slots=True)
class Selected:
    """`reason` is for the person who is about to look at the pictures."""

    models: ModelSelection
    reason: str

    def __str__(self) -> str:
        return f"models: {self.models}, {self.reason}"


def select_models(settings: QwenSettings, workers: Sequence[Part]) -> Selected:
    """Where OURVIDZ_MODELS is not set: the real models if all weights that `workers` need are there, else the demo's.

    Raises `ConfigurationError` for what is wrong in `models.toml`.
    """
    if "models" in settings.model_fields_set:
        return Selected(settings.models, "as OURVIDZ_MODELS says")
    models, folder = read_models(ConfigFiles(settings.config_dir)), settings.models_dir
    lacking = [
        part
        for part in loaded_parts(settings, workers)
        if missing_weights(models, folder, part, own_language_model=False)
    ]
    if not lacking:
        return Selected("real", f"as {folder} has all their weights; OURVIDZ_MODELS=demo takes small ones")
    return Selected(
        "demo",
        "the small ones that ship with this package, as OURVIDZ_MODELS is not set and "
        f"{folder} lacks real weights ({', '.join(lacking)})",
    )
