"""A transformer of WAN with all that makes it fast: its attention, its compiled blocks, and what its tier allows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ourvidz_worker.engines.attention import set_attention
from ourvidz_worker.engines.compilation import CompiledBlocks
from ourvidz_worker.engines.drawing import AfterStep
from ourvidz_worker.engines.glimpses import Underway
from ourvidz_worker.engines.guidance import GuidanceCut, guidance_cut
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan.distilled import fuse_distilled_lora
from ourvidz_worker.engines.wan.first_block_cache import FirstBlockCache


class Denoiser:
    """Runs pipelines on one transformer, on which it leaves its mark.

    `holding` keeps the transformer on its device while its blocks are compiled. Raises `ConfigurationError` over the
    tier's weights.
    """

    def __init__(
        self,
        transformer: Any,
        model: WanModel,
        models_dir: Path,
        *,
        holding: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._tier = tier = model.tier
        if tier.distilled_lora is not None:
            fuse_distilled_lora(transformer, models_dir / tier.distilled_lora)
        self._attention = set_attention(transformer, tier.attention or model.attention, transformer.device)
        self._cut: GuidanceCut | None = None
        self._cache = None
        if tier.first_block_cache is not None:
            self._cache = FirstBlockCache(transformer, tier.first_block_cache)
        self.blocks = CompiledBlocks(transformer, model.compile, transformer.device, holding=holding)

    def run(
        self,
        pipe: Any,
        call: Mapping[str, Any],
        seed: int,
        after_step: AfterStep,
        *,
        steps: int,
        shape: Hashable,
        underway: Underway,
    ) -> torch.Tensor:
        """The latents of one clip; `steps` is how many the pipeline does, and `shape` what it is called with."""
        self._cut = cut = guidance_cut(self._tier.guidance_until, steps, call["guidance_scale"])
        work = partial(self._run_once, partial(run_pipeline, pipe, call, [seed], after_step, cut, underway))
        latents: torch.Tensor = self.blocks.run(shape, work)
        return latents

    @property
    def details(self) -> dict[str, Any]:
        """What the result metadata says of the last run."""
        tier = self._tier.details_of(cut=self._cut is not None)
        details = {**tier, **self._attention.details, **self.blocks.details}
        return details if self._cache is None else details | {"first_block_cache_hits": self._cache.repeated}

    def _run_once(self, run: Any) -> torch.Tensor:
        with nullcontext() if self._cache is None else self._cache.run():
            latents: torch.Tensor = run().frames
        return latents
