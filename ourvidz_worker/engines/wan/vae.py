"""WAN's VAE as it decodes: in fewer bits where that is faster, until a picture needs them all."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, patchify, unpatchify
from torch import nn

LIBRARY_STEP = 4  # frames


class DecodingVae:
    """The VAE of a pipeline with its decoder in `dtype`; its encoder keeps the precision in which it was loaded.

    Where that is another one, the decoder's weights are also kept as they were, in the host's memory, so that `to`
    float32 does not mean rounded ones.
    """

    def __init__(self, vae: AutoencoderKLWan, dtype: torch.dtype) -> None:
        self.vae = vae
        self._decoding: tuple[nn.Module, ...] = (vae.post_quant_conv, vae.decoder)
        self._masters: list[dict[str, torch.Tensor]] = []
        if dtype != vae.dtype:
            self._masters = [
                {name: weight.to("cpu", copy=True) for name, weight in module.state_dict().items()}
                for module in self._decoding
            ]
            self._cast(dtype)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.vae.decoder.parameters()).dtype  # type: ignore[no-any-return]  # diffusers ships no types

    def to(self, *, dtype: torch.dtype) -> None:
        if not self._masters:
            self.vae.to(dtype=dtype)
            return
        self._cast(dtype)
        if dtype == torch.float32:
            for module, master in zip(self._decoding, self._masters, strict=True):
                module.load_state_dict(master)

    @property
    def use_tiling(self) -> bool:
        return bool(self.vae.use_tiling)

    def enable_slicing(self) -> None:
        self.vae.enable_slicing()

    def disable_slicing(self) -> None:
        self.vae.disable_slicing()

    def enable_tiling(self) -> None:
        self.vae.enable_tiling()

    def disable_tiling(self) -> None:
        self.vae.disable_tiling()

    def size_at_once(self, width: int, height: int) -> tuple[int, int]:
        """How much of a frame is decoded at a time: all of it, or a tile."""
        if not self.use_tiling:
            return width, height
        return min(width, self.vae.tile_sample_min_width), min(height, self.vae.tile_sample_min_height)

    @torch.no_grad()
    def decoded(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Frames in order, some at a time, shape (3, n, height, width), from -1 to 1.

        Latents are as the transformer gives them. Together the frames are what `AutoencoderKLWan.decode` gives, bit
        by bit; in tiles they come all at once.
        """
        vae = self.vae
        mean, deviation = (
            torch.tensor(figures, device=latents.device, dtype=torch.float32).view(1, -1, 1, 1, 1)
            for figures in (vae.config.latents_mean, vae.config.latents_std)
        )
        clip = (latents.float() * deviation + mean).to(self.dtype)
        if vae.use_tiling:
            yield vae.decode(clip, return_dict=False)[0][0]
            return
        yield from _one_by_one(vae, clip)

    def _cast(self, dtype: torch.dtype) -> None:
        for module in self._decoding:
            module.to(dtype=dtype)


def encode_by_its_steps(vae: AutoencoderKLWan) -> None:
    """Encode as many frames at a time as the VAE makes one of, where the library takes four of any."""
    if vae.config.scale_factor_temporal != LIBRARY_STEP:
        vae._encode = MethodType(_encoded, vae)  # noqa: SLF001 - what `encode` calls, and its tiles do not


def _encoded(self: Any, clip: torch.Tensor) -> torch.Tensor:
    """Shape (1, 2 * channels, latent frames, height, width); the first frame is one by itself."""
    if self.config.patch_size is not None:
        clip = patchify(clip, patch_size=self.config.patch_size)
    kept = [None] * sum(isinstance(module, WanCausalConv3d) for module in self.encoder.modules())
    first, rest = clip[:, :, :1], clip[:, :, 1:]
    steps = torch.split(rest, self.config.scale_factor_temporal, dim=2) if rest.shape[2] else ()
    encoded = [self.encoder(frames, feat_cache=kept, feat_idx=[0]) for frames in (first, *steps)]
    moments: torch.Tensor = self.quant_conv(torch.cat(encoded, dim=2))
    return moments


def decoding_dtype(vae: AutoencoderKLWan, wanted: torch.dtype) -> torch.dtype:
    """Fewer bits make nothing faster but a card, and stand for float32 alone."""
    held: torch.dtype = vae.dtype
    return wanted if vae.device.type == "cuda" and held == torch.float32 else held


def _one_by_one(vae: AutoencoderKLWan, clip: torch.Tensor) -> Iterator[torch.Tensor]:
    """Latent frame by latent frame: each convolution keeps what it needs of those before."""
    kept = [None] * sum(isinstance(module, WanCausalConv3d) for module in vae.decoder.modules())
    ready = vae.post_quant_conv(clip)
    for index in range(clip.shape[2]):
        frames = vae.decoder(ready[:, :, index : index + 1], feat_cache=kept, feat_idx=[0], first_chunk=index == 0)
        if vae.config.patch_size is not None:
            frames = unpatchify(frames, patch_size=vae.config.patch_size)
        yield frames[0].clamp(-1.0, 1.0)
