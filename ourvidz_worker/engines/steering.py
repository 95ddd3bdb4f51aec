"""How strongly a reference picture steers a generation: the one place for the mapping.

Both families start from the noised reference instead of pure noise (img2img for SDXL, video-to-video for WAN)
and run only the last part of the denoising:

    denoising strength = 1 - reference strength

so a strength of 0.7 keeps much of the picture and repaints the last 30 % of the steps. At least one step is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import GenerationRequest, ReferenceImage


@dataclass(frozen=True, slots=True)
class Steering:
    """The references of a job and what their strength means in steps.

    Of two references the stronger one decides: its wish cannot be met with less.
    """

    references: tuple[ReferenceImage, ...]
    method: str
    num_inference_steps: int

    @property
    def reference_strength(self) -> float:
        return max(image.reference.strength for image in self.references)

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
    def details(self) -> Mapping[str, Any]:
        return {
            "reference_method": self.method,
            "reference_type": "+".join(image.reference.role for image in self.references),
            "reference_strength": self.reference_strength,
            "denoise_strength": self.denoise_strength,
        }


def steering(request: GenerationRequest, method: str) -> Steering | None:
    """What the request's references ask for, or None without any.

    Raises `BadJob` for more than one picture, except for a clip's start and end.
    """
    job, references = request.job, request.references
    if not references:
        return None
    roles = [image.reference.role for image in references]
    if len(references) > 1 and not (job.is_video and roles == ["start", "end"]):
        raise BadJob(
            f"the job carries {len(references)} references ({', '.join(roles)}) where {job.type.name} takes "
            + ("one, or a start and an end" if job.is_video else "one"),
            field=references[1].reference.field,
        )
    return Steering(references, method, job.num_inference_steps)
