"""When memory runs out the batch is halved, and no picture changes for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ourvidz_worker.engines.batches import AfterStep, draw_in_batches
from ourvidz_worker.errors import Drained, OutOfMemory

STEPS = 2


def drawing(fits: int, tried: list[int]) -> Callable[[Sequence[int], AfterStep], Any]:
    """Draws the seed as a grey value; more than `fits` images at once run out of memory at the second step."""

    def draw(seeds: Sequence[int], after_step: AfterStep) -> Any:
        tried.append(len(seeds))
        after_step(1)
        if len(seeds) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        after_step(2)
        return np.stack([np.full((2, 2, 3), seed, dtype=np.uint8) for seed in seeds])

    return draw


@pytest.mark.parametrize(
    ("fits", "batches", "splits"),
    [(6, [6], 0), (3, [6, 3, 3], 1), (2, [6, 3, 2, 2, 2], 2), (1, [6, 3, 2, 1, 1, 1, 1, 1, 1], 3)],
)
def test_the_batch_is_halved_until_it_fits_and_stays_there(fits: int, batches: list[int], splits: int) -> None:
    tried: list[int] = []
    frames, split = draw_in_batches(
        drawing(fits, tried), range(10, 16), steps=STEPS, on_step=lambda done, total: None, largest=6
    )
    assert tried == batches
    assert split == splits
    assert frames[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14, 15]


def test_progress_counts_the_steps_of_all_batches_still_planned() -> None:
    seen: list[tuple[int, int]] = []
    draw_in_batches(
        drawing(2, []), range(3), steps=STEPS, on_step=lambda done, total: seen.append((done, total)), largest=3
    )
    assert seen == [(1, 2), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_one_image_that_does_not_fit_fails_the_job() -> None:
    tried: list[int] = []
    with pytest.raises(OutOfMemory):
        draw_in_batches(drawing(0, tried), range(3), steps=STEPS, on_step=lambda done, total: None, largest=3)
    assert tried == [3, 2, 1]


def test_an_interruption_is_not_mistaken_for_a_lack_of_memory() -> None:
    def stop(done: int, total: int) -> None:
        raise Drained

    tried: list[int] = []
    with pytest.raises(Drained):
        draw_in_batches(drawing(3, tried), range(3), steps=STEPS, on_step=stop, largest=3)
    assert tried == [3]


def test_memory_is_freed_only_after_the_failed_batch_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback keeps the tensors of its frames alive; freeing the cache while it exists frees nothing."""
    import gc
    import weakref

    alive: list[weakref.ref[np.ndarray[Any, Any]]] = []
    freed: list[bool] = []

    def draw(seeds: Sequence[int], after_step: AfterStep) -> Any:
        tensors = np.zeros((len(seeds), 2, 2, 3), dtype=np.uint8)
        alive.append(weakref.ref(tensors))
        if len(seeds) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tensors

    def free() -> None:
        gc.collect()
        freed.append(alive[-1]() is None)

    monkeypatch.setattr("ourvidz_worker.engines.batches.free_cache", free)
    draw_in_batches(draw, [1, 2], steps=STEPS, on_step=lambda done, total: None, largest=2)
    assert freed == [True]
