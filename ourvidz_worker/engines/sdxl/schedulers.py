"""The ways from noise to picture that an SDXL job may name, on the checkpoint's own noise schedule."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.errors import BadJob

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
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "unipc": (UniPCMultistepScheduler, {}),
}


def fresh_scheduler(name: str, config: Any) -> Any:
    """A scheduler carries state, so every batch gets its own; `config` is that of the checkpoint's scheduler.

    Raises `BadJob` for a name that the catalogue allows and this version does not have.
    """
    if name not in KINDS:
        raise BadJob(f"scheduler {name!r} is unknown; choose one of {', '.join(KINDS)}", field="scheduler")
    kind, options = KINDS[name]
    with numpy_conversions_quiet():
        return kind.from_config(config, **options)
