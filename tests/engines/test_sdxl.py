"""The SDXL engine on the tiny model: the very code that runs the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.errors import BadJob, Drained, OutOfMemory, OutputInvalid, PoisonedContext
from ourvidz_worker.ports import Engine, GenerationRequest, ReferenceImage

MakeRequest = Callable[..., GenerationRequest]
MakeReference = Callable[..., ReferenceImage]


def ignore_steps(done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> Engine:
    tiny_sdxl.engine.load()
    return tiny_sdxl.engine


def drawn(engine: Engine, request: GenerationRequest) -> Any:
    return engine.generate(request, ignore_steps).frames


def difference(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def replaced_forward(
    monkeypatch: pytest.MonkeyPatch, model_type: Any, name: str, before: Callable[[Any], None]
) -> None:
    """Run `before` with the first tensor of every call of a model's method."""
    original = getattr(model_type, name)

    def method(self: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        before(sample)
        return original(self, sample, *args, **kwargs)

    monkeypatch.setattr(model_type, name, method)


@pytest.mark.parametrize("num_images", [1, 3, 6])
def test_one_three_and_six_images_of_the_size_asked_for(
    engine: Engine, make_request: MakeRequest, num_images: int
) -> None:
    request = make_request("sdxl_image_fast", num_images=num_images, width=344, height=256)
    generation = engine.generate(request, ignore_steps)
    assert generation.frames.shape == (num_images, 256, 344, 3)
    assert generation.frames.dtype == np.uint8
    assert generation.details == {"batch_splits": 0}
    assert len({frame.tobytes() for frame in generation.frames}) == num_images


def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(engine: Engine, make_request: MakeRequest) -> None:
    """Images of a batch differ from single ones by rounding, up to three of 255."""
    batch = drawn(engine, make_request("sdxl_image_fast", num_images=3, seed=100))
    for index in range(3):
        single = drawn(engine, make_request("sdxl_image_fast", seed=100 + index))
        assert difference(batch[index], single[0]) <= 3


def test_the_same_request_gives_the_same_bytes(engine: Engine, make_request: MakeRequest) -> None:
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
    engine: Engine, make_request: MakeRequest, change: dict[str, Any]
) -> None:
    plain = make_request("sdxl_image_fast", guidance_scale=6.0)
    changed = make_request("sdxl_image_fast", **{"guidance_scale": 6.0, **change})
    assert not np.array_equal(drawn(engine, plain), drawn(engine, changed))


def test_every_step_is_reported_once(engine: Engine, make_request: MakeRequest) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(make_request("sdxl_image_fast", num_images=3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_interruption_in_the_middle_leaves_the_engine_usable(engine: Engine, make_request: MakeRequest) -> None:
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
    engine: Engine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request("sdxl_image_fast", num_images=6)
    whole = drawn(engine, request)

    def refuse_large(sample: torch.Tensor) -> None:
        if len(sample) > 4:  # two images with guidance
            raise torch.OutOfMemoryError("CUDA out of memory")

    replaced_forward(monkeypatch, UNet2DConditionModel, "forward", refuse_large)
    generation = engine.generate(request, ignore_steps)
    assert generation.details["batch_splits"] == 2
    assert difference(generation.frames, whole) <= 3


def test_one_image_that_does_not_fit_fails_as_out_of_memory(
    engine: Engine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sample: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    replaced_forward(monkeypatch, AutoencoderKL, "decode", refuse)
    with pytest.raises(OutOfMemory):
        engine.generate(make_request("sdxl_image_fast"), ignore_steps)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), PoisonedContext),
        (RuntimeError("shapes cannot be multiplied"), RuntimeError),
    ],
)
def test_a_failure_in_the_model_is_classified(
    engine: Engine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def fail(sample: torch.Tensor) -> None:
        raise raised

    replaced_forward(monkeypatch, UNet2DConditionModel, "forward", fail)
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
    engine: Engine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDXL VAE overflows in half precision: the picture would be black."""
    assert isinstance(engine, SdxlEngine)
    vae = engine._ready().vae
    request = make_request("sdxl_image_fast")
    good = drawn(engine, request)
    vae.to(dtype=torch.bfloat16)
    try:
        dtypes = spoiled_decoding(monkeypatch, lambda vae: vae.dtype == torch.bfloat16)
        assert difference(drawn(engine, request), good) < 40, "bfloat16 has rounded the weights"
        assert dtypes == [torch.bfloat16, torch.float32]
        assert vae.dtype == torch.bfloat16, "the next job decodes as configured"
    finally:
        vae.load_state_dict(AutoencoderKL.from_pretrained(vae.config._name_or_path).state_dict())
        vae.to(dtype=torch.float32)


def test_a_picture_that_stays_not_a_number_is_not_sent(
    engine: Engine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtypes = spoiled_decoding(monkeypatch, lambda vae: True)
    with pytest.raises(OutputInvalid, match="not numbers"):
        engine.generate(make_request("sdxl_image_fast"), ignore_steps)
    assert len(dtypes) == 2


def test_a_reference_steers_the_picture_and_more_so_when_stronger(
    engine: Engine, make_request: MakeRequest, make_reference: MakeReference
) -> None:
    def with_reference(strength: float, shade: int = 200) -> Any:
        reference = make_reference("style", strength=strength, shade=shade)
        return drawn(engine, make_request("sdxl_image_fast", num_inference_steps=10, references=(reference,)))

    plain = drawn(engine, make_request("sdxl_image_fast", num_inference_steps=10))
    assert difference(with_reference(0.8), plain) > 20
    assert difference(with_reference(0.8), with_reference(0.8, shade=20)) > 3, "another picture, another result"

    def pull(strength: float) -> float:
        one, other = with_reference(strength, shade=250), with_reference(strength, shade=5)
        return float(np.abs(one.astype(int) - other.astype(int)).mean())

    assert pull(1.0) > pull(0.2)


def test_a_reference_job_runs_and_reports_only_the_last_steps(
    engine: Engine, make_request: MakeRequest, make_reference: MakeReference
) -> None:
    seen: list[tuple[int, int]] = []
    request = make_request(
        "sdxl_image_fast",
        num_images=3,
        num_inference_steps=10,
        references=(make_reference("composition", strength=0.7),),
    )
    generation = engine.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert generation.frames.shape == (3, 256, 256, 3)
    assert generation.details == {
        "batch_splits": 0,
        "reference_method": "img2img",
        "reference_type": "composition",
        "reference_strength": 0.7,
        "denoise_strength": 0.3,
    }


def test_the_strongest_reference_still_runs_one_step(
    engine: Engine, make_request: MakeRequest, make_reference: MakeReference
) -> None:
    """`int(steps * strength) == 0` crashes img2img."""
    seen: list[tuple[int, int]] = []
    request = make_request("sdxl_image_fast", references=(make_reference("style", strength=1.0),))
    engine.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


def test_two_references_are_a_bad_job(engine: Engine, make_request: MakeRequest, make_reference: MakeReference) -> None:
    request = make_request("sdxl_image_fast", references=(make_reference("style"), make_reference("character")))
    with pytest.raises(BadJob, match="takes one"):
        engine.generate(request, ignore_steps)


def test_other_random_numbers_are_left_alone(engine: Engine, make_request: MakeRequest) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    engine.generate(make_request("sdxl_image_fast"), ignore_steps)
    assert torch.equal(torch.rand(1), expected)
