"""A figure is worth something only beside the machine and the command that it comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.bench.report import write_plot, write_report


def test_figures_lie_beside_the_command_the_date_and_the_machine(tmp_path: Path) -> None:
    file = write_report(
        "speed", {"jobs per second": 7}, command=["scripts/bench/speed", "--note", "a b"], folder=tmp_path / "new"
    )
    written = json.loads(file.read_text())
    assert file.name == "speed.json"
    assert written["jobs per second"] == 7
    assert written["command"] == "scripts/bench/speed --note 'a b'"
    assert {"at", "versions"} <= written.keys()
    assert written["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert written["machine"]["cpu"]
    assert written["machine"]["gpu"]


def test_a_drawing_has_the_name_of_its_figures(tmp_path: Path) -> None:
    assert write_plot("speed", "<svg/>", folder=tmp_path / "new") == tmp_path / "new" / "speed.svg"
