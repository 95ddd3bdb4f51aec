"""The embedded backend as commands run it: `enhance-prompt` asks the language worker, and an operator sees all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from ourvidz_worker.backend.enhancer_client import EnhancerClient
from ourvidz_worker.cli.operate.embedded_page import operated
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.settings import QwenSettings

SHOWING = {"OURVIDZ_PREVIEWS": "on", "OURVIDZ_LEASE": "20"}
"""What a worker is told besides, so that the studio shows pictures while they are drawn, and a job that is cancelled
stops within seconds: workers look for that with each renewal of their lease."""


def chosen_token(settings: QwenSettings) -> str | None:
    """The token that goes over the embedded backend's own."""
    return settings.qwen_token.get_secret_value() if settings.qwen_token else None


@asynccontextmanager
async def serving(
    backend: EmbeddedBackend,
    *,
    enhancer_url: str | None,
    time_limit: float,
    pods: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[None]:
    """Serve until the end of the block; raises as `EmbeddedBackend.start` does.

    Where nobody listens at `enhancer_url`, or none is known, a template rewrites prompts. The operator's page shows
    these `pods`, whose environment has these `variables` besides the backend's.
    """
    client = enhancer_url and EnhancerClient(url=enhancer_url, token=backend.qwen_token, patient=False)
    if client:
        backend.enhance = partial(client.ask, time_limit=time_limit)
    try:
        async with operated(backend, pods=pods, variables=variables or {}):
            await backend.start()
            yield
    finally:
        await backend.stop()
        if client:
            await client.close()
