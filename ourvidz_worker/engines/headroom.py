"""Whether the card has room for what is about to be loaded, so that a lack of it is a sentence and no crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ourvidz_worker.engines.devices import GB, free_cache
from ourvidz_worker.engines.residency.card import TorchCard
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.workspace import weights
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.errors import ConfigurationError, OutOfMemory

CardMemory = Callable[[torch.device], tuple[int, int]]
"""Free and total bytes of a CUDA device."""


@contextmanager
def room_for_weights(residency: Residency, device: torch.device, needed_bytes: int, what: str) -> Iterator[None]:
    """What is idle, here and in other processes, makes room for weights that are loaded within.

    Raises as `require_headroom` does.
    """
    residency.on(TorchCard(device))
    if needed_bytes > (residency.budget_bytes or needed_bytes):
        require_headroom(device, needed_bytes, what)
    with residency.stage(f"loading {what}", workspace=weights(what, needed_bytes)):
        require_headroom(device, needed_bytes, what)
        with TURNS.loading():
            yield


def require_headroom(device: torch.device, needed_bytes: int, what: str, *, memory: CardMemory | None = None) -> None:
    """Raises `ConfigurationError` where the card is too small, and `OutOfMemory` where it is too full just now.

    Nothing is asked of the CPU, whose memory can be swapped.
    """
    if device.type != "cuda":
        return
    free, total = (memory or _card_memory)(device)
    needs = f"{what} needs {needed_bytes / GB:.1f} GB"
    if needed_bytes > total:
        raise ConfigurationError(
            f"{needs}, and {device} has {total / GB:.1f} GB in all: choose a pod with a larger card, "
            "or a smaller dtype in models.toml"
        )
    if needed_bytes > free:
        raise OutOfMemory(
            f"{needs}, and {free / GB:.1f} of {total / GB:.1f} GB are free on {device}: end what else runs there "
            "(nvidia-smi lists it), or load less"
        )


def _card_memory(device: torch.device) -> tuple[int, int]:
    free_cache()  # what this process keeps for later counts as used
    return torch.cuda.mem_get_info(device)
