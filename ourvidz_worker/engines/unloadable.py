"""What a model library says about weights that it cannot load, as one sentence about their place."""

from __future__ import annotations

from pathlib import Path

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
