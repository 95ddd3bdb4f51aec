"""The state of everything, as one log line a minute and as a file that other programs may read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ourvidz_worker.supervisor.child import Child
from ourvidz_worker.supervisor.gpu import gpu_memory


class Status:
    """Looks at the children when asked; holds nothing but the time it began."""

    def __init__(self, children: Sequence[Child], file: Path | None) -> None:
        self._children = children
        self._file = file
        self._begun = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        return {
            "uptime_seconds": round(time.monotonic() - self._begun, 1),
            "workers": {
                child.spec.name: {
                    "process": child.state.value,
                    "problem": child.problem or child.view.problem,
                    "pid": child.pid,
                    "restarts": child.restarts,
                    **child.view.as_json(),
                }
                for child in self._children
            },
        }

    def log(self) -> None:
        workers = {child.spec.name: f"{child.state.value}/{child.view.state.value}" for child in self._children}
        outcomes: dict[str, int] = {}
        for child in self._children:
            for outcome, count in child.view.outcomes.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
        memory = gpu_memory()
        structlog.get_logger().info(
            "status",
            uptime_seconds=round(time.monotonic() - self._begun),
            workers=workers,
            jobs=outcomes,
            waiting={child.spec.name: child.view.waiting for child in self._children},
            card={child.spec.name: child.view.held_gb() for child in self._children},
            gpu_used_gb=memory and round(memory.used_gb, 2),
            gpu_total_gb=memory and round(memory.total_gb, 2),
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
