"""The language worker as a real process: alone, in a pod of its own, and beside the workers that ask it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.control import ExitCode
from tests.acceptance.test_running_workers import Product, environment, recorded
from tests.support.commands import COMMAND_SECONDS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.ports import free_port
from tests.support.processes import is_gone
from tests.support.waiting import wait_until

TOKEN = "qwen-token-J8sN4wQz71Rk"
QWEN = ["-m", "ourvidz_worker", "qwen"]
SLOW = ["-m", "tests.support.troubled_qwen", "qwen"]
ORCHESTRATOR = ["orchestrator.py"]


class Asking:
    """A client of the language worker on a port of its own, and the environment that both share."""

    def __init__(self, **changes: str) -> None:
        self._port = free_port()
        self.environment = {
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_QWEN_PORT": str(self._port),
            "OURVIDZ_QWEN_TOKEN": TOKEN,
            **changes,
        }
        self.url = f"http://127.0.0.1:{self._port}"
        self._http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=COMMAND_SECONDS
        )
        self._threads = ThreadPoolExecutor(max_workers=4)

    def enhance(self, prompt: str = "a lighthouse", **fields: Any) -> httpx.Response:
        return self._http.post("/enhance", json={"prompt": prompt, "job_type": "image_fast", **fields})

    def begin_to_enhance(self, prompt: str) -> Future[httpx.Response]:
        return self._threads.submit(self.enhance, prompt)

    def connected(self, prompt: str) -> socket.socket:
        """A connection on which a question was asked; to close it is to hang up."""
        content = json.dumps({"prompt": prompt})
        head = f"POST /enhance HTTP/1.1\r\nHost: worker\r\nAuthorization: Bearer {TOKEN}\r\n"
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=COMMAND_SECONDS)
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        return connection

    def health(self) -> Any:
        return httpx.get(f"{self.url}/health", timeout=COMMAND_SECONDS).json()

    def close(self) -> None:
        self._threads.shutdown()
        self._http.close()


@pytest.fixture
def asking() -> Iterator[Asking]:
    client = Asking()
    yield client
    client.close()


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with RunningBackend(tmp_path / "backend") as backend:
        product = Product(backend)
        yield product
        product.close()


class Pod:
    """What the status file of an orchestrator says."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "status.json"
        self.environment = {"OURVIDZ_STATUS_FILE": str(self._file), "OURVIDZ_QWEN_RESTART_DELAY": "0.1"}

    def worker(self, name: str) -> dict[str, Any]:
        if not self._file.exists():
            return {"pid": None, "state": ""}
        found: dict[str, Any] = json.loads(self._file.read_text())["workers"].get(name, {"pid": None, "state": ""})
        return found


class TestAlone:
    def test_it_needs_no_backend_answers_whoever_has_the_token_and_keeps_its_port(self, asking: Asking) -> None:
        with RunningCommand(QWEN, asking.environment) as worker:
            worker.wait_for("models_loaded", worker="qwen")
            assert asking.health()["state"] == "READY"
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                refused = httpx.post(f"{asking.url}/enhance", json={"prompt": "x"}, headers=headers)
                assert (refused.status_code, refused.json()["success"]) == (401, False)
            answer = asking.enhance().json()
            assert (answer["success"], answer["enhancement_metadata"]["model_used"]) == (True, "testcard")
            assert answer["enhanced_prompt"].startswith("a lighthouse, ")
            refusal = asking.enhance("nude 12 year old")
            assert (refusal.status_code, refusal.json()["error_type"]) == (422, "content_policy")
            board = asking._http.post("/storyboard", json={"script": "Dawn. Storm. Calm.", "scenes": 3}).json()
            assert len(board["scenes"]) == len(board["jobs"]) == 3
            second = run_command("qwen", environment=asking.environment)
            assert worker.stop() == 0
        assert second.returncode == ExitCode.CONFIGURATION
        taken = f"port {asking.environment['OURVIDZ_QWEN_PORT']} on 127.0.0.1 is taken by another process: "
        assert f"{taken}stop that one, or set OURVIDZ_QWEN_PORT to another port" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert "lighthouse" not in worker.log(), "prompts stay out of the log"
        assert "year old" not in worker.log()

    def test_without_a_token_it_does_not_start(self, asking: Asking) -> None:
        result = run_command("qwen", environment={**asking.environment, "OURVIDZ_QWEN_TOKEN": ""})
        assert result.returncode == ExitCode.CONFIGURATION
        assert result.stderr.startswith("OURVIDZ_QWEN_TOKEN is not set: set it to")

    def test_sigterm_lets_answers_end_and_nobody_else_in(self, asking: Asking) -> None:
        with RunningCommand(SLOW, {**asking.environment, "ANSWER_SECONDS": "4"}) as worker:
            worker.wait_for("models_loaded")
            running = asking.begin_to_enhance("a pier")
            worker.wait_for("answer_begun")
            worker.process.send_signal(signal.SIGTERM)
            wait_until(lambda: asking.health()["state"] == "DRAINING", "closed doors")
            assert asking.enhance("a boat").status_code == 503
            assert running.result().json()["enhanced_prompt"].startswith("a pier, ")
            assert worker.process.wait(timeout=COMMAND_SECONDS) == 0

    def test_no_answer_is_written_for_a_client_that_hung_up(self, asking: Asking) -> None:
        with RunningCommand(SLOW, {**asking.environment, "ANSWER_SECONDS": "60"}) as worker:
            worker.wait_for("models_loaded")
            with asking.connected("a pier"):
                worker.wait_for("answer_begun")
            worker.wait_for("answer_stopped")
            wait_until(lambda: asking.health()["state"] == "READY", "being free again")
            assert worker.stop() == 0

    def test_a_full_queue_is_503_and_a_slow_answer_504(self, asking: Asking) -> None:
        limits = {"OURVIDZ_QWEN_QUEUE": "1", "OURVIDZ_ENHANCEMENT_LIMIT": "4", "ANSWER_SECONDS": "60"}
        with RunningCommand(SLOW, {**asking.environment, **limits}) as worker:
            worker.wait_for("models_loaded")
            answers = [asking.begin_to_enhance("a pier")]
            worker.wait_for("answer_begun")
            answers.append(asking.begin_to_enhance("a boat"))
            wait_until(lambda: asking.health()["queue_length"] == 1, "the second in the line")
            assert asking.enhance("a gull").status_code == 503
            assert [answer.result().status_code for answer in answers] == [504, 504]
            worker.stop(signal.SIGKILL)


class TestPodOfItsOwn:
    def test_the_orchestrator_needs_no_backend_for_it_and_takes_it_along(self, asking: Asking, tmp_path: Path) -> None:
        pod = Pod(tmp_path)
        alone = {**asking.environment, **pod.environment, "OURVIDZ_WORKERS": "qwen"}
        with RunningCommand(ORCHESTRATOR, alone) as orchestrator:
            wait_until(lambda: pod.worker("qwen")["state"] == "READY", "the language worker", seconds=COMMAND_SECONDS)
            worker = pod.worker("qwen")
            assert (worker["waiting"], worker["jobs"], worker["outcomes"]) == (0, [], {})
            assert asking.enhance().status_code == 200
            orchestrator.stop(signal.SIGKILL)
            wait_until(lambda: is_gone(worker["pid"]), "the end of the language worker")
        assert orchestrator.saw("supervisor_gone", worker="qwen")


class TestBesideTheWanWorker:
    def test_one_model_serves_the_enhanced_jobs(self, product: Product, tmp_path: Path) -> None:
        job_id = product.submit(recorded("image7b_fast_enhanced"))  # before the language worker is there
        tiny = environment(product, tmp_path, OURVIDZ_MODELS="tiny", **both_workers())
        with RunningCommand(ORCHESTRATOR, tiny) as orchestrator:
            product.over(job_id)
            assert orchestrator.stop() == 0
        assert enhancement(product, job_id)["prompt_enhanced"]
        assert orchestrator.saw("models_loaded", worker="qwen", model="tiny-qwen")
        assert orchestrator.saw("prompt_rewritten", worker="qwen")
        assert not orchestrator.saw("prompt_rewritten", worker="wan"), "no second model in the WAN worker"
        assert product.nothing_left("wan_queue")

    def test_a_job_waits_for_the_process_that_takes_over_after_a_kill(self, product: Product, tmp_path: Path) -> None:
        pod = Pod(tmp_path)
        both = environment(product, tmp_path, **both_workers(), **pod.environment)
        with RunningCommand(ORCHESTRATOR, both) as orchestrator:
            wait_until(lambda: pod.worker("qwen")["state"] == "READY", "the language worker", seconds=COMMAND_SECONDS)
            os.kill(pod.worker("qwen")["pid"], signal.SIGKILL)
            orchestrator.wait_for("worker_ended", worker="qwen", reason="was killed by SIGKILL")
            job_id = product.submit(recorded("image7b_fast_enhanced"))
            product.over(job_id)
            assert enhancement(product, job_id)["prompt_enhanced"]
            wait_until(lambda: pod.worker("qwen")["restarts"] == 1, "the status file's word of the restart")
            assert orchestrator.stop() == 0

    def test_a_worker_that_is_told_a_wrong_token_draws_the_prompt_as_it_came(
        self, product: Product, asking: Asking, tmp_path: Path
    ) -> None:
        wrong = {"OURVIDZ_ENHANCER_URL": asking.url, "OURVIDZ_QWEN_TOKEN": "not-the-token-X2"}
        with (
            RunningCommand(QWEN, asking.environment) as qwen,
            RunningCommand(["-m", "ourvidz_worker", "wan"], environment(product, tmp_path, **wrong)) as wan,
        ):
            qwen.wait_for("models_loaded")
            job_id = product.submit(recorded("image7b_fast_enhanced"))
            product.over(job_id)
            told = enhancement(product, job_id)
            assert not told["prompt_enhanced"]
            assert "refuses the token: set OURVIDZ_QWEN_TOKEN" in told["enhancement_problem"]
        assert "not-the-token" not in wan.log()


def both_workers() -> dict[str, str]:
    """A busy machine may need longer than a minute to start a language worker."""
    return {
        "OURVIDZ_WORKERS": "wan,qwen",
        "OURVIDZ_QWEN_PORT": str(free_port()),
        "OURVIDZ_ENHANCEMENT_LIMIT": "110",
    }


def enhancement(product: Product, job_id: str) -> dict[str, Any]:
    metadata = product.last_metadata(job_id)
    return {name: metadata.get(name) for name in ("prompt_enhanced", "enhancement_problem", "enhancement_time")}


def test_a_settings_sentence_names_the_token_that_an_enhancer_wants(product: Product, tmp_path: Path) -> None:
    url = {"OURVIDZ_ENHANCER_URL": "http://127.0.0.1:1", "OURVIDZ_QWEN_TOKEN": ""}
    result = run_command("wan", environment=environment(product, tmp_path, **url))
    assert result.returncode == ExitCode.CONFIGURATION
    assert result.stderr.startswith("OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_ENHANCER_URL names a qwen worker")
