"""How long a job of each type keeps a card at work: as the catalogue expects, or as a worker has measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import ConfigurationError

METRIC = "ourvidz_generation_seconds"


def expected_seconds(job_type: JobType, images: int) -> float:
    """On the reference card."""
    return job_type.expected_seconds * (images if job_type.expected_per_image else 1)


def measured_seconds(file: Path) -> dict[str, float]:
    """The mean of each job type in what a worker's `/metrics` answered; several answers may follow one another.

    Raises `ConfigurationError` where the file cannot be read, or says nothing of generations.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not what /metrics answers: it is no text") from None
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                job_type = sample.labels.get("job_type", "")
                if sample.name == f"{METRIC}_sum":
                    sums[job_type] += sample.value
                elif sample.name == f"{METRIC}_count":
                    counts[job_type] += sample.value
    except ValueError as error:
        raise ConfigurationError(f"{file} is not what /metrics answers: {error}") from None
    means = {name: sums[name] / count for name, count in counts.items() if count > 0 and sums[name] > 0}
    if not means:
        raise ConfigurationError(
            f"{file} has no {METRIC}: save what http://127.0.0.1:9401/metrics of a worker answers after some jobs"
        )
    return means
