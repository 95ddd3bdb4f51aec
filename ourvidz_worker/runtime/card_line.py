"""The worker's part in sharing the card: it tells what it holds, asks for room, and gives back what others need."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ourvidz_worker.control import Held, Instruction, Message
from ourvidz_worker.runtime.control_channel import ControlChannel

ANSWER_SECONDS = 15.0  # more than the patience of a supervisor, which answers in any case


class Sharer(Protocol):
    """What holds memory on the card in this process. Both are called from a thread that does nothing else."""

    def give_back(self, components: Sequence[str]) -> int:
        """Evict these unless they are in use, and keep to what is held then: returns that in bytes."""

    def allow(self, allowed_bytes: int) -> None:
        """So much may be held from now on."""


@dataclass(slots=True)
class _Question:
    answered: threading.Event = field(default_factory=threading.Event)
    freed: tuple[str, ...] = ()


class CardLine:
    """Callable from any thread. Nothing here ever waits but `ask`, and that for a limited time."""

    def __init__(self, channel: ControlChannel, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._channel = channel
        self._answer_seconds = answer_seconds
        self._sharer: Sharer | None = None
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._deaf = False

    def serve(self, sharer: Sharer) -> None:
        """Pass on what the supervisor instructs, until it is gone."""
        self._sharer = sharer
        self._channel.listen(self._heed)

    def tell(self, held: Sequence[Held], claimed_bytes: int) -> None:
        self._channel.announce(Message("card", held=tuple(held), bytes=claimed_bytes))

    def ask(self, wanted_bytes: int, evictable: Sequence[Held] = (), *, waits: bool = True) -> tuple[str, ...] | None:
        """Ask for as much in all and wait for the answer, which `Sharer.allow` was told of before this returns.

        The answer may leave it to the asker to evict what it calls evictable.

        Returns what others evicted for it, or None when nobody answered; one that does not wait takes what is idle
        elsewhere and leaves stages alone. A supervisor that did not answer once is not waited for again until it says
        something.
        """
        number = next(self._numbers)
        question = self._questions[number] = _Question()
        self._channel.announce(
            Message("room", request=number, bytes=wanted_bytes, held=tuple(evictable), seconds=None if waits else 0.0)
        )
        try:
            if self._deaf or self._channel.gone or not question.answered.wait(self._answer_seconds):
                self._deaf = True
                return None
            return question.freed
        finally:
            del self._questions[number]

    def _heed(self, instruction: Instruction) -> None:
        assert self._sharer is not None
        self._deaf = False
        if instruction.kind == "yield":
            kept = self._sharer.give_back(instruction.components)
            self._channel.announce(Message("yielded", request=instruction.request, bytes=kept))
            return
        self._sharer.allow(instruction.bytes)
        question = self._questions.get(instruction.request)
        if question is not None:
            question.freed = instruction.components
            question.answered.set()
