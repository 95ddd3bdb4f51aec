"""How strongly a reference picture steers a generation: the one place for the mapping.

`reference_strength` runs from 0.1 (little influence) to 1.0 (strong), in the same direction for every method:

    IP-Adapter                attention scale = strength
    ControlNet, VACE          conditioning scale = strength
    img2img, video-to-video   denoising strength = 1 - strength

The last two start from the noised picture instead of pure noise and run only the last part of the denoising, so a
strength of 0.7 keeps much of the picture and repaints the last 30 % of the steps. At least one step is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.ports import ReferenceImage


@dataclass(frozen=True, slots=True)
class Followed:
    """A reference picture and the method that follows it."""

    image: ReferenceImage
    method: str

    @property
    def strength(self) -> float:
        return self.image.reference.strength


@dataclass(frozen=True, slots=True)
class Repainting:
    """What is left to draw when a generation begins with a picture that is followed with `reference_strength`."""

    reference_strength: float
    num_inference_steps: int

    @property
    def denoise_strength(self) -> float:
        return round(1.0 - self.reference_strength, 4)

    @property
    def steps(self) -> int:
        """How many denoising steps are really run."""
        return max(1, round(self.num_inference_steps * self.denoise_strength))

    @property
    def pipeline_strength(self) -> float:
        """The `strength` that makes a diffusers pipeline run exactly `steps` steps.

        Diffusers truncates steps x strength, so a value in the middle of the step is safe from rounding.
        """
        return min(1.0, (self.steps + 0.5) / self.num_inference_steps)

    @property
    def details(self) -> dict[str, Any]:
        """What the result says about it."""
        return {"denoise_strength": self.denoise_strength, "denoise_steps": self.steps}


def reference_details(followed: Sequence[Followed]) -> dict[str, Any]:
    """What the result says about its references; a job with one has it in plain keys, too."""
    methods = [
        {"type": each.image.reference.role, "method": each.method, "strength": each.strength} for each in followed
    ]
    details: dict[str, Any] = {"reference_methods": methods} if methods else {}
    if len(methods) == 1:
        details |= {f"reference_{key}": value for key, value in methods[0].items()}
    return details
