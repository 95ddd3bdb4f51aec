"""What a container gives: files, shared memory, host memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note

_FEWEST_FILES = 1024
_LEAST_SHARED = 64_000_000  # bytes; what Docker gives without --shm-size
_MARGIN = 4e9  # bytes for the processes themselves: libraries, pictures on their way, the page cache

SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written to
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def examine_machine(weights_bytes: int) -> Iterator[Diagnosis]:
    """`weights_bytes` is what may lie in the host's memory while it is not on the card."""
    yield from open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from shared_memory(_size(SHARED))
    yield from host_memory(memory_limit(), weights_bytes)


def open_files(limit: int) -> Iterator[Diagnosis]:
    if limit != resource.RLIM_INFINITY and limit < _FEWEST_FILES:
        cure = f"start the pod with a higher limit, like `ulimit -n {_FEWEST_FILES}` in its start script"
        yield note("machine", f"a process may open {limit} files at once", cure)


def shared_memory(size: int | None) -> Iterator[Diagnosis]:
    if size is None or size < _LEAST_SHARED:
        told = f"there is no {SHARED}" if size is None else f"{SHARED} has {size / 1e6:.0f} MB"
        yield note("machine", told, "start the container with --shm-size=1g, for libraries that share memory there")


def host_memory(limit: int, weights_bytes: int) -> Iterator[Diagnosis]:
    shown = f"{limit / 1e9:.0f} GB of memory"
    if weights_bytes and limit < weights_bytes + _MARGIN:
        cure = "choose a pod with more memory; idle models wait there while others have the card"
        yield note("machine", f"{shown}, and the weights of this pod's models take {weights_bytes / 1e9:.0f}", cure)
    else:
        yield good("machine", f"{shown}, {os.cpu_count()} processors")


def memory_limit(files: tuple[Path, ...] = CGROUPS) -> int:
    """Bytes that this container may use; what the machine has where nothing limits it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in files:
        try:
            told = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        return min(machine, int(told)) if told.isdecimal() else machine
    return machine


def _size(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks
