"""Looking at other processes."""

from __future__ import annotations

from pathlib import Path


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody has asked for its exit code yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
