"""Contenders measured side by side: all of them in every round, each round with a prompt and a seed of its own."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ourvidz_worker.errors import OutOfMemory
from ourvidz_worker.ports import GenerationRequest
from tests.bench.contenders import Contender, gigabytes
from tests.bench.stage_clock import Stage

MakeRequest = Callable[[int], GenerationRequest]
SETTLED = 0.9  # a run that takes more of the fastest one's time than this is not getting faster any more
OUT_OF_MEMORY = "out of memory"


class Budget:
    """Seconds of wall time that may still be spent."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        return self._end - self._clock()

    def part(self, share: float) -> Budget:
        """A share of what is left; what is not used of it stays with the whole."""
        return Budget(self.left * share, self._clock)


class TooLate(Exception):
    """What would be measured does not fit into the time that is left; the message says how much is missing."""


def require_time(budget: Budget, needed: float) -> None:
    if needed > budget.left:
        raise TooLate(f"needs about {needed:.0f} s, and {max(budget.left, 0):.0f} s were left for it")


@dataclass(frozen=True, slots=True)
class Expected:
    """The seconds that a contender's run, and what warms it up, may take."""

    run: float
    warm_up: float


@dataclass(frozen=True, slots=True)
class Run:
    """One generation: seconds in all and by stage, the memory at its peak, and what the contender says of it."""

    seconds: float
    stages: Mapping[str, float]
    calls: Mapping[Stage, int]
    peak_gb: float | None
    details: Mapping[str, Any]


def one_run(contender: Contender, request: GenerationRequest, device: torch.device) -> Run:
    contender.before()
    others = 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        others = torch.cuda.memory_allocated(device) - contender.held_bytes
    with contender.clock.measured() as seconds:
        drawn = contender.draw(request)
    peak = gigabytes(torch.cuda.max_memory_allocated(device) - others) if device.type == "cuda" else None
    stages = {**seconds}
    wall = stages.pop("wall")
    if "reload_seconds" in drawn.details:
        stages["reload"] = drawn.details["reload_seconds"]
    stages["rest"] = wall - sum(stages.values())
    return Run(wall, stages, dict(contender.clock.calls), peak, drawn.details)


def compare(
    contenders: Sequence[Contender],
    make_request: MakeRequest,
    *,
    device: torch.device,
    budget: Budget,
    rounds: int,
    most_warm_ups: int,
    expected: Expected,
    make_warm_up: MakeRequest | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures of each contender by its name; whoever runs out of memory says so and leaves the others to go on.

    Raises `TooLate`.
    """
    require_time(budget, (expected.run + expected.warm_up) * len(contenders))
    figures: dict[str, dict[str, Any]] = {}
    racing = list(contenders)
    for contender in contenders:
        try:
            figures[contender.name] = _warmed_up(contender, make_warm_up or make_request, device, most_warm_ups)
        except (torch.OutOfMemoryError, OutOfMemory):
            figures[contender.name] = {"failed": OUT_OF_MEMORY}
            racing.remove(contender)
            free_card()
    runs: dict[str, list[Run]] = {contender.name: [] for contender in racing}
    for number in range(rounds):
        before = budget.left
        for contender in _in_turn(racing, number):
            try:
                runs[contender.name].append(one_run(contender, make_request(number + 1), device))
            except (torch.OutOfMemoryError, OutOfMemory):
                figures[contender.name] = {"failed": OUT_OF_MEMORY}
                racing.remove(contender)
                free_card()
        if before - budget.left > budget.left:
            break
    for contender in racing:
        figures[contender.name] |= _summary(runs[contender.name], make_request(1), contender)
    return figures


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": rounded(statistics.median(values)),
        "least": rounded(min(values)),
        "most": rounded(max(values)),
        "runs": len(values),
    }


def rounded(value: float) -> float:
    """Four digits that say something."""
    return float(f"{value:.4g}")


def faster(figures: Mapping[str, Mapping[str, Any]], slow: str, fast: str) -> float | None:
    """How many times as fast as `slow` the other one is; None where one of them was not measured."""
    medians = [figures.get(name, {}).get("seconds", {}).get("median") for name in (slow, fast)]
    return None if None in medians else rounded(medians[0] / medians[1])


def _in_turn(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Nobody is always the first, who may find the card cooler."""
    first = number % max(len(contenders), 1)
    return [*contenders[first:], *contenders[:first]]


def _warmed_up(contender: Contender, make_request: MakeRequest, device: torch.device, most: int) -> dict[str, Any]:
    """The choice of kernels and allocation are over when a run is no faster than the one before.

    An engine's first run finds nothing compiled, and what it leaves to be compiled is waited for and told apart.
    """
    seconds: list[float] = []
    compiling = 0.0
    while len(seconds) < most:
        seconds.append(rounded(one_run(contender, make_request(0), device).seconds))
        begun = time.monotonic()
        contender.settle()
        compiling += time.monotonic() - begun
        *before, last = seconds
        if (before or contender.engine is None) and last > SETTLED * min(before, default=0.0):
            break
    return {"warm_up_seconds": seconds, "compile_seconds": rounded(compiling)}


def _summary(runs: Sequence[Run], request: GenerationRequest, contender: Contender) -> dict[str, Any]:
    stages = {name: rounded(statistics.median(run.stages[name] for run in runs)) for name in runs[0].stages}
    peaks = [run.peak_gb for run in runs if run.peak_gb is not None]
    return {
        "seconds": spread([run.seconds for run in runs]),
        "stages": stages,
        "seconds_per_image": rounded(statistics.median(run.seconds for run in runs) / request.job.num_images),
        "step_seconds": rounded(stages["denoise"] / request.job.num_inference_steps),
        "denoiser_calls": runs[-1].calls["denoise"],
        "peak_gb": max(peaks, default=None),
        "weights_gb": gigabytes(contender.held_bytes),
        "details": {
            name: value for name, value in runs[-1].details.items() if isinstance(value, str | int | float | list)
        },
    }


def free_card() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
