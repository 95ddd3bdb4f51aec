"""What a reference's strength means, which method follows it, and how its picture is made to fit."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pytest

from ourvidz_worker.engines.fitting import fit, scaled
from ourvidz_worker.engines.sdxl.controlnets import edges
from ourvidz_worker.engines.sdxl.methods import adapters_of, attention_scale, follow
from ourvidz_worker.engines.steering import Followed, Repainting, reference_details
from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import ReferenceImage

MakeReference = Callable[..., ReferenceImage]

EVERYTHING = {"image_encoder", "ip_adapter", "ip_adapter_face", "controlnet"}


def test_a_wide_picture_fills_a_tall_size_and_loses_its_sides() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    fitted = np.asarray(fit(pixels, 64, 64, "crop"))
    assert fitted.shape == (64, 64, 3)
    assert fitted.min() > 200, "the black sides are cropped, not squeezed in"


def test_a_padded_picture_is_whole_between_two_grey_bars() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    fitted = np.asarray(fit(pixels, 60, 60, "pad"))
    assert fitted.shape == (60, 60, 3)
    assert (fitted[:20] == 128).all()
    assert (fitted[20:40] == 0).all()
    assert (fitted[40:] == 128).all()


@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (7, 3), (64, 48)])
def test_any_picture_comes_out_in_the_size_asked_for(mode: str, height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 200, dtype=np.uint8)
    assert fit(pixels, 48, 64, mode).size == (48, 64)  # type: ignore[arg-type]
    assert edges(pixels, 48, 64, mode).size == (48, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width", "shown"), [(1, 5000, (48, 1)), (5000, 1, (1, 64)), (64, 96, (48, 32))])
def test_of_a_padded_picture_something_is_always_seen(height: int, width: int, shown: tuple[int, int]) -> None:
    assert scaled(np.zeros((height, width, 3), dtype=np.uint8), 48, 64, "pad").size == shown


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_a_picture_of_the_right_size_is_left_alone(mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(fit(pixels, 48, 64, mode)), pixels)  # type: ignore[arg-type]


def test_edges_are_where_the_picture_changes_and_padding_has_none() -> None:
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, 60:] = 255
    lines = np.asarray(edges(pixels, 120, 120, "pad"))
    assert lines.shape == (120, 120, 3)
    assert set(np.unique(lines)) == {0, 255}
    assert {column for _, column, _ in np.argwhere(lines)} <= {59, 60}
    assert {row for row, _, _ in np.argwhere(lines)} <= set(range(40, 80))


@pytest.mark.parametrize("strength", [0.1, 0.33, 0.5, 0.7, 0.85, 0.9, 1.0])
def test_diffusers_runs_exactly_the_steps_that_are_announced(strength: float) -> None:
    """`int(steps * strength) == 0` crashes img2img, and 49 * (1 / 49) is less than 1."""
    for steps in range(1, 101):
        left = Repainting(strength, steps)
        assert 0 < left.pipeline_strength <= 1
        assert 1 <= min(int(steps * left.pipeline_strength), steps) == left.steps


def test_a_stronger_reference_leaves_less_to_draw() -> None:
    assert [Repainting(strength, 20).steps for strength in (0.1, 0.3, 0.7, 1.0)] == [18, 14, 6, 1]
    assert Repainting(0.7, 20).denoise_strength == 0.3


def test_the_result_names_every_reference_and_a_single_one_in_plain_keys(make_reference: MakeReference) -> None:
    style = Followed(make_reference("style", strength=0.4), "ip_adapter_style")
    face = Followed(make_reference("character", strength=0.9), "ip_adapter_face")
    first = {"type": "style", "method": "ip_adapter_style", "strength": 0.4}
    assert reference_details([]) == {}
    assert reference_details([style]) == {
        "reference_methods": [first],
        "reference_type": "style",
        "reference_method": "ip_adapter_style",
        "reference_strength": 0.4,
    }
    second = {"type": "character", "method": "ip_adapter_face", "strength": 0.9}
    assert reference_details([style, face]) == {"reference_methods": [first, second]}


@pytest.mark.parametrize(
    ("role", "present", "method"),
    [
        ("style", EVERYTHING, "ip_adapter_style"),
        ("style", {"ip_adapter", "ip_adapter_face", "controlnet"}, "img2img"),
        ("style", {"image_encoder", "ip_adapter_face", "controlnet"}, "img2img"),
        ("composition", EVERYTHING, "controlnet"),
        ("composition", {"controlnet"}, "controlnet"),
        ("composition", {"image_encoder", "ip_adapter"}, "ip_adapter_layout"),
        ("composition", {"ip_adapter"}, "img2img"),
        ("composition", {"image_encoder", "ip_adapter_face"}, "img2img"),
        ("character", EVERYTHING, "ip_adapter_face"),
        ("character", {"image_encoder", "ip_adapter"}, "img2img"),
        ("character", set(), "img2img"),
    ],
)
def test_each_role_has_its_method_and_img2img_without_weights(
    make_reference: MakeReference, role: str, present: Collection[str], method: str
) -> None:
    (followed,) = follow([make_reference(role)], present)
    assert followed.method == method


def test_img2img_can_follow_one_reference_beside_others(make_reference: MakeReference) -> None:
    references = [make_reference("style"), make_reference("composition"), make_reference("character")]
    followed = follow(references, {"image_encoder", "ip_adapter", "controlnet"})
    assert [each.method for each in followed] == ["ip_adapter_style", "controlnet", "img2img"]
    assert adapters_of(followed) == {"ip_adapter", "controlnet"}


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (set(), "ip_adapter, image_encoder, ip_adapter_face of"),
        ({"image_encoder", "controlnet"}, "ip_adapter, ip_adapter_face of"),
        ({"ip_adapter", "ip_adapter_face"}, "image_encoder of"),
    ],
)
def test_two_references_that_only_img2img_could_follow_are_refused(
    make_reference: MakeReference, present: Collection[str], missing: str
) -> None:
    with pytest.raises(BadJob, match="style and character references") as caught:
        follow([make_reference("style"), make_reference("character")], present)
    assert f"or put {missing} [sdxl] in models.toml on the volume" in str(caught.value)
    assert caught.value.field == "reference_image_url"


def test_three_references_that_only_img2img_could_follow_are_told_in_one_list(make_reference: MakeReference) -> None:
    with pytest.raises(BadJob, match="asks for style, composition and character references"):
        follow([make_reference(role) for role in ("style", "composition", "character")], set())


def test_style_and_layout_speak_in_one_layer_each_and_a_face_in_all(make_reference: MakeReference) -> None:
    def scale(role: str, present: Collection[str], *, style_everywhere: bool = False) -> object:
        (followed,) = follow([make_reference(role, strength=0.6)], present)
        return attention_scale(followed, style_everywhere=style_everywhere)

    assert scale("style", EVERYTHING) == {"up": {"block_0": [0.0, 0.6, 0.0]}}
    assert scale("composition", {"image_encoder", "ip_adapter"}) == {"down": {"block_2": [0.0, 0.6]}}
    assert scale("character", EVERYTHING) == 0.6
    assert scale("style", EVERYTHING, style_everywhere=True) == 0.6
