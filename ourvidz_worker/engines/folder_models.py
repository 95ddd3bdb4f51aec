"""The models of a Diffusers folder, each brought from its files straight onto the device."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("diffusers", "transformers")


def models_on(
    device: torch.device, folder: Path, dtypes: Mapping[str, torch.dtype], *, leaving_out: Collection[str] = ()
) -> dict[str, Any]:
    """By their names in `model_index.json`; tokenizers and schedulers are left to the pipeline.

    `dtypes` is by name as well, `default` for those that it does not name. Tensors are read, cast and sent one by one,
    so that no model is ever whole in the machine's own memory. Raises what the libraries raise.
    """
    return {
        name: model_class.from_pretrained(
            str(folder),
            subfolder=name,
            dtype=dtypes.get(name, dtypes["default"]),
            device_map={"": device},
            local_files_only=True,
            use_safetensors=True,
        )
        for name, model_class in _model_classes(folder)
        if name not in leaving_out
    }


def _model_classes(folder: Path) -> Iterator[tuple[str, type[Any]]]:
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for name, entry in index.items():
        match entry:
            case [str(library), str(class_name)] if library in LIBRARIES:
                found = getattr(importlib.import_module(library), class_name, None)
                if isinstance(found, type) and issubclass(found, torch.nn.Module):
                    yield name, found
