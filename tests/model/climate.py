"""What kind of bad luck a world has, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from tests.model.far_side import CALLBACK_PATH, ROWS_PATH
from tests.model.network import CUT_OFF, UNLUCKY, Call, Fate

Blow = Literal["kill", "pause", "drain", "pod"]
OUTAGE_SECONDS = (5.0, 70.0)


@dataclass(frozen=True, slots=True)
class Climate:
    """Ranges that every world draws its own figures from.

    `unlucky` is the share of requests that something happens to, `hazard` the share of moments of a request (sent,
    carried out, answered) at which its sender is struck, `blows` how many strikes come at any other time, `outages`
    how many times something is cut off. `fates` is what happens to requests, `kinds` what strikes senders, and
    `victims` the names of the requests that both happen to, all where there is none. Shares of jobs: `poison` kills
    every worker that generates it, `cancelled`, `unlinked` has its row linked late, `unknown` has no row,
    `enhanced` has its prompt rewritten. `most_images` is how many jobs may share a batch.
    """

    pods: tuple[int, int] = (1, 3)
    jobs: tuple[int, int] = (2, 7)
    trouble_seconds: float = 200.0
    unlucky: tuple[float, ...] = (0.0, 0.02, 0.06, 0.15)
    hazard: tuple[float, ...] = (0.0, 0.003, 0.01)
    blows: tuple[int, int] = (0, 6)
    outages: tuple[int, int] = (0, 3)
    kinds: tuple[Blow, ...] = ("kill", "kill", "pause", "pause", "pause", "drain", "pod")
    pause_seconds: tuple[float, float] = (2.0, 80.0)
    fates: tuple[Fate, ...] = UNLUCKY
    victims: tuple[str, ...] = ()
    poison: float = 0.1
    cancelled: float = 0.08
    unlinked: float = 0.08
    unknown: float = 0.03
    shared_spool: float = 0.3
    enhanced: float = 0.3
    most_images: tuple[int, ...] = (1, 1, 4)


_MIXED = Climate()

CALM = replace(
    _MIXED,
    pods=(2, 2),
    jobs=(3, 5),
    unlucky=(0.0,),
    hazard=(0.0,),
    blows=(0, 0),
    outages=(0, 0),
    poison=0.0,
    cancelled=0.0,
    unlinked=0.0,
    unknown=0.0,
)

CLIMATES = {
    "mixed": _MIXED,
    "storm": replace(
        _MIXED, pods=(2, 3), jobs=(4, 9), unlucky=(0.1, 0.2, 0.35), hazard=(0.01, 0.03, 0.06), blows=(3, 12)
    ),
    "late": replace(
        _MIXED,
        unlucky=(0.1, 0.2, 0.35),
        fates=(Fate.LATE, Fate.LATE_BROKEN, Fate.SLOW, Fate.BROKEN),
        kinds=("drain", "kill", "pause"),
    ),
    "pauses": replace(_MIXED, hazard=(0.01, 0.03), kinds=("pause",), shared_spool=0.7),
    "drains": replace(_MIXED, hazard=(0.01, 0.03), kinds=("drain",), unlucky=(0.05, 0.2)),
    "claims": replace(_MIXED, unlucky=(0.3, 0.6), hazard=(0.0, 0.1), victims=("claim", "lrange")),
    "last words": replace(
        _MIXED, unlucky=(0.2, 0.5), hazard=(0.0, 0.1), victims=("move", "acknowledge", "lrange", "begin")
    ),
    "product": replace(
        _MIXED,
        pods=(2, 3),
        unlucky=(0.3, 0.6),
        hazard=(0.05, 0.15),
        kinds=("pause", "pause", "kill"),
        shared_spool=0.7,
        victims=(CALLBACK_PATH, ROWS_PATH),
    ),
    "late starts": replace(
        _MIXED,
        pods=(2, 3),
        unlucky=(0.5, 0.7),
        fates=(Fate.LATE_BROKEN,),
        victims=("begin", "move"),
        hazard=(0.0,),
        blows=(0, 0),
        outages=(0, 0),
    ),
}


@dataclass(frozen=True, slots=True)
class Outage:
    """From `begin` to `end` requests go nowhere: those of one pod or of all, to the hosts that `hit` says."""

    begin: float
    end: float
    pod: str | None
    hit: Callable[[str], bool]


class Weather:
    """The bad luck of one world, until `ends_at`."""

    def __init__(self, climate: Climate, random: Random, pods: list[str]) -> None:
        self._random = random
        self._fates = climate.fates
        self._victims = climate.victims
        self._pause_seconds = climate.pause_seconds
        self._kinds = climate.kinds
        self._unlucky = random.choice(climate.unlucky)
        self._hazard = random.choice(climate.hazard)
        self.ends_at = climate.trouble_seconds
        self._outages = [self._outage(pods) for _ in range(random.randint(*climate.outages))]
        self.blows = [self._blow(pods) for _ in range(random.randint(*climate.blows))]

    def fate_of(self, call: Call, name: str) -> Fate:
        """What becomes of a request, which is called `name` in the timeline."""
        now, process, path = call.sent_at, call.process, call.url.path
        if now >= self.ends_at:
            return Fate.GOOD
        for outage in self._outages:
            own = outage.pod is None or process.name.startswith(outage.pod)
            if outage.begin <= now < outage.end and own and outage.hit(path):
                return self._random.choice(CUT_OFF)
        if self._spared(name):
            return Fate.GOOD
        return self._random.choice(self._fates) if self._random.random() < self._unlucky else Fate.GOOD

    def strikes(self, now: float, name: str) -> Blow | None:
        """Whether the sender of a request is struck at a moment of it."""
        if now >= self.ends_at or self._spared(name) or self._random.random() >= self._hazard:
            return None
        return self._random.choice(self._kinds)

    def _spared(self, name: str) -> bool:
        return bool(self._victims) and name not in self._victims

    def pause_seconds(self) -> float:
        return self._random.uniform(*self._pause_seconds)

    def _outage(self, pods: list[str]) -> Outage:
        begin = self._random.uniform(0, self.ends_at)
        hit = self._random.choice((lambda path: path == "/", lambda path: path != "/", lambda _path: True))
        pod = self._random.choice((None, *pods))
        return Outage(begin, begin + self._random.uniform(*OUTAGE_SECONDS), pod, hit)

    def _blow(self, pods: list[str]) -> tuple[float, str, Blow]:
        return self._random.uniform(0, self.ends_at), self._random.choice(pods), self._random.choice(self._kinds)
