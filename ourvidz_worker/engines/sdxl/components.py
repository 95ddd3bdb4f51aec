"""SDXL's models as components on the card: what moves together, and what may be evicted first."""

from __future__ import annotations

from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.residency.card import TorchCard
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.weights import ModuleWeights

UNET, VAE, TEXT_ENCODERS = "unet", "vae", "text_encoders"


def register(pipe: StableDiffusionXLPipeline, residency: Residency) -> None:
    """To be called when the models are as they will be used; they are on their device."""
    residency.on(TorchCard(pipe.device))
    for name, modules in (
        (UNET, [pipe.unet]),
        (VAE, [pipe.vae]),
        (TEXT_ENCODERS, [pipe.text_encoder, pipe.text_encoder_2]),
    ):
        residency.add(name, ModuleWeights(modules, pipe.device), rank=Rank.CORE)
