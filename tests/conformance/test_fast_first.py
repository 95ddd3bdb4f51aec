"""Fast jobs pass others for a set time, and no job is lost, doubled or left behind by it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES, open_delivery
from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.ports import Claim, JobQueue
from tests.conformance.queue_worlds import End, MemoryWorld, QueueWorld, inside
from tests.contract.samples import ENVELOPES
from tests.support.memory import WINDOW, WINDOW_BYTES

FAST, HIGH = "sdxl_image_fast", "sdxl_image_high"
LONGEST_WAIT = 3600.0
YOUNG, OLD = 600, 7200
"""Ages in seconds, far enough from the limit for the slowest machine."""

UNCLEAR = [
    b"",  # empty
    b"7",  # a number
    b"null",  # null
    b'"text"',  # a text
    b"{}",  # says nothing
    b'{"data":null}',  # wraps nothing
    b"[1,2]",  # two things
    b"\xff\x00%41",  # bytes
    b"[" * 20_000,  # deep lists
    b'{"data":' * 2_000 + b"7" + b"}" * 2_000,  # deep objects
    b'{"type":{"type":"sdxl_image_fast"}}',  # a type that is no text
    b'{"type":"sdxl_image_high"}',  # no age
    b'{"type":"sdxl_image_high","created_at":null}',  # null for an age
    b'{"type":"sdxl_image_high","created_at":1764000000}',  # a number for an age
    b'{"type":"sdxl_image_high","created_at":{"a":1}}',  # an object for an age
    b'{"type":"sdxl_image_high","created_at":"yesterday"}',  # words for an age
    b'{"type":"sdxl_image_high","created_at":"9999-12-31T23:59:59Z"}',  # created in the future
    b'{"type":"sdxl_image_high","created_at":"0000-00-00T00:00:00Z"}',  # created before all
]


def moment(age: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def element(name: str, kind: str, age: float = YOUNG, spelling: str = "{job}", **fields: Any) -> bytes:
    job = {"id": name, "type": kind, "created_at": moment(age), "config": {}, "metadata": None, **fields}
    return ENVELOPES[spelling](job).encode()


def name_of(claim: Claim) -> str:
    """The id of an `element`, or what it is where it is none."""
    found = [word for word in claim.delivery.original.replace("\\", "").split('"') if word.startswith("job-")]
    return found[0] if found else claim.delivery.original


async def names(queue: JobQueue, *, alike: str | None = None) -> list[str]:
    taken = []
    while claim := await queue.claim(alike=alike):
        taken.append(name_of(claim))
    return taken


@pytest.mark.parametrize(("push", "pop"), [("left", "right"), ("right", "left")])
@inside
async def test_fast_jobs_pass_others_and_keep_their_own_order(world: QueueWorld, push: End, pop: End) -> None:
    queue = world.queue("a", pop_end=pop, fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(
        element("job-1", HIGH),
        element("job-2", FAST),
        element("job-3", HIGH),
        element("job-4", FAST),
        end=push,
    )
    assert await names(queue) == ["job-2", "job-4", "job-1", "job-3"]
    assert [name_of(claim) for claim in await queue.held()] == ["job-2", "job-4", "job-1", "job-3"]


@inside
async def test_a_job_that_has_waited_too_long_is_not_passed_any_more(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(
        element("job-1", HIGH), element("job-2", HIGH, OLD), element("job-3", FAST, OLD), element("job-4", FAST)
    )
    assert await names(queue) == ["job-2", "job-3", "job-4", "job-1"]


@inside
async def test_without_a_longest_wait_jobs_are_taken_in_their_order(world: QueueWorld) -> None:
    await world.produce(element("job-1", HIGH), element("job-2", FAST))
    assert await names(world.queue("a", fast=[FAST])) == ["job-1", "job-2"]


@inside
async def test_every_spelling_of_a_job_is_read(world: QueueWorld) -> None:
    """A redelivery of our own has waited once already, whatever its age: it is never passed over."""
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    for spelling in ENVELOPES:
        await world.produce(element("job-1", HIGH, spelling=spelling), element("job-2", FAST, spelling=spelling))
        await world.produce(element("job-3", HIGH, OLD, spelling=spelling), element("job-4", FAST, spelling=spelling))
        passed = [] if spelling == "our redelivery" else ["job-1"]
        stayed = [name for name in ("job-1", "job-2", "job-3", "job-4") if name not in passed]
        assert await names(queue) == stayed + passed, spelling


@inside
async def test_a_time_in_utc_is_read_in_every_spelling(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    for zone in ("", "Z", "+00:00", ".5", ".123456Z", ".25+00:00"):
        high = element("job-1", HIGH, created_at=moment(YOUNG)[:19] + zone)
        await world.produce(high, element("job-2", FAST))
        assert await names(queue) == ["job-2", "job-1"], zone


@inside
async def test_newer_producers_name_the_type_otherwise(world: QueueWorld) -> None:
    """'Newer producers add `job_id`, `job_type`, `quality`, `format`.'"""
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(element("job-1", HIGH, job_type=FAST), element("job-2", "", job_type=FAST))
    await world.produce(json.dumps({"job_id": "job-3", "type": None, "job_type": FAST}).encode())
    assert await names(queue) == ["job-2", "job-3", "job-1"]


@inside
async def test_what_does_not_clearly_say_its_age_is_not_passed_over(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    for unclear in UNCLEAR:
        await world.produce(element("job-1", HIGH), unclear, element("job-2", FAST))
        assert await queue.claim(alike=FAST) is None
        assert await names(queue) == [unclear.decode("utf-8", "surrogateescape"), "job-2", "job-1"]


@inside
async def test_an_element_too_large_for_a_job_is_put_aside_in_its_turn(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(b"x" * (MAX_ELEMENT_BYTES + 1), element("job-1", HIGH), element("job-2", FAST))
    assert await queue.claim(alike=FAST) is None
    assert await world.dead_letters() == []
    assert await names(queue) == ["job-2", "job-1"]
    assert (len(await world.dead_letters()), len(await queue.held())) == (1, 2)


@inside
async def test_a_claim_looks_no_further_than_its_window(world: QueueWorld) -> None:
    """What a claim costs may not grow with the queue."""
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(*(element(f"job-{number}", HIGH) for number in range(WINDOW)), element("job-fast", FAST))
    assert [name_of(await claimed(queue)) for _ in range(2)] == ["job-0", "job-fast"]


@inside
async def test_a_claim_reads_no_more_bytes_than_its_window_has(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    large = element("job-2", HIGH, prompt="x" * WINDOW_BYTES)
    await world.produce(element("job-1", HIGH), large, element("job-3", FAST))
    assert await names(queue) == ["job-1", "job-2", "job-3"]


@inside
async def test_identical_elements_are_passed_and_taken_one_by_one(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    high, fast = element("job-1", HIGH), element("job-2", FAST)
    await world.produce(high, fast, high, fast, fast)
    assert await names(queue) == ["job-2"] * 3 + ["job-1"] * 2
    assert await queue.length() == 0


@inside
async def test_a_claim_of_a_fast_job_whose_answer_was_lost_is_found_among_what_is_held(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(element("job-1", HIGH), element("job-2", FAST), element("job-3", HIGH))
    world.lose_next_answer()
    with pytest.raises(BackendUnavailable):
        await queue.claim()
    [held] = await queue.held()
    assert (name_of(held), await queue.length()) == ("job-2", 2)
    await queue.put_back(held)
    assert [name_of(await claimed(queue)) for _ in range(2)] == ["job-2", "job-1"]


@inside
async def test_a_claim_tells_how_many_wait_behind_it(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(element("job-1", HIGH), element("job-2", FAST), b"other")
    assert [(await claimed(queue)).behind for _ in range(3)] == [2, 1, 0]


@inside
async def test_company_of_another_type_is_left_where_it_is(world: QueueWorld) -> None:
    queue = world.queue("a", fast=[FAST], longest_wait=LONGEST_WAIT)
    await world.produce(element("job-1", HIGH), element("job-2", FAST), element("job-3", HIGH, OLD))
    before = await world.waiting()
    assert await queue.claim(alike=HIGH) is None
    assert (await world.waiting(), await queue.held()) == (before, [])
    assert await names(queue, alike=FAST) == ["job-2"]
    assert await names(queue, alike=HIGH) == ["job-3", "job-1"]
    assert await queue.claim(alike=HIGH) is None


@inside
async def test_a_claim_of_company_confirms_the_lease(world: QueueWorld) -> None:
    queue = world.queue("a")
    await queue.claim(alike=FAST)
    assert (await queue.renew([])).alive


@inside
async def test_a_redelivery_keeps_no_company(world: QueueWorld) -> None:
    """It may have ended its worker: it would take the others with it."""
    queue = world.queue("a")
    await world.produce(element("job-1", FAST, spelling="our redelivery"))
    assert await queue.claim(alike=FAST) is None
    assert await names(queue) == ["job-1"]


types = st.sampled_from([FAST, HIGH, HIGH])
ages = st.sampled_from([YOUNG, YOUNG, YOUNG, OLD, -OLD])
jobs = st.builds(element, st.sampled_from(["job-1", "job-2", "job-3"]), types, ages, st.sampled_from(list(ENVELOPES)))
anything = st.one_of(jobs, jobs, jobs, st.sampled_from(UNCLEAR))


def test_whatever_waits_nothing_is_lost_doubled_or_left_behind(world: QueueWorld) -> None:
    @settings(max_examples=40 if isinstance(world, MemoryWorld) else 10, deadline=None)
    @given(waiting=st.lists(anything, min_size=2, max_size=8), end=st.sampled_from(["left", "right"]))
    def holds(waiting: list[bytes], end: End) -> None:
        asyncio.run(_drain(world, waiting, end))

    holds()


async def _drain(world: QueueWorld, produced: list[bytes], end: End) -> None:
    texts = [text.decode("utf-8", "surrogateescape") for text in produced]
    async with world, MemoryWorld() as model:
        queues = [each.queue("a", pop_end=end, fast=[FAST], longest_wait=LONGEST_WAIT) for each in (world, model)]
        for each in (world, model):
            await each.produce(*produced, end="left" if end == "right" else "right")
        coming, taken = list(texts), []
        while claim := await queues[0].claim():
            twin = await claimed(queues[1])
            assert (claim.element, claim.behind) == (twin.element, twin.behind)
            index = coming.index(claim.element)
            assert all(may_be_passed(text) for text in coming[:index])
            taken.append(coming.pop(index))
        assert await queues[1].claim() is None
        assert Counter(taken) == Counter(texts)
        assert [held.element for held in await queues[0].held()] == taken


def may_be_passed(text: str) -> bool:
    """Whether it is plainly a young job of high quality."""
    if open_delivery(text).redelivered:
        return False
    value: Any = text
    try:
        while not (isinstance(value, dict) and "type" in value):
            value = json.loads(value) if isinstance(value, str) else value["data"] if "data" in value else value[0]
        age = datetime.now(UTC) - datetime.fromisoformat(value["created_at"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False
    return value["type"] == HIGH and timedelta() <= age < timedelta(seconds=LONGEST_WAIT)


async def claimed(queue: JobQueue) -> Claim:
    claim = await queue.claim()
    assert claim is not None
    return claim
