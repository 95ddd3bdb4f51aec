"""Which card a worker runs on, and what its process is told so that it sees no other one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ourvidz_worker.supervisor.gpu import VISIBLE_DEVICES, Card
from ourvidz_worker.supervisor.roster import AUTO, Member, Roster

CPU = "cpu"
NO_CARD = "-1"  # as CUDA's documentation has it; an empty variable is dropped by some launchers
_FIRST = "cuda:0"


def environment_of(member: Member, cards: Sequence[Card], environment: Mapping[str, str]) -> dict[str, str]:
    """For the process of a worker, which sees its card as the first one.

    A card is told by its UUID, which means the same however CUDA orders the cards; without a driver to ask, by its
    place in the `environment` of the pod.
    """
    if member.device == AUTO:
        return {}
    if member.device == CPU:
        return {VISIBLE_DEVICES: NO_CARD}
    if not member.device.startswith("cuda:"):
        return {VISIBLE_DEVICES: member.device}
    card = card_named(member.device, cards)
    return {VISIBLE_DEVICES: card.uuid if card else _entry(int(member.device[5:]), environment.get(VISIBLE_DEVICES))}


def device_of(member: Member, model_device: str) -> str:
    """Where it computes: its own device, or that of its model, `auto` being the first card."""
    device = model_device if member.device == AUTO else member.device
    return _FIRST if device in (AUTO, "cuda") else device


def card_named(device: str, cards: Sequence[Card]) -> Card | None:
    """By its place, or by a UUID that may be cut short."""
    return next((card for card in cards if device == card.device or card.uuid.startswith(device)), None)


def misplaced(roster: Roster, cards: Sequence[Card]) -> Iterator[str]:
    """A sentence for each worker whose card is not there; where no driver can be asked, nothing is known."""
    there = ", ".join(f"{card.device} is {card.name} {card.uuid}" for card in cards)
    for member in roster.members:
        if cards and member.device not in (AUTO, CPU) and card_named(member.device, cards) is None:
            yield (
                f"the {member.name} worker is to run on {member.device}, which is none of the cards that this pod may "
                f"use ({there}): correct device in workers.toml, or CUDA_VISIBLE_DEVICES"
            )


def _entry(place: int, listed: str | None) -> str:
    if listed is None:
        return str(place)
    entries = [entry.strip() for entry in listed.split(",")]
    return entries[place] if place < len(entries) else NO_CARD
