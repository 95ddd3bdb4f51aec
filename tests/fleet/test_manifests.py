"""`configs/k8s/`: valid for Kubernetes and KEDA, and true to each other, to the settings and to the catalogue."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import AliasChoices

from ourvidz_worker.cli import orchestrate
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.probes.server import ProbeServer
from ourvidz_worker.runtime.worker import DELIVERY_GRACE
from ourvidz_worker.settings import PROBE_PORTS, Settings, load_settings
from tests.fleet.keda_schema import SCHEMAS
from tests.support.commands import OURS, ROOT

FOLDER = ROOT / "configs" / "k8s"
CATALOGUE = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text())
KUBERNETES = ("1.31", kubernetes_validate.latest_version())  # what older clusters run, and the newest that is known
NODE_LOST_SECONDS = 60 + 40  # until pods leave a node that is unreachable, after it is found to be so
START_SECONDS = 300  # a pod that is scheduled, and loads its models
Document = dict[str, Any]


def documents(file: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


KUSTOMIZATION = documents(FOLDER / "kustomization.yaml")[0]
ALL = [document for file in sorted(FOLDER.glob("*.yaml")) for document in documents(file)]
RESOURCES = [document for document in ALL if document["kind"] != "Kustomization"]


def of_kind(kind: str) -> list[Document]:
    return [document for document in RESOURCES if document["kind"] == kind]


def named(kind: str, name: str) -> Document:
    (found,) = [document for document in of_kind(kind) if document["metadata"]["name"] == name]
    return found


def env_of(container: Document) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container.get("env", ())}


def container_of(document: Document) -> Document:
    (container,) = document["spec"]["template"]["spec"]["containers"]
    return dict(container)


def keys_of(secret: str) -> set[str]:
    """What the example of a generated secret has."""
    (source,) = [entry for entry in KUSTOMIZATION["secretGenerator"] if entry["name"] == secret]
    (file,) = source["envs"]
    lines = (FOLDER / f"{file}.example").read_text().splitlines()
    return {line.partition("=")[0] for line in lines if line}


def variables() -> Iterator[str]:
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        yield from (str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (str(alias),)


DEPLOYMENTS = of_kind("Deployment")
by_name = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda document: document["metadata"]["name"])


@pytest.mark.parametrize(
    "document", RESOURCES, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_every_resource_is_valid(document: Document) -> None:
    schema = SCHEMAS.get(document["kind"])
    if schema:
        jsonschema.Draft202012Validator(schema).validate(document)
    else:
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "cooldownPeriodd"), 3),
        (("spec", "triggers", 0, "metadata", "listLength"), 3),
        (("spec", "triggers", 0, "metadata", "queueName"), "x"),
        (("spec", "scaleTargetRef"), {}),
        (("spec", "triggers"), []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_schema_refuses_what_is_not_documented(path: tuple[str | int, ...], value: Any) -> None:
    document: Any = copy.deepcopy(of_kind("ScaledObject")[0])
    inside = document
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMAS["ScaledObject"]).validate(document)


def test_the_kustomization_names_every_file_but_the_job() -> None:
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "fetch-models.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert {image["name"] for image in KUSTOMIZATION["images"]} == {
        container_of(document)["image"] for document in RESOURCES if document["kind"] in ("Deployment", "Job")
    }


@by_name
def test_each_deployment_has_its_scaling_and_its_budget(deployment: Document) -> None:
    name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"], named("PodDisruptionBudget", name)["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert "replicas" not in deployment["spec"], "an applied manifest would undo what KEDA set"
    scaled = named("ScaledObject", name)["spec"]
    assert scaled["scaleTargetRef"]["name"] == name
    assert scaled["minReplicaCount"] < scaled["maxReplicaCount"]


@by_name
def test_each_is_scaled_by_the_queues_of_its_workers(deployment: Document) -> None:
    workers = env_of(container_of(deployment))["OURVIDZ_WORKERS"].split(",")
    queues = {job_type.queue for job_type in CATALOGUE.values() if job_type.model_family in workers}
    triggers = named("ScaledObject", deployment["metadata"]["name"])["spec"]["triggers"]
    assert {trigger["metadata"]["listName"] for trigger in triggers} == queues
    for trigger in triggers:
        reference = named("TriggerAuthentication", trigger["authenticationRef"]["name"])
        for target in reference["spec"]["secretTargetRef"]:
            assert target["key"] in keys_of(target["name"])


def test_between_them_they_serve_every_queue() -> None:
    triggers = [trigger for scaled in of_kind("ScaledObject") for trigger in scaled["spec"]["triggers"]]
    assert {trigger["metadata"]["listName"] for trigger in triggers} == {job.queue for job in CATALOGUE.values()}


@by_name
def test_its_environment_is_one_that_a_worker_takes(deployment: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(deployment)
    (source,) = container["envFrom"]
    secrets, own = keys_of(source["secretRef"]["name"]), env_of(container)
    assert {name for name in {*secrets, *own} if name.startswith(OURS)} <= set(variables())
    for name in [name for name in variables() if name.startswith(OURS)]:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**dict.fromkeys(secrets, "https://example.test"), **own}.items():
        monkeypatch.setenv(name, value)
    assert load_settings().workers == tuple(own["OURVIDZ_WORKERS"].split(","))


def test_without_the_secret_a_worker_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the example names what must be there."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    missing = {problem.partition(" is not set")[0] for problem in caught.value.problems}
    assert missing <= keys_of("ourvidz")


@by_name
def test_a_pod_that_is_to_go_has_time_for_its_job(deployment: Document) -> None:
    pod = deployment["spec"]["template"]["spec"]
    own = env_of(container_of(deployment))
    grace = float(own["OURVIDZ_GRACE_PERIOD"])
    longest = max(
        job.expected_seconds * (6 if job.expected_per_image else 1)
        for job in CATALOGUE.values()
        if job.model_family in own["OURVIDZ_WORKERS"]
    )
    assert grace > longest
    assert pod["terminationGracePeriodSeconds"] > grace + DELIVERY_GRACE + orchestrate._STOP_MARGIN
    lease = float(Settings.model_fields["lease"].default)
    cooldown = named("ScaledObject", deployment["metadata"]["name"])["spec"]["cooldownPeriod"]
    assert cooldown > NODE_LOST_SECONDS + START_SECONDS + lease + longest


@by_name
def test_it_is_asked_where_it_answers(deployment: Document) -> None:
    container = container_of(deployment)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    routes = {route for route in ("/health/live", "/health/ready") if hasattr(ProbeServer, f"_{route[8:]}")}
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [ports[probe["port"]] for probe in probes] == [PROBE_PORTS["orchestrator"]] * 3
    assert {probe["path"] for probe in probes} == routes
    assert ports["metrics"] == PROBE_PORTS["orchestrator"] + 1
    assert env_of(container)["OURVIDZ_PROBE_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("document", [*DEPLOYMENTS, *of_kind("Job")], ids=lambda document: document["metadata"]["name"])
def test_pods_have_few_rights_and_all_their_folders(document: Document) -> None:
    pod, container = document["spec"]["template"]["spec"], container_of(document)
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == volumes.keys()
    named("PersistentVolumeClaim", volumes["models"]["persistentVolumeClaim"]["claimName"])
    for name in ("OURVIDZ_MODELS_DIR", "OURVIDZ_SPOOL", "OURVIDZ_CACHE", "HOME"):
        folder = env_of(container).get(name)
        assert folder is None or any(folder == path or folder.startswith(f"{path}/") for path in mounts)


@by_name
def test_it_has_a_card_and_memory_for_what_is_evicted_from_it(deployment: Document) -> None:
    resources = container_of(deployment)["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == 1
    assert resources["limits"]["memory"] == resources["requests"]["memory"]


def test_no_secret_is_in_the_repository() -> None:
    assert not list(FOLDER.glob("*.env"))
    assert (FOLDER / ".gitignore").read_text().split() == ["*.env"]
