"""What makes WAN fast, and that none of it changes a picture unless a tier says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import UMT5EncoderModel

from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.tiny.shapes import WAN
from ourvidz_worker.engines.volume.tiers import EXACT, Tier
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.first_block_cache import FirstBlockCache
from ourvidz_worker.engines.wan.latents import decode
from ourvidz_worker.engines.wan.loading import load_wan
from ourvidz_worker.engines.wan.schedulers import flow_scheduler, library_scheduler
from ourvidz_worker.engines.wan.vae import DecodingVae, decoding_dtype
from ourvidz_worker.errors import ConfigurationError, Drained, OutOfMemory, PoisonedContext
from ourvidz_worker.ports import Generation, GenerationRequest, Order, ReferenceImage

MakeRequest = Callable[..., GenerationRequest]
LAYERS = 3
SMALL = {"width": 128, "height": 128}
ALWAYS = 0.999  # a threshold that repeats whatever can be repeated


def ignore_steps(done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def models_dir(cache_dir: Path) -> Path:
    ensure_built(cache_dir, "wan")
    return cache_dir


@pytest.fixture(scope="module")
def tiny(models_dir: Path) -> WanPipeline:
    return load_wan(MODELS.wan, models_dir)


@pytest.fixture(scope="module")
def make_engine(tiny: WanPipeline, models_dir: Path) -> Callable[..., WanEngine]:
    """An engine on the tiny model with three blocks, of which one could repeat two."""

    def pipeline() -> WanPipeline:
        return WanPipeline(**tiny.components | {"transformer": deep(WanTransformer3DModel)})

    def make(tier: Tier = EXACT, **changes: Any) -> WanEngine:
        model = replace(MODELS.wan, tier=tier, vace=None, **changes)
        return WanEngine(model, models_dir, lambda: None, "static", load=pipeline)

    return make


@pytest.fixture(scope="module")
def exact(make_engine: Callable[..., WanEngine]) -> WanEngine:
    engine = make_engine()
    engine.load()
    return engine


def deep(transformer: type[Any], **shape: Any) -> Any:
    torch.manual_seed(0)
    return (
        transformer(**{**WAN["transformer"], "num_layers": LAYERS, **shape}).eval().requires_grad_(requires_grad=False)
    )


class Calls:
    """How often a module of this class was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: type[Any]) -> None:
        self.count = 0
        original = module.forward

        def forward(model: Any, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return original(model, *args, **kwargs)

        monkeypatch.setattr(module, "forward", forward)


# Decoding while frames are handed over


@pytest.fixture(scope="module")
def decoding(tiny: WanPipeline) -> DecodingVae:
    return DecodingVae(tiny.vae, tiny.vae.dtype)


def latents(frames: int = 3, side: int = 4) -> torch.Tensor:
    return torch.randn(1, 16, frames, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tiled", [False, True])
def test_frames_come_one_after_the_other_and_are_those_of_the_whole(decoding: DecodingVae, *, tiled: bool) -> None:
    clip = latents(side=9)
    if tiled:
        decoding.enable_tiling()
    with torch.no_grad():
        whole = decoding.vae.decode(clip, return_dict=False)[0][0]
    expected = whole.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).numpy()
    given: list[tuple[int, Any]] = []
    frames = decode(decoding, clip, 9, lambda index, some: given.append((index, some)))
    decoding.disable_tiling()
    assert np.array_equal(frames, expected)
    assert np.array_equal(np.concatenate([some for _, some in given]), expected)
    assert [(index, len(some)) for index, some in given] == ([(0, 9)] if tiled else [(0, 1), (1, 4), (5, 4)])


def test_frames_are_handed_over_while_others_are_decoded(
    decoding: DecodingVae, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, seen = Calls(monkeypatch, WanDecoder3d), []
    decode(decoding, latents(), 9, lambda index, _: seen.append((index, calls.count)))
    assert seen == [(0, 2), (1, 3), (5, 3)], "each waits until the next ones are under way, and no longer"


def test_a_clip_s_frames_are_given_as_the_job_wants_them(exact: WanEngine, make_request: MakeRequest) -> None:
    given: list[tuple[int, Any]] = []
    request = make_request("video_fast", width=144, height=128)
    generation = exact.generate(request, ignore_steps, lambda index, frames: given.append((index, frames)))
    assert [index for index, _ in given] == [0, 1, 5]
    assert np.array_equal(np.concatenate([frames for _, frames in given]), generation.frames)
    given.clear()
    exact.generate(
        make_request("image_fast", **SMALL), ignore_steps, lambda index, frames: given.append((index, frames))
    )
    assert given == [], "a still is no clip"


def test_a_clip_that_is_decoded_anew_begins_at_its_first_frame(
    exact: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, black = WanDecoder3d.forward, [True] * 3

    def forward(model: Any, *args: Any, **kwargs: Any) -> Any:
        frames = original(model, *args, **kwargs)
        return torch.full_like(frames, -1.0) if black and black.pop() else frames

    monkeypatch.setattr(WanDecoder3d, "forward", forward)
    given: list[tuple[int, int]] = []
    generation = exact.generate(
        make_request("video_fast", **SMALL),
        ignore_steps,
        lambda index, frames: given.append((index, int(frames.max() > 0))),
    )
    assert given == [(0, 0), (1, 0), (5, 0), (0, 1), (1, 1), (5, 1)]
    assert generation.details["recovery_steps"] == ["generate:again"]


def test_fewer_bits_decode_and_all_of_them_are_there_when_they_are_needed(models_dir: Path) -> None:
    vae = load_wan(MODELS.wan, models_dir).vae
    clip = latents()
    expected = decode(DecodingVae(vae, torch.float32), clip, 9)
    light = DecodingVae(vae, torch.bfloat16)
    assert light.dtype == torch.bfloat16
    assert vae.dtype == torch.float32, "what encodes is as it was"
    rounded = decode(light, clip, 9).astype(int)
    assert 0 < np.abs(rounded - expected).mean() < 2
    light.to(dtype=torch.float32)
    assert np.array_equal(decode(light, clip, 9), expected), "not the rounded weights"
    light.to(dtype=torch.bfloat16)
    assert np.array_equal(decode(light, clip, 9), rounded)


def test_only_a_card_decodes_in_fewer_bits(decoding: DecodingVae) -> None:
    assert decoding_dtype(decoding.vae, torch.bfloat16) == torch.float32


# Nothing waits for the card


class Crossings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what makes the host wait for a device, or the device for the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name().partition(".")[0]
        moved = name == "aten::_to_copy" and result.device != args[0].device
        read = name == "aten::_local_scalar_dense" and not args[0].is_cpu
        self.count += moved or read or (name == "aten::linalg_solve_ex" and not result[0].is_cpu)
        return result


def pipeline_crossings(pipe: WanPipeline, steps: int) -> int:
    pipe.scheduler = flow_scheduler("unipc", 5.0)
    crossed = Crossings()
    with crossed:
        pipe(
            prompt_embeds=torch.zeros(1, 512, WAN["text_encoder"]["d_model"], device="meta"),
            guidance_scale=1.0,
            width=64,
            height=64,
            num_frames=1,
            num_inference_steps=steps,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        )
    return crossed.count


def solver_crossings(scheduler: Any, steps: int) -> int:
    sample = torch.zeros(1, 4, 2, 3, 3, device="meta")
    scheduler.set_timesteps(steps, device="meta")
    scheduler.set_begin_index(0)
    crossed = Crossings()
    with crossed:
        for timestep in scheduler.timesteps:
            sample = scheduler.step(sample, timestep, sample, return_dict=False)[0]
    return crossed.count


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_no_solver_waits_for_the_card(solver: str) -> None:
    """A device without memory stands for the card: what crosses to it and back is counted, whatever is in it."""
    assert solver_crossings(flow_scheduler(solver, 5.0), 5) == 0
    assert solver_crossings(library_scheduler(), 5) > 20, "the library's own does wait, in every step"


def test_no_step_waits_for_the_card(models_dir: Path) -> None:
    pipe = load_wan(replace(MODELS.wan, device="meta"), models_dir)
    assert pipeline_crossings(pipe, 3) == pipeline_crossings(pipe, 5) > 0


@pytest.mark.parametrize("steps", [1, 2, 3, 25])
def test_a_solver_that_does_not_wait_gives_what_the_library_s_gives(steps: int) -> None:
    own = {"unipc": library_scheduler(), "euler": FlowMatchEulerDiscreteScheduler(shift=5.0)}
    for solver, library in own.items():
        results = []
        for scheduler in (library, flow_scheduler(solver, 5.0)):
            scheduler.set_timesteps(steps)
            scheduler.set_begin_index(0)
            numbers = torch.Generator().manual_seed(0)
            sample = torch.randn(1, 4, 3, 5, 6, generator=numbers)
            for timestep in scheduler.timesteps:
                velocity = 0.3 * torch.randn(sample.shape, generator=numbers) + 0.1 * sample
                sample = scheduler.step(velocity, timestep, sample, return_dict=False)[0]
            results.append(sample)
        assert torch.equal(*results)


# Before a job, and beside another one


def test_loading_ends_with_a_step_that_leaves_no_trace(
    make_engine: Callable[..., WanEngine], make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, warm = make_engine(), make_engine()
    request = make_request("video_fast", **SMALL)
    expected = cold.generate(request, ignore_steps).frames
    forwards, decodings = Calls(monkeypatch, WanTransformer3DModel), Calls(monkeypatch, WanDecoder3d)
    random_state = torch.get_rng_state()
    warm.load()
    warm.load()
    assert (forwards.count, decodings.count) == (2, 2), "one step with guidance, and two latent frames"
    assert torch.equal(torch.get_rng_state(), random_state)
    assert np.array_equal(warm.generate(request, ignore_steps).frames, expected)


def test_a_prompt_is_read_ahead_beside_a_running_generation(
    exact: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Calls(monkeypatch, UMT5EncoderModel)
    now, next_one = (
        make_request("video_fast", **SMALL, prompt="now"),
        make_request("video_fast", **SMALL, prompt="next"),
    )
    alone = exact.generate(now, ignore_steps).frames
    with ThreadPoolExecutor(1) as ahead:

        def step(done: int, total: int) -> None:
            if done == 2:
                ahead.submit(exact.prepare, next_one).result()

        assert np.array_equal(exact.generate(now, step).frames, alone)
    assert encoded.count == 2
    exact.generate(next_one, ignore_steps)
    assert encoded.count == 2, "neither the prompt nor the model's own negative prompt is read again"


@pytest.mark.parametrize(
    ("error", "met"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: unspecified launch failure"), PoisonedContext),
    ],
)
def test_what_cannot_be_done_ahead_is_met_in_its_place(
    exact: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, error: Exception, met: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(UMT5EncoderModel, "forward", fail)
    request = make_request("video_fast", **SMALL, prompt=f"not read yet: {error}")
    exact.prepare(request)
    with pytest.raises(met):
        exact.generate(request, ignore_steps)


def test_nothing_is_prepared_before_the_models_are_there(
    make_engine: Callable[..., WanEngine], make_request: MakeRequest
) -> None:
    engine = make_engine()
    engine.prepare(make_request("video_fast", **SMALL))
    assert engine.memory() is None


def test_every_order_is_drawn_alone_and_has_its_own_outcome(exact: WanEngine, make_request: MakeRequest) -> None:
    def stop(done: int, total: int) -> None:
        raise Drained

    request = make_request("image_fast", **SMALL)
    assert exact.shape(request) is None
    drawn, interrupted = exact.generate_together([Order(request, ignore_steps), Order(request, stop)])
    assert isinstance(drawn, Generation)
    assert np.array_equal(drawn.frames, exact.generate(request, ignore_steps).frames)
    assert isinstance(interrupted, Drained)


def test_a_card_that_refuses_all_work_is_nobody_s_outcome(
    exact: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(WanTransformer3DModel, "forward", fail)
    with pytest.raises(PoisonedContext):
        exact.generate_together([Order(make_request("image_fast", **SMALL), ignore_steps)])


# Compiled blocks


def test_blocks_are_compiled_after_the_first_clip_and_draw_the_same(
    make_engine: Callable[..., WanEngine], make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are counted where torch would put compiled code; what decides on repetitions stays outside of it."""
    compiled: list[Any] = []

    def compile_blocks(model: Any, **_options: Any) -> None:
        for block in model.modules():
            if type(block).__name__ in model._repeated_blocks:
                block._compiled_call_impl = partial(call, block)

    def call(block: Any, *args: Any, **kwargs: Any) -> Any:
        compiled.append(block)
        return block._call_impl(*args, **kwargs)

    monkeypatch.setattr(WanTransformer3DModel, "compile_repeated_blocks", compile_blocks)
    engine = make_engine(Tier("cached", first_block_cache=1e-9), compile="on")
    request = make_request("image_fast", **SMALL)
    first = engine.generate(request, ignore_steps)
    assert first.details["compile"] == "eager"
    engine._ready().denoiser.blocks.finish()
    compiled.clear()
    second = engine.generate(request, ignore_steps)
    assert second.details["compile"] == "compiled"
    assert len(compiled) == 4 * 2 * LAYERS
    assert {type(block).__name__ for block in compiled} == {"WanTransformerBlock"}
    assert np.array_equal(first.frames, second.frames)


# Tiers


def test_the_last_steps_of_a_cut_follow_the_prompt_alone(
    make_engine: Callable[..., WanEngine],
    exact: WanEngine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine(Tier("balanced", guidance_until=0.5))
    request = make_request("image_fast", **SMALL, num_inference_steps=5)
    forwards = Calls(monkeypatch, WanTransformer3DModel)
    generation = engine.generate(request, ignore_steps)
    assert forwards.count == 5 + 3
    measures = {"guidance_until": 0.5}
    assert generation.details == {"tier": "balanced", "tier_measures": measures, "attention": "sdpa"}
    assert np.array_equal(engine.generate(request, ignore_steps).frames, generation.frames)
    forwards.count = 0
    unguided = engine.generate(make_request("image_fast", **SMALL, guidance_scale=1.0), ignore_steps)
    assert forwards.count == 4
    assert unguided.details["tier_measures"] == {}, "there was nothing to cut"


def test_a_cut_holds_from_a_still_too(
    make_engine: Callable[..., WanEngine],
    make_request: MakeRequest,
    make_reference: Callable[..., ReferenceImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine(Tier("turbo", guidance_until=0.5, first_block_cache=1e-9))
    forwards = Calls(monkeypatch, WanTransformer3DModel)
    request = make_request(
        "image_fast", **SMALL, num_inference_steps=8, references=(make_reference("start", strength=0.5),)
    )
    generation = engine.generate(request, ignore_steps)
    assert generation.details["denoise_steps"] == 4
    assert forwards.count == 4 + 2


def test_a_pass_that_changes_little_repeats_the_others_of_the_last_one(
    make_engine: Callable[..., WanEngine], exact: WanEngine, make_request: MakeRequest
) -> None:
    request = make_request("image_fast", **SMALL, num_inference_steps=6)
    always, never = make_engine(Tier("turbo", first_block_cache=ALWAYS)), make_engine(Tier("t", first_block_cache=1e-9))
    repeated = always.generate(request, ignore_steps)
    assert repeated.details["first_block_cache_hits"] == 2 * 5
    assert repeated.details["tier_measures"] == {"first_block_cache": ALWAYS}
    computed, expected = never.generate(request, ignore_steps), exact.generate(request, ignore_steps)
    assert computed.details["first_block_cache_hits"] == 0
    assert np.array_equal(computed.frames, expected.frames)


def test_an_interrupted_generation_leaves_nothing_to_repeat(
    make_engine: Callable[..., WanEngine], make_request: MakeRequest
) -> None:
    engine = make_engine(Tier("turbo", first_block_cache=ALWAYS))
    request = make_request("image_fast", **SMALL)
    before = engine.generate(request, ignore_steps)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Drained

    with pytest.raises(Drained):
        engine.generate(make_request("image_fast", **SMALL, seed=99), stop)
    after = engine.generate(request, ignore_steps)
    assert np.array_equal(before.frames, after.frames)
    assert before.details == after.details


@pytest.mark.parametrize("family", ["wan", "vace"])
def test_what_is_repeated_is_the_same_again(family: str) -> None:
    """In Diffusers' own cache, VACE's hints are added once more to what holds them already."""
    sides = {"hidden_states": torch.randn(1, 16, 1, 4, 4), "timestep": torch.tensor([500])}
    prompt = torch.randn(1, 8, WAN["text_encoder"]["d_model"])
    if family == "vace":
        model = deep(WanVACETransformer3DModel, vace_layers=[0, 1], vace_in_channels=WAN["vace"]["vace_in_channels"])
        sides["control_hidden_states"] = torch.randn(1, WAN["vace"]["vace_in_channels"], 1, 4, 4)
    else:
        model = deep(WanTransformer3DModel)

    def passed() -> torch.Tensor:
        output: torch.Tensor = model(**sides, encoder_hidden_states=prompt, return_dict=False)[0]
        return output

    expected = passed()
    cache = FirstBlockCache(model, ALWAYS)
    assert torch.equal(passed(), expected), "outside a run nothing is remembered"
    with cache.run():
        assert torch.equal(passed(), expected)
        assert torch.allclose(passed(), expected, atol=1e-5)
        assert (cache.passes, cache.repeated) == (2, 1)
        other = model(**sides, encoder_hidden_states=prompt + 1, return_dict=False)[0]
        assert cache.repeated == 1, "another prompt is another pass"
    assert torch.equal(other, model(**sides, encoder_hidden_states=prompt + 1, return_dict=False)[0])


def test_distilled_weights_draw_in_their_own_steps(
    make_engine: Callable[..., WanEngine],
    exact: WanEngine,
    make_request: MakeRequest,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    width = WAN["transformer"]["num_attention_heads"] * WAN["transformer"]["attention_head_dim"]
    numbers = torch.Generator().manual_seed(3)
    down, up = torch.randn(2, width, generator=numbers), torch.randn(width, 2, generator=numbers)
    layer = "diffusion_model.blocks.1.self_attn.q"  # as WAN itself names it
    save_file({f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}, models_dir / "few.safetensors")
    tier = Tier("few", distilled_lora="few.safetensors", num_inference_steps=2, guidance_scale=1.0)
    engine = make_engine(tier)
    forwards = Calls(monkeypatch, WanTransformer3DModel)
    seen: list[tuple[int, int]] = []
    generation = engine.generate(make_request("image_fast", **SMALL), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert forwards.count == 2
    assert generation.details["tier_measures"] == {
        "distilled_lora": "few.safetensors",
        "num_inference_steps": 2,
        "guidance_scale": 1.0,
    }
    weights, plain = (each._ready().from_noise.transformer.state_dict() for each in (engine, exact))
    changed = {name for name in plain if not torch.equal(weights[name], plain[name])}
    assert changed == {"blocks.1.attn1.to_q.weight"}
    difference = weights["blocks.1.attn1.to_q.weight"] - plain["blocks.1.attn1.to_q.weight"]
    assert torch.allclose(difference, up @ down, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (None, "does not exist"),
        ({"unet.down.lora_A.weight": (2, 8), "unet.down.lora_B.weight": (8, 2)}, "is no LoRA for this WAN model"),
        ({"transformer.blocks.0.attn1.to_q.lora_A.weight": (2, 9)}, "blocks.0.attn1.to_q is of another size"),
        ({"transformer.blocks.0.attn1.to_q.weight": (2, 9)}, "blocks.0.attn1.to_q.weight is unknown"),
    ],
)
def test_distilled_weights_that_do_not_fit_are_a_sentence(
    make_engine: Callable[..., WanEngine], tmp_path: Path, content: dict[str, tuple[int, ...]] | None, finding: str
) -> None:
    path = tmp_path / "few.safetensors"
    if content is not None:
        save_file({name: torch.zeros(shape) for name, shape in content.items()}, path)
    engine = make_engine(Tier("few", distilled_lora=str(path), num_inference_steps=2, guidance_scale=1.0))
    with pytest.raises(ConfigurationError, match=finding):
        engine.load()
