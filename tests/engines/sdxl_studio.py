"""Small helpers for tests that draw with the tiny SDXL model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from ourvidz_worker.contract.job import Reference, ReferenceRole
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.sdxl.adapters import Adapters
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.ports import GenerationRequest, ReferenceImage

MakeRequest = Callable[..., GenerationRequest]

ADAPTERS = ("image_encoder", "ip_adapter", "ip_adapter_face", "controlnet")


def sdxl_engine(engines: Engines) -> SdxlEngine:
    """The loaded engine itself."""
    engines.engine.load()
    engine = engines.engine.itself() if isinstance(engines.engine, DeferredEngine) else engines.engine
    assert isinstance(engine, SdxlEngine)
    return engine


def ignore_steps(done: int, total: int) -> None: ...


def drawn(engine: SdxlEngine, request: GenerationRequest) -> Any:
    return engine.generate(request, ignore_steps).frames


def difference(one: Any, other: Any) -> int:
    """The largest difference of any two pixels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def distance(one: Any, other: Any) -> float:
    """The mean difference of all pixels."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def engine_with(
    whole: SdxlEngine, *adapters: str, fit: Fit = "crop", files: Mapping[str, Path] = MappingProxyType({})
) -> SdxlEngine:
    """An engine on the components of `whole` with some of its adapters, or with other `files` in their place."""
    changes: dict[str, Any] = {name: None for name in ADAPTERS if name not in adapters}
    changes |= {name: str(path) for name, path in files.items()}
    model = replace(whole._model, **changes)
    loaded, residency = whole._ready(), whole._residency
    engine = SdxlEngine(model, whole._models_dir, whole._prepare, fit=fit, residency=residency)
    engine._loaded = replace(loaded, adapters=Adapters(model, whole._models_dir, loaded.pipe, residency))
    return engine


def reference(role: ReferenceRole, strength: float = 0.7, *, square: int = 30, shade: int = 200) -> ReferenceImage:
    """A gradient with a square in it; `square` moves it and `shade` paints it."""
    pixels = np.zeros((90, 160, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, 160, dtype=np.uint8)
    pixels[square : square + 30, square + 30 : square + 70] = shade
    return ReferenceImage(Reference(role, "reference_images/u/ref.png", strength, "reference_image_url"), pixels)


def replaced_method(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, before: Callable[..., None]) -> None:
    """Run `before` with the first argument of every call of a model's method."""
    original = getattr(owner, name)

    def method(self: Any, first: Any, *args: Any, **kwargs: Any) -> Any:
        before(first)
        return original(self, first, *args, **kwargs)

    monkeypatch.setattr(owner, name, method)


def methods(details: Mapping[str, Any]) -> list[str]:
    return [each["method"] for each in details["reference_methods"]]
