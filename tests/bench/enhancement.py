"""`scripts/bench/enhancement`: how long a prompt takes to be rewritten, cold, warm and from memory, in one run.

Cold is a new process of the language worker: its start, the load of the model from disk, and the first answer.
Warm are the answers after it, each to another prompt. From memory are the same prompts asked again.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import torch
from rich.console import Console

from ourvidz_worker.engines.tiny.models import ensure_built
from tests.bench.bars import bar_chart
from tests.chaos import report
from tests.support.commands import ROOT, clean_environment
from tests.support.ports import free_port

TOKEN = "bench-token"
START_SECONDS = 1800.0
LOOK_SECONDS = 0.02
PROMPTS = (
    "a lighthouse on a cliff in a storm",
    "an old man repairs a wooden boat",
    "a red fox trots through fresh snow",
    "steam rises from a cup of tea by a window",
    "a tram crosses a bridge at dusk",
    "wind moves a field of barley",
    "a potter shapes a bowl on the wheel",
    "rain runs down the glass of a greenhouse",
)


@dataclass(slots=True)
class Figures:
    """Seconds, in the order in which they were taken."""

    listening: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    first_answer: list[float] = field(default_factory=list)
    first_answer_alone: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    from_memory: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.models == "tiny":
        ensure_built(_cache(), "qwen")  # building is no part of a start
    machine = _machine()
    figures = Figures()
    for start in range(arguments.starts):
        _one_life(arguments, figures, start)
    sections = _sections(figures, arguments)
    if arguments.report:
        result = {
            **report.provenance("scripts/bench/enhancement"),
            "models": arguments.models,
            "model": _LABELS[arguments.models],
            **machine,
            **sections,
        }
        report.write(result, arguments.report)
    if arguments.plot:
        medians = {name: section["median"] for name, section in sections.items() if "median" in section}
        title = f"Seconds until a prompt is rewritten: {arguments.models} models, medians, logarithmic"
        arguments.plot.write_text(bar_chart(title, medians), encoding="utf-8")
    report.print_sections(sections, Console(stderr=True))
    return 0


_LABELS = {
    "tiny": "tiny random model, which shows the worker's own share and not a real model's time",
    "real": "the model that models.toml names",
    "testcard": "no model",
}


def _one_life(arguments: argparse.Namespace, figures: Figures, start: int) -> None:
    with _worker(arguments.models) as (process, url):
        begun = time.monotonic()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=START_SECONDS) as client:
            _wait_for(client, process, lambda _: True)
            figures.listening.append(time.monotonic() - begun)
            _wait_for(client, process, lambda state: state == "READY")
            figures.ready.append(time.monotonic() - begun)
            figures.first_answer_alone.append(_ask(client, f"{PROMPTS[0]}, take {start}", arguments.job_type)[0])
            figures.first_answer.append(time.monotonic() - begun)
            asked = [f"{PROMPTS[number % len(PROMPTS)]}, number {number}" for number in range(arguments.prompts)]
            for prompt in asked:
                seconds, metadata = _ask(client, prompt, arguments.job_type)
                figures.warm.append(seconds)
                figures.tokens.append(metadata["token_count"])
            for prompt in asked:
                seconds, metadata = _ask(client, prompt, arguments.job_type)
                if not metadata["cache_hit"]:
                    raise RuntimeError(f"the worker did not remember what it had rewritten: {metadata}")
                figures.from_memory.append(seconds)


@contextmanager
def _worker(models: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environment = clean_environment(
        {
            **{
                name: value
                for name, value in os.environ.items()
                if name in ("OURVIDZ_MODELS_DIR", "OURVIDZ_CONFIG_DIR")
            },
            "OURVIDZ_MODELS": models,
            "OURVIDZ_CACHE": str(_cache()),
            "OURVIDZ_QWEN_PORT": str(port),
            "OURVIDZ_QWEN_TOKEN": TOKEN,
        }
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ourvidz_worker", "qwen"], env=environment, cwd=ROOT, stderr=log, stdout=log
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode("utf-8", "replace"))
            raise
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes], wanted: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the language worker ended with {process.returncode}")
        try:
            if wanted(client.get("/health").json()["state"]):
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"the language worker was not there within {START_SECONDS:g} s")


def _ask(client: httpx.Client, prompt: str, job_type: str) -> tuple[float, dict[str, Any]]:
    begun = time.monotonic()
    answer = client.post("/enhance", json={"prompt": prompt, "job_type": job_type})
    seconds = time.monotonic() - begun
    metadata: dict[str, Any] = answer.raise_for_status().json()["enhancement_metadata"]
    if metadata["fallback_level"] != 0:
        raise RuntimeError(f"the prompt was not rewritten: {metadata['problem']}")
    return seconds, metadata


def _sections(figures: Figures, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return {
        "cold, until it listens": _summary(figures.listening),
        "cold, until the model is loaded": _summary(figures.ready),
        "cold, until the first answer": _summary(figures.first_answer),
        "the first answer alone": _summary(figures.first_answer_alone),
        "warm answer": _summary(figures.warm),
        "answer from memory": _summary(figures.from_memory),
        "counts": {
            "starts": arguments.starts,
            "prompts per start": arguments.prompts,
            "tokens per prompt (estimated)": round(statistics.mean(figures.tokens), 1),
            "cold / warm": round(statistics.median(figures.first_answer) / statistics.median(figures.warm), 1),
        },
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    found = {
        "median": statistics.median(ordered),
        "95th percentile": ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))],
        "least": ordered[0],
        "most": ordered[-1],
    }
    return {name: round(value, 4) for name, value in found.items()}


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "processors": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load before the run": round(os.getloadavg()[0], 2),
        "card": torch.cuda.get_device_name() if cuda else None,
        "libraries": {name: version(name) for name in ("torch", "transformers")},
    }


def _cache() -> Path:
    return Path(os.environ.get("OURVIDZ_CACHE") or Path(tempfile.gettempdir()) / "ourvidz-bench-models")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench/enhancement", description=__doc__)
    parser.add_argument("--models", choices=tuple(_LABELS), default="tiny", help="which models (default: %(default)s)")
    parser.add_argument("--job-type", default="video7b_fast_enhanced", help="whose template (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="processes to start (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=20, help="warm prompts for each start (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians as SVG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
