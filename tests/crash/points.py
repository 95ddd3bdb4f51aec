"""The crash points of a job's road and what becomes of the job: one table, for the tests and for the README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from tests.crash.gate import Moment

HEADER = ("Crash point", "What has happened", "`kill -9` of the worker", "`kill -9` of the orchestrator")
CALLBACK = "POST /functions/v1/job-callback"
UPLOAD = "POST /storage/v1/object/sdxl_image_*"


class Victim(StrEnum):
    WORKER = "worker"
    ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a job that is completed in the end.

    `generations` is how often one was started, `attempt` what the final report says, `reports` how often the product
    heard `completed`; `copy_kept` where the delivered result waits in the spool for the sweep.
    """

    generations: int
    attempt: int
    reports: int
    copy_kept: bool = False

    def __str__(self) -> str:
        words = f"generated {_times(self.generations)}, reported {_times(self.reports)}, attempt {self.attempt}"
        return f"{words}; a copy stays in the spool until it is swept" if self.copy_kept else words


@dataclass(frozen=True, slots=True)
class Point:
    """`seen` is how the moment shows: on the wire, by a step in the status file, or by pictures in the spool."""

    name: str
    happened: str
    seen: Moment | Literal["step", "pictures"]
    worker: Outcome
    orchestrator: Outcome
    images: int = 3

    def outcome(self, victim: Victim) -> Outcome:
        return self.worker if victim is Victim.WORKER else self.orchestrator


POINTS = (
    Point(
        "before claim",
        "the claim was sent, and never reached Redis",
        Moment("REDIS claim", "arrived"),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "after claim",
        "Redis moved the job to the worker's held list, and the worker does not know",
        Moment("REDIS claim", "executed"),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "started",
        "Redis marked the job as begun, and the worker does not know",
        Moment("REDIS begin", "executed"),
        worker=Outcome(1, attempt=2, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "mid-step",
        "some of the denoising steps are done",
        "step",
        worker=Outcome(2, attempt=2, reports=1),
        orchestrator=Outcome(2, attempt=1, reports=1),
        images=1,
    ),
    Point(
        "generated",
        "pictures are being written to the spool, without their manifest",
        "pictures",
        worker=Outcome(2, attempt=2, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
        images=6,
    ),
    Point(
        "spooled",
        "the result is whole in the spool, and no upload has reached Storage",
        Moment(UPLOAD, "arrived"),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "half uploaded",
        "one of three pictures is in Storage",
        Moment(UPLOAD, "arrived", passing=1),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "uploaded",
        "`completed` was sent, and never reached the product",
        Moment(CALLBACK, "arrived", status="completed"),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
    Point(
        "called back",
        "the product heard `completed`, and the worker does not know",
        Moment(CALLBACK, "executed", status="completed"),
        worker=Outcome(1, attempt=1, reports=1),
        orchestrator=Outcome(1, attempt=1, reports=2),
    ),
    Point(
        "acknowledged",
        "Redis let go of the job, and the worker does not know",
        Moment("REDIS acknowledge", "executed"),
        worker=Outcome(1, attempt=1, reports=1, copy_kept=True),
        orchestrator=Outcome(1, attempt=1, reports=1),
    ),
)


def markdown() -> str:
    """The table as the README has it."""
    rows = [(point.name, point.happened, str(point.worker), str(point.orchestrator)) for point in POINTS]
    return "\n".join(map(_row, (HEADER, ["---"] * len(HEADER), *rows)))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
