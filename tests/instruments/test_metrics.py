"""Every metric has a name, a unit and labels as Prometheus' rules have them, and can be read by its parser."""

from __future__ import annotations

import re

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.instruments.metrics import JOBS, REGISTRY
from ourvidz_worker.probes.exposition import exposition
from tests.support.commands import ROOT

FAMILIES = [family for family in REGISTRY.collect() if family.name.startswith("ourvidz_")]
BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_info", "_length", "_state", "_full", "_in_progress", "_waiting")
OTHER_UNITS = re.compile(r"milli|micro|nano|minute|hour|kilo|mega|giga|percent|_gb|_mb|_ms\b")
BOUNDED = {
    "job_type", "outcome", "error_type", "stage", "subject", "queue", "command", "operation", "media_type", "status",
    "worker", "state", "endpoint", "code",
    "component", "reason", "device", "kind", "disk", "process", "version", "python",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_rules(family: Metric) -> None:
    assert re.fullmatch(r"ourvidz(_[a-z]+)+", family.name)
    assert not OTHER_UNITS.search(family.name)
    assert family.type not in family.name.split("_")
    assert family.documentation
    assert not family.documentation.endswith(".")
    if family.type == "counter":
        assert not family.name.endswith("_total")  # which only its sample has
    elif family.type == "histogram":
        assert family.name.endswith(("_seconds", "_bytes", "_ratio"))
    else:
        assert family.name.endswith(BASE_UNITS), "a gauge says what it is in"


def test_labels_are_known_and_bounded() -> None:
    named = {label for metric in REGISTRY._collector_to_names for label in getattr(metric, "_labelnames", ())}
    assert named <= BOUNDED


def test_job_types_are_those_of_the_catalogue() -> None:
    catalogue = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text(encoding="utf-8"))
    told = {sample.labels["job_type"] for family in JOBS.collect() for sample in family.samples}
    assert told <= {*catalogue, "other"}


def test_the_exposition_is_what_prometheus_reads() -> None:
    looked: list[bool] = []
    body, media_type = exposition("sdxl", lambda: looked.append(True))()
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert looked == [True]
    assert media_type.startswith("text/plain; version=")
    assert families["ourvidz_build_info"].samples[0].labels["process"]
    assert {family.name for family in FAMILIES} <= families.keys()
    assert {"process_resident_memory_bytes", "python_gc_objects_collected"} <= families.keys()
    assert not any(sample.name.endswith("_created") for family in families.values() for sample in family.samples)
