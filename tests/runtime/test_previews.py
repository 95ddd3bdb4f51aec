"""Pictures of jobs that are still being drawn: when, to whom, and what they may not cost."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from ourvidz_worker.cli import wiring
from ourvidz_worker.control import Message, decode_message, encode_message
from ourvidz_worker.errors import Cancelled
from ourvidz_worker.runtime import previews as previews_module
from ourvidz_worker.runtime.previews import INTERVAL, Previews
from ourvidz_worker.supervisor.worker_view import WorkerView
from tests.runtime.scene import Scene, payload
from tests.support.fakes import Listener
from tests.support.stories import story

PICTURE = np.full((1, 1, 3), 7, np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(previews_module, "time", clock)
    return clock


def encoded(pixels: Any) -> bytes:
    return b"webp of " + bytes(pixels.tobytes())


def showing(scene: Scene) -> Scene:
    scene.studio._previews = Previews(scene.engine.glimpse, encoded, scene.listener)
    return scene


def shown(listener: Listener) -> list[str | None]:
    return [message.job_id for message in listener.messages if message.kind == "preview"]


def request_of(job_id: str) -> Any:
    return SimpleNamespace(job=SimpleNamespace(id=job_id))


def test_at_most_two_a_second_of_each_job(clock: Clock) -> None:
    listener = Listener()
    previews = Previews(lambda _request: PICTURE, encoded, listener)
    first, second = (previews.beside(lambda _done, _total: None, request_of(name)) for name in ("a", "b"))
    first(1, 9)
    first(2, 9)
    second(1, 9)
    clock.now += INTERVAL / 2
    first(3, 9)
    assert shown(listener) == ["a", "b"]
    clock.now += INTERVAL / 2
    first(4, 9)
    assert shown(listener) == ["a", "b", "a"]


def test_a_job_that_stops_is_not_looked_at(clock: Clock) -> None:
    def stop(_done: int, _total: int) -> None:
        raise Cancelled

    listener = Listener()
    step = Previews(lambda _request: PICTURE, encoded, listener).beside(stop, request_of("a"))
    with pytest.raises(Cancelled):
        step(1, 2)
    assert shown(listener) == []


@story
async def test_the_supervisor_gets_the_picture_while_the_job_runs(tmp_path: Path) -> None:
    scene = showing(Scene(tmp_path))
    scene.engine.glimpses["job-1"] = PICTURE
    scene.submit(payload())
    await scene.run_until_idle()
    view = WorkerView()
    for message in scene.listener.messages:
        view.heard(decode_message(encode_message(message)))
        if message.kind == "preview":
            assert view.picture_of("job-1") == encoded(PICTURE)
    assert shown(scene.listener) == ["job-1"]
    assert view.picture_of("job-1") is None
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_jobs_of_one_batch_are_seen_each_by_itself(tmp_path: Path) -> None:
    scene = showing(Scene(tmp_path, most_images=6))
    other = np.full((1, 1, 3), 9, np.uint8)
    scene.engine.glimpses |= {"job-2": PICTURE, "job-3": other}
    held = scene.engine.hold_at(1)
    scene.submit(payload(), payload("job-2"), payload("job-3"))
    async with scene.working():
        await held.reached()
        await scene.waiting("job-2")
        await scene.waiting("job-3")
        held.open()
        await scene.idle()
    assert ["job-2", "job-3"] in scene.engine.batches
    pictures = {m.job_id: b64decode(m.picture or "") for m in scene.listener.messages if m.kind == "preview"}
    assert pictures == {"job-2": encoded(PICTURE), "job-3": encoded(other)}


@story
async def test_a_preview_that_goes_wrong_costs_further_ones_and_nothing_else(tmp_path: Path, clock: Clock) -> None:
    scene = showing(Scene(tmp_path))
    scene.engine.glimpses["job-1"] = RuntimeError("no room")
    scene.submit(payload(), payload("job-2"))
    scene.engine.glimpses["job-2"] = PICTURE
    with capture_logs() as logs:
        await scene.run_until_idle()
    assert scene.statuses().count("completed") == 2
    assert shown(scene.listener) == ["job-2"]
    (line,) = [line for line in logs if line["event"] == "preview_failed"]
    assert (line["job_id"], line["problem"]) == ("job-1", "no room")


def wired(listener: Listener, **settings: str | None) -> Previews | None:
    chosen: Any = SimpleNamespace(**{"previews": "on", "picture_classifier": None, **settings})
    engine: Any = SimpleNamespace(glimpse=lambda _request: PICTURE)
    return wiring._previews(chosen, engine, listener)


def test_only_who_asks_for_them_gets_them() -> None:
    assert wired(Listener(), previews="off") is None
    listener = Listener()
    previews = wired(listener)
    assert previews is not None
    previews.beside(lambda _done, _total: None, request_of("a"))(1, 2)
    (message,) = listener.messages
    assert isinstance(message, Message)
    assert b64decode(message.picture or "")[8:12] == b"WEBP"


def test_nothing_is_shown_that_a_classifier_would_have_to_judge_first() -> None:
    with capture_logs() as logs:
        assert wired(Listener(), picture_classifier="judges.pictures:judge") is None
    (line,) = logs
    assert line["event"] == "previews_off"
    assert "OURVIDZ_PICTURE_CLASSIFIER" in line["reason"]
