"""What a worker process and its supervisor tell each other, as JSON lines over an inherited socket.

The supervisor never reads a child's log output; these messages are the only thing it knows about its work. What it
tells a worker is about the card that the workers share, and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

WorkerKind = Literal["sdxl", "wan", "qwen"]
"""What a worker does: the jobs of one family, or language. A pod may have several of a kind, each with its name."""

CONTROL_FD_VARIABLE = "OURVIDZ_CONTROL_FD"
OWNER_VARIABLE = "OURVIDZ_OWNER"
NAME_VARIABLE = "OURVIDZ_WORKER_NAME"
LONGEST_REASON = 1000  # a line must fit into the buffer of whoever reads it

_USABLE = 0.96
_CONTEXT_BYTES = 600_000_000


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


MessageKind = Literal[
    "alive", "state", "poll", "started", "phase", "step", "done", "fenced", "card", "room", "yielded", "preview"
]


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a process, and the reason behind it where there is one.

    `beyond_help` says that only another process will do: a full disk is mended under this one, a lost lease is not.
    """

    state: WorkerState
    reason: str | None = None
    beyond_help: bool = False

    @property
    def ready(self) -> bool:
        return self.state in (WorkerState.READY, WorkerState.BUSY)

    @property
    def live(self) -> bool:
        """False where a restart helps, and only there."""
        return not self.beyond_help


@dataclass(frozen=True, slots=True)
class Held:
    """A component of a model on the card, and how much of it it takes.

    Those of the lowest `rank` are evicted first. `idle_since` is on this machine's monotonic clock, which all its
    processes share, and None while a stage uses the component.
    """

    name: str
    bytes: int
    rank: int
    idle_since: float | None


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened in a worker.

    `alive`: its event loop still turns. `state`: the worker is now in `state`, for `reason`. `poll`: so many jobs
    are `waiting` on its queue. `started`, `phase`, `step`, `done`: a job went on; `phase` names the part of the
    work, `step` of `steps` counts denoising steps, `status` is the outcome, `seconds` how long it took. `fenced`:
    it lost its lease for `reason` and ends. `card`: it holds these components, and `bytes` with its workspace. `room`:
    it would like to hold `bytes` in all, but for what is `held` idle and can go; with 0 `seconds` it takes what is idle
    elsewhere and does not wait for more.
    `yielded`: what `request` asked for is done, and it may now hold `bytes`. `preview`: what a job's picture looks
    like by now, as a small WEBP in base64. `error_type` of a `done` is that of the report.
    """

    kind: MessageKind
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
    request: int | None = None
    bytes: int | None = None
    held: tuple[Held, ...] | None = None
    picture: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a supervisor tells a worker about the card.

    `yield`: evict these components unless they are in use, and keep to what is held then. `granted`: from now on
    `bytes` may be held in all, for which others have evicted the components (as `worker/component`). `request` is the
    number of the asker's request; that of a `yield` is the supervisor's own.
    """

    kind: Literal["yield", "granted"]
    request: int
    bytes: int = 0
    components: tuple[str, ...] = ()


class Announcer(Protocol):
    def announce(self, message: Message) -> None:
        """Tell whoever listens. Never blocks, never raises; callable from any thread."""


def usable_bytes(total_bytes: int, processes: int = 1) -> int:
    """How much of a card models and their workspaces may take: each process has a CUDA context, and memory frays."""
    return max(0, int(total_bytes * _USABLE) - processes * _CONTEXT_BYTES)


def encode_message(message: Message) -> bytes:
    fields = {name: value for name, value in asdict(message).items() if value is not None}
    if message.reason is not None:
        fields["reason"] = message.reason[:LONGEST_REASON]
    return _line(fields)


def decode_message(line: bytes) -> Message:
    """Raises `ValueError` when the line is not a message."""
    try:
        fields = json.loads(line)
        state, held = fields.pop("state", None), fields.pop("held", None)
        message = Message(
            **fields,
            state=WorkerState(state) if state else None,
            held=None if held is None else tuple(_held(entry) for entry in held),
        )
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a control message: {line[:100]!r}") from error
    if any(isinstance(value, dict | list) for value in fields.values()):
        raise ValueError(f"a control message holds only texts and numbers: {line[:100]!r}")
    _require_counts(line, message.request, message.bytes)
    return message


def encode_instruction(instruction: Instruction) -> bytes:
    return _line(asdict(instruction))


def decode_instruction(line: bytes) -> Instruction:
    """Raises `ValueError` when the line is no instruction."""
    try:
        fields = json.loads(line)
        components = fields.pop("components", ())
        instruction = Instruction(**fields, components=tuple(components))
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a control instruction: {line[:100]!r}") from error
    if instruction.kind not in ("yield", "granted") or not all(isinstance(name, str) for name in components):
        raise ValueError(f"not a control instruction: {line[:100]!r}")
    _require_counts(line, instruction.request, instruction.bytes)
    return instruction


def _held(entry: Any) -> Held:
    held = Held(**entry)
    if not isinstance(held.name, str) or not isinstance(held.idle_since, float | int | None):
        raise TypeError("a component has a name, and a time at most")
    _require_counts(b"", held.bytes, held.rank)
    return held


def _require_counts(line: bytes, *counts: Any) -> None:
    if any(count is not None and (not isinstance(count, int) or count < 0) for count in counts):
        raise ValueError(f"a control line counts in whole numbers from 0: {line[:100]!r}")


def _line(fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
