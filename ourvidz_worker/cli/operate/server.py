"""`operator`: the operator's page for the pods and the backend of the environment, on this machine alone."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from ourvidz_worker import local
from ourvidz_worker.cli.operate.striking import struck_out_of_json
from ourvidz_worker.cli.operate.watching import keeping_watch, pod_or_all_settings
from ourvidz_worker.local.server import LocalServer, PortTaken
from ourvidz_worker.log import configure_logging
from ourvidz_worker.operate.guard import Guard
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.operate.page import PREFIX, OperatorPage

_HOST = "127.0.0.1"
SHARED = Path(local.__file__).parent / "static"
"""Tokens, icons and the elements that the studio and the operator's page have in common."""


def run(arguments: argparse.Namespace) -> int:
    try:
        return asyncio.run(_serve(arguments))
    except PortTaken as error:
        print(error.strerror, file=sys.stderr)
        return 1


async def _serve(arguments: argparse.Namespace) -> int:
    settings, problem = pod_or_all_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets)
    token = secrets.token_urlsafe(24)
    watching = keeping_watch(
        settings, pods=settings.status_urls, desk_seconds=arguments.redis_interval, problem=problem
    )
    async with watching as lookout:

        async def watch() -> Lookout:
            return lookout

        page = OperatorPage(
            watch,
            Guard(token),
            struck_out=lambda text: struck_out_of_json(text, (*settings.secrets, token)),
            shared=SHARED,
        )
        app = Starlette(routes=[Route("/", RedirectResponse(PREFIX)), *page.routes()])
        server = LocalServer(app, _HOST, arguments.port)
        await server.start()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        _tell(f"http://{_HOST}:{server.port}{PREFIX}#token={token}", settings.status_urls, problem)
        await stopping.wait()
        await server.stop()
    return 0


def _tell(address: str, pods: tuple[str, ...], problem: str | None) -> None:
    print(f"operator's page: {address}")
    print("whoever has this address may act on the queues; the token lasts until this command ends")
    print(f"pods: {', '.join(pods) or 'none, as OURVIDZ_STATUS_URL is empty'}", flush=True)
    if problem:
        print(problem, file=sys.stderr, flush=True)
