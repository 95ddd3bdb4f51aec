"""The area a model draws on: the job's size, rounded up to what the model's latent grid can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@dataclass(frozen=True, slots=True)
class Canvas:
    """`width` and `height` in pixels are multiples of the grid; `crop` gives back the size that was asked for.

    The product's models take every size that the catalogue allows as it is; coarser models draw a margin.
    """

    width: int
    height: int
    job_width: int
    job_height: int

    @classmethod
    def covering(cls, width: int, height: int, grid: int) -> Canvas:
        return cls(-(-width // grid) * grid, -(-height // grid) * grid, width, height)

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """To the left, to the right, above and below."""
        left, top = (self.width - self.job_width) // 2, (self.height - self.job_height) // 2
        return left, self.width - self.job_width - left, top, self.height - self.job_height - top

    def crop(self, frames: Pixels) -> Pixels:
        """Cut the margin off evenly; `frames` has the shape (n, height, width, 3)."""
        left, _, top, _ = self.margins
        return frames[:, top : top + self.job_height, left : left + self.job_width]
