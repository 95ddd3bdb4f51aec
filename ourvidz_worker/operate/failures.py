"""Recent failures of all pods, grouped by the type of the job and of the error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.operate.reading import entries, number, table, text
from ourvidz_worker.operate.workers import kind_of

_IDS_KEPT = 5


def failure_facts(statuses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The group with the newest failure first; each tells of its newest in full."""
    groups: dict[tuple[str, str], list[tuple[float, Mapping[str, Any]]]] = {}
    for status in statuses:
        for name, worker in table(status, "workers").items():
            for failure in entries(worker, "failures") if isinstance(worker, dict) else ():
                job_type = text(failure, "job_type") or f"a job of {kind_of(name)}"
                key = (job_type, text(failure, "error_type") or text(failure, "status") or "failed")
                groups.setdefault(key, []).append((number(failure, "at") or 0.0, failure))
    facts = [_group(*key, failures) for key, failures in groups.items()]
    return sorted(facts, key=lambda fact: fact["last_at"], reverse=True)


def _group(job_type: str, error_type: str, failures: list[tuple[float, Mapping[str, Any]]]) -> dict[str, Any]:
    newest_first = sorted(failures, key=lambda failure: failure[0], reverse=True)
    at, last = newest_first[0]
    return {
        "job_type": job_type,
        "error_type": error_type,
        "count": len(failures),
        "last_reason": text(last, "reason"),
        "last_at": _iso(at),
        "job_ids": [job_id for _, failure in newest_first[:_IDS_KEPT] if (job_id := text(failure, "job_id"))],
    }


def _iso(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat(timespec="seconds")
