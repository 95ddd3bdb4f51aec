from __future__ import annotations

from pathlib import Path

from ourvidz_worker.runtime.patience import Patience
from tests.runtime.scene import Scene, payload
from tests.support.stories import story
from tests.support.waiting import eventually


def test_an_idle_worker_keeps_to_the_products_interval() -> None:
    patience = Patience(2.0)
    assert [patience.after_nothing() for _ in range(3)] == [2.0, 2.0, 2.0]


def test_a_limit_lets_the_pauses_grow_until_there_is_a_job() -> None:
    patience = Patience(2.0, limit=10.0)
    assert [patience.after_nothing() for _ in range(5)] == [2.0, 4.0, 8.0, 10.0, 10.0]
    patience.worked()
    assert patience.after_nothing() == 2.0


def test_a_limit_below_the_interval_changes_nothing() -> None:
    patience = Patience(5.0, limit=1.0)
    assert [patience.after_nothing() for _ in range(2)] == [5.0, 5.0]


def test_outages_grow_on_their_own() -> None:
    patience = Patience(10.0, limit=20.0)
    assert [patience.after_outage() for _ in range(4)] == [20.0, 40.0, 60.0, 60.0]
    assert patience.after_nothing() == 10.0
    patience.answered()
    assert patience.after_outage() == 20.0


@story
async def test_the_end_of_a_job_ends_a_long_pause(tmp_path: Path) -> None:
    scene = Scene(tmp_path, poll_seconds=1000.0, poll_limit=3000.0)
    scene.submit(payload())
    async with scene.working():
        await scene.idle()
        await eventually(lambda: scene.journal.count("length") == 2, "the poll after the job")
