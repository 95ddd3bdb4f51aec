"""`local`: the embedded backend alone, like a local Supabase start."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.cli.embedded import SHOWING, chosen_token, serving
from ourvidz_worker.cli.selection import Selected, select_models
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.local.redis_commands import RedisUnreachable
from ourvidz_worker.settings import QwenSettings, read_settings


def run(arguments: argparse.Namespace) -> int:
    try:
        return asyncio.run(_serve(arguments))
    except (ConfigurationError, RedisUnreachable, OSError) as error:
        print(error, file=sys.stderr)
        return 1


async def _serve(arguments: argparse.Namespace) -> int:
    settings = read_settings(QwenSettings)
    selected = select_models(settings, settings.workers)
    backend = EmbeddedBackend(
        data=arguments.data,
        catalogue=chosen_catalogue(),
        port=arguments.port,
        redis_url=arguments.redis,
        qwen_token=chosen_token(settings),
        pods=settings.status_urls,
    )
    address = settings.enhancer_url or settings.qwen_address
    async with serving(backend, enhancer_url=address, time_limit=settings.enhancement_limit, pods=settings.status_urls):
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        _tell(backend, address, selected)
        await stopping.wait()
    return 0


def _tell(backend: EmbeddedBackend, address: str, selected: Selected) -> None:
    print("# the embedded backend, for development only: whoever reaches its page can be the demo user")
    print(f"# {selected}")
    print("# export this in the shell of a worker:")
    for name, value in {**backend.environment(), **SHOWING, "OURVIDZ_MODELS": selected.models}.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"# enhance-prompt asks the qwen worker at {address}, or a template while nobody listens there;")
    print("# OURVIDZ_WORKERS=sdxl,wan,qwen has the orchestrator start one")
    print(f"# for an operator: {backend.url}/operator")
    print(f"# results: {backend.url}", flush=True)
