"""WAN's latents into pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ourvidz_worker.engines.wan.vae import DecodingVae
from ourvidz_worker.errors import OutputInvalid
from ourvidz_worker.ports import OnFrames, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@torch.no_grad()
def decode(vae: DecodingVae, latents: torch.Tensor, num_frames: int, on_frames: OnFrames = unheard) -> Pixels:
    """One clip as RGB, shape (num_frames, height, width, 3); `on_frames` is given frames while others are decoded.

    `latents` has the shape (1, channels, latent frames, height / factor, width / factor); what they hold behind
    `num_frames` is left out. Raises `OutputInvalid` when the clip holds values that are not numbers.
    """
    screen = _Screen(num_frames, on_frames)
    for frames in vae.decoded(latents):
        screen.show(frames[:, : screen.room])
    return screen.whole()


@dataclass(frozen=True, slots=True)
class _Arriving:
    """Frames on their way from the device: from `start` to `stop`, whether each is `finite`, and when all is there."""

    start: int
    stop: int
    finite: torch.Tensor
    there: torch.cuda.Event | None


class _Screen:
    """The clip in the host's memory. Frames are waited for only when the next ones are under way."""

    def __init__(self, count: int, on_frames: OnFrames) -> None:
        self._count = count
        self._on_frames = on_frames
        self._frames: torch.Tensor | None = None
        self._shown = 0
        self._arriving: _Arriving | None = None

    @property
    def room(self) -> int:
        """How many frames are still to be shown."""
        return self._count - self._shown

    def show(self, frames: torch.Tensor) -> None:
        """Frames on the device, shape (3, n, height, width), from -1 to 1."""
        on_card = frames.device.type == "cuda"
        if self._frames is None:
            channels, _, height, width = frames.shape
            # Only into pinned memory does a card copy by itself.
            self._frames = torch.empty((self._count, height, width, channels), dtype=torch.uint8, pin_memory=on_card)
        start, stop = self._shown, self._shown + frames.shape[1]
        pixels = frames.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0)
        finite = torch.empty(stop - start, dtype=torch.bool, pin_memory=on_card)
        self._frames[start:stop].copy_(pixels.contiguous(), non_blocking=True)
        finite.copy_(torch.isfinite(frames).all(dim=3).all(dim=2).all(dim=0), non_blocking=True)
        there = torch.cuda.Event() if on_card else None  # type: ignore[no-untyped-call]
        if there is not None:
            there.record()
        self._shown = stop
        before, self._arriving = self._arriving, _Arriving(start, stop, finite, there)
        self._hand_over(before)

    def whole(self) -> Pixels:
        self._hand_over(self._arriving)
        assert self._frames is not None
        assert self._shown == self._count
        frames: Pixels = self._frames.numpy()
        return frames

    def _hand_over(self, arriving: _Arriving | None) -> None:
        if arriving is None:
            return
        if arriving.there is not None:
            arriving.there.synchronize()
        assert self._frames is not None
        for index, finite in enumerate(arriving.finite.tolist(), arriving.start + 1):
            if not finite:
                raise OutputInvalid(f"frame {index} of {self._count} holds values that are not numbers")
        self._on_frames(arriving.start, self._frames[arriving.start : arriving.stop].numpy())
