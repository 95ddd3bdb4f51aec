"""WAN's models one by one, out of the files of either layout.

Diffusers' `from_single_file` casts modules that must stay in float32 and passes over tensors it does not know, so
its key maps are used here without it. The text encoder's map is our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from safetensors.torch import load_file
from transformers import UMT5EncoderModel

from ourvidz_worker.engines.volume.kinds import Kind, kind_of_tensors
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile, Tensor
from ourvidz_worker.engines.wan.filling import Misfit, empty_model, fill
from ourvidz_worker.engines.wan.layouts import check_whole
from ourvidz_worker.errors import ConfigurationError

Rename = Callable[[dict[str, Any]], dict[str, Any]]
"""From the names of a file to those of Diffusers and transformers; what stands behind a name is not looked at."""

T5_NAMES = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.", r"encoder.block.\1."),
    (r"\.attn\.([qkvo])\.", r".layer.0.SelfAttention.\1."),
    (r"\.pos_embedding\.embedding\.", ".layer.0.SelfAttention.relative_attention_bias."),
    (r"\.norm1\.", ".layer.0.layer_norm."),
    (r"\.norm2\.", ".layer.1.layer_norm."),
    (r"\.ffn\.gate\.0\.", ".layer.1.DenseReluDense.wi_0."),
    (r"\.ffn\.fc1\.", ".layer.1.DenseReluDense.wi_1."),
    (r"\.ffn\.fc2\.", ".layer.1.DenseReluDense.wo."),
)


@dataclass(frozen=True, slots=True)
class Files:
    """The weights of one model; `config` is the folder of its `config.json`, and `key` asks for it in models.toml."""

    paths: tuple[Path, ...]
    config: Path
    key: str

    @property
    def place(self) -> Path:
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent


@dataclass(frozen=True, slots=True)
class Component:
    """A class of models, what its files are told by, and how they name its tensors."""

    kind: Kind
    model_class: type[Any]
    rename: Rename

    def load(self, files: Files, dtype: torch.dtype, device: torch.device) -> Any:
        """Raises `ConfigurationError` with the file and the cure when it is damaged or another model's."""
        weights = {name: weight for path in files.paths for name, weight in _weights(path, files.key).items()}
        cure = f"put {self.kind} there"
        found = kind_of_tensors({name: Tensor(str(one.dtype), tuple(one.shape)) for name, one in weights.items()})
        if found not in (self.kind, Kind.UNKNOWN):
            raise _refusal(files.place, f"looks like {found}", files.key, cure)
        try:
            return fill(empty_model(self.model_class, files.config), self.rename(dict(weights)), dtype, device)
        except Misfit as misfit:
            raise _refusal(files.place, str(misfit), files.key, f"{cure} that {files.config} describes") from misfit


def renamed_text_encoder(tensors: dict[str, Any]) -> dict[str, Any]:
    names = {name: name for name in tensors}
    for pattern, replacement in T5_NAMES:
        names = {name: re.sub(pattern, replacement, new) for name, new in names.items()}
    return {names[name]: tensor for name, tensor in tensors.items()}


def as_they_are(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors


TRANSFORMER = Component(Kind.WAN, WanTransformer3DModel, convert_wan_transformer_to_diffusers)
VAE = Component(Kind.WAN_VAE, AutoencoderKLWan, convert_wan_vae_to_diffusers)
TEXT_ENCODER = Component(Kind.TEXT_ENCODER, UMT5EncoderModel, renamed_text_encoder)
VACE = Component(Kind.WAN_VACE, WanVACETransformer3DModel, convert_wan_transformer_to_diffusers)
VACE_OF_DIFFUSERS = Component(Kind.WAN_VACE, WanVACETransformer3DModel, as_they_are)


def _weights(path: Path, key: str) -> Mapping[str, torch.Tensor]:
    """The tensors of a file, mapped into memory and read when they are used."""
    try:
        check_whole(path)
    except DamagedFile as damage:
        raise _refusal(path, str(damage), key, "copy it again") from damage
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:  # its message tells how to run the code
        problem = "is damaged, or holds something besides tensors, which may be code and is never run"
        raise _refusal(path, problem, key, "copy it again, from a source that you trust") from error
    except RuntimeError as error:
        raise _refusal(path, "is damaged, or no PyTorch archive", key, "copy it again") from error
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise _refusal(path, "is no table of tensors", key, "copy it again")
    return weights


def _refusal(path: Path, problem: str, key: str, cure: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {problem} ({key} in models.toml); {cure}")
