"""Loading WAN, in the layout of Diffusers or in the original one, the same for real and tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanVACEPipeline, WanVACETransformer3DModel, WanVideoToVideoPipeline
from diffusers.video_processor import VideoProcessor
from transformers import AutoTokenizer

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.folder_models import models_on
from ourvidz_worker.engines.headroom import room_for_weights
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.unloadable import require_whole_text_encoders, unloadable
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan import components, layouts
from ourvidz_worker.engines.wan.components import Component, Files
from ourvidz_worker.engines.wan.schedulers import library_scheduler
from ourvidz_worker.engines.wan.vae import encode_by_its_steps
from ourvidz_worker.errors import AdapterUnusable, ConfigurationError, WorkerError


def load_wan(model: WanModel, models_dir: Path, residency: Residency | None = None) -> WanPipeline:
    """The text-to-video pipeline on its device; what is idle in `residency` makes room for it.

    Raises `ConfigurationError` when the weights do not fit, and `OutOfMemory` when the card has no room for them.
    The dtype is given while loading and never cast afterwards: some modules of the transformer stay in float32.
    """
    device = device_named(model.device)
    path = models_dir / model.path
    load = _from_original if layouts.layout_of(path) == "original" else _from_diffusers
    try:
        needed = loaded_bytes(path, model.dtype) if device.type == "cuda" else 0
        with room_for_weights(residency or Residency(), device, needed, "WAN"), classified_errors("WAN"):
            pipe = load(model, models_dir, device)
            pipe.to(device)
    except WorkerError:
        raise
    except Exception as error:
        raise unloadable("WAN", path, error) from error
    encode_by_its_steps(pipe.vae)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _from_diffusers(model: WanModel, models_dir: Path, device: torch.device) -> WanPipeline:
    folder = models_dir / model.path
    models = models_on(device, folder, {"default": dtype_named(model.dtype), "vae": dtype_named(model.vae_dtype)})
    pipe = WanPipeline.from_pretrained(str(folder), local_files_only=True, use_safetensors=True, **models)
    require_whole_text_encoders(pipe, folder)
    return pipe


def _from_original(model: WanModel, models_dir: Path, device: torch.device) -> WanPipeline:
    path, configs = models_dir / model.path, _configs(model, models_dir)
    if findings := list(layouts.original_findings(path)):
        raise ConfigurationError(
            [f"{file} {finding} ([wan] path in models.toml); copy it again" for file, finding in findings]
        )

    def loaded(component: Component, file: str, config: str, dtype: str) -> Any:
        return component.load(Files((path / file,), configs / config, "[wan] path"), dtype_named(dtype), device)

    return WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(str(path / layouts.TOKENIZER), local_files_only=True),
        # The transformer first: it is what is most often another model's, and the text encoder takes longest.
        transformer=loaded(components.TRANSFORMER, layouts.TRANSFORMER, "transformer", model.dtype),
        text_encoder=loaded(components.TEXT_ENCODER, layouts.TEXT_ENCODER, "text_encoder", model.dtype),
        vae=loaded(components.VAE, layouts.VAE, "vae", model.vae_dtype),
        scheduler=library_scheduler(),
    )


def load_vace(model: WanModel, models_dir: Path, residency: Residency | None = None) -> WanVACETransformer3DModel:
    """VACE's transformer on its device; what is idle in `residency` makes room for it.

    Raises `AdapterUnusable` when what lies there is damaged, no VACE model or too large for the card, and
    `OutOfMemory` as `load_wan`.
    """
    device = device_named(model.device)
    try:
        component, files = _vace(model, models_dir)
        return _vace_transformer(component, files, model.dtype, device, residency or Residency())
    except ConfigurationError as error:  # jobs that do without it go on
        raise AdapterUnusable(str(error)) from error


def _vace_transformer(
    component: Component, files: Files, dtype: str, device: torch.device, residency: Residency
) -> WanVACETransformer3DModel:
    try:
        needed = sum(loaded_bytes(path, dtype) for path in files.paths) if device.type == "cuda" else 0
        with room_for_weights(residency, device, needed, "WAN's VACE"):
            return component.load(files, dtype_named(dtype), device)
    except (OSError, ValueError, TypeError) as error:  # what a configuration that is none leads to
        raise AdapterUnusable(f"{files.place} cannot be loaded: {type(error).__name__}: {error}") from error


def has_vace(model: WanModel, models_dir: Path) -> bool:
    """Whether VACE's weights are on the volume."""
    return model.vace is not None and layouts.layout_of(models_dir / model.vace) is not None


def _vace(model: WanModel, models_dir: Path) -> tuple[Component, Files]:
    """VACE also comes without what it shares with the text-to-video model, whose transformer then completes it."""
    assert model.vace is not None
    key, folder = "[wan] vace", models_dir / model.vace
    transformer = layouts.transformer_folder(folder)
    if transformer is None:
        component, config = components.VACE, _configs(model, models_dir) / "vace"
    else:
        component, config = components.VACE_OF_DIFFUSERS, transformer
    paths = layouts.transformer_files(folder)
    if layouts.is_vace_alone(paths):
        paths += layouts.transformer_files(models_dir / model.path)
    return component, Files(paths, config, key)


def _configs(model: WanModel, models_dir: Path) -> Path:
    if model.config is None:
        raise ConfigurationError(
            "[wan] config is missing in models.toml; WAN's original layout cannot be read without it"
        )
    return models_dir / model.config


def video_to_video(plain: WanPipeline) -> WanVideoToVideoPipeline:
    """The pipeline that starts from frames, on the same components."""
    return _knowing_its_vae(WanVideoToVideoPipeline(transformer=plain.transformer, **_shared(plain)))


def vace_pipeline(plain: WanPipeline, transformer: WanVACETransformer3DModel) -> WanVACEPipeline:
    """The pipeline that follows references, on the same components but for the transformer."""
    return _knowing_its_vae(_VacePipeline(transformer=transformer, **_shared(plain)))


class _VacePipeline(WanVACEPipeline):  # type: ignore[misc]  # diffusers ships no types
    def prepare_masks(self, mask: torch.Tensor, reference_images: Any = None, generator: Any = None) -> torch.Tensor:
        """Shape (1, factor ** 2, pictures + latent frames, height, width).

        Diffusers cuts the pictures' part out of the clip's, which is too short for more pictures than latent frames.
        """
        clip: torch.Tensor = super().prepare_masks(mask, [[]], generator)
        before = clip.new_zeros(*clip.shape[:2], len(reference_images[0]), *clip.shape[3:])
        return torch.cat([before, clip], dim=2)


def _shared(plain: WanPipeline) -> dict[str, Any]:
    return {name: plain.components[name] for name in ("tokenizer", "text_encoder", "vae", "scheduler")}


def _knowing_its_vae(pipe: Any) -> Any:
    """Both guess the spatial factor from the number of temporal stages, which only fits a VAE without patches."""
    pipe.vae_scale_factor_spatial = pipe.vae.config.scale_factor_spatial
    pipe.vae_scale_factor_temporal = pipe.vae.config.scale_factor_temporal
    pipe.video_processor = VideoProcessor(vae_scale_factor=pipe.vae_scale_factor_spatial)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def spatial_grid(pipe: WanPipeline) -> int:
    """Width and height in pixels that one token covers: the VAE's factor times the transformer's patch."""
    return int(pipe.vae.config.scale_factor_spatial) * int(max(pipe.transformer.config.patch_size[1:]))
