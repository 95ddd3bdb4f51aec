"""`runpod/start.sh` in a clean tree, as a pod runs it: once, again, interrupted, and with what it needs left out."""

from __future__ import annotations

import json
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import load_settings
from tests.pod.pod_tree import PodTree
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand
from tests.support.embedded import RunningBackend
from tests.support.said import set_environment
from tests.support.waiting import wait_until

REQUIRED = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")
SET = {name: f"https://{name.lower().replace('_', '-')}.example" for name in REQUIRED}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="module")
def clean_tree(tmp_path_factory: pytest.TempPathFactory) -> PodTree:
    return PodTree(tmp_path_factory.mktemp("pod"))


@pytest.fixture
def tree(clean_tree: PodTree) -> PodTree:
    """The same checkout with an empty volume."""
    shutil.rmtree(clean_tree.volume)
    clean_tree.volume.mkdir()
    clean_tree.forget()
    return clean_tree


def said_by_settings(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> list[str]:
    set_environment(monkeypatch, variables)
    with pytest.raises(ConfigurationError) as wrong:
        load_settings()
    return list(wrong.value.problems)


@pytest.mark.parametrize("missing", REQUIRED)
def test_each_missing_variable_is_named_before_any_work(
    tree: PodTree, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """In the words of the settings, which can only be asked once everything is installed."""
    variables = {name: value for name, value in SET.items() if name != missing}
    result = tree.start(variables)
    assert result.returncode == 78
    first, last = result.stderr.splitlines()
    assert [first.removeprefix("start.sh: ")] == said_by_settings(monkeypatch, variables)
    assert last == "start.sh: set these in the pod's environment, then start it again"
    assert not any(value in result.stderr for value in variables.values())
    assert (tree.steps, list(tree.volume.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, list(REQUIRED)),
        ({"SUPABASE_SERVICE_ROLE_KEY": "key", "UPSTASH_REDIS_REST_TOKEN": "  "}, [REQUIRED[0], *REQUIRED[2:]]),
        ({"OURVIDZ_QUEUE_URL": "redis://queue"}, list(REQUIRED[:2])),
        ({"OURVIDZ_STORE_URL": "s3://bucket", "OURVIDZ_REPORT_URL": "https://r.example"}, list(REQUIRED[2:])),
        ({"OURVIDZ_STORE_URL": "s3://bucket", **SET, "SUPABASE_URL": ""}, ["SUPABASE_URL"]),
        ({"OURVIDZ_WORKERS": " qwen "}, ["OURVIDZ_QWEN_TOKEN"]),
        ({**SET, "OURVIDZ_CALLBACK_PROFILE": "2026-02"}, ["JOB_CALLBACK_SECRET"]),
        ({**SET, "OURVIDZ_VOLUME": "/nowhere"}, ["/nowhere"]),
    ],
    ids=lambda value: "-".join(value)[:40] or "none",
)
def test_all_that_is_missing_is_told_at_once(tree: PodTree, variables: dict[str, str], missing: list[str]) -> None:
    result = tree.start(variables)
    assert result.returncode == 78
    *problems, _ = result.stderr.splitlines()
    assert [problem.split()[1] for problem in problems] == missing


def test_a_pod_of_the_language_worker_in_workers_toml_needs_no_backend(tree: PodTree, tmp_path: Path) -> None:
    (tmp_path / "workers.toml").write_text('[[workers]]\nkind = "qwen"\n')
    result = tree.start({"OURVIDZ_CONFIG_DIR": str(tmp_path)})
    assert [line.split()[1] for line in result.stderr.splitlines()[:-1]] == ["OURVIDZ_QWEN_TOKEN"]


def test_two_starts_install_once_and_a_signal_reaches_the_orchestrator(backend: RunningBackend, tree: PodTree) -> None:
    variables = {
        **backend.environment(),
        "OURVIDZ_MODELS": "testcard",
        "OURVIDZ_WORKERS": "sdxl",
        "OURVIDZ_GRACE_PERIOD": "0",
    }
    with RunningCommand([tree.script], tree.environment(variables), program="bash") as first:
        first.wait_for("orchestrator_started")
        assert first.stop() == 0
    assert first.saw("orchestrator_stopped", exit_code=0)
    jobs = [submit(backend) for _ in range(6)]
    with RunningCommand([tree.script], tree.environment(variables), program="bash") as second:
        second.wait_for("job_completed")
        assert second.stop() == 0
    assert second.saw("worker_stopped")
    # What was begun is delivered or handed back.
    completed = [job for job in jobs if row(backend, job)["status"] == "completed"]
    assert len(completed) + redis(backend, "LLEN", "sdxl_queue") == len(jobs)
    assert redis(backend, "KEYS", "sdxl_queue:held:*") == []
    assert "installing the Python environment" in first.log()
    assert "start.sh: the Python environment is in place" in second.lines
    assert [step.split()[0] for step in tree.steps] == ["venv", "pip"]
    [environment] = tree.environments()
    script = (tree.volume / "ourvidz" / environment / "bin" / "ourvidz-worker").read_text()
    assert script == f"#!{tree.volume}/ourvidz/{environment}/bin/python\n"
    assert "start.sh: doctor: ok: redis" in second.log()
    secrets = (variables["SUPABASE_SERVICE_KEY"], variables["UPSTASH_REDIS_REST_TOKEN"])
    assert not any(secret in first.log() + second.log() for secret in secrets)


def submit(backend: RunningBackend) -> str:
    payload = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
    return backend.run(backend.backend.submit({**payload, "id": str(uuid.uuid4())}))


def row(backend: RunningBackend, job_id: str) -> dict[str, Any]:
    found = backend.backend.job(job_id)
    assert found is not None
    return found


def redis(backend: RunningBackend, *command: str) -> Any:
    return backend.run(backend.backend._redis.execute(list(command)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_installation_that_was_interrupted_leaves_nothing_that_counts(
    tree: PodTree, number: signal.Signals, code: int
) -> None:
    """A signal is heeded at once; a death nobody sees."""
    with RunningCommand([tree.script], tree.environment({**SET, "HANG": "1"}), program="bash") as hanging:
        wait_until(lambda: len(tree.steps) == 2, "the installation")
        assert hanging.stop(number) == code
    assert ("ended by a signal" in hanging.log()) is (number == signal.SIGTERM)
    [leftover] = tree.environments()
    assert ".building." in leftover
    broken = tree.start({**SET, "BREAK": "1"})
    assert broken.returncode == 1
    assert "no space left on device" in broken.stderr
    [leftover] = tree.environments()
    assert ".building." in leftover


def test_of_two_pods_on_one_volume_one_installs_and_what_cannot_work_ends_with_what_is_wrong(tree: PodTree) -> None:
    """The second pod waits for the first, and goes on when that one dies; half an environment is made anew."""
    variables = {**SET, "OURVIDZ_MODELS": "none", "OURVIDZ_SDXL_POLL": "often"}
    with RunningCommand([tree.script], tree.environment({**variables, "HANG": "1"}), program="bash") as first:
        wait_until(lambda: len(tree.steps) == 2, "the installation")
        with RunningCommand([tree.script], tree.environment(variables), program="bash") as second:
            wait_until(lambda: "another pod prepares" in second.log(), "the second pod waiting")
            assert len(tree.steps) == 2
            first.stop()
            assert second.process.wait(COMMAND_SECONDS) == 78
    assert [step.split()[0] for step in tree.steps] == ["venv", "pip"] * 2
    [environment] = tree.environments()
    stamp = (tree.volume / "ourvidz" / environment / "installed").read_text()
    assert stamp.startswith(environment.removeprefix("python-"))
    assert "problem: environment: OURVIDZ_MODELS is wrong" in second.log()
    assert "problem: environment: OURVIDZ_SDXL_POLL is wrong" in second.log()
    assert second.lines[-1].startswith("start.sh: the workers of this pod could not run")
