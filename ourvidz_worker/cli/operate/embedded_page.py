"""The operator's page of the embedded backend, which knows its own keys: no token, as it is for development only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from ourvidz_worker.cli.operate.striking import struck_out_of_json
from ourvidz_worker.cli.operate.watching import keeping_watch
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.operate.guard import Guard
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.operate.page import OperatorPage
from ourvidz_worker.settings import Settings, read_settings

_DESK_SECONDS = 1.0  # nobody bills the commands of the embedded Redis


@asynccontextmanager
async def operated(
    backend: EmbeddedBackend, *, pods: Sequence[str], variables: Mapping[str, str]
) -> AsyncIterator[None]:
    """Give the backend its page before its start; the lookout opens when somebody first looks."""
    opening = asyncio.Lock()
    lookouts: list[Lookout] = []
    secrets: list[str] = []
    async with AsyncExitStack() as stack:

        async def watch() -> Lookout:
            async with opening:
                if not lookouts:
                    settings = read_settings(Settings, {**backend.environment(), **variables})
                    secrets.extend(settings.secrets)
                    watching = keeping_watch(settings, pods=pods, desk_seconds=_DESK_SECONDS)
                    lookouts.append(await stack.enter_async_context(watching))
            return lookouts[0]

        page = OperatorPage(watch, Guard(None), struck_out=lambda text: struck_out_of_json(text, secrets))
        backend.further_routes = page.routes()
        yield
