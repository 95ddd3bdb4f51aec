"""The flow-matching solvers that a WAN job may name (`sample_solver` of contract section 2)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from ourvidz_worker.engines.wan.unipc import UniPC
from ourvidz_worker.errors import BadJob


def library_scheduler() -> UniPCMultistepScheduler:
    """As a folder of weights brings it along: a pipeline that may be saved has to hold one of the library's own."""
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)


def flow_scheduler(solver: str, flow_shift: float) -> Any:
    """A fresh scheduler: it carries state, so every clip gets its own. Raises `BadJob` for an unknown solver."""
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": flow_shift}
    match solver:
        case "unipc":
            return UniPC(**flow)
        case "dpm++":
            return DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", **flow)
        case "euler":
            return _Euler(shift=flow_shift)
    raise BadJob(f"solver {solver!r} is unknown; choose unipc, dpm++ or euler", field="config.sample_solver")


class _Euler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]  # diffusers ships no types
    """The library's solver with its noise levels on the CPU, where the pipeline reads one in every step."""

    def set_timesteps(self, *args: Any, device: Any = None, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self.timesteps: torch.Tensor = self.timesteps.to(device)
