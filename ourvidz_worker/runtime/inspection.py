"""Asking the content policy: about every text that reaches a model, and about the pictures a job brings or makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.instruments.metrics import POLICY_REFUSALS, series
from ourvidz_worker.ports import ContentPolicy

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


Subject = Literal["prompt", "rewritten_prompt", "reference", "result"]


class Inspection:
    """The content policy as it applies to this worker's checkpoint. Each check raises `ContentRefused`."""

    def __init__(self, policy: ContentPolicy, *, adult_capable: bool) -> None:
        self._policy = policy
        self._adult_capable = adult_capable

    def check_prompt(self, job: Job, prompt: str) -> None:
        """`prompt` is the job's own or a rewritten one; the negative prompt is looked at with it.

        Guidance below 1 turns the negative prompt into one to draw, by the formula if not in every library.
        """
        subject: Subject = "prompt" if prompt == job.prompt else "rewritten_prompt"
        drawn = prompt if job.guidance_scale >= 1 else f"{prompt}\n{job.negative_prompt}"
        with _counted(subject):
            self._policy.check(drawn, adult_capable=self._adult_capable)
            self._policy.check_negative(job.negative_prompt, prompt=prompt, adult_capable=self._adult_capable)

    async def check_pictures(self, pictures: Pixels, subject: Subject) -> None:
        check = partial(self._policy.check_pictures, pictures, adult_capable=self._adult_capable)
        with _counted(subject):
            await asyncio.to_thread(check)


@contextmanager
def _counted(subject: Subject) -> Iterator[None]:
    try:
        yield
    except ContentRefused:
        series(POLICY_REFUSALS, subject).inc()
        raise
