"""The image and the templates: nothing builds or uploads them here, so all that can be told from their text is."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker import __version__
from ourvidz_worker.settings import PROBE_PORTS, ServerlessSettings, Settings, read_settings
from tests.support.commands import ROOT

DOCKERFILE = (ROOT / "runpod" / "Dockerfile").read_text()
TEMPLATES = ("template.json", "serverless.json")
OF_LIBRARIES = {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"}
# The fields of RunPod's REST API: POST /v1/templates, and POST /v1/endpoints for a Serverless endpoint.
TEMPLATE_FIELDS = {
    "name", "imageName", "category", "isServerless", "isPublic", "containerDiskInGb", "containerRegistryAuthId",
    "volumeInGb", "volumeMountPath", "dockerEntrypoint", "dockerStartCmd", "ports", "env", "readme",
}  # fmt: skip
ENDPOINT_FIELDS = {
    "name", "templateId", "networkVolumeId", "gpuTypeIds", "gpuCount", "workersMin", "workersMax", "idleTimeout",
    "executionTimeoutMs", "scalerType", "scalerValue", "flashboot", "allowedCudaVersions", "computeType",
    "dataCenterIds",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments on one line."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def arguments_of(name: str) -> list[str]:
    return [arguments for word, arguments in instructions() if word == name]


def copied() -> list[str]:
    """What comes from the repository."""
    sources: list[str] = []
    for arguments in arguments_of("COPY"):
        words = shlex.split(arguments)
        if not words[0].startswith("--from"):
            sources += words[:-1]
    return sources


def template(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "runpod" / name).read_text())
    return document


def variables() -> set[str]:
    """Every variable that the settings read."""
    names: set[str] = set()
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names |= {alias} if isinstance(alias, str) else {str(choice) for choice in getattr(alias, "choices", ())}
    return names


def test_everything_copied_is_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(copied()) > 5
    for source in copied():
        assert any(file == source or file.startswith(f"{source}/") for file in tracked), source


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    """Docker goes by the last line that matches."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == {source.rstrip("/") for source in copied()}
    assert any(fnmatch.fnmatch("ourvidz_worker/__pycache__", line) for line in lines if not line.startswith("!"))


def test_the_base_is_pinned_to_a_release_of_python() -> None:
    [argument] = [word for word in arguments_of("ARG") if word.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-[a-z]+", argument)
    assert {word.split()[0] for word in arguments_of("FROM")} == {"${PYTHON}"}


def test_every_package_follows_the_constraints() -> None:
    installs = [word for word in arguments_of("RUN") if "pip install" in word]
    assert len(installs) == 1
    assert "--constraint constraints.txt" in installs[0]
    assert "--no-cache-dir" in installs[0]
    assert "==" not in installs[0]
    pins = (ROOT / "scripts" / "constraints.txt").read_text()
    assert re.search(r"^torch==\d+\.\d+\.\d+$", pins, re.MULTILINE), "a local version would keep CUDA out of the image"
    assert re.search(r"^runpod==", pins, re.MULTILINE)


def test_the_system_packages_leave_no_lists_behind() -> None:
    [install] = [word for word in arguments_of("RUN") if "apt-get" in word]
    assert "--no-install-recommends" in install
    assert install.startswith("apt-get update &&")
    assert "rm -rf /var/lib/apt/lists/*" in install


def test_no_secret_is_in_the_image() -> None:
    assert arguments_of("ADD") == []
    for name in variables():
        if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            assert name not in DOCKERFILE


def test_it_stops_and_is_watched_as_the_orchestrator_is() -> None:
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]
    [check] = arguments_of("HEALTHCHECK")
    assert f"or {PROBE_PORTS['orchestrator']}}}/health/live" in check
    command = json.loads(check[check.index("CMD ") + 4 :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")


def test_what_it_starts_is_there_and_may_be_executed() -> None:
    [command] = arguments_of("CMD")
    assert arguments_of("ENTRYPOINT") == []
    assert json.loads(command) == template("template.json")["dockerStartCmd"] == ["runpod/start.sh"]
    assert os.access(ROOT / "runpod" / "start.sh", os.X_OK)
    assert template("serverless.json")["dockerStartCmd"][-1] in copied()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_says_what_runpod_reads(name: str) -> None:
    document = template(name)
    assert document.keys() <= TEMPLATE_FIELDS
    assert document["imageName"].endswith(f":{__version__}")
    assert f"ourvidz-worker:{__version__}" in DOCKERFILE
    assert document["isServerless"] is (name == "serverless.json")
    assert (document["volumeInGb"] == 0) is document["isServerless"]
    assert all(re.fullmatch(r"\d+/(http|tcp)", port) for port in document.get("ports", []))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_templates_variables_are_ours_and_its_secrets_are_references(name: str) -> None:
    environment = template(name)["env"]
    assert environment.keys() - OF_LIBRARIES <= variables()
    for variable, value in environment.items():
        if any(word in variable for word in ("KEY", "TOKEN", "SECRET")) or variable.endswith("_URL"):
            assert value == f"{{{{ RUNPOD_SECRET_{variable} }}}}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_templates_environment_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in template(name)["env"].items():
        monkeypatch.setenv(variable, "https://example.org" if "RUNPOD_SECRET" in value else value)
    read_settings(ServerlessSettings if name == "serverless.json" else Settings)


def test_an_endpoint_gives_a_job_more_time_than_the_worker_does() -> None:
    endpoint = template("endpoint.json")
    assert endpoint.keys() <= ENDPOINT_FIELDS
    assert endpoint["executionTimeoutMs"] / 1000 > Settings.model_fields["job_deadline"].default
    assert 0 == endpoint["workersMin"] < endpoint["workersMax"]
    assert endpoint["scalerType"] in ("QUEUE_DELAY", "REQUEST_COUNT")


def test_the_languages_port_is_the_one_that_is_open() -> None:
    document = template("template.json")
    assert document["ports"] == [f"{Settings.model_fields['qwen_port'].default}/http"]
    assert Path(document["env"]["OURVIDZ_MODELS_DIR"]).is_relative_to(document["volumeMountPath"])
