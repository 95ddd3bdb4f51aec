"""Every error of the worker, as a map of what the caller does next.

WorkerError
├── Retry                     the same call may succeed later
│   ├── BackendUnavailable      network, 5xx, 429: back off and repeat
│   ├── QuotaExceeded           the Redis plan is used up: back off long
│   ├── RowNotLinked            the product has not linked the job's row yet: repeat for minutes
│   └── RowMissing              the product does not know the job: repeat briefly, then give up
├── GiveUp                    the job cannot succeed as it is: report it failed
│   ├── BadJob                  a field of the payload is wrong
│   ├── ReferenceUnusable       a reference picture cannot be used, or (ReferenceUnreachable) not be fetched
│   ├── AdapterUnusable         weights that this job alone needs are not what they should be
│   ├── ContentRefused          the content policy refuses the prompt
│   ├── DeadlineExceeded        the job ran longer than it may
│   ├── JobCancelled            the user does not want it any more
│   └── BackendRefused          the far side refuses for good (bucket missing, too large, wrong key)
├── GenerationFailed          the engine failed; another attempt may succeed
│   ├── OutOfMemory             the card's memory did not suffice, also after every step of the ladder
│   ├── OutputInvalid           what came out does not decode, has the wrong size or is not a number
│   ├── PicturesUnchecked       the operator's picture classifier failed, so nothing may be delivered
│   └── EnhancementFailed       the prompt could not be rewritten (the original prompt is used instead)
│       ├── AnswerUnusable        what the language model wrote cannot be used, or (AnswerRefused) not by the policy,
│       │                         or (AnswerCutOff) has no end
│       ├── AnswerTooLate         the language model took longer than the caller waits
│       ├── ModelUnavailable      the language model cannot be loaded or reached now
│       └── TooManyWaiting        the line before the language model is full
└── Restart                   this process cannot go on
    ├── ConfigurationError      a person must change the environment first
    └── PoisonedContext         CUDA refuses all further work in this process

Interruption (a BaseException, so that no handler inside a model library swallows it)
├── Drained                   the worker shuts down: hand the job back
├── Fenced                    the lease was lost: stop and deliver nothing
├── Cancelled                 the job was cancelled during its generation
├── NotBegun                  Redis did not confirm that the job is begun: there is no generation
└── DeadlinePassed            the deadline came during a step
"""

from __future__ import annotations

from collections.abc import Sequence


class WorkerError(Exception):
    """The base of all errors raised on purpose; its message is a sentence for a person."""

    error_type = "internal"
    retryable = True


class Retry(WorkerError):
    error_type = "backend"


class BackendUnavailable(Retry):
    """The far side did not answer, or said that it is worth a retry; `retry_after` is how many seconds it asked for."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(Retry):
    """The Redis plan's request quota is used up."""


class RowNotLinked(Retry):
    """`completed` came before the job's image or video row was linked (contract section 5)."""


class RowMissing(Retry):
    """The product has no row for this job (contract section 5)."""


class GiveUp(WorkerError):
    error_type = "bad_job"
    retryable = False


class BadJob(GiveUp):
    """A payload that cannot be run; `field` names what is wrong."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ReferenceUnusable(GiveUp):
    error_type = "reference"


class ReferenceUnreachable(ReferenceUnusable):
    """The picture could not be fetched now; the same job may succeed later."""

    retryable = True


class AdapterUnusable(GiveUp):
    """A person must replace the file first; jobs that do without it go on."""

    error_type = "configuration"
    retryable = True


class ContentRefused(GiveUp):
    error_type = "content_policy"


class DeadlineExceeded(GiveUp):
    error_type = "deadline"
    retryable = True


class JobCancelled(GiveUp):
    error_type = "cancelled"


class BackendRefused(GiveUp):
    error_type = "backend"


class GenerationFailed(WorkerError):
    error_type = "generation"


class OutOfMemory(GenerationFailed):
    error_type = "out_of_memory"


class OutputInvalid(GenerationFailed):
    error_type = "invalid_output"


class PicturesUnchecked(GenerationFailed):
    error_type = "content_check"


class EnhancementFailed(GenerationFailed):
    error_type = "enhancement"


class AnswerUnusable(EnhancementFailed):
    """What the language model wrote is no prompt or no storyboard; with another seed it may be."""


class AnswerRefused(AnswerUnusable):
    """The content policy refuses what the language model wrote."""

    error_type = "content_policy"


class AnswerCutOff(AnswerUnusable):
    """The model came to its limit of tokens; what it said before is a beginning."""

    def __init__(self) -> None:
        super().__init__("the language model came to its limit of tokens before the end of its answer")


class AnswerTooLate(EnhancementFailed):
    pass


class ModelUnavailable(EnhancementFailed):
    pass


class TooManyWaiting(EnhancementFailed):
    pass


class Restart(WorkerError):
    pass


class ConfigurationError(Restart):
    """What is wrong with the environment, all findings together."""

    error_type = "configuration"

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class PoisonedContext(Restart):
    error_type = "cuda_context"


class Interruption(BaseException):
    """Raised between two denoising steps to stop a generation."""


class Drained(Interruption):
    pass


class Fenced(Interruption):
    pass


class Cancelled(Interruption):
    """`by_the_product`: its own row says so, so it need not be told."""

    def __init__(self, *, by_the_product: bool = False) -> None:
        super().__init__("the job was cancelled")
        self.by_the_product = by_the_product


class NotBegun(Interruption):
    pass


class DeadlinePassed(Interruption):
    pass
