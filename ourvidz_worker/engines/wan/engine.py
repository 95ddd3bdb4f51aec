"""The WAN engine: stills and clips from one text-to-video model, and VACE beside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import WanPipeline, WanVideoToVideoPipeline

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named, memory_of
from ourvidz_worker.engines.drawing import AfterStep, Drawing, draw
from ourvidz_worker.engines.embedding_cache import EmbeddingCache
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.glimpses import Underway
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan import latents as wan_latents
from ourvidz_worker.engines.wan.denoiser import Denoiser
from ourvidz_worker.engines.wan.loading import load_wan, spatial_grid, video_to_video
from ourvidz_worker.engines.wan.prompts import EncodedText, encode_text
from ourvidz_worker.engines.wan.residents import TEXT_ENCODER, TRANSFORMER, VAE, register
from ourvidz_worker.engines.wan.schedulers import flow_scheduler
from ourvidz_worker.engines.wan.vace import VaceStore
from ourvidz_worker.engines.wan.vae import DecodingVae, decoding_dtype
from ourvidz_worker.engines.wan.ways import Way, frames_covering, from_a_still, from_prompt, through_vace
from ourvidz_worker.errors import Interruption, OutOfMemory, PoisonedContext
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

WARM_UP_TOKENS = 2  # wide and high
WARM_UP_FRAMES = 5  # the fewest that WAN's VAE spreads over time


@dataclass(frozen=True, slots=True)
class LoadedWan:
    """One set of components under two pipelines, what runs and decodes them, and the texts used last."""

    from_noise: WanPipeline
    from_frames: WanVideoToVideoPipeline
    denoiser: Denoiser
    vae: DecodingVae
    texts: EmbeddingCache[EncodedText]


class WanEngine:
    """Draws with one WAN model; `prepare_weights` makes sure that they are on disk, and `load` reads them.

    `negative_prompt` is the model's own: WAN never takes a user's (contract section 2). `fit` is the rule for
    references of another shape.
    """

    def __init__(
        self,
        model: WanModel,
        models_dir: Path,
        prepare_weights: Callable[[], None],
        negative_prompt: str,
        *,
        fit: Fit = "crop",
        load: Callable[[], WanPipeline] | None = None,
        residency: Residency | None = None,
    ) -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare_weights = prepare_weights
        self._negative_prompt = negative_prompt
        self._fit: Fit = fit
        self._residency = residency or Residency()
        self._load = load or partial(load_wan, model, models_dir, self._residency)
        self._vace = VaceStore(model, models_dir, self._residency)
        self._loaded: LoadedWan | None = None
        self._underway = Underway()

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        """VACE is loaded by the first job that needs it."""
        if self._loaded is None:
            self._warm_up(self._ready())

    def memory(self) -> GpuMemory | None:
        return None if self._loaded is None else memory_of(device_named(self._model.device))

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """Of the still that is being drawn, or of the clip's middle."""
        return self._underway.glimpse(request)

    def evict_idle(self) -> list[str]:
        """Evict what the current job does not use now and goes first; returns the names of what was evicted."""
        return self._residency.evict_idle()

    def prepare(self, request: GenerationRequest) -> None:
        """Encode the prompt."""
        if self._loaded is not None:
            with suppress(OutOfMemory, PoisonedContext), classified_errors("WAN"):  # `generate` meets them again
                self._loaded.texts.get(request.prompt)

    def shape(self, _request: GenerationRequest) -> Hashable | None:
        """One clip fills a card, and a still of a batch would differ from the same one alone."""
        return None

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        return [self._outcome(order) for order in orders]

    @TURNS.computing()
    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        """Stills of a job are drawn one by one, so that a seed gives the same picture in any company."""
        job, loaded = self._model.tier.planned(request.job), self._ready()
        canvas = Canvas.covering(job.width, job.height, spatial_grid(loaded.from_noise))
        self._let_nothing_compile(loaded)
        # Between its stages a VAE may be widened or cut into tiles, and it is small.
        holding = self._residency.stage("job", needs=(VAE,))
        with classified_errors("WAN"), holding, Recovery(self.evict_idle) as recovery:
            way = self._way(replace(request, job=job), loaded, canvas, recovery)
            text = recovery.attempt("text", partial(loaded.texts.get, request.prompt))
            negative = recovery.attempt("text", partial(self._negative, loaded)) if job.guidance_scale > 1.0 else None
            frames = draw(
                Drawing(
                    partial(self._denoise, request, job, way, _call(job, canvas, text, negative)),
                    partial(
                        self._decode, loaded.vae, canvas, job.num_frames, on_frames=_cropped(canvas, on_frames, job)
                    ),
                    loaded.vae,
                    encodes=bool(request.references),
                ),
                job.seeds(request.seed),
                steps=way.steps,
                on_step=on_step,
                largest=1,
                recovery=recovery,
            )
        details = {**way.details, **way.denoiser.details, **recovery.details}
        way.denoiser.blocks.compile_later()
        if text.tokens_left_out:
            details["prompt_tokens_left_out"] = text.tokens_left_out
        if job.num_images > 1:
            details["batching"] = "one by one"
        return Generation(canvas.crop(frames), details)

    def _outcome(self, order: Order) -> Generation | BaseException:
        try:
            return self.generate(order.request, order.on_step)
        except PoisonedContext:
            raise
        except (Exception, Interruption) as outcome:  # noqa: BLE001 - the order's own
            return outcome

    def _way(self, request: GenerationRequest, loaded: LoadedWan, canvas: Canvas, recovery: Recovery) -> Way:
        job, references = request.job, request.references
        if not references:
            return from_prompt(loaded.from_noise, loaded.denoiser, job)
        if not self._vace.available:
            return from_a_still(loaded.from_frames, loaded.denoiser, job, references, canvas, self._fit)

        def followed() -> Way:
            return through_vace(self._vace.loaded(loaded.from_noise), job, references, canvas, self._fit)

        return recovery.attempt("reference", followed)

    def _negative(self, loaded: LoadedWan) -> EncodedText:
        return loaded.texts.get(self._negative_prompt, pinned=True)

    def _let_nothing_compile(self, loaded: LoadedWan) -> None:
        for denoiser in (loaded.denoiser, self._vace.denoiser):
            if denoiser is not None:
                denoiser.blocks.pause()

    def _ready(self) -> LoadedWan:
        if self._loaded is None:
            self._prepare_weights()
            pipe = self._load()
            with classified_errors("WAN"):
                vae = DecodingVae(pipe.vae, decoding_dtype(pipe.vae, dtype_named(self._model.vae_decode_dtype)))
                holding = partial(self._residency.stage, "compile", needs=(TRANSFORMER,))
                denoiser = Denoiser(pipe.transformer, self._model, self._models_dir, holding=holding)
            register(pipe, self._residency)
            texts = EmbeddingCache(partial(self._encode, pipe))
            self._loaded = LoadedWan(pipe, video_to_video(pipe), denoiser, vae, texts)
        return self._loaded

    def _encode(self, pipe: WanPipeline, text: str) -> EncodedText:
        with self._residency.stage("text", needs=(TEXT_ENCODER,), workspace=workspace.text()):
            return encode_text(pipe, text)

    def _denoise(
        self,
        request: GenerationRequest,
        job: Job,
        way: Way,
        call: dict[str, Any],
        seeds: Sequence[int],
        after_step: AfterStep,
    ) -> torch.Tensor:
        """`job` is the request's as the tier has it drawn."""
        (seed,) = seeds
        way.pipe.scheduler = flow_scheduler(job.solver, job.flow_shift)
        shape = (call["width"], call["height"], way.num_frames, way.leading_frames)
        room = workspace.wan_denoise(call["width"], call["height"], way.num_frames)
        underway = self._underway.denoising([request], leading_frames=way.leading_frames)
        with underway, self._residency.stage("denoise", needs=(way.transformer, VAE), workspace=room):
            latents = way.denoiser.run(
                way.pipe,
                {**call, **way.call},
                seed,
                after_step,
                steps=way.steps,
                shape=shape,
                underway=self._underway,
            )
        return latents[:, :, way.leading_frames :]

    def _decode(
        self, vae: DecodingVae, canvas: Canvas, num_frames: int, latents: torch.Tensor, *, on_frames: OnFrames
    ) -> Pixels:
        width, height = vae.size_at_once(canvas.width, canvas.height)
        room = workspace.wan_decode(width, height, bytes_per_value=vae.dtype.itemsize)
        with self._residency.stage("decode", needs=(VAE,), workspace=room):
            return wan_latents.decode(vae, latents, num_frames, on_frames=on_frames)

    def _warm_up(self, loaded: LoadedWan) -> None:
        """One step and its decoding at the smallest size, so that the first job finds every library at work.

        The negative prompt, encoded for it, is kept for every job to come.
        """
        side = WARM_UP_TOKENS * spatial_grid(loaded.from_noise)
        with classified_errors("WAN"), self._residency.stage("warm-up", needs=(TRANSFORMER, VAE)):
            text = self._negative(loaded)
            loaded.from_noise.scheduler = flow_scheduler("unipc", 5.0)
            call = {
                "prompt_embeds": text.embeds,
                "negative_prompt_embeds": text.embeds,
                "width": side,
                "height": side,
                "num_frames": frames_covering(loaded.from_noise, WARM_UP_FRAMES),
                "num_inference_steps": 1,
                "output_type": "latent",
            }
            latents = run_pipeline(loaded.from_noise, call, [0], lambda _: None).frames
            wan_latents.decode(loaded.vae, latents, WARM_UP_FRAMES)


def _call(job: Job, canvas: Canvas, text: EncodedText, negative: EncodedText | None) -> dict[str, Any]:
    """What a pipeline takes in every way."""
    return {
        "prompt_embeds": text.embeds,
        "negative_prompt_embeds": None if negative is None else negative.embeds,
        "width": canvas.width,
        "height": canvas.height,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "output_type": "latent",
    }


def _cropped(canvas: Canvas, on_frames: OnFrames, job: Job) -> OnFrames:
    """Stills are no frames of a clip."""
    if not job.is_video:
        return unheard
    return lambda index, frames: on_frames(index, canvas.crop(frames))
