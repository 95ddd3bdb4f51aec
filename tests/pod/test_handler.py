"""`runpod/handler.py` as RunPod and its SDK's local test modes run it: real processes, the SDK itself."""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.cli.serverless import door
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import ServerlessSettings
from tests.pod.runpod_api import RunPodApi
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, ROOT, RunningCommand, clean_environment
from tests.support.embedded import RunningBackend
from tests.support.ports import free_port
from tests.support.secrets import Planted
from tests.support.waiting import wait_until

HANDLER = "runpod/handler.py"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as running:
        yield running


def environment(backend: RunningBackend, folder: Path, **changes: str) -> dict[str, str]:
    """Of an endpoint: no Redis."""
    known = {name: value for name, value in backend.environment().items() if not name.startswith("UPSTASH")}
    ours = {"OURVIDZ_MODELS": "testcard", "OURVIDZ_WORKERS": "sdxl", "OURVIDZ_SPOOL": str(folder / "spool")}
    return {**known, **ours, **changes}


def job(backend: RunningBackend, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
    payload |= {"id": str(uuid.uuid4()), **changes}
    backend.run(backend.backend.submit(payload))
    return payload


def run_once(test_input: Any, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The SDK's test of one job."""
    return subprocess.run(
        [sys.executable, HANDLER, "--test_input", json.dumps(test_input)],
        env=clean_environment(variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("first", [ROOT, ROOT / "runpod"])
def test_the_folder_does_not_hide_the_sdk_of_its_name(first: Path) -> None:
    found = importlib.machinery.PathFinder.find_spec("runpod", [str(first), *sys.path])
    assert found is not None
    assert found.origin is not None
    assert "site-packages" in Path(found.origin).parts


def test_the_sdks_test_runs_one_job_and_keeps_secrets(backend: RunningBackend, tmp_path: Path) -> None:
    payload = job(backend)
    variables = environment(backend, tmp_path)
    result = run_once({"input": payload}, variables)
    assert result.returncode == 0, result.stderr
    row = backend.backend.job(payload["id"])
    assert row is not None
    assert row["status"] == "completed"
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    said = [line["text"] for line in lines if line["event"] == "runpod"]
    assert any(payload["id"] in text and "'status': 'completed'" in text for text in said), said
    assert not Planted(key=variables["SUPABASE_SERVICE_KEY"]).found_in(result.stdout + result.stderr)


def test_a_wrong_environment_is_said_before_anything_is_loaded(
    backend: RunningBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(backend, tmp_path, SUPABASE_SERVICE_KEY="", OURVIDZ_MODELS="none").items():
        monkeypatch.setenv(name, value)
    assert door.run() == 78
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["OURVIDZ_MODELS", "SUPABASE_SERVICE_KEY"]


def test_an_endpoint_has_one_worker(backend: RunningBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(backend, tmp_path, OURVIDZ_WORKERS="sdxl,wan").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="a serverless endpoint runs one worker, sdxl or wan, got 'sdxl,wan'"):
        door.only_family(ServerlessSettings())
    monkeypatch.setenv("OURVIDZ_WORKERS", "wan,qwen")
    assert door.only_family(ServerlessSettings()) == "wan"


def test_the_sdks_server_keeps_the_worker_warm(backend: RunningBackend, tmp_path: Path) -> None:
    port = free_port()
    argv = [HANDLER, "--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}/runsync"
    with RunningCommand(argv, environment(backend, tmp_path)) as command:
        command.wait_for("models_loaded")
        client = httpx.Client(timeout=COMMAND_SECONDS)
        with client:
            wait_until(lambda: _answers(client, port), "the SDK's server", seconds=COMMAND_SECONDS)
            good = client.post(url, json={"input": job(backend)}).json()
            bad = client.post(url, json={"input": job(backend, config={"num_images": 2})}).json()
            again = client.post(url, json={"input": job(backend)}).json()
        command.stop()
    assert (good["status"], good["output"]["status"]) == ("COMPLETED", "completed")
    assert (bad["status"], bad["error"]) == ("FAILED", "config.num_images must be 1, 3 or 6, got 2")
    assert again["status"] == "COMPLETED"
    assert [entry["event"] for entry in command.events].count("models_loaded") == 1


def _answers(client: httpx.Client, port: int) -> bool:
    try:
        return client.get(f"http://127.0.0.1:{port}/openapi.json").is_success
    except httpx.TransportError:
        return False


def test_an_endpoint_takes_its_jobs_from_runpod_until_it_is_stopped(backend: RunningBackend, tmp_path: Path) -> None:
    payload = job(backend)
    with RunPodApi() as api:
        api.offer({"id": "request-1", "input": payload})
        with RunningCommand([HANDLER], environment(backend, tmp_path, **api.environment())) as command:
            wait_until(lambda: any("IN_PROGRESS" not in str(post) for post in api.posted), "the result")
            code = command.stop()
    *progress, result = sorted(api.posted, key=lambda post: post.get("status") != "IN_PROGRESS")
    assert code == 0
    assert result["job"] == "request-1"
    assert (result["output"]["status"], result["output"]["job_id"]) == ("completed", payload["id"])
    assert {"phase": "generating"} in [post["output"] for post in progress]
    assert not Planted(key=api.environment()["RUNPOD_AI_API_KEY"]).found_in(command.log())
    assert command.saw("worker_stopped")
