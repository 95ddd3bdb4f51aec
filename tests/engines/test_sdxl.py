"""The SDXL engine on the tiny model: the very code that runs the real one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.schedulers import fresh_scheduler
from ourvidz_worker.errors import Drained, PoisonedContext
from ourvidz_worker.ports import GenerationRequest
from tests.engines.sdxl_studio import MakeRequest, difference, drawn, ignore_steps, replaced_method


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> SdxlEngine:
    tiny_sdxl.engine.load()
    assert isinstance(tiny_sdxl.engine, SdxlEngine)
    return tiny_sdxl.engine


@pytest.mark.parametrize("num_images", [1, 3, 6])
def test_one_three_and_six_images_of_the_size_asked_for(
    engine: SdxlEngine, make_request: MakeRequest, num_images: int
) -> None:
    request = make_request("sdxl_image_fast", num_images=num_images, width=344, height=256)
    generation = engine.generate(request, ignore_steps)
    assert generation.frames.shape == (num_images, 256, 344, 3)
    assert generation.frames.dtype == np.uint8
    assert generation.details == {"scheduler": "euler", "attention": "sdpa"}
    assert len({frame.tobytes() for frame in generation.frames}) == num_images


def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(engine: SdxlEngine, make_request: MakeRequest) -> None:
    """Images of a batch differ from single ones by rounding, up to three of 255."""
    batch = drawn(engine, make_request("sdxl_image_fast", num_images=3, seed=100))
    for index in range(3):
        single = drawn(engine, make_request("sdxl_image_fast", seed=100 + index))
        assert difference(batch[index], single[0]) <= 3


def test_the_same_request_gives_the_same_bytes(engine: SdxlEngine, make_request: MakeRequest) -> None:
    request = make_request("sdxl_image_fast")
    assert np.array_equal(drawn(engine, request), drawn(engine, request))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a fox"},
        {"negative_prompt": "sharp"},
        {"guidance_scale": 2.0},
        {"num_inference_steps": 6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_of_the_job_reaches_the_model(
    engine: SdxlEngine, make_request: MakeRequest, change: dict[str, Any]
) -> None:
    plain = make_request("sdxl_image_fast", guidance_scale=6.0)
    changed = make_request("sdxl_image_fast", **{"guidance_scale": 6.0, **change})
    assert not np.array_equal(drawn(engine, plain), drawn(engine, changed))


def test_every_step_is_reported_once(engine: SdxlEngine, make_request: MakeRequest) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(make_request("sdxl_image_fast", num_images=3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_interruption_in_the_middle_leaves_the_engine_usable(engine: SdxlEngine, make_request: MakeRequest) -> None:
    request = make_request("sdxl_image_fast")
    before = drawn(engine, request)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise Drained

    with pytest.raises(Drained):
        engine.generate(request, stop)
    assert seen == [1, 2]
    assert np.array_equal(drawn(engine, request), before)


def test_a_batch_that_does_not_fit_is_split_without_changing_a_picture(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request("sdxl_image_fast", num_images=6)
    whole = drawn(engine, request)

    def refuse_large(sample: torch.Tensor) -> None:
        if len(sample) > 4:  # two images with guidance
            raise torch.OutOfMemoryError("CUDA out of memory")

    replaced_method(monkeypatch, UNet2DConditionModel, "forward", refuse_large)
    generation = engine.generate(request, ignore_steps)
    assert generation.details["recovery_steps"].count("denoise:split_batch") == 2
    assert difference(generation.frames, whole) <= 3


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), PoisonedContext),
        (RuntimeError("shapes cannot be multiplied"), RuntimeError),
    ],
)
def test_a_failure_in_the_model_is_classified(
    engine: SdxlEngine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def fail(sample: torch.Tensor) -> None:
        raise raised

    replaced_method(monkeypatch, UNet2DConditionModel, "forward", fail)
    with pytest.raises(expected) as caught:
        engine.generate(make_request("sdxl_image_fast"), ignore_steps)
    assert raised in (caught.value, caught.value.__cause__)


def spoiled_decoding(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[AutoencoderKL], bool]) -> list[torch.dtype]:
    """Let the VAE answer with NaN where `spoil` says so; returns the dtypes it was asked to decode in."""
    original = AutoencoderKL.decode
    dtypes: list[torch.dtype] = []

    def decode(self: Any, latents: torch.Tensor, **kwargs: Any) -> Any:
        dtypes.append(self.dtype)
        (image,) = original(self, latents, **kwargs)
        return (torch.full_like(image, torch.nan),) if spoil(self) else (image,)

    monkeypatch.setattr(AutoencoderKL, "decode", decode)
    return dtypes


def test_a_picture_that_overflows_is_decoded_once_more_in_float32(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDXL VAE overflows in half precision: the picture would be black."""
    vae = engine._ready().pipe.vae
    request = make_request("sdxl_image_fast")
    good = drawn(engine, request)
    weights = deepcopy(vae.state_dict())
    vae.to(dtype=torch.bfloat16)
    try:
        dtypes = spoiled_decoding(monkeypatch, lambda vae: vae.dtype == torch.bfloat16)
        generation = engine.generate(request, ignore_steps)
        assert difference(generation.frames, good) < 40, "bfloat16 has rounded the weights"
        assert dtypes == [torch.bfloat16, torch.float32]
        assert generation.details["recovery_steps"] == ["decode:float32"]
        assert vae.dtype == torch.bfloat16, "the next job decodes as configured"
    finally:
        vae.to(dtype=torch.float32)
        vae.load_state_dict(weights)


def test_other_random_numbers_are_left_alone(engine: SdxlEngine, make_request: MakeRequest) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    engine.generate(make_request("sdxl_image_fast"), ignore_steps)
    assert torch.equal(torch.rand(1), expected)


SCHEDULERS = ("euler", "euler_a", "dpm++_2m", "dpm++_2m_karras", "dpm++_2m_sde", "dpm++_2m_sde_karras", "ddim", "unipc")


def test_every_scheduler_of_the_catalogue_draws_a_picture_of_its_own(
    engine: SdxlEngine, make_request: MakeRequest
) -> None:
    request = make_request("sdxl_image_fast")
    assert request.job.type.limits.solvers == SCHEDULERS
    pictures = set()
    for name in SCHEDULERS:
        generation = engine.generate(make_request("sdxl_image_fast", solver=name), ignore_steps)
        assert generation.details == {"scheduler": name, "attention": "sdpa"}
        pictures.add(generation.frames.tobytes())
    assert len(pictures) == len(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 100])
def test_every_scheduler_takes_as_many_steps_as_asked_for(engine: SdxlEngine, name: str, steps: int) -> None:
    config = engine._ready().pipe.scheduler.config
    scheduler = fresh_scheduler(name, config)
    assert scheduler is not fresh_scheduler(name, config), "a scheduler carries state"
    assert scheduler.config.beta_end == config.beta_end == 0.012
    with numpy_conversions_quiet():
        scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == steps
    assert scheduler.order == 1, "or img2img would run another number of steps than it says"


def test_a_seed_means_the_same_picture_with_a_scheduler_that_adds_noise(
    engine: SdxlEngine, make_request: MakeRequest
) -> None:
    def request(**changes: Any) -> GenerationRequest:
        return make_request("sdxl_image_fast", solver="euler_a", **changes)

    batch = drawn(engine, request(num_images=3, seed=100))
    assert difference(batch[1], drawn(engine, request(seed=101))[0]) <= 3
