"""`queue status`: one look at every queue."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.backend.queue.queue_state import Entry, Holder, QueueState, queue_state
from ourvidz_worker.cli.queue.desk import Desk
from ourvidz_worker.cli.queue.output import age

_SHOWN = 3


async def show(desk: Desk, _arguments: argparse.Namespace) -> int:
    pop_end = desk.settings.pop_end
    states = [
        await queue_state(desk.redis, queue, desk.catalogue, pop_end=pop_end, shown=_SHOWN) for queue in desk.queues
    ]
    parked = len(desk.parked())
    if desk.output.as_json:
        desk.output.document({"queues": [_as_json(state) for state in states], "parked": parked})
    else:
        desk.output.table(("queue", "what", "count", "jobs"), (row for state in states for row in _rows(state)))
        desk.output.line(f"parked on this machine: {parked}")
    return 0


def _rows(state: QueueState) -> Iterator[tuple[str, str, int, str]]:
    yield state.queue, "waiting", state.waiting, _jobs(state.coming, state.waiting)
    for holder in state.holders:
        yield state.queue, f"held by {holder.owner}, {_lease(holder)}", holder.count, _jobs(holder.jobs, holder.count)
    yield state.queue, "dead", state.dead, "see `queue dead list`" if state.dead else ""


def _lease(holder: Holder) -> str:
    return "lease lapsed" if holder.lease_seconds is None else f"lease for {holder.lease_seconds} s"


def _jobs(entries: Iterable[Entry], count: int) -> str:
    told = [_job(entry) for entry in entries]
    return ", ".join([*told, "…"] if len(told) < count else told)


def _job(entry: Entry) -> str:
    since = age(entry.created_at)
    words = [
        entry.job_type or "no job that could run",
        entry.job_id,
        f"attempt {entry.attempt}" if entry.attempt > 1 else None,
        "generating" if entry.started else None,
        f"{since} old" if since else None,
    ]
    return " ".join(filter(None, words))


def _as_json(state: QueueState) -> dict[str, Any]:
    return {
        "queue": state.queue,
        "waiting": state.waiting,
        "next": [entry_as_json(entry) for entry in state.coming],
        "held": [holder_as_json(holder) for holder in state.holders],
        "dead": state.dead,
    }


def holder_as_json(holder: Holder) -> dict[str, Any]:
    return {
        "owner": holder.owner,
        "alive": holder.lease_seconds is not None,
        "lease_seconds": holder.lease_seconds,
        "count": holder.count,
        "jobs": [entry_as_json(entry) for entry in holder.jobs],
    }


def entry_as_json(entry: Entry) -> dict[str, Any]:
    created_at = entry.created_at
    return {
        "job_id": entry.job_id,
        "job_type": entry.job_type,
        "attempt": entry.attempt,
        "started": entry.started,
        "age_seconds": created_at and round((datetime.now(UTC) - created_at).total_seconds()),
    }
