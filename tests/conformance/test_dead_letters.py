"""Looking at what lies in Redis and taking dead letters out, over REST and over its own protocol."""

from __future__ import annotations

from typing import Self

import pytest

from ourvidz_worker.backend.queue.dead_letters import DeadLetters, Letter, named
from ourvidz_worker.backend.queue.glimpses import SMALL, look
from ourvidz_worker.backend.queue.queue_state import Entry, queue_state
from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES
from ourvidz_worker.errors import BackendUnavailable
from tests.conformance.native_layer import NativeLayer
from tests.conformance.queue_worlds import QUEUE, End, RedisWorld, inside
from tests.conformance.rest_layer import RestLayer
from tests.contract.samples import CATALOGUE, JOB_ID, compact, payload

DEAD = f"{QUEUE}:dead"
ELEMENT = compact(payload()).encode()
ODD_ELEMENTS = [
    pytest.param(b'{"prompt":"\xff\xfe caf\xe9"}', id="not UTF-8"),
    pytest.param(b"\xed\xa0\x80 100%", id="an encoded surrogate"),
    pytest.param(b"%ff%41%", id="looks escaped"),
    pytest.param('{"prompt":"é 😀 \u2028"}'.encode(), id="beyond ASCII"),
    pytest.param(b'\x00\x01"\\\n\x7f', id="control characters"),
    pytest.param(b"\xff" * MAX_ELEMENT_BYTES, id="as large as an element may be"),
]


class Morgue(RedisWorld):
    """A queue with workers that put elements aside, and an operator."""

    def __init__(self, layer: RestLayer | NativeLayer) -> None:
        super().__init__(layer)
        self.layer = layer

    async def __aenter__(self) -> Self:
        self.redis = self.layer.client()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.redis.close()

    def letters(self, pop_end: End = "right") -> DeadLetters:
        return DeadLetters(self.redis, QUEUE, CATALOGUE, pop_end=pop_end)

    async def bury(self, *elements: bytes, reason: str = "it would not run") -> None:
        queue = self.queue("gravedigger")
        for element in elements:
            await self.produce(element)
            claim = await queue.claim()
            assert claim is not None
            await queue.bury(claim, reason)

    async def only_letter(self) -> Letter:
        [letter] = await self.letters().letters()
        return letter


@pytest.fixture(params=["rest_over_fakeredis", "rest_over_redis_server", "native"])
def world(request: pytest.FixtureRequest) -> Morgue:
    return Morgue(request.getfixturevalue(request.param))


@inside
async def test_letters_come_newest_first_however_many(world: Morgue) -> None:
    assert await world.letters().letters() == []
    await world.bury(*(compact(payload(id=f"job-{number}")).encode() for number in range(5)))
    letters = await world.letters().summaries()
    assert [letter.job_id for letter in letters] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert letters == await world.letters().letters()


@inside
async def test_more_letters_than_one_answer_holds_are_all_there(world: Morgue) -> None:
    large = payload(metadata={"padding": "x" * (SMALL - 2000)})
    await world.bury(*(compact({**large, "id": f"job-{number}"}).encode() for number in range(20)))
    assert len(await world.letters().letters()) == 20


@pytest.mark.parametrize("element", ODD_ELEMENTS)
@inside
async def test_the_producers_own_bytes_are_queued_again(world: Morgue, element: bytes) -> None:
    await world.bury(element)
    assert await world.letters().requeue(await world.only_letter())
    assert await world.waiting() == [element.decode("utf-8", "surrogateescape")]
    assert await world.dead_letters() == []


@pytest.mark.parametrize(("pop_end", "first"), [("right", "left"), ("left", "right")])
@inside
async def test_a_letter_is_queued_where_producers_push(world: Morgue, pop_end: End, first: End) -> None:
    await world.bury(ELEMENT)
    await world.produce(b"waiting")
    await world.letters(pop_end).requeue(await world.only_letter())
    requeued = ELEMENT.decode()
    assert await world.waiting() == ([requeued, "waiting"] if first == "left" else ["waiting", requeued])


@inside
async def test_only_the_letter_that_was_meant_goes(world: Morgue) -> None:
    await world.bury(b"one", b"two", b"three")
    letters = world.letters()
    two = (await letters.letters())[1]
    assert await letters.drop(two)
    assert [letter.element for letter in await letters.letters()] == ["three", "one"]
    assert await world.waiting() == []


@inside
async def test_an_answer_that_was_lost_moves_nothing_twice(world: Morgue) -> None:
    await world.bury(ELEMENT)
    letter = await world.only_letter()
    world.lose_next_answer()
    with pytest.raises(BackendUnavailable):
        await world.letters().requeue(letter)
    assert not await world.letters().requeue(letter)
    assert await world.waiting() == [ELEMENT.decode()]


@inside
async def test_identical_letters_are_one(world: Morgue) -> None:
    await world.bury(ELEMENT)
    copy = (await world.layer.execute("LRANGE", DEAD, "0", "-1"))[0]
    await world.layer.execute("LPUSH", DEAD, copy)
    assert await world.letters().requeue(await world.only_letter())
    assert await world.waiting() == [ELEMENT.decode()]
    assert await world.dead_letters() == []


@inside
async def test_a_letter_too_large_for_a_job_is_never_downloaded_whole(world: Morgue) -> None:
    """The claim script put its raw bytes aside; only what they are wrapped in is of use."""
    await world.produce(b"\xff" * 10_000_000)
    assert await world.queue("a").claim() is None
    letter = await world.only_letter()
    assert "10000000 bytes" in letter.reason
    assert letter.glimpse.length > 10_000_000
    assert len(letter.glimpse.first + letter.glimpse.last) <= SMALL
    assert letter.element is None
    with pytest.raises(ValueError, match="holds no element"):
        await world.letters().requeue(letter)
    assert await world.letters().drop(letter)
    assert await world.dead_letters() == []


@inside
async def test_a_large_letter_is_whole_only_where_that_is_needed(world: Morgue) -> None:
    await world.bury(compact(payload(metadata={"padding": "x" * 3 * SMALL})).encode())
    [summary], [letter] = await world.letters().summaries(), await world.letters().letters()
    assert summary.id == letter.id
    assert (summary.element, summary.job_id, summary.died_at) == (None, None, letter.died_at)
    assert letter.job_id == JOB_ID
    assert named([letter], JOB_ID) == [letter]
    assert await world.letters().drop(summary)


@inside
async def test_what_is_no_letter_can_be_dropped(world: Morgue) -> None:
    await world.layer.execute("LPUSH", DEAD, b"\xff\x00 %41 no letter", b"")
    for letter in await world.letters().letters():
        assert await world.letters().drop(letter)
    assert await world.dead_letters() == []


@pytest.mark.parametrize("begin_at", ["left", "right"])
@inside
async def test_a_look_shows_so_many_from_one_end(world: Morgue, begin_at: End) -> None:
    await world.produce(b"1", b"2", b"3", end="right")
    seen = [glimpse.first for glimpse in await look(world.redis, QUEUE, begin_at=begin_at, count=2)]
    assert seen == (["1", "2"] if begin_at == "left" else ["3", "2"])
    assert await world.waiting() == ["1", "2", "3"]


@inside
async def test_the_state_of_a_queue_names_who_holds_what(world: Morgue) -> None:
    await world.bury(b"first")
    queue, other = world.queue("pod-1"), world.queue("pod-2")
    await world.produce(b"junk", ELEMENT, ELEMENT, compact(payload(id="next")).encode(), b"last")
    await queue.claim()
    held = await queue.claim()
    assert held is not None
    assert await queue.begin(held, JOB_ID)
    await other.claim()
    await world.lapse("pod-2")
    state = await queue_state(world.redis, QUEUE, CATALOGUE, pop_end="right", shown=1)
    assert (state.waiting, state.dead) == (2, 1)
    assert [(entry.job_id, entry.job_type) for entry in state.coming] == [("next", "sdxl_image_fast")]
    alive, lapsed = state.holders
    assert (alive.owner, alive.count, lapsed.owner, lapsed.lease_seconds) == ("pod-1", 2, "pod-2", None)
    assert alive.lease_seconds is not None
    assert 0 < alive.lease_seconds <= 90
    assert alive.jobs == (Entry(None, None, None, 1, started=False),)
    assert [entry.job_id for entry in lapsed.jobs] == [JOB_ID]
