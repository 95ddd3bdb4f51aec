"""Running a diffusers pipeline so that it can be stopped between two steps and used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ourvidz_worker.engines.drawing import AfterStep
from ourvidz_worker.engines.glimpses import Underway
from ourvidz_worker.engines.guidance import GuidanceCut
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.turns import TURNS


def run_pipeline(
    pipe: Any,
    call: Mapping[str, Any],
    seeds: Sequence[int],
    after_step: AfterStep,
    cut: GuidanceCut | None = None,
    underway: Underway | None = None,
) -> Any:
    """The pipeline's output for one image or clip per seed; what `after_step` raises comes through.

    `underway` is told of the latents before `after_step`, which may ask for a glimpse of them.
    """

    def step_ended(pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if underway is not None:
            underway.step_ended(tensors["latents"])
        after_step(index + 1)
        TURNS.give_way()
        return {} if cut is None else cut.step_ended(pipe, index, tensors)

    # Noise is drawn on the CPU, so that a seed means the same picture on every card.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    generator = generators if len(generators) > 1 else generators[0]  # VACE takes no list
    try:
        with numpy_conversions_quiet():
            return pipe(
                **call,
                generator=generator,
                callback_on_step_end=step_ended,
                callback_on_step_end_tensor_inputs=["latents", *(() if cut is None else cut.doubled)],
            )
    finally:
        # An interrupted pipeline has not reset the hooks and caches of its models itself.
        pipe.maybe_free_model_hooks()
