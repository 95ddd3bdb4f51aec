"""What an answer of Supabase Storage means for the caller (contract section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError

_WORTH_A_RETRY = frozenset({429, 500, 503, 544})
_PROXY_IN_THE_WAY = frozenset({408, 502, 504, 520, 521, 522, 523, 524})

_KEY_REFUSED = frozenset({401, 403})

_CURES = {
    400: "the key is not acceptable to the store",
    404: "create the bucket, or correct the payload's bucket",
    409: "a file lies there and may not be overwritten",
    413: "raise the bucket's file size limit, or the project's",
    415: "allow this media type in the bucket's settings",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file should go, as error sentences name it."""

    bucket: str
    key: str
    secret: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"

    def failure(self, status: int, said: str) -> WorkerError:
        """The error for a refused upload; `status` is the JSON body's `statusCode` where there is one."""
        reason = quoted(said, self.secret) or "no reason given"
        if status in _WORTH_A_RETRY | _PROXY_IN_THE_WAY:
            return BackendUnavailable(f"storage could not take {self} now: {status} {reason}")
        if status in _KEY_REFUSED:
            return ConfigurationError(f"storage refuses {self}: {status} {reason}: check SUPABASE_SERVICE_KEY")
        cure = _CURES.get(status, "see the storage logs of the project")
        return BackendRefused(f"storage refuses {self}: {status} {reason}: {cure}")

    def unanswered(self, error: BaseException) -> BackendUnavailable:
        """The error for a request whose answer never came, or came mutilated."""
        return BackendUnavailable(f"storage did not answer for {self} ({type(error).__name__})")
