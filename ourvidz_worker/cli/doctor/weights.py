"""Whether the weights that the workers need are in place, and how much they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note, problem
from ourvidz_worker.cli.models.needed import loaded_parts
from ourvidz_worker.engines.demo import models as demo
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import ModelsConfig, QwenModel, SdxlModel, WanModel
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile
from ourvidz_worker.engines.volume.weights import missing_adapters, missing_weights
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import QwenSettings


def examine_weights(settings: QwenSettings, models: ModelsConfig) -> Iterator[Diagnosis]:
    if settings.models == "demo":
        yield from _examine_demo(settings, models)
        return
    if settings.models != "real":
        yield good("models", f"OURVIDZ_MODELS={settings.models}: no weights are needed")
        return
    for kind in settings.workers:
        if kind == "qwen" and settings.language_model_url is not None:
            continue  # the findings about the language say whether it answers
        own = settings.own_language_model and "qwen" not in settings.workers
        missing = missing_weights(models, settings.models_dir, kind, own_language_model=own)
        for sentence, _, cure in (told.partition("; ") for told in missing):
            yield problem("models", sentence, cure)
        if not missing:
            yield good("models", f"the weights of the {kind} worker are in place")
        for sentence, _, cure in (told.partition("; ") for told in missing_adapters(models, settings.models_dir, kind)):
            yield note("models", sentence, cure)


def _examine_demo(settings: QwenSettings, models: ModelsConfig) -> Iterator[Diagnosis]:
    try:
        shipped = demo.shipped_models(models)
    except ConfigurationError as error:
        sentence, _, cure = str(error).partition("; ")
        yield problem("models", sentence, cure)
        return
    for part in loaded_parts(settings, settings.workers):
        found = demo.findings(shipped, part)
        for sentence, _, cure in (told.partition("; ") for told in found):
            yield problem("models", sentence, cure)
        if not found:
            yield good("models", f"OURVIDZ_MODELS=demo: the small {part} models that ship with this package are whole")


def weights_bytes(settings: QwenSettings, models: ModelsConfig) -> int:
    """What the models of these workers take together as far as they can be read; 0 for models that need no weights."""
    if settings.models != "real":
        return 0
    tables: Mapping[str, SdxlModel | WanModel | QwenModel] = {
        "sdxl": models.sdxl,
        "wan": models.wan,
        "qwen": models.qwen,
    }
    taken = 0
    for kind in settings.workers:
        model = tables[kind]
        path = settings.models_dir / model.path
        try:
            taken += loaded_bytes(path, model.dtype) if path.exists() else 0
        except (DamagedFile, OSError, KeyError):
            continue  # the findings about the models say so
    return taken
