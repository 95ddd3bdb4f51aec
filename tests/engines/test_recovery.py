"""The engines when memory runs out in a stage of their work, or when a picture does not come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, WanTransformer3DModel
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, UMT5EncoderModel

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.wan.vae import DecodingVae
from ourvidz_worker.errors import OutOfMemory, OutputInvalid
from ourvidz_worker.ports import Engine, GenerationRequest, ReferenceImage

MakeRequest = Callable[..., GenerationRequest]
MakeReference = Callable[..., ReferenceImage]

STAGES: list[Any] = [
    pytest.param("sdxl_image_fast", "text", CLIPTextModel, "forward", id="sdxl text"),
    pytest.param("sdxl_image_fast", "reference", CLIPVisionModelWithProjection, "forward", id="sdxl reference"),
    pytest.param("sdxl_image_fast", "denoise", UNet2DConditionModel, "forward", id="sdxl denoise"),
    pytest.param("sdxl_image_fast", "decode", AutoencoderKL, "decode", id="sdxl decode"),
    pytest.param("image_fast", "text", UMT5EncoderModel, "forward", id="wan text"),
    pytest.param("image_fast", "denoise", WanTransformer3DModel, "forward", id="wan denoise"),
    pytest.param("image_fast", "decode", DecodingVae, "decoded", id="wan decode"),
]

DECODERS: list[Any] = [
    pytest.param("sdxl_image_fast", AutoencoderKL, "decode", id="sdxl"),
    pytest.param("image_fast", DecodingVae, "decoded", id="wan"),
]


def ignore_steps(done: int, total: int) -> None: ...


@pytest.fixture
def engine_of(tiny_sdxl: Engines, tiny_wan: Engines) -> Callable[[str], Engine]:
    return lambda name: (tiny_sdxl if name.startswith("sdxl") else tiny_wan).engine


def out_of_memory(monkeypatch: pytest.MonkeyPatch, model_type: type[Any], method: str, *, times: int) -> None:
    """The first `times` calls of a model's method find no room."""
    original, left = getattr(model_type, method), [times]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(model_type, method, call)


@pytest.mark.parametrize(("name", "stage", "model_type", "method"), STAGES)
def test_a_stage_without_room_goes_on_after_the_first_step_and_changes_no_picture(
    engine_of: Callable[[str], Engine],
    make_request: MakeRequest,
    make_reference: MakeReference,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stage: str,
    model_type: type[Any],
    method: str,
) -> None:
    # Prompt and picture are new ones, because embeddings are kept.
    references = (make_reference("style", shade=111),) if stage == "reference" else ()
    asked = make_request(name, prompt=f"no room for the {stage}", references=references)
    out_of_memory(monkeypatch, model_type, method, times=1)
    generation = engine_of(name).generate(asked, ignore_steps)
    assert generation.details["recovery_steps"] == [f"{stage}:free_caches"]
    again = engine_of(name).generate(asked, ignore_steps)
    assert "recovery_steps" not in again.details
    assert np.array_equal(generation.frames, again.frames)


@pytest.mark.parametrize(
    ("name", "stage", "model_type", "method", "idle"),
    [
        pytest.param("sdxl_image_fast", "denoise", UNet2DConditionModel, "forward", "controlnet", id="sdxl"),
        pytest.param("image_fast", "decode", DecodingVae, "decoded", "vace", id="wan"),
    ],
)
def test_what_another_job_needed_makes_room_and_comes_back(
    engine_of: Callable[[str], Engine],
    make_request: MakeRequest,
    make_reference: MakeReference,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stage: str,
    model_type: type[Any],
    method: str,
    idle: str,
) -> None:
    engine, plain = engine_of(name), make_request(name)
    steered = make_request(name, references=(make_reference("composition"),))
    before = engine.generate(steered, ignore_steps).frames
    with monkeypatch.context() as patched:
        out_of_memory(patched, model_type, method, times=2)
        steps = engine.generate(plain, ignore_steps).details["recovery_steps"]
    assert steps[0] == f"{stage}:free_caches"
    assert steps[1].startswith(f"{stage}:evict ")
    assert idle in steps[1]
    assert np.array_equal(engine.generate(steered, ignore_steps).frames, before)


@pytest.mark.parametrize(("name", "vae_type", "method"), DECODERS)
def test_the_vae_is_tiled_for_this_job_alone(
    engine_of: Callable[[str], Engine],
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    vae_type: type[Any],
    method: str,
) -> None:
    engine, asked = engine_of(name), make_request(name, width=480, height=832)
    original, tiled = getattr(vae_type, method), []

    def decode(self: Any, *args: Any, **kwargs: Any) -> Any:
        tiled.append(self.use_tiling)
        if not self.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(vae_type, method, decode)
        generation = engine.generate(asked, ignore_steps)
    assert generation.details["recovery_steps"][-1] == "decode:vae_tiling"
    assert generation.frames.shape == (1, 832, 480, 3)
    assert tiled[-1]
    assert "recovery_steps" not in engine.generate(asked, ignore_steps).details


def test_a_job_that_never_fits_fails_as_worth_another_attempt(
    engine_of: Callable[[str], Engine], make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory(monkeypatch, UNet2DConditionModel, "forward", times=1000)
    with pytest.raises(OutOfMemory, match=r"after denoise:free_caches.*split_batch") as failed:
        engine_of("sdxl").generate(make_request("sdxl_image_fast", num_images=3), ignore_steps)
    assert failed.value.retryable


@pytest.mark.parametrize(("name", "vae_type", "method"), DECODERS)
@pytest.mark.parametrize("value", [-1.0, torch.nan], ids=["black", "not a number"])
def test_a_picture_that_never_comes_out_is_generated_twice_and_then_refused(
    engine_of: Callable[[str], Engine],
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    vae_type: type[Any],
    method: str,
    value: float,
) -> None:
    original = getattr(vae_type, method)

    def decode(*args: Any, **kwargs: Any) -> Any:
        decoded = original(*args, **kwargs)
        blank = (torch.full_like(frames, value) for frames in decoded)
        return tuple(blank) if isinstance(decoded, tuple) else blank

    monkeypatch.setattr(vae_type, method, decode)
    steps: list[int] = []
    with pytest.raises(OutputInvalid, match="once more"):
        engine_of(name).generate(make_request(name), lambda done, total: steps.append(done))
    assert steps == [1, 2, 3, 4] * 2
