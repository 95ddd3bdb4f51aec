"""The facts an operator goes by, as one JSON document: for the page, for the terminal and for scripts alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker import __version__
from ourvidz_worker.operate.cards import card_facts
from ourvidz_worker.operate.desk import Papers, QueueFacts
from ourvidz_worker.operate.failures import failure_facts
from ourvidz_worker.operate.pods import Pod
from ourvidz_worker.operate.reading import number, table, text
from ourvidz_worker.operate.workers import is_down, takes_jobs, worker_facts

Worker = Mapping[str, Any]


def facts_of(pods: Sequence[Pod], papers: Papers, *, seen_at: datetime | None = None) -> dict[str, Any]:
    """`needs` are the sentences on what a person has to see to, and `well` says that there are none.

    `seen_at` is when the papers were read, now unless it is given.
    """
    now = datetime.now(UTC)
    told = [_pod(pod) for pod in pods]
    workers = [worker for pod in told for worker in pod["workers"]]
    queues = [_queue(queue, workers) for queue in papers.queues]
    needs = [*_needs_of_pods(told), *papers.problems, *_needs_of_queues(papers, workers, pods)]
    return {
        "version": __version__,
        "at": now.isoformat(timespec="seconds"),
        "well": not needs,
        "needs": needs,
        "pods": told,
        "queues_seen_at": (seen_at or now).isoformat(timespec="seconds"),
        "queues": queues,
        "dead": list(papers.dead),
        "parked": list(papers.parked),
        "failures": failure_facts(pod.status for pod in pods),
    }


def _pod(pod: Pod) -> dict[str, Any]:
    workers = table(pod.status, "workers")
    return {
        "address": pod.address,
        "problem": pod.problem,
        "version": text(pod.status, "version"),
        "uptime_seconds": number(pod.status, "uptime_seconds"),
        "workers": [worker_facts(name, worker) for name, worker in workers.items() if isinstance(worker, dict)],
        "cards": card_facts(pod.status),
    }


def _queue(queue: QueueFacts, workers: Sequence[Worker]) -> dict[str, Any]:
    of_its_kind = [worker for worker in workers if worker["kind"] == queue.kind]
    takers = sum(map(takes_jobs, of_its_kind)) or sum(bool(holder.get("alive")) for holder in queue.held)
    wait = None if queue.work_seconds is None or not takers else queue.work_seconds / takers
    return {
        "queue": queue.queue,
        "kind": queue.kind,
        "waiting": queue.waiting,
        "oldest_seconds": queue.oldest_seconds,
        # How long a job that comes now waits, going by what is expected of each type.
        "wait_seconds": 0.0 if not queue.waiting and takers else wait and round(wait, 1),
        "workers": takers,
        "completed_per_minute": round(sum(worker["completed_per_minute"] for worker in of_its_kind), 2),
        "dead": queue.dead,
        "next": list(queue.coming),
        "held": list(queue.held),
    }


def _needs_of_pods(pods: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for pod in pods:
        if pod["problem"]:
            yield pod["problem"]
        for worker in pod["workers"]:
            if is_down(worker):
                where = f" of {pod['address']}" if len(pods) > 1 else ""
                fate = "was given up" if worker["process"] == "FATAL" else "cannot work"
                yield f"the {worker['name']} worker{where} {fate}: {worker['reason'] or 'it gave no reason'}"


def _needs_of_queues(papers: Papers, workers: Sequence[Worker], pods: Sequence[Pod]) -> Iterator[str]:
    everybody_told = all(pod.problem is None for pod in pods)
    for queue in papers.queues:
        alive = any(holder.get("alive") for holder in queue.held)
        if queue.waiting and everybody_told and not alive and not _may_come(queue.kind, workers):
            yield f"{_jobs(queue.waiting)} in {queue.queue}, and no {queue.kind} worker is there to take them"
    dead = sum(queue.dead for queue in papers.queues)
    if dead:
        yield f"{_pieces(dead, 'dead letter')} to be queued again or dropped"
    if papers.parked:
        yield f"{_pieces(len(papers.parked), 'parked result')} to be sent again or dropped"


def _may_come(kind: str, workers: Sequence[Worker]) -> bool:
    """A worker that loads or is started again takes jobs soon."""
    return any(worker["kind"] == kind and not is_down(worker) for worker in workers)


def _jobs(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"


def _pieces(count: int, noun: str) -> str:
    return f"1 {noun} waits" if count == 1 else f"{count} {noun}s wait"
