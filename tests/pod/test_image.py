"""The image and the bodies for RunPod's API: nothing builds or sends them here, so their text is what is tested."""

from __future__ import annotations

import copy
import fnmatch
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ourvidz_worker import __version__
from ourvidz_worker.settings import PROBE_PORTS, ServerlessSettings, Settings, read_settings
from tests.pod.rest_bodies import CARDS, POOLS, SCHEMAS
from tests.support.commands import ROOT

DOCKERFILE = (ROOT / "runpod" / "Dockerfile").read_text()
BODIES = tuple(SCHEMAS)
CONTAINERS = ("template.json", "endpoint.json")  # a pod has its container from the template
OF_LIBRARIES = {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"}


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


def body(name: str) -> dict[str, Any]:
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
    assert json.loads(command) == shlex.split(body("template.json")["args"]) == ["runpod/start.sh"]
    assert os.access(ROOT / "runpod" / "start.sh", os.X_OK)
    assert shlex.split(body("endpoint.json")["args"]) == ["python", "-u", "runpod/handler.py"]
    assert "runpod/handler.py" in copied()


@pytest.mark.parametrize("name", BODIES)
def test_a_body_says_what_runpod_reads(name: str) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(body(name))


def test_every_body_has_a_schema() -> None:
    assert {file.name for file in (ROOT / "runpod").glob("*.json")} == set(BODIES)
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("template.json", ("imageName",), "x"),
        ("template.json", ("disk",), "20"),
        ("template.json", ("args",), ["runpod/start.sh"]),
        ("template.json", ("env", "OURVIDZ_PROBE_PORT"), 9400),
        ("template.json", ("readme",), "x"),
        ("template.json", ("mounts",), {"network": [{"volumeId": "VOLUME", "path": "/workspace"}]}),
        ("template.json", ("allowedCudaVersions",), ["13"]),
        ("pod.json", ("gpu", "id"), "L40S"),
        ("pod.json", ("gpu", "allowedCudaVersions"), ["13.0"]),
        ("pod.json", ("cpu",), {"id": "cpu5c", "vcpuCount": 4}),
        ("pod.json", ("mounts", "persistent"), {"size": 100, "path": "/workspace"}),
        ("pod.json", ("mounts", "network", 0, "path"), ""),
        ("pod.json", ("gpuTypeIds",), ["NVIDIA L40S"]),
        ("endpoint.json", ("gpu", "pools"), ["NVIDIA L40S"]),
        ("endpoint.json", ("gpu", "minCudaVersion"), 13.0),
        ("endpoint.json", ("type",), "LOAD_BALANCER"),
        ("endpoint.json", ("scaling",), {"type": "REQUEST_COUNT", "requestCount": 1}),
        ("endpoint.json", ("scaling", "requestCount"), 1),
        ("endpoint.json", ("flashboot",), True),
        ("endpoint.json", ("workersMin",), 0),
        ("endpoint.json", ("networkVolumeId",), "VOLUME"),
        ("endpoint.json", ("mounts",), {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_schemas_refuse_what_runpod_would(name: str, path: tuple[str | int, ...], value: Any) -> None:
    document: Any = copy.deepcopy(body(name))
    inside = document
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)


@pytest.mark.parametrize(
    ("name", "field"),
    [("template.json", "image"), ("pod.json", "templateId"), ("pod.json", "gpu"), ("endpoint.json", "image")],
)
def test_the_schemas_miss_what_runpod_would(name: str, field: str) -> None:
    document = body(name)
    del document[field]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_this_versions(name: str) -> None:
    assert body(name)["image"] == f"REGISTRY/ourvidz-worker:{__version__}"
    assert f"ourvidz-worker:{__version__}" in DOCKERFILE


def test_a_pods_template_is_for_pods_alone() -> None:
    template = body("template.json")
    assert template["serverless"] is template["public"] is False
    assert template["startSsh"] is template["startJupyter"] is False, "RunPod's defaults put keys and a password in"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_containers_variables_are_ours_and_its_secrets_are_references(name: str) -> None:
    environment = body(name)["env"]
    assert environment.keys() - OF_LIBRARIES <= variables()
    for variable, value in environment.items():
        if any(word in variable for word in ("KEY", "TOKEN", "SECRET")) or variable.endswith("_URL"):
            assert value == f"{{{{ RUNPOD_SECRET_{variable} }}}}"
        else:
            assert "RUNPOD_SECRET" not in value


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_containers_environment_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in body(name)["env"].items():
        monkeypatch.setenv(variable, "https://example.org" if "RUNPOD_SECRET" in value else value)
    read_settings(ServerlessSettings if name == "endpoint.json" else Settings)


def test_the_driver_is_new_enough_for_the_pinned_torch() -> None:
    """The wheel of torch 2.13.0 on PyPI requires cuda-toolkit 13.0.3, which drivers of every later 13.x run."""
    [pin] = re.findall(r"^torch==(.+)$", (ROOT / "scripts" / "constraints.txt").read_text(), re.MULTILINE)
    assert pin == "2.13.0", "another torch may be built for another CUDA: see what its wheel requires"
    assert body("pod.json")["gpu"]["minCudaVersion"] == body("endpoint.json")["gpu"]["minCudaVersion"] == "13.0"
    assert all(version.startswith("13.") for version in body("template.json")["allowedCudaVersions"])


def test_the_cards_hold_the_workers() -> None:
    assert CARDS[body("pod.json")["gpu"]["id"]] >= 48
    assert all(POOLS[pool] >= 48 for pool in body("endpoint.json")["gpu"]["pools"])


def test_an_endpoint_gives_a_job_more_time_than_the_worker_does() -> None:
    endpoint = body("endpoint.json")
    assert endpoint["timeout"] / 1000 > Settings.model_fields["job_deadline"].default
    assert 0 == endpoint["workers"]["min"] < endpoint["workers"]["max"]


def test_what_is_kept_lies_on_the_network_volume() -> None:
    [mount] = body("pod.json")["mounts"]["network"]
    assert mount["path"] == "/workspace", "the default of start.sh"
    assert Path(body("template.json")["env"]["OURVIDZ_MODELS_DIR"]).is_relative_to(mount["path"])
    assert "mounts" not in body("template.json"), "a template takes no network volume, and a pod no second mount"
    paths = [value for value in body("endpoint.json")["env"].values() if value.startswith("/")]
    assert len(paths) == 4
    assert all(Path(path).is_relative_to("/runpod-volume") for path in paths), "where Serverless mounts it"


def test_the_languages_port_is_the_one_that_is_open() -> None:
    assert body("template.json")["ports"] == [f"{Settings.model_fields['qwen_port'].default}/http"]
