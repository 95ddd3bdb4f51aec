"""Every metric of a process: its name, its labels and its unit, in one registry.

Names follow Prometheus' rules: `ourvidz_`, base units, `_total` for what is counted. Labels are few and bounded: job
types, queues and error types are those of the catalogue and of `errors.py`, and never an id or what a user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Any, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nothing here reads
REGISTRY = CollectorRegistry(auto_describe=True)

OTHER = "other"
"""The job type of what could not be read so far as to tell."""

_GENERATION = (0.5, 1, 2, 4, 8, 15, 25, 40, 60, 85, 100, 135, 180, 240, 360, 600, 900)
_RATIO = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10)
_STAGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_WAIT = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"ourvidz_{name}", text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"ourvidz_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: Iterable[float]) -> Histogram:
    return Histogram(f"ourvidz_{name}", text, labels, registry=REGISTRY, buckets=tuple(buckets))


BUILD = _gauge("build_info", "The version that runs; always 1", "process", "version", "python")

# --- jobs
JOBS = _counter("jobs_total", "Claimed jobs that came to an end here, by how", "job_type", "outcome")
JOB_FAILURES = _counter("job_failures_total", "Jobs reported failed, by error type", "job_type", "error_type")
JOB_SECONDS = _histogram("job_seconds", "Seconds from claim to end of completed jobs", "job_type", buckets=_GENERATION)
GENERATION_SECONDS = _histogram(
    "generation_seconds", "Seconds on the card of finished generations", "job_type", buckets=_GENERATION
)
GENERATION_RATIO = _histogram(
    "generation_expected_ratio",
    "Seconds on the card over those the catalogue expects: below 1 is faster",
    "job_type",
    buckets=_RATIO,
)
STAGE_SECONDS = _histogram("stage_seconds", "Seconds of each part of a job's way", "stage", "job_type", buckets=_STAGE)
RECOVERIES = _counter("recovered_generations_total", "Generations that ran out of memory and recovered", "job_type")
ENHANCEMENTS = _counter("enhancements_total", "Prompts to be rewritten: rewritten, or left as they were", "outcome")
POLICY_REFUSALS = _counter("policy_refusals_total", "What the content policy refused", "subject")

# --- the queue
QUEUE_LENGTH = _gauge("queue_length", "Jobs that waited when last looked", "queue")
QUEUE_WAIT = _histogram("queue_wait_seconds", "Seconds from creation to the first claim", "job_type", buckets=_WAIT)
CLAIMS = _counter("claims_total", "Claims by what became of them", "queue", "outcome")
LEASE_RENEWALS = _counter("lease_renewals_total", "Renewals of the lease by what became of them", "outcome")
REDIS_COMMANDS = _counter("redis_commands_total", "Redis commands, which plans bill one by one", "command", "outcome")
DEAD_LETTERS = _counter("dead_letters_total", "Jobs put aside for an operator in Redis", "queue")

# --- the way to the product
RETRIES = _counter("retries_total", "Repeats after a failure that was worth one", "operation")
UPLOADS = _counter("uploads_total", "Files on their way to the store", "media_type", "outcome")
UPLOADED_BYTES = _counter("uploaded_bytes_total", "Bytes that the store took", "media_type")
CALLBACKS = _counter(
    "callbacks_total", "Reports to the product by job status and what became of them", "status", "outcome"
)
PARKED = _counter("parked_total", "Results and reports that the product refused, kept on the disk", "kind")
SPOOL_FULL = _gauge("spool_full", "1 while no job is taken because finished results could not be kept", "queue")
DISK_FREE_BYTES = _gauge("disk_free_bytes", "Free space of a disk when last looked", "disk")

# --- a worker
WORKER_STATE = _gauge("worker_state", "1 for the state that a worker is in, 0 for the others", "worker", "state")
JOBS_IN_PROGRESS = _gauge("jobs_in_progress", "Jobs between claim and end", "worker")
REQUESTS_WAITING = _gauge("language_requests_waiting", "Requests that wait for the language model", "worker")
LANGUAGE_REQUESTS = _counter("language_requests_total", "Answered requests of the language worker", "endpoint", "code")
LANGUAGE_SECONDS = _histogram(
    "language_request_seconds", "Seconds until an answer, or a stream's beginning", "endpoint", buckets=_STAGE
)
GPU_COMPONENT_BYTES = _gauge("gpu_component_bytes", "Card memory of each part of a model", "worker", "component")
GPU_WORKER_BYTES = _gauge("gpu_worker_bytes", "Card memory of a worker's models with their workspace", "worker")
GPU_PEAK_BYTES = _gauge("gpu_peak_bytes", "Highest use of the card during the last generation", "job_type")

# --- the orchestrator
SUPERVISED_STATE = _gauge(
    "supervised_worker_state", "As ourvidz_worker_state, seen by the orchestrator, also of the dead", "worker", "state"
)
PROCESS_STATE = _gauge("supervised_process_state", "1 for the state of a worker's process", "worker", "state")
LAST_HEARD = _gauge("worker_last_heard_timestamp_seconds", "When a worker last gave a sign of life", "worker")
RESTARTS = _counter("worker_restarts_total", "Workers started again after an end that nobody wanted", "worker")
EXITS = _counter("worker_exits_total", "Ends of workers that nobody wanted, by reason", "worker", "reason")
RELEASED_JOBS = _counter("released_jobs_total", "Jobs of dead workers that were queued again", "worker")
CARD_USED_BYTES = _gauge("gpu_memory_used_bytes", "Memory of a card in use by all processes", "device")
CARD_TOTAL_BYTES = _gauge("gpu_memory_total_bytes", "Memory that a card has", "device")
GPU_GRANTED_BYTES = _gauge("gpu_granted_bytes", "Card memory that a worker may hold", "worker")

GPU_INSTRUCTIONS = _counter(
    "gpu_instructions_total", "What workers were told about the card: room granted, or to yield", "worker", "kind"
)


@overload
def series(metric: Counter, *labels: str) -> Counter: ...
@overload
def series(metric: Gauge, *labels: str) -> Gauge: ...
@overload
def series(metric: Histogram, *labels: str) -> Histogram: ...
@lru_cache(maxsize=4096)
def series(metric: Any, *labels: str) -> Any:
    """The one of these labels; `metric.labels` alone would be most of what counting costs."""
    return metric.labels(*labels)


def show_state(gauge: Gauge, worker: str, state: Enum) -> None:
    """Set `gauge` to 1 for the state, and to 0 for every other one of its kind."""
    for each in type(state):
        gauge.labels(worker, each.value).set(each is state)
