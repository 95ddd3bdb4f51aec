"""A lookout on the pods and the backend that the environment names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ourvidz_worker.cli.operate.queue_desk import QueueDesk
from ourvidz_worker.cli.queue.desk import open_desk
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings, read_settings


def pod_or_all_settings() -> tuple[QwenSettings, str | None]:
    """All settings where the backend is known, else those of a pod alone and why there are no more.

    Raises `ConfigurationError` where not even those are sound.
    """
    try:
        return read_settings(pod_settings()), None
    except ConfigurationError as error:
        alone = read_settings(QwenSettings)
        found = ", ".join(problem.partition(": ")[0] for problem in error.problems)
        return alone, f"the backend is not known ({found}): see `ourvidz-worker doctor`"


@asynccontextmanager
async def keeping_watch(
    settings: QwenSettings, *, pods: Sequence[str], desk_seconds: float, problem: str | None = None
) -> AsyncIterator[Lookout]:
    """Raises `ConfigurationError` for a catalogue that cannot be read."""
    if not isinstance(settings, Settings):
        lookout = Lookout(pods, None, desk_seconds=desk_seconds, problem=problem)
        try:
            yield lookout
        finally:
            await lookout.close()
        return
    async with open_desk(settings, Output(settings.secrets, as_json=True)) as desk:
        lookout = Lookout(pods, QueueDesk(desk), desk_seconds=desk_seconds)
        try:
            yield lookout
        finally:
            await lookout.close()
