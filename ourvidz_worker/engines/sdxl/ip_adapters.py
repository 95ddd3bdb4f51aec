"""IP-Adapters: a picture speaks beside the text in the UNet's cross-attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from safetensors.torch import load_file
from torch import nn

from ourvidz_worker.engines.sdxl.adapter_files import fitting_file
from ourvidz_worker.errors import AdapterUnusable

PARTS = ("image_proj", "ip_adapter")


@dataclass(frozen=True, slots=True)
class IpAdapter:
    """The weights of one IP-Adapter, outside of the UNet that they belong to.

    `layers` holds keys and values for each cross-attention, by the name of its processor. `projection` makes `tokens`
    tokens of an image embedding of `image_width` numbers: of the encoder's hidden states where `reads_hidden_states`,
    as plus models do, else of its projected embedding.
    """

    layers: Mapping[str, tuple[nn.Linear, nn.Linear]]
    projection: nn.Module
    tokens: int
    image_width: int
    reads_hidden_states: bool

    @property
    def modules(self) -> list[nn.Module]:
        return [self.projection, *(layer for pair in self.layers.values() for layer in pair)]


def load_ip_adapter(pipe: StableDiffusionXLPipeline, path: Path) -> IpAdapter:
    """Read an IP-Adapter in its published layout; raises `AdapterUnusable` when it does not fit the pipeline's UNet.

    Diffusers can only load one into a UNet, so it is taken out of there again.
    """
    with fitting_file(path, "an IP-Adapter for this SDXL model"), _left_as_it_was(pipe.unet):
        weights = load_file(path)
        state = {part: _under(weights, part) for part in PARTS}
        _require_kind(state["image_proj"], path)
        _pipeline_of(pipe).load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
        return _taken_out(pipe.unet)


@contextmanager
def worn(pipe: StableDiffusionXLPipeline, adapters: Sequence[tuple[IpAdapter, Any]]) -> Iterator[None]:
    """The UNet listens to these adapters, each with its scale, and afterwards to the text alone as before."""
    if not adapters:
        yield
        return
    unet = pipe.unet
    with _left_as_it_was(unet):
        processors = unet.attn_processors
        for name in adapters[0][0].layers:
            processors[name] = _processor([adapter.layers[name] for adapter, _ in adapters], adapters)
        unet.set_attn_processor(processors)
        unet.encoder_hid_proj = MultiIPAdapterImageProjection([adapter.projection for adapter, _ in adapters])
        unet.config.encoder_hid_dim_type = "ip_image_proj"
        pipe.set_ip_adapter_scale([scale for _, scale in adapters])
        yield


@contextmanager
def _left_as_it_was(unet: UNet2DConditionModel) -> Iterator[None]:
    processors, projection, kind = unet.attn_processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
    try:
        yield
    finally:
        unet.encoder_hid_proj = projection
        unet.config.encoder_hid_dim_type = kind
        unet.set_attn_processor(processors)


def _pipeline_of(pipe: StableDiffusionXLPipeline) -> StableDiffusionXLPipeline:
    """A pipeline to throw away: loading an adapter leaves traces on it."""
    return StableDiffusionXLPipeline(**pipe.components, add_watermarker=False)


def _under(weights: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{part}."): value for key, value in weights.items() if key.startswith(f"{part}.")}


def _require_kind(projection: Mapping[str, torch.Tensor], path: Path) -> None:
    """Other kinds read what this worker has no model for, such as the features of a face recogniser."""
    if "proj.weight" not in projection and "latents" not in projection:
        raise AdapterUnusable(
            f"{path} is no IP-Adapter that reads CLIP embeddings alone; put a plain or plus one there"
        )


def _taken_out(unet: UNet2DConditionModel) -> IpAdapter:
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    layers = {
        name: (processor.to_k_ip[0], processor.to_v_ip[0])
        for name, processor in unet.attn_processors.items()
        if isinstance(processor, IPAdapterAttnProcessor2_0)
    }
    match projection:
        case ImageProjection():
            width, tokens = projection.image_embeds.in_features, projection.num_image_text_embeds
        case IPAdapterPlusImageProjection():
            width, tokens = projection.proj_in.in_features, projection.latents.shape[1]
    return IpAdapter(layers, projection, tokens, width, not isinstance(projection, ImageProjection))


def _processor(
    layers: Sequence[tuple[nn.Linear, nn.Linear]], adapters: Sequence[tuple[IpAdapter, Any]]
) -> IPAdapterAttnProcessor2_0:
    """One that shares the adapters' layers instead of making its own."""
    with torch.device("meta"):
        processor = IPAdapterAttnProcessor2_0(1, 1, num_tokens=[adapter.tokens for adapter, _ in adapters])
    processor.to_k_ip = nn.ModuleList(keys for keys, _ in layers)
    processor.to_v_ip = nn.ModuleList(values for _, values in layers)
    return processor
