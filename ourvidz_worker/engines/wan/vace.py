"""VACE beside the text-to-video model: a transformer of its own, and everything else shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers import WanPipeline, WanVACEPipeline

from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan.loading import has_vace, load_vace, vace_pipeline


class VaceStore:
    """Holds VACE from the first job that needs it until memory is short."""

    def __init__(self, model: WanModel, models_dir: Path) -> None:
        self._model = model
        self._models_dir = models_dir
        self._pipe: WanVACEPipeline | None = None
        self._needed = False

    @property
    def available(self) -> bool:
        return has_vace(self._model, self._models_dir)

    @contextmanager
    def reserved(self, *, needed: bool) -> Iterator[None]:
        """While a job that needs it is drawn, it is not evicted."""
        self._needed = needed
        try:
            yield
        finally:
            self._needed = False

    def pipe(self, plain: WanPipeline) -> WanVACEPipeline:
        """Raises `AdapterUnusable` for weights that are no VACE model, and `OutOfMemory`."""
        if self._pipe is None:
            self._pipe = vace_pipeline(plain, load_vace(self._model, self._models_dir))
        return self._pipe

    def evict_idle(self) -> list[str]:
        """Drop it unless a job needs it; returns the names of what was dropped."""
        if self._pipe is None or self._needed:
            return []
        self._pipe = None
        return ["vace"]
