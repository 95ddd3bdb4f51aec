"""The flow-matching solvers that a WAN job may name (`sample_solver` of contract section 2)."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from ourvidz_worker.errors import BadJob


def flow_scheduler(solver: str, flow_shift: float) -> Any:
    """A fresh scheduler: it carries state, so every clip gets its own. Raises `BadJob` for an unknown solver."""
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": flow_shift}
    match solver:
        case "unipc":
            return UniPCMultistepScheduler(**flow)
        case "dpm++":
            return DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", **flow)
        case "euler":
            return FlowMatchEulerDiscreteScheduler(shift=flow_shift)
    raise BadJob(f"solver {solver!r} is unknown; choose unipc, dpm++ or euler", field="config.sample_solver")
