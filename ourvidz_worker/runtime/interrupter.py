"""Stopping a generation from outside: between two denoising steps, by an exception no library swallows."""

from __future__ import annotations

import threading
import time

from ourvidz_worker.errors import DeadlinePassed, Interruption


class Interrupter:
    """Set from the event loop, looked at by the generation thread after every step."""

    def __init__(self, deadline_seconds: float) -> None:
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + deadline_seconds
        self._interruption: Interruption | None = None

    def stop(self, interruption: Interruption) -> None:
        """Stop at the next step; the first reason given stays."""
        with self._lock:
            self._interruption = self._interruption or interruption

    def look(self) -> None:
        """Raise the reason to stop, if there is one."""
        with self._lock:
            interruption = self._interruption
        if interruption is not None:
            raise interruption
        if time.monotonic() > self._deadline:
            raise DeadlinePassed

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())
