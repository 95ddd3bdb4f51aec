"""The state of everything, as one log line a minute and as a file that other programs may read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ourvidz_worker import __version__
from ourvidz_worker.control import Health, WorkerState
from ourvidz_worker.instruments import metrics
from ourvidz_worker.supervisor.child import Child
from ourvidz_worker.supervisor.gpu import GB, Card, visible_cards

_MOST_ABLE_FIRST = (
    WorkerState.BUSY,
    WorkerState.READY,
    WorkerState.DRAINING,
    WorkerState.LOADING,
    WorkerState.STARTING,
    WorkerState.FAILED,
)


_CARDS_LOOK = 2.0  # seconds; the driver is not asked for every step of a job


class Status:
    """Looks at the children when asked."""

    def __init__(self, file: Path | None) -> None:
        self._children: Sequence[Child] = ()
        self._file = file
        self._begun = time.monotonic()
        self._cards: list[dict[str, Any]] = []
        self._cards_seen: float | None = None

    def of(self, children: Sequence[Child]) -> None:
        """From now on it is about these."""
        self._children = children

    def as_json(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._begun, 1),
            "workers": {
                child.spec.name: {
                    "kind": child.spec.kind,
                    "device": child.spec.device,
                    "process": child.state.value,
                    "problem": child.problem or child.view.problem,
                    "pid": child.pid,
                    "restarts": child.restarts,
                    **child.view.as_json(),
                }
                for child in self._children
            },
            "cards": self._cards_as_json(),
        }

    def _cards_as_json(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        if self._cards_seen is None or now - self._cards_seen >= _CARDS_LOOK:
            self._cards_seen = now
            self._cards = [_card(card) for card in visible_cards()]
        return self._cards

    def health(self) -> Health:
        """That of whichever worker is the most able."""
        states = [child.health() for child in self._children]
        if not states:
            return Health(WorkerState.STARTING)
        return min(states, key=lambda health: (health.beyond_help, _MOST_ABLE_FIRST.index(health.state)))

    def measure(self) -> None:
        for child in self._children:
            child.measure()
        for card in visible_cards():
            metrics.CARD_USED_BYTES.labels(card.device).set(card.memory.used_gb * GB)
            metrics.CARD_TOTAL_BYTES.labels(card.device).set(card.memory.total_gb * GB)

    def preview(self, job_id: str) -> bytes | None:
        """A small WEBP of what is being drawn for a job, where there is one."""
        pictures = (child.view.picture_of(job_id) for child in self._children)
        return next((picture for picture in pictures if picture), None)

    def log(self) -> None:
        workers = {child.spec.name: f"{child.state.value}/{child.view.state.value}" for child in self._children}
        outcomes: dict[str, int] = {}
        for child in self._children:
            for outcome, count in child.view.outcomes.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
        cards = visible_cards()
        structlog.get_logger().info(
            "status",
            uptime_seconds=round(time.monotonic() - self._begun),
            workers=workers,
            jobs=outcomes,
            waiting={child.spec.name: child.view.waiting for child in self._children},
            card={child.spec.name: child.view.held_gb() for child in self._children},
            devices={child.spec.name: child.spec.device for child in self._children},
            gpu_used_gb={card.device: round(card.memory.used_gb, 2) for card in cards},
            gpu_total_gb={card.device: round(card.memory.total_gb, 2) for card in cards},
        )

    def write(self) -> None:
        """Replace the file, so that a reader sees a whole status or the one before."""
        if self._file is None:
            return
        draft = self._file.with_name(self._file.name + ".part")
        try:
            draft.write_text(json.dumps(self.as_json()), encoding="utf-8")
            draft.replace(self._file)
        except OSError as error:  # a full disk may not cost a running worker its supervisor
            structlog.get_logger().warning("status_file_not_written", problem=str(error))


def _card(card: Card) -> dict[str, Any]:
    memory = card.memory
    return {
        "device": card.device,
        "name": card.name,
        "used_gb": round(memory.used_gb, 3),
        "total_gb": round(memory.total_gb, 3),
    }
