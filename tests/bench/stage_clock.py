"""How long each stage of a generation keeps the device, whoever runs it.

Hooks on the models themselves: the engines, plain diffusers and anything else that calls them are measured alike, and
nothing waits for the device before the generation is over.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

Stage = Literal["text", "encode", "denoise", "decode"]


class StageClock:
    """Sums the time that the modules of each stage compute, and counts their calls."""

    def __init__(self, device: torch.device, modules: Mapping[Stage, Sequence[Any]]) -> None:
        self._device = device
        self._modules = modules
        self.calls: dict[Stage, int] = {}

    @contextmanager
    def measured(self) -> Iterator[dict[str, float]]:
        """The seconds of each stage, and of the whole under `wall`; filled in when the block has ended."""
        spans: dict[Stage, list[tuple[Any, Any]]] = defaultdict(list)
        begun: list[Any] = []

        def begin(*_: Any) -> None:
            begun.append(self._mark())

        def end_of(stage: Stage) -> Callable[..., None]:
            return lambda *_: spans[stage].append((begun.pop(), self._mark()))

        handles = []
        for stage, modules in self._modules.items():
            for module in modules:
                handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end_of(stage))]
        seconds: dict[str, float] = {}
        synchronise(self._device)
        started = time.perf_counter()
        try:
            yield seconds
            synchronise(self._device)
            seconds["wall"] = time.perf_counter() - started
        finally:
            for handle in handles:
                handle.remove()
        for stage in self._modules:
            seconds[stage] = sum(self._seconds(*span) for span in spans[stage])
            self.calls[stage] = len(spans[stage])

    def _mark(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _seconds(self, begun: Any, ended: Any) -> float:
        """Of a span on the device, once that is idle."""
        if self._device.type != "cuda":
            return float(ended - begun)
        return float(begun.elapsed_time(ended)) / 1000


def stages_of(pipe: Any) -> dict[Stage, list[Any]]:
    """The models of an SDXL or a WAN pipeline, by what they are for."""
    texts = [pipe.components[name] for name in ("text_encoder", "text_encoder_2") if pipe.components.get(name)]
    denoiser = pipe.components.get("unet") or pipe.transformer
    return {"text": texts, "encode": [pipe.vae.encoder], "denoise": [denoiser], "decode": [pipe.vae.decoder]}


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
