"""The card between the processes that share it: hears what they hold and ask for, and answers in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ourvidz_worker.control import Instruction, Message
from ourvidz_worker.instruments import metrics
from ourvidz_worker.supervisor.arbitration import PATIENCE_SECONDS, Arbitration, Sends

GB = 1e9

Tell = Callable[[Instruction], None]
"""Sends an instruction to one process; never waits, and is harmless when nobody is there any more."""


class Broker:
    """`Arbitration` in an event loop. Without a `budget_bytes` everybody is granted everything."""

    def __init__(self, budget_bytes: int | None, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._arbitration = Arbitration(budget_bytes, patience_seconds=patience_seconds)
        self._tells: dict[str, Tell] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def joined(self, name: str, tell: Tell) -> None:
        """A process began to live."""
        self._tells[name] = tell
        self._arbitration.joined(name)

    def left(self, name: str) -> None:
        """A process is dead, and its memory free."""
        self._tells.pop(name, None)
        self._send(self._arbitration.left(name, self._now))

    def heard(self, name: str, message: Message) -> None:
        self._send(self._arbitration.heed(name, message, self._now))

    @property
    def used(self) -> Mapping[str, int]:
        """Bytes of the card that each process may hold, or holds, by its name."""
        return self._arbitration.used

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _send(self, sends: Sends) -> None:
        for name, instruction in sends:
            metrics.series(metrics.GPU_INSTRUCTIONS, name, instruction.kind).inc()
            if instruction.components:
                structlog.get_logger().info(
                    "card_shared",
                    worker=name,
                    instruction=instruction.kind,
                    components=instruction.components,
                    used_gb={process: round(used / GB, 2) for process, used in self._arbitration.used.items()},
                )
            self._tells[name](instruction)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        deadline = self._arbitration.deadline
        loop = asyncio.get_running_loop()
        self._alarm = None if deadline is None else loop.call_at(deadline, self._look)

    def _look(self) -> None:
        # A timer may go off within the resolution of the clock before its time.
        deadline = self._arbitration.deadline
        self._send(self._arbitration.look(max(self._now, deadline or 0.0)))
