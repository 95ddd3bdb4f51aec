"""A generation steered by references: which pipeline draws it, and what it takes besides the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import Fit, fit
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.adapters import Adapters
from ourvidz_worker.engines.sdxl.controlnets import UNION_CANNY, ControlNet, edges, looking_once
from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, worn
from ourvidz_worker.engines.sdxl.methods import CONTROLNET, IMG2IMG, METHODS, attention_scale
from ourvidz_worker.engines.steering import Followed, Repainting, reference_details

# By the kind of ControlNet, and whether the generation begins with a picture.
PIPELINES: Mapping[tuple[str | None, bool], type[Any]] = {
    (None, False): StableDiffusionXLPipeline,
    (None, True): StableDiffusionXLImg2ImgPipeline,
    ("edges", False): StableDiffusionXLControlNetPipeline,
    ("edges", True): StableDiffusionXLControlNetImg2ImgPipeline,
    ("union", False): StableDiffusionXLControlNetUnionPipeline,
    ("union", True): StableDiffusionXLControlNetUnionImg2ImgPipeline,
}


@dataclass(frozen=True, slots=True)
class Steered:
    """`call` goes to a pipeline of `pipeline_type` with the plain one's components, and with `controlnet` if it is one.

    `ip_adapters` come with their scales; `steps` is how many denoising steps are run.
    """

    pipeline_type: type[Any]
    call: Mapping[str, Any]
    controlnet: Any
    ip_adapters: Sequence[tuple[IpAdapter, Any]]
    steps: int
    details: Mapping[str, Any]

    @property
    def components(self) -> Mapping[str, Any]:
        return {} if self.controlnet is None else {"controlnet": self.controlnet}

    @contextmanager
    def applied(self, pipe: StableDiffusionXLPipeline) -> Iterator[None]:
        """The models of `pipe` follow the references within, and not any more afterwards."""
        with worn(pipe, self.ip_adapters), looking_once(self.controlnet):
            yield


class Steerer:
    """Prepares the references of one job; `canvas` and `mode` say how a picture is made to fit."""

    def __init__(self, adapters: Adapters, vae: AutoencoderKL, job: Job, canvas: Canvas, mode: Fit) -> None:
        self._adapters = adapters
        self._vae = vae
        self._job = job
        self._canvas = canvas
        self._mode: Fit = mode

    def steer(self, followed: Sequence[Followed]) -> Steered:
        """Load what is needed and look at the pictures; raises `AdapterUnusable`."""
        methods = {each.method: each for each in followed}
        controlled, repainted = methods.pop(CONTROLNET.name, None), methods.pop(IMG2IMG, None)
        control = None if controlled is None else self._adapters.controlnet("controlnet")
        repainting = None if repainted is None else Repainting(repainted.strength, self._job.num_inference_steps)
        call: dict[str, Any] = {}
        if repainted is None or repainting is None:
            call |= {"width": self._canvas.width, "height": self._canvas.height}
        else:
            call |= {"image": self._latents(repainted), "strength": repainting.pipeline_strength}
        if control is not None and controlled is not None:
            call |= self._control_call(controlled, control, begins_with_picture=repainted is not None)
        speaking = list(methods.values())
        if speaking:
            call["ip_adapter_image_embeds"] = [self._embedding(each) for each in speaking]
        details = reference_details(followed)
        if repainting is not None:
            details["denoise_strength"] = repainting.denoise_strength
        return Steered(
            PIPELINES[control.kind if control else None, repainted is not None],
            call,
            control.model if control else None,
            [(self._adapters.ip_adapter(_key(each)), attention_scale(each)) for each in speaking],
            repainting.steps if repainting else self._job.num_inference_steps,
            details,
        )

    def _control_call(self, followed: Followed, control: ControlNet, *, begins_with_picture: bool) -> dict[str, Any]:
        lines = edges(followed.image.pixels, self._canvas.width, self._canvas.height, self._mode)
        call: dict[str, Any] = {"controlnet_conditioning_scale": followed.strength}
        if control.kind == "union":
            return call | {"control_image": [lines], "control_mode": [UNION_CANNY]}
        return call | {"control_image" if begins_with_picture else "image": lines}

    def _latents(self, followed: Followed) -> torch.Tensor:
        """Encoded once instead of once per image of the batch."""
        picture = fit(followed.image.pixels, self._canvas.width, self._canvas.height, self._mode)
        return sdxl_latents.encode(self._vae, picture)

    def _embedding(self, followed: Followed) -> torch.Tensor:
        """Without guidance, a pipeline wants the picture alone."""
        both = self._adapters.embedding(_key(followed), followed.image, self._mode)
        return both if self._job.guidance_scale > 1.0 else both[1:]


def _key(followed: Followed) -> str:
    return METHODS[followed.method].needs[0]
