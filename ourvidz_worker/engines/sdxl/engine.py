"""The SDXL engine: one, three or six pictures of a job in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified_errors, memory_of
from ourvidz_worker.engines.drawing import AfterStep, Drawing, draw
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.adapters import Adapters
from ourvidz_worker.engines.sdxl.loading import load_sdxl
from ourvidz_worker.engines.sdxl.methods import adapters_of, follow
from ourvidz_worker.engines.sdxl.prompt_encoding import PromptEncoder
from ourvidz_worker.engines.sdxl.schedulers import fresh_scheduler
from ourvidz_worker.engines.sdxl.steered import Steered, Steerer
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnStep


@dataclass(frozen=True, slots=True)
class LoadedSdxl:
    """One set of components, and what else reads prompts and references for them."""

    pipe: StableDiffusionXLPipeline
    prompts: PromptEncoder
    adapters: Adapters


class SdxlEngine:
    """Draws with one SDXL checkpoint; `prepare` makes sure that its weights are on disk.

    `fit` is the rule for references of another shape than the job.
    """

    def __init__(self, model: SdxlModel, models_dir: Path, prepare: Callable[[], None], *, fit: Fit = "crop") -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare = prepare
        self._fit: Fit = fit
        self._loaded: LoadedSdxl | None = None

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        """Adapters are loaded by the first job that needs them."""
        self._ready()

    def memory(self) -> GpuMemory | None:
        return None if self._loaded is None else memory_of(self._loaded.pipe.device)

    def evict_idle(self) -> list[str]:
        """Drop the adapters that the current job does not use; returns the names of what was dropped."""
        return [] if self._loaded is None else self._loaded.adapters.evict_idle()

    def generate(self, request: GenerationRequest, on_step: OnStep) -> Generation:
        """Raises `AdapterUnusable` over a reference whose adapter does not fit, beside what the port says."""
        job, loaded = request.job, self._ready()
        pipe, adapters = loaded.pipe, loaded.adapters
        followed = follow(request.references, adapters.present)
        canvas = Canvas.covering(job.width, job.height, pipe.vae_scale_factor)
        steerer = Steerer(adapters, pipe.vae, job, canvas, self._fit)
        with classified_errors("SDXL"), Recovery(self.evict_idle) as recovery, adapters.in_use(adapters_of(followed)):
            guided = job.guidance_scale > 1.0
            read = partial(loaded.prompts.prompt_call, request.prompt, job.negative_prompt, guided=guided)
            prompts = recovery.attempt("text", read)
            steered = recovery.attempt("reference", partial(steerer.steer, followed), vae=pipe.vae)
            with steered.applied(pipe):
                frames = draw(
                    _drawing(pipe, steered, prompts.call, request),
                    job.seeds(request.seed),
                    steps=steered.steps,
                    on_step=on_step,
                    largest=job.num_images,
                    recovery=recovery,
                )
        details = {"scheduler": job.solver, **prompts.details, **steered.details, **recovery.details}
        return Generation(canvas.crop(frames), details)

    def _ready(self) -> LoadedSdxl:
        if self._loaded is None:
            self._prepare()
            pipe = load_sdxl(self._model, self._models_dir)
            self._loaded = LoadedSdxl(pipe, PromptEncoder(pipe), Adapters(self._model, self._models_dir, pipe))
        return self._loaded


def _drawing(
    pipe: StableDiffusionXLPipeline, steered: Steered, prompts: Mapping[str, Any], request: GenerationRequest
) -> Drawing:
    job = request.job
    call = {
        **prompts,
        **steered.call,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "output_type": "latent",
    }

    def denoise(seeds: Sequence[int], after_step: AfterStep) -> torch.Tensor:
        fresh = _with_fresh_scheduler(pipe, steered, job.solver)
        latents: torch.Tensor = run_pipeline(
            fresh, call | {"num_images_per_prompt": len(seeds)}, seeds, after_step
        ).images
        return latents

    return Drawing(denoise, partial(sdxl_latents.decode, pipe.vae), pipe.vae)


def _with_fresh_scheduler(pipe: StableDiffusionXLPipeline, steered: Steered, scheduler: str) -> Any:
    """A pipeline on the same components; its constructor takes them as they are, where `from_pipe` recasts them."""
    fresh = steered.pipeline_type(
        **pipe.components | steered.components | {"scheduler": fresh_scheduler(scheduler, pipe.scheduler.config)},
        force_zeros_for_empty_prompt=pipe.config.force_zeros_for_empty_prompt,
        add_watermarker=False,
    )
    fresh.set_progress_bar_config(disable=True)
    return fresh
