"""A module's weights on its device, or on the host in pinned memory.

The host's copy is made when a component is evicted for the first time and kept from then on, so that evicting it again
drops the device's copy and nothing else, and coming back is one transfer at the speed of the bus. Modules, parameters
and buffers stay the same objects; only what is behind them changes. Weights shared by two names stay shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

_View = tuple[int, int, tuple[int, ...], tuple[int, ...], torch.dtype, torch.device]  # where, and seen how


@dataclass(slots=True)
class _Copy:
    """The host's copy of a weight, and the view and version of the weight that it is a copy of."""

    weight: torch.Tensor
    host: torch.Tensor
    view: _View
    version: int

    def is_of(self, weight: torch.Tensor) -> bool:
        return self.weight is weight and (self.view, self.version) == (_view(weight), weight._version)  # noqa: SLF001


class ModuleWeights:
    """Modules that move together; on the CPU they move in the same way, from plain memory to plain memory."""

    def __init__(self, modules: Sequence[nn.Module], device: torch.device) -> None:
        self._modules = tuple(modules)
        self._device = device
        self._copies: dict[int, _Copy] = {}
        self.bytes = sum(_bytes(weight) for weight in _distinct(self._weights()))

    def bring(self) -> None:
        """Onto the device, or not at all when there is no room: raises `torch.OutOfMemoryError`."""
        moved: dict[_View, torch.Tensor] = {}
        try:
            for weight in self._weights():
                copy = self._copies.get(id(weight))
                host = copy.host if copy is not None else weight.data
                on_device = moved.get(_view(host))
                if on_device is None:
                    on_device = moved[_view(host)] = host.to(self._device, copy=True)
                weight.data = on_device
                self._copies[id(weight)] = _Copy(weight, host, _view(weight), weight._version)  # noqa: SLF001
        except torch.OutOfMemoryError:
            self.drop()
            raise

    def drop(self) -> None:
        """To the host: a weight that was changed or replaced on the device since it came is copied there anew."""
        copies: dict[int, _Copy] = {}
        hosts: dict[_View, torch.Tensor] = {}
        for weight in self._weights():
            view = _view(weight)
            if view not in hosts:
                copy = self._copies.get(id(weight))
                hosts[view] = copy.host if copy is not None and copy.is_of(weight) else _on_host(weight.data)
            weight.data = hosts[view]
            copies[id(weight)] = _Copy(weight, hosts[view], _view(weight), weight._version)  # noqa: SLF001
        self._copies = copies

    def _weights(self) -> Iterator[torch.Tensor]:
        """Each parameter and buffer once, whatever its names."""
        seen = set()
        for module in self._modules:
            for weight in chain(module.parameters(), module.buffers()):
                if id(weight) not in seen:
                    seen.add(id(weight))
                    yield weight


def _distinct(weights: Iterator[torch.Tensor]) -> list[torch.Tensor]:
    return list({_view(weight): weight for weight in weights}.values())


def _view(tensor: torch.Tensor) -> _View:
    """Equal for tensors that are the same memory, seen in the same way."""
    storage = tensor.untyped_storage().data_ptr()
    return storage, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Pinned where it comes from a card, and the host can pin so much; what is on the host already stays there."""
    if tensor.device.type == "cpu":
        return tensor
    try:
        host = torch.empty_like(tensor, device="cpu", pin_memory=True)
    except RuntimeError:
        host = torch.empty_like(tensor, device="cpu")
    return host.copy_(tensor)
