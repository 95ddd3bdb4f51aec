"""Holding a request back at the fault proxy, so that a process can be killed while it waits for the answer."""

from __future__ import annotations

import asyncio
import glob
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from tests.support.fault_proxy import Exchange, Fault, Rule, RunningProxy


@dataclass(frozen=True, slots=True)
class Moment:
    """Requests of a route (a pattern; a callback also by its `status`), before or after the far side executes them.

    The first `passing` of them go through.
    """

    route: str
    phase: Literal["arrived", "executed"]
    status: str | None = None
    passing: int = 0

    def is_of(self, exchange: Exchange) -> bool:
        if not fnmatchcase(exchange.route, self.route):
            return False
        return self.status is None or json.loads(exchange.body)["status"] == self.status

    @property
    def fault(self) -> Fault:
        """What the client sees in the end."""
        return Fault.RESET if self.phase == "arrived" else Fault.DROP


@dataclass(slots=True)
class Hold:
    """The requests that were let through, and those that are held back until `opened`, then cut off."""

    moment: Moment
    passed: list[Exchange] = field(default_factory=list)
    held: list[Exchange] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reached(self) -> bool:
        """Whether a request is held at the moment, and whatever may go before it was executed."""
        return any(exchange.phase == self.moment.phase for exchange in self.held) and all(
            exchange.status is not None for exchange in self.passed
        )

    async def see(self, exchange: Exchange, running: RunningProxy) -> None:
        """What the proxy calls at each phase of an exchange."""
        if exchange.phase == "arrived" and self.moment.is_of(exchange):
            if len(self.passed) < self.moment.passing:
                self.passed.append(exchange)
                return
            self.held.append(exchange)
            if self.moment.phase == "arrived":
                await self.opened.wait()
            # The proxy asks its rules right after this, so no other exchange meets this one.
            running.proxy.add(Rule(glob.escape(exchange.route), self.moment.fault, times=1))
        elif exchange.phase == self.moment.phase and any(exchange is held for held in self.held):
            await self.opened.wait()


class Gate:
    """Stands in a running proxy; open unless told otherwise."""

    def __init__(self, running: RunningProxy) -> None:
        self._running = running
        self._hold: Hold | None = None
        running.proxy.watch(self._see)

    @contextmanager
    def holding(self, moment: Moment) -> Iterator[Hold]:
        """Hold back these requests until the block ends."""
        self._hold = hold = Hold(moment)
        try:
            yield hold
        finally:
            self._hold = None
            self._running.run(_set(hold.opened))

    async def _see(self, exchange: Exchange) -> None:
        if self._hold is not None:
            await self._hold.see(exchange, self._running)


async def _set(event: asyncio.Event) -> None:
    event.set()
