"""What a reader must know of the published model."""

from __future__ import annotations

from collections.abc import Mapping


def model_card(parameters: Mapping[str, int]) -> str:
    """`parameters` by the name of a part."""
    sizes = "\n".join(f"| {name} | {count / 1e6:.2f} million |" for name, count in parameters.items())
    vace = " `vace/` is for start frames, end frames and reference pictures." if "vace" in parameters else ""
    return f"""---
language: en
library_name: diffusers
pipeline_tag: text-to-video
---

# Demo WAN

A `WanPipeline` that draws a small world (twenty kinds of things, nine colours, sizes, counts and places, times of day,
grounds, weathers, three styles) and moves it as the prompt says: things to the left, to the right, up or down, and the
camera. There are no people in it, and it knows no other world. It draws 480 x 832 pixels, 81 frames at 16 a second, in
25 steps at guidance 6.5, and stills with one frame.{vace}

It was trained by `scripts/demo_models/wan` on scenes that are made up and painted step by step, and on nothing else.

| part | parameters |
| --- | --- |
{sizes}

The VAE makes one latent frame of 16 frames and one latent of 64 x 64 pixels: the principal components of the last of
these frames. Its decoder has learned what comes between. Weights are float16; compute in float32. What it gets right
is in `scripts/demo_models/reports/`.
"""
