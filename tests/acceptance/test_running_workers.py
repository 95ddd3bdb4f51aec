"""Real worker processes on the embedded backend: bad input, faults, signals, and what the product hears of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.commands import PAYLOADS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

QUICK = {"OURVIDZ_MODELS": "testcard", "OURVIDZ_SDXL_POLL": "0.05", "OURVIDZ_WAN_POLL": "0.05"}


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return {**payload, **changes}


class Product:
    """The far side as a test looks at it."""

    def __init__(self, backend: RunningBackend) -> None:
        self.backend = backend
        environment = backend.environment()
        self._redis = httpx.Client(
            base_url=environment["UPSTASH_REDIS_REST_URL"],
            headers={"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"},
        )

    def close(self) -> None:
        self._redis.close()

    def redis(self, *command: str) -> Any:
        return self._redis.post("", json=command).raise_for_status().json()["result"]

    def submit(self, payload: Mapping[str, Any]) -> str:
        return self.backend.run(self.backend.backend.submit(payload))

    def job(self, job_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            # On the server's own loop, so that no callback is half recorded.
            return self.backend.backend.job(job_id)

        row = self.backend.run(look())
        assert row is not None
        return row

    def over(self, job_id: str, status: str = "completed", *, seconds: float = 60) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["status"] == status, f"job {job_id} {status}", seconds=seconds)
        return self.job(job_id)

    def reports(self, job_id: str) -> list[str]:
        return [row["status"] for row in self.backend.backend.rows("callbacks", job_id)]

    def last_metadata(self, job_id: str) -> dict[str, Any]:
        metadata: dict[str, Any] = json.loads(self.backend.backend.rows("callbacks", job_id)[-1]["body"])["metadata"]
        return metadata

    def nothing_left(self, queue: str) -> bool:
        return not self.redis("LLEN", queue) and not self.redis("KEYS", f"{queue}:held:*")


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with RunningBackend(tmp_path / "backend") as backend:
        product = Product(backend)
        yield product
        product.close()


def environment(product: Product, tmp_path: Path, **changes: str) -> dict[str, str]:
    return {**product.backend.environment(), **QUICK, "OURVIDZ_SPOOL": str(tmp_path / "spool"), **changes}


@pytest.fixture
def sdxl(product: Product, tmp_path: Path) -> Iterator[RunningCommand]:
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment(product, tmp_path)) as command:
        yield command


def test_a_job_goes_from_the_queue_to_the_callback(product: Product, sdxl: RunningCommand, tmp_path: Path) -> None:
    job_id = product.submit(recorded("sdxl_image_fast.seed_6"))
    job = product.over(job_id)
    assert product.reports(job_id) == ["processing", "completed"]
    assert len(job["assets"]) == 6
    for asset in job["assets"]:
        picture = httpx.get(product.backend.url + asset["url"])
        assert picture.content.startswith(b"\x89PNG")
    wait_until(lambda: product.nothing_left("sdxl_queue"), "the acknowledgement")
    wait_until(lambda: not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()], "an empty spool")
    assert sdxl.stop() == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"num_images": 2}}, "config.num_images must be 1, 3 or 6, got 2"),
        ({"user_id": "../../etc"}, "user_id may hold only letters"),
        ({"prompt": "", "metadata": None}, "prompt is empty"),
        ({"prompt": 7}, "prompt must be a string"),
        ({"metadata": "text"}, "metadata must be an object"),
        ({"config": {"seed": "abc"}}, "config.seed must be a whole number"),
        ({"type": "video_fast"}, "video_fast jobs belong on wan_queue"),
        ({"type": "flux_image"}, "type must be one of sdxl_image_fast"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_field_fails_the_job_with_its_name(
    changes: dict[str, Any], said: str, product: Product, sdxl: RunningCommand
) -> None:
    good = recorded("sdxl_image_fast")
    job_id = product.submit(good)
    product.over(job_id)
    product.redis("LPUSH", "sdxl_queue", json.dumps({**good, **changes}))
    job = product.over(job_id, "failed")
    assert said in job["error_message"]
    assert product.last_metadata(job_id)["error_type"] == "bad_job"
    assert product.last_metadata(job_id)["retryable"] is False
    wait_until(lambda: product.nothing_left("sdxl_queue"), "the acknowledgement")
    assert sdxl.process.poll() is None


@pytest.mark.parametrize(
    "element", ["{broken", "[]", "42", '"text"', "[[[[[[{}]]]]]]", '{"type": "sdxl_image_fast"}', "é\udc80"]
)
def test_a_malformed_element_is_kept_with_its_reason(element: str, product: Product, sdxl: RunningCommand) -> None:
    raw = element.encode("utf-8", "surrogateescape")
    product.backend.run(product.backend.backend._redis.execute([b"LPUSH", b"sdxl_queue", raw]))
    wait_until(lambda: product.redis("LLEN", "sdxl_queue:dead") == 1, "the dead letter")
    letter = json.loads(product.redis("LINDEX", "sdxl_queue:dead", "0"))
    assert letter["element"].encode("utf-8", "surrogateescape") == raw
    assert letter["reason"]
    product.over(product.submit(recorded("sdxl_image_fast")))
    assert sdxl.process.poll() is None


def test_a_refused_prompt_never_reaches_the_model(product: Product, sdxl: RunningCommand) -> None:
    job_id = product.submit(recorded("sdxl_image_fast", prompt="nude 12 year old"))
    product.over(job_id, "failed")
    assert product.reports(job_id) == ["failed"]
    assert product.last_metadata(job_id)["error_type"] == "content_policy"
    assert "year" not in sdxl.log()


def test_a_missing_bucket_fails_the_job_with_its_name(product: Product, sdxl: RunningCommand) -> None:
    product.backend.backend._database.delete("buckets", "id = ?", ["sdxl_image_fast"])
    job_id = product.submit(recorded("sdxl_image_fast"))
    assert "sdxl_image_fast" in product.over(job_id, "failed")["error_message"]


def test_a_reference_that_cannot_be_used_fails_the_job(product: Product, sdxl: RunningCommand) -> None:
    """A reference that cannot be loaded is never quietly ignored."""
    payload = recorded("sdxl_image_fast.style_reference_3")
    payload["metadata"]["reference_image_url"] = f"reference_images/{payload['user_id']}/missing.png"
    job_id = product.submit(payload)
    job = product.over(job_id, "failed")
    assert "reference_image_url" in job["error_message"]
    assert product.last_metadata(job_id)["error_type"] == "reference"


def test_a_late_row_is_waited_for(product: Product, sdxl: RunningCommand) -> None:
    """A row that is linked late: "a real race: jobs are queued first", so the worker waits for it."""
    backend = product.backend
    job_id = backend.run(backend.backend.submit(recorded("sdxl_image_fast"), link=False))
    wait_until(lambda: "completed" in product.reports(job_id), "the first refused report", seconds=30)
    assert product.job(job_id)["status"] != "completed"
    backend.backend.link(job_id)
    product.over(job_id)


def test_a_wrong_token_is_a_configuration_error(product: Product, tmp_path: Path) -> None:
    result = run_command("sdxl", environment=environment(product, tmp_path, UPSTASH_REDIS_REST_TOKEN="wrong-token"))
    assert result.returncode == 78
    assert "UPSTASH_REDIS_REST_TOKEN" in result.stderr
    assert "wrong-token" not in result.stderr


def test_a_wrong_service_key_is_a_configuration_error_and_loses_no_job(product: Product, tmp_path: Path) -> None:
    """Nobody can be told of any job, so they stay on the queue, and no more of them are taken."""
    product.submit(recorded("sdxl_image_fast"))
    product.submit(recorded("sdxl_image_high"))
    elements = product.redis("LRANGE", "sdxl_queue", "0", "-1")
    wrong = environment(product, tmp_path, SUPABASE_SERVICE_KEY="not-the-key")
    result = run_command("sdxl", environment=wrong)
    assert result.returncode == 78
    assert "SUPABASE_SERVICE_KEY" in result.stderr
    assert "not-the-key" not in result.stderr
    assert sorted(product.redis("LRANGE", "sdxl_queue", "0", "-1")) == sorted(elements)


def test_submit_waits_for_its_result(product: Product, sdxl: RunningCommand) -> None:
    result = run_command(
        "submit", "sdxl_image_fast", "--prompt", "a lighthouse", "--images", "3", "--seed", "7", "--wait", "--json",
        environment=product.backend.environment(),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    job = json.loads(result.stdout)
    assert job["status"] == "completed"
    assert product.last_metadata(job["id"])["seeds"] == [7, 8, 9]


def test_submit_of_an_unknown_type_says_so(product: Product) -> None:
    result = run_command("submit", "flux", "--prompt", "x", environment=product.backend.environment())
    assert result.returncode == 1
    assert "Invalid job type" in result.stderr


def test_a_killed_worker_loses_no_job(product: Product, tmp_path: Path) -> None:
    """A kill -9 in mid-generation: the orchestrator hands the job back at once and starts the worker again."""
    tiny = environment(product, tmp_path, OURVIDZ_MODELS="tiny", OURVIDZ_WORKERS="wan", OURVIDZ_WAN_RESTART_DELAY="0.1")
    status_file = tmp_path / "status.json"
    tiny["OURVIDZ_STATUS_FILE"] = str(status_file)
    job_id = product.submit(recorded("video_fast"))
    with RunningCommand(["orchestrator.py"], tiny) as orchestrator:
        wait_until(lambda: running_step(status_file) > 0, "the first denoising steps", seconds=90)
        pid = json.loads(status_file.read_text())["workers"]["wan"]["pid"]
        os.kill(pid, signal.SIGKILL)
        orchestrator.wait_for("jobs_released", jobs=1)
        product.over(job_id, seconds=120)
        assert product.last_metadata(job_id)["attempt"] == 2
        assert orchestrator.stop() == 0
    assert product.nothing_left("wan_queue")


def test_a_stopped_orchestrator_hands_its_job_back(product: Product, tmp_path: Path) -> None:
    """SIGTERM with no grace left: the job goes back to the queue as the producer's own bytes."""
    tiny = environment(product, tmp_path, OURVIDZ_MODELS="tiny", OURVIDZ_WORKERS="wan", OURVIDZ_GRACE_PERIOD="0")
    status_file = tmp_path / "status.json"
    tiny["OURVIDZ_STATUS_FILE"] = str(status_file)
    product.submit(recorded("video_fast"))
    element = product.redis("LINDEX", "wan_queue", "0")
    with RunningCommand(["orchestrator.py"], tiny) as orchestrator:
        wait_until(lambda: running_step(status_file) > 0, "the first denoising steps", seconds=90)
        assert orchestrator.stop() == 0
    assert product.redis("LRANGE", "wan_queue", "0", "-1") == [element]
    assert product.redis("KEYS", "wan_queue:held:*") == []


def test_a_cancelled_job_stops_in_its_generation_and_the_next_one_runs(product: Product, tmp_path: Path) -> None:
    status_file = tmp_path / "status.json"
    tiny = environment(product, tmp_path, OURVIDZ_MODELS="tiny", OURVIDZ_WORKERS="wan", OURVIDZ_LEASE="3")
    tiny["OURVIDZ_STATUS_FILE"] = str(status_file)
    long = recorded("video_high")
    long["config"]["sample_steps"] = 100
    cancelled = product.submit(long)
    with RunningCommand(["orchestrator.py"], tiny) as orchestrator:
        wait_until(lambda: running_step(status_file) > 0, "the first denoising steps", seconds=90)
        product.redis("SET", f"worker:cancel:{cancelled}", "1", "EX", "60")
        assert product.over(cancelled, "failed")["error_message"] == "the job was cancelled"
        product.over(product.submit(recorded("image_fast")), seconds=90)
        assert orchestrator.stop() == 0
    assert product.reports(cancelled) == ["processing", "failed"]
    assert product.last_metadata(cancelled)["error_type"] == "cancelled"
    assert product.nothing_left("wan_queue")


def test_a_spool_that_cannot_be_written_stops_claiming_and_recovers_by_itself(product: Product, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("in the way")
    job_id = product.submit(recorded("sdxl_image_fast"))
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment(product, tmp_path)) as worker:
        worker.wait_for("spool_full")
        assert product.redis("LLEN", "sdxl_queue") == 1
        spool.unlink()
        product.over(job_id)
        assert worker.saw("spool_recovered")


def running_step(status_file: Path) -> int:
    if not status_file.exists():
        return 0
    workers = json.loads(status_file.read_text())["workers"].values()
    return max((int(job["step"]) for worker in workers for job in worker["jobs"]), default=0)
