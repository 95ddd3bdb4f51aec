"""Weights put into a model: checked by name and shape, cast one by one, and never held twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel

Shape = tuple[int, ...]


class Misfit(ValueError):
    """Tensors that are not the model's. The message goes on after the file's name: "lacks …"."""


def empty_model(model_class: type[Any], config: Path) -> Any:
    """A model without weights; `config` is the folder with its `config.json`."""
    with init_empty_weights():
        if issubclass(model_class, PreTrainedModel):
            return model_class(model_class.config_class.from_pretrained(str(config), local_files_only=True))
        return model_class.from_config(model_class.load_config(str(config), local_files_only=True))


def check_fit(model: Any, shapes: Mapping[str, Shape]) -> None:
    """Raises `Misfit` unless the tensors are the model's, by name and shape."""
    same = _same_as_others(model)
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items() if name not in same}
    for name, shape in expected.items():
        if shapes.get(name, shape) != shape:
            raise Misfit(f"belongs to a model of another size: {name} is {shapes[name]} where {shape} is needed")
    lacking, unknown = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    if lacking:
        raise Misfit(f"lacks {len(lacking)} of the model's {len(expected)} tensors, {lacking[0]} to begin with")
    if unknown:
        raise Misfit(f"holds {len(unknown)} tensors that the model does not know, {unknown[0]} to begin with")


def fill(model: Any, weights: Mapping[str, torch.Tensor], dtype: torch.dtype, device: torch.device) -> Any:
    """The model with these weights on the device, ready to draw; raises as `check_fit`.

    Weights that a file maps into memory are read here, sent and cast one after the other; on the CPU those of the right
    dtype stay mapped.
    """
    check_fit(model, {name: tuple(weight.shape) for name, weight in weights.items()})
    kept = _kept_in_float32(model, dtype)
    held = {
        name: weight.to(device).to(torch.float32 if kept.intersection(name.split(".")) else dtype)
        for name, weight in weights.items()
    }
    model.load_state_dict(held, assign=True, strict=False)  # what is the same as another is not among them
    if _same_as_others(model):
        model.tie_weights()
    return model.to(device).eval().requires_grad_(requires_grad=False)  # buffers that are in no file have to follow


def _same_as_others(model: Any) -> set[str]:
    """Weights that the model holds under two names, and a file under the other one."""
    return set(getattr(model, "_tied_weights_keys", None) or ())


def _kept_in_float32(model: Any, dtype: torch.dtype) -> set[str]:
    """As the libraries' own loaders have it: transformers keeps modules in float32 beside float16 alone."""
    if isinstance(model, PreTrainedModel) and dtype != torch.float16:
        return set()
    return set(model._keep_in_fp32_modules or ())  # noqa: SLF001 - nothing public names them
