"""The cards of this machine that this process may use, and their memory, through NVML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.ports import GpuMemory

GB = 1e9
VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_SLICE = "MIG-"


@dataclass(frozen=True, slots=True)
class Card:
    """A card, or a MIG slice of one; `device` is its place among those that this process may use, like `cuda:1`.

    They are counted in the order of nvidia-smi, by PCI bus, and not in CUDA's own, where the fastest comes first.
    """

    device: str
    uuid: str
    name: str
    memory: GpuMemory


def visible_cards(environment: Mapping[str, str] = os.environ) -> tuple[Card, ...]:
    """What CUDA_VISIBLE_DEVICES leaves of the machine's cards, in its order; nothing without a card or a driver."""
    import pynvml  # noqa: PLC0415 - loads the driver library, which only the status line needs

    try:
        pynvml.nvmlInit()
        try:
            handles = _visible(pynvml, environment.get(VISIBLE_DEVICES))
            return tuple(_card(pynvml, place, handle) for place, handle in enumerate(handles))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()


def _visible(nvml: Any, listed: str | None) -> Iterator[Any]:
    """As CUDA reads the variable: what comes after an entry that names no card is not seen either."""
    every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if listed is None:
        yield from every
        return
    for entry in (part.strip() for part in listed.split(",")):
        handle = _named(nvml, entry, every)
        if handle is None:
            return
        yield handle


def _named(nvml: Any, entry: str, every: list[Any]) -> Any:
    """The card of an index, or of a UUID that may be cut short where it is unique; None where there is none such."""
    if entry.isdecimal():
        return every[int(entry)] if int(entry) < len(every) else None
    if entry.startswith(_SLICE):
        return nvml.nvmlDeviceGetHandleByUUID(entry)
    named = [handle for handle in every if entry and _text(nvml.nvmlDeviceGetUUID(handle)).startswith(entry)]
    return named[0] if len(named) == 1 else None


def _card(nvml: Any, place: int, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(
        device=f"cuda:{place}",
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory=GpuMemory(used_gb=memory.used / GB, total_gb=memory.total / GB),
    )


def _text(value: str | bytes) -> str:
    """Earlier versions of the binding answer bytes."""
    return value.decode() if isinstance(value, bytes) else value
