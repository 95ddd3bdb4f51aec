"""The one place that decides whether a worker that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass

from ourvidz_worker.control import ExitCode

LONGEST_DELAY = 300.0
FENCED_DELAY = 1.0
_FINAL_EXITS = {ExitCode.CONFIGURATION: "its configuration is wrong; its log says what to change"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Start again after `delay` seconds, or give up for `reason`."""

    delay: float = 0.0
    reason: str | None = None

    @property
    def gives_up(self) -> bool:
        return self.reason is not None


class RestartPolicy:
    """Doubles the delay with every failure in a row and gives up after `limit` of them.

    The row is broken only by a worker that stayed healthy for `healthy_after` seconds. A fenced worker did what it
    should when Redis was out of reach: it is started again promptly and does not count.
    """

    def __init__(self, *, delay: float, limit: int, healthy_after: float) -> None:
        self._delay = delay
        self._limit = limit
        self._healthy_after = healthy_after
        self.failures_in_a_row = 0

    def ended(self, exit_code: int, *, healthy_seconds: float) -> Verdict:
        """Decide after an unexpected end; `exit_code` is negative for a signal, as in `subprocess`."""
        if healthy_seconds >= self._healthy_after:
            self.failures_in_a_row = 0
        if exit_code == ExitCode.FENCED:
            return Verdict(delay=min(self._delay, FENCED_DELAY))
        self.failures_in_a_row += 1
        if exit_code in _FINAL_EXITS:
            return Verdict(reason=_FINAL_EXITS[exit_code])
        if self.failures_in_a_row >= self._limit:
            return Verdict(reason=f"it ended {self.failures_in_a_row} times in a row")
        return Verdict(delay=min(self._delay * 2 ** (self.failures_in_a_row - 1), LONGEST_DELAY))
