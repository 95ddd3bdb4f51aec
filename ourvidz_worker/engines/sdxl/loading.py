"""Loading SDXL weights: one `.safetensors` file or a Diffusers folder, the same for real and tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline

from ourvidz_worker.engines.devices import device_named, dtype_named
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import ConfigurationError


def load_sdxl(model: SdxlModel, models_dir: Path) -> StableDiffusionXLPipeline:
    """The text-to-image pipeline on its device; raises `ConfigurationError` when the weights do not fit."""
    device = device_named(model.device)
    path = models_dir / model.path
    try:
        pipe = _from_file(model, models_dir) if path.suffix == ".safetensors" else _from_folder(model, path)
        if model.vae is not None:
            pipe.vae = _vae(models_dir / model.vae, model)
        pipe.vae.to(dtype=dtype_named(model.vae_dtype))
        pipe.to(device)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"SDXL weights at {path} cannot be loaded: {type(error).__name__}: {error}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fresh_scheduler(pipe: StableDiffusionXLPipeline) -> EulerDiscreteScheduler:
    """Euler with the checkpoint's own noise schedule; a scheduler carries state, so every batch gets its own."""
    return EulerDiscreteScheduler.from_config(pipe.scheduler.config)


def _from_file(model: SdxlModel, models_dir: Path) -> StableDiffusionXLPipeline:
    """A checkpoint in the original layout, which brings neither tokenizers nor component configurations."""
    config: dict[str, Any] = (
        {} if model.config is None else {"config": str(models_dir / model.config), "local_files_only": True}
    )
    return StableDiffusionXLPipeline.from_single_file(
        str(models_dir / model.path), dtype=dtype_named(model.dtype), add_watermarker=False, **config
    )


def _from_folder(model: SdxlModel, path: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(
        str(path),
        dtype={"default": dtype_named(model.dtype), "vae": dtype_named(model.vae_dtype)},
        add_watermarker=False,
        local_files_only=True,
    )


def _vae(path: Path, model: SdxlModel) -> AutoencoderKL:
    dtype = dtype_named(model.vae_dtype)
    if path.suffix == ".safetensors":
        return AutoencoderKL.from_single_file(str(path), dtype=dtype)
    return AutoencoderKL.from_pretrained(str(path), dtype=dtype, local_files_only=True)
