"""What the arithmetic allows: the operations of a model, counted, over what the card multiplies, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, UNet2DConditionModel, WanTransformer3DModel
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.random_models import Size, empty, sdxl_shape, wan_shape
from tests.bench.stage_clock import synchronise

TERA = 10**12
PUBLISHED_TFLOPS: Mapping[str, float] = {  # dense float16 and bfloat16, from NVIDIA's data sheets
    "H200": 989.0,
    "H100": 989.0,
    "A100": 312.0,
    "RTX 6000 Ada": 364.0,
    "L40S": 362.0,
}


def published_tflops(card: str) -> float | None:
    return next((peak for name, peak in PUBLISHED_TFLOPS.items() if name in card), None)


def measured_tflops(device: torch.device, dtype: torch.dtype, *, side: int, rounds: int = 10) -> float:
    """The median rate of products of two square matrices of random numbers; zeros would be faster than real data."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = left @ right
    seconds = []
    for _ in range(rounds):
        synchronise(device)
        begun = time.perf_counter()
        torch.matmul(left, right, out=product)
        synchronise(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / statistics.median(seconds) / TERA


def copied_gb_per_second(device: torch.device, *, gigabytes: float, rounds: int = 10) -> float:
    """The median rate of a copy within the device's memory, what is read and what is written counted."""
    source = torch.randn(int(gigabytes * 10**9 / 4), device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = []
    for _ in range(rounds):
        synchronise(device)
        begun = time.perf_counter()
        target.copy_(source)
        synchronise(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * source.nbytes / statistics.median(seconds) / 10**9


@cache
def sdxl_tflop(size: Size, width: int, height: int) -> tuple[float, float]:
    """Of one guided denoising step, and of one picture's decoding."""
    unet, vae = (_weightless(kind, sdxl_shape(size, name)) for kind, name in _SDXL)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    tall, wide = height // factor, width // factor
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    more = {"text_embeds": _nothing(2, pooled), "time_ids": _nothing(2, 6)}
    prompts = _nothing(2, 77, unet.config.cross_attention_dim)
    step = _counted(
        lambda: unet(_nothing(2, 4, tall, wide), _nothing(2), encoder_hidden_states=prompts, added_cond_kwargs=more)
    )
    return step, _counted(lambda: vae.decode(_nothing(1, 4, tall, wide)))


@cache
def wan_tflop(size: Size, width: int, height: int, num_frames: int) -> tuple[float, float]:
    """Of one guided denoising step, which runs the transformer twice, and of decoding the clip."""
    transformer, vae = (_weightless(kind, wan_shape(size, name)) for kind, name in _WAN)
    factor = vae.config.scale_factor_spatial
    latents = 1, 16, (num_frames - 1) // vae.config.scale_factor_temporal + 1, height // factor, width // factor
    prompt = _nothing(1, 512, transformer.config.text_dim)
    step = _counted(lambda: transformer(_nothing(*latents), _nothing(1), prompt))
    return 2 * step, _counted(lambda: vae.decode(_nothing(*latents)))


_SDXL = ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
_WAN = ((WanTransformer3DModel, "transformer"), (AutoencoderKLWan, "vae"))


def _weightless(model_class: type[Any], shape: Mapping[str, Any]) -> Any:
    return empty(model_class, shape).to("meta")


def _nothing(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def _counted(call: Callable[[], Any]) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / TERA
