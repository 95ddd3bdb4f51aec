"""What this worker holds in Redis, and the last word on each job."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import structlog

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import Retry
from ourvidz_worker.instruments.stages import stage
from ourvidz_worker.ports import Claim, JobQueue


@dataclass(eq=False, slots=True)
class Holding:
    """One claimed job.

    Its element changes once generation begins, and is `doubtful` where Redis did not confirm that. `last_word`
    is how it shall leave. `share` is its part of the batch that it was drawn in. The claim took `claim_seconds` and was
    done at `taken_at` of the monotonic clock.
    """

    claim: Claim
    job_id: str | None = None
    doubtful: bool = False
    share: Fraction = Fraction(1)
    last_word: Callable[[], Awaitable[Collection[Claim]]] | None = None
    claim_seconds: float = 0.0
    taken_at: float = field(default_factory=time.monotonic)


class Holdings:
    """A job stays held, and its lease alive, until Redis has confirmed the last word on it.

    `answer_lost` says that Redis may hold something for us that we do not know of, or not hold what we think.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._all: list[Holding] = []
        self._looked = False
        self.answer_lost = True  # an owner whose name was given may have held something in an earlier life

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def job_ids(self) -> list[str]:
        return [holding.job_id for holding in self._all if holding.job_id is not None]

    def take(self, claim: Claim, *, claim_seconds: float = 0.0) -> Holding:
        holding = Holding(claim, claim_seconds=claim_seconds)
        self._all.append(holding)
        return holding

    async def acknowledge(self, holding: Holding) -> None:
        with stage("acknowledge"):
            await self._say(holding, lambda: self._queue.acknowledge(holding.claim))

    async def requeue(self, holding: Holding, reason: str, *, charged: bool) -> None:
        await self._say(holding, lambda: self._requeue(holding, reason, charged=charged))

    async def put_back(self, holding: Holding) -> None:
        await self._say(holding, lambda: self._put_back(holding))

    async def bury(self, holding: Holding, reason: str) -> None:
        await self._say(holding, lambda: self._bury(holding, reason))

    async def look_up(self) -> None:
        """Compare with what Redis holds for us: repeat what it did not confirm, queue again what we do not know of.

        A claim whose answer was lost is not taken on as it lies there: that would race with a reaper if the lease
        lapsed meanwhile; the move does not.
        """
        self.answer_lost = False  # at once, because an ending may lose another answer during the look-up
        try:
            held = await self._queue.held()
            for claim in held:
                holding = self._known(claim)
                if holding is None:
                    await self._return(claim)
                elif holding.last_word is not None:
                    holding.claim = claim  # begun or not: what Redis has counts
                    await self._repeat(holding)
        except Retry:
            self.answer_lost = True
            raise
        self._looked = True
        present = {claim.element for claim in held}
        for holding in self:
            if holding.last_word is not None and holding.claim.element not in present:
                self._forget(holding)  # it was carried out, and only the answer was lost

    async def _say(self, holding: Holding, word: Callable[[], Awaitable[Collection[Claim]]]) -> None:
        holding.last_word = word
        await self._repeat(holding)

    async def _repeat(self, holding: Holding) -> None:
        assert holding.last_word is not None
        try:
            still_held = await holding.last_word()
        except Exception:
            self.answer_lost = True
            raise
        self._forget(holding)
        if any(self._known(claim) is None for claim in still_held):
            self.answer_lost = True  # or a claim is under way: the look-up comes between two claims and tells

    async def _requeue(self, holding: Holding, reason: str, *, charged: bool) -> Collection[Claim]:
        for claim in _shapes(holding):
            await self._queue.requeue(claim, reason, charged=charged)
        return ()

    async def _put_back(self, holding: Holding) -> Collection[Claim]:
        for claim in _shapes(holding):
            await self._queue.put_back(claim)
        return ()

    async def _bury(self, holding: Holding, reason: str) -> Collection[Claim]:
        await self._queue.bury(holding.claim, reason)
        return ()

    async def _return(self, claim: Claim) -> None:
        # Of an earlier life only a begun generation is charged; in this life nobody generates what we do not know.
        if claim.delivery.started and not self._looked:
            await self._queue.requeue(claim, "its worker was started again under the same name", charged=True)
        else:
            await self._queue.put_back(claim)
        structlog.get_logger().info("lost_claim_returned", queue=claim.queue)

    def _known(self, claim: Claim) -> Holding | None:
        """A start that Redis carried out may not be confirmed to us yet."""
        return next(
            (h for h in self._all if claim.element in (h.claim.element, h.claim.begun)),
            None,
        )

    def _forget(self, holding: Holding) -> None:
        if holding in self._all:  # the ending and the look-up may both hear the answer
            self._all.remove(holding)


def _shapes(holding: Holding) -> list[Claim]:
    """The claim as Redis may have it; moving what is not there is harmless."""
    claim = holding.claim
    begun = claim.begun
    return [claim, Claim(claim.queue, begun, open_delivery(begun))] if holding.doubtful else [claim]
