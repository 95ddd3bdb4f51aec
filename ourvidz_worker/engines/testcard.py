"""The test card: an openly named engine that draws what it was asked for, without any model.

For working on a front end or on delivery: the right size, count and duration, in seconds, on any machine.
"""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.fitting import fit
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

BARS = ((192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0), (0, 0, 192))
INK = (245, 245, 245)
NOT_YET = 24
GLIMPSE_SIDE = 96


class TestCardEngine:
    """Draws colour bars with the job's own words on them; the background colour tells seeds apart."""

    __test__ = False  # pytest takes a name that begins with Test for a test class

    model_name = "testcard"

    def load(self) -> None:
        """Nothing to load."""

    def __init__(self) -> None:
        self._share = 0.0

    def memory(self) -> GpuMemory | None:
        return None

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """The card as far as it has appeared: it does so from top to bottom, with the steps."""
        card = _card(request, request.seed, "…")
        card.thumbnail((GLIMPSE_SIDE, GLIMPSE_SIDE))
        shown = np.full_like(np.asarray(card), NOT_YET)
        rows = round(card.height * self._share)
        shown[:rows] = np.asarray(card)[:rows]
        return shown

    def prepare(self, request: GenerationRequest) -> None:
        """There is no model that would read the prompt."""

    def shape(self, request: GenerationRequest) -> Hashable | None:
        """As of a model that draws stills of one size in the same steps in one batch."""
        job = request.job
        if job.is_video:
            return None
        return job.type.name, job.num_inference_steps, job.guidance_scale, job.width, job.height

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        (outcome,) = self.generate_together([Order(request, on_step)])
        if isinstance(outcome, BaseException):
            raise outcome
        if request.job.is_video:
            on_frames(0, outcome.frames)
        return outcome

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        stopped: dict[int, BaseException] = {}
        steps = orders[0].request.job.num_inference_steps
        for step in range(steps):
            self._share = (step + 1) / steps
            for index, order in enumerate(orders):
                if index not in stopped:
                    try:
                        order.on_step(step + 1, steps)
                    except BaseException as reason:  # noqa: BLE001 - stops this order alone
                        stopped[index] = reason
        return [stopped.get(index) or self._card(order.request) for index, order in enumerate(orders)]

    def _card(self, request: GenerationRequest) -> Generation:
        frames = _clip(request) if request.job.is_video else _stills(request)
        return Generation(frames, {"engine": self.model_name})


def _stills(request: GenerationRequest) -> Pixels:
    seeds = request.job.seeds(request.seed)
    cards = [_card(request, seed, f"image {index + 1} of {len(seeds)}") for index, seed in enumerate(seeds)]
    return np.stack([np.asarray(card) for card in cards])


def _clip(request: GenerationRequest) -> Pixels:
    """The card is drawn once; each frame adds its number and a marker that crosses the picture."""
    job = request.job
    background = _card(request, request.seed, f"{job.num_frames} frames")
    font = _font(job.width // 16)
    frames: Pixels = np.empty((job.num_frames, job.height, job.width, 3), dtype=np.uint8)
    for index in range(job.num_frames):
        frame = background.copy()
        pen = ImageDraw.Draw(frame)
        size = job.width // 12
        left = (job.width - size) * index // max(job.num_frames - 1, 1)
        top = job.height - 2 * size
        pen.ellipse((left, top, left + size, top + size), fill=INK)
        pen.text((job.width // 2, top - size), f"frame {index + 1}", font=font, fill=INK, anchor="mm")
        frames[index] = np.asarray(frame)
    return frames


def _card(request: GenerationRequest, seed: int, count: str) -> Image.Image:
    job = request.job
    card = Image.new("RGB", (job.width, job.height), _background(seed))
    pen = ImageDraw.Draw(card)
    bar_height = job.height // 5
    for index, colour in enumerate(BARS):
        left, right = (job.width * edge // len(BARS) for edge in (index, index + 1))
        pen.rectangle((left, 0, right, bar_height), fill=colour)
    for index, reference in enumerate(request.references):
        thumbnail = fit(reference.pixels, job.width // 5, bar_height // 2, "crop")
        card.paste(thumbnail, (job.width // 40 + index * (job.width // 4), bar_height // 4))
    font = _font(job.width // 24)
    columns = 40
    pen.multiline_text(
        (job.width // 20, bar_height + job.height // 20),
        "\n".join(_caption(job, request.prompt, seed, count, columns)),
        font=font,
        fill=INK,
    )
    return card


def _caption(job: Job, prompt: str, seed: int, count: str, columns: int) -> list[str]:
    return [
        "TEST CARD",
        job.type.name,
        f"seed {seed}",
        f"{job.width} x {job.height}, {count}",
        f"{job.num_inference_steps} steps, guidance {job.guidance_scale:g}",
        *textwrap.wrap(prompt, columns, max_lines=6, placeholder=" …"),
    ]


def _background(seed: int) -> tuple[int, int, int]:
    """A dark colour whose hue depends on the seed; the golden ratio keeps neighbouring seeds apart."""
    red, green, blue = colorsys.hsv_to_rgb(seed * 0.618033988749895 % 1.0, 0.6, 0.35)
    return int(red * 255), int(green * 255), int(blue * 255)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(size, 8))
