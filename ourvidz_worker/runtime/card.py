"""The card, which one generation has at a time: whose turn it is, and the next one as soon as it is free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import structlog

from ourvidz_worker.errors import Interruption, Restart
from ourvidz_worker.runtime.line import Line
from ourvidz_worker.runtime.studio import Outcome, Sitter, Studio

Start = Callable[[int], asyncio.Task[None] | None]
"""Called when a job gets the card, together with so many in all, to send word that it is begun; None where it was."""


@dataclass(eq=False, slots=True)
class Seat:
    """A job's place before the card, then on it.

    One that is `suspect`, because an earlier delivery came to nothing, waits for its start to be confirmed and shares
    no batch: it may be what costs its workers their lives, and then has to be charged, and nobody else.
    """

    sitter: Sitter
    start: Start
    shape: Hashable | None
    suspect: bool
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    def job_type(self) -> str:
        return self.sitter.request.job.type.name

    @property
    def num_images(self) -> int:
        return self.sitter.request.job.num_images

    def settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():  # whoever waited may be gone
            self.outcome.set_result(outcome)


class Card:
    """Gives the card to who waits longest, together with those who wait behind and share its batch.

    `most_images` is how many pictures of several jobs one batch may hold; 1 means that nobody shares. `on_change` is
    called when the card becomes free and when somebody gets it.
    """

    def __init__(self, studio: Studio, *, most_images: int = 1) -> None:
        self.shared = most_images > 1
        self._studio = studio
        self._line: Line[Seat] = Line(most_images)
        self._drawing: asyncio.Task[None] | None = None
        self._seated = 0
        self.on_change: Callable[[], None] = lambda: None

    @property
    def busy(self) -> bool:
        return self._drawing is not None

    @property
    def waiting(self) -> int:
        """How many jobs wait for the card."""
        return len(self._line)

    @property
    def served(self) -> int:
        """How many jobs wait for the card or have it."""
        return len(self._line) + self._seated

    @property
    def wanted(self) -> str | None:
        """The job type that one more may be of to share the next batch."""
        return self._line.wanted if self.shared else None

    def close_line(self) -> None:
        """Nobody else shares the next batch."""
        self._line.close()

    async def draw(self, sitter: Sitter, start: Start, *, suspect: bool) -> Outcome:
        """Wait for the card and draw. Raises the `Interruption` that ended the wait."""
        alone = suspect or not self.shared
        shape = None if alone else self._studio.shape(sitter)
        seat = Seat(sitter, start, shape, suspect)
        self._line.join(seat)
        self._advance()
        if not seat.turn.is_set():
            await self._wait(seat)
        return await seat.outcome

    async def _wait(self, seat: Seat) -> None:
        seat.sitter.progress.phase("waiting")
        self.on_change()
        try:
            with seat.sitter.interrupter.resting():
                await seat.sitter.interrupter.run(seat.turn.wait())
        except BaseException as reason:
            if not seat.turn.is_set():
                self._line.leave(seat)
                self.on_change()
                raise
            if not isinstance(reason, Interruption):
                raise
            # It got the card just now, and the generation meets the same reason.

    def _advance(self) -> None:
        if self._drawing is not None or not self._line:
            return
        seats = self._line.take()
        for seat in seats:
            seat.turn.set()
        self._seated = len(seats)
        self._drawing = asyncio.create_task(self._draw(seats), context=_named(seats))
        self.on_change()

    async def _draw(self, seats: Sequence[Seat]) -> None:
        outcomes: Sequence[Outcome]
        try:
            await self._begin(seats)
            outcomes = await self._studio.draw([seat.sitter for seat in seats])
        except Exception as error:  # noqa: BLE001 - each job fails with it
            outcomes = [error] * len(seats)
        self._seated = 0
        if not any(isinstance(outcome, Restart) for outcome in outcomes):
            self._drawing = None  # otherwise this process draws nothing any more
            self._advance()  # before anybody looks at what was drawn: the card is dear
        for seat, outcome in zip(seats, outcomes, strict=True):
            seat.settle(outcome)
        self.on_change()

    async def _begin(self, seats: Sequence[Seat]) -> None:
        """The generation waits for no network: it goes on while Redis is told, and stops at its first step if not."""
        sent = [(seat, seat.context.run(seat.start, len(seats))) for seat in seats]
        awaited = [start for seat, start in sent if seat.suspect and start is not None]
        if awaited:
            await asyncio.wait(awaited)


def _named(seats: Sequence[Seat]) -> contextvars.Context:
    """What is logged meanwhile carries the names of the jobs."""
    context = seats[0].context.copy()
    if len(seats) > 1:
        context.run(structlog.contextvars.unbind_contextvars, "job_id", "attempt", "trace_id")
        context.run(structlog.contextvars.bind_contextvars, job_ids=[seat.sitter.request.job.id for seat in seats])
    return context
