"""References of SDXL jobs on the tiny model with its adapters: each method has an effect, and leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    StableDiffusionXLControlNetUnionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPImageProcessorPil

from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.sdxl import adapters as sdxl_adapters
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.controlnets import edges
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.image_encoder import ImageEncoder
from ourvidz_worker.engines.sdxl.ip_adapters import load_ip_adapter
from ourvidz_worker.engines.tiny.adapters import controlnet_shape, open_gates
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.tiny.shapes import ADAPTERS as ADAPTERS_FOLDER
from ourvidz_worker.engines.tiny.shapes import SDXL
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.errors import BadJob, Drained, OutOfMemory
from ourvidz_worker.ports import GenerationRequest, ReferenceImage
from tests.engines.sdxl_studio import (
    ADAPTERS,
    MakeRequest,
    difference,
    distance,
    drawn,
    engine_with,
    ignore_steps,
    methods,
    reference,
    replaced_method,
)

NAME = "sdxl_image_fast"
METHODS: dict[ReferenceRole, str] = {
    "style": "ip_adapter_style",
    "composition": "controlnet",
    "character": "ip_adapter_face",
}
ALL_THREE = (reference("style"), reference("composition"), reference("character"))


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> SdxlEngine:
    tiny_sdxl.engine.load()
    assert isinstance(tiny_sdxl.engine, SdxlEngine)
    return tiny_sdxl.engine


@pytest.fixture(scope="module")
def bare(engine: SdxlEngine) -> SdxlEngine:
    """Without a single adapter."""
    return engine_with(engine)


@pytest.fixture(scope="module")
def plain(engine: SdxlEngine, make_request: MakeRequest) -> Any:
    """What is drawn without references."""
    return drawn(engine, steered(make_request))


@pytest.fixture(scope="module")
def edges_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet for edges alone."""
    folder = tmp_path_factory.mktemp("controlnet")
    shape = {"conditioning_embedding_out_channels": SDXL["controlnet"]["conditioning_embedding_out_channels"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        controlnet = ControlNetModel(**controlnet_shape(), **shape)
        open_gates(controlnet)
    controlnet.save_pretrained(folder)
    return folder


def steered(make_request: MakeRequest, *references: ReferenceImage, **changes: Any) -> GenerationRequest:
    return make_request(NAME, references=references, **{"num_inference_steps": 2, **changes})


@pytest.mark.parametrize("role", METHODS)
def test_each_role_is_followed_by_its_own_method_and_leaves_no_trace(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any, role: ReferenceRole
) -> None:
    generation = engine.generate(steered(make_request, reference(role)), ignore_steps)
    assert generation.details == {
        "scheduler": "euler",
        "attention": "sdpa",
        "reference_methods": [{"type": role, "method": METHODS[role], "strength": 0.7}],
        "reference_type": role,
        "reference_method": METHODS[role],
        "reference_strength": 0.7,
    }
    assert difference(generation.frames, plain) >= 5
    assert np.array_equal(drawn(engine, steered(make_request)), plain), "plain jobs draw as if there were no adapters"
    assert np.array_equal(drawn(engine, steered(make_request, reference(role))), generation.frames)


@pytest.mark.parametrize("role", METHODS)
def test_a_strength_of_zero_would_be_no_reference_at_all(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any, role: ReferenceRole
) -> None:
    assert np.array_equal(drawn(engine, steered(make_request, reference(role, 0.0))), plain)


@pytest.mark.parametrize("role", METHODS)
def test_the_stronger_a_reference_the_further_it_leads(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any, role: ReferenceRole
) -> None:
    ways = [
        distance(drawn(engine, steered(make_request, reference(role, strength))), plain) for strength in (0.1, 0.5, 1.0)
    ]
    assert ways == sorted(ways)
    assert ways[2] > 2 * ways[0]


@pytest.mark.parametrize("role", METHODS)
def test_another_picture_leads_elsewhere(engine: SdxlEngine, make_request: MakeRequest, role: ReferenceRole) -> None:
    one, other = (drawn(engine, steered(make_request, reference(role, square=square))) for square in (5, 55))
    assert difference(one, other) >= 3


def test_all_three_at_once_and_each_of_them_counts(engine: SdxlEngine, make_request: MakeRequest, plain: Any) -> None:
    generation = engine.generate(steered(make_request, *ALL_THREE, num_images=3), ignore_steps)
    assert methods(generation.details) == list(METHODS.values())
    assert "reference_method" not in generation.details
    assert generation.frames.shape == (3, 256, 256, 3)
    whole = drawn(engine, steered(make_request, *ALL_THREE))
    assert difference(whole, generation.frames[:1]) <= 3, "in a batch as alone"
    for left_out in ALL_THREE:
        others = [each for each in ALL_THREE if each is not left_out]
        assert difference(drawn(engine, steered(make_request, *others)), whole) >= 3
    assert np.array_equal(drawn(engine, steered(make_request)), plain)


def test_the_picture_is_the_one_that_diffusers_draws_with_its_own_way_of_loading(
    engine: SdxlEngine, cache_dir: Path, make_request: MakeRequest
) -> None:
    """The references have the size that the image encoder reads, so that nobody has to resize them."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    references = tuple(replace(reference(role, 0.6), pixels=pixels) for role in METHODS)
    request = steered(make_request, *references)
    folder = cache_dir / MODELS.sdxl.path
    adapters = folder / ADAPTERS_FOLDER
    own = StableDiffusionXLControlNetUnionPipeline.from_pretrained(
        folder,
        controlnet=ControlNetUnionModel.from_pretrained(adapters / "controlnet"),
        feature_extractor=CLIPImageProcessorPil(size=32, crop_size=32),
        add_watermarker=False,
    )
    own.set_progress_bar_config(disable=True)
    own.load_ip_adapter(
        str(adapters), subfolder="", weight_name=["ip_adapter.safetensors", "ip_adapter_face.safetensors"]
    )
    own.set_ip_adapter_scale([{"up": {"block_0": [0.0, 0.6, 0.0]}}, 0.6])
    with numpy_conversions_quiet():
        latents = own(
            prompt=request.prompt,
            negative_prompt=request.job.negative_prompt,
            num_inference_steps=2,
            guidance_scale=request.job.guidance_scale,
            control_image=[edges(pixels, 256, 256, "crop")],
            control_mode=[3],
            controlnet_conditioning_scale=0.6,
            ip_adapter_image=[Image.fromarray(pixels)] * 2,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
        ).images
    assert np.array_equal(drawn(engine, request), sdxl_latents.decode(own.vae, latents))


def test_each_of_several_references_has_a_strength_of_its_own(engine: SdxlEngine, make_request: MakeRequest) -> None:
    style, face = reference("style", 0.9), reference("character", 0.4)
    both = drawn(engine, steered(make_request, style, face))
    swapped = drawn(engine, steered(make_request, reference("style", 0.4), reference("character", 0.9)))
    assert difference(both, swapped) >= 3
    silent = drawn(engine, steered(make_request, style, reference("character", 0.0)))
    assert np.array_equal(silent, drawn(engine, steered(make_request, style)))


def test_references_without_guidance(engine: SdxlEngine, make_request: MakeRequest) -> None:
    unguided = drawn(engine, steered(make_request, guidance_scale=1.0))
    for role in METHODS:
        steered_one = drawn(engine, steered(make_request, reference(role), guidance_scale=1.0))
        assert difference(steered_one, unguided) >= 2


@pytest.mark.parametrize("role", METHODS)
def test_a_reference_is_cropped_or_padded_as_the_setting_says(
    engine: SdxlEngine, make_request: MakeRequest, role: ReferenceRole
) -> None:
    def with_fit(fit: Fit) -> Any:
        return drawn(engine_with(engine, *ADAPTERS, fit=fit), steered(make_request, reference(role)))

    cropped = drawn(engine, steered(make_request, reference(role)))
    assert np.array_equal(with_fit("crop"), cropped)
    assert difference(with_fit("pad"), cropped) >= 3


def test_the_kind_of_a_controlnet_is_told_from_its_config(
    engine: SdxlEngine, edges_controlnet: Path, make_request: MakeRequest, plain: Any
) -> None:
    """One for edges alone takes other arguments than a union of several kinds."""
    simple = engine_with(engine, "controlnet", files={"controlnet": edges_controlnet})
    generation = simple.generate(steered(make_request, reference("composition")), ignore_steps)
    assert generation.details["reference_method"] == "controlnet"
    assert difference(generation.frames, plain) >= 5
    assert np.array_equal(drawn(simple, steered(make_request, reference("composition", 0.0))), plain)
    assert difference(generation.frames, drawn(engine, steered(make_request, reference("composition")))) >= 5


def test_without_a_controlnet_composition_goes_through_the_ip_adapter_s_layout_layers(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any
) -> None:
    engine = engine_with(engine, "image_encoder", "ip_adapter")
    layout = engine.generate(steered(make_request, reference("composition")), ignore_steps)
    assert layout.details["reference_method"] == "ip_adapter_layout"
    assert difference(layout.frames, plain) >= 3
    style = drawn(engine, steered(make_request, reference("style")))
    assert difference(layout.frames, style) >= 3, "another layer of the same adapter"
    both = drawn(engine, steered(make_request, reference("style"), reference("composition", square=5)))
    assert min(difference(both, layout.frames), difference(both, style)) >= 3, "one adapter, two pictures"
    assert np.array_equal(drawn(engine, steered(make_request)), plain)


def test_without_weights_a_reference_is_repainted_and_more_so_when_weaker(
    bare: SdxlEngine, make_request: MakeRequest
) -> None:
    def pull(strength: float) -> float:
        one, other = (
            drawn(
                bare, steered(make_request, reference("style", strength, square=20, shade=shade), num_inference_steps=8)
            )
            for shade in (250, 5)
        )
        return distance(one, other)

    assert pull(1.0) > pull(0.5) > pull(0.1)


def test_a_repainting_job_runs_and_reports_only_the_last_steps(bare: SdxlEngine, make_request: MakeRequest) -> None:
    seen: list[tuple[int, int]] = []
    request = steered(make_request, reference("composition"), num_images=3, num_inference_steps=10)
    generation = bare.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert generation.frames.shape == (3, 256, 256, 3)
    assert generation.details == {
        "scheduler": "euler",
        "attention": "sdpa",
        "reference_methods": [{"type": "composition", "method": "img2img", "strength": 0.7}],
        "reference_type": "composition",
        "reference_method": "img2img",
        "reference_strength": 0.7,
        "denoise_strength": 0.3,
        "denoise_steps": 3,
    }


@pytest.mark.parametrize("scheduler", ["euler", "dpm++_2m_karras", "ddim", "unipc"])
def test_the_strongest_reference_still_runs_one_step(
    bare: SdxlEngine, make_request: MakeRequest, scheduler: str
) -> None:
    """`int(steps * strength) == 0` crashes img2img."""
    seen: list[tuple[int, int]] = []
    request = steered(make_request, reference("style", 1.0), solver=scheduler)
    bare.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


@pytest.mark.parametrize("kind", ["union", "edges"])
def test_img2img_goes_together_with_every_other_method(
    engine: SdxlEngine, edges_controlnet: Path, make_request: MakeRequest, kind: str
) -> None:
    """The face's adapter is missing, so that the picture begins with the face and everything else steers it."""
    files = {"controlnet": edges_controlnet} if kind == "edges" else {}
    engine = engine_with(engine, "image_encoder", "ip_adapter", "controlnet", files=files)
    seen: list[tuple[int, int]] = []
    request = steered(make_request, *ALL_THREE, num_inference_steps=10)
    generation = engine.generate(request, lambda done, total: seen.append((done, total)))
    assert methods(generation.details) == ["ip_adapter_style", "controlnet", "img2img"]
    assert generation.details["denoise_strength"] == 0.3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for left_out in ALL_THREE:
        others = [each for each in ALL_THREE if each is not left_out]
        assert difference(drawn(engine, steered(make_request, *others, num_inference_steps=10)), generation.frames) >= 2


def test_every_way_works_in_the_precisions_that_a_pod_computes_in(
    cache_dir: Path, make_request: MakeRequest, models: ModelsConfig
) -> None:
    """Without the style's adapter the picture begins with it."""
    pod = replace(MODELS.sdxl, dtype=models.sdxl.dtype, vae_dtype=models.sdxl.vae_dtype)
    half = SdxlEngine(pod, cache_dir, lambda: ensure_built(cache_dir, "sdxl"))
    assert (half._ready().pipe.unet.dtype, half._ready().pipe.vae.dtype) == (torch.float16, torch.bfloat16)
    half = engine_with(half, "image_encoder", "ip_adapter_face", "controlnet")
    generation = half.generate(
        steered(make_request, *ALL_THREE, prompt="a (red)1.3 hat", num_inference_steps=1), ignore_steps
    )
    assert methods(generation.details) == ["img2img", "controlnet", "ip_adapter_face"]


def test_two_references_that_only_img2img_could_follow_fail_the_job_with_what_is_missing(
    bare: SdxlEngine, make_request: MakeRequest, plain: Any
) -> None:
    with pytest.raises(BadJob, match="put ip_adapter, image_encoder, controlnet of"):
        bare.generate(steered(make_request, reference("style"), reference("composition")), ignore_steps)
    assert np.array_equal(drawn(bare, steered(make_request)), plain)


def test_an_adapter_is_read_from_disk_once_and_a_picture_is_looked_at_once(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with(engine, *ADAPTERS)
    loaded: list[str] = []
    looks: list[Any] = []
    for name in ("load_ip_adapter", "load_controlnet", "load_image_encoder"):
        original = getattr(sdxl_adapters, name)

        def load(*args: Any, original: Any = original, name: str = name) -> Any:
            loaded.append(name)
            return original(*args)

        monkeypatch.setattr(sdxl_adapters, name, load)
    replaced_method(monkeypatch, ImageEncoder, "embedding", looks.append)
    first = drawn(engine, steered(make_request, *ALL_THREE))
    assert sorted(loaded) == ["load_controlnet", "load_image_encoder", "load_ip_adapter", "load_ip_adapter"]
    assert len(looks) == 2, "both adapters look at it in their own way, through one encoder"
    assert np.array_equal(drawn(engine, steered(make_request, *ALL_THREE)), first)
    drawn(engine, steered(make_request, reference("style", 0.3)))
    assert (len(loaded), len(looks)) == (4, 2), "the same picture at another strength"
    drawn(engine, steered(make_request, reference("style", square=5)))
    assert (len(loaded), len(looks)) == (4, 3), "another picture"
    assert sorted(engine.evict_idle()) == ["controlnet", "image_encoder", "ip_adapter", "ip_adapter_face"]
    assert {"unet", "vae"} <= set(engine.evict_idle()), "the text encoders, too, unless another test evicted them"
    assert engine.evict_idle() == []
    assert np.array_equal(drawn(engine, steered(make_request, *ALL_THREE)), first)
    assert (len(loaded), len(looks)) == (4, 3), "it came back from the host's memory"
    assert "image_encoder" not in engine._residency.resident, "what was seen is kept, so that it is not needed"


def test_what_a_job_draws_with_is_not_evicted(engine: SdxlEngine, make_request: MakeRequest) -> None:
    drawn(engine, steered(make_request, *ALL_THREE))
    dropped: list[Sequence[str]] = []
    before = drawn(engine, steered(make_request, reference("style")))
    drawn(engine, steered(make_request, *ALL_THREE))
    generation = engine.generate(
        steered(make_request, reference("style")), lambda done, total: dropped.append(engine.evict_idle())
    )
    assert set(dropped[0]) >= {"controlnet", "ip_adapter_face"}
    assert not {name for names in dropped for name in names} & {"unet", "vae", "ip_adapter"}
    assert np.array_equal(generation.frames, before)
    assert engine.evict_idle() == ["ip_adapter"]
    assert sorted(engine.evict_idle()) == ["unet", "vae"]


def test_an_interruption_while_adapters_are_worn_leaves_the_plain_pipeline_as_it_was(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any
) -> None:
    def stop(done: int, total: int) -> None:
        raise Drained

    request = steered(make_request, *ALL_THREE)
    before = drawn(engine, request)
    with pytest.raises(Drained):
        engine.generate(request, stop)
    assert np.array_equal(drawn(engine, steered(make_request)), plain)
    assert np.array_equal(drawn(engine, request), before)


def test_a_lack_of_memory_while_adapters_are_worn_leaves_the_plain_pipeline_as_it_was(
    engine: SdxlEngine, make_request: MakeRequest, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sample: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        replaced_method(patched, UNet2DConditionModel, "forward", refuse)
        with pytest.raises(OutOfMemory):
            engine.generate(steered(make_request, *ALL_THREE), ignore_steps)
    assert np.array_equal(drawn(engine, steered(make_request)), plain)


def test_memory_for_an_adapter_is_made_by_dropping_idle_ones(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with(engine, *ADAPTERS)
    drawn(engine, steered(make_request, reference("composition")))

    def load(pipe: Any, path: Path) -> Any:
        if "controlnet" in engine._residency.resident:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load_ip_adapter(pipe, path)

    monkeypatch.setattr(sdxl_adapters, "load_ip_adapter", load)
    generation = engine.generate(steered(make_request, reference("style")), ignore_steps)
    freed, evicted = generation.details["recovery_steps"]
    assert freed == "reference:free_caches"
    assert "controlnet" in evicted


def test_other_random_numbers_are_left_alone_when_adapters_are_loaded(
    engine: SdxlEngine, make_request: MakeRequest
) -> None:
    engine = engine_with(engine, *ADAPTERS)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    drawn(engine, steered(make_request, *ALL_THREE))
    assert torch.equal(torch.rand(1), expected)


def test_weights_that_arrive_on_the_volume_are_used_by_the_next_job(
    engine: SdxlEngine, cache_dir: Path, tmp_path: Path, make_request: MakeRequest
) -> None:
    missing = tmp_path / "controlnet"
    engine = engine_with(engine, "controlnet", files={"controlnet": missing})
    request = steered(make_request, reference("composition"))
    assert engine.generate(request, ignore_steps).details["reference_method"] == "img2img"
    assert MODELS.sdxl.controlnet is not None
    shutil.copytree(cache_dir / MODELS.sdxl.controlnet, missing)
    assert json.loads((missing / "config.json").read_text())["_class_name"] == "ControlNetUnionModel"
    assert engine.generate(request, ignore_steps).details["reference_method"] == "controlnet"
