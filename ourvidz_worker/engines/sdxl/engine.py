"""The SDXL engine: one, three or six pictures of a job in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from ourvidz_worker.engines.batches import AfterStep, draw_in_batches
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified_errors, memory_of
from ourvidz_worker.engines.fitting import Fit, fit
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.loading import fresh_scheduler, load_sdxl
from ourvidz_worker.engines.steering import Steering, steering
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


class SdxlEngine:
    """Draws with one SDXL checkpoint; `prepare` makes sure that its weights are on disk."""

    def __init__(self, model: SdxlModel, models_dir: Path, prepare: Callable[[], None], *, fit: Fit = "crop") -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare = prepare
        self._fit = fit
        self._pipe: StableDiffusionXLPipeline | None = None

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        self._ready()

    def memory(self) -> GpuMemory | None:
        return None if self._pipe is None else memory_of(self._pipe.device)

    def generate(self, request: GenerationRequest, on_step: OnStep) -> Generation:
        job, pipe = request.job, self._ready()
        steered = steering(request, "img2img")
        canvas = Canvas.covering(job.width, job.height, pipe.vae_scale_factor)
        with classified_errors("SDXL"):
            if steered is None:
                pipe_type, call = StableDiffusionXLPipeline, _text_call(request, canvas)
            else:
                picture = fit(steered.references[0].pixels, canvas.width, canvas.height, self._fit)
                pipe_type, call = StableDiffusionXLImg2ImgPipeline, _reference_call(request, steered, pipe, picture)

            def draw(seeds: Sequence[int], after_step: AfterStep) -> Pixels:
                counted = call | {"num_images_per_prompt": len(seeds)}
                output = run_pipeline(_with_fresh_scheduler(pipe, pipe_type), counted, seeds, after_step)
                return sdxl_latents.decode(pipe.vae, output.images)

            frames, splits = draw_in_batches(
                draw,
                job.seeds(request.seed),
                steps=job.num_inference_steps if steered is None else steered.steps,
                on_step=on_step,
                largest=job.num_images,
            )
        details = {"batch_splits": splits, **({} if steered is None else steered.details)}
        return Generation(canvas.crop(frames), details)

    def _ready(self) -> StableDiffusionXLPipeline:
        if self._pipe is None:
            self._prepare()
            self._pipe = load_sdxl(self._model, self._models_dir)
        return self._pipe


def _text_call(request: GenerationRequest, canvas: Canvas) -> dict[str, Any]:
    return _common_call(request) | {"width": canvas.width, "height": canvas.height}


def _reference_call(
    request: GenerationRequest, steered: Steering, pipe: StableDiffusionXLPipeline, picture: Image.Image
) -> dict[str, Any]:
    """The reference goes in as latents, encoded once instead of once per image of the batch."""
    return _common_call(request) | {
        "image": sdxl_latents.encode(pipe.vae, picture),
        "strength": steered.pipeline_strength,
    }


def _common_call(request: GenerationRequest) -> dict[str, Any]:
    job = request.job
    return {
        "prompt": request.prompt,
        "negative_prompt": job.negative_prompt or None,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "output_type": "latent",
    }


def _with_fresh_scheduler(pipe: StableDiffusionXLPipeline, pipe_type: type[Any]) -> Any:
    """A pipeline on the same components; its constructor takes them as they are, where `from_pipe` recasts them."""
    fresh = pipe_type(
        **pipe.components | {"scheduler": fresh_scheduler(pipe)},
        force_zeros_for_empty_prompt=pipe.config.force_zeros_for_empty_prompt,
        add_watermarker=False,
    )
    fresh.set_progress_bar_config(disable=True)
    return fresh
