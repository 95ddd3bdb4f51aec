"""The cards between the workers of a pod: each one's part in its own, and what they may hold together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ourvidz_worker.control import usable_bytes
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.runtime.card_line import CardLine
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.placement import CPU, card_named, device_of
from ourvidz_worker.supervisor.roster import Member, Roster

GB = 10**9


def build_residency(models: ModelsConfig, channel: ControlChannel | None) -> Residency:
    """Of this process; without a supervisor it decides alone."""
    if channel is None:
        return Residency(models.card.bytes)
    line = CardLine(channel)
    residency = Residency(models.card.bytes, neighbours=line)
    line.serve(residency)
    return residency


def build_brokers(models: ModelsConfig, roster: Roster, cards: Sequence[Card]) -> Mapping[str, Broker]:
    """By the name of each worker, one for all on a card; where there is no card, everything is granted."""
    places = {member.name: _place(member, models, cards) for member in roster.members}
    sharers = Counter(places.values())
    brokers = {place: Broker(_budget(models, place, cards, processes)) for place, processes in sharers.items()}
    return {name: brokers[place] for name, place in places.items()}


def _place(member: Member, models: ModelsConfig, cards: Sequence[Card]) -> str:
    """What all workers on a card have in common, whether they name it by its place or by its UUID."""
    device = device_of(member, getattr(models, member.kind).device)
    card = card_named(device, cards)
    return card.device if card else device


def _budget(models: ModelsConfig, place: str, cards: Sequence[Card], processes: int) -> int | None:
    if place == CPU:
        return None
    card = card_named(place, cards)
    measured = None if card is None else usable_bytes(int(card.memory.total_gb * GB), processes)
    return models.card.bytes or measured
