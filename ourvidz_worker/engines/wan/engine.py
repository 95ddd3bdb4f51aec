"""The WAN engine: stills and clips from one text-to-video model, and VACE beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanVideoToVideoPipeline

from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified_errors, memory_of
from ourvidz_worker.engines.drawing import AfterStep, Drawing, draw
from ourvidz_worker.engines.embedding_cache import EmbeddingCache
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan import latents as wan_latents
from ourvidz_worker.engines.wan.loading import (
    encode_text,
    load_wan,
    spatial_grid,
    tokens_left_out,
    video_to_video,
)
from ourvidz_worker.engines.wan.schedulers import flow_scheduler
from ourvidz_worker.engines.wan.vace import VaceStore
from ourvidz_worker.engines.wan.ways import Way, from_a_still, from_prompt, through_vace
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnStep


@dataclass(frozen=True, slots=True)
class LoadedWan:
    """One set of components under two pipelines, and the embeddings of the texts used last."""

    from_noise: WanPipeline
    from_frames: WanVideoToVideoPipeline
    embeddings: EmbeddingCache[torch.Tensor]


class WanEngine:
    """Draws with one WAN model; `prepare` makes sure that its weights are on disk.

    `negative_prompt` is the model's own: WAN never takes a user's (contract section 2). `fit` is the rule for
    references of another shape.
    """

    def __init__(
        self,
        model: WanModel,
        models_dir: Path,
        prepare: Callable[[], None],
        negative_prompt: str,
        *,
        fit: Fit = "crop",
    ) -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare = prepare
        self._negative_prompt = negative_prompt
        self._fit: Fit = fit
        self._vace = VaceStore(model, models_dir)
        self._loaded: LoadedWan | None = None

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        """VACE is loaded by the first job that needs it."""
        self._ready()

    def memory(self) -> GpuMemory | None:
        return None if self._loaded is None else memory_of(self._loaded.from_noise.device)

    def evict_idle(self) -> list[str]:
        """Drop what the current job does not use; returns the names of what was dropped."""
        return self._vace.evict_idle()

    def generate(self, request: GenerationRequest, on_step: OnStep) -> Generation:
        """Stills of a job are drawn one by one, so that a seed gives the same picture in any company."""
        job, loaded = request.job, self._ready()
        canvas = Canvas.covering(job.width, job.height, spatial_grid(loaded.from_noise))
        vace = self._vace.reserved(needed=bool(request.references))
        with classified_errors("WAN"), vace, Recovery(self.evict_idle) as recovery:
            way = self._way(request, loaded, canvas, recovery)
            text = recovery.attempt("text", partial(self._text_call, request, loaded.embeddings, canvas))
            frames = draw(
                _drawing(request, way, text),
                job.seeds(request.seed),
                steps=way.steps,
                on_step=on_step,
                largest=1,
                recovery=recovery,
            )
        details = {**way.details, **recovery.details}
        if left_out := tokens_left_out(loaded.from_noise, request.prompt):
            details["prompt_tokens_left_out"] = left_out
        if job.num_images > 1:
            details["batching"] = "one by one"
        return Generation(canvas.crop(frames), details)

    def _way(self, request: GenerationRequest, loaded: LoadedWan, canvas: Canvas, recovery: Recovery) -> Way:
        job, references = request.job, request.references
        if not references:
            return from_prompt(loaded.from_noise, job)
        if not self._vace.available:
            return from_a_still(loaded.from_frames, job, references, canvas, self._fit)

        def followed() -> Way:
            return through_vace(self._vace.pipe(loaded.from_noise), job, references, canvas, self._fit)

        return recovery.attempt("reference", followed)

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


def _drawing(request: GenerationRequest, way: Way, text: dict[str, Any]) -> Drawing:
    job, pipe = request.job, way.pipe

    def denoise(seeds: Sequence[int], after_step: AfterStep) -> torch.Tensor:
        pipe.scheduler = flow_scheduler(job.solver, job.flow_shift)
        latents: torch.Tensor = run_pipeline(pipe, {**text, **way.call}, seeds, after_step).frames
        return latents[:, :, way.leading_frames :]

    return Drawing(denoise, partial(wan_latents.decode, pipe.vae), pipe.vae, encodes=bool(request.references))
