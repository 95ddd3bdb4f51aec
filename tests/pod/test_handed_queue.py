"""The queue of jobs that are handed over: the promises of every `JobQueue` that need no second owner, and its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from typing import Self

import pytest

from ourvidz_worker.backend.handed_queue import MAX_DELIVERIES, Handed, HandedQueue
from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.ports import JobQueue, Renewal
from tests.conformance import test_job_queue as promises
from tests.conformance.queue_worlds import QUEUE, End

KEPT = [
    promises.test_an_empty_queue_has_length_0_and_gives_no_claim,
    promises.test_the_name_is_the_queues,
    promises.test_a_look_takes_nothing,
    promises.test_a_claimed_job_is_held_until_it_is_acknowledged,
    promises.test_acknowledging_twice_is_harmless,
    promises.test_a_redelivery_carries_its_count_and_reasons,
    promises.test_what_was_begun_is_held_as_begun_and_still_the_same_job,
    promises.test_beginning_twice_is_harmless,
    promises.test_a_late_command_of_an_earlier_life_finds_nothing,
]
KEPT_EITHER_WAY = [
    promises.test_a_first_delivery_put_back_is_the_producers_bytes_untouched,
    promises.test_a_redelivery_put_back_is_as_it_was,
]


class HandedWorld:
    """Enough of a `QueueWorld` for what one owner is promised."""

    async def __aenter__(self) -> Self:
        self._queue = HandedQueue(QUEUE)
        self.handed: list[Handed] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._queue.close()

    def queue(
        self, owner: str, *, pop_end: End = "right", fast: Collection[str] = (), longest_wait: float = 0
    ) -> JobQueue:
        return self._queue

    async def produce(self, *elements: bytes, end: End = "left") -> None:
        self.handed += [self._queue.hand(element.decode()) for element in elements]

    async def waiting(self) -> list[str]:
        return (await self._queue.peek(99))[::-1]

    async def held_by(self, owner: str) -> list[str]:
        return [claim.element for claim in await self._queue.held()]

    async def dead_letters(self) -> list[str]:
        return [handed.left.result().reason for handed in self.handed if handed.left.done()]

    async def lapse(self, owner: str) -> None:
        raise NotImplementedError

    async def cancel(self, job_id: str) -> None:
        raise NotImplementedError

    def lose_next_answer(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("promise", KEPT, ids=lambda promise: promise.__name__)
def test_it_keeps_what_every_queue_promises(promise: Callable[..., None]) -> None:
    promise(HandedWorld())


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("promise", KEPT_EITHER_WAY, ids=lambda promise: promise.__name__)
def test_it_keeps_what_every_queue_promises_of_a_job_put_back(promise: Callable[..., None], *, begun: bool) -> None:
    promise(HandedWorld(), begun=begun)


@pytest.mark.parametrize("element", promises.ODD_ELEMENTS[2:])
def test_an_odd_element_comes_back_as_it_is(element: bytes) -> None:
    async def story(queue: HandedQueue) -> None:
        queue.hand(element.decode())
        assert (await promises.claimed(queue)).delivery.original == element.decode()

    asyncio.run(story(HandedQueue(QUEUE)))


def in_a_loop(test: Callable[[HandedQueue], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def story() -> None:
            await test(HandedQueue(QUEUE))

        asyncio.run(story())

    return run


@in_a_loop
async def test_whoever_hands_a_job_over_hears_how_it_left(queue: HandedQueue) -> None:
    done, odd = queue.hand('{"id":1}'), queue.hand("nonsense")
    await queue.acknowledge(await promises.claimed(queue))
    await queue.bury(await promises.claimed(queue), "is not JSON")
    assert (done.left.result().way, odd.left.result().way) == ("acknowledged", "buried")
    assert odd.left.result().reason == "is not JSON"


@in_a_loop
async def test_a_job_is_not_tried_without_end(queue: HandedQueue) -> None:
    handed = queue.hand('{"id":1}')
    for _ in range(MAX_DELIVERIES):
        assert not handed.left.done()
        await queue.requeue(await promises.claimed(queue), "the storage is out of reach", charged=False)
    assert (handed.left.result().way, handed.left.result().reason) == ("handed back", "the storage is out of reach")
    assert (await queue.length(), await queue.held()) == (0, [])


@in_a_loop
async def test_a_job_that_is_not_wanted_any_more_leaves_at_once_or_at_its_start(queue: HandedQueue) -> None:
    held, waiting = queue.hand('{"id":1}'), queue.hand('{"id":2}')
    claim = await promises.claimed(queue)
    queue.withdraw(held)
    queue.withdraw(waiting)
    assert waiting.left.result().way == "handed back"
    begun = await queue.begin(claim, "job-1")
    assert begun is not None
    assert begun.cancelled
    assert await queue.renew(["job-1", "job-2"]) == Renewal(alive=True, cancelled=frozenset({"job-1"}))


@in_a_loop
async def test_waiting_ends_with_the_next_job(queue: HandedQueue) -> None:
    waiting = asyncio.create_task(queue.wait(3600))
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.hand(json.dumps({"id": 1}))
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(queue.wait(3600), 10)  # there is one already


@in_a_loop
async def test_a_queue_that_has_ended_takes_nothing(queue: HandedQueue) -> None:
    held, waiting = queue.hand('{"id":1}'), queue.hand('{"id":2}')
    claim = await promises.claimed(queue)
    queue.end("the worker has ended")
    late = queue.hand('{"id":3}')
    await queue.requeue(claim, "why", charged=True)
    assert [handed.left.result().way for handed in (held, waiting, late)] == ["handed back"] * 3
    assert (await queue.length(), await queue.held()) == (0, [])
    assert open_delivery(claim.element).attempt == 1


@in_a_loop
async def test_one_owner_has_nothing_to_release_or_reap(queue: HandedQueue) -> None:
    queue.hand('{"id":1}')
    await promises.claimed(queue)
    assert await queue.release("another", "killed") == 0
    reaping = await queue.reap()
    assert (reaping.jobs, reaping.holding) == (0, True)
