"""What the doors make of the configuration and of the card that is there."""

from __future__ import annotations

import socket

import pytest

from ourvidz_worker.cli import card
from ourvidz_worker.control import Instruction, Message, usable_bytes
from ourvidz_worker.engines.tiny.models import MODELS
from ourvidz_worker.engines.volume.model_config import CardBudget, ModelsConfig
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.roster import Member, Roster, roster_of
from tests.residency.declared import GB
from tests.support.stories import story
from tests.support.waiting import wait_until


def models(budget_gb: float | None) -> ModelsConfig:
    return ModelsConfig(MODELS.sdxl, MODELS.wan, MODELS.qwen, card=CardBudget(budget_gb))


@pytest.mark.parametrize(
    ("budget_gb", "card_gb", "granted"),
    [(44.0, 51.5, 44 * GB), (None, 51.5, 47_640_000_000), (None, None, 10**15)],
    ids=["set", "measured", "no card"],
)
@story
async def test_the_broker_s_budget_is_set_or_measured(
    budget_gb: float | None, card_gb: float | None, granted: int
) -> None:
    cards = (Card("cuda:0", "GPU-1", "A40", GpuMemory(3.0, card_gb)),) if card_gb else ()
    broker = card.build_brokers(models(budget_gb), roster_of(["sdxl", "wan", "qwen"]), cards)["sdxl"]
    told: list[Instruction] = []
    broker.joined("sdxl", told.append)
    broker.heard("sdxl", Message("room", request=1, bytes=10**15, seconds=0.0))
    assert [instruction.bytes for instruction in told] == [granted]


def test_each_card_is_shared_by_those_on_it() -> None:
    """However they name it: by its place, by its UUID, or not at all, where the first one is meant."""
    cards = tuple(Card(f"cuda:{n}", f"GPU-{n}", "A40", GpuMemory(0.0, 48.0)) for n in range(2))
    roster = Roster(
        (
            Member("sdxl", "sdxl"),
            Member("wan", "wan", "cuda:0"),
            Member("sdxl-2", "sdxl", "cuda:1"),
            Member("wan-2", "wan", "GPU-1"),
            Member("qwen", "qwen", "cpu"),
        )
    )
    brokers = card.build_brokers(models(None), roster, cards)
    assert brokers["sdxl"] is brokers["wan"]
    assert brokers["sdxl-2"] is brokers["wan-2"]
    assert len({id(broker) for broker in brokers.values()}) == 3


def test_a_tiny_card_has_room_for_nothing_and_not_for_less() -> None:
    assert usable_bytes(500_000_000, 3) == 0


def test_a_process_alone_decides_alone() -> None:
    assert card.build_residency(models(44.0), None).budget_bytes == 44 * GB
    assert card.build_residency(models(None), None).budget_bytes is None


def test_a_supervised_process_gives_back_what_it_is_told_to() -> None:
    theirs, ours = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    with ours, channel._socket:
        residency = card.build_residency(models(44.0), channel)
        ours.sendall(b'{"kind":"granted","request":1,"bytes":5,"components":[]}\n')
        wait_until(lambda: residency._allowed == 5, "the grant")
        ours.shutdown(socket.SHUT_RDWR)
