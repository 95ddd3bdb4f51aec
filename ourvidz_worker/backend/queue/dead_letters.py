"""What workers put aside: to be looked at, queued again or dropped by an operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.glimpses import SMALL, Glimpse, look
from ourvidz_worker.backend.queue.keys import QueueKeys
from ourvidz_worker.backend.queue.scripts import escaped, script_for_elements
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES, open_delivery
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.payload_error import PayloadError

_TAKE = script_for_elements("take_letter")
# A byte that is not UTF-8 becomes six characters of JSON, and a history comes with it.
_LARGEST_OF_A_JOB = 8 * MAX_ELEMENT_BYTES
_SHORTEST_ID = 4
_ELEMENT_BEGINS = re.compile(r',\s*"element"\s*:')


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as far as it can be read; `died_at` is an ISO 8601 time, None in letters of older workers.

    `element` is the producer's own text, None where the letter holds none or was read in part. `job_id` and
    `job_type` are None where it names none; `problem` says why no worker could run it as it is.
    """

    queue: str
    glimpse: Glimpse
    reason: str
    attempt: int | None = None
    history: tuple[str, ...] = ()
    died_at: str | None = None
    element: str | None = None
    job_id: str | None = None
    job_type: str | None = None
    problem: str | None = None

    @property
    def id(self) -> str:
        return self.glimpse.digest

    def answers_to(self, name: str) -> bool:
        """Whether an operator who says `name` may mean this letter: its job's id, or how its own id begins."""
        return name == self.job_id or (len(name) >= _SHORTEST_ID and self.id.startswith(name.lower()))


class DeadLetters:
    """The dead letters of one queue; `pop_end` is the end that producers do not push to.

    Every call raises as `Redis` does. An outcome that is not known may be asked for again.
    """

    def __init__(
        self, redis: Redis, queue: str, catalogue: Catalogue, *, pop_end: Literal["right", "left"] = "right"
    ) -> None:
        self._redis = redis
        self._keys = QueueKeys(queue)
        self._catalogue = catalogue
        self._push = "LPUSH" if pop_end == "right" else "RPUSH"

    async def summaries(self) -> list[Letter]:
        """All letters, newest first, large ones read in part."""
        return await self._read(SMALL)

    async def newest(self, count: int) -> list[Letter]:
        """At most `count` of them, newest first, large ones read in part."""
        glimpses = await look(self._redis, self._keys.dead, begin_at="left", count=count)
        # One that comes in meanwhile moves the others, and the last one seen is seen again.
        return [read_letter(self._keys.queue, glimpse, self._catalogue) for glimpse in dict.fromkeys(glimpses)]

    async def letters(self) -> list[Letter]:
        """All letters, newest first, whole unless they are too large to hold a job."""
        return await self._read(_LARGEST_OF_A_JOB)

    async def requeue(self, letter: Letter) -> bool:
        """Put the producer's own bytes where producers push; False when the letter was not there any more.

        Raises `ValueError` for a letter without an element.
        """
        if letter.element is None:
            raise ValueError(f"the dead letter {letter.id} holds no element that could be queued")
        return await self._take(letter, self._keys.queue, escaped(letter.element), self._push)

    async def drop(self, letter: Letter) -> bool:
        """Remove a letter for good; False when it was not there any more."""
        return await self._take(letter)

    async def _read(self, whole_up_to: int) -> list[Letter]:
        # From the right: what is put aside meanwhile comes in at the left and moves nothing.
        glimpses = await look(self._redis, self._keys.dead, begin_at="right", whole_up_to=whole_up_to)
        newest_first = dict.fromkeys(reversed(glimpses))
        return [read_letter(self._keys.queue, glimpse, self._catalogue) for glimpse in newest_first]

    async def _take(self, letter: Letter, queue: str | None = None, element: str = "", push: str = "") -> bool:
        glimpse = letter.glimpse
        keys = [self._keys.dead, *filter(None, [queue])]
        edges = [escaped(glimpse.first), escaped(glimpse.last)]
        return bool(await self._redis.eval(_TAKE, keys, [str(glimpse.length), *edges, element, push]))


def named(letters: Iterable[Letter], name: str) -> list[Letter]:
    """The letters that an operator who says `name` may mean."""
    return [letter for letter in letters if letter.answers_to(name)]


def read_letter(queue: str, glimpse: Glimpse, catalogue: Catalogue) -> Letter:
    """Make out as much of a letter as there is; never raises, because anything may lie in a list."""
    document = _document(glimpse)
    if document is None:
        reason = "this is no dead letter of a worker"
        return Letter(queue, glimpse, reason, problem=f"{reason}: see it with `show`, and drop it")
    element = _text(document, "element") if glimpse.whole else None
    attempt = document.get("attempt")
    history = document.get("history")
    job_id, job_type, problem = _job(element, glimpse, catalogue)
    return Letter(
        queue,
        glimpse,
        reason=_text(document, "reason") or "no reason was given",
        attempt=attempt if type(attempt) is int else None,
        history=tuple(map(str, history)) if isinstance(history, list) else (),
        died_at=_text(document, "died_at"),
        element=element,
        job_id=job_id,
        job_type=job_type,
        problem=problem,
    )


def _document(glimpse: Glimpse) -> dict[str, Any] | None:
    text = glimpse.first
    if not glimpse.whole:
        # Inside a JSON text the quotes would be escaped, so this is the key and nothing that a job says.
        text = _ELEMENT_BEGINS.split(text, maxsplit=1)[0] + "}"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and "reason" in document else None


def _text(document: dict[str, Any], name: str) -> str | None:
    """A text as Redis can hold it: other halves of surrogate pairs than escaped bytes cannot be sent back."""
    value = document.get(name)
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return value


def _job(element: str | None, glimpse: Glimpse, catalogue: Catalogue) -> tuple[str | None, str | None, str | None]:
    """The id and the type of the job in an element, and what is wrong with it."""
    if element is None:
        return None, None, "the letter holds no element" if glimpse.whole else f"it has {glimpse.length} bytes"
    try:
        job = parse_job(open_delivery(element), catalogue)
    except PayloadError as error:
        return error.job_id, None, str(error)
    return job.id, job.type.name, None
