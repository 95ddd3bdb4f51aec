"""The ports in memory, with their misfortunes scripted: `fail_next`, `hold`, and a journal of what was done."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Coroutine, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.catalogue import THUMBNAIL_MEDIA_TYPE, JobType
from ourvidz_worker.contract.job import Job, Reference
from ourvidz_worker.control import Message
from ourvidz_worker.errors import BackendUnavailable, ContentRefused, EnhancementFailed
from ourvidz_worker.ports import (
    Asset,
    Begun,
    BucketLimit,
    Claim,
    Encoded,
    Footage,
    Generation,
    GenerationRequest,
    GpuMemory,
    OnFrames,
    OnStep,
    Order,
    Reaping,
    ReferenceImage,
    Renewal,
    unheard,
)
from tests.support.memory import MemoryQueue, MemoryRedis
from tests.support.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

T = TypeVar("T")


class Gate:
    """A place where one thread or task stops until it is let through."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    async def reached(self) -> None:
        await eventually(self._reached.is_set, "arriving at the gate")

    def open(self) -> None:
        self._opened.set()

    def stop_here(self) -> None:
        """For threads."""
        self._reached.set()
        assert self._opened.wait(PATIENCE_SECONDS), "the gate was never opened"

    async def wait_here(self) -> None:
        """For tasks."""
        self._reached.set()
        await eventually(self._opened.is_set, "opening the gate")


class Script:
    """What shall go wrong or wait at the next calls of each operation, and a journal of the calls that went well."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self._errors: defaultdict[str, list[BaseException]] = defaultdict(list)
        self._gates: defaultdict[str, list[Gate]] = defaultdict(list)
        self._lost: set[str] = set()

    def fail_next(self, operation: str, *errors: BaseException) -> None:
        """The next calls of this operation raise before anything is done."""
        self._errors[operation] += errors

    def lose_next_answer(self, operation: str) -> None:
        """The next call of this operation is carried out, and its answer never comes."""
        self._lost.add(operation)

    def hold(self, operation: str) -> Gate:
        """The next call of this operation that is not held yet waits at the gate."""
        gate = Gate()
        self._gates[operation].append(gate)
        return gate

    async def begin(self, operation: str, entry: str = "") -> None:
        if self._gates[operation]:
            await self._gates[operation].pop(0).wait_here()
        if self._errors[operation]:
            raise self._errors[operation].pop(0)
        self.journal.append(entry or operation)

    def end(self, operation: str) -> None:
        if operation in self._lost:
            self._lost.discard(operation)
            raise BackendUnavailable(f"the answer to {operation} was lost")


class FakeQueue(MemoryQueue):
    """A `MemoryQueue` whose calls follow a script."""

    def __init__(self, redis: MemoryRedis, script: Script, *, name: str, owner: str) -> None:
        super().__init__(redis, queue=name, owner=owner)
        self.script = script

    async def length(self) -> int:
        return await self._scripted("length", super().length())

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        return await self._scripted("claim", super().claim(alike=alike))

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        return await self._scripted("begin", super().begin(claim, job_id))

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        return await self._scripted("renew", super().renew(job_ids))

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        return await self._scripted("acknowledge", super().acknowledge(claim))

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        await self._scripted("requeue", super().requeue(claim, reason, charged=charged))

    async def put_back(self, claim: Claim) -> None:
        await self._scripted("put_back", super().put_back(claim))

    async def bury(self, claim: Claim, reason: str) -> None:
        await self._scripted("bury", super().bury(claim, reason))

    async def held(self) -> list[Claim]:
        return await self._scripted("held", super().held())

    async def reap(self) -> Reaping:
        return await self._scripted("reap", super().reap())

    async def _scripted(self, operation: str, call: Coroutine[Any, Any, T]) -> T:
        try:
            await self.script.begin(operation)
        except BaseException:
            call.close()
            raise
        result = await call
        self.script.end(operation)
        return result


class FakeEngine:
    """Draws `steps` steps of nothing; `hold_at` stops it after a step and before anyone is told of that step.

    `errors` are raised by the next generations, and those of `failing` by the jobs of these ids. `batches` tells who
    was drawn together, and `prepared` who was prepared ahead.
    """

    model_name = "fake-model"

    def __init__(self, *, steps: int = 3, memory: GpuMemory | None = None) -> None:
        self.requests: list[GenerationRequest] = []
        self.prepared: list[str] = []
        self.batches: list[list[str]] = []
        self.errors: list[BaseException] = []
        self.failing: dict[str, BaseException] = {}
        self.glimpses: dict[str, Pixels | Exception] = {}
        self.prepare_error: Exception | None = None
        self.load_error: BaseException | None = None
        self.loading: Gate | None = None
        self.preparing: Gate | None = None
        self.most_at_once = 0
        self._at_once = 0
        self._steps = steps
        self._memory = memory
        self._gates: dict[tuple[str, int], Gate] = {}

    def hold_at(self, step: int, job_id: str = "job-1") -> Gate:
        gate = self._gates[job_id, step] = Gate()
        return gate

    def load(self) -> None:
        if self.loading:
            self.loading.stop_here()
        if self.load_error:
            raise self.load_error

    def prepare(self, request: GenerationRequest) -> None:
        if self.preparing:
            self.preparing.stop_here()
        if self.prepare_error:
            raise self.prepare_error
        self.prepared.append(request.job.id)

    def shape(self, request: GenerationRequest) -> Hashable | None:
        job = request.job
        return None if job.is_video else (job.type.name, job.width, job.height)

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        with self._drawing([request]):
            outcome = self._draw([Order(request, on_step)])[0]
        if isinstance(outcome, BaseException):
            raise outcome
        if request.job.is_video:
            on_frames(0, outcome.frames)
        return outcome

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """What `glimpses` holds of the job, or raises."""
        glimpse = self.glimpses.get(request.job.id)
        if isinstance(glimpse, Exception):
            raise glimpse
        return glimpse

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        with self._drawing([order.request for order in orders]):
            return self._draw(orders)

    def memory(self) -> GpuMemory | None:
        return self._memory

    @contextmanager
    def _drawing(self, requests: Sequence[GenerationRequest]) -> Iterator[None]:
        self.requests += requests
        self.batches.append([request.job.id for request in requests])
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            self._at_once -= 1

    def _draw(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        if self.errors:
            raise self.errors.pop(0)
        outcomes: list[Generation | BaseException] = [_fake_generation(order.request.job) for order in orders]
        for step in range(1, self._steps + 1):
            for index, order in enumerate(orders):
                if isinstance(outcomes[index], BaseException):
                    continue
                try:
                    self._step(order, step)
                except BaseException as error:  # noqa: BLE001 - the outcome of this order alone
                    outcomes[index] = error
        return outcomes

    def _step(self, order: Order, step: int) -> None:
        job_id = order.request.job.id
        if gate := self._gates.pop((job_id, step), None):
            gate.stop_here()
        order.on_step(step, self._steps)
        if error := self.failing.pop(job_id, None):
            raise error


def _fake_generation(job: Job) -> Generation:
    count = job.num_frames if job.is_video else job.num_images
    # One black pixel seen from everywhere: as big as the job asks, and free.
    frames = np.broadcast_to(np.uint8(0), (count, job.height, job.width, 3))
    return Generation(frames, {"method": "fake"})


class FakeFootage:
    """Writes down which frames came into a file of its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self.discarded = False
        path.write_text("filmed", encoding="utf-8")

    def add(self, index: int, frames: Pixels) -> None:
        self.frames = index + len(frames)

    def discard(self) -> None:
        self.discarded = True
        self.path.unlink(missing_ok=True)


class FakeEncoder:
    """Writes small files whose content tells job and seed apart, with `thumbnails` where a story is about them.

    `footage` is what was filmed on the way, and `used` what was encoded with it.
    """

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.gate: Gate | None = None
        self.thumbnails = False
        self.details: dict[str, Any] = {}
        self.limits: list[BucketLimit] = []
        self.film_error: OSError | None = None
        self.footage: list[FakeFootage] = []
        self.used: list[Footage | None] = []

    def film(self, request: GenerationRequest, folder: Path) -> FakeFootage | None:
        if self.film_error:
            raise self.film_error
        if not request.job.is_video:
            return None
        self.footage.append(FakeFootage(folder / "filmed"))
        return self.footage[-1]

    def encode(
        self,
        request: GenerationRequest,
        generation: Generation,
        folder: Path,
        limit: BucketLimit,
        footage: Footage | None = None,
    ) -> Encoded:
        self.limits.append(limit)
        self.used.append(footage)
        gate, self.gate = self.gate, None
        if gate:
            gate.stop_here()
        if self.errors:
            raise self.errors.pop(0)
        job = request.job
        frames = len(generation.frames) if job.is_video else 1
        assets = (_write(folder / str(seed), request, seed, frames) for seed in job.seeds(request.seed))
        return Encoded(tuple(map(with_thumbnail, assets) if self.thumbnails else assets), self.details)


def _write(path: Path, request: GenerationRequest, seed: int, frames: int) -> Asset:
    job = request.job
    path.write_text(f"{job.id} {seed}", encoding="utf-8")
    return Asset(path, job.type.media_type, path.stat().st_size, job.width, job.height, frames, seed)


def with_thumbnail(asset: Asset) -> Asset:
    """The asset with a small file beside it."""
    path = asset.path.with_name(f"{asset.path.name}.small")
    path.write_text(f"small {asset.seed}", encoding="utf-8")
    thumbnail = Asset(path, THUMBNAIL_MEDIA_TYPE, path.stat().st_size, 1, 1, 1, asset.seed)
    return replace(asset, thumbnail=thumbnail)


class FakeStore:
    """Keeps the bytes that each key holds."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.files: dict[tuple[str, str], bytes] = {}
        self.limits: dict[str, BucketLimit] = {}
        self.closed = False

    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        await self.script.begin("put", f"put {key}")
        self.files[bucket, key] = asset.path.read_bytes()

    async def limit(self, bucket: str) -> BucketLimit:
        return self.limits.get(bucket, BucketLimit())

    async def close(self) -> None:
        self.closed = True


class FakeReporter:
    """Keeps the callbacks that arrived; the operations of its script are the statuses."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.callbacks: list[Callback] = []
        self.closed = False

    async def report(self, callback: Callback) -> None:
        await self.script.begin(callback.status)
        self.callbacks.append(callback)

    async def close(self) -> None:
        self.closed = True

    def last(self) -> Callback:
        return self.callbacks[-1]


class FakeRows:
    """What the product recorded of jobs; `errors` are raised first, and `error` as long as it is set."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.errors: list[Exception] = []
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.closed = False

    async def status(self, job_id: str) -> str | None:
        self.asked.append(job_id)
        if self.errors:
            raise self.errors.pop(0)
        if self.error is not None:
            raise self.error
        return self.statuses.get(job_id)

    async def close(self) -> None:
        self.closed = True


class FakeReferences:
    """Every reference is the same grey pixel, unless `errors` says otherwise."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    async def fetch(self, reference: Reference) -> ReferenceImage:
        if self.errors:
            raise self.errors.pop(0)
        return ReferenceImage(reference, np.full((1, 1, 3), 128, np.uint8))

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    prompt: str
    seed: int
    time_limit: float


class FakeEnhancer:
    """Answers what is scripted, one entry per try: a text, or why it failed."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[Rewriting] = []

    async def enhance(self, prompt: str, job_type: JobType, *, seed: int, time_limit: float) -> str:
        self.calls.append(Rewriting(prompt, seed, time_limit))
        answer = self.answers.pop(0) if self.answers else EnhancementFailed("there is no more to say")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """There is nothing to close."""


class OneWordPolicy:
    """Refuses prompts with one word, so that tests of the way of a job need none of the real rules."""

    def __init__(self, word: str = "forbidden") -> None:
        self._word = word

    def check(self, prompt: str, *, adult_capable: bool) -> None:
        if self._word in prompt:
            raise ContentRefused("the content policy refuses this prompt")

    def check_negative(self, negative_prompt: str, *, prompt: str, adult_capable: bool) -> None:
        """Every negative prompt passes."""

    def is_sexual(self, text: str) -> bool:
        return self._word in text

    def check_pictures(self, pictures: Pixels, *, adult_capable: bool) -> None:
        """Every picture passes."""


class Listener:
    """An announcer that remembers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def announce(self, message: Message) -> None:
        self.messages.append(message)

    def states(self) -> list[str]:
        return [message.state.value for message in self.messages if message.state is not None]

    def outcomes(self) -> dict[str, str]:
        """The last outcome by job id."""
        return {m.job_id or "": m.status or "" for m in self.messages if m.kind == "done"}
