"""A generation steered by references: which pipeline draws it, and what it takes besides the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
from PIL import Image

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import Fit, fit
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.adapters import Adapters
from ourvidz_worker.engines.sdxl.controlnets import UNION_CANNY, ControlNet, edges, looking_once
from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, worn
from ourvidz_worker.engines.sdxl.methods import CONTROLNET, IMG2IMG, METHODS, attention_scale
from ourvidz_worker.engines.steering import Followed, Repainting, reference_details

KNOWN_LATENT_CHANNELS = 4  # any other number is a picture to the pipelines that begin with one
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
    controlnet: ControlNet | None
    ip_adapters: Sequence[tuple[IpAdapter, Any]]
    steps: int
    details: Mapping[str, Any]

    @property
    def has_adapters(self) -> bool:
        return bool(self.ip_adapters) or self.controlnet is not None

    @property
    def components(self) -> Mapping[str, Any]:
        return {} if self.controlnet is None else {"controlnet": self.controlnet.model}

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
        by_method = {each.method: each for each in followed}
        repainted, controlled = by_method.pop(IMG2IMG, None), by_method.pop(CONTROLNET.name, None)
        call, steps, details = self._beginning(repainted)
        controlnet = None
        if controlled is not None:
            controlnet = self._adapters.controlnet("controlnet")
            call |= self._control_call(controlled, controlnet, begins_with_picture=repainted is not None)
        spoken = by_method.values()
        if spoken:
            call["ip_adapter_image_embeds"] = [self._embedding(each) for each in spoken]
        scale = partial(attention_scale, style_everywhere=self._adapters.style_everywhere)
        return Steered(
            PIPELINES[controlnet.kind if controlnet else None, repainted is not None],
            call,
            controlnet,
            [(self._adapters.ip_adapter(_key(each)), scale(each)) for each in spoken],
            steps,
            reference_details(followed) | details,
        )

    def _beginning(self, repainted: Followed | None) -> tuple[dict[str, Any], int, dict[str, Any]]:
        """Noise or a picture: what the pipeline takes, how many steps it runs, and what the result says of it."""
        if repainted is None:
            return {"width": self._canvas.width, "height": self._canvas.height}, self._job.num_inference_steps, {}
        left = Repainting(repainted.strength, self._job.num_inference_steps)
        call = {"image": self._picture(repainted), "strength": left.pipeline_strength}
        return call, left.steps, left.details

    def _control_call(self, followed: Followed, control: ControlNet, *, begins_with_picture: bool) -> dict[str, Any]:
        lines = edges(followed.image.pixels, self._canvas.width, self._canvas.height, self._mode)
        call: dict[str, Any] = {"controlnet_conditioning_scale": followed.strength}
        if control.kind == "union":
            return call | {"control_image": [lines], "control_mode": [UNION_CANNY]}
        return call | {"control_image" if begins_with_picture else "image": lines}

    def _picture(self, followed: Followed) -> torch.Tensor | Image.Image:
        """As latents, so that it is encoded once and not once per image of the batch, where the pipelines know them."""
        picture = fit(followed.image.pixels, self._canvas.width, self._canvas.height, self._mode)
        if self._vae.config.latent_channels != KNOWN_LATENT_CHANNELS:
            return picture
        return sdxl_latents.encode(self._vae, picture)

    def _embedding(self, followed: Followed) -> torch.Tensor:
        """Without guidance, a pipeline wants the picture alone."""
        both = self._adapters.embedding(_key(followed), followed.image, self._mode)
        return both if self._job.guidance_scale > 1.0 else both[1:]


def _key(followed: Followed) -> str:
    return METHODS[followed.method].needs[0]
