"""Who takes part in `scripts/bench/dispatch`, and the environments that the other queues live in."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import ROOT

ENVIRONMENTS = ROOT / ".venv-bench"
_OURS = "tests.bench.dispatch_ours"
_PEERS = "tests.bench.peers"
FAR_SIDE = ("-m", _OURS, "far-side")


@dataclass(frozen=True, slots=True)
class Contender:
    """`worker` and `producer` are what Python is given; without a producer the far side queues the jobs.

    `requirements` go into an environment of the contender's own; without any it lives in ours.
    `share` of the jobs of the others is enough where one of them takes long.
    """

    name: str
    worker: tuple[str, ...]
    note: str
    producer: tuple[str, ...] | None = None
    requirements: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def ours(self) -> bool:
        """Whether it goes over REST to the embedded backend."""
        return self.producer is None


def _peer(name: str, *worker: str, note: str, requirements: tuple[str, ...], share: float = 1.0) -> Contender:
    return Contender(
        name,
        worker=("-m", *worker),
        producer=("-m", f"{_PEERS}.with_{name}"),
        note=note,
        requirements=requirements,
        share=share,
    )


CONTENDERS = (
    Contender(
        "ourvidz, whole job",
        ("-m", _OURS, "worker"),
        "over REST: claim under a lease, policy, start report, spool with fsync, upload, final report, acknowledge; "
        "polls every 2 s while idle, as the product asks",
        share=0.2,
    ),
    Contender(
        "ourvidz, queue part",
        ("-m", _OURS, "queue"),
        "over REST: claim under a lease, read the payload, begin, acknowledge; polls every 2 s while idle",
    ),
    _peer(
        "arq",
        "arq",
        f"{_PEERS}.with_arq.Settings",
        note="polls a sorted set every 0.5 s, up to ten jobs at once; acknowledges after the job; keeps results",
        requirements=("arq==0.28.0",),
        share=0.2,
    ),
    _peer(
        "saq",
        "saq",
        f"{_PEERS}.with_saq.settings",
        note="blocking move into an active list; acknowledges after the job; keeps results",
        requirements=("saq[redis]==0.26.4", "typing-extensions==4.15.0"),
    ),
    _peer(
        "rq",
        "rq.cli",
        "worker",
        "bench",
        note="blocking move; a fork for each job; keeps results",
        requirements=("rq==3.0.0",),
        share=0.1,
    ),
    _peer(
        "dramatiq",
        "dramatiq",
        f"{_PEERS}.with_dramatiq",
        "--processes",
        "1",
        "--threads",
        "1",
        note="Lua script that polls and prefetches; acknowledges after the job; keeps no results",
        requirements=("dramatiq[redis]==2.2.1",),
    ),
    _peer(
        "celery",
        "celery",
        "-A",
        f"{_PEERS}.with_celery",
        "worker",
        "--concurrency",
        "1",
        note="blocking pop with prefetch; acknowledges before the job; keeps no results",
        requirements=("celery[redis]==5.7.0",),
    ),
    Contender(
        "bare BLPOP",
        ("-m", f"{_PEERS}.bare", "worker"),
        "the floor: a loop that loses the job of a worker that dies",
        producer=("-m", f"{_PEERS}.bare"),
    ),
)
PEERS = tuple(contender.name for contender in CONTENDERS if contender.requirements)


def interpreter(contender: Contender) -> Path:
    """The Python of a contender; makes its environment where that is missing or of other requirements."""
    if not contender.requirements:
        return Path(sys.executable)
    folder = ENVIRONMENTS / contender.name
    python = folder / "bin" / "python"
    installed = folder / "installed.json"
    wanted = json.dumps(contender.requirements)
    if not installed.is_file() or installed.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *contender.requirements], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return python


def versions(contender: Contender) -> Mapping[str, str]:
    """The releases that a contender's environment holds of itself and of the Redis client."""
    if not contender.requirements:
        return {}
    answer = subprocess.run(
        [interpreter(contender), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    wanted = {contender.name, "redis"}
    return {found["name"]: found["version"] for found in json.loads(answer.stdout) if found["name"] in wanted}
