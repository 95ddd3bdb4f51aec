"""Small pictures of jobs that are still being drawn, for whoever watches."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ourvidz_worker.control import Announcer, Message
from ourvidz_worker.ports import GenerationRequest, OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

INTERVAL = 0.5  # seconds between two of a job; each waits for the card

Glimpse = Callable[[GenerationRequest], "Pixels | None"]
"""As `Engine.glimpse`."""

EncodePreview = Callable[["Pixels"], bytes]
"""A WEBP of at most 16 kB, so that it fits into a line to the supervisor."""


class Previews:
    """Announces what a job looks like, in the generation thread, at most twice a second.

    A preview that goes wrong costs its job further previews and nothing else.
    """

    def __init__(self, glimpse: Glimpse, encode: EncodePreview, announcer: Announcer) -> None:
        self._glimpse = glimpse
        self._encode = encode
        self._announcer = announcer

    def beside(self, on_step: OnStep, request: GenerationRequest) -> OnStep:
        """`on_step` with a preview after it, unless it stops the job."""
        next_at: float | None = 0.0

        def step(done: int, total: int) -> None:
            nonlocal next_at
            on_step(done, total)
            if next_at is not None and time.monotonic() >= next_at:
                next_at = time.monotonic() + INTERVAL if self._show(request) else None

        return step

    def _show(self, request: GenerationRequest) -> bool:
        """False when there is no use in trying again."""
        try:
            pixels = self._glimpse(request)
            picture = None if pixels is None else self._encode(pixels)
        except Exception as error:  # noqa: BLE001 - the generation meets whatever matters by itself
            structlog.get_logger().warning("preview_failed", job_id=request.job.id, problem=str(error))
            return False
        if picture is not None:
            text = b64encode(picture).decode("ascii")
            self._announcer.announce(Message("preview", job_id=request.job.id, picture=text))
        return True
