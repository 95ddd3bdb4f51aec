"""WAN's models as components on the card: what moves together, and what may be evicted first."""

from __future__ import annotations

from diffusers import WanPipeline

from ourvidz_worker.engines.residency.card import TorchCard
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.weights import ModuleWeights

TRANSFORMER, VAE, TEXT_ENCODER, VACE = "transformer", "vae", "text_encoder", "vace"


def register(pipe: WanPipeline, residency: Residency) -> None:
    """To be called when the models are as they will be used; they are on their device."""
    device = pipe.device
    residency.on(TorchCard(device))
    for name, module, rank in (
        (TRANSFORMER, pipe.transformer, Rank.CORE),
        (VAE, pipe.vae, Rank.CORE),
        (TEXT_ENCODER, pipe.text_encoder, Rank.TEXT_ENCODER),
    ):
        residency.add(name, ModuleWeights([module], device), rank=rank)
