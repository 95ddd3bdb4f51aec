"""Weights that a model library cannot load, or would load in part, as one sentence about their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ourvidz_worker.engines.volume.kinds import tensors_of
from ourvidz_worker.errors import ConfigurationError


def unloadable(what: str, path: Path, error: Exception) -> ConfigurationError:
    """The first line of a message says what is wrong; the others are for programmers."""
    if isinstance(error, NotImplementedError):  # a weight without content, which cannot be moved anywhere
        reason = "some of the model's tensors are in none of its files"
    else:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        reason = f"{type(error).__name__}: {said}"
    cure = "see `ourvidz-worker models verify --full`, or copy them again"
    return ConfigurationError(f"{what} weights at {path} cannot be loaded ({reason}); {cure}")


def require_whole_text_encoders(pipe: Any, folder: Path) -> None:
    """Of a Diffusers folder: for what its files lack transformers would draw lots, and only log it.

    Raises `ConfigurationError`. Tensors are counted, for their names differ between versions of the library.
    """
    for part in ("text_encoder", "text_encoder_2"):
        if part in pipe.components:
            needed, held = sum(1 for _ in pipe.components[part].parameters()), len(tensors_of(folder / part))
            if held < needed:
                raise ConfigurationError(
                    f"{folder / part} lacks {needed - held} of the {needed} tensors of its model; copy it again"
                )
