"""The WAN engine on the tiny model: the very code that runs the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.schedulers import flow_scheduler
from ourvidz_worker.engines.wan.vae import DecodingVae
from ourvidz_worker.errors import BadJob, Drained, OutOfMemory, OutputInvalid, PoisonedContext
from ourvidz_worker.ports import Engine, GenerationRequest

MakeRequest = Callable[..., GenerationRequest]


def ignore_steps(done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def engine(tiny_wan: Engines) -> WanEngine:
    assert isinstance(tiny_wan.engine, WanEngine)
    tiny_wan.engine.load()
    return tiny_wan.engine


def drawn(engine: Engine, request: GenerationRequest) -> Any:
    return engine.generate(request, ignore_steps).frames


def test_a_clip_has_the_frames_and_size_of_the_job(engine: WanEngine, make_request: MakeRequest) -> None:
    request = make_request("video_fast", width=272, height=320)
    generation = engine.generate(request, ignore_steps)
    assert generation.frames.shape == (9, 320, 272, 3)
    assert generation.frames.dtype == np.uint8
    assert generation.details == {"attention": "sdpa"}
    assert len({frame.tobytes() for frame in generation.frames}) == 9


def test_83_frames_asked_for_come_out_as_81(engine: WanEngine, make_request: MakeRequest) -> None:
    """Trap: "`frame_num` 83 is what producers send; the model needs 4k+1, so 81 come out"."""
    request = make_request("video_fast", num_frames=81, requested_frames=83, num_inference_steps=1)
    generation = engine.generate(request, ignore_steps)
    assert generation.frames.shape[0] == 81


def test_a_clip_may_have_one_frame(engine: WanEngine, make_request: MakeRequest) -> None:
    assert drawn(engine, make_request("video_fast", num_frames=1)).shape == (1, 256, 256, 3)


def test_stills_are_drawn_one_by_one_so_that_seeds_give_the_same_bytes_in_any_company(
    engine: WanEngine, make_request: MakeRequest
) -> None:
    generation = engine.generate(make_request("image_fast", num_images=3, seed=50), ignore_steps)
    assert generation.details == {"attention": "sdpa", "batching": "one by one"}
    for index in range(3):
        single = drawn(engine, make_request("image_fast", seed=50 + index))
        assert np.array_equal(generation.frames[index], single[0])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a fox"},
        {"guidance_scale": 2.0},
        {"guidance_scale": 1.0},
        {"num_inference_steps": 6},
        {"flow_shift": 2.0},
        {"solver": "dpm++"},
        {"solver": "euler"},
    ],
    ids=lambda change: "-".join(f"{key}-{value}" for key, value in change.items()),
)
def test_every_parameter_of_the_job_reaches_the_model(
    engine: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """Random weights barely change a picture, so the latents that enter the VAE are compared."""
    decoded: list[torch.Tensor] = []
    original = DecodingVae.decoded

    def decode(self: DecodingVae, latents: torch.Tensor) -> Any:
        decoded.append(latents.clone())
        return original(self, latents)

    monkeypatch.setattr(DecodingVae, "decoded", decode)
    drawn(engine, make_request("image_fast"))
    drawn(engine, make_request("image_fast", **change))
    assert not torch.equal(*decoded)


def test_an_unknown_solver_is_a_bad_job() -> None:
    with pytest.raises(BadJob, match="solver 'heun' is unknown") as caught:
        flow_scheduler("heun", 5.0)
    assert caught.value.field == "config.sample_solver"


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_every_solver_follows_the_flow_with_the_shift_of_the_job(solver: str) -> None:
    """A larger shift spends more of the steps on the noisy part."""

    def middle(shift: float) -> float:
        scheduler = flow_scheduler(solver, shift)
        with numpy_conversions_quiet():
            scheduler.set_timesteps(10)
        assert len(scheduler.timesteps) == 10
        return float(scheduler.sigmas[5])

    assert 0 < middle(1.0) < middle(5.0) < 1


def test_every_step_of_every_still_is_reported_once(engine: WanEngine, make_request: MakeRequest) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(make_request("image_fast", num_images=3), lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(1, 13)]


def test_an_interruption_in_the_middle_leaves_the_engine_usable(engine: WanEngine, make_request: MakeRequest) -> None:
    request = make_request("video_fast")
    before = drawn(engine, request)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Drained

    with pytest.raises(Drained):
        engine.generate(request, stop)
    assert np.array_equal(drawn(engine, request), before)


def test_an_interrupted_pipeline_resets_the_caches_of_its_models(
    engine: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cache hook on, the result after an interruption would be wrong without the reset."""
    resets: list[str] = []
    monkeypatch.setattr(WanPipeline, "maybe_free_model_hooks", lambda pipe: resets.append("reset"))

    def stop(done: int, total: int) -> None:
        assert resets == []
        raise Drained

    with pytest.raises(Drained):
        engine.generate(make_request("image_fast"), stop)
    assert resets == ["reset"]


def test_the_negative_prompt_is_encoded_once_for_all_jobs(
    engine: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = engine._ready().from_noise.text_encoder
    encoded: list[torch.Size] = []
    original = encoder.forward

    def forward(input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        encoded.append(input_ids.shape)
        return original(input_ids, *args, **kwargs)

    drawn(engine, make_request("image_fast"))
    monkeypatch.setattr(encoder, "forward", forward)
    drawn(engine, make_request("image_fast", prompt="never seen before"))
    assert encoded == [(1, 512)], "only the new prompt, at the length that WAN was trained with"
    drawn(engine, make_request("image_fast", prompt="never seen before", seed=9))
    assert len(encoded) == 1


def test_what_is_too_long_for_the_text_encoder_is_left_out_and_the_result_says_so(
    engine: WanEngine, make_request: MakeRequest
) -> None:
    tokens = len(engine._ready().from_noise.tokenizer("sea " * 600).input_ids)
    generation = engine.generate(make_request("image_fast", prompt="sea " * 600), ignore_steps)
    assert generation.details["prompt_tokens_left_out"] == tokens - 512


def test_frames_that_are_not_numbers_are_not_sent(
    engine: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = WanDecoder3d.forward

    def decode(self: Any, *args: Any, **kwargs: Any) -> Any:
        frames = original(self, *args, **kwargs)
        frames[0, 0, 0, 0, 0] = torch.nan
        return frames

    monkeypatch.setattr(WanDecoder3d, "forward", decode)
    with pytest.raises(OutputInvalid, match="not numbers"):
        engine.generate(make_request("image_fast"), ignore_steps)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: unspecified launch failure"), PoisonedContext),
    ],
)
def test_a_failure_in_the_model_is_classified(
    engine: WanEngine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise raised

    monkeypatch.setattr(WanTransformer3DModel, "forward", fail)
    with pytest.raises(expected):
        engine.generate(make_request("video_fast"), ignore_steps)


def test_the_cpu_has_no_card_memory(engine: WanEngine) -> None:
    assert engine.memory() is None


@pytest.mark.parametrize("job_type", ["image_fast", "video_fast"])
def test_what_is_being_drawn_can_be_seen_and_is_not_changed_by_it(
    engine: WanEngine, make_request: MakeRequest, job_type: str
) -> None:
    request = make_request(job_type, num_inference_steps=2, width=256, height=320)
    seen: list[Any] = []
    frames = engine.generate(request, lambda _done, _total: seen.append(engine.glimpse(request))).frames
    first, second = seen
    assert first.shape == second.shape == (10, 8, 3)
    assert not np.array_equal(first, second)
    assert np.array_equal(frames, drawn(engine, request))
    assert engine.glimpse(request) is None
