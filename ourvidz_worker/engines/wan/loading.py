"""Loading WAN weights from a Diffusers folder, the same for real and tiny models."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import WanPipeline, WanVideoToVideoPipeline
from diffusers.video_processor import VideoProcessor

from ourvidz_worker.engines.devices import device_named, dtype_named
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.errors import ConfigurationError

PROMPT_TOKENS = 512  # the length WAN was trained with; encode_prompt alone would pad to 226


def load_wan(model: WanModel, models_dir: Path) -> WanPipeline:
    """The text-to-video pipeline on its device; raises `ConfigurationError` when the weights do not fit.

    The dtype is given while loading and never cast afterwards: some modules of the transformer stay in float32.
    """
    device = device_named(model.device)
    path = models_dir / model.path
    try:
        pipe = WanPipeline.from_pretrained(
            str(path),
            dtype={"default": dtype_named(model.dtype), "vae": dtype_named(model.vae_dtype)},
            local_files_only=True,
        )
        pipe.to(device)
    except Exception as error:
        raise ConfigurationError(f"WAN weights at {path} cannot be loaded: {type(error).__name__}: {error}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def video_to_video(pipe: WanPipeline) -> WanVideoToVideoPipeline:
    """The pipeline that starts from frames, on the same components.

    It guesses the spatial factor from the number of temporal stages, which only fits a VAE without patches;
    the VAE's own configuration knows.
    """
    shared = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
    steered = WanVideoToVideoPipeline(**{name: pipe.components[name] for name in shared})
    steered.vae_scale_factor_spatial = pipe.vae.config.scale_factor_spatial
    steered.vae_scale_factor_temporal = pipe.vae.config.scale_factor_temporal
    steered.video_processor = VideoProcessor(vae_scale_factor=steered.vae_scale_factor_spatial)
    steered.set_progress_bar_config(disable=True)
    return steered


def spatial_grid(pipe: WanPipeline) -> int:
    """Width and height in pixels that one token covers: the VAE's factor times the transformer's patch."""
    return int(pipe.vae.config.scale_factor_spatial) * int(max(pipe.transformer.config.patch_size[1:]))


def encode_text(pipe: WanPipeline, text: str) -> torch.Tensor:
    """Embeddings of one text, shape (1, 512, width of the text encoder)."""
    with torch.no_grad():
        embeddings, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=PROMPT_TOKENS)
    assert isinstance(embeddings, torch.Tensor)
    return embeddings
