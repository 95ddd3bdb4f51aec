"""What a weights file is, told from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from ourvidz_worker.engines.volume.safetensors_header import Tensors, read_tensors


class Kind(StrEnum):
    """The value goes into a sentence: "it looks like …"."""

    SDXL = "an SDXL checkpoint"
    SDXL_INPAINTING = "an SDXL checkpoint for inpainting"
    SDXL_REFINER = "the SDXL refiner"
    SD15 = "a Stable Diffusion 1.5 checkpoint"
    SD2 = "a Stable Diffusion 2 checkpoint"
    UNET = "a diffusion model without text encoders and VAE"
    VAE = "an image VAE"
    WAN = "a WAN video model"
    WAN_IMAGE_TO_VIDEO = "a WAN image-to-video model"
    WAN_VACE = "a WAN VACE model"
    WAN_VAE = "WAN's VAE"
    LORA = "a LoRA"
    IP_ADAPTER = "an IP-Adapter"
    IP_ADAPTER_PLUS = "an IP-Adapter plus"
    IP_ADAPTER_BIG_G = "an IP-Adapter for the larger image encoder ViT-bigG"
    IP_ADAPTER_SD15 = "an IP-Adapter for Stable Diffusion 1.5"
    IP_ADAPTER_OTHER = "an IP-Adapter of another make, like FaceID"
    CONTROLNET = "a ControlNet"
    CONTROLNET_UNION = "a ControlNet Union"
    CONTROLNET_SD15 = "a ControlNet for Stable Diffusion 1.5"
    IMAGE_ENCODER = "a CLIP image encoder"
    LANGUAGE_MODEL = "a language model"
    TEXT_ENCODER = "a text encoder"
    UNKNOWN = "nothing that is known here"


_SD15_WIDTH = 768  # of the text embeddings that Stable Diffusion 1.5 attends to
_SD2_WIDTH = 1024
_WAN_WITH_PICTURE = 36  # channels: 16 of the clip, 16 of the picture that it begins with, 4 of the mask
_BIG_G_WIDTHS = {"image_proj.proj.weight": 1280, "image_proj.proj_in.weight": 1664}  # of ViT-bigG's embeddings


def kind_of(path: Path) -> Kind:
    """What a `.safetensors` file, or a folder's, holds; raises `DamagedFile`."""
    return kind_of_tensors(tensors_of(path))


def tensors_of(path: Path) -> Tensors:
    """Of one file, or of all shards in a folder; raises `DamagedFile`."""
    if path.is_file():
        return read_tensors(path)
    return {name: tensor for file in sorted(path.glob("*.safetensors")) for name, tensor in read_tensors(file).items()}


def kind_of_tensors(tensors: Tensors) -> Kind:
    for sign, kind in _SIGNS:
        if any(sign.search(name) for name in tensors):
            return kind if isinstance(kind, Kind) else kind(tensors)
    return Kind.UNKNOWN


def _checkpoint(tensors: Tensors) -> Kind:
    if _has(tensors, "conditioner.embedders.1."):
        first = tensors.get("model.diffusion_model.input_blocks.0.0.weight")
        return Kind.SDXL_INPAINTING if first and first.shape[1:2] == (9,) else Kind.SDXL
    if _has(tensors, "conditioner.embedders.0.model."):
        return Kind.SDXL_REFINER
    if not _has(tensors, "cond_stage_model."):
        return Kind.UNET
    return Kind.SD2 if _attends_to(tensors, _SD2_WIDTH) else Kind.SD15


def _ip_adapter(tensors: Tensors) -> Kind:
    if _attends_to(tensors, _SD15_WIDTH):
        return Kind.IP_ADAPTER_SD15
    if any(name in tensors and tensors[name].shape[-1] == width for name, width in _BIG_G_WIDTHS.items()):
        return Kind.IP_ADAPTER_BIG_G
    if "image_proj.latents" in tensors:
        return Kind.IP_ADAPTER_PLUS
    return Kind.IP_ADAPTER if "image_proj.proj.weight" in tensors else Kind.IP_ADAPTER_OTHER


def _controlnet(tensors: Tensors) -> Kind:
    return Kind.CONTROLNET_SD15 if _attends_to(tensors, _SD15_WIDTH) else Kind.CONTROLNET


def _wan(tensors: Tensors) -> Kind:
    patches = [tensor.shape for name, tensor in tensors.items() if name.endswith("patch_embedding.weight")]
    return Kind.WAN_IMAGE_TO_VIDEO if any(shape[1:2] == (_WAN_WITH_PICTURE,) for shape in patches) else Kind.WAN


def _attends_to(tensors: Tensors, width: int) -> bool:
    """Whether the cross-attention reads embeddings of this width."""
    keys = ("attn2.to_k.weight", "to_k_ip.weight")
    return any(tensor.shape[-1:] == (width,) for name, tensor in tensors.items() if name.endswith(keys))


def _has(tensors: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


_SIGNS: tuple[tuple[re.Pattern[str], Kind | Callable[[Tensors], Kind]], ...] = tuple(
    (re.compile(sign), kind)
    for sign, kind in (
        # The most telling first: a checkpoint holds a VAE, too, and a LoRA is named after what it changes.
        (r"lora_(down|up|A|B)\.|lora\.(down|up)\.|\.(hada|lokr)_w\d", Kind.LORA),
        (r"^ip_adapter\.", _ip_adapter),
        (r"^task_embedding$", Kind.CONTROLNET_UNION),
        (r"^(controlnet_cond_embedding|control_model)\.", _controlnet),
        (r"(^|\.)vace_blocks\.", Kind.WAN_VACE),
        (r"(^|\.)img_emb\.|^condition_embedder\.image_embedder\.", Kind.WAN_IMAGE_TO_VIDEO),
        (r"(^|\.)head\.modulation$|^condition_embedder\.time_proj\.", _wan),
        (r"^model\.diffusion_model\.input_blocks\.", _checkpoint),
        (r"^decoder\.(middle|mid_block)\..*\.gamma$", Kind.WAN_VAE),
        (r"(^|\.)decoder\.mid(\.block_1|_block\.resnets\.0)\.norm1\.weight$", Kind.VAE),
        (r"^up_blocks\.", Kind.UNET),
        (r"^vision_model\.", Kind.IMAGE_ENCODER),
        (r"^model\.layers\.0\.self_attn\.", Kind.LANGUAGE_MODEL),
        (r"^(text_model\.)?encoder\.(layers|block)\.", Kind.TEXT_ENCODER),
    )
)
