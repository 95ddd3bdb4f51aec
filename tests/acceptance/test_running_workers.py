"""Real worker processes on the embedded backend: bad input, faults, signals, and what the product hears of it."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

QUICK = {"OURVIDZ_MODELS": "testcard", "OURVIDZ_SDXL_POLL": "0.05", "OURVIDZ_WAN_POLL": "0.05"}


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return {**payload, **changes}


def fresh(name: str, **changes: Any) -> dict[str, Any]:
    """A recorded payload as a job of its own, for tests that share a backend."""
    return recorded(name, id=str(uuid.uuid4()), **changes)


class Product:
    """The far side as a test looks at it."""

    def __init__(self, backend: RunningBackend) -> None:
        self.backend = backend
        environment = backend.environment()
        self._redis = httpx.Client(
            base_url=environment["UPSTASH_REDIS_REST_URL"],
            headers={"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"},
            timeout=COMMAND_SECONDS,
        )

    def close(self) -> None:
        self._redis.close()

    def redis(self, *command: str) -> Any:
        return self._redis.post("", json=command).raise_for_status().json()["result"]

    def submit(self, payload: Mapping[str, Any] | str) -> str:
        return self.backend.run(self.backend.backend.submit(payload))

    def job(self, job_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            # On the server's own loop, so that no callback is half recorded.
            return self.backend.backend.job(job_id)

        row = self.backend.run(look())
        assert row is not None
        return row

    def over(self, job_id: str, status: str = "completed") -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["status"] == status, f"job {job_id} {status}", seconds=COMMAND_SECONDS)
        return self.job(job_id)

    def reports(self, job_id: str) -> list[str]:
        return [row["status"] for row in self.backend.backend.rows("callbacks", job_id)]

    def last_metadata(self, job_id: str) -> dict[str, Any]:
        metadata: dict[str, Any] = json.loads(self.backend.backend.rows("callbacks", job_id)[-1]["body"])["metadata"]
        return metadata

    def dead(self, queue: str) -> int:
        """How many dead letters there are."""
        return int(self.redis("LLEN", f"{queue}:dead"))

    def nothing_left(self, queue: str) -> bool:
        return not self.redis("LLEN", queue) and not self.redis("KEYS", f"{queue}:held:*")


@pytest.fixture(scope="module")
def shared_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as backend:
        product = Product(backend)
        yield product
        product.close()


@pytest.fixture(scope="class")
def product(shared_product: Product) -> Product:
    """As if newly started, for each class and for each test outside of them."""
    shared_product.backend.clear()
    return shared_product


def environment(product: Product, tmp_path: Path, **changes: str) -> dict[str, str]:
    return {**product.backend.environment(), **QUICK, "OURVIDZ_SPOOL": str(tmp_path / "spool"), **changes}


@pytest.fixture(scope="class")
def worker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="class")
def sdxl(product: Product, worker_folder: Path) -> Iterator[RunningCommand]:
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment(product, worker_folder)) as command:
        yield command
        assert command.stop() == 0


@pytest.mark.usefixtures("sdxl")
class TestOneWorker:
    """Everything that may come to a worker, and the worker lives on."""

    def test_a_job_goes_from_the_queue_to_the_callback(self, product: Product, worker_folder: Path) -> None:
        job_id = product.submit(fresh("sdxl_image_fast.seed_6"))
        job = product.over(job_id)
        assert product.reports(job_id) == ["processing", "completed"]
        assert len(job["assets"]) == 6
        for asset in job["assets"]:
            picture = httpx.get(product.backend.url + asset["url"], timeout=COMMAND_SECONDS)
            assert picture.content.startswith(b"\x89PNG")
        wait_until(lambda: product.nothing_left("sdxl_queue"), "the acknowledgement")
        spool = worker_folder / "spool"
        wait_until(lambda: not [path for path in spool.rglob("*") if path.is_file()], "an empty spool")

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
        self, changes: dict[str, Any], said: str, product: Product, sdxl: RunningCommand
    ) -> None:
        good = fresh("sdxl_image_fast")
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
    def test_a_malformed_element_is_kept_with_its_reason(
        self, element: str, product: Product, sdxl: RunningCommand
    ) -> None:
        raw = element.encode("utf-8", "surrogateescape")
        before = product.dead("sdxl_queue")
        product.backend.run(product.backend.backend._redis.execute([b"LPUSH", b"sdxl_queue", raw]))
        wait_until(lambda: product.dead("sdxl_queue") == before + 1, "the dead letter")
        letter = json.loads(product.redis("LINDEX", "sdxl_queue:dead", "0"))
        assert letter["element"].encode("utf-8", "surrogateescape") == raw
        assert letter["reason"]
        product.over(product.submit(fresh("sdxl_image_fast")))
        assert sdxl.process.poll() is None

    def test_a_refused_prompt_never_reaches_the_model(self, product: Product, sdxl: RunningCommand) -> None:
        job_id = product.submit(fresh("sdxl_image_fast", prompt="nude 12 year old"))
        product.over(job_id, "failed")
        assert product.reports(job_id) == ["failed"]
        assert product.last_metadata(job_id)["error_type"] == "content_policy"
        next_id = product.submit(fresh("sdxl_image_fast"))
        sdxl.wait_for("job_completed", job_id=next_id)  # by then all is read that was logged on the refused one
        assert sdxl.saw("job_refused", job_id=job_id)
        assert "year" not in sdxl.log()

    def test_a_missing_bucket_fails_the_job_with_its_name(self, product: Product) -> None:
        product.backend.backend._database.delete("buckets", "id = ?", ["sdxl_image_high"])
        job_id = product.submit(fresh("sdxl_image_high"))
        assert "sdxl_image_high" in product.over(job_id, "failed")["error_message"]

    def test_a_reference_that_cannot_be_used_fails_the_job(self, product: Product) -> None:
        """A reference that cannot be loaded is never quietly ignored."""
        payload = fresh("sdxl_image_fast.style_reference_3")
        payload["metadata"]["reference_image_url"] = f"reference_images/{payload['user_id']}/missing.png"
        job_id = product.submit(payload)
        job = product.over(job_id, "failed")
        assert "reference_image_url" in job["error_message"]
        assert product.last_metadata(job_id)["error_type"] == "reference"

    def test_a_late_row_is_waited_for(self, product: Product) -> None:
        """A row that is linked late: "a real race: jobs are queued first", so the worker waits for it."""
        backend = product.backend
        job_id = backend.run(backend.backend.submit(fresh("sdxl_image_fast"), link=False))
        wait_until(lambda: "completed" in product.reports(job_id), "the first refused report")
        assert product.job(job_id)["status"] != "completed"
        backend.backend.link(job_id)
        product.over(job_id)

    def test_submit_waits_for_its_result(self, product: Product) -> None:
        result = run_command(
            "submit", "sdxl_image_fast", "--prompt", "a lighthouse", "--images", "3", "--seed", "7", "--wait", "--json",
            environment=product.backend.environment(),
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        job = json.loads(result.stdout)
        assert job["status"] == "completed"
        assert product.last_metadata(job["id"])["seeds"] == [7, 8, 9]


class Pod:
    """An orchestrator with a WAN worker on tiny models, and what its status file says of the jobs."""

    def __init__(self, product: Product, folder: Path) -> None:
        self._status_file = folder / "status.json"
        settings = {
            "OURVIDZ_MODELS": "tiny",
            "OURVIDZ_WORKERS": "wan",
            "OURVIDZ_WAN_RESTART_DELAY": "0.1",
            "OURVIDZ_GRACE_PERIOD": "0",
            "OURVIDZ_LEASE": "9",
            "OURVIDZ_STATUS_FILE": str(self._status_file),
        }
        self.orchestrator = RunningCommand(["orchestrator.py"], environment(product, folder, **settings))

    def wait_for_a_step(self, job_id: str) -> None:
        wait_until(lambda: self._step(job_id) > 0, "the first denoising steps", seconds=COMMAND_SECONDS)

    def worker(self) -> dict[str, Any]:
        workers: dict[str, dict[str, Any]] = json.loads(self._status_file.read_text())["workers"]
        return workers["wan"]

    def _step(self, job_id: str) -> int:
        if not self._status_file.exists():
            return 0
        return max((int(job["step"]) for job in self.worker()["jobs"] if job["id"] == job_id), default=0)


@pytest.fixture(scope="class")
def pod(product: Product, worker_folder: Path) -> Iterator[Pod]:
    pod = Pod(product, worker_folder)
    with pod.orchestrator:
        yield pod


class TestInMidGeneration:
    """One pod for all, which the last test stops: its models take their time to load."""

    def test_a_cancelled_job_stops_and_the_next_one_runs(self, product: Product, pod: Pod) -> None:
        long = fresh("video_high")
        long["config"]["sample_steps"] = 100
        cancelled = product.submit(long)
        pod.wait_for_a_step(cancelled)
        product.redis("SET", f"worker:cancel:{cancelled}", "1", "EX", "60")
        assert product.over(cancelled, "failed")["error_message"] == "the job was cancelled"
        product.over(product.submit(fresh("image_fast")))
        assert product.reports(cancelled) == ["processing", "failed"]
        assert product.last_metadata(cancelled)["error_type"] == "cancelled"
        held = {component["name"] for component in pod.worker()["card"]["components"]}
        assert held == {"transformer", "vae", "text_encoder"}
        wait_until(lambda: product.nothing_left("wan_queue"), "the acknowledgements")

    def test_a_killed_worker_loses_no_job(self, product: Product, pod: Pod) -> None:
        """A kill -9: the orchestrator hands the job back at once and starts the worker again."""
        long = fresh("image_high")  # over sooner than a clip when it is drawn again
        long["config"]["sample_steps"] = 100
        job_id = product.submit(long)
        pod.wait_for_a_step(job_id)
        os.kill(pod.worker()["pid"], signal.SIGKILL)
        pod.orchestrator.wait_for("jobs_released", jobs=1)
        product.over(job_id)
        assert product.last_metadata(job_id)["attempt"] == 2
        wait_until(lambda: product.nothing_left("wan_queue"), "the acknowledgement")

    def test_a_stopped_orchestrator_hands_its_job_back(self, product: Product, pod: Pod) -> None:
        """SIGTERM with no grace left: the job goes back to the queue as the producer's own bytes."""
        element = json.dumps(fresh("video_fast"))
        job_id = product.submit(element)
        pod.wait_for_a_step(job_id)
        assert pod.orchestrator.stop() == 0
        assert product.redis("LRANGE", "wan_queue", "0", "-1") == [element]
        assert product.redis("KEYS", "wan_queue:held:*") == []


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


def test_a_spool_that_cannot_be_written_stops_claiming_and_recovers_by_itself(product: Product, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("in the way")
    job_id = product.submit(recorded("sdxl_image_fast"))
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment(product, tmp_path)) as worker:
        worker.wait_for("spool_full")
        assert product.redis("LLEN", "sdxl_queue") == 1
        spool.unlink()
        worker.wait_for("spool_recovered")
        product.over(job_id)
