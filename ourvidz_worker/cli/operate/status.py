"""`status`: the operator's facts in a terminal, or as JSON for scripts."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from ourvidz_worker.cli.operate.keyboard import pressed
from ourvidz_worker.cli.operate.screen import screen_of
from ourvidz_worker.cli.operate.striking import struck_out_of_json
from ourvidz_worker.cli.operate.watching import keeping_watch, pod_or_all_settings
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.log import configure_logging
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.settings import QwenSettings

_LIVE_SECONDS = 2.0
_NARROWEST = 80

Facts = Mapping[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 if something needs a person."""
    settings, problem = pod_or_all_settings()
    configure_logging(level="error", log_format=settings.log_format, secrets=settings.secrets)
    facts = asyncio.run(_look(arguments, settings, problem))
    return 0 if facts["well"] else 1


async def _look(arguments: argparse.Namespace, settings: QwenSettings, problem: str | None) -> Facts:
    watching = keeping_watch(
        settings, pods=settings.status_urls, desk_seconds=arguments.redis_interval, problem=problem
    )
    output = Output(settings.secrets, as_json=arguments.json)
    async with watching as lookout:
        if arguments.json:
            return await _printed(lookout, arguments.watch, _json_printer(settings, one_line=bool(arguments.watch)))
        console = Console(highlight=False)
        if console.is_terminal and not arguments.once:
            return await _live(lookout, arguments.watch or _LIVE_SECONDS, console, output)
        console.width = max(console.width, _NARROWEST)
        return await _printed(
            lookout, arguments.watch, lambda facts: console.print(screen_of(facts, output.plain, console.width))
        )


async def _printed(lookout: Lookout, every: float | None, show: Callable[[Facts], None]) -> Facts:
    """Once, or until Ctrl-C."""
    while True:
        facts = await lookout.facts()
        show(facts)
        sys.stdout.flush()
        if every is None:
            return facts
        await asyncio.sleep(every)


async def _live(lookout: Lookout, every: float, console: Console, output: Output) -> Facts:
    """Until q or Ctrl-C; on a screen of its own, as `top` has it."""
    facts = await lookout.facts()
    with pressed("q") as end, Live(console=console, screen=True, auto_refresh=False) as live:
        while not end.is_set():
            live.update(screen_of(facts, output.plain, console.width, keys="q ends"), refresh=True)
            try:
                async with asyncio.timeout(every):
                    await end.wait()
            except TimeoutError:
                facts = await lookout.facts()
    return facts


def _json_printer(settings: QwenSettings, *, one_line: bool) -> Callable[[Facts], None]:
    def show(facts: Facts) -> None:
        print(struck_out_of_json(json.dumps(facts, indent=None if one_line else 2), settings.secrets))

    return show
