"""The ways in which a WAN job is drawn: from its prompt alone, through VACE, or from a still.

Where VACE's weights are missing, a single picture can be followed all the same: the generation begins with it, noised,
in the place of every frame. How strength is meant in each way, `engines/steering.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.steering import Followed, Repainting, reference_details
from ourvidz_worker.engines.wan.conditions import Conditions, fitted
from ourvidz_worker.engines.wan.denoiser import Denoiser
from ourvidz_worker.engines.wan.loading import spatial_grid
from ourvidz_worker.engines.wan.residents import TRANSFORMER, VACE
from ourvidz_worker.engines.wan.vace import Vace
from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import ReferenceImage


@dataclass(frozen=True, slots=True)
class Way:
    """A pipeline on its denoiser, with what it takes beside the prompt, and how many denoising steps it runs.

    It draws `num_frames` frames, of which the job gets the first. `leading_frames` are the first latent frames of its
    output, which are not part of the clip. `transformer` is the name of its component.
    """

    pipe: Any
    denoiser: Denoiser
    call: Mapping[str, Any]
    num_frames: int
    steps: int
    details: Mapping[str, Any]
    leading_frames: int = 0
    transformer: str = TRANSFORMER


def from_prompt(pipe: Any, denoiser: Denoiser, job: Job) -> Way:
    num_frames = frames_covering(pipe, job.num_frames)
    return Way(pipe, denoiser, {"num_frames": num_frames}, num_frames, job.num_inference_steps, {})


def through_vace(vace: Vace, job: Job, references: Sequence[ReferenceImage], canvas: Canvas, mode: Fit) -> Way:
    pipe = vace.pipe
    num_frames = frames_covering(pipe, job.num_frames)
    conditions = Conditions(references, canvas, job.num_frames, mode, drawn=num_frames)
    grid = spatial_grid(pipe)
    scale = conditions.scale(
        latent_frames=(num_frames - 1) // pipe.vae_scale_factor_temporal + 1,
        tokens_per_frame=(canvas.width // grid) * (canvas.height // grid),
        layers=len(pipe.transformer.config.vace_layers),
    )
    return Way(
        pipe,
        vace.denoiser,
        conditions.call(pipe.device) | {"conditioning_scale": scale},
        num_frames,
        job.num_inference_steps,
        _details(references, "vace"),
        conditions.leading_frames,
        VACE,
    )


def from_a_still(
    pipe: Any, denoiser: Denoiser, job: Job, references: Sequence[ReferenceImage], canvas: Canvas, mode: Fit
) -> Way:
    """Video-to-video, for a start frame or a single reference; raises as `require_still`."""
    require_still(references)
    (image,) = references
    repainting = Repainting(image.reference.strength, job.num_inference_steps)
    num_frames = frames_covering(pipe, job.num_frames)
    still = fitted(image, canvas, mode).expand(1, num_frames, -1, -1, -1)
    call = {"video": still, "strength": repainting.pipeline_strength}
    details = _details(references, "video_to_video") | repainting.details
    return Way(pipe, denoiser, call, num_frames, repainting.steps, details)


def frames_covering(pipe: Any, count: int) -> int:
    """As many frames as are asked for, or a few more where the VAE makes them in larger steps than WAN's own."""
    step = int(pipe.vae.config.scale_factor_temporal)
    return -(-(count - 1) // step) * step + 1


def require_still(references: Sequence[ReferenceImage]) -> None:
    """Raises `BadJob` for what only VACE can follow: an end frame, and more than one reference."""
    roles = [image.reference.role for image in references]
    if len(roles) == 1 and roles[0] != "end":
        return
    asked = "an end frame" if roles == ["end"] else f"{len(roles)} references ({', '.join(roles)})"
    raise BadJob(
        f"the job asks for {asked}, which takes WAN's VACE weights, and this pod has none ([wan] vace in models.toml); "
        "send one start frame, or one style, composition or character reference",
        field=references[-1].reference.field,
    )


def _details(references: Sequence[ReferenceImage], method: str) -> dict[str, Any]:
    return reference_details([Followed(image, method) for image in references])
