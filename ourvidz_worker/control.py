"""What a worker process tells its supervisor, as JSON lines over an inherited socket.

The supervisor never reads a child's log output; these messages are the only thing it knows about its work.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal, Protocol

WorkerName = Literal["sdxl", "wan", "qwen"]
"""The workers of a pod: one for each family of jobs, and the language worker."""

CONTROL_FD_VARIABLE = "OURVIDZ_CONTROL_FD"
OWNER_VARIABLE = "OURVIDZ_OWNER"
LONGEST_REASON = 1000  # a line must fit into the buffer of whoever reads it


class WorkerState(StrEnum):
    STARTING = "STARTING"
    LOADING = "LOADING"
    READY = "READY"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"


class ExitCode:
    """Why a worker process ended; the supervisor's restart policy decides by it."""

    OK = 0
    INTERNAL = 1
    CONFIGURATION = 78  # EX_CONFIG of sysexits.h
    POISONED_CONTEXT = 76
    FENCED = 75  # EX_TEMPFAIL of sysexits.h


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened in a worker.

    `alive`: its event loop still turns. `state`: the worker is now in `state`, for `reason`. `poll`: so many jobs
    are `waiting` on its queue. `started`, `phase`, `step`, `done`: a job went on; `phase` names the part of the
    work, `step` of `steps` counts denoising steps, `status` is the outcome, `seconds` how long it took. `fenced`:
    it lost its lease for `reason` and ends.
    """

    kind: Literal["alive", "state", "poll", "started", "phase", "step", "done", "fenced"]
    state: WorkerState | None = None
    job_id: str | None = None
    job_type: str | None = None
    attempt: int | None = None
    phase: str | None = None
    step: int | None = None
    steps: int | None = None
    status: str | None = None
    seconds: float | None = None
    reason: str | None = None
    waiting: int | None = None


class Announcer(Protocol):
    def announce(self, message: Message) -> None:
        """Tell whoever listens. Never blocks, never raises; callable from any thread."""


def encode_message(message: Message) -> bytes:
    fields = {name: value for name, value in asdict(message).items() if value is not None}
    if message.reason is not None:
        fields["reason"] = message.reason[:LONGEST_REASON]
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode_message(line: bytes) -> Message:
    """Raises `ValueError` when the line is not a message."""
    try:
        fields = json.loads(line)
        state = fields.pop("state", None)
        message = Message(**fields, state=WorkerState(state) if state else None)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a control message: {line[:100]!r}") from error
    if any(isinstance(value, dict | list) for value in fields.values()):
        raise ValueError(f"a control message holds only texts and numbers: {line[:100]!r}")
    return message
