"""How much memory a stage takes beside its weights: estimated from published figures until it has been measured.

The figures are those of `shared/models.md` ("Workspace"), each for the size that it names, and grow with the pixels.
What a stage really took replaces the estimate for stages of just this size.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

GB = 10**9
_SQUARE = 1024 * 1024  # pixels of an SDXL picture
_CLIP = 480 * 832  # pixels of a WAN frame
_CLIP_FRAMES = 81
_MARGIN = 1.05  # the allocator's blocks are a little larger than what is asked of it


@dataclass(frozen=True, slots=True)
class Workspace:
    """`size` is anything that makes two workspaces of this name equally large."""

    name: str
    size: tuple[int, ...] = ()
    estimated_bytes: int = 0


NONE = Workspace("none")


def weights(what: str, needed_bytes: int) -> Workspace:
    """Of weights that are being loaded, until they are a component."""
    return Workspace(f"weights of {what}", (needed_bytes,), needed_bytes)


def text() -> Workspace:
    """Of 512 tokens at most; small beside everything else."""
    return Workspace("text", (), GB // 4)


def image_encoder() -> Workspace:
    return Workspace("image encoder", (), GB // 4)


def sdxl_denoise(width: int, height: int, images: int) -> Workspace:
    """No figure is published: 1.2 GB a picture, with the second one that guidance makes, is assumed."""
    return Workspace("sdxl denoise", (width, height, images), _scaled(1.2 * GB, width * height * images, _SQUARE))


def sdxl_decode(width: int, height: int, *, bytes_per_value: int) -> Workspace:
    """One picture at a time: 4.6 GB in 16 bits, twice that in 32."""
    whole = 2.3 * GB * bytes_per_value
    return Workspace("sdxl decode", (width, height, bytes_per_value), _scaled(whole, width * height, _SQUARE))


def wan_denoise(width: int, height: int, frames: int) -> Workspace:
    return Workspace(
        "wan denoise", (width, height, frames), _scaled(6 * GB, width * height * frames, _CLIP * _CLIP_FRAMES)
    )


def wan_decode(width: int, height: int, *, bytes_per_value: int) -> Workspace:
    """Frame by frame, so the length of a clip does not matter: 5 GB in 16 bits, twice that in 32."""
    whole = 2.5 * GB * bytes_per_value
    return Workspace("wan decode", (width, height, bytes_per_value), _scaled(whole, width * height, _CLIP))


def answer(tokens: int) -> Workspace:
    """The language model's: its keys and values, 57 kB a token for Qwen 2.5 7B, and the scores of a vocabulary."""
    return Workspace("answer", (), GB // 2 + 57_344 * tokens)


class MeasuredWorkspaces:
    """The estimates, and what has been learnt since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measured: dict[tuple[str, tuple[int, ...]], int] = {}

    def bytes_of(self, workspace: Workspace) -> int:
        with self._lock:
            return self._measured.get((workspace.name, workspace.size), workspace.estimated_bytes)

    def is_measured(self, workspace: Workspace) -> bool:
        with self._lock:
            return (workspace.name, workspace.size) in self._measured

    def learn(self, workspace: Workspace, peak_bytes: int) -> None:
        """A stage with this workspace, and nothing beside it, took so much at its peak; the largest counts."""
        key, taken = (workspace.name, workspace.size), int(peak_bytes * _MARGIN)
        with self._lock:
            self._measured[key] = max(taken, self._measured.get(key, 0))


def _scaled(whole_bytes: float, amount: int, reference: int) -> int:
    return int(whole_bytes * amount / reference)
