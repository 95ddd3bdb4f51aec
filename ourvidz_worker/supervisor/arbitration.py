"""Who may hold how much of the card: requests for room, answered first come, first served.

Pure: it is told what happened and the time, and says what to tell whom. A process is allowed what it was granted until
it gives that back, so that nothing is asked where everything fits. Where it does not, a request takes first what
others are allowed and do not use, and then what is idle anywhere, the lowest rank and the longest unused first. What
is idle in the asking process counts as room, because that process evicts it itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ourvidz_worker.control import Held, Instruction, Message

PATIENCE_SECONDS = 10.0  # that a request waits for stages in other processes; most of them are shorter

Sends = list[tuple[str, Instruction]]
"""Instructions by the name of the process that they are for."""


@dataclass(slots=True)
class _Process:
    """`news` counts what it told; a `silent` one did not answer in time, and is not asked until it says something."""

    allowed: int = 0
    claimed: int = 0
    held: Sequence[Held] = ()
    news: int = 0
    silent: bool = False

    @property
    def used(self) -> int:
        """What may not be given to others: a process that decided alone can hold more than it is allowed."""
        return max(self.allowed, self.claimed)

    @property
    def idle(self) -> Iterator[Held]:
        return (held for held in self.held if held.idle_since is not None)


@dataclass(slots=True)
class _Request:
    """`awaited` maps processes to the instruction that they have not answered; `answered` to what was news then.

    One that `waits` is not answered with less than it wants before its deadline. `own` is what the asker can evict.
    """

    process: str
    number: int
    wanted: int
    own: Sequence[Held]
    deadline: float
    waits: bool
    awaited: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    asked_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    freed: list[str] = field(default_factory=list)


class Arbitration:
    """One card of `budget_bytes`; None means that there is always room."""

    def __init__(self, budget_bytes: int | None, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._budget = budget_bytes
        self._patience = patience_seconds
        self._processes: dict[str, _Process] = {}
        self._waiting: deque[_Request] = deque()
        self._instructions = 0

    @property
    def deadline(self) -> float | None:
        """When `heed` or `look` must be called at the latest."""
        return min((request.deadline for request in self._waiting), default=None)

    @property
    def used(self) -> Mapping[str, int]:
        return {name: process.used for name, process in self._processes.items()}

    def joined(self, name: str) -> None:
        """A new process, which holds nothing yet."""
        self._forget(name)
        self._processes[name] = _Process()

    def left(self, name: str, now: float) -> Sends:
        """The process is dead, and with it what it held."""
        self._forget(name)
        return self.look(now)

    def heed(self, name: str, message: Message, now: float) -> Sends:
        process = self._processes.get(name)
        if process is None:
            return []
        process.silent = False
        match message.kind:
            case "card":
                process.claimed, process.held = message.bytes or 0, message.held or ()
                process.news += 1
            case "room":
                self._waiting.append(
                    _Request(
                        process=name,
                        number=message.request or 0,
                        wanted=message.bytes or 0,
                        own=message.held or (),
                        deadline=now + self._patience,
                        waits=message.seconds != 0,
                    )
                )
            case "yielded":
                self._heed_yielded(name, process, message)
        return self.look(now)

    def look(self, now: float) -> Sends:
        """Serve the requests in order, as far as that is possible now."""
        sends: Sends = []
        while self._waiting:
            more = self._serve(self._waiting[0], now)
            sends += more
            if not any(instruction.kind == "granted" for _, instruction in more):
                break
            self._waiting.popleft()
        return sends

    def _heed_yielded(self, name: str, process: _Process, message: Message) -> None:
        """An answer that comes too late is not heeded: the process may have been granted more since."""
        for request in self._waiting:
            if request.awaited.get(name) == message.request:
                del request.awaited[name]
                request.answered[name] = process.news
                process.allowed = message.bytes or 0
                gone = set(request.asked_of.pop(name)) - {held.name for held in process.held}
                request.freed += [f"{name}/{component}" for component in sorted(gone)]

    def _serve(self, request: _Request, now: float) -> Sends:
        """What to say now: the grant, or requests to others, or nothing while there is something to wait for."""
        late = now >= request.deadline
        if request.awaited and not late:
            return []
        for name in request.awaited:
            self._processes[name].silent = True
        request.awaited.clear()
        room = self._room_of(request.process)
        if room is None or request.wanted <= room:
            return self._grant(request, request.wanted)
        yields, suffices = self._plan(request, request.wanted - room)
        if yields and not late:
            return self._ask(request, yields)
        if late or suffices or not request.waits:
            return self._grant(request, room)
        return []

    def _room_of(self, name: str) -> int | None:
        """What a process may hold in all without anything being evicted."""
        if self._budget is None:
            return None
        return max(0, self._budget - sum(process.used for other, process in self._processes.items() if other != name))

    def _plan(self, request: _Request, short: int) -> tuple[dict[str, list[str]], bool]:
        """Which processes give back what they do not use, and which of their components; and whether that is enough."""
        yields: dict[str, list[str]] = {}
        for name in self._askable(request):
            spare = self._processes[name].used - self._processes[name].claimed
            if short > 0 and spare > 0:
                yields[name] = []
                short -= spare
        for _, _, name, held in sorted(self._idle(request), key=lambda entry: entry[:3]):
            if short <= 0:
                break
            short -= held.bytes
            if name != request.process:
                yields.setdefault(name, []).append(held.name)
        return yields, short <= 0

    def _askable(self, request: _Request) -> list[str]:
        """Whoever answered once is asked again only when it has told something new."""
        return [
            name
            for name, process in self._processes.items()
            if name != request.process and not process.silent and request.answered.get(name) != process.news
        ]

    def _idle(self, request: _Request) -> Iterator[tuple[int, float, str, Held]]:
        for held in request.own:
            yield held.rank, held.idle_since or 0.0, request.process, held
        for name in self._askable(request):
            for held in self._processes[name].idle:
                yield held.rank, held.idle_since or 0.0, name, held

    def _ask(self, request: _Request, yields: Mapping[str, Sequence[str]]) -> Sends:
        sends: Sends = []
        for name, components in yields.items():
            self._instructions += 1
            request.awaited[name] = self._instructions
            request.asked_of[name] = tuple(components)
            sends.append((name, Instruction("yield", self._instructions, components=tuple(components))))
        return sends

    def _grant(self, request: _Request, room: int) -> Sends:
        """Nothing is taken from the asker itself."""
        process = self._processes[request.process]
        process.allowed = max(process.allowed, min(room, request.wanted))
        granted = Instruction("granted", request.number, process.allowed, tuple(request.freed))
        return [(request.process, granted)]

    def _forget(self, name: str) -> None:
        self._processes.pop(name, None)
        self._waiting = deque(request for request in self._waiting if request.process != name)
        for request in self._waiting:
            request.awaited.pop(name, None)
            request.asked_of.pop(name, None)
