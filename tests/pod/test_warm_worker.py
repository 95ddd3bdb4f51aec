"""What becomes of a handed job, and what RunPod and the product hear of it, with an engine that misbehaves on cue."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from ourvidz_worker.backend.handed_queue import HandedQueue
from ourvidz_worker.cli import wiring
from ourvidz_worker.cli.serverless.warm_worker import ENDED, Ear, WarmWorker
from ourvidz_worker.cli.wiring import Configuration, build_worker, read_configuration
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.control import ExitCode
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.errors import ConfigurationError, GenerationFailed, PoisonedContext
from ourvidz_worker.settings import ServerlessSettings
from ourvidz_worker.settings.qwen import ModelSelection
from tests.support.commands import PAYLOADS
from tests.support.embedded import RunningBackend
from tests.support.fakes import FakeEncoder, FakeEngine
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return read_configuration(ConfigFiles(None))


@dataclass
class Pod:
    """A warm worker among the product's functions and a fake engine."""

    backend: RunningBackend
    settings: ServerlessSettings
    engine: FakeEngine = field(default_factory=FakeEngine)
    told: list[dict[str, Any]] = field(default_factory=list)
    shortage: str | None = None

    @asynccontextmanager
    async def warm(self) -> AsyncIterator[WarmWorker]:
        queue, ear = HandedQueue("sdxl_queue"), Ear()
        engines = Engines(self.engine, FakeEncoder())
        built = build_worker("sdxl", self.settings, owner="pod-1", announcer=ear, engines=engines, queue=queue)
        worker = WarmWorker(built, queue, ear, profile="2025-07", shortage=lambda: self.shortage)
        try:
            assert await worker.open() is None
            yield worker
        finally:
            self.code = await worker.close()

    def job(self, **changes: Any) -> dict[str, Any]:
        """A recorded job with its rows at the product, which has put it on no queue of ours."""
        payload: dict[str, Any] = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
        payload |= {"id": str(uuid.uuid4()), **changes}
        self.backend.run(self.backend.backend.submit(payload))
        return payload

    async def run(self, worker: WarmWorker, job: Any) -> dict[str, Any]:
        return await worker.run(json.dumps(job), self.told.append)

    def row(self, job: dict[str, Any]) -> dict[str, Any]:
        row = self.backend.backend.job(job["id"])
        assert row is not None
        return row

    def reports(self, job: dict[str, Any]) -> list[str]:
        return [row["status"] for row in self.backend.backend.rows("callbacks", job["id"])]


@pytest.fixture
def pod(backend: RunningBackend, configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    monkeypatch.setattr(wiring, "read_configuration", lambda _files: configuration)  # half a second each time
    for name, value in backend.environment().items():
        if not name.startswith("UPSTASH"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("OURVIDZ_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("OURVIDZ_MODELS", "testcard")
    return Pod(backend, ServerlessSettings())


def told(story: Callable[[Pod], Awaitable[None]]) -> Callable[[Pod], None]:
    def run(pod: Pod) -> None:
        asyncio.run(story(pod))  # type: ignore[arg-type]

    return run


@told
async def test_the_answer_is_the_callbacks_body(pod: Pod) -> None:
    job = pod.job()
    async with pod.warm() as worker:
        answer = await pod.run(worker, job)
    assert (answer["status"], answer["job_id"]) == ("completed", job["id"])
    assert answer["assets"] == [f"{job['user_id']}/{job['id']}_0.png"]
    assert answer["seed"] == answer["metadata"]["seed"]
    assert "error" not in answer
    assert "refresh_worker" not in answer
    assert pod.row(job)["status"] == "completed"
    assert pod.reports(job) == ["processing", "completed"]
    assert {"phase": "generating"} in pod.told
    assert pod.told[-1] == {"phase": "uploading"}
    assert pod.code == ExitCode.OK


@told
async def test_every_spelling_of_a_job_is_taken(pod: Pod) -> None:
    async with pod.warm() as worker:
        for spelled in (json.dumps, lambda job: [json.dumps(job)], lambda job: {"data": json.dumps(job)}):
            answer = await pod.run(worker, spelled(pod.job()))
            assert answer["status"] == "completed", answer
    assert pod.engine.batches == [[request.job.id] for request in pod.engine.requests]


@pytest.mark.parametrize("models", get_args(ModelSelection))
def test_the_content_policy_stands_before_whatever_models_are_chosen(pod: Pod, models: str) -> None:
    async def asked() -> None:
        job = pod.job(prompt="nude child")
        async with pod.warm() as worker:
            answer = await pod.run(worker, job)
        assert answer["metadata"]["error_type"] == "content_policy"
        assert pod.row(job)["status"] == "failed"

    pod.settings = pod.settings.model_copy(update={"models": models})
    asyncio.run(asked())
    assert pod.engine.requests == []


@told
async def test_jobs_run_one_at_a_time(pod: Pod) -> None:
    jobs = [pod.job() for _ in range(3)]
    async with pod.warm() as worker:
        answers = await asyncio.gather(*(pod.run(worker, job) for job in jobs))
    assert [answer["job_id"] for answer in answers] == [job["id"] for job in jobs]
    assert pod.engine.most_at_once == 1


@told
async def test_what_is_wrong_with_a_job_is_one_sentence(pod: Pod) -> None:
    job = pod.job()
    async with pod.warm() as worker:
        answer = await pod.run(worker, {**job, "config": {"num_images": 2}})
        nothing = await pod.run(worker, None)
        elsewhere = await pod.run(worker, pod.job(type="video_fast", bucket="video_fast"))
        good = await pod.run(worker, pod.job())
    assert answer["error"] == "config.num_images must be 1, 3 or 6, got 2"
    assert (answer["status"], answer["metadata"]["retryable"]) == ("failed", False)
    assert pod.row(job)["error_message"] == answer["error"]
    assert nothing == {"error": "element must hold one job object, got None"}
    assert elsewhere["error"].startswith("video_fast jobs belong on wan_queue")
    assert good["status"] == "completed"


@told
async def test_a_failed_generation_leaves_the_worker_warm(pod: Pod) -> None:
    job = pod.job()
    pod.engine.errors.append(GenerationFailed("the sampler stumbled"))
    async with pod.warm() as worker:
        answer = await pod.run(worker, job)
        again = await pod.run(worker, pod.job())
    assert (answer["error"], answer["metadata"]["retryable"]) == ("the sampler stumbled", True)
    assert "refresh_worker" not in answer
    assert again["status"] == "completed"


@told
async def test_a_poisoned_context_refreshes_the_worker_and_the_product_hears_of_it(pod: Pod) -> None:
    job = pod.job()
    pod.engine.errors.append(PoisonedContext("CUDA refuses all further work"))
    async with pod.warm() as worker:
        answer = await pod.run(worker, job)
        late = await pod.run(worker, pod.job())
    assert answer["refresh_worker"] is True
    assert answer["error"] == "CUDA refuses all further work; the worker has ended, run the job again"
    assert late == {"error": ENDED, "refresh_worker": True}
    assert pod.reports(job)[-1] == "failed"
    assert pod.row(job)["error_message"] == answer["error"]
    assert pod.code == ExitCode.POISONED_CONTEXT


@told
async def test_a_job_that_runpod_stops_ends_at_its_next_step(pod: Pod) -> None:
    job = pod.job()
    gate = pod.engine.hold_at(1, job["id"])
    async with pod.warm() as worker:
        running = asyncio.create_task(pod.run(worker, job))
        await gate.reached()
        running.cancel()
        await eventually(lambda: worker._queue._held[0].withdrawn, "the word of the stop")
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pod.row(job)["error_message"] == "the job was cancelled"
        assert (await pod.run(worker, pod.job()))["status"] == "completed"


@told
async def test_a_drained_worker_lets_its_job_finish_and_asks_for_another_pod(pod: Pod) -> None:
    job = pod.job()
    gate = pod.engine.hold_at(1, job["id"])
    async with pod.warm() as worker:
        running = asyncio.create_task(pod.run(worker, job))
        await gate.reached()
        worker.stop()
        gate.open()
        answer = await running
        assert answer["status"] == "completed"
        assert "refresh_worker" in await pod.run(worker, pod.job())


@told
async def test_a_full_spool_is_said_before_anything_is_drawn(pod: Pod) -> None:
    pod.shortage = "the spool /workspace/spool has 3 MiB free"
    async with pod.warm() as worker:
        assert await pod.run(worker, pod.job()) == {"error": pod.shortage}
    assert pod.engine.requests == []


def test_models_that_cannot_be_loaded_are_the_end(pod: Pod) -> None:
    async def story() -> None:
        queue, ear = HandedQueue("sdxl_queue"), Ear()
        pod.engine.load_error = ConfigurationError("the weights are missing")
        engines = Engines(pod.engine, FakeEncoder())
        built = build_worker("sdxl", pod.settings, owner="pod-1", announcer=ear, engines=engines, queue=queue)
        worker = WarmWorker(built, queue, ear, profile="2025-07", shortage=lambda: None)
        assert await worker.open() == ExitCode.CONFIGURATION
        assert await worker.close() == ExitCode.CONFIGURATION

    asyncio.run(story())
