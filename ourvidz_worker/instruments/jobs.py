"""What is counted of each job: its wait, its generation and its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ourvidz_worker.contract.job import Job
from ourvidz_worker.instruments import metrics, stages, tracing

GB = 1e9


def expected(job_types: Iterable[str], queue: str) -> None:
    """Show what may come as 0: a series that begins with its first event hides it from `rate` and `increase`."""
    for name in job_types:
        for outcome in ("completed", "failed", "requeued"):
            metrics.JOBS.labels(name, outcome)
    metrics.series(metrics.DEAD_LETTERS, queue)
    metrics.series(metrics.SPOOL_FULL, queue)
    for outcome in ("job", "empty", "unavailable"):
        metrics.series(metrics.CLAIMS, queue, outcome)


def claimed(job: Job, queue: str, *, claim_seconds: float, seconds_ago: float, redelivered: bool) -> None:
    """A job was claimed `seconds_ago`, and the claim took `claim_seconds`; the rest of this task works on it.

    Its wait counts once, for a redelivery waited only since it was handed back.
    """
    name = job.type.name
    stages.work_on(name)
    tracing.begin_job(job, queue, seconds_ago=seconds_ago + claim_seconds)
    stages.passed("claim", claim_seconds, seconds_ago=seconds_ago + claim_seconds)
    if job.created_at is not None and not redelivered:
        waited = (datetime.now(UTC) - job.created_at).total_seconds() - seconds_ago
        metrics.series(metrics.QUEUE_WAIT, name).observe(max(0.0, waited))  # the producer's clock may be ahead


def generated(job: Job, seconds: float, *, peak_gb: float | None, recovered: bool) -> None:
    """A generation came to its end after so long on the card; that of a shared batch counts for each of its jobs."""
    name = job.type.name
    metrics.series(metrics.GENERATION_SECONDS, name).observe(seconds)
    metrics.series(metrics.GENERATION_RATIO, name).observe(seconds / job.expected_seconds)
    if peak_gb is not None:
        metrics.series(metrics.GPU_PEAK_BYTES, name).set(peak_gb * GB)
    if recovered:
        metrics.series(metrics.RECOVERIES, name).inc()


def ended(job: Job, outcome: str, *, seconds: float, error_type: str | None) -> None:
    """A claimed job came to its end in this worker, `seconds` after its claim."""
    name = job.type.name
    metrics.JOBS.labels(name, outcome).inc()
    tracing.job_outcome(outcome, error_type)
    if outcome == "completed":
        metrics.series(metrics.JOB_SECONDS, name).observe(seconds)
    elif outcome == "failed":
        metrics.series(metrics.JOB_FAILURES, name, error_type or metrics.OTHER).inc()


def refused(error_type: str) -> None:
    """A payload that is no job of ours was reported failed."""
    metrics.JOBS.labels(metrics.OTHER, "failed").inc()
    metrics.series(metrics.JOB_FAILURES, metrics.OTHER, error_type).inc()
