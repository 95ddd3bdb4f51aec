"""One trace for each attempt at a job: what is in it, what never is, and where it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import structlog

from ourvidz_worker.backend.exchange import ExchangeTransport
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.errors import Drained, OutOfMemory
from ourvidz_worker.instruments import tracing
from ourvidz_worker.instruments.stages import stage
from ourvidz_worker.instruments.tracing import Attributes
from tests.instruments.recorded_traces import KeptSpan, kept_traces
from tests.runtime.scene import Scene, job_of, payload
from tests.support.fakes import FakeEnhancer, FakeReporter, Script
from tests.support.scripted_rest import ScriptedRest

PRODUCERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_way_of_a_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    job = traces.one("job")
    assert job.attributes == {
        "job_id": "job-1",
        "job_type": "sdxl_image_fast",
        "queue": "sdxl_queue",
        "attempt": 1,
        "num_images": 1,
        "num_inference_steps": 15,
        "outcome": "completed",
    }
    parts = [span for span in traces.spans if span is not job]
    assert {span.parent for span in parts} == {job}
    assert [span.attributes.get("outcome") for span in traces.named("callback")] == ["processing", "completed"]
    names = [span.name for span in parts if span.name != "callback"]
    assert names == ["claim", "references", "wait", "generate", "encode", "upload", "acknowledge"]
    assert not any(span.failures for span in traces.spans)
    _assert_in_time(traces.spans)


def test_an_enhanced_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path, queue="wan_queue", enhancer=FakeEnhancer("a lighthouse in a storm"))
    scene.submit(payload("job-1", "video7b_fast_enhanced"))
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    assert traces.one("enhance").parent is traces.one("job")


def test_a_failure_is_recorded_by_its_kind_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.engine.failing["job-1"] = OutOfMemory("a sentence that may hold anything")
    scene.submit(payload())
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    assert traces.one("generate").failures == ["OutOfMemory"]
    assert traces.one("generate").attributes == {"error_type": "out_of_memory"}
    job = traces.one("job")
    assert (job.attributes["outcome"], job.attributes["error_type"]) == ("failed", "out_of_memory")
    assert job.failures == ["out_of_memory"]
    _assert_in_time(traces.spans)


def test_a_job_that_is_handed_back(tmp_path: Path) -> None:
    async def story() -> None:
        scene = Scene(tmp_path, grace_period=0.0)
        gate = scene.engine.hold_at(1)
        scene.submit(payload())
        async with scene.working():
            await gate.reached()
            scene.worker.stop()
            await scene.told_to_stop()
            gate.open()

    with kept_traces() as traces:
        asyncio.run(story())
    assert traces.one("job").attributes["outcome"] == "requeued"
    assert traces.one("generate").failures == [Drained.__name__]
    _assert_in_time(traces.spans)


def test_each_job_of_a_shared_batch_has_its_own_trace(tmp_path: Path) -> None:
    async def story() -> None:
        scene = Scene(tmp_path, most_images=3)
        gate = scene.engine.hold_at(1)
        scene.submit(payload("job-1"), payload("job-2"), payload("job-3"))
        async with scene.working():
            await gate.reached()
            await scene.waiting("job-3")
            gate.open()
            await scene.idle()

    with kept_traces() as traces:
        asyncio.run(story())
    assert {span.attributes["job_id"] for span in traces.named("job")} == {"job-1", "job-2", "job-3"}
    assert {span.trace_id for span in traces.named("generate")} == {span.trace_id for span in traces.named("job")}
    _assert_in_time(traces.spans)


def test_nothing_of_what_a_user_wrote_is_in_a_trace(tmp_path: Path) -> None:
    private = {
        "prompt": "a secret lighthouse",
        "negative_prompt": "a secret storm",
        "user_id": "user-secret",
        "config": {"num_images": 1, "seed": 7, "reference_image_url": "reference_images/user-secret/a.png"},
    }
    scene = Scene(tmp_path)
    scene.submit(payload("job-1", **private), payload("job-2", **(private | {"prompt": "forbidden secret"})))
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    assert {span.attributes["outcome"] for span in traces.named("job")} == {"completed", "failed"}
    told = json.dumps([[span.name, span.attributes, span.failures] for span in traces.spans])
    assert "secret" not in told
    assert {name for span in traces.spans for name in span.attributes} <= get_type_hints(Attributes).keys()


def test_the_trace_of_a_producer_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(metadata={"traceparent": PRODUCERS}))
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    assert traces.one("job").traceparent_before == PRODUCERS
    assert {span.trace_id for span in traces.spans} == {PRODUCERS.split("-")[1]}


def test_what_is_no_traceparent_begins_a_trace() -> None:
    values: tuple[object, ...] = (
        None, 7, [], "", "00-abc-def-01", PRODUCERS.upper(), PRODUCERS + "\n", "ff" + PRODUCERS[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    )  # fmt: skip
    for value in values:
        assert job_of(payload(metadata={"traceparent": value})).traceparent is None, value
    assert job_of(payload(metadata={"traceparent": PRODUCERS})).traceparent == PRODUCERS


def test_log_lines_carry_the_trace(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []

    class Watching(FakeReporter):
        async def report(self, callback: Callback) -> None:
            seen.append(structlog.contextvars.get_contextvars())
            await super().report(callback)

    scene = Scene(tmp_path)
    scene.courier._reporter = Watching(Script(scene.journal))
    scene.submit(payload())
    with kept_traces() as traces:
        asyncio.run(scene.run_until_idle())
    assert {names["trace_id"] for names in seen} == {traces.one("job").trace_id}


def test_without_a_tracer_nothing_is_sent_on_and_no_line_carries_a_trace(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(metadata={"traceparent": PRODUCERS}))
    asyncio.run(scene.run_until_idle())
    assert tracing.headers() == {}
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_the_trace_goes_on_with_reports_and_uploads() -> None:
    async def story(url: str) -> None:
        reporter = CallbackReporter(url=url, service_key="key")
        async with httpx.AsyncClient(transport=ExchangeTransport()) as uploads:
            tracing.begin_job(job_of(payload()), "sdxl_queue", seconds_ago=0.0)
            with stage("callback"):
                await reporter.report(Callback("job-1", "processing"))
            with stage("upload"):
                await uploads.post(f"{url}/storage/v1/object/bucket/key", content=b"a picture")
        await reporter.close()

    with ScriptedRest() as far, kept_traces() as traces:
        far.answer(httpx.Response(200, json={"success": True}))
        asyncio.run(story(far.url))
        sent = [headers["traceparent"] for headers in far.headers]
    assert sent == [traces.one("callback").traceparent, traces.one("upload").traceparent]


def _assert_in_time(spans: list[KeptSpan]) -> None:
    """Each span ended, and within its parent."""
    for span in spans:
        assert span.ended is not None, span.name
        assert span.begun <= span.ended
        if span.parent is not None:
            assert span.parent.begun <= span.begun + 0.001, span.name
