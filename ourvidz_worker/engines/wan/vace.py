"""VACE beside the text-to-video model: a transformer of its own, and everything else shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffusers import WanPipeline, WanVACEPipeline

from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan.denoiser import Denoiser
from ourvidz_worker.engines.wan.loading import has_vace, load_vace, vace_pipeline


@dataclass(frozen=True, slots=True)
class Vace:
    pipe: WanVACEPipeline
    denoiser: Denoiser


class VaceStore:
    """Holds VACE from the first job that needs it until memory is short."""

    def __init__(self, model: WanModel, models_dir: Path) -> None:
        self._model = model
        self._models_dir = models_dir
        self._vace: Vace | None = None
        self._needed = False

    @property
    def available(self) -> bool:
        return has_vace(self._model, self._models_dir)

    @property
    def denoiser(self) -> Denoiser | None:
        """Its denoiser, while it is loaded."""
        return None if self._vace is None else self._vace.denoiser

    @contextmanager
    def reserved(self, *, needed: bool) -> Iterator[None]:
        """While a job that needs it is drawn, it is not evicted."""
        self._needed = needed
        try:
            yield
        finally:
            self._needed = False

    def loaded(self, plain: WanPipeline) -> Vace:
        """Raises `AdapterUnusable` for weights that are no VACE model, and `OutOfMemory`."""
        if self._vace is None:
            transformer = load_vace(self._model, self._models_dir)
            self._vace = Vace(vace_pipeline(plain, transformer), Denoiser(transformer, self._model, self._models_dir))
        return self._vace

    def evict_idle(self) -> list[str]:
        """Drop it unless a job needs it; returns the names of what was dropped."""
        if self._vace is None or self._needed:
            return []
        self._vace = None
        return ["vace"]
