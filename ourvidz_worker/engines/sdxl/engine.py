"""The SDXL engine: the pictures of a job, or of several alike, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline

from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.devices import classified, classified_errors, device_named, memory_of, raise_if_poisoned
from ourvidz_worker.engines.drawing import AfterStep, Drawing, Part, draw_together
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.glimpses import Underway
from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.workspace import Workspace
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.adapters import Adapters
from ourvidz_worker.engines.sdxl.components import UNET, VAE, register
from ourvidz_worker.engines.sdxl.deep_cache import deep_cache
from ourvidz_worker.engines.sdxl.loading import load_sdxl
from ourvidz_worker.engines.sdxl.methods import adapters_of, follow
from ourvidz_worker.engines.sdxl.prompt_encoding import PromptCall, PromptEncoder
from ourvidz_worker.engines.sdxl.steered import Steered, Steerer
from ourvidz_worker.engines.sdxl.tuning import Tuning, tuned
from ourvidz_worker.engines.sdxl.warming import warm_up
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.vae_modes import TILE
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import PoisonedContext, WorkerError
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory, OnFrames, OnStep, Order, unheard

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

COMPILED_FOR = (1, 3, 6)  # pictures, as the product asks for them


@dataclass(frozen=True, slots=True)
class LoadedSdxl:
    """One set of components, what else reads prompts and references for them, and how they compute."""

    pipe: StableDiffusionXLPipeline
    prompts: PromptEncoder
    adapters: Adapters
    tuning: Tuning


@dataclass(frozen=True, slots=True)
class Sheet:
    """One picture to be: the text that it follows, the seed of its noise, and the request that it belongs to."""

    text: PromptCall
    seed: int
    request: GenerationRequest


class SdxlEngine:
    """Draws with one SDXL checkpoint; `prepare` makes sure that its weights are on disk.

    `fit` is the rule for references of another shape than the job. `load` brings a pipeline in place of the one that
    the model's files hold.
    """

    def __init__(
        self,
        model: SdxlModel,
        models_dir: Path,
        prepare: Callable[[], None],
        *,
        fit: Fit = "crop",
        load: Callable[[], StableDiffusionXLPipeline] | None = None,
        residency: Residency | None = None,
    ) -> None:
        self._model = model
        self._models_dir = models_dir
        self._prepare = prepare
        self._fit: Fit = fit
        self._residency = residency or Residency()
        self._load = load or partial(load_sdxl, model, models_dir, self._residency)
        self._loaded: LoadedSdxl | None = None
        self._underway = Underway()

    @property
    def model_name(self) -> str:
        return self._model.model_name

    def load(self) -> None:
        """Adapters are loaded by the first job that needs them."""
        if self._loaded is None:
            loaded = self._ready()
            with classified_errors("SDXL"), self._residency.stage("warm-up", needs=(UNET, VAE)):
                warm_up(loaded.pipe, loaded.prompts)

    def memory(self) -> GpuMemory | None:
        return None if self._loaded is None else memory_of(device_named(self._model.device))

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """Of the request's first picture in the batch."""
        return self._underway.glimpse(request)

    def evict_idle(self) -> list[str]:
        """Evict what the current job does not use now and goes first; returns the names of what was evicted."""
        return self._residency.evict_idle()

    def prepare(self, request: GenerationRequest) -> None:
        """Reads the prompts into the cache."""
        if self._loaded is not None:
            with suppress(WorkerError), classified_errors("SDXL"):
                self._text(self._loaded, request)

    def shape(self, request: GenerationRequest) -> Hashable | None:
        """Prompts of another length are another shape: padding would change what the shorter one draws."""
        loaded = self._loaded
        if loaded is None or request.references:
            return None
        with suppress(WorkerError), classified_errors("SDXL"):
            job = loaded.tuning.tier.planned(request.job)
            tokens = self._text(loaded, request).tokens
            size, way = (job.width, job.height), (job.num_inference_steps, job.guidance_scale, job.solver)
            return (job.type.name, size, way, tokens)
        return None

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        """Raises `AdapterUnusable` over a reference whose adapter does not fit, beside what the port says."""
        del on_frames  # stills are complete when they are decoded
        with classified_errors("SDXL"):
            (outcome,) = self._draw([Order(request, on_step)])
            if isinstance(outcome, BaseException):
                raise outcome
        return outcome

    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        """Orders of several shapes are drawn one after the other."""
        shapes = {self.shape(order.request) for order in orders}
        batches = [orders] if len(shapes) == 1 and None not in shapes else [[order] for order in orders]
        return [outcome for batch in batches for outcome in self._outcomes(batch)]

    def _outcomes(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        """In the worker's own terms; raises `PoisonedContext`."""
        try:
            with classified_errors("SDXL"):
                outcomes = self._draw(orders)
        except PoisonedContext:
            raise
        except Exception as error:  # noqa: BLE001 - it came before there was anything to tell the orders apart
            return [error] * len(orders)
        return [classified(each, "SDXL") if isinstance(each, BaseException) else each for each in outcomes]

    @TURNS.computing()
    def _draw(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        """Orders that differ in their prompts and seeds alone, or a single one, which may have references."""
        first, loaded = orders[0].request, self._ready()
        pipe, adapters, tuning = loaded.pipe, loaded.adapters, loaded.tuning
        tuning.blocks.pause()
        job = tuning.tier.planned(first.job)
        followed = follow(first.references, adapters.present)
        canvas = Canvas.covering(job.width, job.height, pipe.vae_scale_factor)
        steerer = Steerer(adapters, pipe.vae, job, canvas, self._fit)
        # Between its stages a VAE may be widened or cut into tiles, and it is small.
        with Recovery(self.evict_idle) as recovery, self._residency.stage("job", needs=(VAE,)):
            texts = [self._text_or_failure(loaded, order.request, recovery) for order in orders]
            steered = recovery.attempt("reference", partial(steerer.steer, followed), vae=pipe.vae)
            parts = [_part(order, text) for order, text in zip(orders, texts, strict=True)]
            with steered.applied(pipe):
                pictures = draw_together(
                    self._drawing(loaded, steered, job, needs=(UNET, *adapters_of(followed))),
                    parts,
                    steps=steered.steps,
                    largest=sum(len(part.sheets) for part in parts),
                    recovery=recovery,
                )
        tuning.blocks.compile_later()
        details = {**steered.details, **tuning.details(job, steered), **recovery.details}
        return [
            _generation(canvas, one, {"scheduler": tuning.solver(order.request.job), **_details(text), **details})
            for order, text, one in zip(orders, texts, pictures, strict=True)
        ]

    def _text_or_failure(
        self, loaded: LoadedSdxl, request: GenerationRequest, recovery: Recovery
    ) -> PromptCall | Exception:
        try:
            return recovery.attempt("text", partial(self._text, loaded, request))
        except Exception as error:  # noqa: BLE001 - a prompt that cannot be read fails alone
            raise_if_poisoned(error)
            return error

    def _text(self, loaded: LoadedSdxl, request: GenerationRequest) -> PromptCall:
        job = loaded.tuning.tier.planned(request.job)
        return loaded.prompts.prompt_call(request.prompt, job.negative_prompt, guided=job.guidance_scale > 1.0)

    def _ready(self) -> LoadedSdxl:
        if self._loaded is None:
            self._prepare()
            pipe = self._load()
            with classified_errors("SDXL"):
                held = partial(self._residency.stage, "compile", needs=(UNET,))
                tuning = tuned(pipe, self._model, self._models_dir, holding=held)
            register(pipe, self._residency)
            adapters = Adapters(self._model, self._models_dir, pipe, self._residency)
            self._loaded = LoadedSdxl(pipe, PromptEncoder(pipe, self._residency), adapters, tuning)
        return self._loaded

    def _drawing(self, loaded: LoadedSdxl, steered: Steered, job: Job, *, needs: Sequence[str]) -> Drawing[Sheet]:
        """`needs` are the components that denoise."""
        pipe, tuning = loaded.pipe, loaded.tuning
        cut = tuning.cut(job, steered)

        def denoise(sheets: Sequence[Sheet], after_step: AfterStep) -> torch.Tensor:
            call = {
                **_stacked([sheet.text for sheet in sheets]),
                **steered.call,
                "num_inference_steps": job.num_inference_steps,
                "guidance_scale": job.guidance_scale,
                "output_type": "latent",
            }
            seeds = [sheet.seed for sheet in sheets]

            def run() -> Any:
                fresh = _with_scheduler(pipe, steered, tuning.scheduler(job, pipe.scheduler.config))
                with deep_cache(pipe.unet, tuning.tier.deep_cache):
                    return run_pipeline(fresh, call, seeds, after_step, cut, self._underway)

            room = workspace.sdxl_denoise(job.width, job.height, len(sheets))
            underway = self._underway.denoising([sheet.request for sheet in sheets])
            with underway, self._residency.stage("denoise", needs=needs, workspace=room):
                latents: torch.Tensor = tuning.blocks.run(_compiled_shape(sheets, steered, job), run).images
            return latents

        def decode(latents: torch.Tensor) -> Pixels:
            with self._residency.stage("decode", needs=(VAE,), workspace=_room_to_decode(pipe.vae, job)):
                return sdxl_latents.decode(pipe.vae, latents)

        return Drawing(denoise, decode, pipe.vae)


def _part(order: Order, text: PromptCall | Exception) -> Part[Sheet]:
    if isinstance(text, Exception):
        return Part([], order.on_step, failure=text)
    request = order.request
    return Part([Sheet(text, seed, request) for seed in request.job.seeds(request.seed)], order.on_step)


def _room_to_decode(vae: AutoencoderKL, job: Job) -> Workspace:
    """For one picture, or one tile of it."""
    most = TILE if vae.use_tiling else max(job.width, job.height)
    width, height = min(job.width, most), min(job.height, most)
    return workspace.sdxl_decode(width, height, bytes_per_value=vae.dtype.itemsize)


def _stacked(texts: Sequence[PromptCall]) -> dict[str, torch.Tensor]:
    """One row per picture."""
    return {name: torch.cat([text.call[name] for text in texts]) for name in texts[0].call}


def _compiled_shape(sheets: Sequence[Sheet], steered: Steered, job: Job) -> Hashable | None:
    """None for what comes in too many shapes: adapters of all kinds, and batches of several jobs."""
    if steered.has_adapters or len(sheets) not in COMPILED_FOR:
        return None
    return (len(sheets), job.width, job.height, sheets[0].text.tokens, job.guidance_scale > 1.0)


def _generation(
    canvas: Canvas, pictures: Pixels | BaseException, details: Mapping[str, Any]
) -> Generation | BaseException:
    return pictures if isinstance(pictures, BaseException) else Generation(canvas.crop(pictures), details)


def _details(text: PromptCall | Exception) -> Mapping[str, Any]:
    return {} if isinstance(text, Exception) else text.details


def _with_scheduler(pipe: StableDiffusionXLPipeline, steered: Steered, scheduler: Any) -> Any:
    """A pipeline on the same components; its constructor takes them as they are, where `from_pipe` recasts them."""
    fresh = steered.pipeline_type(
        **pipe.components | steered.components | {"scheduler": scheduler},
        force_zeros_for_empty_prompt=pipe.config.force_zeros_for_empty_prompt,
        add_watermarker=False,
    )
    fresh.set_progress_bar_config(disable=True)
    return fresh
