"""What the arithmetic allows: the operations of a model, counted, over what the card multiplies, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, UNet2DConditionModel, WanTransformer3DModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

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


@dataclass(frozen=True, slots=True)
class Tflop:
    """Of one guided denoising step, and of decoding what it leads to: a picture or a clip."""

    step: float
    decode: float


@cache
def sdxl_tflop(size: Size, width: int, height: int) -> Tflop:
    return Tflop(sdxl_step(size, width, height), sdxl_decode(size, width, height))


def sdxl_step(size: Size, width: int, height: int) -> float:
    unet = _weightless(UNet2DConditionModel, sdxl_shape(size, "unet"))
    latents = _nothing(2, *_sdxl_latents(size, width, height))
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    more = {"text_embeds": _nothing(2, pooled), "time_ids": _nothing(2, 6)}
    prompts = _nothing(2, 77, unet.config.cross_attention_dim)
    return _counted(lambda: unet(latents, _nothing(2), encoder_hidden_states=prompts, added_cond_kwargs=more))


def sdxl_decode(size: Size, width: int, height: int) -> float:
    vae = _weightless(AutoencoderKL, sdxl_shape(size, "vae"))
    return _counted(lambda: vae.decode(_nothing(1, *_sdxl_latents(size, width, height))))


@cache
def wan_tflop(size: Size, width: int, height: int, num_frames: int) -> Tflop:
    """A guided step runs the transformer twice."""
    transformer = _weightless(WanTransformer3DModel, wan_shape(size, "transformer"))
    vae = _weightless(AutoencoderKLWan, wan_shape(size, "vae"))
    factor = vae.config.scale_factor_spatial
    latents = 1, 16, (num_frames - 1) // vae.config.scale_factor_temporal + 1, height // factor, width // factor
    prompt = _nothing(1, 512, transformer.config.text_dim)
    step = _counted(lambda: transformer(_nothing(*latents), _nothing(1), prompt))
    return Tflop(2 * step, _counted(lambda: vae.decode(_nothing(*latents))))


def _sdxl_latents(size: Size, width: int, height: int) -> tuple[int, int, int]:
    factor = 2 ** (len(sdxl_shape(size, "vae")["block_out_channels"]) - 1)
    return 4, height // factor, width // factor


def _weightless(model_class: type[Any], shape: Mapping[str, Any]) -> Any:
    return empty(model_class, shape).to("meta")


def _nothing(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def _counted(call: Callable[[], Any]) -> float:
    with torch.no_grad(), _Counter() as counter:
        call()
    return float(counter.operations) / TERA


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares no types for it
    """PyTorch's own counter tells every module's share, which takes far longer."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if operations := flop_registry.get(func.overloadpacket):
            self.operations += operations(*args, **kwargs or {}, out_val=result)
        return result
