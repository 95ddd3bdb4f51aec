"""The deep half of a UNet, computed in every n-th step and reused in the others.

What changes from step to step is drawn by the blocks of full resolution; the others, with nearly all of the attention,
see much the same each time (DeepCache, arXiv 2312.00858). So the first block down and the last block up are computed
in every step, and what lies between them in every n-th.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffusers import UNet2DConditionModel


@contextmanager
def deep_cache(unet: UNet2DConditionModel, every: int | None) -> Iterator[None]:
    """Within, the deep blocks of `unet` are computed in every n-th of its steps; afterwards nothing is left of it.

    They are computed anew when the batch changes, too. None computes all in every step.
    """
    if every is None:
        yield
        return
    steps = _Steps(every)
    with ExitStack() as undo:
        undo.callback(unet.register_forward_pre_hook(steps.begin, with_kwargs=True).remove)
        for block in (*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]):
            block.forward = steps.reusing(block.forward)
            undo.callback(delattr, block, "forward")  # the method of the class shows again
        yield


class _Steps:
    def __init__(self, every: int) -> None:
        self._every = every
        self._done = 0
        self._shape: Any = None
        self._fresh = True

    def begin(self, _unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        if sample.shape != self._shape:
            self._shape, self._done = sample.shape, 0
        self._fresh = self._done % self._every == 0
        self._done += 1

    def reusing(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        kept: Any = None

        def reused(*args: Any, **kwargs: Any) -> Any:
            nonlocal kept
            if self._fresh:
                kept = None  # two of them at once would take room
                kept = forward(*args, **kwargs)
            return kept

        return reused
