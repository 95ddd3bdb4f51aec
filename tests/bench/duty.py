"""`scripts/bench/duty`: the share of time in which a card computes under backlog, ours against a plain loop.

The card is simulated: each job takes it a set time, and leaves pictures of real entropy. Everything else is real: the
worker as its command builds it, the queue, the encoders with their checks, the uploads and the reports, over HTTP
against the embedded backend, with each call held back on the way. The plain loop takes a job, generates, uploads and
reports with the same clients, one after the other. Both run in one go on the same machine, each alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console
from rich.table import Table

from tests.bench.report import REPORTS, write_plot, write_report
from tests.bench.timeline import Spans, timeline
from tests.support.commands import PAYLOADS, ROOT, clean_environment
from tests.support.embedded import RunningBackend
from tests.support.fault_proxy import Exchange, Fault, Rule, RunningProxy
from tests.support.waiting import wait_until

COMMAND = "scripts/bench/duty"
START_SECONDS = 120.0  # for a process to start, and for the last delivery
STOP_SECONDS = 60.0

Way = Literal["loop", "worker"]
Media = Literal["png", "mp4"]
NAMES = {"loop": "plain loop", "worker": "our worker"}
PAYLOAD = {"png": "sdxl_image_fast", "mp4": "video_fast"}
FAMILY = {"png": "sdxl", "mp4": "wan"}
SINGLE_FILE = "/storage/v1/object/"
FILE_PART = "/upload/resumable/"


@dataclass(frozen=True, slots=True)
class Course:
    """How one way went through its jobs: when the card computed, and what went over the wire."""

    way: Way
    media: Media
    delay_ms: float
    spans: Spans
    uploaded: int
    calls: int

    @property
    def gaps(self) -> list[float]:
        """Seconds in which the card had nothing to do, between one job and the next."""
        return [later[0] - earlier[1] for earlier, later in zip(self.spans, self.spans[1:], strict=False)]

    @property
    def duty(self) -> float:
        """From the beginning of the first job to that of the last one: as many jobs as pauses."""
        return 1 - sum(self.gaps) / (self.spans[-1][0] - self.spans[0][0])

    @property
    def name(self) -> str:
        return f"{self.media}, {self.delay_ms:g} ms per call, {NAMES[self.way]}"

    def figures(self) -> dict[str, Any]:
        jobs = len(self.spans)
        return {
            "media": self.media,
            "delay_ms": self.delay_ms,
            "way": NAMES[self.way],
            "jobs": jobs,
            "duty": round(self.duty, 4),
            "median_pause_ms": round(1000 * statistics.median(self.gaps), 1),
            "longest_pause_ms": round(1000 * max(self.gaps), 1),
            "uploaded_mb_per_job": round(self.uploaded / jobs / 1e6, 2),
            "calls_per_job": round(self.calls / jobs, 1),
        }


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(given)
    courses = list(_courses(arguments))
    figures = {
        "seconds_per_job": {"png": arguments.seconds, "mp4": arguments.video_seconds},
        "pictures_per_job": arguments.images,
        "rows": [course.figures() for course in courses],
        "spans": {course.name: [[round(at, 4) for at in span] for span in course.spans] for course in courses},
    }
    write_report("duty", figures, command=shlex.join([COMMAND, *given]), folder=arguments.folder)
    drawing = timeline(
        "When the card computes (blue) and waits (red) under backlog",
        {course.name: course.spans for course in courses},
        notes={course.name: f"{course.duty:.2%}" for course in courses},
    )
    write_plot("duty", drawing, folder=arguments.folder)
    _print(courses)
    return 0


def _courses(arguments: argparse.Namespace) -> Iterator[Course]:
    for media in arguments.media:
        for delay in arguments.delays:
            for way in get_args(Way):
                yield _course(way, media, delay, arguments)


def _course(way: Way, media: Media, delay_ms: float, arguments: argparse.Namespace) -> Course:
    calls, uploaded = 0, 0

    def note(exchange: Exchange) -> None:
        nonlocal calls, uploaded
        if exchange.phase == "arrived":
            calls += 1
            if exchange.method != "GET" and (SINGLE_FILE in exchange.path or FILE_PART in exchange.path):
                uploaded += len(exchange.body)

    seconds = arguments.seconds if media == "png" else arguments.video_seconds
    count = arguments.jobs if media == "png" else arguments.video_jobs
    patience = START_SECONDS + count * (seconds + START_SECONDS / 10)
    with (
        tempfile.TemporaryDirectory(prefix="ourvidz-duty-") as name,
        RunningBackend(Path(name) / "backend") as backend,
        RunningProxy(backend.url) as network,
    ):
        if delay_ms:
            network.proxy.add(Rule("*", Fault.DELAY, seconds=delay_ms / 1000))
        network.proxy.watch(note)
        log = Path(name) / "card.jsonl"
        log.touch()
        jobs = [backend.run(backend.backend.submit(_payload(media, arguments.images))) for _ in range(count)]
        environment = {
            **{key: value.replace(backend.url, network.proxy.url) for key, value in backend.environment().items()},
            "OURVIDZ_SPOOL": str(Path(name) / "spool"),
        }
        with _process([way, FAMILY[media], str(seconds), str(log)], environment) as process:

            def over() -> bool:
                if process.poll() is not None:
                    raise RuntimeError(f"{NAMES[way]} ended with {process.returncode}")
                return len(log.read_bytes().splitlines()) >= len(jobs) and all(
                    _status(backend, job) in ("completed", "failed") for job in jobs
                )

            wait_until(over, f"the end of {len(jobs)} jobs, {NAMES[way]},", seconds=patience)
        if failed := [job for job in jobs if _status(backend, job) != "completed"]:
            raise RuntimeError(f"{NAMES[way]}: {len(failed)} of {len(jobs)} jobs failed")
        computed = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if sorted(entry["job"] for entry in computed) != sorted(jobs):
        raise RuntimeError(f"{NAMES[way]} did not generate each job once: {computed}")
    begin = computed[0]["began"]
    spans = [(entry["began"] - begin, entry["ended"] - begin) for entry in computed]
    return Course(way, media, delay_ms, spans, uploaded, calls)


def _status(backend: RunningBackend, job: str) -> str:
    row = backend.backend.job(job)
    assert row is not None
    return str(row["status"])


def _payload(media: Media, images: int) -> dict[str, Any]:
    payload = json.loads((PAYLOADS / f"{PAYLOAD[media]}.json").read_text(encoding="utf-8"))
    payload["id"] = str(uuid.uuid4())
    if media == "png":
        payload["config"]["num_images"] = payload["metadata"]["num_images"] = images
    return dict(payload)


@contextmanager
def _process(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Stopped in order at the end; its log is shown where something went wrong."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.duty_process", *arguments],
            env=clean_environment(environment),
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
            process.terminate()
            subprocess.CompletedProcess(process.args, process.wait(STOP_SECONDS)).check_returncode()
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode("utf-8", "replace"))
            raise
        finally:
            process.kill()
            process.wait()


def _print(courses: Sequence[Course]) -> None:
    columns = [course.figures() for course in courses]
    table = Table(box=None, pad_edge=False)
    for title in columns[0]:
        table.add_column(title.replace("_", " "), justify="left" if title in ("media", "way") else "right")
    for figures in columns:
        table.add_row(*(f"{value:.2%}" if title == "duty" else str(value) for title, value in figures.items()))
    Console(stderr=True, width=140).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--jobs", type=int, default=10, help="jobs of each run, 2 at least (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the card for each job (default: %(default)g)")
    parser.add_argument("--video-jobs", type=int, default=3, help="the same for clips (default: %(default)s)")
    parser.add_argument("--video-seconds", type=float, default=12.0, help="the same for clips (default: %(default)g)")
    parser.add_argument("--images", type=int, choices=(1, 3, 6), default=1, help="in each job (default: %(default)s)")
    parser.add_argument(
        "--delays",
        type=float,
        nargs="+",
        default=[0, 50, 100, 200],
        metavar="MS",
        help="how long each call is held back (default: 0 50 100 200)",
    )
    parser.add_argument("--media", nargs="+", choices=get_args(Media), default=list(get_args(Media)))
    parser.add_argument(
        "--folder", type=Path, default=REPORTS, help="for duty.json and duty.svg (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
