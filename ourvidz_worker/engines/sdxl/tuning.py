"""How one set of SDXL's models computes: its attention, its memory layout, its compiled blocks, its tier."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.attention import ChosenAttention, set_attention
from ourvidz_worker.engines.compilation import CompiledBlocks
from ourvidz_worker.engines.guidance import GuidanceCut, guidance_cut
from ourvidz_worker.engines.sdxl.distilled import fuse_distilled_lora
from ourvidz_worker.engines.sdxl.schedulers import distilled_scheduler, fresh_scheduler
from ourvidz_worker.engines.sdxl.steered import Steered
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.engines.volume.tiers import Tier

DOUBLED = ("prompt_embeds", "add_text_embeds", "add_time_ids")  # what SDXL's pipelines hold twice with guidance


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the engine asks before and while it draws."""

    tier: Tier
    attention: ChosenAttention
    blocks: CompiledBlocks

    def scheduler(self, job: Job, config: Any) -> Any:
        """A scheduler carries state, so every batch gets its own; `config` is that of the checkpoint's."""
        if self.tier.distilled_lora is None:
            return fresh_scheduler(job.solver, config)
        return distilled_scheduler(config)

    def solver(self, job: Job) -> str:
        """The name of that scheduler."""
        return job.solver if self.tier.distilled_lora is None else "euler_trailing"

    def cut(self, job: Job, steered: Steered) -> GuidanceCut | None:
        """Adapters hold the halves of their batch where a cut cannot reach, so their jobs are guided to the end."""
        if steered.has_adapters:
            return None
        return guidance_cut(self.tier.guidance_until, steered.steps, job.guidance_scale, DOUBLED)

    def details(self, job: Job, steered: Steered) -> dict[str, Any]:
        """The entries for the result metadata: what was really done to this job."""
        tier = self.tier.details_of(cut=self.cut(job, steered) is not None)
        return {**tier, **self.attention.details, **self.blocks.details}


def tuned(
    pipe: StableDiffusionXLPipeline,
    model: SdxlModel,
    models_dir: Path,
    *,
    holding: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tuning:
    """Prepare loaded models to compute as `models.toml` says; raises `ConfigurationError` over the tier's weights.

    `holding` keeps the UNet on its device while its blocks are compiled.
    """
    tier, device = model.tier, pipe.device
    if tier.distilled_lora is not None:
        fuse_distilled_lora(pipe, models_dir / tier.distilled_lora)
    if device.type == "cuda":  # its convolutions read pictures channel by channel, and would turn them each time
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    attention = set_attention(pipe.unet, tier.attention or model.attention, device)
    return Tuning(tier, attention, CompiledBlocks(pipe.unet, model.compile, device, holding=holding))
