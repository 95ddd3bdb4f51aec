"""The WAN engine: stills and clips from one text-to-video model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import WanPipeline, WanVideoToVideoPipeline

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.batches import AfterStep, draw_in_batches
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified_errors, memory_of
from ourvidz_worker.engines.embedding_cache import EmbeddingCache
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.steering import Steering, steering
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan import latents as wan_latents
from ourvidz_worker.engines.wan.loading import encode_text, load_wan, spatial_grid, video_to_video
from ourvidz_worker.engines.wan.references import reference_frames
from ourvidz_worker.engines.wan.schedulers import flow_scheduler
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@dataclass(frozen=True, slots=True)
class LoadedWan:
    """One set of components under two pipelines, and the embeddings of the texts used last."""

    from_noise: WanPipeline
    from_frames: WanVideoToVideoPipeline
    embeddings: EmbeddingCache[torch.Tensor]


class WanEngine:
    """Draws with one WAN model; `prepare` makes sure that its weights are on disk.

    `negative_prompt` is the model's own: WAN never takes a user's (contract section 2).
    """

    def __init__(self, model: WanModel, models_dir: Path, prepare: Callable[[], None], negative_prompt: str) -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare = prepare
        self._negative_prompt = negative_prompt
        self._loaded: LoadedWan | None = None

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        self._ready()

    def memory(self) -> GpuMemory | None:
        return None if self._loaded is None else memory_of(self._loaded.from_noise.device)

    def generate(self, request: GenerationRequest, on_step: OnStep) -> Generation:
        """Stills of a job are drawn one by one, so that a seed gives the same picture in any company."""
        job, loaded = request.job, self._ready()
        steered = steering(request, "video_to_video")
        canvas = Canvas.covering(job.width, job.height, spatial_grid(loaded.from_noise))
        with classified_errors("WAN"):
            call = self._text_call(request, loaded.embeddings, canvas)
            if steered is None:
                pipe, call = loaded.from_noise, call | {"num_frames": job.num_frames}
            else:
                pipe, call = loaded.from_frames, call | _reference_call(steered, canvas, job)

            def draw(seeds: Sequence[int], after_step: AfterStep) -> Pixels:
                pipe.scheduler = flow_scheduler(job.solver, job.flow_shift)
                latents = run_pipeline(pipe, call, seeds, after_step).frames
                return wan_latents.decode(pipe.vae, latents)

            frames, _ = draw_in_batches(
                draw,
                job.seeds(request.seed),
                steps=job.num_inference_steps if steered is None else steered.steps,
                on_step=on_step,
                largest=1,
            )
        return Generation(canvas.crop(frames), _details(job, steered))

    def _ready(self) -> LoadedWan:
        if self._loaded is None:
            self._prepare()
            pipe = load_wan(self._model, self._models_dir)
            self._loaded = LoadedWan(pipe, video_to_video(pipe), EmbeddingCache(partial(encode_text, pipe)))
        return self._loaded

    def _text_call(
        self, request: GenerationRequest, embeddings: EmbeddingCache[torch.Tensor], canvas: Canvas
    ) -> dict[str, Any]:
        job = request.job
        guided = job.guidance_scale > 1.0
        return {
            "prompt_embeds": embeddings.get(request.prompt),
            "negative_prompt_embeds": embeddings.get(self._negative_prompt) if guided else None,
            "width": canvas.width,
            "height": canvas.height,
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": job.guidance_scale,
            "output_type": "latent",
        }


def _reference_call(steered: Steering, canvas: Canvas, job: Job) -> dict[str, Any]:
    return {
        "video": reference_frames(steered.references, canvas, job.num_frames),
        "strength": steered.pipeline_strength,
    }


def _details(job: Job, steered: Steering | None) -> dict[str, Any]:
    details: dict[str, Any] = {} if steered is None else dict(steered.details)
    if job.num_images > 1:
        details["batching"] = "one by one"
    return details
