"""VACE beside the text-to-video model: a transformer of its own, and everything else shared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diffusers import WanPipeline, WanVACEPipeline

from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.weights import ModuleWeights
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan.denoiser import Denoiser
from ourvidz_worker.engines.wan.loading import has_vace, load_vace, vace_pipeline
from ourvidz_worker.engines.wan.residents import VACE


@dataclass(frozen=True, slots=True)
class Vace:
    pipe: WanVACEPipeline
    denoiser: Denoiser


class VaceStore:
    """Holds VACE from the first job that needs it: on the card, until memory is short there."""

    def __init__(self, model: WanModel, models_dir: Path, residency: Residency) -> None:
        self._model = model
        self._models_dir = models_dir
        self._residency = residency
        self._vace: Vace | None = None

    @property
    def available(self) -> bool:
        return has_vace(self._model, self._models_dir)

    @property
    def denoiser(self) -> Denoiser | None:
        """Its denoiser, while it is loaded."""
        return None if self._vace is None else self._vace.denoiser

    def loaded(self, plain: WanPipeline) -> Vace:
        """Raises `AdapterUnusable` for weights that are no VACE model, and `OutOfMemory`."""
        if self._vace is None:
            transformer = load_vace(self._model, self._models_dir, self._residency)
            holding = partial(self._residency.stage, "compile", needs=(VACE,))
            denoiser = Denoiser(transformer, self._model, self._models_dir, holding=holding)
            self._vace = Vace(vace_pipeline(plain, transformer), denoiser)
            self._residency.add(VACE, ModuleWeights([transformer], transformer.device), rank=Rank.ADAPTER)
        return self._vace
