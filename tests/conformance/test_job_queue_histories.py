"""Any history of claims, deaths, lost answers and repeats: no job is ever lost or doubled."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.ports import Claim, JobQueue, Reaping
from tests.conformance.queue_worlds import MemoryWorld, QueueWorld

T = TypeVar("T")
OWNERS = ("a", "b", "c")

owners = st.sampled_from(OWNERS)
# Few different elements, so that identical ones meet; one is not UTF-8, one looks escaped.
elements = st.sampled_from([b"1", b"2", b'{"id":"3"}', b"\xff%41"])


class History(RuleBasedStateMachine):
    """Several workers on one queue, each a process that may die, lose its lease, or not hear an answer.

    `claims` keeps what is long done with, so that late calls and repeats are part of every history.
    """

    def __init__(self, world: QueueWorld) -> None:
        super().__init__()
        self.world = world
        self.runner = asyncio.Runner()
        self.run(world.__aenter__())
        self.queues: dict[str, JobQueue] = {owner: world.queue(owner) for owner in OWNERS}
        self.claims: list[tuple[str, Claim]] = []
        self.alive: set[str] = set()
        self.produced: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    @rule(element=elements)
    def produce(self, element: bytes) -> None:
        self.run(self.world.produce(element))
        self.produced[element.decode("utf-8", "surrogateescape")] += 1

    @rule(owner=owners)
    def claim(self, owner: str) -> None:
        coming = self.run(self.queues[owner].peek(1))
        self.alive.add(owner)
        claim = self.run(self.queues[owner].claim())
        assert ([claim.element] if claim else []) == coming
        if claim:
            self.claims.append((owner, claim))

    @rule(owner=owners)
    def claim_with_a_lost_answer(self, owner: str) -> None:
        """The worker then looks at what it holds."""
        before = self.run(self.queues[owner].held())
        self.alive.add(owner)
        self.world.lose_next_answer()
        with pytest.raises(BackendUnavailable):
            self.run(self.queues[owner].claim())
        after = self.run(self.queues[owner].held())
        assert after[: len(before)] == before
        assert len(after) <= len(before) + 1
        self.claims += [(owner, claim) for claim in after[len(before) :]]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lost=st.booleans())
    def acknowledge(self, data: st.DataObject, *, lost: bool) -> None:
        owner, claim = self.some_claim(data)
        copies = self.copies_held(owner, claim)
        self.call(lambda: self.queues[owner].acknowledge(claim), lost=lost and copies <= 1)
        self.done[claim.delivery.original] += min(copies, 1)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lost=st.booleans())
    def begin(self, data: st.DataObject, *, lost: bool) -> None:
        """The claim that is begun replaces the one it came from, whose late calls then find nothing."""
        owner, claim = self.some_claim(data)
        copies = self.copies_held(owner, claim)
        self.call(lambda: self.queues[owner].begin(claim, "job-1"), lost=lost and copies <= 1)
        begun = claim.begun
        known = Claim(claim.queue, begun, open_delivery(begun))
        if copies and owner in self.alive:
            assert begun in self.run(self.world.held_by(owner))
            self.claims.append((owner, known))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lost=st.booleans())
    def put_back(self, data: st.DataObject, *, lost: bool) -> None:
        owner, claim = self.some_claim(data)
        lost = lost and self.copies_held(owner, claim) <= 1
        self.call(lambda: self.queues[owner].put_back(claim), lost=lost)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), charged=st.booleans(), lost=st.booleans())
    def requeue(self, data: st.DataObject, *, charged: bool, lost: bool) -> None:
        owner, claim = self.some_claim(data)
        lost = lost and self.copies_held(owner, claim) <= 1
        self.call(lambda: self.queues[owner].requeue(claim, "why", charged=charged), lost=lost)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lost=st.booleans())
    def bury(self, data: st.DataObject, *, lost: bool) -> None:
        owner, claim = self.some_claim(data)
        lost = lost and self.copies_held(owner, claim) <= 1
        self.call(lambda: self.queues[owner].bury(claim, "why"), lost=lost)

    @rule(owner=owners)
    def lapse(self, owner: str) -> None:
        self.run(self.world.lapse(owner))
        self.alive.discard(owner)
        assert not self.run(self.queues[owner].renew([])).alive

    @rule(owner=owners)
    def reap(self, owner: str) -> None:
        before = {other: self.run(self.world.held_by(other)) for other in OWNERS}
        reaping = self.run(self.queues[owner].reap())
        dead = set(OWNERS) - self.alive - {owner}
        assert reaping == Reaping(sum(len(before[other]) for other in dead), holding=bool(before[owner]))
        for other in OWNERS:
            assert self.run(self.world.held_by(other)) == ([] if other in dead else before[other])

    @rule(owner=owners, dead=owners)
    def release(self, owner: str, dead: str) -> None:
        held = len(self.run(self.world.held_by(dead)))
        assert self.run(self.queues[owner].release(dead, "killed")) == held
        self.alive.discard(dead)
        assert self.run(self.world.held_by(dead)) == []

    @invariant()
    def no_job_is_lost_or_doubled(self) -> None:
        assert self.run(self.present()) + self.done == self.produced

    def teardown(self) -> None:
        self.run(self.world.__aexit__())
        self.runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def some_claim(self, data: st.DataObject) -> tuple[str, Claim]:
        return data.draw(st.sampled_from(self.claims))

    def copies_held(self, owner: str, claim: Claim) -> int:
        """Identical elements are the same job to the queue: repeats are promised harmless only for one."""
        return self.run(self.world.held_by(owner)).count(claim.element)

    def call(self, call: Callable[[], Coroutine[Any, Any, object]], *, lost: bool) -> None:
        """Make a call, and once more where its answer was lost."""
        if lost:
            self.world.lose_next_answer()
            with pytest.raises(BackendUnavailable):
                self.run(call())
        self.run(call())

    async def present(self) -> Counter[str]:
        elements = await self.world.waiting()
        for owner in OWNERS:
            elements += await self.world.held_by(owner)
        buried = [json.loads(letter)["element"] for letter in await self.world.dead_letters()]
        return Counter([*(open_delivery(element).original for element in elements), *buried])


def test_no_history_loses_or_doubles_a_job(world: QueueWorld) -> None:
    class Here(History):
        def __init__(self) -> None:
            super().__init__(world)

    examples, steps = (100, 50) if isinstance(world, MemoryWorld) else (12, 25)
    run_state_machine_as_test(Here, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))
