"""The far side that real workers run against here: the embedded backend on a real Redis, a fault proxy for each pod."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.local.database import Row
from tests.support.embedded import JOB_TYPES
from tests.support.fault_proxy import FaultProxy
from tests.support.redis_server import RedisServer

QUEUES = ("sdxl_queue", "wan_queue")


_ENDS = "('completed', 'failed', 'cancelled')"
_HEARD_OF_THE_END = (
    f"EXISTS (SELECT 1 FROM callbacks WHERE job_id = jobs.id AND answer_status = 200 AND status IN {_ENDS})"
)


@dataclass(frozen=True, slots=True)
class FarSide:
    """A running backend, and a proxy in front of it for each client that has a network of its own."""

    backend: EmbeddedBackend
    proxies: Sequence[FaultProxy]

    def environment(self, proxy: FaultProxy) -> dict[str, str]:
        """The backend's environment, by way of a proxy."""
        environment = self.backend.environment()
        return {name: value.replace(self.backend.url, proxy.url) for name, value in environment.items()}

    async def redis(self, *command: str | bytes) -> Any:
        """A command past the proxies; texts come as bytes."""
        return await self.backend._redis.execute(command)

    async def waiting(self) -> dict[str, int]:
        return {queue: await self.redis("LLEN", queue) for queue in QUEUES}

    async def held(self) -> dict[str, list[bytes]]:
        """The held elements by their list's key."""
        keys = [key for queue in QUEUES for key in await self.redis("KEYS", f"{queue}:held:*")]
        return {key.decode(): await self.redis("LRANGE", key, "0", "-1") for key in keys}

    async def dead(self) -> list[bytes]:
        return [letter for queue in QUEUES for letter in await self.redis("LRANGE", f"{queue}:dead", "0", "-1")]

    def rows(self, table: str) -> list[Row]:
        return self.backend._database.select(table, tail="ORDER BY rowid")

    def unfinished(self) -> int:
        """How many jobs the product never heard the end of."""
        return self.backend._database.count("jobs", f"status NOT IN {_ENDS} AND NOT {_HEARD_OF_THE_END}")

    def undone(self) -> int:
        """How many jobs were set back by a report of their start that came after that of their end."""
        return self.backend._database.count("jobs", f"status NOT IN {_ENDS} AND {_HEARD_OF_THE_END}")


@asynccontextmanager
async def far_side(folder: Path, *, proxies: int, seed: int = 0) -> AsyncIterator[FarSide]:
    """Serve from `folder` until the block ends; the proxies break nothing by themselves."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        catalogue = parse_catalogue(JOB_TYPES.read_text())
        backend = EmbeddedBackend(data=folder, catalogue=catalogue, redis_url=redis.url)
        await backend.start()
        stack.push_async_callback(backend.stop)
        standing = [FaultProxy(backend.url, seed=seed * 1000 + number) for number in range(proxies)]
        for proxy in standing:
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        yield FarSide(backend, standing)
