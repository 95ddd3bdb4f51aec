"""The engines where not everything fits: what was evicted comes back, and no picture is another one for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.sdxl.engine import LoadedSdxl, SdxlEngine
from ourvidz_worker.engines.tiny.models import MODELS
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.errors import OutOfMemory
from ourvidz_worker.ports import Engine, GenerationRequest, ReferenceImage
from tests.engines.sdxl_studio import ignore_steps

MakeRequest = Callable[..., GenerationRequest]
MakeReference = Callable[..., ReferenceImage]

SIDE = 256  # pixels of a request unless it says otherwise
ROOMS = {
    "sdxl_image_fast": workspace.sdxl_decode(SIDE, SIDE, bytes_per_value=4).estimated_bytes,
    "image_fast": workspace.wan_decode(SIDE, SIDE, bytes_per_value=4).estimated_bytes,
}
Small = Callable[[str], tuple[Engine, Residency, Engine]]


@pytest.fixture
def small(tiny_sdxl: Engines, tiny_wan: Engines, cache_dir: Path) -> Small:
    """An engine that can decode with nothing but its VAE in memory, its residency, and one that has room for all."""

    def build(name: str) -> tuple[Engine, Residency, Engine]:
        whole = (tiny_sdxl if name.startswith("sdxl") else tiny_wan).engine
        assert isinstance(whole, SdxlEngine | WanEngine)
        loaded = whole._ready()
        residency = Residency(ROOMS[name] + whole._residency._components["vae"].weights.bytes, patience_seconds=60.0)
        if isinstance(loaded, LoadedSdxl):
            sdxl = partial(SdxlEngine, MODELS.sdxl, cache_dir, lambda: None, load=lambda: loaded.pipe)
            return sdxl(residency=residency), residency, whole
        wan = partial(WanEngine, MODELS.wan, cache_dir, lambda: None, "static", load=lambda: loaded.from_noise)
        return wan(residency=residency), residency, wan()

    return build


@pytest.mark.parametrize(("name", "core"), [("sdxl_image_fast", "unet"), ("image_fast", "transformer")])
def test_pictures_are_the_same_where_models_take_turns(
    small: Small, make_request: MakeRequest, make_reference: MakeReference, name: str, core: str
) -> None:
    engine, residency, whole = small(name)
    plain = make_request(name, prompt="models take turns", num_inference_steps=2)
    steered = make_request(name, num_inference_steps=2, references=(make_reference("composition"),))
    for request in (plain, steered, plain):
        generation = engine.generate(request, ignore_steps)
        assert core not in residency.resident
        assert "recovery_steps" not in generation.details, "nothing had to go wrong for it"
        assert np.array_equal(generation.frames, whole.generate(request, ignore_steps).frames)


@pytest.mark.parametrize("name", ["sdxl_image_fast", "image_fast"])
def test_the_next_prompt_is_read_while_a_picture_is_drawn_on_a_small_card(
    small: Small, make_request: MakeRequest, name: str
) -> None:
    engine, residency, whole = small(name)
    requests = [
        make_request(name, prompt=f"one after the other {number}", num_inference_steps=2) for number in range(2)
    ]
    engine.load()
    threads: list[threading.Thread] = []

    def prepare_the_next(done: int, _total: int) -> None:
        if done == 1:
            threads.append(threading.Thread(target=engine.prepare, args=(requests[1],)))
            threads[0].start()

    drawn = [engine.generate(requests[0], prepare_the_next)]
    threads[0].join(60.0)
    residency.evict_idle()
    drawn.append(engine.generate(requests[1], ignore_steps))
    for request, generation in zip(requests, drawn, strict=True):
        assert np.array_equal(generation.frames, whole.generate(request, ignore_steps).frames)


SMALLER = 300_000_000  # bytes; enough to read a prompt and to denoise, and for a quarter of a picture to be decoded


def test_a_picture_that_does_not_fit_is_decoded_in_tiles_before_it_is_tried_whole(
    small: Small, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, residency, _ = small("sdxl_image_fast")
    engine.load()
    residency._budget = SMALLER
    for module in ("vae_modes", "sdxl.engine"):
        monkeypatch.setattr(f"ourvidz_worker.engines.{module}.TILE", SIDE // 2)
    generation = engine.generate(make_request("sdxl_image_fast", num_inference_steps=2), ignore_steps)
    assert generation.details["recovery_steps"] == ["decode:free_caches", "decode:vae_tiling"]


def test_what_cannot_fit_is_a_sentence_after_all_steps_of_the_ladder(small: Small, make_request: MakeRequest) -> None:
    engine, residency, _ = small("sdxl_image_fast")
    engine.load()
    residency._budget = SMALLER
    with pytest.raises(OutOfMemory, match=r"stage decode, after .*vae_tiling; the stage decode needs 0\.0 GB for vae"):
        engine.generate(make_request("sdxl_image_fast", num_inference_steps=2), ignore_steps)
