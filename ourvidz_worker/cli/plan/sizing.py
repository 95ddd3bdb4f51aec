"""Pods and prices for a load, card by card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ourvidz_worker.cli.plan.cards import CardList, RentedCard
from ourvidz_worker.cli.plan.waiting import MOST_SERVERS, Demand, servers_needed
from ourvidz_worker.contract.catalogue import JobType

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Part:
    """The jobs of one type: how many an hour, and the seconds that one keeps the card at work."""

    job_type: JobType
    per_hour: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """What a load needs of one card: `pods` with one card each; `busy` is the share of its time that a card works.

    `wait` is not exceeded by 95 of 100 jobs. `usd_per_job` shares the whole price among the types by the time they
    take, idle time included. `swaps` says that the models do not fit on the card all at once.
    """

    card: RentedCard
    pods: int
    busy: float
    wait: float
    usd_per_hour: float
    usd_per_job: Mapping[str, float]
    swaps: bool


@dataclass(frozen=True, slots=True)
class Unfit:
    card: RentedCard
    reason: str


@dataclass(frozen=True, slots=True)
class Goal:
    """`longest_wait` in seconds for 95 of 100 jobs; `utilisation` as a share of 1."""

    longest_wait: float
    utilisation: float


def size(parts: Sequence[Part], card: RentedCard, listed: CardList, goal: Goal) -> Size | Unfit:
    """SDXL and WAN share a card, so their times add up."""
    needs = needs_gb(parts, listed)
    if max(needs.values()) > card.memory_gb:
        largest = max(needs, key=lambda name: needs[name])
        return Unfit(card, f"{largest} needs {needs[largest]:g} GB, and it has {card.memory_gb:g}")
    demand = demand_of(parts)
    found = servers_needed(demand, longest_wait=goal.longest_wait, utilisation=goal.utilisation)
    if found is None:
        return Unfit(card, f"more than {MOST_SERVERS} pods would be needed")
    pods, wait = found
    usd_per_second = pods * card.usd_per_hour / sum(part.per_hour * part.seconds for part in parts)
    return Size(
        card=card,
        pods=pods,
        busy=demand.load / pods,
        wait=wait,
        usd_per_hour=pods * card.usd_per_hour,
        usd_per_job={part.job_type.name: part.seconds * usd_per_second for part in parts},
        swaps=sum(needs.values()) > card.memory_gb,
    )


def demand_of(parts: Sequence[Part]) -> Demand:
    """All types together; a job's time is taken to be that of its type."""
    jobs = sum(part.per_hour for part in parts)
    mean = sum(part.per_hour * part.seconds for part in parts) / jobs
    spread = sum(part.per_hour * (part.seconds - mean) ** 2 for part in parts) / jobs
    return Demand(rate=jobs / HOUR, seconds=mean, variation=spread / mean**2)


def needs_gb(parts: Sequence[Part], listed: CardList) -> dict[str, float]:
    """What each of the models takes that these jobs are drawn with."""
    used = {part.job_type.model_family for part in parts}
    wanted = [*sorted(used), *(["language"] if any(part.job_type.enhanced for part in parts) else [])]
    return {name: listed.needs_gb[name] for name in wanted}
