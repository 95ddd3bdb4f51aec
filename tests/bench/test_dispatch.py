"""`scripts/bench/dispatch` at a small size: our worker and the least of all queues, without the other environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.dispatch import COST, OUR_QUEUE, OURS, main, verdict
from tests.bench.process_meter import frozen, processor_seconds, resident_bytes
from tests.support.waiting import wait_until

JOBS = 30
BARE = "bare BLPOP"


@pytest.fixture
def busy() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


def test_our_worker_and_a_bare_loop_are_measured_on_one_redis(tmp_path: Path) -> None:
    small = ["--jobs", str(JOBS), "--pickups", "1", "--idle-seconds", "0.1", "--only", OURS, BARE]
    assert main([*small, "--report", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "dispatch.json").read_text())
    ours, bare = (report["contenders"][name] for name in (OURS, BARE))
    assert report["command"].startswith("scripts/bench/dispatch --jobs")
    assert bare["jobs"] == JOBS
    assert bare["commands"] == {"blpop": 1.0}
    scripts = sum(count for name, count in ours["commands"].items() if name.startswith("eval"))
    assert scripts >= 3, "a claim, a start and an acknowledgement"
    assert ours[COST] > bare[COST]
    assert ours["processor ms per job of the far side"] > 0
    assert report["verdict"] == {"whole job, processor ms (under 10)": ours[COST]}
    assert ET.parse(tmp_path / "dispatch.svg").getroot().tag.endswith("svg")


def test_the_verdict_compares_with_the_best_of_the_others() -> None:
    figures = {OURS: {COST: 8.0}, OUR_QUEUE: {COST: 1.5}, "arq": {COST: 2.0}, "saq": {COST: 1.0}, BARE: {COST: 0.1}}
    assert verdict(figures) == {
        "best of the others": "saq",
        "queue part / best of the others (at most 3)": 1.5,
        "whole job, processor ms (under 10)": 8.0,
    }


def test_a_process_is_measured_with_its_children(busy: subprocess.Popen[bytes]) -> None:
    try:
        before = processor_seconds(os.getpid())
        wait_until(lambda: processor_seconds(busy.pid) >= 0.05, "the child's work to show")
        assert processor_seconds(os.getpid()) >= before + 0.04
        assert resident_bytes(os.getpid()) > resident_bytes(busy.pid) > 0
        with frozen(busy.pid):
            wait_until(
                lambda: Path(f"/proc/{busy.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "a halt"
            )
            still = processor_seconds(busy.pid)
            assert processor_seconds(busy.pid) == still
        wait_until(lambda: processor_seconds(busy.pid) > still, "the child's going on")
    finally:
        busy.kill()
        busy.wait()
