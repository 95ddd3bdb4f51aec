"""Clips that are encoded while they are still decoded."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ourvidz_worker.errors import BackendUnavailable, OutOfMemory, OutputInvalid
from tests.runtime.scene import Scene, payload
from tests.support.fakes import OneWordPolicy
from tests.support.stories import story

CLIP = payload("job-1", "video_fast", config={"frame_num": 81, "seed": 7})


def nothing_is_left(scene: Scene) -> bool:
    return scene.spool.sweep(0) == []


@story
async def test_the_encoder_gets_what_was_filmed_on_the_way(tmp_path: Path) -> None:
    scene = Scene(tmp_path, queue="wan_queue")
    scene.submit(CLIP)
    await scene.run_until_idle()
    (footage,) = scene.encoder.footage
    assert scene.encoder.used == [footage]
    assert (footage.frames, footage.discarded) == (81, False)
    assert scene.statuses() == ["processing", "completed"]
    assert nothing_is_left(scene)


@story
async def test_stills_are_not_filmed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.encoder.used == [None]


@story
async def test_a_clip_that_cannot_be_filmed_is_encoded_afterwards(tmp_path: Path) -> None:
    scene = Scene(tmp_path, queue="wan_queue")
    scene.encoder.film_error = OSError(errno.ENOSPC, "No space left on device")
    scene.submit(CLIP)
    await scene.run_until_idle()
    assert scene.encoder.used == [None]
    assert scene.statuses() == ["processing", "completed"]


@pytest.mark.parametrize("trouble", ["generation", "encoder", "policy"])
@story
async def test_a_clip_that_comes_to_nothing_leaves_nothing_behind(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, queue="wan_queue")
    match trouble:
        case "generation":
            scene.engine.failing["job-1"] = OutOfMemory("the card is full")
        case "encoder":
            scene.encoder.errors = [OutputInvalid("the clip does not decode")]
        case "policy":
            refused = OutputInvalid("the pictures are refused")
            monkeypatch.setattr(OneWordPolicy, "check_pictures", lambda *_, **__: (_ for _ in ()).throw(refused))
    scene.submit(CLIP)
    await scene.run_until_idle()
    assert [footage.discarded for footage in scene.encoder.footage] == [True]
    assert scene.statuses() == ["processing", "failed"]
    assert nothing_is_left(scene)


@story
async def test_a_clip_whose_start_was_not_confirmed_is_not_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path, queue="wan_queue", steps=1)
    scene.submit(CLIP)
    scene.queue.script.fail_next("begin", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    *abandoned, delivered = [footage.discarded for footage in scene.encoder.footage]
    assert all(abandoned)
    assert not delivered
    assert scene.statuses() == ["processing", "completed"]
    assert nothing_is_left(scene)


@story
async def test_what_waits_for_room_on_the_disk_keeps_its_footage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ourvidz_worker.runtime.endings.NO_ROOM_PAUSE", 0.001)
    scene = Scene(tmp_path, queue="wan_queue")
    scene.encoder.errors = [OSError(errno.ENOSPC, "No space left on device")]
    scene.submit(CLIP)
    await scene.run_until_idle()
    assert scene.encoder.used == scene.encoder.footage * 2
    assert scene.statuses() == ["processing", "completed"]
