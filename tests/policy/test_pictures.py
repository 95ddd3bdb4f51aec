"""An operator's picture classifier: on references before the card works, on pictures before anything is encoded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog

from ourvidz_worker.cli.classifier import load_classifier
from ourvidz_worker.errors import ConfigurationError, ContentRefused, PicturesUnchecked
from ourvidz_worker.runtime.policy import ClassifiedPolicy
from ourvidz_worker.runtime.policy.classified_policy import MOST_PICTURES
from ourvidz_worker.settings import load_settings
from tests.policy.classifiers import Dark
from tests.policy.corpus import policy
from tests.runtime.scene import Scene, payload
from tests.support.stories import story

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

REFERENCE = {"reference_image_url": "https://storage.example/ref.png", "reference_type": "style"}


class Watching:
    """Remembers what it saw; answers what `judge` says of it."""

    def __init__(self, judge: Callable[[Pixels], Any] = lambda _: True) -> None:
        self.seen: list[Pixels] = []
        self.threads: set[int] = set()
        self._judge = judge

    def __call__(self, pictures: Pixels, *, adult_capable: bool) -> Any:
        self.seen.append(pictures)
        self.threads.add(threading.get_ident())
        return self._judge(pictures)


def scene_of(folder: Path, classifier: Watching, **changes: Any) -> Scene:
    return Scene(folder, policy=ClassifiedPolicy(policy(), classifier), **changes)


def of_the_generation(pictures: Pixels) -> bool:
    return bool(pictures.shape[1] > 1)  # the fakes' reference is one pixel


def failing(_pictures: Pixels) -> bool:
    raise RuntimeError("the weights are gone")


@story
async def test_pictures_are_seen_in_a_thread_of_their_own_before_they_are_encoded(tmp_path: Path) -> None:
    classifier = Watching()
    scene = scene_of(tmp_path, classifier)
    scene.submit(payload(config={"num_images": 3}, metadata=REFERENCE))
    await scene.run_until_idle()
    assert [pictures.shape[0] for pictures in classifier.seen] == [1, 3]
    assert all(pictures.dtype == np.uint8 and pictures.shape[3] == 3 for pictures in classifier.seen)
    assert threading.get_ident() not in classifier.threads
    assert scene.reporter.last().status == "completed"


@story
async def test_of_a_clip_it_sees_frames_from_the_first_to_the_last(tmp_path: Path) -> None:
    classifier = Watching()
    scene = scene_of(tmp_path, classifier, queue="wan_queue")
    scene.submit(payload("job-1", "video_fast"))
    await scene.run_until_idle()
    assert [len(pictures) for pictures in classifier.seen] == [MOST_PICTURES]


@pytest.mark.parametrize("count", [1, 2, MOST_PICTURES, MOST_PICTURES + 1, 83])
def test_frames_are_spread_evenly(count: int) -> None:
    classifier = Watching()
    numbered = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1).repeat(3, axis=3)
    ClassifiedPolicy(policy(), classifier).check_pictures(numbered, adult_capable=False)
    seen = classifier.seen[0][:, 0, 0, 0].astype(int)
    gaps = np.diff(seen)
    assert len(seen) == min(count, MOST_PICTURES)
    assert (seen[0], seen[-1]) == (0, count - 1)
    assert count == 1 or gaps.max() - gaps.min() <= 1


@story
async def test_a_refused_picture_is_neither_encoded_nor_delivered(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, Watching(lambda _: False))
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.encoder.limits == []
    assert scene.done()[-2:] == ["failed", "acknowledge"]
    assert scene.failure().metadata["error_type"] == "content_policy"


@story
async def test_a_refused_reference_reaches_no_model(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, Watching(of_the_generation))
    scene.submit(payload(metadata=REFERENCE))
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.failure().metadata["error_type"] == "content_policy"


@story
async def test_a_classifier_that_fails_lets_nothing_through_and_the_operator_knows(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, Watching(failing))
    scene.submit(payload())
    with structlog.testing.capture_logs() as logs:
        await scene.run_until_idle()
    assert scene.encoder.limits == []
    failure = scene.failure()
    assert (failure.metadata["error_type"], failure.metadata["retryable"]) == ("content_check", True)
    assert "weights" not in (failure.error_message or "")
    assert any(entry["event"] == "picture_classifier_failed" for entry in logs)


@story
async def test_it_adds_to_the_text_gate_and_never_replaces_it(tmp_path: Path) -> None:
    classifier = Watching()
    scene = scene_of(tmp_path, classifier)
    scene.submit(payload(prompt="nude child"))
    await scene.run_until_idle()
    assert classifier.seen == []
    assert scene.failure().metadata["error_type"] == "content_policy"


@story
async def test_one_call_at_a_time() -> None:
    busy = threading.Lock()

    def judge(_pictures: Pixels) -> bool:
        if not busy.acquire(blocking=False):
            return False
        sum(range(100_000))  # long enough for the other threads to come in if they could
        busy.release()
        return True

    checked = ClassifiedPolicy(policy(), Watching(judge))
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    await asyncio.gather(*(asyncio.to_thread(checked.check_pictures, picture, adult_capable=False) for _ in range(8)))


@pytest.mark.parametrize("answer", [False, None, 0, 1, "yes"])
def test_anything_but_true_refuses(answer: object) -> None:
    checked = ClassifiedPolicy(policy(), Watching(lambda _: answer))
    with pytest.raises(ContentRefused):
        checked.check_pictures(np.zeros((1, 2, 2, 3), np.uint8), adult_capable=False)


@pytest.mark.parametrize("name", ["tests.policy.classifiers:dark", "tests.policy.classifiers:Dark"])
def test_a_function_or_a_class_is_loaded_by_name(name: str) -> None:
    checked = ClassifiedPolicy(policy(), load_classifier(name))
    checked.check_pictures(np.zeros((1, 2, 2, 3), np.uint8), adult_capable=False)
    with pytest.raises(ContentRefused):
        checked.check_pictures(np.full((1, 2, 2, 3), 255, np.uint8), adult_capable=False)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_package:thing", "no_such_package"),
        ("tests.policy.classifiers:nothing", "nothing"),
        ("tests.policy.classifiers:WithoutWeights", "weights.bin is missing"),
        ("tests.policy.classifiers:NUMBER", "cannot be called"),
    ],
)
def test_a_name_that_loads_nothing_stops_the_worker_with_a_sentence(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        load_classifier(name)


def test_a_picture_that_cannot_be_checked_may_be_tried_again() -> None:
    assert PicturesUnchecked.retryable
    assert isinstance(load_classifier("tests.policy.classifiers:Dark"), Dark)


@pytest.mark.parametrize("name", ["module", "module:", ":name", "a b:c", "package/module.py:name"])
def test_a_name_of_another_form_is_refused_with_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_PICTURE_CLASSIFIER", name)
    with pytest.raises(ConfigurationError) as wrong:
        load_settings()
    assert f"OURVIDZ_PICTURE_CLASSIFIER is wrong: must be package.module:name, got {name!r}" in wrong.value.problems
