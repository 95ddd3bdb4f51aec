"""Building the tiny models: weights from a fixed seed, saved in the layout that the loaders read."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2Config,
    Qwen2ForCausalLM,
    UMT5Config,
    UMT5EncoderModel,
)

from ourvidz_worker.engines.tiny import mosaic, tokenizers
from ourvidz_worker.engines.tiny.adapters import build_adapters
from ourvidz_worker.engines.tiny.shapes import ADAPTERS, QWEN, SDXL, VACE, WAN
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.volume.model_config import Part

SEED = 0


def build(part: Part, folder: Path) -> None:
    """Write one tiny model into a folder. The caller's random numbers are not disturbed."""
    builders = {"sdxl": _sdxl, "wan": _wan, "qwen": _qwen}
    with TURNS.loading(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        builders[part](folder)


def _sdxl(folder: Path) -> None:
    tokenizer = tokenizers.clip_tokenizer("<|endoftext|>")
    size = len(tokenizer)
    words = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    pipe = StableDiffusionXLPipeline(
        tokenizer=tokenizer,
        tokenizer_2=tokenizers.clip_tokenizer("!"),
        text_encoder=CLIPTextModel(CLIPTextConfig(**SDXL["text_encoder"], **words)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**SDXL["text_encoder_2"], **words)),
        unet=UNet2DConditionModel(**SDXL["unet"]),
        vae=AutoencoderKL(**SDXL["vae"]),
        scheduler=EulerDiscreteScheduler(**SDXL["scheduler"]),
        add_watermarker=False,
    )
    pipe.save_pretrained(folder)
    build_adapters(pipe.unet, folder / ADAPTERS)


def _wan(folder: Path) -> None:
    tokenizer = tokenizers.t5_tokenizer()
    vae, transformer = AutoencoderKLWan(**WAN["vae"]), WanTransformer3DModel(**WAN["transformer"])
    vace = WanVACETransformer3DModel(**WAN["transformer"], **WAN["vace"])
    mosaic.paint_vae(vae)
    mosaic.paint_transformer(transformer)
    mosaic.paint_vace(vace, transformer)
    WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(UMT5Config(vocab_size=len(tokenizer), **WAN["text_encoder"])),
        transformer=transformer,
        vae=vae,
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
    ).save_pretrained(folder)
    vace.save_pretrained(folder / VACE)


def _qwen(folder: Path) -> None:
    """Its answers are random words: everything but the words of the vocabulary is suppressed."""
    tokenizer = tokenizers.qwen_tokenizer()
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            **QWEN["model"],
        )
    )
    words = {tokenizer.convert_tokens_to_ids("\u0120" + word) for word in tokenizers.QWEN_WORDS}
    model.generation_config.suppress_tokens = [token for token in range(len(tokenizer)) if token not in words]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
