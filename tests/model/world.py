"""The world of the model: one clock, processes that are stepped one at a time, and events in between."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

from tests.model.loops import SteppedLoop

ROUND_SECONDS = 1e-6

Main = Callable[["Process"], Coroutine[Any, Any, int]]


class Process:
    """A process with its own event loop; it can be killed and stopped between any two rounds of it."""

    def __init__(self, world: World, name: str, main: Main) -> None:
        self.world = world
        self.name = name
        self.loop = SteppedLoop(lambda: world.now)
        self.loop.set_exception_handler(lambda _loop, context: world.on_unhandled(self, context))
        self.exit_code: int | None = None
        self.paused = False
        self.resumed_at = 0.0
        self.on_exit: list[Callable[[], object]] = []
        self._main = self.loop.create_task(main(self))

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def running(self) -> bool:
        return self.alive and not self.paused

    def step(self) -> None:
        self.loop.step()
        if self._main.done() and self.alive:
            self._end(self._main.result())

    def kill(self) -> None:
        """As SIGKILL: nothing of it ever runs again."""
        if self.alive:
            self._end(-9)

    def pause(self, seconds: float) -> None:
        """As SIGSTOP, and SIGCONT so much later.

        It comes when the process waits: between a look at the lease and the act that follows at once, nothing could
        exclude a pause, and its far side has to stand it.
        """
        if not self.running:
            return
        if not self.loop.is_idle():
            self.world.after(0, lambda: self.pause(seconds))
            return
        self.world.note(f"paused for {seconds:.1f} s", self)
        self.paused = True
        self.world.after(seconds, self._resume)

    def _resume(self) -> None:
        if self.paused and self.alive:
            self.world.note("goes on", self)
            self.resumed_at = self.world.now
        self.paused = False

    def _end(self, exit_code: int) -> None:
        self.world.note("killed" if exit_code == -9 else f"ends with exit code {exit_code}", self)
        self.exit_code = exit_code
        self.world.alive.remove(self)
        for tell in self.on_exit:
            tell()


class World:
    """Virtual seconds. A round of an event loop takes one microsecond, and waiting takes its time.

    What happens at the same moment happens in an order that the seed decides.
    """

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.random = random
        self.alive: list[Process] = []
        self.current: Process | None = None
        self.over = False
        self.steps = 0
        self.on_unhandled: Callable[[Process, Mapping[str, Any]], None] = lambda _process, _context: None
        self._notes: list[tuple[float, str, str]] = []
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._loops: list[SteppedLoop] = []

    def note(self, what: str, process: Process | None = None) -> None:
        """Add a line to the timeline."""
        self._notes.append((self.now, process.name if process else "", what))

    def timeline(self) -> tuple[str, ...]:
        return tuple(f"{when:9.3f}  {who:<8} {what}" for when, who, what in self._notes)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, self.random.random(), next(self._numbers), action))

    def start(self, name: str, main: Main) -> Process:
        process = Process(self, name, main)
        self.alive.append(process)
        self._loops.append(process.loop)
        return process

    def advance(self) -> None:
        """Let the next thing happen."""
        self.steps += 1
        when, process = self._next_process()
        event = self._events[0][0] if self._events else float("inf")
        if process is not None and (when < event or (when == event and self.random.random() < 0.5)):
            self.now = max(self.now, when)
            self.current = process
            process.step()
            self.current = None
            self.now += ROUND_SECONDS
        elif self._events:
            self.now = max(self.now, event)
            heapq.heappop(self._events)[-1]()
        else:
            raise RuntimeError("nothing will ever happen again")

    def _next_process(self) -> tuple[float, Process | None]:
        earliest, chosen = float("inf"), []
        for process in self.alive:
            if process.paused or (due := process.loop.due()) is None:
                continue
            due = max(due, self.now)
            if due < earliest:
                earliest, chosen = due, [process]
            elif due == earliest:
                chosen.append(process)
        if len(chosen) > 1:
            return earliest, self.random.choice(chosen)
        return earliest, chosen[0] if chosen else None

    def discard(self) -> None:
        self.over = True
        for loop in self._loops:
            loop.discard()
