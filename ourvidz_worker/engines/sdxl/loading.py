"""Loading SDXL weights: one `.safetensors` file or a Diffusers folder, the same for real and tiny models."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.folder_models import models_on
from ourvidz_worker.engines.headroom import room_for_weights
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.unloadable import require_whole_text_encoders, unloadable
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import ConfigurationError, WorkerError


def load_sdxl(model: SdxlModel, models_dir: Path, residency: Residency | None = None) -> StableDiffusionXLPipeline:
    """The text-to-image pipeline on its device; what is idle in `residency` makes room for it.

    Raises `ConfigurationError` when the weights do not fit, and `OutOfMemory` when the card has no room for them.
    """
    device = device_named(model.device)
    path = models_dir / model.path
    try:
        needed = _needed_bytes(model, models_dir)
        with room_for_weights(residency or Residency(), device, needed, "SDXL"), classified_errors("SDXL"):
            load = _from_file if path.suffix == ".safetensors" else _from_folder
            pipe = load(model, models_dir, device)
            pipe.to(device)
    except WorkerError:
        raise
    except Exception as error:
        raise unloadable("SDXL", path, error) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _needed_bytes(model: SdxlModel, models_dir: Path) -> int:
    vae = 0 if model.vae is None else loaded_bytes(models_dir / model.vae, model.vae_dtype)
    return loaded_bytes(models_dir / model.path, model.dtype) + vae


def _from_file(model: SdxlModel, models_dir: Path, device: torch.device) -> StableDiffusionXLPipeline:
    """A checkpoint in the original layout, which brings neither tokenizers nor component configurations.

    UNet and VAE go straight to the device, and the text encoders by way of the library, which knows no device for them.
    """
    path, config = models_dir / model.path, str(_config(model, models_dir))
    weights = load_file(path)  # mapped into memory, and read tensor by tensor
    unet = UNet2DConditionModel.from_single_file(
        weights,
        config=config,
        subfolder="unet",
        dtype=dtype_named(model.dtype),
        device=device,
        local_files_only=True,
    )
    return StableDiffusionXLPipeline.from_single_file(
        str(path),
        config=config,
        dtype=dtype_named(model.dtype),
        add_watermarker=False,
        local_files_only=True,
        unet=unet,
        vae=_own_vae(model, models_dir, device) or _vae_of_file(weights, config, model.vae_dtype, device),
    )


def _from_folder(model: SdxlModel, models_dir: Path, device: torch.device) -> StableDiffusionXLPipeline:
    folder, own_vae = models_dir / model.path, _own_vae(model, models_dir, device)
    dtypes = {"default": dtype_named(model.dtype), "vae": dtype_named(model.vae_dtype)}
    models = models_on(device, folder, dtypes, leaving_out=() if own_vae is None else ("vae",))
    pipe = StableDiffusionXLPipeline.from_pretrained(
        str(folder),
        add_watermarker=False,
        local_files_only=True,
        use_safetensors=True,
        **models if own_vae is None else models | {"vae": own_vae},
    )
    require_whole_text_encoders(pipe, folder)
    return pipe


def _own_vae(model: SdxlModel, models_dir: Path, device: torch.device) -> AutoencoderKL | None:
    """The VAE that takes the place of the checkpoint's, if the model has one."""
    if model.vae is None:
        return None
    path = models_dir / model.vae
    if path.suffix == ".safetensors":
        return _vae_of_file(load_file(path), str(_config(model, models_dir)), model.vae_dtype, device)
    return AutoencoderKL.from_pretrained(
        str(path),
        dtype=dtype_named(model.vae_dtype),
        device_map={"": device},
        local_files_only=True,
        use_safetensors=True,
    )


def _vae_of_file(weights: dict[str, torch.Tensor], config: str, dtype: str, device: torch.device) -> AutoencoderKL:
    return AutoencoderKL.from_single_file(
        weights, config=config, subfolder="vae", dtype=dtype_named(dtype), device=device, local_files_only=True
    )


def _config(model: SdxlModel, models_dir: Path) -> Path:
    """A local folder always: without one the library would ask the hub."""
    if model.config is None:
        raise ConfigurationError("[sdxl] config is missing in models.toml; a single file cannot be read without it")
    return models_dir / model.config
