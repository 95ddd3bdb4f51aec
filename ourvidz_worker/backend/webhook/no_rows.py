"""A receiver of reports that cannot be asked what it heard."""

from __future__ import annotations


class NoRows:
    """A `JobRows` without a row for any job."""

    async def status(self, job_id: str) -> None:  # noqa: ARG002
        return None

    async def close(self) -> None:
        """There is nothing to close."""
