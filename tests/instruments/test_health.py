"""What a worker says of itself through its whole life, and what its orchestrator says of it when it no longer can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from ourvidz_worker.control import Health, Held, Message, WorkerState
from ourvidz_worker.errors import ConfigurationError, Fenced
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.probes.exposition import exposition
from ourvidz_worker.probes.own_view import OwnView
from ourvidz_worker.probes.server import ProbeServer, Subject
from ourvidz_worker.runtime.lease import LeaseTimes
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.supervisor import status as status_module
from ourvidz_worker.supervisor.child import Child, ChildState
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.status import Status
from ourvidz_worker.supervisor.watch import Limits
from tests.instruments.counted import Counted
from tests.runtime.scene import Scene, payload
from tests.supervisor.stage import NEVER_READY, READY, child_of, supervised
from tests.support.fakes import Gate
from tests.support.ports import free_port
from tests.support.waiting import eventually


class Told:
    """A scene whose worker tells its own view."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.view = OwnView("sdxl", Silent(), kind="sdxl")
        scene.worker._announcer = scene.handler._announcer = self.view

    async def becomes(self, state: WorkerState) -> Health:
        await eventually(lambda: self.view.health().state is state, f"the state {state}, not {self.view.health()}")
        return self.view.health()


def test_a_life_from_loading_to_draining(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(Scene(tmp_path))
        engine = told.scene.engine
        assert told.view.health() == Health(WorkerState.STARTING)
        engine.loading = loading = Gate()
        running = asyncio.create_task(told.scene.worker.run())
        health = await told.becomes(WorkerState.LOADING)
        assert (health.live, health.ready) == (True, False)
        loading.open()
        assert (await told.becomes(WorkerState.READY)).ready
        gate = engine.hold_at(1)
        told.scene.submit(payload())
        assert (await told.becomes(WorkerState.BUSY)).ready
        await gate.reached()
        told.scene.worker.stop()
        health = await told.becomes(WorkerState.DRAINING)
        assert (health.live, health.ready) == (True, False)
        gate.open()
        await running
        assert told.view.health().state is WorkerState.DRAINING
        await told.scene._close(running)

    asyncio.run(story())


def test_a_full_spool_is_no_reason_for_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(Scene(tmp_path))
        scene = told.scene
        gate = scene.engine.hold_at(1)
        scene.submit(payload())
        async with scene.working():
            await gate.reached()
            scene.shortage = "the disk is full"
            health = await told.becomes(WorkerState.FAILED)
            assert health == Health(WorkerState.FAILED, "the disk is full")
            assert (health.live, health.ready) == (True, False)
            gate.open()
            await scene.idle()
            assert told.view.health() == health, "the end of a job makes no room"
            scene.shortage = None
            scene.worker._hurried.set()
            assert (await told.becomes(WorkerState.READY)).reason is None

    asyncio.run(story())


def test_a_fenced_worker_is_beyond_help(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(Scene(tmp_path, lease=LeaseTimes(0.3)))
        scene = told.scene
        gate = scene.engine.hold_at(1)
        scene.submit(payload())
        async with scene.ending_with(Fenced):
            await gate.reached()
            scene.redis.leases.clear()
            health = await told.becomes(WorkerState.FAILED)
            gate.open()
        assert health.live is False
        assert "lease" in (told.view.health().reason or "")

    asyncio.run(story())


def test_a_worker_that_nothing_is_taken_from_says_why_it_ends(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(Scene(tmp_path))
        told.scene.reporter.script.fail_next("processing", ConfigurationError("the key is wrong"))
        gate = told.scene.engine.hold_at(2)
        told.scene.submit(payload())
        async with told.scene.ending_with(ConfigurationError):
            gate.open()
            health = await told.becomes(WorkerState.FAILED)
        assert health == Health(WorkerState.FAILED, "the key is wrong")

    asyncio.run(story())


def test_a_lone_worker_that_hangs_is_found_out(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(Scene(tmp_path))
        gate = told.scene.engine.hold_at(1)
        watching = asyncio.create_task(told.view.watch(Limits(step=0.05)))
        told.scene.submit(payload())
        async with told.scene.working():
            await gate.reached()
            health = await told.becomes(WorkerState.FAILED)
            assert health.live is False
            assert "no step for 0.05 s" in (health.reason or "")
            gate.open()
            assert (await told.becomes(WorkerState.READY)).live
        watching.cancel()

    asyncio.run(story())


def test_what_a_worker_measures_of_itself() -> None:
    view = OwnView("sdxl-2", Silent(), kind="sdxl")
    view.announce(Message("state", state=WorkerState.BUSY))
    view.announce(Message("started", job_id="job-1", job_type="sdxl_image_fast", attempt=1))
    view.announce(Message("card", bytes=7_000_000_000, held=(Held("unet", 5_000_000_000, 1, None),)))
    counted = Counted()
    view.measure()
    assert counted.since("ourvidz_worker_state", worker="sdxl-2", state="BUSY") == 1
    assert counted.since("ourvidz_worker_state", worker="sdxl-2") == 1
    assert counted.since("ourvidz_jobs_in_progress", worker="sdxl-2") == 1
    assert counted.since("ourvidz_gpu_worker_bytes", worker="sdxl-2") == 7e9
    assert counted.since("ourvidz_gpu_component_bytes", worker="sdxl-2", component="unet") == 5e9
    view.announce(Message("card", bytes=0, held=()))
    view.measure()
    assert counted.since("ourvidz_gpu_component_bytes", worker="sdxl-2") == 0, "what was evicted is not shown for ever"


def _child(state: ChildState, told: WorkerState, problem: str | None = None) -> Child:
    child = child_of(READY)
    child.state, child.problem, child.view.state = state, problem, told
    return child


@pytest.mark.parametrize(
    ("state", "told", "seen", "live"),
    [
        (ChildState.STARTING, WorkerState.LOADING, WorkerState.LOADING, True),
        (ChildState.RUNNING, WorkerState.BUSY, WorkerState.BUSY, True),
        (ChildState.STOPPING, WorkerState.BUSY, WorkerState.DRAINING, True),
        (ChildState.BACKOFF, WorkerState.BUSY, WorkerState.FAILED, True),
        (ChildState.FATAL, WorkerState.READY, WorkerState.FAILED, False),
    ],
)
def test_the_dead_are_not_taken_for_ready(
    state: ChildState,
    told: WorkerState,
    seen: WorkerState,
    live: bool,  # noqa: FBT001
) -> None:
    health = _child(state, told, "was killed by SIGKILL").health()
    assert (health.state, health.live, health.reason) == (seen, live, "was killed by SIGKILL")


def test_an_orchestrator_lives_as_long_as_one_worker_may_come_back() -> None:
    status = Status(None)
    assert status.health() == Health(WorkerState.STARTING)
    given_up = _child(ChildState.FATAL, WorkerState.READY, "it ended 5 times in a row")
    between = _child(ChildState.BACKOFF, WorkerState.READY, "was killed by SIGKILL")
    status.of([given_up, between])
    assert (status.health().live, status.health().ready) == (True, False)
    assert status.health().reason == "was killed by SIGKILL"
    status.of([given_up])
    assert status.health().live is False
    status.of([given_up, _child(ChildState.RUNNING, WorkerState.READY)])
    assert status.health().ready


def test_an_orchestrator_counts_ends_restarts_and_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("cuda:0", "uuid", "a card", GpuMemory(used_gb=3, total_gb=24))
    monkeypatch.setattr(status_module, "visible_cards", lambda: (card,))

    async def story() -> None:
        child = child_of("ready(); os.kill(os.getpid(), signal.SIGKILL)", name="mortal")
        status = Status(None)
        status.of([child])
        async with supervised(child):
            await eventually(lambda: child.restarts > 0, "a restart")
            status.measure()

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_worker_exits_total", worker="mortal", reason="signal") >= 1
    assert counted.since("ourvidz_worker_restarts_total", worker="mortal") >= 1
    assert counted.since("ourvidz_released_jobs_total", worker="mortal") >= 1
    assert counted.since("ourvidz_worker_last_heard_timestamp_seconds", worker="mortal") > 1.7e9
    assert counted.since("ourvidz_supervised_process_state", worker="mortal") == 1
    assert counted.since("ourvidz_supervised_worker_state", worker="mortal") == 1
    assert counted.since("ourvidz_gpu_memory_total_bytes", device="cuda:0") == 24e9


def test_a_hang_counts_as_one() -> None:
    async def story() -> None:
        child = child_of(NEVER_READY, name="hanging", limits=Limits(load=0.05))
        async with supervised(child):
            await eventually(lambda: child.restarts > 0, "a restart")

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_worker_exits_total", worker="hanging", reason="hang") >= 1


class Ill:
    """A `Subject` in whatever health a test wants."""

    def __init__(self) -> None:
        self.now = Health(WorkerState.READY)

    def health(self) -> Health:
        return self.now

    def as_json(self) -> dict[str, object]:
        return {}

    def measure(self) -> None:
        """Nothing to measure."""

    def preview(self, job_id: str) -> bytes | None:
        return None


def test_the_answers_of_the_probes() -> None:
    async def story() -> None:
        subject = Ill()
        async with _served(subject) as url, aiohttp.ClientSession() as http:

            async def statuses() -> list[int]:
                return [(await http.get(f"{url}/health{path}")).status for path in ("", "/live", "/ready")]

            assert await statuses() == [200, 200, 200]
            subject.now = Health(WorkerState.LOADING)
            assert await statuses() == [200, 200, 503]
            subject.now = Health(WorkerState.FAILED, "the disk is full")
            assert await statuses() == [200, 200, 503]
            subject.now = Health(WorkerState.FAILED, "the lease is lost", beyond_help=True)
            assert await statuses() == [503, 503, 503]
            answer = await http.get(f"{url}/health")
            assert await answer.json() == {"state": "FAILED", "reason": "the lease is lost"}
            answer = await http.get(f"{url}/metrics")
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert b"ourvidz_build_info" in await answer.read()

    asyncio.run(story())


@asynccontextmanager
async def _served(subject: Subject) -> AsyncIterator[str]:
    port = free_port()
    server = ProbeServer(subject, host="127.0.0.1", port=port, metrics=exposition("sdxl", subject.measure))
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop()
