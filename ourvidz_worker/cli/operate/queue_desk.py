"""The operator's desk on what the `queue` commands work with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.backend.queue.dead_letters import DeadLetters
from ourvidz_worker.backend.queue.queue_state import Entry, QueueState, queue_state
from ourvidz_worker.cli.queue import dead, parked, status
from ourvidz_worker.cli.queue.cancelling import cancel_job
from ourvidz_worker.cli.queue.desk import Desk
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.operate.desk import Outcome, Papers, QueueFacts
from ourvidz_worker.runtime.spool import Parked

_SEEN = 20  # of each list: enough to know what a job in it takes
_LETTERS_SHOWN = 100


class QueueDesk:
    """An `operate.desk.Desk`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kinds = {job_type.queue: job_type.model_family for job_type in desk.catalogue.values()}

    async def look(self) -> Papers:
        problems: list[str] = []
        queues: list[QueueFacts] = []
        letters: list[Mapping[str, Any]] = []
        try:
            queues = await asyncio.gather(*map(self._queue, self._desk.queues))
            if any(queue.dead for queue in queues):
                letters = await self._letters()
        except WorkerError as error:
            problems.append(str(error))
        entries: Sequence[Parked] = ()
        try:
            entries = await asyncio.to_thread(self._desk.parked)
        except WorkerError as error:
            problems.append(str(error))
        return Papers(queues, letters, [parked.as_json(entry) for entry in entries], problems)

    async def requeue(self, letter_id: str, *, force: bool) -> Outcome:
        found = await self._letter(letter_id)
        if found is None:
            return _NO_LETTER
        if not force and (objection := await dead.objection_to(found.letter, self._desk)):
            return Outcome(done=False, sentence=f"not queued: {objection}", forcible=found.letter.element is not None)
        outcome = await dead.requeue_letter(found, self._desk, force=True)
        return Outcome(outcome.done, outcome.sentence)

    async def drop(self, letter_id: str) -> Outcome:
        found = await self._letter(letter_id)
        if found is None:
            return _NO_LETTER
        outcome = await dead.drop_letter(found)
        return Outcome(outcome.done, f"the letter is {outcome.sentence}" if outcome.done else outcome.sentence)

    async def resend(self, job_id: str) -> Outcome:
        entry = await self._parked(job_id)
        if entry is None:
            return _NOT_PARKED
        courier = parked.patient_courier(self._desk)
        try:
            outcome = await parked.resend_entry(entry, courier, self._desk)
        finally:
            await courier.close()
        return Outcome(outcome.done, outcome.sentence)

    async def discard(self, job_id: str) -> Outcome:
        entry = await self._parked(job_id)
        if entry is None:
            return _NOT_PARKED
        outcome = await asyncio.to_thread(parked.drop_entry, entry, self._desk)
        return Outcome(outcome.done, f"the result is {outcome.sentence}" if outcome.done else outcome.sentence)

    async def cancel(self, job_id: str) -> Outcome:
        try:
            return Outcome(done=True, sentence=await cancel_job(self._desk, job_id))
        except PayloadError as error:
            return Outcome(done=False, sentence=str(error))

    async def _queue(self, name: str) -> QueueFacts:
        desk = self._desk
        state = await queue_state(desk.redis, name, desk.catalogue, pop_end=desk.settings.pop_end, shown=_SEEN)
        return QueueFacts(
            name,
            self._kinds[name],
            waiting=state.waiting,
            dead=state.dead,
            oldest_seconds=_oldest(state.coming),
            work_seconds=_work(state),
            coming=[status.entry_as_json(entry) for entry in state.coming],
            held=[status.holder_as_json(holder) for holder in state.holders],
        )

    async def _letters(self) -> list[Mapping[str, Any]]:
        each = await asyncio.gather(*(letters.newest(_LETTERS_SHOWN) for letters in self._desk.dead_letters()))
        newest_first = sorted(
            (letter for letters in each for letter in letters), key=lambda letter: letter.died_at or "", reverse=True
        )
        return [dead.as_json(letter) for letter in newest_first[:_LETTERS_SHOWN]]

    async def _letter(self, letter_id: str) -> dead.Found | None:
        each: list[DeadLetters] = self._desk.dead_letters()
        for letters in each:
            for letter in await letters.letters():
                if letter.id == letter_id:
                    return dead.Found(letter, letters)
        return None

    async def _parked(self, job_id: str) -> Parked | None:
        entries = await asyncio.to_thread(self._desk.parked)
        return next((entry for entry in entries if entry.job_id == job_id), None)


_NO_LETTER = Outcome(done=False, sentence="this letter is not there any more: somebody queued it again or dropped it")
_NOT_PARKED = Outcome(done=False, sentence="this result is not there any more: somebody sent it again or dropped it")


def _oldest(coming: Sequence[Entry]) -> float | None:
    created = [entry.created_at for entry in coming if entry.created_at is not None]
    return max(0.0, round((datetime.now(UTC) - min(created)).total_seconds())) if created else None


def _work(state: QueueState) -> float | None:
    """What all that waits should take, going by those that were seen."""
    expected = [entry.expected_seconds for entry in state.coming if entry.expected_seconds is not None]
    return round(state.waiting * sum(expected) / len(expected), 1) if expected else None
