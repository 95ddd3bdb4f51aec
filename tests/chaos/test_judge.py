"""The judge of a chaos run can say no: for each rule, evidence that breaks it and nothing else."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.chaos.judge import Evidence, judge
from tests.chaos.plan import Kind, Planned, plan, recordings, small
from tests.chaos.pods import Process

BUCKET = "sdxl_image_fast"


@dataclasses.dataclass
class Run:
    """A run of one ordinary job on machine a1 that went well, as it is recorded; tests make it worse."""

    folder: Path
    kind: Kind = Kind.ORDINARY
    status: str = "completed"
    calls: list[tuple[str, float, int]] = dataclasses.field(
        default_factory=lambda: [("processing", 1.0, 1), ("completed", 3.0, 1)]
    )
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    letters: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    more: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        payload = small(next(payload for payload in recordings() if payload.get("type") == BUCKET), random.Random(1))
        self.job = Planned(payload["id"], self.kind, "sdxl_queue", payload, 1)
        self.processes = [Process(1, "a1", "sdxl", "a1-x", 0.0), Process(2, "b1", "sdxl", "b1-y", 0.0)]
        self.picture = self.folder / "picture"
        Image.new("RGB", (8, 8)).save(self.picture, "PNG")
        if not self.events:
            self.log("generation_started", 1.0)
            self.log("job_completed", 3.0)

    def log(self, event: str, at: float, owner: str = "a1-x", **more: Any) -> None:
        moment = datetime.fromtimestamp(at, UTC).isoformat()
        entry = {"event": event, "at": at, "owner": owner, "job_id": self.job.id, "timestamp": moment, **more}
        self.events.append(entry)
        self.events.sort(key=lambda entry: entry["at"])

    def broken(self) -> dict[str, int]:
        verdict = judge(self.evidence())
        return {rule: len(found) for rule, found in verdict.violations.items() if found}

    def evidence(self) -> Evidence:
        key = f"user/{self.job.id}_0.png"
        given: dict[str, Any] = {
            "jobs": [self.job],
            "rows": {self.job.id: {"status": self.status}},
            "callbacks": [self._call(n, *call, key) for n, call in enumerate(self.calls)],
            "image_rows": [],
            "events": self.events,
            "processes": self.processes,
            "uploaded": [(2.0, self.job.id, "a1")],
            "late_reports": [],
            "files": {(BUCKET, key): self.picture},
            "waiting": {},
            "held": {},
            "dead": [json.dumps(letter).encode() for letter in self.letters],
            "stray_lines": [],
            "left_processes": [],
            "odd_exits": [],
        }
        return Evidence(**{**given, **self.more})

    def _call(self, number: int, status: str, at: float, seeds: int, key: str) -> Mapping[str, Any]:
        metadata = {"seeds": [seeds], "error_type": "generation"}
        message = "why" if status == "failed" else None
        assets = [key] if status == "completed" else []
        return {
            "id": number,
            "job_id": self.job.id,
            "status": status,
            "answer_status": 200,
            "received_at": datetime.fromtimestamp(at, UTC).isoformat(),
            "body": json.dumps({"assets": assets, "metadata": metadata, "error_message": message}),
        }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_run_that_went_well_breaks_nothing(run: Run) -> None:
    assert run.broken() == {}
    figures = judge(run.evidence()).figures
    assert figures["jobs"] == {"ordinary: completed": 1}
    assert figures["generations"]["in all"] == 1


def test_a_job_without_an_end_is_lost(run: Run) -> None:
    run.status = "processing"
    assert run.broken() == {"lost": 1}


def test_a_dead_job_whose_user_was_not_told(run: Run) -> None:
    run.status = "processing"
    run.letters = [{"reason": "why", "element": json.dumps(run.job.payload)}]
    assert run.broken() == {"user not told": 1}


def test_a_completed_job_is_not_dead(run: Run) -> None:
    run.letters = [{"reason": "why", "element": json.dumps(run.job.payload)}]
    assert run.broken() == {"wrong ending": 1}


def test_a_letter_of_nobody(run: Run) -> None:
    run.letters = [{"reason": "why", "element": "{}"}]
    assert run.broken() == {"dead letter unexplained": 1}


def test_a_poison_job_may_complete_from_the_spool(tmp_path: Path) -> None:
    assert Run(tmp_path, kind=Kind.POISON).broken() == {}


def test_a_malformed_element_must_be_dead(tmp_path: Path) -> None:
    run = Run(tmp_path, kind=Kind.MALFORMED, calls=[], events=[{"event": "x", "at": 0.0, "timestamp": ""}])
    assert run.broken() == {"lost": 1}
    run.letters = [{"reason": "is not JSON", "element": run.job.element}]
    assert run.broken() == {}


def test_a_missing_and_a_broken_file(run: Run) -> None:
    run.picture.write_bytes(run.picture.read_bytes()[:-30])
    assert run.broken() == {"file missing or broken": 1}
    run.picture.unlink()
    assert run.broken() == {"file missing or broken": 1}


def test_two_at_once(run: Run) -> None:
    run.log("generation_started", 2.5, "b1-y")
    run.log("job_already_over", 2.9, "b1-y")
    assert run.broken() == {"double run": 1}


def test_a_paused_or_killed_process_does_not_count(run: Run) -> None:
    run.log("generation_started", 2.5, "b1-y")
    run.log("job_already_over", 2.9, "b1-y")
    run.processes[0].pauses = [(2.0, 2.8)]
    assert run.broken() == {}
    run.processes[0].pauses = []
    run.processes[0].killed_at = 2.4
    assert run.broken() == {}


def test_generated_again_after_its_end(run: Run) -> None:
    run.log("generation_started", 4.0, "b1-y")
    run.log("job_completed", 5.0, "b1-y")
    assert run.broken() == {"generated again after completed": 1}


def test_generated_again_where_the_result_lay(run: Run) -> None:
    run.events.clear()
    for at in (1.0, 2.5):
        run.log("generation_started", at)
    run.log("job_completed", 3.0)
    assert run.broken() == {"generated again despite the spool": 1}


def test_generated_too_often(run: Run) -> None:
    run.events.clear()
    run.more["uploaded"] = []
    for number in range(4):
        run.log("generation_started", 1.0 + number / 10)
    assert run.broken() == {"too many generations": 1}
    run.log("job_handed_back", 1.05, charged=False)
    assert run.broken() == {}


def test_processing_after_the_end(run: Run) -> None:
    run.calls.append(("processing", 4.0, 1))
    assert run.broken() == {"processing after the end": 1}


def test_a_late_report_of_a_dead_process_is_told_apart(run: Run) -> None:
    run.calls.append(("processing", 4.0, 1))
    run.status = "processing"
    run.more["late_reports"] = [(4.0, run.job.id, "processing")]
    assert run.broken() == {}
    assert len(judge(run.evidence()).unavoidable) == 1
    run.calls.append(("completed", 5.0, 1))
    run.status = "completed"
    assert run.broken() == {}
    assert judge(run.evidence()).unavoidable == []


def test_another_ending_and_another_result(run: Run) -> None:
    run.calls.append(("failed", 4.0, 1))
    assert run.broken() == {"ending changed": 1}
    run.calls[-1] = ("completed", 4.0, 1)
    assert run.broken() == {}
    run.calls[-1] = ("completed", 4.0, 2)
    assert run.broken() == {"result replaced": 1}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("waiting", {"sdxl_queue": 1}, "left on a queue or held"),
        ("held", {"sdxl_queue:held:a1-x": [b"{}"]}, "left on a queue or held"),
        ("stray_lines", ["Traceback (most recent call last):"], "internal error in a log"),
        ("left_processes", [Process(1, "a1", "sdxl", "a1-x", 0.0)], "process left or ended by itself"),
        ("odd_exits", ["an orchestrator ended with exit code 1"], "process left or ended by itself"),
    ],
)
def test_what_is_left(name: str, value: Any, rule: str, run: Run) -> None:
    run.more[name] = value
    assert run.broken() == {rule: 1}


def test_a_crash_in_a_log(run: Run) -> None:
    run.log("worker_crashed", 5.0, exception="Traceback …")
    assert run.broken() == {"internal error in a log": 1}


def test_a_plan_is_its_seeds_own_and_holds_every_kind() -> None:
    first, again, other = (list(plan(100, seed)) for seed in (1, 1, 2))
    assert [job.id for job in first] == [job.id for job in again] != [job.id for job in other]
    assert {job.kind for job in first} == set(Kind)
    assert len({job.id for job in first}) == len(first) == 100
