"""The embedded backend in a thread of its own, for tests that talk to it like any other server."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ourvidz_worker.contract.callback import CallbackProfile
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.local import EmbeddedBackend
from ourvidz_worker.local.enhance_prompt import Enhance
from ourvidz_worker.local.schema import TABLES
from tests.support.loop_thread import LoopThread

T = TypeVar("T")

JOB_TYPES = Path(__file__).parents[2] / "configs" / "job_types.toml"


class RunningBackend:
    """`with RunningBackend(tmp_path) as backend:` serves until the block ends.

    `backend` is the `EmbeddedBackend`; `run` executes a coroutine of it on the server's own event loop.
    """

    def __init__(
        self,
        data: Path,
        *,
        redis_url: str | None = None,
        callback_profile: CallbackProfile = "2025-07",
        callback_secret: str | None = None,
        enhance: Enhance | None = None,
        port: int = 0,
        pods: Sequence[str] = (),
    ) -> None:
        self.backend = EmbeddedBackend(
            data=data,
            catalogue=parse_catalogue(JOB_TYPES.read_text()),
            port=port,
            redis_url=redis_url,
            enhance=enhance,
            callback_profile=callback_profile,
            callback_secret=callback_secret,
            pods=pods,
        )
        self._loop = LoopThread("embedded-backend")

    @property
    def url(self) -> str:
        return self.backend.url

    def environment(self) -> dict[str, str]:
        return self.backend.environment()

    def service_headers(self) -> dict[str, str]:
        """What every call with the service key carries."""
        key = self.backend.keys.service_key
        return {"apikey": key, "Authorization": f"Bearer {key}"}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, from the server's loop."""
        return self._loop.run(coroutine)

    def clear(self) -> None:
        """Empty the queues, rows and objects, as if newly started; keys, users and the catalogue's buckets stay."""
        database, store = self.backend._database, self.backend._store
        for table in TABLES.keys() - {"users", "refresh_tokens"}:
            database.delete(table, "1", [])
        store.provide(self.backend._catalogue.buckets.values())
        store._sweep()
        self.run(self.backend._redis.execute(["FLUSHDB"]))

    def __enter__(self) -> Self:
        self._loop.start()
        try:
            self.run(self.backend.start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        try:
            self.run(self.backend.stop())
        finally:
            self._loop.stop()
