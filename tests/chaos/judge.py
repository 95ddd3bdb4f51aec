"""What the evidence of a run says: for each job what became of it, and every rule that was broken."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import av
from PIL import Image

from ourvidz_worker.local.database import Row
from tests.chaos.plan import Kind, Planned
from tests.chaos.pods import Process

FINAL = ("completed", "failed", "cancelled")
MAX_GENERATIONS = 3
LATE_MARGIN_SECONDS = 0.5  # between the store's clock reading and the proxy's
RESUMED_STEP_SECONDS = 1.0  # a worker that was paused stops at its next step; so long may that take to show
INTERNAL_ERRORS = ("crashed", "worker_crashed", "ending_failed", "generation_failed", "encoding_failed")
RUN_ENDS = (
    "job_completed",
    "job_failed",
    "job_refused",
    "job_dead",
    "job_handed_back",
    "job_cancelled",
    "job_parked",
    "job_already_over",
)

Find = Iterator[tuple[str, str, str]]
"""Broken rules: which, whose job, and what was seen."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was recorded; `events` in order of time, `callbacks` in the order of their execution.

    `uploaded` says when which job's upload came from which machine, `late_reports` when which report of which job was
    carried out although its sender was dead or paused; `files` finds a stored object.
    """

    jobs: Sequence[Planned]
    rows: Mapping[str, Row]
    callbacks: Sequence[Row]
    image_rows: Sequence[Row]
    events: Sequence[Mapping[str, Any]]
    processes: Sequence[Process]
    uploaded: Sequence[tuple[float, str, str]]
    late_reports: Sequence[tuple[float, str, str]]
    files: Mapping[tuple[str, str], Path]
    waiting: Mapping[str, int]
    held: Mapping[str, Sequence[bytes]]
    dead: Sequence[bytes]
    stray_lines: Sequence[str]
    left_processes: Sequence[Process]
    odd_exits: Sequence[str]


@dataclass(slots=True)
class Verdict:
    """`figures` for the table, by section; `violations` by rule, each (job, what was seen).

    `unavoidable` is no worker's doing: the network held a report back until its sender was dead or paused, and carried
    it out when another worker had brought the job to its end.
    """

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    unavoidable: list[tuple[str, str]] = field(default_factory=list)
    violations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One generation of a job by one process; `spans` are the times at which it was not paused."""

    job_id: str
    owner: str
    machine: str
    spans: Sequence[tuple[float, float]]

    @property
    def begun_at(self) -> float:
        return self.spans[0][0]


EXPECTED = {
    Kind.POISON: ("generation", "completed"),  # where its result was in the spool before the blow
    Kind.CANCELLED: ("cancelled", "generation"),
    Kind.BAD_FIELD: ("bad_job",),
    Kind.REFUSED_PROMPT: ("content_policy",),
}
"""Types of error that jobs of a kind must end with; all others may complete."""

RULES = (
    "lost",
    "wrong ending",
    "user not told",
    "file missing or broken",
    "double run",
    "generated again after completed",
    "generated again despite the spool",
    "too many generations",
    "processing after the end",
    "ending changed",
    "result replaced",
    "left on a queue or held",
    "dead letter unexplained",
    "internal error in a log",
    "process left or ended by itself",
)


def judge(evidence: Evidence) -> Verdict:
    case = _Case(evidence)
    verdict = Verdict(violations={rule: [] for rule in RULES})
    for rule, job_id, seen in case.findings():
        verdict.violations[rule].append((job_id, seen))
    verdict.figures = case.figures()
    verdict.unavoidable = list(case.undone_by_late_reports())
    return verdict


class _Case:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._jobs = {job.id: job for job in evidence.jobs}
        self._executed: dict[str, list[Row]] = defaultdict(list)
        self._late: dict[str, list[Row]] = defaultdict(list)
        sent_late = defaultdict(list)
        for at, job_id, status in evidence.late_reports:
            sent_late[job_id, status].append(at)
        for call in evidence.callbacks:
            job_id = call["job_id"]
            moments = sent_late[job_id, call["status"]]
            late = any(abs(at - _seconds(call["received_at"])) < LATE_MARGIN_SECONDS for at in moments)
            if call["answer_status"] == 200:
                (self._late if late else self._executed)[job_id].append(call)
        self._letters = [_letter(raw) for raw in evidence.dead]
        self._dead = {letter["job_id"]: letter for letter in self._letters if letter["job_id"] in self._jobs}
        self._runs: dict[str, list[Run]] = defaultdict(list)
        for run in _runs(evidence):
            self._runs[run.job_id].append(run)

    def findings(self) -> Find:
        for job in self._evidence.jobs:
            yield from self._ending(job)
            yield from self._generations(job)
            yield from self._reports(job)
        yield from self._leftovers()

    def undone_by_late_reports(self) -> Iterator[tuple[str, str]]:
        """Jobs whose ending was overwritten by a late report, and by none of a living worker after that."""
        for job in self._evidence.jobs:
            endings = [call["id"] for call in self._executed[job.id] if call["status"] in FINAL]
            for call in self._late[job.id]:
                if endings and endings[-1] < call["id"]:
                    yield job.id, f"{call['status']} was carried out after {self._statuses(job.id)}"

    def figures(self) -> dict[str, dict[str, Any]]:
        evidence = self._evidence
        endings: Counter[str] = Counter()
        for job in evidence.jobs:
            endings[f"{job.kind}: {self._outcome(job)}"] += 1
        per_job = Counter(len(self._runs[job.id]) for job in evidence.jobs)
        times = Counter(event["event"] for event in evidence.events)
        repeats = sum(max(0, self._statuses(job.id).count("completed") - 1) for job in evidence.jobs)
        return {
            "jobs": dict(sorted(endings.items())),
            "generations": {
                "in all": sum(count * jobs for count, jobs in per_job.items()),
                **{f"jobs with {count}": jobs for count, jobs in sorted(per_job.items())},
                "completed reports repeated": repeats,
            },
            "log": {name: times[name] for name in sorted(times) if name not in ("status", "job_claimed")},
        }

    def _outcome(self, job: Planned) -> str:
        if not job.kind.has_row:
            return "dead" if job.id in self._dead else "lost"
        status = self._status(job.id)
        reason = f" ({self._error_type(job.id)})" if status == "failed" else ""
        return status + reason + (" and dead" if job.id in self._dead else "")

    def _ending(self, job: Planned) -> Find:
        letter = self._dead.get(job.id)
        if letter and not letter["reason"]:
            yield "dead letter unexplained", job.id, "no reason"
        if not job.kind.has_row:
            if letter is None:
                yield "lost", job.id, f"{job.kind} element is in no dead letter"
            return
        status, late = self._status(job.id), [call["status"] for call in self._late[job.id]]
        if status not in FINAL:
            rule = "user not told" if letter else "lost"
            yield rule, job.id, f"status {status}, reports {self._statuses(job.id)}, late {late}"
            return
        if status == "failed" and not self._told(job.id)["error_message"]:
            yield "wrong ending", job.id, "failed without a reason"
        if status == "completed":
            yield from self._files(job)
            if letter:
                yield "wrong ending", job.id, f"completed, and dead because {letter['reason']}"
        yield from self._expected_ending(job, status)

    def _expected_ending(self, job: Planned, status: str) -> Find:
        expected = EXPECTED.get(job.kind)
        found = self._error_type(job.id) if status == "failed" else status
        if expected and found not in expected:
            yield "wrong ending", job.id, f"{job.kind} job ended as {found}"
        if job.kind in (Kind.BAD_FIELD, Kind.REFUSED_PROMPT) and self._runs[job.id]:
            yield "wrong ending", job.id, f"{job.kind} job was generated"

    def _files(self, job: Planned) -> Find:
        body = json.loads((self._completed(job.id) or self._late[job.id])[-1]["body"])
        bucket, keys = job.payload.get("bucket") or job.payload.get("type"), body["assets"]
        if len(keys) != job.files:
            yield "file missing or broken", job.id, f"{len(keys)} files where {job.files} were asked for"
        for key in keys:
            problem = _damage(self._evidence.files.get((str(bucket), key)))
            if problem:
                yield "file missing or broken", job.id, f"{bucket}/{key} {problem}"
        for row in self._evidence.image_rows:
            if row["job_id"] == job.id and row["status"] != "completed" and not self._late[job.id]:
                yield "file missing or broken", job.id, f"image row {row['image_index']} is {row['status']}"

    def _generations(self, job: Planned) -> Find:
        runs = self._runs[job.id]
        for number, run in enumerate(runs):
            for other in runs[number + 1 :]:
                if run.owner != other.owner and (seconds := _overlap(run, other)) > 0:
                    yield "double run", job.id, f"{run.owner} and {other.owner} for {seconds:.3f} s"
        told = [_seconds(call["received_at"]) for call in self._completed(job.id)]
        for run in runs:
            if told and run.begun_at > told[0]:
                late = run.begun_at - told[0]
                yield "generated again after completed", job.id, f"by {run.owner}, {late:.1f} s after the product heard"
            finished = [at for at, job_id, on in self._evidence.uploaded if (job_id, on) == (job.id, run.machine)]
            if finished and run.begun_at > min(finished):
                yield "generated again despite the spool", job.id, f"by {run.owner}"
        uncharged = sum(
            event["event"] == "job_handed_back" and event.get("job_id") == job.id and not event.get("charged")
            for event in self._evidence.events
        )
        if len(runs) > MAX_GENERATIONS + uncharged:
            yield "too many generations", job.id, f"{len(runs)} generations, {uncharged} of them handed back"

    def _reports(self, job: Planned) -> Find:
        statuses = self._statuses(job.id)
        ended: str | None = None
        for status in statuses:
            if ended and status == "processing":
                yield "processing after the end", job.id, f"reports {statuses}"
            elif ended and status != ended:
                yield "ending changed", job.id, f"reports {statuses}"
            ended = ended or (status if status in FINAL else None)
        results = {_result(call) for call in self._completed(job.id)}
        if len(results) > 1:
            yield "result replaced", job.id, f"{len(results)} different results were reported"

    def _leftovers(self) -> Find:
        evidence = self._evidence
        for queue, count in evidence.waiting.items():
            if count:
                yield "left on a queue or held", "", f"{count} on {queue}"
        for key, elements in evidence.held.items():
            yield "left on a queue or held", "", f"{len(elements)} in {key}"
        for letter in self._letters:
            if letter["job_id"] not in self._jobs:
                yield "dead letter unexplained", "", str(letter)[:200]
        for process in evidence.left_processes:
            yield "process left or ended by itself", "", f"{process.role} {process.pid} of {process.machine} was left"
        for exit_ in evidence.odd_exits:
            yield "process left or ended by itself", "", exit_
        yield from self._troubles()

    def _troubles(self) -> Find:
        """What a log says that no kill, pause or fault explains."""
        for event in self._evidence.events:
            if event["event"] in INTERNAL_ERRORS:
                seen = f"{event['event']} at {event['timestamp']}: {str(event.get('exception', ''))[-300:]}"
                yield "internal error in a log", str(event.get("job_id", "")), seen
        for line in self._evidence.stray_lines:
            yield "internal error in a log", "", line[:300]

    def _status(self, job_id: str) -> str:
        """The job's last status, as it were without a late report."""
        status = str(self._evidence.rows[job_id]["status"])
        told = self._statuses(job_id)
        undone = status not in FINAL and status in [call["status"] for call in self._late[job_id]]
        return told[-1] if undone and told else status

    def _completed(self, job_id: str) -> list[Row]:
        return [call for call in self._executed[job_id] if call["status"] == "completed"]

    def _statuses(self, job_id: str) -> list[str]:
        return [call["status"] for call in self._executed[job_id]]

    def _error_type(self, job_id: str) -> str:
        return str(self._told(job_id)["metadata"]["error_type"])

    def _told(self, job_id: str) -> dict[str, Any]:
        """What the user was told of a failure."""
        failed = [call for call in self._executed[job_id] + self._late[job_id] if call["status"] == "failed"]
        told: dict[str, Any] = json.loads(failed[-1]["body"])
        return told


def _runs(evidence: Evidence) -> Iterator[Run]:
    """From each `generation_started` to the first sign that this process no longer generates that job."""
    processes = {process.owner: process for process in evidence.processes}
    by_owner: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in evidence.events:
        by_owner[event.get("owner", "")].append(event)
    for owner, events in by_owner.items():
        process = processes.get(owner)
        for number, event in enumerate(events):
            if event["event"] == "generation_started" and process:
                end = _end_of_run(event["job_id"], events[number + 1 :], process)
                spans = tuple(_unpaused(event["at"], max(end, event["at"]), process.pauses))
                yield Run(event["job_id"], owner, process.machine, spans)


def _end_of_run(job_id: str, later: Sequence[Mapping[str, Any]], process: Process) -> float:
    ends = (
        event["at"]
        for event in later
        if event["event"] in ("generation_started", "fenced", "worker_stopped")
        or (event["event"] in RUN_ENDS and event.get("job_id") == job_id)
    )
    last_sign = process.killed_at or (later[-1]["at"] if later else process.started_at)
    return min(next(ends, last_sign), process.killed_at or float("inf"))


def _unpaused(begin: float, end: float, pauses: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The parts of a time in which a process could act, without its first moments after a pause."""
    for stopped, resumed in sorted(pauses):
        if stopped < end and resumed > begin:
            yield begin, max(begin, stopped)
            begin = resumed + RESUMED_STEP_SECONDS
    if begin <= end:
        yield begin, end


def _overlap(one: Run, other: Run) -> float:
    """Seconds in which both generated."""
    return max(min(a[1], b[1]) - max(a[0], b[0]) for a in one.spans for b in other.spans)


def _letter(raw: bytes) -> dict[str, Any]:
    """A dead letter with the id of the job that its element names, as far as it names one."""
    letter: dict[str, Any] = json.loads(raw)
    element = letter["element"]
    _, _, rest = element.partition('"id":')
    return {"job_id": rest.lstrip()[1:37], "reason": letter["reason"], "element": element[:100]}


def _damage(path: Path | None) -> str:
    if path is None or not path.exists():
        return "is not in the store"
    try:
        # The store's files have no suffix that would tell; the first bytes do.
        if path.read_bytes()[:4] == b"\x89PNG":
            with Image.open(path) as picture:
                picture.load()
            return ""
        with av.open(str(path)) as container:
            return "" if any(True for _ in container.decode(video=0)) else "holds no frame"
    except (OSError, SyntaxError, ValueError) as error:
        return f"does not decode: {error}"


def _result(call: Row) -> str:
    body = json.loads(call["body"])
    return json.dumps([body["assets"], body["metadata"].get("seeds"), body["metadata"].get("generation_time")])


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
