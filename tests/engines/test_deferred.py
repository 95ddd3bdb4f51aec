"""An engine whose libraries wait for the thread that loads it behaves as the engine itself, from then on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import Engine, Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

MakeRequest = Callable[..., GenerationRequest]
MADE = Generation(np.zeros((1, 1, 1, 3), np.uint8), {"method": "noted"})


class NotedEngine:
    """Notes every call with its arguments."""

    model_name = "noted"

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def load(self) -> None:
        self.calls.append(("load",))

    def prepare(self, request: GenerationRequest) -> None:
        self.calls.append(("prepare", request))

    def shape(self, request: GenerationRequest) -> Hashable | None:
        return request.seed

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        self.calls.append(("generate", request, on_step, on_frames))
        return MADE

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        self.calls.append(("generate_together", *orders))
        return [MADE for _ in orders]

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        self.calls.append(("glimpse", request))
        return np.zeros((1, 1, 3), np.uint8)

    def memory(self) -> GpuMemory | None:
        return GpuMemory(1, 2)


def test_until_it_is_loaded_there_is_nothing_to_prepare_share_or_measure(make_request: MakeRequest) -> None:
    def build() -> Engine:
        raise AssertionError("built too early")

    engine: Engine = DeferredEngine("noted", build)
    engine.prepare(make_request("sdxl_image_fast"))
    assert engine.model_name == "noted"
    assert engine.shape(make_request("sdxl_image_fast")) is None
    assert engine.glimpse(make_request("sdxl_image_fast")) is None
    assert engine.memory() is None


def test_it_is_built_once_and_handed_every_call(make_request: MakeRequest) -> None:
    noted, request = NotedEngine(), make_request("sdxl_image_fast", seed=3)
    built: list[Engine] = []
    engine: Engine = DeferredEngine("noted", lambda: built.append(noted) or noted)  # type: ignore[func-returns-value]

    def on_step(_done: int, _total: int) -> None: ...

    def on_frames(_index: int, _frames: object) -> None: ...

    engine.load()
    engine.prepare(request)
    assert engine.shape(request) == 3
    assert engine.generate(request, on_step, on_frames) is MADE
    assert engine.generate_together([Order(request, on_step)]) == [MADE]
    assert engine.glimpse(request) is not None
    assert engine.memory() == GpuMemory(1, 2)
    assert built == [noted]
    assert noted.calls == [
        ("load",),
        ("prepare", request),
        ("generate", request, on_step, on_frames),
        ("generate_together", Order(request, on_step)),
        ("glimpse", request),
    ]


def test_what_keeps_it_from_being_built_shows_while_loading() -> None:
    def build() -> Engine:
        raise ConfigurationError("the weights are missing")

    with pytest.raises(ConfigurationError, match="the weights are missing"):
        DeferredEngine("noted", build).load()
