"""How long jobs wait for a number of cards.

Erlang's formula for a line before `servers` that all take from it (A. K. Erlang, 1917; as M/M/c in L. Kleinrock,
Queueing Systems I, 1975, section 3.5): jobs come at random, and their lengths are exponential. Real lengths are
not, and a mix of short pictures and long videos varies more, so waits are stretched as Allen and Cunneen do for M/G/c
(A. O. Allen, Probability, Statistics, and Queueing Theory, 1978), by (1 + variation squared) / 2, and never made
shorter than Erlang's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

IMPATIENT = 0.05
"""The share of jobs that may wait longer: what is promised is the 95th percentile."""

MOST_SERVERS = 100_000


@dataclass(frozen=True, slots=True)
class Demand:
    """Jobs a second, the seconds that one takes on average, and how much those vary (squared, against the mean)."""

    rate: float
    seconds: float
    variation: float

    @property
    def load(self) -> float:
        """Servers that would just be busy all the time (erlang)."""
        return self.rate * self.seconds

    @property
    def stretch(self) -> float:
        return max(1.0, (1 + self.variation) / 2)


def servers_needed(demand: Demand, *, longest_wait: float, utilisation: float) -> tuple[int, float] | None:
    """The fewest, and the wait in seconds that 95 of 100 jobs do not exceed; None above `MOST_SERVERS`."""
    if demand.load > utilisation * MOST_SERVERS:
        return None
    for servers, chance in _chances_to_wait(demand.load):
        if demand.load > utilisation * servers:
            continue
        wait = wait_of(demand, servers, chance)
        if wait <= longest_wait:
            return servers, wait
    return None


def wait_of(demand: Demand, servers: int, chance: float) -> float:
    """The 95th percentile of the wait, in seconds, where a job has to wait with this `chance`."""
    if chance <= IMPATIENT:
        return 0.0
    return math.log(chance / IMPATIENT) * demand.seconds * demand.stretch / (servers - demand.load)


def _chances_to_wait(load: float) -> Iterator[tuple[int, float]]:
    """For one server more each time: the chance that a job finds all of them busy (Erlang C, from Erlang B)."""
    blocked = 1.0
    for servers in range(1, MOST_SERVERS + 1):
        blocked = load * blocked / (servers + load * blocked)
        busy = load / servers
        yield servers, 1.0 if busy >= 1 else blocked / (1 - busy * (1 - blocked))
