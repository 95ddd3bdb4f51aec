"""Acknowledge, requeue, bury and the look-ups are harmless when repeated; a claim is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.ports import Claim
from ourvidz_worker.runtime.patient_queue import TRIES, PatientQueue
from tests.support.memory import MemoryQueue, MemoryRedis
from tests.support.stories import story

CALLS: dict[str, Callable[[PatientQueue, Claim], Awaitable[object]]] = {
    "acknowledge": lambda queue, claim: queue.acknowledge(claim),
    "requeue": lambda queue, claim: queue.requeue(claim, "why", charged=True),
    "bury": lambda queue, claim: queue.bury(claim, "why"),
    "held": lambda queue, claim: queue.held(),
    "release": lambda queue, claim: queue.release("dead", "why"),
    "reap": lambda queue, claim: queue.reap(),
}


async def no_pause(_seconds: float) -> None:
    pass


async def holding_one() -> tuple[MemoryRedis, PatientQueue, Claim]:
    redis = MemoryRedis()
    queue = PatientQueue(MemoryQueue(redis, queue="sdxl_queue", owner="me"), sleep=no_pause)
    redis.queue[:] = ["2", "1"]
    claim = await queue.claim()
    assert claim is not None
    return redis, queue, claim


@pytest.mark.parametrize("name", CALLS)
@story
async def test_a_lost_answer_is_asked_for_again(name: str) -> None:
    redis, queue, claim = await holding_one()
    redis.lose_answers = TRIES - 1
    await CALLS[name](queue, claim)
    assert len(redis.queue) + len(redis.held["me"]) + len(redis.dead) + (name == "acknowledge") == 2


@pytest.mark.parametrize("name", CALLS)
@story
async def test_patience_has_an_end(name: str) -> None:
    redis, queue, claim = await holding_one()
    redis.lose_answers = TRIES
    with pytest.raises(BackendUnavailable):
        await CALLS[name](queue, claim)


@story
async def test_a_claim_is_never_repeated() -> None:
    """A blind retry of a pop whose response was lost takes a second job (contract section 1)."""
    redis, queue, _ = await holding_one()
    redis.lose_answers = 1
    with pytest.raises(BackendUnavailable):
        await queue.claim()
    assert redis.held["me"] == ["2", "1"] or redis.held["me"] == ["1", "2"]
