"""SDXL faster than exact: each measure does what it says, says that it was done, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.guidance import guidance_cut
from ourvidz_worker.engines.sdxl.deep_cache import deep_cache
from ourvidz_worker.engines.sdxl.distilled import fuse_distilled_lora
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.volume.tiers import Tier
from ourvidz_worker.errors import ConfigurationError, Drained
from ourvidz_worker.ports import Generation, Order
from tests.engines.sdxl_studio import (
    MakeRequest,
    difference,
    drawn,
    engine_with,
    ignore_steps,
    reference,
    replaced_method,
    sdxl_engine,
)

STEPS = 4
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def exact(tiny_sdxl: Engines) -> SdxlEngine:
    return sdxl_engine(tiny_sdxl)


@pytest.fixture
def make_request(make_request: MakeRequest) -> MakeRequest:
    """Pictures as small as the model can draw."""
    return partial(make_request, width=64, height=64)


@pytest.fixture
def in_tier(exact: SdxlEngine) -> Callable[..., SdxlEngine]:
    """An engine on the same models that takes the measures of a tier named `fast`."""

    def make(*adapters: str, **measures: Any) -> SdxlEngine:
        engine = engine_with(exact, *adapters)
        loaded = engine._ready()
        engine._loaded = replace(loaded, tuning=replace(loaded.tuning, tier=Tier("fast", **measures)))
        return engine

    return make


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    rows: list[int] = []
    replaced_method(monkeypatch, UNet2DConditionModel, "forward", lambda sample: rows.append(len(sample)))
    return rows


@pytest.mark.parametrize(
    ("until", "steps", "scale", "after"),
    [
        (0.5, 4, 5.0, 2),
        (0.5, 5, 5.0, 3),
        (0.1, 4, 5.0, 1),
        (1.0, 4, 5.0, None),
        (0.5, 4, 1.0, None),
        (0.5, 1, 5.0, None),
    ],
)
def test_a_cut_comes_after_its_share_of_the_steps(until: float, steps: int, scale: float, after: int | None) -> None:
    cut = guidance_cut(until, steps, scale)
    assert (cut and cut.after_steps) == after


def test_the_last_steps_follow_the_prompt_alone_for_each_job_of_a_batch(
    in_tier: Callable[..., SdxlEngine], make_request: MakeRequest, batches: list[int], exact: SdxlEngine
) -> None:
    requests = [
        make_request("sdxl_image_fast", prompt=prompt, seed=seed) for prompt, seed in (("a fox", 1), ("a hat", 2))
    ]
    engine = in_tier(guidance_until=0.5)
    shared = engine.generate_together([Order(request, ignore_steps) for request in requests])
    assert batches == [4, 4, 2, 2]
    for request, generation in zip(requests, shared, strict=True):
        assert isinstance(generation, Generation)
        assert generation.details["tier"] == "fast"
        assert generation.details["tier_measures"] == {"guidance_until": 0.5}
        assert difference(generation.frames, drawn(engine, request)) <= 1
        assert difference(generation.frames, drawn(exact, request)) > 1


def test_the_first_job_after_a_cut_is_guided_again(
    in_tier: Callable[..., SdxlEngine], make_request: MakeRequest, batches: list[int]
) -> None:
    engine, request = in_tier(guidance_until=0.5), make_request("sdxl_image_fast")

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Drained

    with pytest.raises(Drained):
        engine.generate(request, stop)
    drawn(engine, request)
    assert batches == [2, 2, 1, 2, 2, 1, 1]


def test_a_job_with_an_adapter_is_guided_to_the_end_and_says_so(
    in_tier: Callable[..., SdxlEngine], make_request: MakeRequest, batches: list[int]
) -> None:
    engine = in_tier("ip_adapter", "image_encoder", guidance_until=0.5, deep_cache=2)
    request = make_request("sdxl_image_fast", references=(reference("style"),))
    generation = engine.generate(request, ignore_steps)
    assert batches == [2] * STEPS
    assert generation.details["tier_measures"] == {"deep_cache": 2}


def test_the_deep_half_is_computed_in_every_other_step(
    in_tier: Callable[..., SdxlEngine], make_request: MakeRequest, exact: SdxlEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = exact._ready().pipe.unet
    passes: list[str] = []
    blocks = {"mid": unet.mid_block, "last": unet.up_blocks[-1], "first": unet.down_blocks[0]}
    hooks = [
        block.resnets[0].register_forward_pre_hook(lambda *_args, name=name: passes.append(name))
        for name, block in blocks.items()
    ]
    engine, request = in_tier(deep_cache=2), make_request("sdxl_image_fast")
    generation = engine.generate(request, ignore_steps)
    assert [passes.count(name) for name in ("first", "mid", "last")] == [STEPS, STEPS // 2, STEPS]
    assert generation.details["tier_measures"] == {"deep_cache": 2}
    for hook in hooks:
        hook.remove()
    plain = drawn(exact, request)
    assert difference(generation.frames, plain) > 0
    assert np.array_equal(drawn(engine, request), generation.frames), "nothing is left of the last job"


@torch.no_grad()
def noise_of(unet: Any, sample: torch.Tensor) -> torch.Tensor:
    rows = len(sample)
    conditions = {"text_embeds": torch.ones(rows, 64), "time_ids": torch.ones(rows, 6)}
    noise: torch.Tensor = unet(sample, 5, torch.ones(rows, 77, 96), added_cond_kwargs=conditions).sample
    return noise


def test_computed_in_every_step_the_deep_half_changes_nothing(exact: SdxlEngine) -> None:
    unet = exact._ready().pipe.unet
    samples = [torch.full((2, 4, 8, 8), value) for value in (0.1, 0.2, 0.3)]
    plain = [noise_of(unet, sample) for sample in samples]
    with deep_cache(unet, 1):
        assert all(torch.equal(noise_of(unet, sample), noise) for sample, noise in zip(samples, plain, strict=True))
    with deep_cache(unet, 3):
        first, second, fewer = (noise_of(unet, sample) for sample in (*samples[:2], samples[2][:1]))
    assert torch.equal(first, plain[0])
    assert not torch.equal(second, plain[1])
    torch.testing.assert_close(fewer, plain[2][:1])  # another batch is computed anew
    assert not any("forward" in vars(module) for module in unet.modules())
    assert not unet._forward_pre_hooks


@pytest.fixture
def pipe(exact: SdxlEngine) -> StableDiffusionXLPipeline:
    """The tiny pipeline with a UNet that may be changed."""
    components = exact._ready().pipe.components
    return StableDiffusionXLPipeline(**components | {"unet": deepcopy(components["unet"])}, add_watermarker=False)


def lora(layout: str, unet: Any, layer: str = LAYER) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A file's tensors, and what they add to the weight of a layer."""
    generator = torch.Generator().manual_seed(0)
    outs, *ins = unet.get_submodule(layer).weight.shape
    down = torch.randn(2, *ins, generator=generator)
    up = torch.randn(outs, 2, *[1] * (len(ins) - 1), generator=generator)
    added = (up.flatten(1) @ down.flatten(1)).view(outs, *ins)
    if layout == "peft":
        return {f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}, added
    name = f"lora_unet_{layer.replace('.', '_')}"
    return {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(1.0),
    }, added / 2


@pytest.mark.parametrize("layer", [LAYER, "mid_block.resnets.0.conv1"])
@pytest.mark.parametrize("layout", ["peft", "kohya"])
def test_distilled_weights_are_added(pipe: StableDiffusionXLPipeline, tmp_path: Path, layout: str, layer: str) -> None:
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    tensors, added = lora(layout, pipe.unet, layer)
    save_file(tensors, tmp_path / "lora.safetensors")
    fuse_distilled_lora(pipe, tmp_path / "lora.safetensors")
    after = pipe.unet.state_dict()
    torch.testing.assert_close(after[f"{layer}.weight"], before[f"{layer}.weight"] + added)
    assert [name for name in before if not torch.equal(before[name], after[name])] == [f"{layer}.weight"]


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (None, "does not exist"),
        (
            {"unet.nothing.lora_A.weight": torch.ones(1, 1), "unet.nothing.lora_B.weight": torch.ones(1, 1)},
            "no LoRA for",
        ),
        ({"text_encoder.x.lora_A.weight": torch.ones(1, 1)}, "changes text_encoder, too"),
    ],
)
def test_distilled_weights_that_do_not_fit_are_a_sentence(
    pipe: StableDiffusionXLPipeline, tmp_path: Path, tensors: dict[str, torch.Tensor] | None, problem: str
) -> None:
    path = tmp_path / "lora.safetensors"
    if tensors is not None:
        save_file(tensors, path)
    with pytest.raises(ConfigurationError, match=problem):
        fuse_distilled_lora(pipe, path)


def test_distilled_weights_draw_in_their_own_steps_and_guidance(
    exact: SdxlEngine, pipe: StableDiffusionXLPipeline, make_request: MakeRequest, batches: list[int], tmp_path: Path
) -> None:
    tensors, _ = lora("peft", pipe.unet)
    save_file(tensors, tmp_path / "turbo.safetensors")
    turbo: dict[str, Any] = {"distilled_lora": "turbo.safetensors", "num_inference_steps": 2, "guidance_scale": 1.0}
    model = replace(exact._model, tier=Tier("turbo", **turbo))
    engine = SdxlEngine(model, tmp_path, lambda: None, load=lambda: pipe)
    seen: list[tuple[int, int]] = []
    request = make_request("sdxl_image_fast", num_inference_steps=25, num_images=3)
    generation = engine.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert batches == [3, 3]
    assert generation.details["scheduler"] == "euler_trailing"
    assert (generation.details["tier"], generation.details["tier_measures"]) == ("turbo", turbo)
    assert engine.shape(request) == engine.shape(make_request("sdxl_image_fast", num_inference_steps=15))


def test_loading_ends_with_a_picture_that_nobody_sees(
    exact: SdxlEngine, pipe: StableDiffusionXLPipeline, make_request: MakeRequest, batches: list[int], monkeypatch: Any
) -> None:
    decoded: list[int] = []
    replaced_method(monkeypatch, AutoencoderKL, "decode", lambda latents: decoded.append(len(latents)))
    engine = SdxlEngine(exact._model, exact._models_dir, lambda: None, load=lambda: pipe)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    engine.load()
    engine.load()
    assert (batches, decoded) == ([2], [1])
    assert torch.equal(torch.rand(1), expected)
    request = make_request("sdxl_image_fast")
    assert np.array_equal(drawn(engine, request), drawn(exact, request))


class Noted:
    """In the place of compiled blocks; notes what they are asked for."""

    details: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def run(self, shape: Any, work: Callable[[], Any]) -> Any:
        self.asked.append(shape)
        return work()

    def pause(self) -> None:
        self.asked.append("begun")

    def compile_later(self) -> None:
        self.asked.append("later")


def test_blocks_are_compiled_for_one_three_and_six_pictures_and_without_adapters(
    exact: SdxlEngine, make_request: MakeRequest
) -> None:
    engine = engine_with(exact, "controlnet")
    loaded, noted = engine._ready(), Noted()
    engine._loaded = replace(loaded, tuning=replace(loaded.tuning, blocks=noted))  # type: ignore[arg-type]
    for changes in (
        {"num_images": 1},
        {"num_images": 2},
        {"num_images": 3, "guidance_scale": 1.0},
        {"references": (reference("composition"),)},
        {"references": (reference("style"),)},  # becomes img2img here, which calls the UNet as a plain job does
    ):
        drawn(engine, make_request("sdxl_image_fast", num_inference_steps=2, **changes))
    one, three = (1, 64, 64, 77, True), (3, 64, 64, 77, False)
    assert noted.asked == [each for shape in (one, None, three, None, one) for each in ("begun", shape, "later")]
