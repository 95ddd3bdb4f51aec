"""An engine around a card that only passes the time: a job computes for so many seconds, whatever the processor does.

What it returns is as hard to compress as what the models draw, so that files have real sizes. Nothing is drawn from
the prompt, and no worker can select it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ourvidz_worker.ports import Pixels

    Levels = NDArray[np.float32]

DECODING = 0.05  # of a clip's time on the card; models.md has 1.5 s of 30
DECODED_AT_ONCE = 4  # frames behind one of WAN's latent frames
GRAIN = 1.5  # grey values; makes about 1.5 MB of a PNG of 1024 x 1024
DANCING_GRAIN = 3.3  # makes about 1.4 MB of 81 frames of 480 x 832


class SimulatedCard:
    """Appends to `log` when each job computed, as `{"job", "began", "ended"}` in seconds of the monotonic clock.

    Steps come to their end on time even when whoever hears of them is slow, as kernels do that were sent ahead.
    """

    model_name = "simulated"

    def __init__(self, seconds: float, log: Path) -> None:
        self._seconds = seconds
        self._log = log

    def load(self) -> None:
        """There are no weights."""

    def prepare(self, request: GenerationRequest) -> None:
        """There is no text encoder."""

    def shape(self, request: GenerationRequest) -> Hashable | None:
        return None

    def memory(self) -> GpuMemory | None:
        return None

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        job = request.job
        frames = _clip(job.num_frames, job.width, job.height) if job.is_video else _stills(*_size(request))
        began = time.monotonic()
        denoising = self._seconds * (1 - DECODING if job.is_video else 1)
        for step in range(1, job.num_inference_steps + 1):
            _wait_until(began + denoising * step / job.num_inference_steps)
            on_step(step, job.num_inference_steps)
        if job.is_video:
            for index in range(0, len(frames), DECODED_AT_ONCE):
                decoded = frames[index : index + DECODED_AT_ONCE]
                share = (index + len(decoded)) / len(frames)
                _wait_until(began + denoising + (self._seconds - denoising) * share)
                on_frames(index, decoded)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"job": job.id, "began": began, "ended": began + self._seconds}) + "\n")
        return Generation(frames, {"engine": self.model_name})

    def glimpse(self, request: GenerationRequest) -> None:
        """There is nothing to see."""

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        """Never asked for, since no two requests share a shape."""
        return [self.generate(order.request, order.on_step) for order in orders]


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _size(request: GenerationRequest) -> tuple[int, int, int]:
    return request.job.num_images, request.job.width, request.job.height


@lru_cache(maxsize=2)
def _stills(count: int, width: int, height: int) -> Pixels:
    return np.stack(
        [_grained(_scene(seed, width, height), _grain(seed, width, height, GRAIN)) for seed in range(count)]
    )


@lru_cache(maxsize=1)
def _clip(count: int, width: int, height: int) -> Pixels:
    """A camera that pans over a scene, two pixels for each frame; the grain dances."""
    scene, grain = _scene(0, width + 2 * count, height), _grain(0, width, height, DANCING_GRAIN)
    dice = np.random.default_rng(0)
    frames = (
        _grained(scene[:, 2 * index : 2 * index + width], np.roll(grain, dice.integers(0, (height, width)), (0, 1)))
        for index in range(count)
    )
    return np.stack(list(frames))


def _scene(seed: int, width: int, height: int) -> Levels:
    """Colours that change over the whole picture and within a few pixels."""
    dice = np.random.default_rng(seed)
    levels = np.full((height, width, 3), 128, np.float32)
    for cells, contrast in ((4, 60), (16, 40), (64, 15)):
        coarse = Image.fromarray(dice.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
        levels += (np.asarray(smooth, np.float32) / 127.5 - 1) * contrast
    return levels


def _grain(seed: int, width: int, height: int, strength: float) -> Levels:
    return np.random.default_rng(seed).normal(0, strength, (height, width, 3)).astype(np.float32)


def _grained(scene: Levels, grain: Levels) -> Pixels:
    pixels: Pixels = (scene + grain).clip(0, 255).astype(np.uint8)
    return pixels
