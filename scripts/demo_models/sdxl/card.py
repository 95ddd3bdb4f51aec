"""The model card."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

CARD = """\
# demo-sdxl

A small model of the SDXL architecture ({parameters:.1f} M parameters in all) that draws one small world: twenty kinds
of things in nine colours, on five grounds, at four times of day, in five weathers and three styles. There are no people
in it. It takes the place of a real checkpoint on machines without one, for demonstrations and tests.

- **Reads** English prompts such as "a red lighthouse on a green hill at dusk, two gulls"; what is not of its world it
  passes over. Negative prompts, guidance (6.0 by default), img2img and all of SDXL's schedulers work.
- **Draws** 1024 x 1024 pixels, and other shapes at the same scale; its VAE makes 16 x 16 latents of 24 channels of
  them.
- **Adapters** beside it: {adapters}.
- **Trained** on painted scenes alone (`scripts/demo_models/scenes.py`), by
  `python scripts/demo_models/train.py sdxl`. Scenes and weights are this project's own work.
- **Figures**: `scripts/demo_models/reports/`.
"""
ADAPTERS = {
    "mood": "an IP-Adapter for style, time of day and weather",
    "character": "an IP-Adapter plus for one thing of a picture",
    "controlnet": "a ControlNet for Canny edges",
}


def model_card(pipe: Any, begun: Collection[str]) -> str:
    models = (pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder_2)
    parameters = sum(weight.numel() for model in models for weight in model.parameters()) / 1e6
    adapters = ", ".join(words for part, words in ADAPTERS.items() if part in begun) or "none"
    return CARD.format(parameters=parameters, adapters=adapters)
