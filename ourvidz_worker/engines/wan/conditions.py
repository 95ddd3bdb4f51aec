"""What VACE is shown: frames to keep, frames to invent, and reference pictures.

Where two references of a job differ in strength, each keeps its own: VACE's hints are added token by token, so
every latent frame has a conditioning scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ourvidz_worker.contract.job import FRAME_ROLES
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import Fit, centred, fit, scaled
from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import ReferenceImage

INVENT = 127 / 255  # the grey that VACE was trained to see where there is nothing yet
KEPT, GENERATED = 0.0, 1.0  # in a mask
WHITE = (255, 255, 255)  # what VACE was trained to see around a reference picture


def fitted(image: ReferenceImage, canvas: Canvas, mode: Fit) -> torch.Tensor:
    """A reference on the canvas, shape (3, height, width), from 0 to 1; the margin goes on as the picture's edges."""
    picture = torch.from_numpy(np.array(fit(image.pixels, canvas.job_width, canvas.job_height, mode)))
    return functional.pad(picture.permute(2, 0, 1) / 255, canvas.margins, mode="replicate")


class Conditions:
    """The references of one job for a clip of `num_frames` frames on a canvas; at least one, one per role.

    Where more frames are `drawn`, the clip is over before they are, and what it ends with stays to the last of them.
    Raises `BadJob` for a start and an end of the same frame.
    """

    def __init__(
        self,
        references: Sequence[ReferenceImage],
        canvas: Canvas,
        num_frames: int,
        mode: Fit,
        *,
        drawn: int | None = None,
    ) -> None:
        frames = {image.reference.role: image for image in references if image.reference.role in FRAME_ROLES}
        self._start, self._end = frames.get("start"), frames.get("end")
        if self._start and self._end and num_frames == 1:
            raise BadJob(
                "a clip of one frame cannot have a start and an end; send one of them, or ask for 5 frames or more",
                field=self._end.reference.field,
            )
        self._pictures = [image for image in references if image.reference.role not in FRAME_ROLES]
        self._canvas = canvas
        self._num_frames = num_frames
        self._drawn = drawn or num_frames
        self._mode = mode

    @property
    def leading_frames(self) -> int:
        """How many latent frames of the output show reference pictures and stand before the clip."""
        return len(self._pictures)

    def call(self, device: torch.device) -> dict[str, Any]:
        """What the pipeline takes, but for the scale.

        Reference pictures are as large as the canvas, because the pipeline rounds the sides of others. Frames go in
        as one tensor, where a list of pictures would be copied around for seconds.
        """
        width, height = self._canvas.width, self._canvas.height
        frames: dict[str, Any] = {}
        if self._start or self._end:
            video = torch.full((1, self._drawn, 3, height, width), INVENT, device=device)
            mask = torch.full((1, self._drawn, 1, height, width), GENERATED, device=device)
            for kept, frame in ((slice(1), self._start), (slice(self._num_frames - 1, None), self._end)):
                if frame is not None:
                    video[0, kept] = fitted(frame, self._canvas, self._mode)
                    mask[0, kept] = KEPT
            frames = {"video": video, "mask": mask}
        pictures = [
            centred(scaled(image.pixels, width, height, self._mode), width, height, WHITE) for image in self._pictures
        ]
        return frames | {"reference_images": pictures or None, "num_frames": self._drawn}

    def scale(self, latent_frames: int, tokens_per_frame: int, layers: int) -> torch.Tensor:
        """A conditioning scale for each token of each VACE layer, shape (layers, tokens, 1).

        A reference picture's tokens take its own strength, and the clip's go evenly from the strength at its start
        to the strength at its end. Where there is no frame to keep, the strongest reference picture counts, and
        without one the other frame.
        """
        strongest = max((image.reference.strength for image in self._pictures), default=None)
        first, last = (None if frame is None else frame.reference.strength for frame in (self._start, self._end))
        ramp = torch.linspace(_known(first, strongest, last), _known(last, strongest, first), latent_frames)
        # The pipeline puts each reference picture before those it already has.
        pictures = [image.reference.strength for image in reversed(self._pictures)]
        return (
            torch.cat([torch.tensor(pictures), ramp])
            .repeat_interleave(tokens_per_frame)
            .view(1, -1, 1)
            .expand(layers, -1, -1)
        )


def _known(*strengths: float | None) -> float:
    return next(strength for strength in strengths if strength is not None)
