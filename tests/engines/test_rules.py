"""The small rules: fitting, the canvas, steering, and the embedding cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.embedding_cache import EmbeddingCache
from ourvidz_worker.engines.fitting import cover_crop
from ourvidz_worker.engines.steering import Steering, steering
from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import GenerationRequest, ReferenceImage

MakeRequest = Callable[..., GenerationRequest]
MakeReference = Callable[..., ReferenceImage]


def test_a_wide_picture_fills_a_tall_size_and_loses_its_sides() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    fitted = np.asarray(cover_crop(pixels, 64, 64))
    assert fitted.shape == (64, 64, 3)
    assert fitted.min() > 200, "the black sides are cropped, not squeezed in"


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(cover_crop(pixels, 48, 64)), pixels)


def test_a_canvas_rounds_up_and_crops_back_evenly() -> None:
    canvas = Canvas.covering(480, 832, 64)
    assert (canvas.width, canvas.height) == (512, 832)
    frames = np.zeros((2, 832, 512, 3), dtype=np.uint8)
    frames[:, :, 16:496] = 255
    cropped = canvas.crop(frames)
    assert cropped.shape == (2, 832, 480, 3)
    assert cropped.min() == 255


@pytest.mark.parametrize(("width", "height", "grid"), [(480, 832, 16), (1024, 1024, 8), (1288, 776, 8)])
def test_the_product_s_models_draw_on_the_size_as_it_is(width: int, height: int, grid: int) -> None:
    canvas = Canvas.covering(width, height, grid)
    assert (canvas.width, canvas.height) == (width, height)


@pytest.mark.parametrize("strength", [0.1, 0.33, 0.5, 0.7, 0.85, 0.9, 1.0])
def test_diffusers_runs_exactly_the_steps_that_are_announced(make_reference: MakeReference, strength: float) -> None:
    """`int(steps * strength) == 0` crashes img2img, and 49 * (1 / 49) is less than 1."""
    for steps in range(1, 101):
        steered = Steering((make_reference("style", strength=strength),), "img2img", steps)
        assert 0 < steered.pipeline_strength <= 1
        assert 1 <= min(int(steps * steered.pipeline_strength), steps) == steered.steps


def test_a_stronger_reference_leaves_less_to_draw(make_request: MakeRequest, make_reference: MakeReference) -> None:
    request = make_request(
        "sdxl_image_fast", num_inference_steps=15, references=(make_reference("style", strength=0.7),)
    )
    steered = steering(request, "img2img")
    assert steered is not None
    assert steered.steps == 4
    assert steered.details == {
        "reference_method": "img2img",
        "reference_type": "style",
        "reference_strength": 0.7,
        "denoise_strength": 0.3,
    }


def test_of_a_start_and_an_end_the_stronger_wish_counts(
    make_request: MakeRequest, make_reference: MakeReference
) -> None:
    references = (make_reference("start", strength=0.4), make_reference("end", strength=0.9))
    steered = steering(make_request("video_fast", references=references), "video_to_video")
    assert steered is not None
    assert steered.reference_strength == 0.9
    assert steered.details["reference_type"] == "start+end"


def test_a_job_without_references_is_not_steered(make_request: MakeRequest) -> None:
    assert steering(make_request("image_fast"), "video_to_video") is None


@pytest.mark.parametrize("name", ["sdxl_image_fast", "image_fast", "video_fast"])
def test_more_references_than_this_version_can_use_are_a_bad_job(
    make_request: MakeRequest, make_reference: MakeReference, name: str
) -> None:
    references = (make_reference("style"), make_reference("character"))
    with pytest.raises(BadJob, match=r"2 references \(style, character\)") as caught:
        steering(make_request(name, references=references), "img2img")
    assert caught.value.field == "reference_image_url"


def test_a_text_is_encoded_once_while_it_is_in_use() -> None:
    encoded: list[str] = []
    cache = EmbeddingCache(lambda text: encoded.append(text) or text.upper(), capacity=2)  # type: ignore[func-returns-value]
    assert [cache.get(text) for text in ("negative", "a", "negative", "b", "negative", "a")][-1] == "A"
    assert encoded == ["negative", "a", "b", "a"], "the least recently used text made room, the negative never did"
