"""`scripts/bench/scale`: what a job costs against the number of workers and the length of the queue, in one run.

The workers are simulated, all of them in one process: the queue's part of a worker's loop over HTTP, and a pause in
place of a card, as long as keeps the rate of jobs the same for any number of workers. In front of a real Redis stands
our own REST layer, in a process of its own, as a stand-in for Upstash's; what it costs is told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from tests.bench.fleet import LONGEST_WAIT, QUEUE, Doings, fleet, open_queue
from tests.bench.lines import Chart, line_charts
from tests.bench.report import REPORTS, write_plot, write_report
from tests.contract.samples import RECORDED, compact
from tests.support.commands import ROOT
from tests.support.redis_server import RedisServer

COMMAND = "scripts/bench/scale"
START_SECONDS = 60.0
LOOK_SECONDS = 0.01
IDLE_JOB_SECONDS = 0.02
_ID = "@id@"
_TABLE_WIDTH = 150
_PUSHED_AT_ONCE = 50_000
_PUSH = """
for number = ARGV[1], ARGV[2] do
  local template = ARGV[3 + number % (#ARGV - 2)]
  redis.call("LPUSH", KEYS[1], (string.gsub(template, "@id@", string.format("job-%d", number))))
end
"""

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """What waits: types in turn, all created `age` seconds ago."""

    name: str
    types: Sequence[str]
    age: float = 0.0

    def templates(self) -> list[str]:
        created_at = (datetime.now(UTC) - timedelta(seconds=self.age)).isoformat(timespec="milliseconds")
        return [compact({**RECORDED[name], "id": _ID, "created_at": created_at}) for name in self.types]


MIXED = Mix("fast and high", ("sdxl_image_fast", "sdxl_image_high"))
HIGH = Mix("high alone, so that a claim looks through its whole window", ("sdxl_image_high",))
WAITED = Mix("waited too long", ("sdxl_image_high", "sdxl_image_fast"), age=2 * LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent until a moment; processor times in seconds, bytes as they are on the wire."""

    at: float
    done: int
    commands: Counter[str]
    bytes: int
    worker: float
    bridge: float
    redis: float

    def per_job_since(self, before: Cost) -> Figures:
        done = self.done - before.done
        commands = {name: count / done for name, count in sorted((self.commands - before.commands).items())}
        return {
            "jobs": done,
            "jobs_per_second": round(done / (self.at - before.at), 1),
            "commands": {name: round(count, 3) for name, count in commands.items()},
            "commands_per_job": round(sum(commands.values()), 3),
            "bytes_per_job": round((self.bytes - before.bytes) / done),
            "worker_ms_per_job": round(1000 * (self.worker - before.worker) / done, 3),
            "bridge_ms_per_job": round(1000 * (self.bridge - before.bridge) / done, 3),
            "redis_ms_per_job": round(1000 * (self.redis - before.redis) / done, 3),
        }


class Rig:
    """A Redis and the REST layer in front of it."""

    def __init__(self, redis: Redis, bridge: asyncio.subprocess.Process, url: str) -> None:
        self._redis = redis
        self._bridge = bridge
        self.url = url

    async def fill(self, count: int, mix: Mix) -> None:
        """Empty Redis, and queue as many jobs."""
        await self._redis.flushall()
        for first in range(0, count, _PUSHED_AT_ONCE):
            last = min(first + _PUSHED_AT_ONCE, count) - 1
            await self._redis.eval(_PUSH, 1, QUEUE, first, last, *mix.templates())

    async def push(self, job_id: str) -> None:
        [template, *_] = MIXED.templates()
        await self._redis.lpush(QUEUE, template.replace(_ID, job_id))

    async def cost(self, doings: Doings) -> Cost:
        assert self._bridge.stdin
        self._bridge.stdin.write(b"\n")
        told = json.loads(await _line(self._bridge))
        used = await self._redis.info("cpu")
        return Cost(
            at=time.perf_counter(),
            done=doings.done,
            commands=Counter(told["commands"]),
            bytes=told["bytes"],
            worker=time.process_time(),
            bridge=told["seconds"],
            redis=used["used_cpu_user"] + used["used_cpu_sys"],
        )

    async def forget_times(self) -> None:
        await self._redis.config_resetstat()

    async def script_microseconds(self) -> float:
        """What a script took inside Redis, on average since `forget_times`."""
        told = await self._redis.info("commandstats")
        stats = [told[name] for name in ("cmdstat_eval", "cmdstat_evalsha") if name in told]
        return float(sum(each["usec"] for each in stats) / sum(each["calls"] for each in stats))


@asynccontextmanager
async def _rig() -> AsyncIterator[Rig]:
    with RedisServer() as server:
        bridge = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.bench.rest_bridge", server.url),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        redis = Redis.from_url(server.url)
        try:
            async with asyncio.timeout(START_SECONDS):
                url = (await _line(bridge)).strip()
            yield Rig(redis, bridge, url)
        finally:
            await redis.aclose()
            assert bridge.stdin
            bridge.stdin.close()
            await bridge.wait()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"the REST layer ended with code {await process.wait()}")
    return line.decode()


async def measure(arguments: argparse.Namespace) -> Figures:
    dice = random.Random(1)
    async with _rig() as rig:
        return {
            "workers": [
                await _under_backlog(rig, workers, min(arguments.lengths), arguments) for workers in arguments.workers
            ],
            "lengths": [
                await _under_backlog(rig, min(arguments.length_workers, max(arguments.workers)), length, arguments)
                for length in arguments.lengths
            ],
            "claims": [
                await _claims(rig, length, mix, arguments.claims)
                for length in arguments.lengths
                for mix in (MIXED, HIGH, WAITED)
            ],
            "idle": [await _idle(rig, workers, arguments, dice) for workers in arguments.workers],
        }


async def _under_backlog(rig: Rig, workers: int, length: int, arguments: argparse.Namespace) -> Figures:
    """Each worker finds a job whenever it is free; at the end `length` jobs still wait."""
    job_seconds = workers / arguments.rate
    jobs = max(arguments.jobs, 2 * workers)
    await rig.fill(length + jobs + 3 * workers, MIXED)
    async with fleet(rig.url, workers=workers, job_seconds=job_seconds, poll_seconds=arguments.poll) as doings:
        await _until(lambda: doings.done >= workers)
        before, claims = await rig.cost(doings), len(doings.claims)
        await _until(lambda: doings.done >= before.done + jobs)
        after = await rig.cost(doings)
    return {
        "workers": workers,
        "waiting": length,
        "job_seconds": job_seconds,
        **after.per_job_since(before),
        **_milliseconds("claim", doings.claims[claims:]),
    }


async def _claims(rig: Rig, length: int, mix: Mix, count: int) -> Figures:
    """Claims alone, one after the other."""
    await rig.fill(length + count, mix)
    queue = open_queue(rig.url, "pod-1")
    try:
        seconds = []
        await queue.claim()
        await rig.forget_times()
        for _ in range(count - 1):
            begun = time.perf_counter()
            await queue.claim()
            seconds.append(time.perf_counter() - begun)
    finally:
        await queue.close()
    inside = round(await rig.script_microseconds(), 1)
    return {"waiting": length, "mix": mix.name, "redis_us_per_claim": inside, **_milliseconds("claim", seconds)}


async def _idle(rig: Rig, workers: int, arguments: argparse.Namespace, dice: random.Random) -> Figures:
    """Jobs come one by one to workers that have nothing to do."""
    await rig.fill(0, MIXED)
    waits = []
    async with fleet(rig.url, workers=workers, job_seconds=IDLE_JOB_SECONDS, poll_seconds=arguments.poll) as doings:
        await asyncio.sleep(arguments.poll)
        before = await rig.cost(doings)
        for number in range(arguments.pickups):
            job_id = f"job-{number}"
            # A lone worker has just looked, after its last job: jobs come at any time until it looks again.
            await asyncio.sleep(dice.uniform(0, arguments.poll / min(workers, 5)))
            queued_at = time.perf_counter()
            await rig.push(job_id)
            await _until(lambda: job_id in doings.begun)  # noqa: B023 - awaited before the next one
            waits.append(doings.begun[job_id] - queued_at)
        await _until(lambda: doings.done == arguments.pickups)
        after = await rig.cost(doings)
    looks = (after.commands - before.commands)["LLEN"] - arguments.pickups  # one comes at once after each job
    return {
        "workers": workers,
        "waiting": 0,
        "poll_seconds": arguments.poll,
        "looks_per_worker_hour": round(3600 * looks / workers / (after.at - before.at)),
        **_milliseconds("pick_up", waits),
    }


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110 - simulated workers count, they do not tell
        await asyncio.sleep(LOOK_SECONDS)


def _milliseconds(name: str, seconds: Sequence[float]) -> Figures:
    ordered = sorted(seconds)
    return {
        f"{name}_ms_p50": round(1000 * statistics.median(ordered), 2),
        f"{name}_ms_p99": round(1000 * ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 2),
    }


COSTS = ("commands_per_job", "bytes_per_job", "worker_ms_per_job", "bridge_ms_per_job", "redis_ms_per_job")


def ratios(rows: Sequence[Figures], against: str) -> Figures:
    """The last row's costs in those of the first."""
    first, last = rows[0], rows[-1]
    shares = {name: round(last[name] / first[name], 3) for name in COSTS if first[name]}
    processor = [sum(row[name] for name in COSTS[2:]) for row in (first, last)]
    return {
        "of": f"{last[against]} {against} to {first[against]}",
        **shares,
        "all_processor_time_per_job": round(processor[1] / processor[0], 3),
    }


def drawing(figures: Mapping[str, Any]) -> str:
    shown = {"worker": "worker_ms_per_job", "REST layer": "bridge_ms_per_job", "Redis": "redis_ms_per_job"}

    def costs(rows: Sequence[Figures], across: str) -> dict[str, list[tuple[float, float]]]:
        return {name: [(row[across], max(row[key], 0.001)) for row in rows] for name, key in shown.items()}

    by_mix: dict[str, list[tuple[float, float]]] = {}
    for row in figures["claims"]:
        by_mix.setdefault(row["mix"].partition(",")[0], []).append((max(row["waiting"], 1), row["redis_us_per_claim"]))
    waits = {part: [(row["workers"], row[f"pick_up_ms_{part}"]) for row in figures["idle"]] for part in ("p50", "p99")}
    return line_charts(
        [
            Chart("Processor time per job under backlog", "workers", "ms", costs(figures["workers"], "workers")),
            Chart("Processor time per job under backlog", "jobs waiting", "ms", costs(figures["lengths"], "waiting")),
            Chart("A claim inside Redis", "jobs waiting", "µs", by_mix),
            Chart("Pick-up latency of idle workers that poll", "workers", "ms", waits),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(words)
    figures = asyncio.run(measure(arguments))
    figures = {
        "settings": {"rate": arguments.rate, "poll_seconds": arguments.poll, "longest_wait_seconds": LONGEST_WAIT},
        "ratios": [ratios(figures["workers"], "workers"), ratios(figures["lengths"], "waiting")],
        **figures,
    }
    write_report("scale", figures, command=shlex.join([COMMAND, *words]), folder=arguments.reports)
    write_plot("scale", drawing(figures), folder=arguments.reports)
    _show(figures, Console(stderr=True, width=_TABLE_WIDTH))
    return 0


def _show(figures: Mapping[str, Any], console: Console) -> None:
    for name in ("workers", "lengths", "claims", "idle", "ratios"):
        rows = figures[name]
        columns = [column for column in rows[0] if column != "commands"]
        table = Table(*(column.replace("_", " ") for column in columns), title=name, box=None)
        for row in rows:
            table.add_row(*(str(row[column]) for column in columns))
        console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    for name, listed, text in (
        ("--workers", "1,10,100,1000", "how many workers, one measurement each (default: %(default)s)"),
        ("--lengths", "1000,100000,1000000", "jobs that wait; a million take 2.5 GB (default: %(default)s)"),
    ):
        parser.add_argument(name, type=_numbers, default=listed, metavar="N,…", help=text)
    for name, default, text in (
        ("--jobs", 300, "jobs of a measurement, and at least two for each worker (default: %(default)s)"),
        ("--length-workers", 10, "workers on the queues of --lengths (default: %(default)s)"),
        ("--claims", 300, "claims alone, for each length and mix (default: %(default)s)"),
        ("--pickups", 60, "jobs that come to idle workers one by one (default: %(default)s)"),
    ):
        parser.add_argument(name, type=int, default=default, metavar="N", help=text)
    parser.add_argument(
        "--rate", type=float, default=250.0, help="jobs per second of all workers (default: %(default)g)"
    )
    parser.add_argument("--poll", type=float, default=2.0, help="seconds between looks at an empty queue (default: 2)")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="for scale.json and scale.svg")
    return parser


def _numbers(text: str) -> list[int]:
    """Rising, so that the last stands against the first."""
    numbers = sorted({int(part) for part in text.split(",")})
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"must be numbers of 1 or more, got {text!r}")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
