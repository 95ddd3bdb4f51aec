"""The long tools, run short: chaos finds nothing wrong, soak and the command counter measure what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.commands import ROOT, clean_environment

TOOL_SECONDS = 900.0  # each has limits of its own, which say more


def tool(module: str, report: Path, *options: str) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", module, "--report", str(report), *options],
        cwd=ROOT,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-6000:]
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def test_every_job_survives_kills_pauses_and_faults(tmp_path: Path) -> None:
    options = ("--jobs", "20", "--seed", "1", "--pause", "0.7", "--moments", "0.15", "--folder", str(tmp_path / "run"))
    report = tool("tests.chaos", tmp_path / "report.json", *options)
    assert report["ok"]
    assert not any(report["violations"].values())
    assert sum(report["jobs"].values()) == 20
    assert report["generations"]["in all"] >= report["jobs"]["ordinary: completed"]
    assert report["blows"]["worker killed: poison"] >= 3
    assert sum(report["blows"].values()) > 3
    assert report["faults"]
    assert (tmp_path / "run" / "pod-a" / "pod.log").stat().st_size


def test_a_soak_measures_growth(tmp_path: Path) -> None:
    """So few jobs measure mostly the warm-up, so the memory they may cost is not the long run's."""
    plot = tmp_path / "soak.svg"
    options = ("--jobs", "60", "--models", "testcard", "--every", "5", "--limit", "1e6", "--plot", str(plot))
    report = tool("tests.chaos.soak", tmp_path / "report.json", *options)
    assert report["ok"]
    assert report["samples"][-1]["jobs"] == 60
    assert report["growth"]["temporary files left"]["grew"] == 0
    assert plot.read_text().count("<polyline") == 4


def test_an_idle_worker_and_a_job_cost_few_commands(tmp_path: Path) -> None:
    """Idle: one `LLEN` for each poll. A job: claim, begin, acknowledge, and under backlog hardly a poll."""
    options = ("--idle-seconds", "6", "--settle-seconds", "1", "--jobs", "10")
    report = tool("tests.chaos.commands", tmp_path / "report.json", *options)
    assert set(report["idle for 6 s, both workers"]) == {"LLEN", "sum"}
    polls = sum(report["idle seconds"] // every + 1 for every in (2, 5))  # at most, by the default settings
    assert 0 < report["idle for 6 s, both workers"]["sum"] <= polls
    assert report["job"]["sum"] <= 4
    backlog = report["SDXL job under backlog, polls included"]
    assert {"acknowledge", "begin", "claim"} <= backlog.keys()
    assert backlog["sum"] <= 4
