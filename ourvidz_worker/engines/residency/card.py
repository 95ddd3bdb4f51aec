"""The device as residency sees it: how large it is, and what a stage takes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ourvidz_worker.engines.devices import free_cache, watch_peak


@dataclass(frozen=True, slots=True)
class TorchCard:
    """A CUDA device; on the CPU nothing is counted, because its memory can be swapped."""

    device: torch.device

    @property
    def total_bytes(self) -> int | None:
        if self.device.type != "cuda":
            return None
        return int(torch.cuda.get_device_properties(self.device).total_memory)

    def free_cache(self) -> None:
        free_cache()

    def peak(self) -> Callable[[], int] | None:
        return watch_peak(self.device) if self.device.type == "cuda" else None
