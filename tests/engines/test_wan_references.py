"""References of WAN jobs: through VACE, and without its weights from a still.

The tiny model's weights are set so that what VACE is shown comes back as a mosaic (`engines/tiny/mosaic.py`), so it
can be seen in the pixels whether a frame was kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from PIL import Image

from ourvidz_worker.contract.job import Reference, ReferenceRole
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import fit
from ourvidz_worker.engines.steering import Repainting
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.wan import loading
from ourvidz_worker.engines.wan.conditions import Conditions, fitted
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.latents import decode
from ourvidz_worker.engines.wan.vae import DecodingVae
from ourvidz_worker.engines.wan.ways import from_a_still
from ourvidz_worker.errors import AdapterUnusable, BadJob, Drained, OutOfMemory
from ourvidz_worker.ports import Generation, GenerationRequest, ReferenceImage

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

MakeRequest = Callable[..., GenerationRequest]
CANVAS = Canvas.covering(64, 128, 64)


@pytest.fixture(scope="module")
def engine(tiny_wan: Engines) -> WanEngine:
    assert isinstance(tiny_wan.engine, WanEngine)
    tiny_wan.engine.load()
    return tiny_wan.engine


@pytest.fixture(scope="module")
def without_vace(cache_dir: Path) -> WanEngine:
    ensure_built(cache_dir, "wan")
    return WanEngine(replace(MODELS.wan, vace=None), cache_dir, lambda: None, "static")


def reference(role: ReferenceRole, seed: int = 1, strength: float = 1.0) -> ReferenceImage:
    """Random patches of colour, as large as the tiny model can show."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return picture(role, Image.fromarray(patches).resize((256, 256), Image.Resampling.BICUBIC), strength)


def plain_picture(role: ReferenceRole, colour: tuple[int, int, int], strength: float = 1.0) -> ReferenceImage:
    return picture(role, Image.new("RGB", (256, 256), colour), strength)


def picture(role: ReferenceRole, image: Image.Image, strength: float) -> ReferenceImage:
    return ReferenceImage(Reference(role, "reference_images/u/r.png", strength, f"{role}_url"), np.asarray(image))


def generated(engine: WanEngine, request: GenerationRequest) -> Generation:
    return engine.generate(request, lambda done, total: None)


@pytest.fixture
def clip(engine: WanEngine, make_request: MakeRequest) -> Callable[..., Pixels]:
    def drawn(*references: ReferenceImage, name: str = "video_fast", **changes: Any) -> Pixels:
        return generated(engine, make_request(name, references=references, **changes)).frames

    return drawn


def resemblance(frame: Pixels, image: ReferenceImage) -> float:
    """Correlation of all pixels, from -1 to 1."""
    shown = np.asarray(fit(image.pixels, frame.shape[1], frame.shape[0], "crop"))
    return float(np.corrcoef(frame.ravel(), shown.ravel())[0, 1])


def test_the_tiny_vae_gives_a_picture_back_as_a_mosaic_of_itself(engine: WanEngine) -> None:
    shown = reference("start")
    vae = engine._ready().from_noise.vae
    with torch.no_grad():
        latents = vae.encode(
            fitted(shown, Canvas.covering(256, 256, 64), "crop")[None, :, None] * 2 - 1
        ).latent_dist.mode()
    assert latents.shape == (1, 16, 1, 8, 8)
    assert resemblance(decode(DecodingVae(vae, vae.dtype), latents, 1)[0], shown) > 0.95


def test_a_start_frame_is_seen_in_the_first_frame_and_an_end_frame_in_the_last(clip: Callable[..., Pixels]) -> None:
    start, end, stranger = reference("start", 1), reference("end", 2), reference("start", 3)
    only_start, only_end, both = clip(start), clip(end), clip(start, end)
    for frames in (only_start, both):
        assert resemblance(frames[0], start) > 0.7
        assert abs(resemblance(frames[0], stranger)) < 0.3
    for frames in (only_end, both):
        assert resemblance(frames[-1], end) > 0.7
        assert abs(resemblance(frames[-1], stranger)) < 0.3
    assert resemblance(only_start[-1], start) < 0.5, "only the first frame was given"
    assert resemblance(only_end[0], end) < 0.5, "only the last frame was given"


def test_a_frame_through_vace_is_kept_better_than_one_from_a_still(
    engine: WanEngine, without_vace: WanEngine, make_request: MakeRequest
) -> None:
    start = reference("start", strength=0.7)
    request = make_request("video_fast", references=(start,))
    through_vace, from_a_still = generated(engine, request).frames, generated(without_vace, request).frames
    assert resemblance(through_vace[0], start) > resemblance(from_a_still[0], start) > 0.2


@pytest.mark.parametrize("name", ["video_fast", "image_fast"])
@pytest.mark.parametrize("role", ["style", "composition", "character"])
def test_a_reference_picture_colours_clips_and_stills(
    clip: Callable[..., Pixels], name: str, role: ReferenceRole
) -> None:
    red = clip(plain_picture(role, (230, 20, 20)), name=name).mean(axis=(0, 1, 2))
    blue = clip(plain_picture(role, (20, 20, 230)), name=name).mean(axis=(0, 1, 2))
    assert red[0] - blue[0] > 60
    assert blue[2] - red[2] > 60


def test_a_start_an_end_and_two_pictures_are_followed_at_once(clip: Callable[..., Pixels]) -> None:
    start, end = reference("start", 1, 1.0), reference("end", 2, 1.0)
    frames = clip(start, end, plain_picture("style", (230, 20, 20)), plain_picture("character", (230, 20, 20)))
    assert frames.shape == (9, 256, 256, 3)
    assert resemblance(frames[0], start) > 0.4
    assert resemblance(frames[-1], end) > 0.4
    middle = frames[4].mean(axis=(0, 1))
    assert middle[0] > middle[2] + 40


def test_the_strength_of_a_reference_is_felt(clip: Callable[..., Pixels]) -> None:
    likeness = [
        resemblance(clip(reference("start", 1, strength))[0], reference("start")) for strength in (0.1, 0.4, 1.0)
    ]
    assert likeness == sorted(likeness)
    assert likeness[2] > likeness[0] + 0.3


def test_without_any_strength_a_clip_is_as_without_the_reference(clip: Callable[..., Pixels]) -> None:
    plain, ignored = clip(), clip(reference("start", strength=0.0))
    assert np.abs(plain.astype(int) - ignored).max() <= 1


def test_each_reference_keeps_its_own_strength(clip: Callable[..., Pixels]) -> None:
    weak, strong = reference("start", 1, 0.1), reference("end", 2, 1.0)
    frames = clip(weak, strong)
    assert resemblance(frames[0], weak) + 0.2 < resemblance(frames[-1], strong)


def test_every_latent_frame_has_the_strength_of_the_reference_next_to_it() -> None:
    def scale(*references: ReferenceImage) -> list[float]:
        scales = Conditions(references, CANVAS, 9, "crop").scale(latent_frames=3, tokens_per_frame=2, layers=2)
        assert scales.shape == (2, 2 * (3 + len(references) - _frames(references)), 1)
        assert torch.equal(scales[0], scales[1])
        return [round(value, 3) for value in scales[0, ::2, 0].tolist()]

    start, end = reference("start", strength=1.0), reference("end", strength=0.2)
    style, character = reference("style", strength=0.4), reference("character", strength=0.6)
    assert scale(start) == [1.0, 1.0, 1.0]
    assert scale(end) == [0.2, 0.2, 0.2]
    assert scale(start, end) == [1.0, 0.6, 0.2]
    assert scale(style) == [0.4, 0.4, 0.4, 0.4]
    assert scale(start, style) == [0.4, 1.0, 0.7, 0.4]
    assert scale(style, character, end) == [0.6, 0.4, 0.6, 0.4, 0.2], "the pipeline puts the later picture first"


def _frames(references: Sequence[ReferenceImage]) -> int:
    return sum(image.reference.role in {"start", "end"} for image in references)


def test_frames_to_keep_are_black_in_the_mask_and_frames_to_invent_grey_in_the_clip() -> None:
    call = Conditions((reference("end"),), CANVAS, 5, "crop").call(torch.device("cpu"))
    assert call["video"].shape == (1, 5, 3, 128, 64)
    assert call["mask"][0, :, 0].amax(dim=(1, 2)).tolist() == [1, 1, 1, 1, 0]
    assert torch.equal(call["video"][0, :4], torch.full((4, 3, 128, 64), 127 / 255))
    shown = np.asarray(fit(reference("end").pixels, 64, 128, "crop"))
    assert np.array_equal((call["video"][0, 4] * 255).round().byte().permute(1, 2, 0).numpy(), shown)
    assert call["reference_images"] is None


def test_pictures_alone_need_no_frames_and_lie_on_white_where_they_are_not_cropped() -> None:
    wide = picture("style", Image.new("RGB", (400, 100)), 1.0)
    cropped = Conditions((wide,), CANVAS, 5, "crop").call(torch.device("cpu"))
    whole = Conditions((wide,), CANVAS, 5, "pad").call(torch.device("cpu"))
    assert "video" not in cropped
    assert not np.asarray(cropped["reference_images"]).any()
    (padded,) = np.asarray(whole["reference_images"])
    assert padded.shape == (128, 64, 3)
    assert not padded[56:72].any()
    assert (padded[:56] == 255).all()
    assert (padded[72:] == 255).all()


@pytest.mark.parametrize("frames", [1, 5])
def test_there_may_be_more_pictures_than_latent_frames(clip: Callable[..., Pixels], frames: int) -> None:
    """Diffusers takes the masks of the pictures from among those of the frames."""
    roles: tuple[ReferenceRole, ...] = ("style", "composition", "character")
    pictures = [plain_picture(role, (230, 20, 20)) for role in roles]
    red = clip(*pictures, num_frames=frames)
    assert red.shape == (frames, 256, 256, 3)
    assert red[..., 0].mean() > red[..., 2].mean() + 40


def test_a_still_follows_several_pictures(engine: WanEngine, make_request: MakeRequest) -> None:
    pictures = (reference("style"), reference("character"))
    generation = generated(engine, make_request("image_fast", num_images=3, references=pictures))
    assert [each["type"] for each in generation.details["reference_methods"]] == ["style", "character"]
    assert generation.frames.shape == (3, 256, 256, 3)


def test_the_rule_for_other_shapes_reaches_the_clip(cache_dir: Path, make_request: MakeRequest) -> None:
    ensure_built(cache_dir, "wan")
    left = np.zeros((64, 256, 3), dtype=np.uint8)
    left[:, :64] = 255
    request = make_request("video_fast", references=(picture("start", Image.fromarray(left), 1.0),))
    crop, pad = (
        generated(WanEngine(MODELS.wan, cache_dir, lambda: None, "", fit=mode), request).frames[0]
        for mode in ("crop", "pad")
    )
    assert pad[112:144, :32].mean() > crop[112:144, :32].mean() + 30, "only a padded picture shows its left side"


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_every_step_is_reported_with_every_solver(engine: WanEngine, make_request: MakeRequest, solver: str) -> None:
    seen: list[tuple[int, int]] = []
    request = make_request("image_fast", num_images=3, solver=solver, references=(reference("style"),))
    engine.generate(request, lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(1, 13)]


def test_plain_clips_are_the_same_bytes_before_during_and_after(
    engine: WanEngine, make_request: MakeRequest, clip: Callable[..., Pixels]
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Drained

    before, steered = clip(), clip(reference("start"))
    assert np.array_equal(clip(), before)
    with pytest.raises(Drained):
        engine.generate(make_request("video_fast", references=(reference("start"),)), stop)
    assert np.array_equal(clip(), before)
    assert np.array_equal(clip(reference("start")), steered)


def test_vace_is_dropped_when_idle_and_loaded_again(
    engine: WanEngine, make_request: MakeRequest, clip: Callable[..., Pixels]
) -> None:
    during: list[list[str]] = []
    request = make_request("video_fast", references=(reference("start"),))
    steered = engine.generate(request, lambda done, total: during.append(engine.evict_idle())).frames
    assert not {name for names in during for name in names} & {"vace", "vae"}, "what the job uses stays"
    assert engine.evict_idle() == ["vace"]
    assert "vae" in engine.evict_idle()
    assert engine._residency.resident == ()
    assert np.array_equal(clip(reference("start")), steered)


def test_what_is_shared_is_held_once(engine: WanEngine, clip: Callable[..., Pixels]) -> None:
    clip(reference("start"))
    plain = engine._ready().from_noise
    vace = engine._vace.loaded(plain).pipe
    assert vace.vae is plain.vae
    assert vace.text_encoder is plain.text_encoder
    assert vace.vae_scale_factor_spatial == plain.vae.config.scale_factor_spatial == 32
    assert engine._ready().from_frames.transformer is plain.transformer
    assert engine._ready().from_frames.vae_scale_factor_spatial == 32


@pytest.mark.parametrize(("failures", "steps"), [(1, ["reference:free_caches"]), (9, None)])
def test_memory_that_runs_out_while_vace_is_loaded_goes_down_the_ladder(
    engine: WanEngine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    steps: list[str] | None,
) -> None:
    left = [torch.OutOfMemoryError("CUDA out of memory")] * failures
    original = loading.load_vace

    def load(*arguments: Any) -> Any:
        if left:
            raise left.pop()
        return original(*arguments)

    engine._vace._vace = None  # as before the first job that needs it
    monkeypatch.setattr("ourvidz_worker.engines.wan.vace.load_vace", load)
    request = make_request("image_fast", references=(reference("style"),))
    if steps is None:
        with pytest.raises(OutOfMemory, match="stage reference"):
            generated(engine, request)
    else:
        assert generated(engine, request).details["recovery_steps"] == steps


def test_memory_that_runs_out_for_the_frames_goes_down_the_ladder(
    engine: WanEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames that VACE is shown lie on the card, half a gigabyte of them."""
    left = [torch.OutOfMemoryError("CUDA out of memory")]
    original = Conditions.call

    def call(self: Any, device: torch.device) -> dict[str, Any]:
        if left:
            raise left.pop()
        return original(self, device)

    monkeypatch.setattr(Conditions, "call", call)
    request = make_request("video_fast", references=(reference("start"),))
    assert generated(engine, request).details["recovery_steps"] == ["reference:free_caches"]


def test_an_idle_vace_makes_room_for_a_job_that_runs_out_of_memory(
    engine: WanEngine, make_request: MakeRequest, clip: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [torch.OutOfMemoryError("CUDA out of memory")] * 2
    original = WanTransformer3DModel.forward

    def forward(self: Any, *arguments: Any, **named: Any) -> Any:
        if left:
            raise left.pop()
        return original(self, *arguments, **named)

    clip(reference("start"))
    monkeypatch.setattr(WanTransformer3DModel, "forward", forward)
    details = generated(engine, make_request("image_fast")).details
    assert details["recovery_steps"] == ["denoise:free_caches", "denoise:evict vace"]
    assert "vace" not in engine._residency.resident


def test_the_result_names_the_method_of_each_reference(engine: WanEngine, make_request: MakeRequest) -> None:
    one = generated(engine, make_request("image_fast", references=(reference("style", strength=0.5),)))
    assert one.details == {
        "attention": "sdpa",
        "reference_methods": [{"type": "style", "method": "vace", "strength": 0.5}],
        "reference_type": "style",
        "reference_method": "vace",
        "reference_strength": 0.5,
    }
    both = (reference("start", strength=0.9), reference("end", strength=0.4))
    assert generated(engine, make_request("video_fast", references=both)).details == {
        "attention": "sdpa",
        "reference_methods": [
            {"type": "start", "method": "vace", "strength": 0.9},
            {"type": "end", "method": "vace", "strength": 0.4},
        ],
    }


def test_a_start_and_an_end_need_more_than_one_frame(engine: WanEngine, make_request: MakeRequest) -> None:
    both = (reference("start"), reference("end"))
    with pytest.raises(BadJob, match="one frame cannot have a start and an end; send one of them") as caught:
        generated(engine, make_request("video_fast", num_frames=1, references=both))
    assert caught.value.field == "end_url"


def test_a_clip_of_one_frame_may_have_a_start(clip: Callable[..., Pixels]) -> None:
    frames = clip(reference("start"), num_frames=1)
    assert frames.shape[0] == 1
    assert resemblance(frames[0], reference("start")) > 0.7


@pytest.mark.parametrize(
    ("name", "role"),
    [("video_fast", "start"), ("video_fast", "style"), ("image_fast", "composition"), ("image_fast", "character")],
)
def test_without_vace_a_single_picture_is_followed_from_a_still(
    without_vace: WanEngine, make_request: MakeRequest, name: str, role: ReferenceRole
) -> None:
    seen: list[tuple[int, int]] = []

    def drawn(seed: int) -> Generation:
        request = make_request(name, num_inference_steps=10, references=(reference(role, seed, 0.7),))
        return without_vace.generate(request, lambda done, total: seen.append((done, total)))

    generation = drawn(1)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert generation.details == {
        "attention": "sdpa",
        "reference_methods": [{"type": role, "method": "video_to_video", "strength": 0.7}],
        "reference_type": role,
        "reference_method": "video_to_video",
        "reference_strength": 0.7,
        "denoise_strength": 0.3,
        "denoise_steps": 3,
    }
    assert resemblance(generation.frames[0], reference(role, 1)) > resemblance(drawn(2).frames[0], reference(role, 1))


@pytest.mark.parametrize("strength", [0.1, 0.33, 0.5, 0.7, 1.0])
def test_from_a_still_diffusers_runs_exactly_the_steps_that_are_announced(
    engine: WanEngine, make_request: MakeRequest, strength: float
) -> None:
    image, loaded = reference("start", strength=strength), engine._ready()
    for steps in (1, 2, 3, 49, 50):
        job = make_request("video_fast", num_inference_steps=steps, num_frames=1).job
        way = from_a_still(loaded.from_frames, loaded.denoiser, job, (image,), CANVAS, "crop")
        assert 1 <= min(int(steps * way.call["strength"]), steps) == way.steps == Repainting(strength, steps).steps


@pytest.mark.parametrize(
    ("roles", "asked", "field"),
    [
        (("end",), "an end frame", "end_url"),
        (("start", "end"), r"2 references \(start, end\)", "end_url"),
        (("style", "start"), r"2 references \(style, start\)", "start_url"),
        (("style", "character"), r"2 references \(style, character\)", "character_url"),
    ],
    ids="+".join,
)
def test_without_vace_what_cannot_be_done_is_refused_with_what_can(
    without_vace: WanEngine, make_request: MakeRequest, roles: tuple[ReferenceRole, ...], asked: str, field: str
) -> None:
    request = make_request("video_fast", references=tuple(reference(role) for role in roles))
    with pytest.raises(
        BadJob, match=f"asks for {asked}, which takes WAN's VACE weights.*send one start frame"
    ) as caught:
        generated(without_vace, request)
    assert caught.value.field == field


def test_vace_weights_that_come_later_are_used(cache_dir: Path, tmp_path: Path, make_request: MakeRequest) -> None:
    ensure_built(cache_dir, "wan")
    shutil.copytree(cache_dir / MODELS.wan.path, tmp_path / "wan")
    (tmp_path / "wan" / "vace").rename(tmp_path / "vace")
    engine = WanEngine(replace(MODELS.wan, path="wan", vace="later"), tmp_path, lambda: None, "static")
    request = make_request("image_fast", references=(reference("style"),))
    assert generated(engine, request).details["reference_method"] == "video_to_video"
    (tmp_path / "vace").rename(tmp_path / "later")
    assert generated(engine, request).details["reference_method"] == "vace"


def test_damaged_vace_weights_fail_the_jobs_that_need_them_alone(
    cache_dir: Path, tmp_path: Path, make_request: MakeRequest
) -> None:
    ensure_built(cache_dir, "wan")
    shutil.copytree(cache_dir / MODELS.wan.path, tmp_path / "wan")
    path = tmp_path / "wan" / "vace" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    engine = WanEngine(replace(MODELS.wan, path="wan", vace="wan/vace"), tmp_path, lambda: None, "static")
    with pytest.raises(AdapterUnusable, match=r"is truncated: .* \(\[wan\] vace in models\.toml\); copy it again"):
        generated(engine, make_request("image_fast", references=(reference("style"),)))
    assert generated(engine, make_request("image_fast")).frames.shape == (1, 256, 256, 3)
