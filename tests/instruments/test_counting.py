"""What a worker counts of the jobs it works on, and of the far side's moods."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from ourvidz_worker.backend.retrying import retrying
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.storage_keys import thumbnail_key
from ourvidz_worker.enhancer.app import build_app
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    EnhancementFailed,
    OutOfMemory,
    QuotaExceeded,
    TooManyWaiting,
)
from ourvidz_worker.instruments.exchanges import outcome_of
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.runtime.lease import LeaseTimes
from tests.instruments.counted import Counted
from tests.runtime.scene import CATALOGUE, Scene, payload
from tests.support.fakes import FakeEnhancer
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from ourvidz_worker.runtime.language.service import PromptService

FAST = "sdxl_image_fast"


def test_a_completed_job(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.encoder.thumbnails = True
    scene.engine._memory = GpuMemory(used_gb=10.5, total_gb=24)
    minute_ago = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    scene.submit(payload(created_at=minute_ago))
    asyncio.run(scene.run_until_idle())

    assert counted.since("ourvidz_jobs_total", job_type=FAST, outcome="completed") == 1
    assert counted.since("ourvidz_job_seconds_count", job_type=FAST) == 1
    assert counted.since("ourvidz_generation_seconds_count", job_type=FAST) == 1
    assert counted.since("ourvidz_generation_expected_ratio_bucket", job_type=FAST, le="0.1") == 1
    assert 60 <= counted.since("ourvidz_queue_wait_seconds_sum", job_type=FAST) < 120
    for stage in ("claim", "references", "wait", "generate", "encode", "upload", "acknowledge"):
        assert counted.since("ourvidz_stage_seconds_count", stage=stage, job_type=FAST) == 1, stage
    assert counted.since("ourvidz_stage_seconds_count", stage="callback", job_type=FAST) == 2
    assert counted.since("ourvidz_claims_total", queue="sdxl_queue", outcome="job") == 1
    assert counted.since("ourvidz_callbacks_total", status="completed", outcome="ok") == 1
    assert counted.since("ourvidz_callbacks_total", status="processing", outcome="ok") == 1
    assert counted.since("ourvidz_uploads_total", media_type="image/png", outcome="ok") == 1
    sizes = {key: len(content) for (_, key), content in scene.store.files.items()}
    small = sizes.pop(thumbnail_key("user-1/job-1_0.png"))
    assert counted.since("ourvidz_uploaded_bytes_total", media_type="image/png") == sum(sizes.values())
    assert counted.since("ourvidz_uploaded_bytes_total", media_type="image/webp") == small
    assert counted.since("ourvidz_gpu_peak_bytes", job_type=FAST) == 10.5e9


def test_failures_count_by_their_type(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.engine.failing["job-2"] = OutOfMemory("the card is full")
    scene.submit(
        payload("job-1", prompt="forbidden"), payload("job-2"), payload("job-3", type="painting"), "no job at all"
    )
    asyncio.run(scene.run_until_idle())

    failed = "ourvidz_job_failures_total"
    assert counted.since(failed, job_type=FAST, error_type="content_policy") == 1
    assert counted.since(failed, job_type=FAST, error_type="out_of_memory") == 1
    assert counted.since(failed, job_type="other", error_type="bad_job") == 1
    assert counted.since("ourvidz_jobs_total", outcome="failed") == 3
    assert counted.since("ourvidz_policy_refusals_total", subject="prompt") == 1
    assert counted.since("ourvidz_dead_letters_total", queue="sdxl_queue") == 1


def test_a_redelivery_did_not_wait_since_it_was_made(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.submit(payload(created_at="2020-01-01T00:00:00Z"), attempt=2)
    asyncio.run(scene.run_until_idle())
    assert counted.since("ourvidz_jobs_total", outcome="completed") == 1
    assert counted.since("ourvidz_queue_wait_seconds_count") == 0


def test_a_producer_whose_clock_is_ahead(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.submit(payload(created_at="9999-12-31T23:59:59-14:00"))
    asyncio.run(scene.run_until_idle())
    assert counted.since("ourvidz_queue_wait_seconds_bucket", le="1.0") == 1
    assert counted.since("ourvidz_queue_wait_seconds_sum") == 0


def test_enhancement_and_what_is_refused_of_it(tmp_path: Path) -> None:
    enhancer = FakeEnhancer("a lighthouse at dusk", "forbidden", EnhancementFailed("no"))
    scene, counted = Scene(tmp_path, queue="wan_queue", enhancer=enhancer), Counted()
    kind = "image7b_fast_enhanced"
    scene.submit(payload("job-1", kind), payload("job-2", kind))
    asyncio.run(scene.run_until_idle())
    assert counted.since("ourvidz_enhancements_total", outcome="rewritten") == 1
    assert counted.since("ourvidz_enhancements_total", outcome="original") == 1
    assert counted.since("ourvidz_policy_refusals_total", subject="rewritten_prompt") == 1
    assert counted.since("ourvidz_stage_seconds_count", stage="enhance", job_type=kind) == 2


def test_what_the_far_side_refuses(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.store.script.fail_next("put", BackendRefused("the bucket is missing"))
    scene.submit(payload())
    asyncio.run(scene.run_until_idle())
    assert counted.since("ourvidz_uploads_total", outcome="refused") == 1
    assert counted.since("ourvidz_uploaded_bytes_total") == 0
    assert counted.since("ourvidz_parked_total", kind="result") == 1
    assert counted.since("ourvidz_job_failures_total", error_type="backend") == 1


def test_a_queue_out_of_reach(tmp_path: Path) -> None:
    scene, counted = Scene(tmp_path), Counted()
    scene.queue.script.fail_next("claim", BackendUnavailable("no answer"))
    scene.submit(payload())
    asyncio.run(scene.run_until_idle())
    assert counted.since("ourvidz_claims_total", queue="sdxl_queue", outcome="unavailable") == 1
    assert counted.since("ourvidz_claims_total", queue="sdxl_queue", outcome="job") == 1


def test_renewals(tmp_path: Path) -> None:
    async def story() -> None:
        scene = Scene(tmp_path, lease=LeaseTimes(0.6))
        scene.queue.script.fail_next("renew", BackendUnavailable("no answer"))
        gate = scene.engine.hold_at(1)
        scene.submit(payload())
        async with scene.working():
            await gate.reached()
            await eventually(lambda: counted.since("ourvidz_lease_renewals_total", outcome="ok") > 0, "a renewal")
            gate.open()
            await scene.idle()

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_lease_renewals_total", outcome="unavailable") == 1


def test_a_full_spool_shows_until_there_is_room(tmp_path: Path) -> None:
    async def story() -> None:
        scene = Scene(tmp_path)
        scene.shortage = "the disk is full"
        async with scene.working():
            await eventually(lambda: counted.since("ourvidz_spool_full", queue="sdxl_queue") == 1, "a full spool")
            scene.shortage = None
            scene.worker._hurried.set()
            await eventually(lambda: counted.since("ourvidz_spool_full", queue="sdxl_queue") == 0, "room again")

    counted = Counted()
    asyncio.run(story())


def test_repeats_count_by_what_is_repeated() -> None:
    async def story() -> None:
        async def no_pause(_seconds: float) -> None:
            """Time flies."""

        failures = iter([BackendUnavailable("1"), BackendUnavailable("2"), None])

        async def call() -> None:
            if failure := next(failures):
                raise failure

        await retrying("upload", {BackendUnavailable: 60.0}, sleep=no_pause)(call)

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_retries_total", operation="upload") == 2


def test_redis_commands_count_by_name_also_when_they_fail() -> None:
    async def story() -> None:
        client = UpstashClient(url="http://127.0.0.1:9", token="t", timeout_seconds=5)
        try:
            with pytest.raises(BackendUnavailable):
                await client.llen("sdxl_queue")
        finally:
            await client.close()

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_redis_commands_total", command="LLEN", outcome="unavailable") == 1


def test_requests_of_the_language_worker_count_by_their_answer() -> None:
    class Refusing:
        async def enhance(self, *_: object, **__: object) -> None:
            raise TooManyWaiting("the line is full")

    async def story() -> None:
        service = cast("PromptService", Refusing())
        app = build_app(service, token="t", time_limit=5, catalogue=CATALOGUE, on_restart=lambda _error: None)
        headers = {"Authorization": "Bearer t"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://qwen") as http:
            await http.post("/enhance", json={"prompt": "a lighthouse", "job_type": FAST}, headers=headers)
            await http.post("/storyboard", json={}, headers=headers)

    counted = Counted()
    asyncio.run(story())
    assert counted.since("ourvidz_language_requests_total", endpoint="enhance", code="503") == 1
    assert counted.since("ourvidz_language_requests_total", endpoint="storyboard", code="400") == 1
    assert counted.since("ourvidz_language_request_seconds_count") == 2


def test_outcomes_are_few_words() -> None:
    errors = [QuotaExceeded("x"), TimeoutError(), BackendRefused("x"), asyncio.CancelledError(), KeyError("x")]
    assert [outcome_of(error) for error in errors] == ["quota", "unavailable", "refused", "cancelled", "error"]
