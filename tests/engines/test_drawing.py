"""Down the ladder when memory runs out, and what is done about a picture that does not come out."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from ourvidz_worker.engines.drawing import AfterStep, Drawing, Part, draw, draw_together
from ourvidz_worker.engines.recovery import Recovery, Stage
from ourvidz_worker.engines.vae_modes import in_tiles
from ourvidz_worker.errors import Drained, OutOfMemory, OutputInvalid

STEPS = 2


class Vae:
    """Counts what is asked of it; holds its precision and tiling like a real one."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        self.dtype = dtype
        self.use_tiling = self.use_slicing = False
        self.room_for_float32 = True

    def to(self, *, dtype: torch.dtype) -> None:
        self.dtype = dtype
        if dtype == torch.float32 and not self.room_for_float32:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def enable_tiling(self) -> None:
        self.use_tiling = True

    def disable_tiling(self) -> None:
        self.use_tiling = False

    def enable_slicing(self) -> None:
        self.use_slicing = True

    def disable_slicing(self) -> None:
        self.use_slicing = False


class Studio:
    """Draws the seed as a grey value; fails where a test says so."""

    def __init__(self, *, fits: int = 6, decodes_only_tiled: bool = False, dtype: torch.dtype = torch.bfloat16) -> None:
        self.vae = Vae(dtype)
        self.fits = fits
        self.decodes_only_tiled = decodes_only_tiled
        self.tried: list[int] = []
        self.decoded: list[tuple[int, torch.dtype]] = []
        self.unusable: dict[int, list[bool]] = {}
        self.value_when_unusable = 0

    @property
    def drawing(self) -> Drawing[int]:
        return Drawing(self.denoise, self.decode, self.vae)

    def denoise(self, seeds: Sequence[int], after_step: AfterStep) -> torch.Tensor:
        self.tried.append(len(seeds))
        after_step(1)
        if len(seeds) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        after_step(2)
        return torch.tensor(list(seeds)).view(-1, 1)

    def decode(self, latents: torch.Tensor) -> Any:
        if self.decodes_only_tiled and not self.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seed = int(latents.item())
        self.decoded.append((seed, self.vae.dtype))
        if self.unusable.get(seed) and self.unusable[seed].pop(0):
            if self.value_when_unusable:
                raise OutputInvalid("the picture holds values that are not numbers")
            return np.zeros((1, 2, 2, 3), dtype=np.uint8)
        return np.full((1, 2, 2, 3), seed, dtype=np.uint8)


def ignore(done: int, total: int) -> None: ...


def drawn(
    studio: Studio, seeds: Sequence[int], *, evicts: Sequence[str] = (), largest: int = 6
) -> tuple[list[int], list[str]]:
    idle = list(evicts)

    def evict() -> list[str]:
        dropped, idle[:] = list(idle), []
        return dropped

    with Recovery(evict) as recovery:
        frames = draw(studio.drawing, seeds, steps=STEPS, on_step=ignore, largest=largest, recovery=recovery)
    assert not studio.vae.use_tiling
    return frames[:, 0, 0, 0].tolist(), recovery.steps


def test_a_job_that_fits_takes_no_step() -> None:
    assert drawn(Studio(), [10, 11, 12]) == ([10, 11, 12], [])


@pytest.mark.parametrize(
    ("fits", "batches", "splits"),
    [(3, [6, 6, 3, 3], 1), (2, [6, 6, 3, 2, 2, 2], 2), (1, [6, 6, 3, 2, 1, 1, 1, 1, 1, 1], 3)],
)
def test_the_batch_is_halved_until_it_fits_and_stays_there(fits: int, batches: list[int], splits: int) -> None:
    studio = Studio(fits=fits)
    values, steps = drawn(studio, range(10, 16))
    assert values == [10, 11, 12, 13, 14, 15]
    assert studio.tried == batches
    assert steps == ["denoise:free_caches", *["denoise:split_batch"] * splits]


def test_what_is_idle_is_evicted_before_the_batch_is_split() -> None:
    studio = Studio(fits=3)
    _, steps = drawn(studio, range(10, 16), evicts=["controlnet", "vace"])
    assert steps == ["denoise:free_caches", "denoise:evict controlnet+vace", "denoise:split_batch"]


def test_a_picture_that_cannot_be_decoded_is_tiled_and_not_generated_again() -> None:
    studio = Studio(decodes_only_tiled=True)
    values, steps = drawn(studio, [10, 11], evicts=["qwen"])
    assert values == [10, 11]
    assert studio.tried == [2]
    assert steps == ["decode:free_caches", "decode:evict qwen", "decode:vae_tiling"]


def test_one_picture_that_does_not_fit_fails_the_job_with_the_steps_taken() -> None:
    studio = Studio(fits=0)
    with pytest.raises(OutOfMemory, match="stage denoise, after denoise:free_caches"):
        drawn(studio, range(3), largest=3)
    assert studio.tried == [3, 3, 2, 1]
    assert OutOfMemory("").retryable


@pytest.mark.parametrize("stage", ["text", "reference"])
def test_other_stages_go_down_the_same_ladder(stage: Stage) -> None:
    vae = Vae()
    failures = [torch.OutOfMemoryError("first"), torch.OutOfMemoryError("second"), torch.OutOfMemoryError("third")]

    def work() -> str:
        if failures:
            raise failures.pop()
        return "embeddings"

    with Recovery(lambda: ["vace"] if len(failures) == 1 else []) as recovery:
        assert recovery.attempt(stage, work, vae=vae) == "embeddings"
        while_drawn = (vae.use_tiling, vae.use_slicing)
    assert while_drawn == (True, True)
    assert (vae.use_tiling, vae.use_slicing) == (False, False)
    assert recovery.details == {
        "recovery_steps": [f"{stage}:free_caches", f"{stage}:evict vace", f"{stage}:vae_tiling"]
    }


def test_caches_are_freed_again_for_a_later_picture() -> None:
    """Stills that are drawn one by one can each meet a card that others have filled meanwhile."""
    failures = [torch.OutOfMemoryError("again"), None, torch.OutOfMemoryError("first")]

    def work() -> str:
        if failures and (failure := failures.pop()):
            raise failure
        return "latents"

    with Recovery(list) as recovery:
        for _ in range(2):
            assert recovery.attempt("denoise", work) == "latents"
    assert recovery.steps == ["denoise:free_caches"] * 2


@pytest.mark.parametrize("encodes", [True, False])
def test_the_vae_is_tiled_where_it_is_used_before_the_first_step(*, encodes: bool) -> None:
    studio = Studio()

    def denoise(seeds: Sequence[int], after_step: AfterStep) -> torch.Tensor:
        if not studio.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return studio.denoise(seeds, after_step)

    with Recovery(list) as recovery:
        drawing = replace(studio.drawing, denoise=denoise, encodes=encodes)
        if encodes:
            draw(drawing, [10], steps=STEPS, on_step=ignore, largest=1, recovery=recovery)
            assert recovery.steps == ["denoise:free_caches", "denoise:vae_tiling"]
        else:
            with pytest.raises(OutOfMemory, match="after denoise:free_caches\\)"):
                draw(drawing, [10], steps=STEPS, on_step=ignore, largest=1, recovery=recovery)


def test_a_vae_that_did_not_fit_in_float32_is_held_as_before() -> None:
    studio = Studio()
    studio.unusable = {10: [True]}
    studio.vae.room_for_float32 = False
    with Recovery(list) as recovery, pytest.raises(torch.OutOfMemoryError):
        draw(studio.drawing, [10], steps=STEPS, on_step=ignore, largest=1, recovery=recovery)
    assert studio.vae.dtype == torch.bfloat16


def test_tiles_are_smaller_than_sdxl_s_pictures() -> None:
    """Diffusers' tile is as large as the pictures that a checkpoint was trained on, which saves nothing."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(2, 2),
        norm_num_groups=1,
        layers_per_block=1,
        mid_block_add_attention=False,
        sample_size=1024,
    )
    largest = [0]
    vae.decoder.register_forward_pre_hook(lambda _, inputs: largest.append(max(largest[-1], *inputs[0].shape[2:])))
    own = (vae.tile_sample_min_size, vae.tile_latent_min_size)
    latents = torch.zeros(1, 4, 512, 512)
    with in_tiles(vae), torch.no_grad():
        assert vae.decode(latents, return_dict=False)[0].shape == (1, 3, 1024, 1024)
    assert largest[-1] == 256
    assert (vae.use_tiling, vae.use_slicing, vae.tile_sample_min_size, vae.tile_latent_min_size) == (False, False, *own)


def test_progress_counts_the_steps_of_all_batches_still_planned() -> None:
    seen: list[tuple[int, int]] = []
    with Recovery(list) as recovery:
        draw(
            Studio(fits=2).drawing,
            range(1, 4),
            steps=STEPS,
            on_step=lambda done, total: seen.append((done, total)),
            largest=3,
            recovery=recovery,
        )
    assert seen == [(1, 2), (1, 2), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_interruption_is_not_mistaken_for_a_lack_of_memory() -> None:
    def stop(done: int, total: int) -> None:
        raise Drained

    studio = Studio()
    with Recovery(list) as recovery, pytest.raises(Drained):
        draw(studio.drawing, range(3), steps=STEPS, on_step=stop, largest=3, recovery=recovery)
    assert studio.tried == [3]


def test_memory_is_freed_only_after_the_failed_batch_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback keeps the tensors of its frames alive; freeing the cache while it exists frees nothing."""
    alive: list[weakref.ref[np.ndarray[Any, Any]]] = []
    freed: list[bool] = []

    def work() -> np.ndarray[Any, Any]:
        tensors = np.zeros((2, 2))
        alive.append(weakref.ref(tensors))
        if len(alive) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tensors

    def free() -> None:
        gc.collect()
        freed.append(alive[-1]() is None)

    monkeypatch.setattr("ourvidz_worker.engines.recovery.free_cache", free)
    with Recovery(list) as recovery:
        recovery.attempt("denoise", work)
    assert freed == [True]


@pytest.mark.parametrize("nan", [0, 1], ids=["black", "not a number"])
def test_an_unusable_picture_is_decoded_again_in_float32(nan: int) -> None:
    studio = Studio()
    studio.value_when_unusable = nan
    studio.unusable = {11: [True]}
    values, steps = drawn(studio, [10, 11, 12])
    assert values == [10, 11, 12]
    assert steps == ["decode:float32"]
    assert studio.decoded[1:3] == [(11, torch.bfloat16), (11, torch.float32)]
    assert studio.vae.dtype == torch.bfloat16


@pytest.mark.parametrize("nan", [0, 1], ids=["black", "not a number"])
def test_then_it_is_generated_once_more_by_itself(nan: int) -> None:
    studio = Studio()
    studio.value_when_unusable = nan
    studio.unusable = {11: [True, True]}
    values, steps = drawn(studio, [10, 11, 12])
    assert values == [10, 11, 12]
    assert steps == ["decode:float32", "generate:again"]
    assert studio.tried == [3, 1]


def test_then_the_job_fails_with_a_sentence() -> None:
    studio = Studio()
    studio.unusable = {11: [True] * 4}
    with pytest.raises(OutputInvalid, match="black all over, also when it was generated once more"):
        drawn(studio, [10, 11])
    assert studio.tried == [2, 1]
    assert studio.vae.dtype == torch.bfloat16


def test_a_vae_held_in_float32_is_not_asked_twice() -> None:
    studio = Studio(dtype=torch.float32)
    studio.unusable = {11: [True]}
    _, steps = drawn(studio, [11])
    assert steps == ["generate:again"]
    assert studio.tried == [1, 1]


def together(studio: Studio, *jobs: Sequence[int]) -> tuple[list[Any], list[str]]:
    """What becomes of each job: its grey values, or what it failed with."""
    with Recovery(list) as recovery:
        parts = [Part(seeds, ignore) for seeds in jobs]
        outcomes = draw_together(studio.drawing, parts, steps=STEPS, largest=6, recovery=recovery)
    values = [one if isinstance(one, BaseException) else one[:, 0, 0, 0].tolist() for one in outcomes]
    return values, recovery.steps


def test_jobs_share_a_batch_and_its_splits() -> None:
    studio = Studio(fits=2)
    assert together(studio, [10, 11, 12], [20], [30, 31])[0] == [[10, 11, 12], [20], [30, 31]]
    assert studio.tried == [6, 6, 3, 2, 2, 2]


def test_a_picture_that_stays_unusable_fails_its_job_alone() -> None:
    studio = Studio()
    studio.unusable = {11: [True] * 4}
    (failed, other), _ = together(studio, [10, 11, 12], [20])
    assert isinstance(failed, OutputInvalid)
    assert other == [20]
    assert 12 not in [seed for seed, _ in studio.decoded], "the rest of the failed job is not worth a decode"


def test_an_error_that_only_one_job_causes_costs_that_job_alone() -> None:
    class Choosy(Studio):
        def denoise(self, seeds: Sequence[int], after_step: AfterStep) -> torch.Tensor:
            latents = super().denoise(seeds, after_step)
            if 20 in seeds:
                raise ValueError("20 is not to be had")
            return latents

    studio = Choosy()
    (one, failed, other), steps = together(studio, [10, 11], [20], [30])
    assert (one, other) == ([10, 11], [30])
    assert isinstance(failed, ValueError)
    assert steps == ["denoise:job_by_job"]
    assert studio.tried == [4, 2, 1, 1]


def test_all_who_are_left_hear_of_all_steps() -> None:
    heard: list[tuple[int, int, int]] = []

    def listener(job: int) -> Any:
        def hear(done: int, total: int) -> None:
            heard.append((job, done, total))
            if (job, done) == (1, 3):
                raise Drained

        return hear

    studio = Studio(fits=2)
    with Recovery(list) as recovery:
        parts = [Part([10, 11], listener(0)), Part([20, 21], listener(1))]
        first, second = draw_together(studio.drawing, parts, steps=STEPS, largest=2, recovery=recovery)
    assert not isinstance(first, BaseException)
    assert isinstance(second, Drained)
    assert heard == [(0, 1, 4), (1, 1, 4), (0, 2, 4), (1, 2, 4), (0, 3, 4), (1, 3, 4)]
    assert studio.tried == [2, 2], "the second batch was nobody's any more"


def test_what_the_stage_itself_brings_back_is_evicted_once() -> None:
    studio = Studio(fits=0)
    with Recovery(lambda: ["unet"]) as recovery, pytest.raises(OutOfMemory):
        draw(studio.drawing, [10], steps=STEPS, on_step=ignore, largest=1, recovery=recovery)
    assert recovery.steps == ["denoise:free_caches", "denoise:evict unet"]
