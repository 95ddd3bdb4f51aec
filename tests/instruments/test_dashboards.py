"""The shipped dashboard and alert rules ask for metrics, labels and values that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, get_args

import promql_parser
import pytest
import yaml

from ourvidz_worker import errors
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.control import WorkerState
from ourvidz_worker.instruments.metrics import REGISTRY
from ourvidz_worker.instruments.stages import STAGES
from ourvidz_worker.runtime.inspection import Subject
from ourvidz_worker.supervisor.child import ChildState
from tests.support.commands import ROOT

GRAFANA = ROOT / "configs" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((GRAFANA / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
SCRAPING = yaml.safe_load((ROOT / "configs" / "prometheus.yml").read_text(encoding="utf-8"))
EVERYWHERE = {"instance", "job", "pod", "le"}
OTHERS: dict[str, set[str]] = {"up": set(), "process_resident_memory_bytes": set()}
ROWS = ["Jobs", "Latency against what is expected", "Queue", "Memory of the cards", "Reliability", "What costs"]


def _values(kind: type[StrEnum]) -> set[str]:
    return {member.value for member in kind}


VALUES = {
    "state": _values(WorkerState) | _values(ChildState),
    "error_type": {kind.error_type for kind in vars(errors).values() if hasattr(kind, "error_type")},
    "outcome": {"completed", "failed", "requeued", "dead", "cancelled", "ok", "job", "original", "quota"},
    "reason": {"ok", "internal", "configuration", "poisoned_context", "fenced", "signal", "hang", "other"},
    "stage": set(STAGES),
    "subject": set(get_args(Subject)),
    "disk": {"spool"},
}


def _samples() -> dict[str, set[str]]:
    """The labels of each series by its name."""
    found: dict[str, set[str]] = {}
    for metric, names in REGISTRY._collector_to_names.items():
        labels = set(getattr(metric, "_labelnames", ()))
        found |= dict.fromkeys(names, labels)
    return found | OTHERS


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def _expressions() -> Iterator[Any]:
    for panel in _panels():
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield pytest.param(annotation["expr"], id=annotation["name"])
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule["alert"])


@pytest.mark.parametrize("expression", list(_expressions()))
def test_every_metric_label_and_value_exists(expression: str) -> None:
    samples = _samples()
    selectors, grouped = _taken_apart(promql_parser.parse(expression.replace("$__rate_interval", "5m")))
    assert selectors
    known = set(EVERYWHERE)
    for selector in selectors:
        assert selector.name in samples, selector.name
        known |= samples[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in samples[selector.name] | EVERYWHERE, f"{selector.name} has no {matcher.name}"
            if matcher.name in VALUES:
                assert set(matcher.value.split("|")) <= VALUES[matcher.name]
    assert grouped <= known


def _taken_apart(expression: Any) -> tuple[list[Any], set[str]]:
    """The selectors of an expression, and the labels that it groups by."""
    selectors: list[Any] = []
    grouped: set[str] = set()

    def visit(part: Any) -> bool:
        match part:
            case promql_parser.VectorSelector():
                selectors.append(part)
            case promql_parser.MatrixSelector():
                selectors.append(part.vector_selector)
            case promql_parser.AggregateExpr() if part.modifier is not None:
                grouped.update(part.modifier.labels)
        return True

    promql_parser.walk(expression, visit)
    return selectors, grouped


def test_a_counter_is_asked_for_its_growth_alone() -> None:
    for parameter in _expressions():
        (expression,) = parameter.values
        for counter in re.findall(r"\bourvidz_\w+_(?:total|bucket|sum|count)\b[^)]*\)", str(expression)):
            assert "[" in counter, expression


def test_the_dashboard_is_whole() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == ROWS
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]
    for panel in _panels():
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_legends_and_annotations_name_labels_that_are_left() -> None:
    for panel in _panels():
        for target in panel["targets"]:
            selectors, grouped = _taken_apart(promql_parser.parse(target["expr"].replace("$__rate_interval", "5m")))
            left = grouped or set().union(*(_samples()[selector.name] for selector in selectors)) | {"instance"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, panel["title"]
    for rule in RULES:
        selectors, grouped = _taken_apart(promql_parser.parse(rule["expr"]))
        left = grouped or set().union(*(_samples()[selector.name] for selector in selectors)) | EVERYWHERE
        assert set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))) <= left, rule["alert"]


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_scrape_configuration_names_the_job_that_alerts_ask_for() -> None:
    (job,) = SCRAPING["scrape_configs"]
    assert job["job_name"] == "ourvidz_worker"
    assert (ROOT / "configs" / SCRAPING["rule_files"][0]).is_file()


def test_configuration_files_do_not_stumble_over_them() -> None:
    files = ConfigFiles()
    assert json.loads(files.text("grafana/dashboard.json"))["uid"] == "ourvidz-worker"
    assert not {"dashboard", "alerts", "prometheus"} & {*files.texts("prompts"), *files.texts("policy")}
