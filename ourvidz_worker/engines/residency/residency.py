"""What lies on the card for whom.

Components stay where they are as long as everything fits, and then a stage costs a lock and nothing else. When a stage
needs more than may be held, other processes are asked for room first, and then idle components are evicted in the
order of their ranks. Several threads may be in stages at once: a prompt is encoded while another job is drawn.

Free of any model library: weights and the card are behind protocols.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from ourvidz_worker.control import Held, usable_bytes
from ourvidz_worker.engines.residency.component import Component, Movable
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.workspace import NONE, MeasuredWorkspaces, Workspace
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.errors import OutOfMemory

GB = 10**9
PATIENCE_SECONDS = 10.0


class Card(Protocol):
    """The device that components lie on."""

    @property
    def total_bytes(self) -> int | None:
        """None where memory is not counted."""

    def free_cache(self) -> None:
        """Give back what was freed, so that other processes can have it."""

    def peak(self) -> Callable[[], int] | None:
        """Begin to watch: the result gives the most bytes taken since, beyond what was taken at the beginning.

        None where memory is not counted.
        """


class Neighbours(Protocol):
    """The other processes on the card, through whoever arbitrates between them."""

    def tell(self, held: Sequence[Held], claimed_bytes: int) -> None: ...

    def ask(self, wanted_bytes: int, evictable: Sequence[Held] = (), *, waits: bool = True) -> Sequence[str] | None:
        """Ask to hold as much in all: what others evicted for it (`worker/component`), or None when nobody answers.

        The answer may leave it to this process to evict what it calls evictable.
        `Residency.allow` was called before this returns. One that `waits` leaves stages elsewhere some time to end.
        """


@dataclass(slots=True, eq=False)
class _Stage:
    name: str
    needs: tuple[Component, ...]
    workspace: Workspace
    workspace_bytes: int
    thread: int = field(default_factory=threading.get_ident)
    alone: bool = True


class _Failed(threading.local):
    """What the stage needed that ended last in this thread with an error; nothing once another one began."""

    needs: tuple[Component, ...] = ()


class Residency:
    """The components of one process on one card.

    `budget_bytes` is what the process may hold in all; without it the card's size decides, and where that is not
    counted, on the CPU, there is always room. `patience_seconds` is how long a stage waits for stages of other threads.
    """

    def __init__(
        self,
        budget_bytes: int | None = None,
        *,
        neighbours: Neighbours | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget_bytes
        self._budget_is_set = budget_bytes is not None
        self._neighbours = neighbours
        self._patience = patience_seconds
        self._clock = clock
        self._card: Card | None = None
        self._components: dict[str, Component] = {}
        self._stages: list[_Stage] = []
        self._allowed = 0 if neighbours else None
        self._changed = threading.Condition()
        self._failed = _Failed()
        self._workspaces = MeasuredWorkspaces()

    def on(self, card: Card) -> None:
        """The card that the components are on; measured where no budget was set."""
        with self._changed:
            self._card = card
            if self._budget is None and card.total_bytes is not None:
                self._budget = usable_bytes(card.total_bytes)

    def add(self, name: str, weights: Movable, *, rank: Rank) -> None:
        """Weights that were just loaded onto the card."""
        with self._changed:
            self._components[name] = Component(name, weights, rank, self._clock())
            self._tell()

    def remove(self, name: str) -> None:
        """Weights that nobody holds any more; harmless when repeated."""
        with self._changed:
            self._components.pop(name, None)
            self._tell()

    @property
    def budget_bytes(self) -> int | None:
        """What this process may hold at most, set or measured; None where there is always room."""
        return self._budget

    @property
    def resident(self) -> tuple[str, ...]:
        """The names of the components on the card, in the order in which they were added."""
        return tuple(component.name for component in self._components.values() if component.resident)

    @property
    def claimed_bytes(self) -> int:
        """What components and the workspaces of stages take together."""
        held = sum(component.weights.bytes for component in self._components.values() if component.resident)
        return held + sum(stage.workspace_bytes for stage in self._stages)

    @contextmanager
    def stage(self, name: str, *, needs: Sequence[str] = (), workspace: Workspace = NONE) -> Iterator[None]:
        """What is needed is on the card within, with room for the workspace, and stays there.

        Raises `OutOfMemory` when that cannot be had even after evicting all that is idle. An estimate alone refuses
        nothing, though: without a budget set by a person, a workspace that was never measured is tried.
        """
        stage = self._entered(name, needs, workspace)
        watch = self._card.peak() if self._card is not None and workspace is not NONE else None
        try:
            yield
            if watch is not None and stage.alone:
                self._workspaces.learn(workspace, watch())
        except Exception:
            self._failed.needs = stage.needs
            raise
        finally:
            with self._changed:
                self._end(stage)

    def evict_idle(self) -> list[str]:
        """Evict what comes first in the order, for a stage of this thread that failed; returns the names of what went.

        That is all that is idle here of the lowest rank, but for what that stage needs and would bring back. Before
        more is taken than adapters and the language model, other processes are asked for all that they can spare.
        """
        with self._changed:
            lowest = self._lowest()
            if lowest and lowest[0].rank <= Rank.LANGUAGE:
                return self._drop(lowest)
        if freed := self._spared_by_others():
            return freed
        with self._changed:
            return self._drop(self._lowest())

    def give_back(self, components: Sequence[str]) -> int:
        """Evict these unless they are in use, and keep to what is held then: returns that in bytes."""
        with self._changed:
            dropped = self._drop([component for component in self._idle() if component.name in components])
            if self._card is not None and not dropped:
                self._card.free_cache()
            self._allowed = self.claimed_bytes
            self._tell()
            return self._allowed

    def allow(self, allowed_bytes: int) -> None:
        with self._changed:
            self._allowed = allowed_bytes
            self._changed.notify_all()

    def _entered(self, name: str, needs: Sequence[str], workspace: Workspace) -> _Stage:
        """Ask, evict and wait, in this order, until the stage fits.

        Who waits lets models be loaded meanwhile, for it may be the room of one of those that it waits for. It goes on
        computing once nobody waits for its lock here.
        """
        with ExitStack() as paused:
            return self._let_in(name, needs, workspace, paused)

    def _let_in(self, name: str, needs: Sequence[str], workspace: Workspace, paused: ExitStack) -> _Stage:
        deadline = self._clock() + self._patience
        asked = waiting = False
        while True:
            with self._changed:
                stage = _Stage(
                    name,
                    tuple(self._components[need] for need in needs),
                    workspace,
                    self._workspaces.bytes_of(workspace),
                )
                self._failed.needs = ()
                if self._short(stage) > 0 and asked:
                    self._evict_for(stage)
                if self._short(stage) <= 0 or (asked and self._may_be_tried(stage, deadline)):
                    self._begin(stage)
                    return stage
                if asked:
                    if not waiting:
                        waiting = True
                        paused.enter_context(TURNS.paused())
                    if not self._another_ended(deadline):
                        self._failed.needs = stage.needs
                        raise OutOfMemory(self._complaint(stage))
                    asked = False
                    continue
                wanted = self._wanted(stage)
                evictable = [component.held() for component in self._idle() if component not in stage.needs]
            self._ask(wanted, evictable)
            asked = True

    def _ask(self, wanted_bytes: int, evictable: Sequence[Held]) -> None:
        """Where nobody arbitrates, or nobody answers, this process decides alone."""
        if self._neighbours is None or self._budget is None:
            return
        if self._neighbours.ask(min(wanted_bytes, self._budget), evictable) is None:
            self.allow(self._budget)

    def _spared_by_others(self) -> list[str]:
        if self._neighbours is None or self._budget is None:
            return []
        return list(self._neighbours.ask(self._budget, waits=False) or ())

    def _wanted(self, stage: _Stage) -> int:
        coming = sum(component.weights.bytes for component in set(stage.needs) if not component.resident)
        return self.claimed_bytes + coming + stage.workspace_bytes

    def _short(self, stage: _Stage) -> int:
        """How many bytes are lacking; not more than 0 where it fits."""
        if self._budget is None:
            return 0
        limit = self._budget if self._allowed is None else min(self._allowed, self._budget)
        return self._wanted(stage) - limit

    def _evict_for(self, stage: _Stage) -> None:
        short = self._short(stage)
        leaving: list[Component] = []
        for component in self._idle():
            if short <= 0:
                break
            if component not in stage.needs:
                leaving.append(component)
                short -= component.weights.bytes
        self._drop(leaving)

    def _may_be_tried(self, stage: _Stage, deadline: float) -> bool:
        """Whether nothing but an estimate speaks against it, and no stage of another thread is worth waiting for."""
        if self._budget_is_set or self._workspaces.is_measured(stage.workspace):
            return False
        weights_fit = self._short(stage) <= stage.workspace_bytes
        return weights_fit and not (self._others_are_at_work and self._clock() < deadline)

    @property
    def _others_are_at_work(self) -> bool:
        return any(stage.thread != threading.get_ident() for stage in self._stages)

    def _another_ended(self, deadline: float) -> bool:
        """Wait until a stage of another thread ended; False when there is none, or none did in time."""
        left = deadline - self._clock()
        return left > 0 and self._others_are_at_work and self._changed.wait(left)

    def _begin(self, stage: _Stage) -> None:
        absent = [component for component in stage.needs if not component.resident]
        for component in absent:
            component.weights.bring()
            component.resident = True
        if absent:
            self._log("brought_back", absent)
        for component in stage.needs:
            component.users += 1
            component.used_at = self._clock()
        for other in self._stages:
            if NONE not in (stage.workspace, other.workspace):
                other.alone = stage.alone = False
        self._stages.append(stage)
        self._tell()

    def _end(self, stage: _Stage) -> None:
        self._stages.remove(stage)
        for component in stage.needs:
            component.users -= 1
            component.used_at = self._clock()
        self._tell()
        self._changed.notify_all()

    def _idle(self) -> list[Component]:
        """What may be evicted, first what goes first."""
        return sorted((each for each in self._components.values() if each.idle), key=lambda each: each.order)

    def _lowest(self) -> list[Component]:
        idle = [component for component in self._idle() if component not in self._failed.needs]
        return [component for component in idle if component.rank == idle[0].rank]

    def _drop(self, components: Sequence[Component]) -> list[str]:
        for component in components:
            component.weights.drop()
            component.resident = False
        if components:
            if self._card is not None:
                self._card.free_cache()
            self._tell()
            self._log("evicted", components)
        return [component.name for component in components]

    def _log(self, event: str, components: Sequence[Component]) -> None:
        """Nothing moves where everything fits, so whoever reads of it may want a larger card, or fewer models."""
        structlog.get_logger().info(
            f"components_{event}",
            components=[component.name for component in components],
            gb=round(sum(component.weights.bytes for component in components) / GB, 2),
            held_gb=round(self.claimed_bytes / GB, 2),
        )

    def _tell(self) -> None:
        """In the lock, so that what is told last is what is so."""
        if self._neighbours is not None:
            held = [component.held() for component in self._components.values() if component.resident]
            self._neighbours.tell(held, self.claimed_bytes)

    def _complaint(self, stage: _Stage) -> str:
        assert self._budget is not None
        limit = self._budget if self._allowed is None else min(self._allowed, self._budget)
        needs = " and ".join(component.name for component in stage.needs) or "nothing else"
        weights = sum(component.weights.bytes for component in set(stage.needs))
        return (
            f"the stage {stage.name} needs {weights / GB:.1f} GB for {needs} and {stage.workspace_bytes / GB:.1f} GB "
            f"to work in, and of {limit / GB:.1f} GB that may be held, what is in use leaves too little"
        )
