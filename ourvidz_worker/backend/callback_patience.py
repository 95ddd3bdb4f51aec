"""How long a report is repeated, whoever hears it."""

from __future__ import annotations

from dataclasses import dataclass

from ourvidz_worker.backend.retrying import Patience
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError, RowMissing, RowNotLinked


@dataclass(frozen=True, slots=True)
class CallbackPatience:
    """Seconds to keep trying, by what is wrong.

    `processing` bounds the repeats of a report of a start, for which the final status has to wait: one that came
    after it would set the job back to processing (contract section 5). A request under way is never cut short,
    because the function might carry it out all the same.
    """

    unlinked: float = 300.0
    missing: float = 15.0
    unavailable: float = 300.0
    misconfigured: float = 6.0  # a gateway refuses for a moment while a function is deployed or a key replaced
    processing: float = 10.0

    def for_status(self, status: str) -> Patience:
        longest = self.processing if status == "processing" else float("inf")
        return {
            RowNotLinked: min(self.unlinked, longest),
            RowMissing: min(self.missing, longest),
            BackendUnavailable: min(self.unavailable, longest),
            ConfigurationError: min(self.misconfigured, longest),
        }
