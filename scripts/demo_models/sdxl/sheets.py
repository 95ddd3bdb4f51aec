"""Pictures to look at while the parts are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor

from ourvidz_worker.cli import headlines
from scripts.demo_models.by_hand import COLOURS
from scripts.demo_models.patches import Patches
from scripts.demo_models.sdxl.shapes import LATENT_CHANNELS, SCHEDULER, TIME_IDS
from scripts.demo_models.sdxl.text import TextEncoders
from scripts.demo_models.sdxl.vae import Core, painted
from scripts.demo_models.sheet import save_sheet

PROMPTS = (
    headlines.PICTURE,
    "three small blue houses on the left in the snow at night, a yellow moon on the right",
    "a large green tree in the desert, painting",
    "a white sailing boat on the right on the sea, a red balloon on the left, rain",
    "a purple castle in the middle, line drawing, cloudy",
    "two orange tents by day on a meadow, a black plane on the left",
    "a pink flower in the city, fog, in the morning",
    "a yellow kite on the right and a blue mountain on the left at sunset",
)
GUIDANCE = (1.0, 3.0, 6.0)
STEPS = 15


@torch.no_grad()
def sheet_of_pictures(core: Core, file: Path) -> None:
    """Painted pictures above what the decoder makes of them."""
    pictures, _ = painted(Random("sheet"), 8)
    save_sheet([pictures, core(core.patches.latents(pictures))[:, :COLOURS]], file)


def sheet_of_samples(unet: UNet2DConditionModel, encoders: TextEncoders, patches: Patches, file: Path) -> None:
    """A prompt in every column, with more guidance in every row."""
    save_sheet([patches.pictures(sampled(unet, encoders, PROMPTS, guidance)) for guidance in GUIDANCE], file)


@torch.no_grad()
def sampled(
    unet: UNet2DConditionModel, encoders: TextEncoders, prompts: Sequence[str], guidance: float, seed: int = 0
) -> Tensor:
    """Latents (n, 24, 16, 16) as the pipeline draws them."""
    scheduler = EulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(STEPS)
    states, pooled = (torch.cat([torch.zeros_like(each), each]) for each in encoders(prompts))
    added = {"text_embeds": pooled, "time_ids": torch.zeros(len(pooled), TIME_IDS)}
    chance = torch.Generator().manual_seed(seed)
    latents: Tensor = torch.randn(len(prompts), LATENT_CHANNELS, 16, 16, generator=chance) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, time)
        nothing, something = unet(torch.cat([scaled, scaled]), time, states, added_cond_kwargs=added).sample.chunk(2)
        latents = scheduler.step(nothing + guidance * (something - nothing), time, latents).prev_sample
    return latents
