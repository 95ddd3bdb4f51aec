"""Which engine a worker runs: the one place where a selection of models becomes objects.

Neither importing this module nor assembling brings a model library: that is done by whatever loads the engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ourvidz_worker.collections_off import without_collections
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.engines.demo import models as demo
from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.language.testcard import TestCardLanguageModel
from ourvidz_worker.engines.media.options import DEFAULT_OPTIONS, MediaOptions
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.threads import let_threads_sleep
from ourvidz_worker.engines.tiny import models as tiny
from ourvidz_worker.engines.volume.converted import prefer_copies
from ourvidz_worker.engines.volume.model_config import DemoModels, ModelsConfig, Part, QwenModel
from ourvidz_worker.engines.volume.weights import require_weights
from ourvidz_worker.ports import Engine, LanguageModel, MediaEncoder
from ourvidz_worker.runtime.language.templates import wan_negative
from ourvidz_worker.runtime.language.warm_model import Sampling

if TYPE_CHECKING:
    from ourvidz_worker.engines.fitting import Fit

Selection = Literal["real", "tiny", "testcard", "demo"]


@dataclass(frozen=True, slots=True)
class Engines:
    """What a worker generates with; nothing is loaded yet."""

    engine: Engine
    encoder: MediaEncoder


def assemble(
    family: ModelFamily,
    *,
    selection: Selection,
    models: ModelsConfig,
    models_dir: Path,
    cache_dir: Path,
    prompts: Mapping[str, str],
    reference_fit: Fit = "crop",
    media: MediaOptions = DEFAULT_OPTIONS,
    own_language_model: bool = True,
    residency: Residency | None = None,
) -> Engines:
    """Build the engines of a family.

    `prompts` holds the texts of `configs/prompts/` by file name without its ending; `cache_dir` keeps tiny
    models between starts; `reference_fit` is the rule for references of another shape than the job; `residency` is
    shared with the language model of this process. Raises
    `ConfigurationError` when a template is missing or wrong, when files cannot be signed as `media` says, or when
    `models` knows no demo models and they are selected. Missing weights show when the engine loads, those of an
    `own_language_model` included.
    """
    from ourvidz_worker.engines.media.encoder import FileEncoder  # noqa: PLC0415 - numpy and codecs, only where they work

    _stay_off_the_hub()
    engine: Engine
    match selection:
        case "testcard":
            from ourvidz_worker.engines.testcard import TestCardEngine  # noqa: PLC0415

            engine = TestCardEngine()
        case "tiny":
            let_threads_sleep()
            build = partial(tiny.ensure_built, cache_dir)
            engine = _model_engine(family, tiny.MODELS, cache_dir, build, prompts, reference_fit, residency)
        case "real":
            fastest = prefer_copies(models, models_dir)
            require = partial(require_weights, fastest, models_dir, own_language_model=own_language_model)
            engine = _model_engine(family, fastest, models_dir, require, prompts, reference_fit, residency)
        case "demo":
            let_threads_sleep()
            shipped = demo.shipped_models(models)
            require = partial(demo.require_shipped, shipped, own_language_model=own_language_model)
            engine = _model_engine(family, shipped, demo.WEIGHTS, require, prompts, reference_fit, residency)
    return Engines(engine, FileEncoder(engine.model_name, media))


def assemble_language(
    *,
    selection: Selection,
    models: ModelsConfig,
    models_dir: Path,
    cache_dir: Path,
    residency: Residency | None = None,
) -> tuple[LanguageModel, Sampling]:
    """The language model in this process, not loaded yet, and how it is sampled; raises as `assemble` does."""
    _stay_off_the_hub()
    match selection:
        case "testcard":
            return TestCardLanguageModel(), _sampling(models.qwen)
        case "tiny":
            let_threads_sleep()
            prepare = partial(tiny.ensure_built, cache_dir, "qwen")
            return _local_model(tiny.MODELS.qwen, cache_dir, prepare, residency)
        case "real":
            prepare = partial(require_weights, models, models_dir, "qwen")
            return _local_model(models.qwen, models_dir, prepare, residency)
        case "demo":
            let_threads_sleep()
            shipped = demo.shipped_models(models)
            prepare = partial(demo.require_shipped, shipped, "qwen")
            return _local_model(shipped.qwen, demo.WEIGHTS, prepare, residency)


def _stay_off_the_hub() -> None:
    """Weights come from the volume alone; to be said before the model libraries are imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _local_model(
    model: QwenModel, models_dir: Path, prepare: Callable[[], None], residency: Residency | None
) -> tuple[LanguageModel, Sampling]:
    return LocalLanguageModel(model, models_dir, prepare, residency), _sampling(model)


def _sampling(model: QwenModel) -> Sampling:
    return Sampling(model.max_new_tokens, model.temperature, model.top_p)


def _model_engine(
    family: ModelFamily,
    models: ModelsConfig | DemoModels,
    models_dir: Path,
    prepare: Callable[[Part], None],
    prompts: Mapping[str, str],
    reference_fit: Fit,
    residency: Residency | None,
) -> DeferredEngine:
    """The same code for real, demo and tiny models; `prepare` sees to it that a model's weights are on disk.

    What is missing on disk shows before the model libraries are imported.
    """
    if family == "sdxl":

        def sdxl() -> Engine:
            prepare("sdxl")
            with _model_libraries():
                from ourvidz_worker.engines.sdxl.engine import SdxlEngine  # noqa: PLC0415

                return SdxlEngine(models.sdxl, models_dir, _nothing_left_to_do, fit=reference_fit, residency=residency)

        return DeferredEngine(models.sdxl.model_name, sdxl)

    negative_prompt = wan_negative(prompts)

    def wan() -> Engine:
        prepare("wan")
        with _model_libraries():
            from ourvidz_worker.engines.wan.engine import WanEngine  # noqa: PLC0415

            return WanEngine(
                models.wan,
                models_dir,
                _nothing_left_to_do,
                negative_prompt,
                fit=reference_fit,
                residency=residency,
            )

    return DeferredEngine(models.wan.model_name, wan)


def _nothing_left_to_do() -> None:
    """The weights are on disk already."""


@contextmanager
def _model_libraries() -> Iterator[None]:
    """For importing them, in silence."""
    with without_collections():
        from ourvidz_worker.engines.quiet import quieten_model_libraries  # noqa: PLC0415 - brings torch

        quieten_model_libraries()
        yield
