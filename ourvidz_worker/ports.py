"""The few protocols the core speaks; adapters implement them, doors choose among them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.contract.job import Job, Reference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Claim:
    """A queue element that this worker holds until it is acknowledged; `element` is what lies in the held list.

    `mark` tells this claim from another one of the same bytes, once it is begun. `behind` is how many jobs still
    waited on the queue when this one was taken, where the claim could tell.
    """

    queue: str
    element: str
    delivery: Delivery
    mark: str = field(default_factory=lambda: secrets.token_hex(4), compare=False)
    behind: int | None = field(default=None, compare=False)

    @property
    def begun(self) -> str:
        """The element that lies in the held list once generation has begun."""
        return self.delivery.begun(self.mark)


@dataclass(frozen=True, slots=True)
class Begun:
    """A claim whose generation may begin, unless the job was `cancelled` meanwhile."""

    claim: Claim
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """Whether the lease was still `alive`, and which of the jobs in progress were cancelled."""

    alive: bool
    cancelled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reaping:
    """How many `jobs` of dead owners were queued again, and whether the reaper itself was seen `holding` any."""

    jobs: int
    holding: bool


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """A reference picture, upright and opaque: `pixels` is RGB, shape (height, width, 3)."""

    reference: Reference
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What an engine is asked for: the job, the prompt to use, the seed of the first image, the references."""

    job: Job
    prompt: str
    seed: int
    references: tuple[ReferenceImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine made.

    `frames` is RGB, shape (n, height, width, 3): n stills, or the n frames of one clip. `details` are the
    engine's own entries for the result metadata (method used, batch splits).
    """

    frames: Pixels
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asset:
    """An encoded and checked picture or clip on disk; `width` and `height` in pixels, `seed` of this picture.

    `thumbnail` shows it small; None where none was asked for or made.
    """

    path: Path
    media_type: str
    bytes: int
    width: int
    height: int
    frames: int
    seed: int
    thumbnail: Asset | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder made; `details` are its own entries for the result metadata."""

    assets: tuple[Asset, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BucketLimit:
    """What a bucket takes; None where nobody set a limit."""

    limit_bytes: int | None = None
    media_types: tuple[str, ...] | None = None

    def holds(self, size: int) -> bool:
        """Whether a file of this many bytes is small enough."""
        return self.limit_bytes is None or size <= self.limit_bytes

    def allows(self, media_type: str) -> bool:
        """Whether files of this type are taken; the owner may have set a whole family, like `image/*`."""
        family = f"{media_type.partition('/')[0]}/*"
        return not self.media_types or media_type in self.media_types or family in self.media_types


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Memory of the card in GB (10**9 bytes): the peak since the last look, and what the card has."""

    used_gb: float
    total_gb: float


class Message(TypedDict):
    """One turn of a conversation with a language model, as chat templates and OpenAI-compatible servers read it."""

    role: Literal["system", "user", "assistant"]
    content: str


OnStep = Callable[[int, int], None]
"""Called after each denoising step with (steps done, steps in all); raises an `Interruption` to stop."""

OnFrames = Callable[[int, "Pixels"], None]
"""Given the frames of a clip while others are decoded: the index of the first one, and RGB (n, height, width, 3).

They come in order; index 0 once more means that the clip is decoded anew, and what came before does not count.
"""


def unheard(_index: int, _frames: Pixels) -> None:
    """For whoever waits for the whole clip."""


@dataclass(frozen=True, slots=True)
class Order:
    """One job's part in a generation that jobs share: what it asks for, and who hears of its progress."""

    request: GenerationRequest
    on_step: OnStep


class JobQueue(Protocol):
    """One queue as one owner sees it.

    Every call raises `BackendUnavailable` when its outcome is not known, `QuotaExceeded` when the plan is used
    up and `BackendRefused` for a wrong token.
    """

    @property
    def name(self) -> str: ...

    async def length(self) -> int:
        """How many jobs wait. The only command of an idle poll."""

    async def wait(self, pause: float) -> None:
        """Return when a job may wait: as soon as one does or, where the queue has to be asked, after `pause` seconds.

        Takes nothing and raises nothing: what is wrong shows at the next look. May end early, or late by half a minute.
        """

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        """Confirm the lease and take the next job, or None when there is none.

        `alike` names a job type: then the next job is taken only if it is of that type, so that it may share a batch.
        """

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        """Mark the job as being generated, so that this attempt is charged if the worker dies.

        Renews the lease and looks whether the job was cancelled, all in one command. None when the lease had
        lapsed or the job is no longer held. Harmless when repeated.
        """

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        """Prolong the lease and look for cancellations. A lapsed lease stays lapsed: others may have taken the jobs."""

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        """The job is done with; it leaves Redis. Returns what this owner still holds. Harmless when repeated."""

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        """Queue the job for another delivery, with or without counting this attempt. Harmless when repeated."""

    async def put_back(self, claim: Claim) -> None:
        """Queue the job as if it had never been claimed. Harmless when repeated."""

    async def bury(self, claim: Claim, reason: str) -> None:
        """Move the job to the dead letters with the reason and the raw bytes. Harmless when repeated."""

    async def held(self) -> list[Claim]:
        """What this owner holds, to find a claim whose answer was lost."""

    async def peek(self, count: int) -> list[str]:
        """The first `count` elements in the order of the queue, without taking them; claims may pass some over."""

    async def release(self, owner: str, reason: str) -> int:
        """Queue again what an owner known to be dead holds; returns how many jobs.

        An attempt is charged where generation had begun.
        """

    async def reap(self) -> Reaping:
        """Queue again what owners without a lease hold, as `release` does."""

    async def close(self) -> None: ...


class AssetStore(Protocol):
    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        """Store a file under a key, over what lies there.

        Raises `BackendRefused` when the bucket is missing, too small or of another type, `BackendUnavailable`
        when the store stayed out of reach through all retries, and `ConfigurationError` for a wrong key.
        """

    async def limit(self, bucket: str) -> BucketLimit:
        """What a bucket takes, as its server tells, or the catalogue where that cannot be asked. Raises nothing."""

    async def close(self) -> None: ...


class JobReporter(Protocol):
    async def report(self, callback: Callback) -> None:
        """Tell the product, retrying by the table of contract section 5.

        Raises `RowNotLinked`, `RowMissing` or `BackendUnavailable` when the retries are used up,
        `BackendRefused` when the product refuses this report for good, and `ConfigurationError` when it would
        refuse every report (wrong key, function not deployed).
        """

    async def close(self) -> None: ...


class JobRows(Protocol):
    async def status(self, job_id: str) -> str | None:
        """What the product last recorded of a job, None when it has no such row.

        Raises `BackendUnavailable`, or `ConfigurationError` when it refuses the key.
        """

    async def close(self) -> None: ...


class ReferenceSource(Protocol):
    async def fetch(self, reference: Reference) -> ReferenceImage:
        """Download and decode a reference picture; raises `ReferenceUnusable` or `BackendUnavailable`."""

    async def close(self) -> None: ...


class Engine(Protocol):
    """A model family on one device. Its methods block and are called from one thread, one at a time.

    Only `prepare` and `shape` may be called beside another one.
    """

    @property
    def model_name(self) -> str: ...

    def load(self) -> None:
        """Bring the weights onto the device and warm up; raises `ConfigurationError` when they are missing or unfit."""

    def prepare(self, request: GenerationRequest) -> None:
        """Do ahead what needs no free card, like reading the prompt, so that `generate` finds it done.

        Called from a thread of its own while another job is drawn. What cannot be done ahead is left to `generate`,
        which also meets whatever is wrong with the request; raises nothing but bugs.
        """

    def shape(self, request: GenerationRequest) -> Hashable | None:
        """Requests of equal shapes can be drawn in one batch; None for one that is drawn alone."""

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        """Draw. Raises `OutOfMemory`, `OutputInvalid`, `BadJob`, `PoisonedContext`, or what `on_step` raises.

        `on_frames` is given the frames of a clip as they are decoded. Whatever else a model library raises is a bug
        for the log and an internal error for the user.
        """

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        """Draw requests of one shape in one batch; each has the outcome that it would have had alone, in order.

        What one `on_step` raises is the outcome of its order only, and the others go on. Raises `PoisonedContext`.
        """

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """What the picture of a request that is being drawn looks like by now, or None where nothing can be seen.

        RGB, shape (height, width, 3), small. Only for the `on_step` of a request, in its thread: it waits for the card.
        """

    def memory(self) -> GpuMemory | None:
        """The card's memory since the last call, or None without a card."""


class Footage(Protocol):
    """A clip that is being encoded while it is still being decoded; callable from any thread."""

    def add(self, index: int, frames: Pixels) -> None:
        """As `OnFrames`. Never waits for the encoder and raises nothing: what went wrong shows at `encode`."""

    def discard(self) -> None:
        """The clip does not come to its end: leave no file and no thread behind. Harmless when repeated."""


class MediaEncoder(Protocol):
    def film(self, request: GenerationRequest, folder: Path) -> Footage | None:
        """Begin to encode a clip into `folder`, frame by frame as they come; None for stills."""

    def encode(
        self,
        request: GenerationRequest,
        generation: Generation,
        folder: Path,
        limit: BucketLimit,
        footage: Footage | None = None,
    ) -> Encoded:
        """Write PNGs or one MP4 into `folder`, within the limit if that can be done, and check each. Blocks.

        `footage` is the clip as far as it was encoded on the way; whatever it lacks is encoded now. Raises
        `OutputInvalid`, or `ConfigurationError` when files can no longer be signed.
        """


class PromptEnhancer(Protocol):
    async def enhance(self, prompt: str, job_type: JobType, *, seed: int, time_limit: float) -> str:
        """Rewrite a prompt within `time_limit` seconds; raises `ContentRefused` or `EnhancementFailed`."""

    async def close(self) -> None: ...


class LanguageModel(Protocol):
    """A chat model, in this process or behind a URL; it answers one question at a time."""

    @property
    def model_name(self) -> str: ...

    async def load(self) -> None:
        """Have the model ready; harmless when repeated. Goes on in the background when the caller is cancelled.

        Raises `ConfigurationError` when a person must act first, and `ModelUnavailable` when a later call may succeed.
        """

    def answer(
        self,
        messages: Sequence[Message],
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        time_limit: float,
    ) -> AsyncGenerator[str, None]:
        """The answer in pieces, as they come; what users wrote cannot end its turn.

        Closing the iterator, or cancelling whoever waits for it, stops the generation before its next token.
        Raises `EnhancementFailed`: `AnswerTooLate` after `time_limit` seconds, `ModelUnavailable`, `AnswerCutOff`
        after `max_new_tokens` tokens without an end, or another `AnswerUnusable` when the answer breaks off.
        """

    async def close(self) -> None: ...


class ContentPolicy(Protocol):
    """What may be drawn. Nothing of a job switches it off; `adult_capable` is the checkpoint's mark in models.toml."""

    def check(self, prompt: str, *, adult_capable: bool) -> None:
        """Raise `ContentRefused` if no model, or no adult-capable one, may see the prompt."""

    def check_negative(self, negative_prompt: str, *, prompt: str, adult_capable: bool) -> None:
        """Raise `ContentRefused` for a negative prompt that asks for what the prompt may not say."""

    def is_sexual(self, text: str) -> bool:
        """Whether a text names anything sexual, allowed or not."""

    def check_pictures(self, pictures: Pixels, *, adult_capable: bool) -> None:
        """Raise `ContentRefused` for pictures of shape (n, height, width, 3), fetched or drawn. Blocks.

        Raises `PicturesUnchecked` when it could not be told.
        """


class PictureClassifier(Protocol):
    """An operator's own classifier, named by OURVIDZ_PICTURE_CLASSIFIER: a function, or a class without arguments."""

    def __call__(self, pictures: Pixels, *, adult_capable: bool) -> bool:
        """Whether all the pictures, RGB of shape (n, height, width, 3), may be used and delivered.

        Called in a thread, one call at a time. Anything but True refuses, and an error fails the job.
        """
