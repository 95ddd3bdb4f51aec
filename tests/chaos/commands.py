"""`scripts/bench/commands`: the Redis commands that real workers put on the wire, idle and for each job.

Upstash bills commands one by one, so an idle worker and a job must cost few (contract section 1).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ourvidz_worker.contract.catalogue import ModelFamily, parse_catalogue
from tests.chaos import report
from tests.chaos.far_side import QUEUES, FarSide, far_side
from tests.chaos.plan import recordings, small
from tests.chaos.pods import Pod
from tests.support.embedded import JOB_TYPES
from tests.support.fault_proxy import Exchange, FaultProxy

HOUR = 3600.0
WAIT_SECONDS = 300.0
LOOK_SECONDS = 0.05
REDIS = "REDIS "


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="commands-"))
    try:
        measured = asyncio.run(_measure(arguments, folder))
    finally:
        shutil.rmtree(folder)
    result = {**report.provenance("scripts/bench/commands"), **measured}
    if arguments.report:
        report.write(result, arguments.report)
    sections = {name: value for name, value in measured.items() if isinstance(value, dict)}
    report.print_sections(sections, Console(stderr=True))
    return 0


async def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Starting, idling and working are counted apart; the workers' settings are the defaults but for the models."""
    async with far_side(folder / "backend", proxies=1) as far:
        [proxy] = far.proxies
        pod = Pod("a", folder / "pod", {**far.environment(proxy), "OURVIDZ_MODELS": "testcard"})
        try:
            pod.start()
            await _until(lambda: _ready(pod), "both workers to be ready", pod)
            await _until(lambda: _booted(far), "both workers to have looked for what was left behind", pod)
            boot = await _count(far, asyncio.sleep(arguments.settle_seconds))
            begun = time.monotonic()
            idle = await _count(far, asyncio.sleep(arguments.idle_seconds))
            idle_seconds = time.monotonic() - begun  # a busy machine sleeps for longer than it was told to
            looks = _looks_into(proxy, "sdxl_queue")
            backlog = await _count(far, _jobs(far, arguments.jobs, pod, model_family="sdxl"))
            backlog["LLEN"] = sum(looks)
            busy = await _count(far, _jobs(far, arguments.jobs, pod))
        finally:
            await asyncio.to_thread(pod.stop)
            pod.sweep()
    hours = idle_seconds / HOUR
    return {
        "start, both workers": _with_sum(boot),
        "idle seconds": round(idle_seconds, 3),
        f"idle for {arguments.idle_seconds:g} s, both workers": _with_sum(idle),
        "idle hour, both workers": _with_sum({name: count / hours for name, count in idle.items()}),
        f"{arguments.jobs} jobs, polls included": _with_sum(busy),
        "SDXL job under backlog, polls included": _with_sum(
            {name: count / arguments.jobs for name, count in backlog.items()}
        ),
        "job": _with_sum({name: count / arguments.jobs for name, count in busy.items() if name != "LLEN"}),
    }


async def _count(far: FarSide, meanwhile: Any) -> Counter[str]:
    """The commands of a time, from the start of the process or the end of the time before."""
    [proxy] = far.proxies
    await meanwhile
    counted = Counter({name.removeprefix(REDIS): n for name, n in proxy.counts.items() if name.startswith(REDIS)})
    proxy.counts.clear()
    return counted


def _looks_into(proxy: FaultProxy, queue: str) -> list[int]:
    """A one for each look of a worker into this queue, from now on; the other worker looks into its own."""
    looks: list[int] = []

    def count(exchange: Exchange) -> None:
        if exchange.phase == "arrived" and exchange.route == f"{REDIS}LLEN":
            looks.append(int(json.loads(exchange.body)[1] == queue))

    proxy.watch(count)
    return looks


async def _jobs(far: FarSide, count: int, pod: Pod, *, model_family: ModelFamily | None = None) -> None:
    """As many jobs at once, of one family or of both, until they are over."""
    dice = random.Random(1)
    catalogue = parse_catalogue(JOB_TYPES.read_text(encoding="utf-8"))
    recorded = [job for job in recordings() if model_family in (None, catalogue[job["type"]].model_family)]
    for _ in range(count):
        payload = dice.choice(recorded)
        await far.backend.submit(small(payload, dice))
    [proxy] = far.proxies
    # An acknowledgement is the last command of a job, and comes after the product knows its end.
    await _until(lambda: proxy.counts["REDIS acknowledge"] >= count, f"{count} jobs to be over", pod)


def _ready(pod: Pod) -> bool:
    pod.read_log()
    return pod.ready


def _booted(far: FarSide) -> bool:
    """Whether each worker has asked for its own held list and for those of the dead."""
    [proxy] = far.proxies
    return all(proxy.counts[f"{REDIS}{command}"] >= len(QUEUES) for command in ("LRANGE", "SCAN"))


async def _until(happened: Callable[[], bool], what: str, pod: Pod) -> None:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not happened():  # noqa: ASYNC110 - what is waited for lies in other processes
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise RuntimeError(f"{what} took longer than {WAIT_SECONDS:g} s:\n{pod.log.read_text()[-2000:]}") from None


def _with_sum(counts: dict[str, float] | Counter[str]) -> dict[str, float]:
    return {**{name: round(count, 2) for name, count in sorted(counts.items())}, "sum": round(sum(counts.values()), 2)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench/commands", description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=300.0, help="how long to watch (default: %(default)g)")
    parser.add_argument("--settle-seconds", type=float, default=3.0, help="start-up before that (default: %(default)g)")
    parser.add_argument("--jobs", type=int, default=50, help="how many jobs (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
