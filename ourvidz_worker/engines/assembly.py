"""Which engine a worker runs: the one place where a selection of models becomes objects.

Importing this module imports no model library; each branch of `assemble` brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.engines.language.templates import Templates, wan_negative
from ourvidz_worker.engines.tiny import models as tiny
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part
from ourvidz_worker.engines.volume.weights import require_weights
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import Engine, MediaEncoder, PromptEnhancer

Selection = Literal["real", "tiny", "testcard", "demo"]

NO_DEMO_MODELS = "OURVIDZ_MODELS=demo: no trained small models ship with this version; choose real, tiny or testcard"


@dataclass(frozen=True, slots=True)
class Engines:
    """What a worker generates with; nothing is loaded yet."""

    engine: Engine
    encoder: MediaEncoder
    enhancer: PromptEnhancer | None


def assemble(
    family: ModelFamily,
    *,
    selection: Selection,
    models: ModelsConfig,
    models_dir: Path,
    cache_dir: Path,
    prompts: Mapping[str, str],
) -> Engines:
    """Build the engines of a family.

    `prompts` holds the texts of `configs/prompts/` by file name without its ending; `cache_dir` keeps tiny
    models between starts. Raises `ConfigurationError` when a template is missing or wrong, or when the
    selection does not exist in this version. Missing weights show when the engine loads.
    """
    from ourvidz_worker.engines.media.encoder import FileEncoder  # noqa: PLC0415 - numpy and codecs, only where they work

    engine: Engine
    enhancer: PromptEnhancer
    match selection:
        case "testcard":
            from ourvidz_worker.engines.testcard import TestCardEngine, TestCardEnhancer  # noqa: PLC0415

            engine, enhancer = TestCardEngine(), TestCardEnhancer()
        case "tiny":
            tiny.set_environment()
            build = partial(tiny.ensure_built, cache_dir)
            engine, enhancer = _model_engines(family, tiny.MODELS, cache_dir, build, prompts)
        case "real":
            require = partial(require_weights, models, models_dir)
            engine, enhancer = _model_engines(family, models, models_dir, require, prompts)
        case "demo":
            raise ConfigurationError(NO_DEMO_MODELS)
    return Engines(engine, FileEncoder(), enhancer)


def _model_engines(
    family: ModelFamily,
    models: ModelsConfig,
    models_dir: Path,
    prepare: Callable[[Part], None],
    prompts: Mapping[str, str],
) -> tuple[Engine, PromptEnhancer]:
    """The same code for real and tiny models; `prepare` sees to it that a model's weights are on disk."""
    from ourvidz_worker.engines.quiet import quieten_model_libraries  # noqa: PLC0415 - brings torch

    quieten_model_libraries()
    from ourvidz_worker.engines.language.qwen import QwenEnhancer  # noqa: PLC0415

    enhancer = QwenEnhancer(models.qwen, models_dir, partial(prepare, "qwen"), Templates(prompts))
    if family == "sdxl":
        from ourvidz_worker.engines.sdxl.engine import SdxlEngine  # noqa: PLC0415

        return SdxlEngine(models.sdxl, models_dir, partial(prepare, "sdxl")), enhancer

    from ourvidz_worker.engines.wan.engine import WanEngine  # noqa: PLC0415

    return WanEngine(models.wan, models_dir, partial(prepare, "wan"), wan_negative(prompts)), enhancer
