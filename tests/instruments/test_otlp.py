"""Traces that reach a collector, and collectors that no trace reaches."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ourvidz_worker import __version__
from ourvidz_worker.cli import tracing as cli
from ourvidz_worker.cli.tracing import traced
from ourvidz_worker.errors import OutOfMemory
from ourvidz_worker.instruments import tracing
from ourvidz_worker.settings import QwenSettings, read_settings
from tests.instruments.collector import Collector, attributes_of
from tests.runtime.scene import Scene, job_of, payload
from tests.support.commands import ROOT
from tests.support.ports import free_port

PRODUCERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_telemetry_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> QwenSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings(QwenSettings)


def worked(scene: Scene, chosen: QwenSettings) -> list[Mapping[str, Any]]:
    """What was logged about traces while the queue was worked off, traced as a worker does."""

    async def story() -> None:
        async with traced("sdxl", chosen):
            await scene.run_until_idle()

    with capture_logs() as log:
        asyncio.run(story())
    return [entry for entry in log if entry["event"].startswith("traces")]


def test_a_job_is_one_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    scene.engine.failing["job-2"] = OutOfMemory("the card is full of secrets")
    scene.submit(payload("job-1", metadata={"traceparent": PRODUCERS}), payload("job-2"))
    with Collector() as collector:
        chosen = settings(
            monkeypatch,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20key-of-the-collector",
        )
        assert worked(scene, chosen) == []

    assert collector.headers[0]["authorization"] == "Bearer key-of-the-collector"
    assert (
        collector.resources[0]
        | {
            "service.name": "ourvidz_worker",
            "service.version": __version__,
            "ourvidz.worker": "sdxl",
        }
        == collector.resources[0]
    )
    jobs = {attributes_of(span)["job_id"]: span for span in collector.spans if span.name == "job"}
    first, second = jobs["job-1"], jobs["job-2"]
    assert first.trace_id.hex() == PRODUCERS.split("-")[1]
    assert first.parent_span_id.hex() == PRODUCERS.split("-")[2]
    assert attributes_of(first)["num_inference_steps"] == 15
    assert first.kind == first.SPAN_KIND_CONSUMER
    of_first = [span for span in collector.spans if span.parent_span_id == first.span_id]
    assert {span.name for span in of_first} >= {"claim", "wait", "generate", "encode", "upload", "callback"}
    assert {span.trace_id for span in of_first} == {first.trace_id}
    assert not second.parent_span_id
    assert second.trace_id != first.trace_id
    assert second.status.code == second.status.STATUS_CODE_ERROR
    (failed,) = [span for span in collector.spans if span.name == "generate" and span.status.code]
    assert attributes_of(failed.events[0]) == {"exception.type": "OutOfMemory"}
    assert b"secrets" not in b"".join(span.SerializeToString() for span in collector.spans)


def test_a_producer_that_does_not_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(metadata={"traceparent": PRODUCERS[:-2] + "00"}))
    with Collector() as collector:
        assert worked(scene, settings(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)) == []
    assert collector.spans == []
    assert scene.statuses() == ["processing", "completed"]


def test_an_operator_names_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    with Collector() as collector:
        traces = f"{collector.url}/v1/traces"
        worked(scene, settings(monkeypatch, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=traces, OTEL_SERVICE_NAME="pictures"))
    assert collector.resources[0]["service.name"] == "pictures"


def test_a_collector_out_of_reach_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "FLUSH_SECONDS", 0.1)
    scene = Scene(tmp_path)
    scene.submit(*(payload(f"job-{number}") for number in range(5)))
    chosen = settings(
        monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", OTEL_BSP_SCHEDULE_DELAY="5"
    )
    log = worked(scene, chosen)
    assert [entry["event"] for entry in log] == ["traces_not_sent"]
    assert scene.statuses().count("completed") == 5


def test_a_collector_that_refuses_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    with Collector(status=401) as collector:
        chosen = settings(
            monkeypatch,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="5",
            OTEL_EXPORTER_OTLP_HEADERS="x-key=a-secret-of-the-collector",
        )
        (entry,) = worked(scene, chosen)
    assert "401" in entry["problem"]
    assert "a-secret" not in str(entry)


def test_the_end_waits_for_a_silent_collector_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody accepts behind the listening socket."""
    import socket

    monkeypatch.setattr(cli, "FLUSH_SECONDS", 0.1)

    async def story() -> float:
        async with traced("sdxl", chosen):
            tracing.begin_job(job_of(payload()), "sdxl_queue", seconds_ago=0.0)
            tracing.end_job()
            begun = time.monotonic()
        return time.monotonic() - begun

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        chosen = settings(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="20")
        assert asyncio.run(story()) < 15


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
    ids=["no endpoint", "disabled", "no exporter"],
)
def test_where_nobody_wants_traces_there_is_no_tracer(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE} if variables else {}
    chosen = settings(monkeypatch, **endpoint, **variables)

    async def story() -> object:
        async with traced("sdxl", chosen):
            return tracing._installed.tracer

    assert asyncio.run(story()) is None


def test_a_wrong_variable_of_the_sdk_costs_the_traces_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    chosen = settings(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE, OTEL_BSP_MAX_QUEUE_SIZE="-1")
    (entry,) = worked(scene, chosen)
    assert entry["event"] == "traces_not_begun"
    assert scene.statuses() == ["processing", "completed"]
    assert logging.getLogger("opentelemetry").propagate


def test_the_secrets_of_a_collector_are_struck_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(monkeypatch, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20key%2Fof-it, x-scope=1")
    assert {"Bearer%20key%2Fof-it", "Bearer key/of-it", "key/of-it"} <= set(chosen.secrets)
    assert "1" not in chosen.secrets  # it would be struck out of every number


def test_the_sdk_is_not_read_where_it_is_not_wanted() -> None:
    program = (
        "import sys, ourvidz_worker.cli.tracing, ourvidz_worker.cli.probing, ourvidz_worker.runtime.worker\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
