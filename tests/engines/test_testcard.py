"""The test card: the size, count and differences that a person or a test looks for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ourvidz_worker.engines.testcard import TestCardEngine
from ourvidz_worker.errors import Drained
from ourvidz_worker.ports import Generation, GenerationRequest, Order, ReferenceImage

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

MakeRequest = Callable[..., GenerationRequest]


def ignore_steps(done: int, total: int) -> None: ...


def test_images_have_the_size_and_count_of_the_job_and_differ(make_request: MakeRequest) -> None:
    request = make_request("sdxl_image_fast", num_images=3, width=512, height=320)
    frames = TestCardEngine().generate(request, ignore_steps).frames
    assert frames.shape == (3, 320, 512, 3)
    assert frames.dtype == np.uint8
    assert len({frame.tobytes() for frame in frames}) == 3


def test_the_card_shows_seed_prompt_and_reference(
    make_request: MakeRequest, make_reference: Callable[..., ReferenceImage]
) -> None:
    engine = TestCardEngine()
    cards = [
        engine.generate(request, ignore_steps).frames.tobytes()
        for request in (
            make_request("image_fast"),
            make_request("image_fast"),
            make_request("image_fast", seed=8),
            make_request("image_fast", prompt="another"),
            make_request("image_fast", references=(make_reference("style"),)),
        )
    ]
    assert cards[0] == cards[1]
    assert len(set(cards)) == 4


def test_a_clip_of_full_size_takes_less_than_two_seconds_and_moves(make_request: MakeRequest) -> None:
    request = make_request("video_fast", width=480, height=832, num_frames=81, requested_frames=83)
    started = time.monotonic()
    frames = TestCardEngine().generate(request, ignore_steps).frames
    assert time.monotonic() - started < 2
    assert frames.shape == (81, 832, 480, 3)
    assert all((before != after).any() for before, after in itertools.pairwise(frames))


def test_a_clip_of_one_frame_is_drawn(make_request: MakeRequest) -> None:
    request = make_request("video_fast", num_frames=1)
    assert TestCardEngine().generate(request, ignore_steps).frames.shape == (1, 256, 256, 3)


def test_every_step_is_reported_and_any_of_them_can_stop_the_job(make_request: MakeRequest) -> None:
    seen: list[tuple[int, int]] = []
    TestCardEngine().generate(make_request("image_fast"), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(done: int, total: int) -> None:
        raise Drained

    with pytest.raises(Drained):
        TestCardEngine().generate(make_request("image_fast"), stop)


def test_jobs_that_share_a_batch_get_the_cards_that_they_would_get_alone(make_request: MakeRequest) -> None:
    engine = TestCardEngine()
    requests = [make_request("sdxl_image_fast", seed=1), make_request("sdxl_image_fast", seed=50, num_images=3)]
    together = engine.generate_together([Order(request, ignore_steps) for request in requests])
    for request, outcome in zip(requests, together, strict=True):
        assert isinstance(outcome, Generation)
        assert np.array_equal(outcome.frames, engine.generate(request, ignore_steps).frames)


def test_who_is_stopped_leaves_the_others_in_the_batch_alone(make_request: MakeRequest) -> None:
    reason = Drained("the worker was shut down")
    seen: list[int] = []

    def stop_at_the_second(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise reason

    orders = [Order(make_request("sdxl_image_fast"), step) for step in (ignore_steps, stop_at_the_second, ignore_steps)]
    first, second, third = TestCardEngine().generate_together(orders)
    assert isinstance(first, Generation)
    assert isinstance(third, Generation)
    assert second is reason
    assert seen == [1, 2]


def test_shapes_are_those_of_a_model_that_draws_one_size_in_one_number_of_steps(make_request: MakeRequest) -> None:
    shape = TestCardEngine().shape
    assert shape(make_request("sdxl_image_fast", seed=1)) == shape(make_request("sdxl_image_fast", seed=2, prompt="a"))
    assert shape(make_request("sdxl_image_fast")) != shape(make_request("sdxl_image_fast", width=512, height=320))
    assert shape(make_request("sdxl_image_fast")) != shape(make_request("sdxl_image_high"))
    assert shape(make_request("video_fast")) is None


def test_a_clip_is_given_to_whoever_films_it(make_request: MakeRequest) -> None:
    filmed: list[tuple[int, Pixels]] = []
    request = make_request("video_fast", num_frames=5)
    generation = TestCardEngine().generate(request, ignore_steps, lambda index, frames: filmed.append((index, frames)))
    ((index, frames),) = filmed
    assert index == 0
    assert np.array_equal(frames, generation.frames)


def test_the_engine_is_openly_named_and_has_no_card_memory(make_request: MakeRequest) -> None:
    engine = TestCardEngine()
    engine.load()
    assert engine.model_name == "testcard"
    assert engine.memory() is None
    assert engine.generate(make_request("image_fast"), ignore_steps).details == {"engine": "testcard"}
