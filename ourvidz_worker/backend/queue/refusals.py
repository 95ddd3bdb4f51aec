"""What Redis means when it refuses a command, whoever carries its words."""

from __future__ import annotations

from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, QuotaExceeded, WorkerError

QUOTA = ("max daily request limit exceeded", "max requests limit exceeded")
_WRONG_CREDENTIALS = ("Unauthorized", "WRONGPASS", "NOAUTH", "NOPERM")
_PASSING = ("LOADING", "BUSY", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "NOREPLICAS")


def meaning(text: str, *secrets: str, credentials: str) -> WorkerError:
    """The error for a refusal; `credentials` is what to say where they are wrong."""
    if any(sign in text for sign in QUOTA):
        return QuotaExceeded(f"the Redis plan is used up: {quoted(text, *secrets)}")
    if any(sign in text for sign in _WRONG_CREDENTIALS):
        return BackendRefused(credentials)
    if text.startswith(_PASSING):
        return BackendUnavailable(f"Redis is not ready: {quoted(text, *secrets)}")
    return BackendRefused(f"Redis refuses a command: {quoted(text, *secrets)}")
