"""How much a model may deviate from its exact pictures for speed; chosen per model in `models.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Attention = Literal["auto", "sdpa", "flash3", "sage", "xformers"]
Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Tier:
    """What a model does for speed; `exact` does nothing that changes a picture beyond float tolerance.

    `guidance_until` is the share of the denoising steps that follow the guidance scale; the rest follow the prompt
    alone, at half the cost. `first_block_cache` is the threshold of the cache of that name (WAN). `deep_cache` is how
    many steps share the deep half of the UNet (SDXL). `attention` takes the place of the model's own. `distilled_lora`
    is a file of weights distilled to few steps, relative to the models folder, which then draws in
    `num_inference_steps` with `guidance_scale`.
    """

    name: str = "exact"
    guidance_until: float = 1.0
    first_block_cache: float | None = None
    deep_cache: int | None = None
    attention: Attention | None = None
    distilled_lora: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None


EXACT = Tier()
