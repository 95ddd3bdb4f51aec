"""The product's models at full or tiny size, with random weights that are drawn where they will be used.

Nothing is downloaded and nothing read from disk but configurations: what a model costs depends on its shape and not
on its values, as long as these stay finite. What it draws is noise.
"""

from __future__ import annotations

import copy
import json
import math
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    UMT5EncoderModel,
)

from ourvidz_worker.engines.devices import dtype_named
from ourvidz_worker.engines.tiny import shapes, tokenizers
from ourvidz_worker.engines.volume.model_config import QwenModel, SdxlModel, WanModel
from ourvidz_worker.engines.wan.schedulers import library_scheduler

Size = Literal["tiny", "full"]

CONFIGS = Path(__file__).parents[2] / "configs"
GAIN = 0.5  # of a layer's output over its input: a residual network then grows slowly enough for float16
QWEN_7B: Mapping[str, Any] = {  # config.json of Qwen/Qwen2.5-7B-Instruct on the Hugging Face hub
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": False,
    "vocab_size": 152_064,
}


def sdxl_pipeline(size: Size, model: SdxlModel, device: torch.device, seed: int = 0) -> StableDiffusionXLPipeline:
    """As the loader would give it, in the dtypes of `model`."""
    dtype, vae_dtype = dtype_named(model.dtype), dtype_named(model.vae_dtype)
    tokenizer, tokenizer_2 = _clip_tokenizers(size)
    ends = {} if size == "full" else _ends(tokenizer)

    def drawn(model_class: type[Any], name: str, wanted: torch.dtype, **more: Any) -> Any:
        return random_model(model_class, {**sdxl_shape(size, name), **more}, wanted, device, seed)

    pipe = StableDiffusionXLPipeline(
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        text_encoder=drawn(CLIPTextModel, "text_encoder", dtype, **ends),
        text_encoder_2=drawn(CLIPTextModelWithProjection, "text_encoder_2", dtype, **ends),
        unet=drawn(UNet2DConditionModel, "unet", dtype),
        vae=drawn(AutoencoderKL, "vae", vae_dtype),
        scheduler=EulerDiscreteScheduler(**sdxl_shape(size, "scheduler")),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def wan_pipeline(
    size: Size, model: WanModel, device: torch.device, seed: int = 0, text_encoder: Any = None
) -> WanPipeline:
    """As the loader would give it; `text_encoder` is one that pipelines share, because it is 11 GB at full size.

    The tokenizer is the tiny models': every text is padded to the same length.
    """
    pipe = WanPipeline(
        tokenizer=tokenizers.t5_tokenizer(),
        text_encoder=text_encoder or wan_text_encoder(size, model, device, seed),
        transformer=random_model(
            WanTransformer3DModel, wan_shape(size, "transformer"), dtype_named(model.dtype), device, seed
        ),
        vae=random_model(AutoencoderKLWan, wan_shape(size, "vae"), dtype_named(model.vae_dtype), device, seed),
        scheduler=library_scheduler(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def wan_text_encoder(size: Size, model: WanModel, device: torch.device, seed: int = 0) -> UMT5EncoderModel:
    words = {} if size == "full" else {"vocab_size": len(tokenizers.t5_tokenizer())}
    shape = {**wan_shape(size, "text_encoder"), **words}
    return random_model(UMT5EncoderModel, shape, dtype_named(model.dtype), device, seed)


def qwen_model(
    size: Size, model: QwenModel, device: torch.device, seed: int = 0
) -> tuple[Qwen2Tokenizer, Qwen2ForCausalLM]:
    """A model that never ends its answer, and a tokenizer with a piece for every token that it may say."""
    small = tokenizers.qwen_tokenizer()
    shape = {**QWEN_7B} if size == "full" else {**shapes.QWEN["model"], "vocab_size": len(small)}
    pieces = {**small.get_vocab(), **{f"w{number}": number for number in range(len(small), shape["vocab_size"])}}
    tokenizer = Qwen2Tokenizer(
        vocab=pieces,
        merges=[],
        eos_token=small.eos_token,
        pad_token=small.pad_token,
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = small.chat_template
    chat = random_model(Qwen2ForCausalLM, {**shape, "eos_token_id": None}, dtype_named(model.dtype), device, seed)
    chat.generation_config.eos_token_id = None
    chat.generation_config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, chat


def sdxl_shape(size: Size, component: str) -> dict[str, Any]:
    return dict(shapes.SDXL[component]) if size == "tiny" else _shipped("sdxl", component)


def wan_shape(size: Size, component: str) -> dict[str, Any]:
    if size == "full":
        return _shipped("wan", component)
    # A cache of the first block has nothing to skip in the tiny model's single one.
    return {**shapes.WAN[component], **({"num_layers": 3} if component == "transformer" else {})}


def random_model(
    model_class: type[Any], shape: Mapping[str, Any], dtype: torch.dtype, device: torch.device, seed: int
) -> Any:
    """Drawn on the device, weight by weight, so that neither the disk nor the host's memory sees the model."""
    model = empty(model_class, shape)
    # diffusers keeps these in float32 beside any dtype, and transformers beside float16 alone
    wide = set() if isinstance(model, PreTrainedModel) else set(model._keep_in_fp32_modules or ())
    weights = {
        name: _drawn(name, weight.shape, torch.float32 if wide.intersection(name.split(".")) else dtype, device, seed)
        for name, weight in _tied(model).named_parameters()
    }
    model.load_state_dict(weights, assign=True, strict=False)  # what is computed from the shape is there already
    return _tied(model).to(device).eval().requires_grad_(requires_grad=False)


def _tied(model: Any) -> Any:
    """With weights under two names as one again."""
    if isinstance(model, PreTrainedModel):
        model.tie_weights()
    return model


def empty(model_class: type[Any], shape: Mapping[str, Any]) -> Any:
    """A model without weights."""
    kind: Any = model_class
    return copy.deepcopy(_first(kind, json.dumps(shape, sort_keys=True)))


@cache
def _first(model_class: type[Any], shape: str) -> Any:
    """Kept, because its modules take longer to build than to copy."""
    with init_empty_weights():
        if issubclass(model_class, PreTrainedModel):
            return model_class(model_class.config_class(**json.loads(shape)))
        return model_class.from_config(json.loads(shape))


@torch.no_grad()
def _drawn(name: str, shape: torch.Size, dtype: torch.dtype, device: torch.device, seed: int) -> torch.Tensor:
    """Norms pass everything on, biases add nothing, and every other layer keeps the scale of what it is given.

    Drawn in float32, so that a model is the same in any dtype but for its rounding.
    """
    kind = name.rpartition(".")[2]
    if kind == "bias":
        return torch.zeros(shape, dtype=dtype, device=device)
    if kind == "gamma" or len(shape) == 1:
        return torch.ones(shape, dtype=dtype, device=device)
    # Each weight has its own numbers, whatever else the model holds and in whichever order.
    generator = torch.Generator(device).manual_seed(seed * 2**32 + zlib.crc32(name.encode()))
    weight = torch.randn(shape, generator=generator, device=device)
    return weight.mul_(GAIN / math.sqrt(shape[1:].numel())).to(dtype)


def _clip_tokenizers(size: Size) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    if size == "tiny":
        return tokenizers.clip_tokenizer("<|endoftext|>"), tokenizers.clip_tokenizer("!")
    first, second = (
        CLIPTokenizer.from_pretrained(CONFIGS / "sdxl" / name, local_files_only=True)
        for name in ("tokenizer", "tokenizer_2")
    )
    return first, second


def _ends(tokenizer: CLIPTokenizer) -> dict[str, int]:
    size = len(tokenizer)
    return {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}


def _shipped(family: str, component: str) -> dict[str, Any]:
    folder = CONFIGS / family / component
    name = "scheduler_config.json" if component == "scheduler" else "config.json"
    shape: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return {key: value for key, value in shape.items() if not key.startswith("_") and key != "architectures"}
