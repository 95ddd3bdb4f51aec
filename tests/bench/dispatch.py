"""`scripts/bench/dispatch`: what a job that does nothing costs in our worker, and in five other queues, on one Redis.

Each worker takes one job at a time, with its own defaults in everything else. First it idles, then it is given one job
after the other, then a backlog that was queued while it was stopped. Processor time is that of the worker's processes;
the REST bridge, which a hosted Redis brings along, is counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from redis import Redis
from rich.console import Console
from rich.table import Table

from tests.bench.bars import bar_chart
from tests.bench.dispatch_contenders import CONTENDERS, FAR_SIDE, PEERS, Contender, interpreter, versions
from tests.bench.peers.line import PIPE_VARIABLE, RECORD, REDIS_VARIABLE
from tests.bench.process_meter import frozen, processor_seconds, resident_bytes
from tests.bench.report import REPORTS, write_plot, write_report
from tests.support.commands import ROOT, clean_environment
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

START_SECONDS = 60.0
JOB_SECONDS = 120.0
LONGEST_PAUSE = 2.0
"""Between two single jobs, so that they meet a polling worker at any moment of its interval."""
WARM_UP_JOBS = 10
QUIET_SECONDS = 0.2
MILLION = 1e6
HOUR = 3600.0
OURS, OUR_QUEUE = CONTENDERS[0].name, CONTENDERS[1].name
COST = "processor ms per job"
_NAMES = tuple(contender.name for contender in CONTENDERS)
_NOT_SHOWN = ("note", "versions", "commands")
_Start = Callable[[Sequence[str], Mapping[str, str], int | IO[bytes]], subprocess.Popen[bytes]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything is measured."""

    jobs: int
    pickups: int
    idle_seconds: float


class Pipe:
    """Collects the records of started jobs: when each was queued and started."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Held open for writing too, so that the pipe has no end between two workers.
        self._descriptor = os.open(path, os.O_RDWR)
        self.records: list[tuple[float, float]] = []
        threading.Thread(target=self._read, name="records", daemon=True).start()

    def wait_for(self, count: int, worker: subprocess.Popen[bytes]) -> None:
        def arrived() -> bool:
            assert worker.poll() is None, f"the worker ended with {worker.returncode}"
            return len(self.records) >= count

        wait_until(arrived, f"the start of {count} jobs (now {len(self.records)})", seconds=JOB_SECONDS)

    def _read(self) -> None:
        rest = b""
        while True:
            rest += os.read(self._descriptor, 65536)
            whole = len(rest) - len(rest) % RECORD.size
            self.records += [(queued, started) for queued, started in RECORD.iter_unpack(rest[:whole])]
            rest = rest[whole:]


class Producer:
    """A process that queues jobs and says when it has."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, f"the producer ended with {self._process.wait()}"
        return line

    def queue(self, jobs: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % jobs)
        self._process.stdin.flush()
        assert self.read() == "queued\n"


@dataclass(slots=True)
class Track:
    """Everything that one contender needs while it is measured."""

    worker: subprocess.Popen[bytes]
    producer: Producer
    pipe: Pipe
    redis: Redis
    bridge: int | None

    def run(self, jobs: int) -> None:
        """Queue jobs for a worker that runs, and wait until it has come to rest."""
        before = len(self.pipe.records)
        self.producer.queue(jobs)
        self.pipe.wait_for(before + jobs, self.worker)
        self.rest()

    def rest(self) -> None:
        """Wait until the worker does no more than it does while idle."""
        spent = -1.0
        while (now := processor_seconds(self.worker.pid)) != spent:
            spent = now
            time.sleep(QUIET_SECONDS)


def measure(contender: Contender, effort: Effort, folder: Path, redis_url: str) -> dict[str, Any]:
    """The figures of one contender on an empty Redis: seconds, bytes, and commands as the server counts them."""
    with _track(contender, folder, redis_url) as track:
        track.run(WARM_UP_JOBS)
        idle = _idle(track, effort.idle_seconds)
        pickups = _pickups(track, effort.pickups)
        backlog = _backlog(track, max(round(effort.jobs * contender.share), 1))
        memory = resident_bytes(track.worker.pid) / MILLION
    return {**backlog, **pickups, **idle, "resident MB": round(memory, 1), "note": contender.note}


def _idle(track: Track, seconds: float) -> dict[str, Any]:
    spent, served, begun = processor_seconds(track.worker.pid), _commands(track.redis), time.monotonic()
    time.sleep(seconds)
    hours = (time.monotonic() - begun) / HOUR
    commands = _commands(track.redis) - served
    return {
        "idle processor seconds per hour": round((processor_seconds(track.worker.pid) - spent) / hours, 1),
        "idle commands per hour": round(commands.total() / hours),
    }


def _pickups(track: Track, count: int) -> dict[str, Any]:
    before = len(track.pipe.records)
    dice = random.Random(1)
    for job in range(count):
        time.sleep(dice.uniform(0, LONGEST_PAUSE) if job else 0)
        track.run(1)
    waits = sorted(started - queued for queued, started in track.pipe.records[before:])
    return {
        "pick-up p50 ms": round(statistics.median(waits) * 1e3, 2),
        "pick-up p99 ms": round(waits[min(len(waits) - 1, int(0.99 * len(waits)))] * 1e3, 2),
    }


def _backlog(track: Track, jobs: int) -> dict[str, Any]:
    before = len(track.pipe.records)
    with frozen(track.worker.pid):
        track.producer.queue(jobs)
        served = _commands(track.redis)
        spent = processor_seconds(track.worker.pid)
        bridged = processor_seconds(track.bridge) if track.bridge else 0.0
        begun = time.monotonic()
    track.pipe.wait_for(before + jobs, track.worker)
    seconds = track.pipe.records[-1][1] - begun
    track.rest()
    commands = _commands(track.redis) - served
    figures: dict[str, Any] = {
        "jobs": jobs,
        "jobs per second": round(jobs / seconds, 1),
        COST: round((processor_seconds(track.worker.pid) - spent) / jobs * 1e3, 3),
        "commands per job": round(commands.total() / jobs, 2),
        "commands": {name: round(count / jobs, 2) for name, count in commands.most_common() if count >= jobs / 10},
    }
    if track.bridge:
        figures["processor ms per job of the far side"] = round(
            (processor_seconds(track.bridge) - bridged) / jobs * 1e3, 3
        )
    return figures


def _commands(redis: Redis) -> Counter[str]:
    """All that the server has carried out, what scripts asked it for included, but for our own questions."""
    counted: Mapping[str, Mapping[str, int]] = redis.info("commandstats")
    names = {name.removeprefix("cmdstat_").partition("|")[0]: stat["calls"] for name, stat in counted.items()}
    return Counter({name: calls for name, calls in names.items() if name != "info"})


@contextlib.contextmanager
def _track(contender: Contender, folder: Path, redis_url: str) -> Iterator[Track]:
    pipe_path = folder / f"pipe-{time.monotonic_ns()}"
    pipe = Pipe(pipe_path)
    environment = {
        REDIS_VARIABLE: redis_url,
        "RQ_REDIS_URL": redis_url,
        PIPE_VARIABLE: str(pipe_path),
        "OURVIDZ_SPOOL": str(folder / "spool"),
    }
    redis = Redis.from_url(redis_url)
    redis.flushall()
    with contextlib.ExitStack() as stack, (folder / "log").open("w+b") as log:
        start = _starter(stack, interpreter(contender), log)
        producer = Producer(start(contender.producer or FAR_SIDE, environment, subprocess.PIPE))
        if contender.ours:
            environment |= json.loads(producer.read())
        worker = start(contender.worker, environment, log)
        try:
            yield Track(worker, producer, pipe, redis, producer.pid if contender.ours else None)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode("utf-8", "replace"))
            raise


def _starter(stack: contextlib.ExitStack, python: Path, log: IO[bytes]) -> _Start:
    def start(
        arguments: Sequence[str], environment: Mapping[str, str], out: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [python, *arguments],
            env={**clean_environment(environment), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=log,
            start_new_session=True,
        )
        stack.callback(_stop, process)
        return process

    return start


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    wanted = [contender for contender in CONTENDERS if contender.name in (arguments.only or _NAMES)]
    effort = Effort(arguments.jobs, arguments.pickups, arguments.idle_seconds)
    figures: dict[str, dict[str, Any]] = {}
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="dispatch-") as folder:
        for contender in wanted:
            figures[contender.name] = {
                **measure(contender, effort, Path(folder), f"{server.url}/0"),
                **_made_of(contender),
            }
            _tell(contender.name, figures[contender.name])
    result = {"contenders": figures, "verdict": verdict(figures)}
    if arguments.report is not None:
        command = ["scripts/bench/dispatch", *(sys.argv[1:] if argv is None else argv)]
        write_report("dispatch", result, command=command, folder=arguments.report)
        costs = {name: found[COST] / 1e3 for name, found in figures.items()}
        write_plot(
            "dispatch", bar_chart("Processor seconds per no-op job, logarithmic", costs), folder=arguments.report
        )
    _print(result)
    return 0


def verdict(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the targets say about these figures, as far as who they are about took part."""
    peers = {name: figures[name][COST] for name in PEERS if name in figures}
    found: dict[str, Any] = {}
    if peers:
        best = min(peers, key=peers.__getitem__)
        found["best of the others"] = best
        if OUR_QUEUE in figures:
            found["queue part / best of the others (at most 3)"] = round(figures[OUR_QUEUE][COST] / peers[best], 2)
    if OURS in figures:
        found["whole job, processor ms (under 10)"] = figures[OURS][COST]
    return found


def _made_of(contender: Contender) -> dict[str, Any]:
    found = versions(contender)
    return {"versions": found} if found else {}


def _tell(name: str, figures: Mapping[str, Any]) -> None:
    Console(stderr=True).print(f"{name}: {figures[COST]} ms per job, {figures['jobs per second']} jobs per second")


def _print(result: Mapping[str, Any]) -> None:
    contenders: Mapping[str, Mapping[str, Any]] = result["contenders"]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in contenders:
        table.add_column(name, justify="right")
    rows = dict.fromkeys(row for found in contenders.values() for row in found if row not in _NOT_SHOWN)
    for row in rows:
        table.add_row(row, *(str(found.get(row, "")) for found in contenders.values()))
    console = Console(stderr=True, width=200)
    console.print(table)
    for name, value in result["verdict"].items():
        console.print(f"{name}: {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench/dispatch", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="how long the backlog is (default: %(default)s)")
    parser.add_argument("--pickups", type=int, default=40, help="single jobs on an idle worker (default: %(default)s)")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="how long to watch (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=_NAMES, metavar="NAME", help=f"of these: {', '.join(_NAMES)}")
    parser.add_argument(
        "--report", type=Path, nargs="?", const=REPORTS, metavar="FOLDER", help="write dispatch.json and dispatch.svg"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
