"""Which workers a pod has, and on which device each of them runs."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from ourvidz_worker.control import WorkerKind
from ourvidz_worker.errors import ConfigurationError

KINDS: tuple[WorkerKind, ...] = get_args(WorkerKind)
AUTO = "auto"
MOST = 64  # workers of one entry

_DEVICE = re.compile(r"auto|cpu|cuda:\d{1,3}|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+")
_FIELDS = {"kind", "device", "count"}
_ONE_QWEN = "one qwen worker is enough for a pod, which asks it at one address"


@dataclass(frozen=True, slots=True)
class Member:
    """A worker: `name` is its own in this pod (`sdxl`, `sdxl-2`), `kind` what it does.

    `device` is `cpu`, `cuda:N` for the N-th card that the pod may use, a card's UUID, or `auto`, where the device of
    its model in `models.toml` counts.
    """

    name: str
    kind: WorkerKind
    device: str = AUTO


@dataclass(frozen=True, slots=True)
class Roster:
    """The workers of a pod in the order of their start."""

    members: tuple[Member, ...]

    @property
    def kinds(self) -> tuple[WorkerKind, ...]:
        """Each once, in order."""
        return tuple(dict.fromkeys(member.kind for member in self.members))


def roster_of(kinds: Sequence[str]) -> Roster:
    """One worker for each kind that is named, on the device of its model; raises `ValueError`."""
    known = ", ".join(KINDS[:-1]) + f" and {KINDS[-1]}"
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"must name one or more of {known}")
    if Counter(kinds)["qwen"] > 1:
        raise ValueError(f"names qwen twice: {_ONE_QWEN}")
    return _named((cast(WorkerKind, kind), AUTO) for kind in kinds)


def parse_roster(text: str, file: str) -> Roster:
    """Read `workers.toml`; raises `ConfigurationError` with every problem, each naming the `file` and its entry."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from None
    if problems := list(_problems(document, file)):
        raise ConfigurationError(problems)
    return _named(
        (entry["kind"], entry.get("device", AUTO)) for entry in document["workers"] for _ in range(_count(entry))
    )


def _named(posts: Iterable[tuple[WorkerKind, str]]) -> Roster:
    """The first of a kind bears its name, the others a number behind it."""
    members, seen = [], Counter[str]()
    for kind, device in posts:
        seen[kind] += 1
        members.append(Member(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}", kind, device))
    return Roster(tuple(members))


def _problems(document: dict[str, Any], file: str) -> Iterator[str]:
    for name in document.keys() - {"workers"}:
        yield f"{file}: {name} is unknown; it holds entries [[workers]] alone"
    entries = document.get("workers", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield f"{file}: workers must be written as entries [[workers]]"
        return
    if not entries:
        yield f"{file} has no entry [[workers]]: name one worker at least"
    for number, entry in enumerate(entries, start=1):
        for problem in _problems_of(entry):
            yield f"{file}, entry {number} of [[workers]]: {problem}"
    if sum(_count(entry) for entry in entries if entry.get("kind") == "qwen") > 1:
        yield f"{file} has several qwen workers: {_ONE_QWEN}; leave one, with count = 1"


def _problems_of(entry: dict[str, Any]) -> Iterator[str]:
    for name in sorted(entry.keys() - _FIELDS):
        yield f"{name} is unknown; an entry has kind, device and count"
    if "kind" not in entry:
        yield f"kind is missing: set it to one of {', '.join(KINDS)}"
    elif entry["kind"] not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, got {entry['kind']!r}"
    device, count = entry.get("device", AUTO), entry.get("count", 1)
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        yield f"device must be auto, cpu, cuda:N or a card's UUID from nvidia-smi -L, got {device!r}"
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        yield f"count must be a whole number from 1 to {MOST}, got {count!r}"


def _count(entry: dict[str, Any]) -> int:
    count = entry.get("count", 1)
    return count if isinstance(count, int) else 1
