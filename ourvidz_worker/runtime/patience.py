"""How long a worker waits before it asks its queue again."""

from __future__ import annotations

OUTAGE_LIMIT = 60.0


class Patience:
    """Pauses that grow from `poll_seconds`: while the queue is empty up to `limit`, and while it does not answer.

    Where `limit` is shorter, an idle worker asks every `poll_seconds`.
    """

    def __init__(self, poll_seconds: float, limit: float = 0.0) -> None:
        self.poll_seconds = poll_seconds
        self._longest = max(poll_seconds, limit)
        self._idle = self._outage = poll_seconds

    def worked(self) -> None:
        """There was a job, so that the next one may be near."""
        self._idle = self.poll_seconds

    def answered(self) -> None:
        """The next outage begins with a short pause again."""
        self._outage = self.poll_seconds

    def after_nothing(self) -> float:
        pause = self._idle
        self._idle = min(2 * self._idle, self._longest)
        return pause

    def after_outage(self) -> float:
        self._outage = min(2 * self._outage, OUTAGE_LIMIT)
        return self._outage
