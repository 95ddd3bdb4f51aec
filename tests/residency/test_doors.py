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
    monkeypatch: pytest.MonkeyPatch, budget_gb: float | None, card_gb: float | None, granted: int
) -> None:
    monkeypatch.setattr(card, "gpu_memory", lambda: card_gb and GpuMemory(3.0, card_gb))
    broker = card.build_broker(models(budget_gb), ["sdxl", "wan", "qwen"])
    told: list[Instruction] = []
    broker.joined("sdxl", told.append)
    broker.heard("sdxl", Message("room", request=1, bytes=10**15, seconds=0.0))
    assert [instruction.bytes for instruction in told] == [granted]


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
