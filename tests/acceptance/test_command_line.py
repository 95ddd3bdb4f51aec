"""The doors as a person meets them: a missing or wrong environment, the doctor."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.commands import ROOT, clean_environment, run_command
from tests.support.embedded import RunningBackend
from tests.support.said import Said, said_by, set_environment

REQUIRED = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")


class Run(Protocol):
    def __call__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Said: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_logging: None) -> Run:
    """A command in this process, for those that end without ending it."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Said:
        set_environment(monkeypatch, environment or {})
        return said_by(capsys, *arguments)

    return run


@pytest.mark.parametrize(("variable", "said"), [(None, "is not set"), ("flux", "is 'flux'")])
def test_no_command_and_no_worker_named_is_usage(variable: str | None, said: str) -> None:
    result = run_command(environment={"OURVIDZ_WORKER": variable} if variable else {})
    assert result.returncode == 2
    assert f"OURVIDZ_WORKER {said}" in result.stderr


@pytest.mark.parametrize("door", ["sdxl", "wan", "orchestrator"])
def test_a_missing_environment_lists_every_variable(run: Run, door: str) -> None:
    said = run(door)
    assert said.code == 78
    for name in REQUIRED:
        assert f"{name} is not set" in said.err


def test_the_worker_named_in_the_environment_runs() -> None:
    result = run_command(environment={"OURVIDZ_WORKER": "wan"})
    assert result.returncode == 78
    assert "SUPABASE_URL is not set" in result.stderr


def test_orchestrator_py_is_the_same_door() -> None:
    result = subprocess.run(
        [sys.executable, "orchestrator.py"],
        cwd=ROOT,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 78
    assert "SUPABASE_URL is not set" in result.stderr


def test_missing_weights_stop_a_worker_with_a_sentence(tmp_path: Path) -> None:
    """Missing real weights are a clear error at start, never a silent fallback, and found without the libraries."""
    with RunningBackend(tmp_path / "backend") as backend:
        environment = {**backend.environment(), "OURVIDZ_MODELS_DIR": str(tmp_path / "models")}
        result = run_command("sdxl", environment={**environment, "PYTHONPROFILEIMPORTTIME": "1"})
    assert result.returncode == 78
    assert "does not exist" in result.stderr
    assert str(tmp_path / "models") in result.stderr
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, re.MULTILINE))
    assert "ourvidz_worker.runtime.worker" in imported
    assert not {"torch", "diffusers", "transformers"} & imported


@pytest.fixture
def without_demo_models(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who looks for demo models that do not ship."""
    (tmp_path / "configs").mkdir()
    elsewhere = (ROOT / "configs" / "models.toml").read_text().replace('path = "sdxl"\n', 'path = "elsewhere"\n')
    (tmp_path / "configs" / "models.toml").write_text(elsewhere)
    return {"OURVIDZ_MODELS": "demo", "OURVIDZ_CONFIG_DIR": str(tmp_path / "configs")}


def test_demo_models_that_do_not_ship_stop_a_worker_with_a_sentence(
    without_demo_models: dict[str, str], tmp_path: Path
) -> None:
    with RunningBackend(tmp_path / "backend") as backend:
        result = run_command("sdxl", environment={**backend.environment(), **without_demo_models})
    assert result.returncode == 78
    assert "no demo models of sdxl ship with this version" in result.stderr
    assert "are for showing, not for a product's users" in result.stderr


def test_the_doctor_says_so_too(run: Run, without_demo_models: dict[str, str], tmp_path: Path) -> None:
    with RunningBackend(tmp_path / "backend") as backend:
        said = run("doctor", environment={**backend.environment(), **without_demo_models})
    assert said.code == 1
    assert "no demo models of sdxl ship with this version" in said.out


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_command("local", "--port", str(port), "--data", str(tmp_path))
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_without_a_job_is_named(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{not json")
    said = run("replay", str(broken))
    assert said.code == 2
    assert "broken.json: element is not JSON" in said.err


def test_a_customer_who_is_not_known_is_configuration(run: Run) -> None:
    said = run("submit", "image_fast", "--prompt", "a lighthouse")
    assert said.code == 78
    assert "OURVIDZ_USER_EMAIL is not set: set it to the account to sign in with" in said.err


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    said = run("replay", str(tmp_path / "nothing.json"))
    assert said.code == 2
    assert said.err == f"{tmp_path}/nothing.json cannot be read: No such file or directory\n"


class TestDoctor:
    def test_a_sound_environment_passes(self, run: Run, tmp_path: Path) -> None:
        with RunningBackend(tmp_path / "backend") as backend:
            environment = {**backend.environment(), "OURVIDZ_MODELS": "tiny", "OURVIDZ_SPOOL": str(tmp_path)}
            said = run("doctor", "--json", environment=environment)
        assert said.code == 0, said.out
        findings = said.document["findings"]
        areas = {finding["area"] for finding in findings}
        of_the_moment = {"processes", "aside"}
        assert areas - of_the_moment == {
            "versions",
            "configuration",
            "environment",
            "card",
            "machine",
            "models",
            "disk",
            "ports",
            "video",
            "keys",
            "network",
            "redis",
            "storage",
            "callback",
        }
        assert all(finding["cure"] for finding in findings if not finding["ok"])

    def test_every_missing_variable_has_its_cure(self, run: Run) -> None:
        said = run("doctor")
        assert said.code == 1
        for name in REQUIRED:
            assert f"{name} is not set" in said.out
        assert "cure:" in said.out

    def test_missing_weights_and_a_wrong_token_are_findings(self, run: Run, tmp_path: Path) -> None:
        with RunningBackend(tmp_path / "backend") as backend:
            environment = {
                **backend.environment(),
                "UPSTASH_REDIS_REST_TOKEN": "wrong",
                "OURVIDZ_MODELS_DIR": str(tmp_path / "models"),
            }
            said = run("doctor", "--json", environment=environment)
        assert said.code == 1
        problems = [finding for finding in said.document["findings"] if not finding["ok"]]
        assert {"models", "redis"} <= {problem["area"] for problem in problems}
        assert backend.environment()["SUPABASE_SERVICE_KEY"] not in said.out

    def test_nobody_there_is_a_finding(self, run: Run) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
            environment = {
                "SUPABASE_URL": nobody,
                "SUPABASE_SERVICE_KEY": "key",
                "UPSTASH_REDIS_REST_URL": nobody,
                "UPSTASH_REDIS_REST_TOKEN": "token",
                "OURVIDZ_MODELS": "tiny",
            }
            said = run("doctor", "--json", environment=environment)
        assert said.code == 1
        bad = {finding["area"] for finding in said.document["findings"] if not finding["ok"] and finding["fatal"]}
        assert bad == {"redis", "storage", "callback"}
