"""A pod's workers as an operator looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ourvidz_worker.operate.reading import count, entries, number, table, text

AT_WORK = ("READY", "BUSY")
_ANY_DEVICE = "auto"
_GIVEN_UP = "FATAL"
_FAILED = "FAILED"


def worker_facts(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """`process` is None of a worker that answers for itself, without an orchestrator."""
    return {
        "name": name,
        "kind": text(told, "kind") or kind_of(name),
        "device": device_of(told),
        "state": text(told, "state") or "STARTING",
        "process": text(told, "process"),
        "reason": text(told, "problem"),
        "uptime_seconds": number(told, "uptime_seconds"),
        "restarts": count(told, "restarts"),
        "pid": number(told, "pid"),
        "completed_per_minute": number(told, "completed_per_minute") or 0.0,
        "outcomes": {status: how_many for status, how_many in table(told, "outcomes").items() if _whole(how_many)},
        "jobs": [_job(job) for job in entries(told, "jobs")],
        "card_gb": number(table(told, "card"), "gb") or 0.0,
    }


def kind_of(name: str) -> str:
    """Further workers of a kind carry a number: `sdxl-2`."""
    return name.partition("-")[0]


def device_of(told: Mapping[str, Any]) -> str | None:
    """Where a worker was not given a device, it takes the first."""
    device = text(told, "device")
    return None if device == _ANY_DEVICE else device


def takes_jobs(worker: Mapping[str, Any]) -> bool:
    state, process = worker["state"], worker["process"]
    return state in AT_WORK and process in (None, "RUNNING")


def is_down(worker: Mapping[str, Any]) -> bool:
    """Whether nothing but a person brings it back."""
    return bool(worker["process"] == _GIVEN_UP or worker["state"] == _FAILED)


def _job(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": text(told, "id") or "",
        "type": text(told, "type"),
        "attempt": count(told, "attempt") or 1,
        "phase": text(told, "phase"),
        "step": count(told, "step"),
        "steps": count(told, "steps"),
        "seconds": number(told, "seconds"),
    }


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
