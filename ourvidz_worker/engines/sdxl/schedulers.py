"""The ways from noise to picture that an SDXL job may name, on the checkpoint's own noise schedule.

A step that asks the card for a number waits until the card has done all that was queued, and then the card waits for
the next command. What the schedulers know beforehand is kept where they need it, so that they need not ask.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)

from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.wan.unipc import UniPC
from ourvidz_worker.errors import BadJob


class DDIM(DDIMScheduler):  # type: ignore[misc]  # diffusers ships no types
    """Counts its steps, where diffusers' own asks the card which one it is at."""

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        self.timesteps: torch.Tensor
        super().set_timesteps(num_inference_steps)
        self._known: list[int] = self.timesteps.tolist()
        self._index = 0
        self.timesteps = self.timesteps.to(device)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """A pipeline that begins with a picture skips the first steps."""
        self._index = begin_index

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
        del timestep
        known = self._known[self._index]
        self._index += 1
        return super().step(model_output, known, sample, **options)


KINDS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpm++_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpm++_2m_karras": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "dpm++_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++_2m_sde_karras": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    # Checkpoints that were published for another scheduler do not say these, and DDIM's defaults are for pixels.
    "ddim": (DDIM, {"clip_sample": False, "set_alpha_to_one": False}),
    "unipc": (UniPC, {}),
}


def distilled_scheduler(config: Any) -> Any:
    """What weights distilled to few steps are drawn with: the first step begins where all is noise."""
    with numpy_conversions_quiet():
        return EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing")


def fresh_scheduler(name: str, config: Any) -> Any:
    """A scheduler carries state, so every batch gets its own; `config` is that of the checkpoint's scheduler.

    Raises `BadJob` for a name that the catalogue allows and this version does not have.
    """
    if name not in KINDS:
        raise BadJob(f"scheduler {name!r} is unknown; choose one of {', '.join(KINDS)}", field="scheduler")
    kind, options = KINDS[name]
    with numpy_conversions_quiet():
        return kind.from_config(config, **options)
