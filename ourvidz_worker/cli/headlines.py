"""Two prompts that show at a glance whether models draw what they are asked for: a picture, and a clip of motion."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from ourvidz_worker.cli.recorded import Recording
from ourvidz_worker.cli.rig import Progress
from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.backend import EmbeddedBackend

PICTURE = "a red lighthouse on a green hill at dusk, two gulls"
_JOBS = (
    ("sdxl_image_fast", PICTURE, 3, "c1a00000-0000-4000-8000-000000000001"),
    (
        "video_fast",
        "a red lighthouse on the left by the sea at dusk, a white sailing boat on the right sails to the left",
        7,
        "c1a00000-0000-4000-8000-000000000002",
    ),
)


def headline_recordings() -> list[Recording]:
    """Such as the product would queue them."""
    return [
        {
            "id": job_id,
            "type": job_type,
            "prompt": prompt,
            "user_id": DEMO_USER_ID,
            "config": {"num_images": 1, "seed": seed},
            "metadata": {},
        }
        for job_type, prompt, seed, job_id in _JOBS
    ]


class HeadlineLines:
    """Says where the picture and the clip are, as soon as they are there."""

    def __init__(self, backend: EmbeddedBackend, console: Console) -> None:
        self._backend = backend
        self._console = console
        self._expected = {job_id: prompt for _, prompt, _, job_id in _JOBS}

    def show(self, jobs: Sequence[Progress]) -> None:
        for job in jobs:
            if job.status == "completed" and (prompt := self._expected.pop(job.id, None)):
                row = self._backend.job(job.id)
                address = self._backend.url + row["assets"][0]["url"] if row and row["assets"] else self._backend.url
                self._console.print(f"{prompt}: {address}", highlight=False, markup=False, soft_wrap=True)
