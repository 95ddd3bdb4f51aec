"""What every `queue` command works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.dead_letters import DeadLetters
from ourvidz_worker.cli.backends import build_rows
from ourvidz_worker.cli.chosen import read_catalogue
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.cli.queueing import open_redis
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import JobRows
from ourvidz_worker.runtime.spool import Parked, Spool
from ourvidz_worker.settings import Settings

_SECONDS = 20.0  # for one command; a letter may have megabytes


@dataclass(frozen=True, slots=True)
class Desk:
    """The product's side and this machine's, as the environment says; `queues` are the ones to look at."""

    settings: Settings
    catalogue: Catalogue
    redis: Redis
    rows: JobRows
    spool: Spool
    output: Output
    queues: tuple[str, ...]

    def dead_letters(self) -> list[DeadLetters]:
        return [DeadLetters(self.redis, queue, self.catalogue, pop_end=self.settings.pop_end) for queue in self.queues]

    def parked(self) -> list[Parked]:
        """Raises `ConfigurationError` where the spool cannot be read."""
        try:
            return self.spool.parked()
        except OSError as error:
            problem = f"the spool {self.settings.spool_dir} cannot be read ({error.strerror or error})"
            raise ConfigurationError(f"{problem}: mend that or set OURVIDZ_SPOOL") from error


class UnknownQueue(ValueError):
    """A queue that no job type of the catalogue names."""


@asynccontextmanager
async def open_desk(settings: Settings, output: Output, *, queue: str | None = None) -> AsyncIterator[Desk]:
    """Raises `ConfigurationError`, or `UnknownQueue` where only one `queue` is to be looked at."""
    catalogue = read_catalogue(ConfigFiles(settings.config_dir))
    queues = tuple(sorted({job_type.queue for job_type in catalogue.values()}))
    if queue is not None and queue not in queues:
        raise UnknownQueue(f"there is no queue {queue}: use {' or '.join(queues)}")
    redis = open_redis(settings, timeout_seconds=_SECONDS)
    rows = build_rows(settings)
    try:
        yield Desk(
            settings, catalogue, redis, rows, Spool(settings.spool_dir), output, queues if queue is None else (queue,)
        )
    finally:
        await redis.close()
        await rows.close()
