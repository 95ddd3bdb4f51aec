"""How anybody cancels a job: by a key in the queues' Redis, which workers look for."""

from __future__ import annotations

CANCELLED_FOR = 24 * 3600
"""Seconds for which a job stays cancelled, waiting on its queue."""


def cancel_key(job_id: str) -> str:
    """Exists, with any value, when a job shall not be generated any further."""
    return f"worker:cancel:{job_id}"
