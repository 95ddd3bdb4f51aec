"""Loading SDXL weights: one `.safetensors` file or a Diffusers folder, the same for real and tiny models."""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionXLPipeline

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.headroom import require_headroom
from ourvidz_worker.engines.unloadable import require_whole_text_encoders, unloadable
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import ConfigurationError, WorkerError


def load_sdxl(model: SdxlModel, models_dir: Path) -> StableDiffusionXLPipeline:
    """The text-to-image pipeline on its device.

    Raises `ConfigurationError` when the weights do not fit, and `OutOfMemory` when the card has no room for them.
    """
    device = device_named(model.device)
    path = models_dir / model.path
    try:
        require_headroom(device, _needed_bytes(model, models_dir), "SDXL")
        with classified_errors("SDXL"):
            pipe = _from_file(model, models_dir) if path.suffix == ".safetensors" else _from_folder(model, models_dir)
            pipe.vae.to(dtype=dtype_named(model.vae_dtype))
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


def _from_file(model: SdxlModel, models_dir: Path) -> StableDiffusionXLPipeline:
    """A checkpoint in the original layout, which brings neither tokenizers nor component configurations."""
    return StableDiffusionXLPipeline.from_single_file(
        str(models_dir / model.path),
        config=str(_config(model, models_dir)),
        dtype=dtype_named(model.dtype),
        add_watermarker=False,
        local_files_only=True,
        **_own_vae(model, models_dir),
    )


def _from_folder(model: SdxlModel, models_dir: Path) -> StableDiffusionXLPipeline:
    pipe = StableDiffusionXLPipeline.from_pretrained(
        str(models_dir / model.path),
        dtype={"default": dtype_named(model.dtype), "vae": dtype_named(model.vae_dtype)},
        add_watermarker=False,
        local_files_only=True,
        use_safetensors=True,
        **_own_vae(model, models_dir),
    )
    require_whole_text_encoders(pipe, models_dir / model.path)
    return pipe


def _own_vae(model: SdxlModel, models_dir: Path) -> dict[str, AutoencoderKL]:
    """The VAE that takes the place of the checkpoint's, if the model has one."""
    if model.vae is None:
        return {}
    path, dtype = models_dir / model.vae, dtype_named(model.vae_dtype)
    if path.suffix != ".safetensors":
        vae = AutoencoderKL.from_pretrained(str(path), dtype=dtype, local_files_only=True, use_safetensors=True)
        return {"vae": vae}
    config = str(_config(model, models_dir))
    vae = AutoencoderKL.from_single_file(str(path), config=config, subfolder="vae", dtype=dtype, local_files_only=True)
    return {"vae": vae}


def _config(model: SdxlModel, models_dir: Path) -> Path:
    """A local folder always: without one the library would ask the hub."""
    if model.config is None:
        raise ConfigurationError("[sdxl] config is missing in models.toml; a single file cannot be read without it")
    return models_dir / model.config
