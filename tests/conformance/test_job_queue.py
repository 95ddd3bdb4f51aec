"""What every `JobQueue` promises, whatever it lives in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES, open_delivery
from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.ports import Claim, JobQueue, Reaping, Renewal
from tests.conformance.queue_worlds import QUEUE, End, QueueWorld, inside

ODD_ELEMENTS = [
    pytest.param(b'{"prompt":"\xff\xfe caf\xe9"}', id="not UTF-8"),
    pytest.param(b"\xed\xa0\x80 100%", id="an encoded surrogate"),
    pytest.param(b"%ff%41%", id="looks escaped"),
    pytest.param('{"prompt":"é 😀 \u2028"}'.encode(), id="beyond ASCII"),
    pytest.param(b'\x00\x01\n\r\t"\\', id="control characters"),
    pytest.param(b"", id="empty"),
    pytest.param(b"OK", id="what Upstash sends unencoded"),
    pytest.param(b"x" * MAX_ELEMENT_BYTES, id="as large as may be"),
]


async def claimed(queue: JobQueue) -> Claim:
    claim = await queue.claim()
    assert claim is not None
    return claim


async def started(queue: JobQueue, claim: Claim) -> Claim:
    begun = await queue.begin(claim, "job-1")
    assert begun is not None
    return begun.claim


@inside
async def test_an_empty_queue_has_length_0_and_gives_no_claim(world: QueueWorld) -> None:
    queue = world.queue("a")
    assert (await queue.length(), await queue.claim(), await queue.peek(3)) == (0, None, [])
    assert await queue.held() == []


@inside
async def test_the_name_is_the_queues(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1")
    assert (queue.name, (await claimed(queue)).queue) == (QUEUE, QUEUE)


@pytest.mark.parametrize(("push", "pop"), [("left", "right"), ("right", "left")])
@inside
async def test_the_end_to_pop_from_is_a_setting_and_the_oldest_job_comes_first(
    world: QueueWorld, push: End, pop: End
) -> None:
    """Some producers RPUSH instead of LPUSH (contract section 1)."""
    queue = world.queue("a", pop_end=pop)
    await world.produce(b"1", b"2", b"3", end=push)
    assert await queue.length() == 3
    assert await queue.peek(2) == ["1", "2"]
    assert [(await claimed(queue)).element for _ in range(3)] == ["1", "2", "3"]
    assert await queue.claim() is None


@pytest.mark.parametrize("count", [0, -1])
@inside
async def test_a_look_at_no_elements_shows_none(world: QueueWorld, count: int) -> None:
    await world.produce(b"1")
    assert await world.queue("a").peek(count) == []


@inside
async def test_a_look_takes_nothing(world: QueueWorld) -> None:
    await world.produce(b"1", b"2")
    assert await world.queue("a").peek(9) == ["1", "2"]
    assert await world.queue("a").length() == 2


@pytest.mark.parametrize("pop", ["right", "left"])
@inside
async def test_waiting_ends_when_a_job_comes_and_takes_nothing(world: QueueWorld, pop: End) -> None:
    queue = world.queue("a", pop_end=pop)
    waiting = asyncio.create_task(queue.wait(0.01))
    await world.produce(b"\xff1", b"2")
    await waiting
    await queue.wait(0.01)
    assert await world.waiting() == ["2", "\udcff1"]
    assert await queue.held() == []


@inside
async def test_a_wait_that_is_given_up_leaves_the_queue_as_it_is(world: QueueWorld) -> None:
    queue = world.queue("a")
    for number in range(5):
        waiting = asyncio.create_task(queue.wait(60))
        assert await queue.length() == 0
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await world.produce(b"%d" % number)
        claim = await claimed(queue)
        assert claim.element == str(number)
        await queue.acknowledge(claim)


@inside
async def test_a_claimed_job_is_held_until_it_is_acknowledged(world: QueueWorld) -> None:
    """A plain RPOP loses the job with the worker."""
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    first, second = await claimed(queue), await claimed(queue)
    assert await queue.length() == 0
    assert await queue.held() == [first, second]
    await queue.acknowledge(first)
    assert await queue.held() == [second]


@inside
async def test_acknowledging_twice_is_harmless(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    first, second = await claimed(queue), await claimed(queue)
    await queue.acknowledge(first)
    await queue.acknowledge(first)
    assert await queue.held() == [second]


@pytest.mark.parametrize("begun", [False, True])
@inside
async def test_a_first_delivery_put_back_is_the_producers_bytes_untouched(world: QueueWorld, *, begun: bool) -> None:
    queue = world.queue("a")
    await world.produce(b'{ "id" : 1 }', b"2")
    claim = await claimed(queue)
    if begun:
        claim = await started(queue, claim)
    await queue.put_back(claim)
    again = await claimed(queue)
    assert (again.element, again.delivery.attempt, again.delivery.history) == ('{ "id" : 1 }', 1, ())


@pytest.mark.parametrize("begun", [False, True])
@inside
async def test_a_redelivery_put_back_is_as_it_was(world: QueueWorld, *, begun: bool) -> None:
    queue = world.queue("a")
    await world.produce(b"1")
    await queue.requeue(await claimed(queue), "crashed", charged=True)
    claim = await claimed(queue)
    await queue.put_back(await started(queue, claim) if begun else claim)
    assert await claimed(queue) == claim


@inside
async def test_a_redelivery_carries_its_count_and_reasons(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1")
    await queue.requeue(await claimed(queue), "out of memory", charged=True)
    await queue.requeue(await claimed(queue), "shutting down", charged=False)
    await queue.requeue(await claimed(queue), "deadline", charged=True)
    delivery = (await claimed(queue)).delivery
    assert (delivery.original, delivery.attempt) == ("1", 3)
    assert delivery.history == ("out of memory", "shutting down", "deadline")


@pytest.mark.parametrize(("push", "pop"), [("left", "right"), ("right", "left")])
@inside
async def test_a_job_handed_back_is_the_next_one_taken(world: QueueWorld, push: End, pop: End) -> None:
    queue = world.queue("a", pop_end=pop)
    await world.produce(b"1", b"2", end=push)
    await queue.put_back(await claimed(queue))
    assert await queue.peek(2) == ["1", "2"]
    await queue.requeue(await claimed(queue), "shutting down", charged=False)
    assert [open_delivery(element).original for element in await queue.peek(2)] == ["1", "2"]


@pytest.mark.parametrize("charged", [True, False])
@inside
async def test_handing_back_twice_queues_one_job(world: QueueWorld, charged: bool) -> None:  # noqa: FBT001
    queue = world.queue("a")
    await world.produce(b"1")
    claim = await claimed(queue)
    await queue.requeue(claim, "why", charged=charged)
    await queue.requeue(claim, "why", charged=charged)
    assert (await queue.length(), await queue.held()) == (1, [])


@inside
async def test_a_buried_job_keeps_its_bytes_its_reason_and_its_history(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b'{"id": nonsense')
    await queue.requeue(await claimed(queue), "crashed", charged=True)
    await queue.bury(await claimed(queue), "is not JSON")
    [letter] = await world.dead_letters()
    document = json.loads(letter)
    assert datetime.fromisoformat(document.pop("died_at")).tzinfo is not None
    assert document == {
        "reason": "is not JSON",
        "attempt": 2,
        "history": ["crashed"],
        "element": '{"id": nonsense',
    }
    assert (await queue.length(), await queue.held()) == (0, [])


@inside
async def test_burying_twice_leaves_one_dead_letter(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1")
    claim = await claimed(queue)
    await queue.bury(claim, "why")
    await queue.bury(claim, "why")
    assert len(await world.dead_letters()) == 1


@inside
async def test_two_owners_never_get_the_same_element(world: QueueWorld) -> None:
    owners = [world.queue(f"owner-{number}") for number in range(4)]
    await world.produce(*(b"%d" % number for number in range(40)))

    async def drain(queue: JobQueue) -> list[str]:
        taken = []
        while claim := await queue.claim():
            taken.append(claim.element)
        return taken

    taken = await asyncio.gather(*map(drain, owners))
    assert sorted(int(element) for each in taken for element in each) == list(range(40))


@inside
async def test_identical_elements_are_separate_jobs(world: QueueWorld) -> None:
    a, b = world.queue("a"), world.queue("b")
    await world.produce(b"same", b"same", b"same")
    mine, _, theirs = await claimed(a), await claimed(a), await claimed(b)
    await a.acknowledge(mine)
    assert len(await a.held()) == 1
    await b.acknowledge(theirs)
    assert (len(await a.held()), await b.held()) == (1, [])


@inside
async def test_a_lapsed_lease_cannot_be_renewed(world: QueueWorld) -> None:
    queue = world.queue("a")
    await queue.claim()
    assert (await queue.renew([])).alive
    await world.lapse("a")
    await world.cancel("job-1")
    assert await queue.renew([]) == await queue.renew(["job-1"]) == Renewal(alive=False)


@inside
async def test_an_owner_that_never_claimed_has_no_lease(world: QueueWorld) -> None:
    assert not (await world.queue("a").renew([])).alive


@inside
async def test_a_renewal_tells_which_of_its_jobs_were_cancelled(world: QueueWorld) -> None:
    queue = world.queue("a")
    await queue.claim()
    await world.cancel("job-2")
    await world.cancel("job-9")
    assert await queue.renew(["job-1", "job-2", "job-3"]) == Renewal(alive=True, cancelled=frozenset({"job-2"}))


@inside
async def test_a_start_tells_whether_the_job_was_cancelled(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    await world.cancel("job-2")
    for job_id, cancelled in (("job-1", False), ("job-2", True)):
        begun = await queue.begin(await claimed(queue), job_id)
        assert begun is not None
        assert begun.cancelled is cancelled


@inside
async def test_what_was_begun_is_held_as_begun_and_still_the_same_job(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    first, second = await claimed(queue), await claimed(queue)
    begun = await started(queue, first)
    assert begun.delivery.started
    assert (begun.delivery.original, begun.delivery.attempt) == ("1", 1)
    assert {claim.element for claim in await queue.held()} == {begun.element, second.element}
    assert await queue.acknowledge(second) == [begun]
    assert await queue.acknowledge(begun) == []


@inside
async def test_beginning_twice_is_harmless(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1")
    claim = await claimed(queue)
    assert await started(queue, claim) == await started(queue, claim)
    assert len(await queue.held()) == 1


@inside
async def test_a_late_command_of_an_earlier_life_finds_nothing(world: QueueWorld) -> None:
    """A job that was put back and claimed again is the same bytes; Redis may carry out an old command only then."""
    queue = world.queue("a")
    await world.produce(b"1")
    early = await started(queue, await claimed(queue))
    await queue.put_back(early)
    late = await started(queue, await claimed(queue))
    await queue.put_back(early)
    await queue.requeue(early, "why", charged=True)
    await queue.acknowledge(early)
    assert (await queue.held(), await queue.length()) == ([late], 0)


@inside
async def test_a_start_keeps_the_lease_alive_and_never_revives_it(world: QueueWorld) -> None:
    queue, reaper = world.queue("a"), world.queue("reaper")
    await world.produce(b"1")
    claim = await claimed(queue)
    await world.lapse("a")
    assert await queue.begin(claim, "job-1") is None
    assert (await reaper.reap()).jobs == 1
    assert await queue.begin(claim, "job-1") is None
    assert await queue.held() == []


@inside
async def test_an_acknowledgement_tells_what_else_is_held(world: QueueWorld) -> None:
    """The look for lost claims after each acknowledgement costs no command of its own."""
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    first = await claimed(queue)
    world.lose_next_answer()
    with pytest.raises(BackendUnavailable):
        await queue.claim()
    assert [claim.element for claim in await queue.acknowledge(first)] == ["2"]


@pytest.mark.parametrize("size", [MAX_ELEMENT_BYTES + 1, 10_000_000])
@inside
async def test_an_element_too_large_for_a_job_goes_to_the_dead_letters_by_itself(world: QueueWorld, size: int) -> None:
    """It would not fit into the request that puts it aside, and never travels."""
    queue = world.queue("a")
    large = b'"\\\x01' + b"\xff" + b"x" * (size - 4)
    await world.produce(large, b"next")
    assert (await claimed(queue)).element == "next"
    [letter] = await world.dead_letters()
    document = json.loads(letter)
    assert document["element"].encode("utf-8", "surrogateescape") == large
    assert document["reason"] == f"element has {size} bytes; at most {MAX_ELEMENT_BYTES} are accepted"
    assert (document["attempt"], document["history"]) == (1, [])
    assert datetime.fromisoformat(document["died_at"]).tzinfo is not None
    assert len(await queue.held()) == 1


@inside
async def test_the_reaper_takes_nothing_from_a_living_owner(world: QueueWorld) -> None:
    await world.produce(b"1")
    claim = await claimed(world.queue("a"))
    assert (await world.queue("b").reap()).jobs == 0
    assert await world.queue("a").held() == [claim]


@inside
async def test_the_reaper_charges_only_what_was_begun(world: QueueWorld) -> None:
    dead, also_dead, reaper = world.queue("dead-1"), world.queue("dead:2"), world.queue("reaper")
    await world.produce(b"1", b"2", b"3")
    for owner in (dead, also_dead):
        await started(owner, await claimed(owner))
    await claimed(dead)
    await world.lapse("dead-1")
    await world.lapse("dead:2")
    assert (await reaper.reap()).jobs == 3
    assert (await reaper.reap()).jobs == 0
    deliveries = [open_delivery(element) for element in await reaper.peek(3)]
    assert sorted((delivery.original, delivery.attempt) for delivery in deliveries) == [
        ("1", 2),
        ("2", 2),
        ("3", 1),
    ]
    assert {len(delivery.history) for delivery in deliveries} == {1}
    assert await dead.held() == []


@inside
async def test_the_reaper_leaves_its_own_jobs_alone(world: QueueWorld) -> None:
    """A worker that was suspended must not charge itself for what it still runs."""
    queue = world.queue("a")
    await world.produce(b"1")
    claim = await claimed(queue)
    await world.lapse("a")
    assert await queue.reap() == Reaping(0, holding=True)
    assert await queue.held() == [claim]
    await queue.acknowledge(claim)
    assert await queue.reap() == Reaping(0, holding=False)


@inside
async def test_an_owner_that_was_reaped_can_change_nothing_any_more(world: QueueWorld) -> None:
    late, reaper = world.queue("late"), world.queue("reaper")
    await world.produce(b"1")
    claim = await claimed(late)
    await world.lapse("late")
    await reaper.reap()
    await late.acknowledge(claim)
    await late.requeue(claim, "why", charged=True)
    await late.bury(claim, "why")
    assert (await reaper.length(), await world.dead_letters()) == (1, [])


@inside
async def test_release_needs_no_lapsed_lease_and_keeps_the_order(world: QueueWorld) -> None:
    """The supervisor's waitpid is proof of death: nobody waits for the lease."""
    dead, supervisor = world.queue("dead"), world.queue("supervisor")
    await world.produce(b"1", b"2", b"3")
    await started(dead, await claimed(dead))
    await claimed(dead)
    assert await supervisor.release("dead", "killed by signal 9") == 2
    assert await supervisor.release("dead", "killed by signal 9") == 0
    coming = [open_delivery(element) for element in await supervisor.peek(3)]
    assert [(delivery.original, delivery.attempt) for delivery in coming] == [("1", 2), ("2", 1), ("3", 1)]
    assert [delivery.history for delivery in coming] == [("killed by signal 9",), ("killed by signal 9",), ()]
    assert not (await dead.renew([])).alive


@inside
async def test_a_claim_whose_answer_was_lost_is_found_among_what_is_held(world: QueueWorld) -> None:
    """A blind retry of a pop whose response was lost takes a second job (contract section 1)."""
    queue = world.queue("a")
    await world.produce(b"1", b"2")
    world.lose_next_answer()
    with pytest.raises(BackendUnavailable):
        await queue.claim()
    assert [claim.element for claim in await queue.held()] == ["1"]
    assert await queue.length() == 1


@inside
async def test_every_call_may_be_repeated_after_a_lost_answer(world: QueueWorld) -> None:
    queue = world.queue("a")
    await world.produce(b"1", b"2", b"3", b"4")
    one, two, three, four = [await claimed(queue) for _ in range(4)]
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: queue.begin(one, "job-1"),
        lambda: queue.acknowledge(one),
        lambda: queue.requeue(two, "why", charged=True),
        lambda: queue.bury(three, "why"),
        lambda: queue.put_back(four),
    )
    for call in calls:
        world.lose_next_answer()
        with pytest.raises(BackendUnavailable):
            await call()
        await call()
    [begun] = await queue.held()
    assert begun.delivery.started
    assert (await queue.length(), len(await world.dead_letters())) == (2, 1)


@pytest.mark.parametrize("element", ODD_ELEMENTS)
@inside
async def test_an_odd_element_does_not_jam_the_queue(world: QueueWorld, element: bytes) -> None:
    queue = world.queue("a")
    shown = element.decode("utf-8", "surrogateescape")
    await world.produce(element, b"next")
    assert await queue.peek(1) == [shown]
    await queue.put_back(await started(queue, await claimed(queue)))
    assert (await world.waiting())[-1] == shown
    await queue.requeue(await claimed(queue), "wrapped", charged=True)
    claim = await claimed(queue)
    assert claim.delivery.original == shown
    await queue.bury(claim, "is not JSON")
    [letter] = await world.dead_letters()
    assert json.loads(letter)["element"].encode("utf-8", "surrogateescape") == element
    assert (await claimed(queue)).element == "next"


@pytest.mark.parametrize("element", ODD_ELEMENTS)
@inside
async def test_an_odd_element_can_be_acknowledged_and_reaped(world: QueueWorld, element: bytes) -> None:
    queue, reaper = world.queue("a"), world.queue("reaper")
    await world.produce(element, element)
    await queue.acknowledge(await claimed(queue))
    assert await queue.held() == []
    await claimed(queue)
    await world.lapse("a")
    assert (await reaper.reap()).jobs == 1
    assert (await claimed(reaper)).delivery.original == element.decode("utf-8", "surrogateescape")
