"""Who draws: the engines as they ship, each in one of its tiers, and what a user would run instead.

All have the same weights. `plain` is the pipeline of diffusers with its own defaults and the same dtype. `replaced`
has the settings of the system that this worker takes the place of: float16, attention slicing where the model
knows it, and the weights brought onto the card for each job. They come from the host's memory, so that its disk,
which took far longer, does not count.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ourvidz_worker.contract.catalogue import JobType, parse_catalogue
from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.devices import GB
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.sdxl.engine import LoadedSdxl, SdxlEngine
from ourvidz_worker.engines.tiny import models as tiny
from ourvidz_worker.engines.volume.model_config import ModelsConfig, SdxlModel, WanModel, parse_models
from ourvidz_worker.engines.volume.tiers import build_tier
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.ports import Engine, GenerationRequest
from tests.bench.random_models import CONFIGS, Size, sdxl_pipeline, wan_pipeline, wan_text_encoder
from tests.bench.stage_clock import StageClock, stages_of, synchronise

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

Family = Literal["sdxl", "wan"]
EXACT, PLAIN, REPLACED = "exact", "plain", "replaced"
NEGATIVE = {"sdxl": "blurry, low quality", "wan": "static, blurred, overexposed, worst quality"}
SUBJECTS = ("a lighthouse on a cliff", "a fox in fresh snow", "an old wooden boat", "a tram on a bridge", "barley")


@dataclass(frozen=True, slots=True)
class Drawn:
    """`pixels` is RGB as the engine gives it, and None for contenders whose pictures nobody looks at."""

    details: Mapping[str, Any]
    pixels: Pixels | None = None


@dataclass(slots=True)
class Contender:
    """`before` is done ahead of each generation, outside the measured time.

    `settle` waits for what an engine does when its result is handed over: compiling.
    """

    name: str
    pipe: Any
    draw: Callable[[GenerationRequest], Drawn]
    clock: StageClock
    before: Callable[[], None] = lambda: None
    settle: Callable[[], None] = lambda: None
    engine: Engine | None = None

    @property
    def held_bytes(self) -> int:
        """Of its weights on the device, those included that it shares with others; what was dropped has no bytes."""
        models = (each for each in self.pipe.components.values() if isinstance(each, torch.nn.Module))
        weights = {id(weight): weight for model in models for weight in (*model.parameters(), *model.buffers())}
        return sum(weight.nbytes for weight in weights.values())


@dataclass(slots=True)
class Studio:
    """Makes contenders for one device and size; those of the engines have trained weights where `models_dir` is set."""

    size: Size
    device: torch.device
    models_dir: Path | None = None
    models: ModelsConfig = field(init=False)
    tiers: Mapping[Family, Mapping[str, Any]] = field(init=False)
    catalogue: Mapping[str, JobType] = field(init=False)
    _shared: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        text = (CONFIGS / "models.toml").read_text(encoding="utf-8")
        tables = tomllib.loads(text)
        self.models = tiny.MODELS if self.size == "tiny" else parse_models(text)
        self.tiers = {"sdxl": tables["sdxl"]["tiers"], "wan": tables["wan"]["tiers"]}
        self.catalogue = parse_catalogue((CONFIGS / "job_types.toml").read_text(encoding="utf-8"))

    def contender(self, family: Family, name: str, **changes: Any) -> Contender:
        """`name` is `plain`, `replaced` or a tier; `changes` are other values of the model's table, as for a tier."""
        if name in (PLAIN, REPLACED):
            return self._of_diffusers(family, name)
        model: Any = self.models.sdxl if family == "sdxl" else self.models.wan
        model = replace(model, tier=build_tier(name, self.tiers[family]), **changes)
        engine = self._engine(model)
        engine.load()
        loaded = engine._ready()
        pipe, blocks = (
            (loaded.pipe, loaded.tuning.blocks)
            if isinstance(loaded, LoadedSdxl)
            else (loaded.from_noise, loaded.denoiser.blocks)
        )

        def draw(request: GenerationRequest) -> Drawn:
            generation = engine.generate(request, _unheard)
            return Drawn(generation.details, generation.frames)

        return Contender(
            name, pipe, draw, StageClock(self.device, stages_of(pipe)), settle=blocks.finish, engine=engine
        )

    def request(self, job_type: str, number: int, **changes: Any) -> GenerationRequest:
        """A job like a user's, with a prompt and a seed of its own for each `number`."""
        kind = self.catalogue[job_type]
        subject = SUBJECTS[number % len(SUBJECTS)]
        frames = (kind.num_frames - 1) // 4 * 4 + 1
        job = Job(
            id=f"bench-{number}",
            type=kind,
            user_id="bench",
            prompt=f"{subject}, take {number}",
            negative_prompt=NEGATIVE["sdxl"] if kind.model_family == "sdxl" else "",
            bucket=kind.bucket,
            num_images=1,
            seed=number,
            width=kind.width,
            height=kind.height,
            num_frames=frames,
            requested_frames=frames,
            num_inference_steps=kind.num_inference_steps,
            guidance_scale=kind.guidance_scale,
            solver=kind.solver,
            flow_shift=kind.flow_shift,
        )
        job = replace(job, **changes)
        return GenerationRequest(job, job.prompt, number)

    def _engine(self, model: SdxlModel | WanModel) -> SdxlEngine | WanEngine:
        folder = self.models_dir or Path("nowhere")
        load = None if self.models_dir else partial(self._pipe, model)
        if isinstance(model, SdxlModel):
            bare = replace(model, image_encoder=None, ip_adapter=None, ip_adapter_face=None, controlnet=None)
            return SdxlEngine(bare, folder, lambda: None, load=load)
        return WanEngine(replace(model, vace=None), folder, lambda: None, NEGATIVE["wan"], load=load)

    def _pipe(self, model: SdxlModel | WanModel) -> Any:
        if isinstance(model, SdxlModel):
            return sdxl_pipeline(self.size, model, self.device)
        if "text_encoder" not in self._shared or self._shared["text_dtype"] != model.dtype:
            self._shared = {
                "text_encoder": wan_text_encoder(self.size, model, self.device),
                "text_dtype": model.dtype,
            }
        return wan_pipeline(self.size, model, self.device, text_encoder=self._shared["text_encoder"])

    def _of_diffusers(self, family: Family, name: str) -> Contender:
        model: Any = (
            replace(self.models.sdxl, vae_dtype=self.models.sdxl.dtype) if family == "sdxl" else self.models.wan
        )
        pipe = self._pipe(model)
        clock = StageClock(self.device, stages_of(pipe))
        if name == PLAIN:
            return Contender(name, pipe, lambda request: _drawn_plainly(pipe, request), clock)
        # Of SDXL's UNet alone: WAN's transformer does not know it. A tiny model has one head, which has no half.
        pipe.enable_attention_slicing("auto" if self.size == "full" else "max")
        host = HostCopy(pipe, self.device)

        def draw(request: GenerationRequest) -> Drawn:
            begun = time.perf_counter()
            host.bring()
            reload_seconds = time.perf_counter() - begun
            drawn = _drawn_plainly(pipe, request)
            return replace(drawn, details={"reload_seconds": reload_seconds})

        return Contender(name, pipe, draw, clock, before=host.drop)


class HostCopy:
    """The weights of a pipeline in ordinary host memory, to be brought onto the device and dropped from it."""

    def __init__(self, pipe: Any, device: torch.device) -> None:
        models = [each for each in pipe.components.values() if isinstance(each, torch.nn.Module)]
        weights = {id(weight): weight for model in models for weight in model.parameters()}
        self._device = device
        self._copies = [(weight, weight.detach().to("cpu", copy=True)) for weight in weights.values()]

    def drop(self) -> None:
        for weight, _ in self._copies:
            weight.data = torch.empty(0, dtype=weight.dtype, device=self._device)

    def bring(self) -> None:
        for weight, copy in self._copies:
            weight.data = copy.to(self._device, copy=True)
        synchronise(self._device)


def _drawn_plainly(pipe: Any, request: GenerationRequest) -> Drawn:
    """One call, as the documentation of diffusers has it."""
    job = request.job
    generator = torch.Generator("cpu").manual_seed(request.seed)
    call = {
        "prompt": request.prompt,
        "negative_prompt": NEGATIVE[job.type.model_family],
        "width": job.width,
        "height": job.height,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "generator": generator,
    }
    if job.type.model_family == "sdxl":
        call["num_images_per_prompt"] = job.num_images
    else:
        call["num_frames"] = job.num_frames
    with numpy_conversions_quiet():
        pipe(**call)
    return Drawn({})


def _unheard(_done: int, _total: int) -> None: ...


def gigabytes(count: float) -> float:
    return round(count / GB, 2)
