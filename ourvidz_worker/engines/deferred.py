"""An engine that is built where it is used, so that its libraries keep nobody else waiting.

Torch and diffusers take seconds to import; meanwhile the worker's event loop polls, renews and answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from ourvidz_worker.ports import Engine, Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


class DeferredEngine:
    """The engine that `build` makes, in the thread that loads it; importing this module imports no model library.

    `build` raises `ConfigurationError` as `Engine.load` does. Before the engine is there, nothing can be prepared
    ahead, no two requests have a shape in common, and it holds no memory.
    """

    def __init__(self, model_name: str, build: Callable[[], Engine]) -> None:
        self._model_name = model_name
        self._build = build
        self._built: Engine | None = None

    @property
    def model_name(self) -> str:
        return self._model_name

    def itself(self) -> Engine:
        """The engine behind this one, built now if it is not there yet."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def load(self) -> None:
        self.itself().load()

    def prepare(self, request: GenerationRequest) -> None:
        if self._built is not None:
            self._built.prepare(request)

    def shape(self, request: GenerationRequest) -> Hashable | None:
        return None if self._built is None else self._built.shape(request)

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        return self.itself().generate(request, on_step, on_frames)

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        return self.itself().generate_together(orders)

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        return None if self._built is None else self._built.glimpse(request)

    def memory(self) -> GpuMemory | None:
        return None if self._built is None else self._built.memory()
