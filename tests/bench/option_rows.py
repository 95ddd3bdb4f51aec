"""One row of pictures for each way of steering a generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from ourvidz_worker.cli.chosen import read_models
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import JobType, parse_catalogue
from ourvidz_worker.contract.job import Job, Reference, ReferenceRole
from ourvidz_worker.engines.demo import models as demo
from ourvidz_worker.engines.fitting import Fit
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.tiny import models as tiny
from ourvidz_worker.engines.volume.model_config import DemoModels, ModelsConfig
from ourvidz_worker.engines.volume.weights import require_weights
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.ports import Engine, GenerationRequest, ReferenceImage
from ourvidz_worker.runtime.language.templates import wan_negative
from tests.bench.contact_sheet import Row

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

PROMPT = "a lighthouse on a cliff at dawn, waves below"
SEED = 7
ADAPTERS = ("ip_adapter", "ip_adapter_face", "controlnet", "image_encoder")
STRENGTHS = (0.1, 0.5, 1.0)
WEIGHTS = ("a lighthouse", "a (lighthouse)1.5", f"{PROMPT}, " + "weathered stone, " * 40)
CONTRAST = 6
SCHEDULERS = ("euler", "euler_a", "dpm++_2m_karras", "ddim", "unipc")


@dataclass(frozen=True, slots=True)
class Easel:
    """Where the pictures come from; `share` of the job type's width and height is drawn."""

    catalogue: dict[str, JobType]
    models: ModelsConfig | DemoModels
    models_dir: Path
    prepare: Any
    negative: str
    share: float

    def sdxl(self, fit: Fit = "crop", *, adapters: bool = True) -> Engine:
        bare: dict[str, Any] = {} if adapters else dict.fromkeys(ADAPTERS)
        return SdxlEngine(replace(self.models.sdxl, **bare), self.models_dir, partial(self.prepare, "sdxl"), fit=fit)

    def wan(self, *, vace: bool = True) -> Engine:
        model = self.models.wan if vace else replace(self.models.wan, vace=None)
        return WanEngine(model, self.models_dir, partial(self.prepare, "wan"), self.negative)

    def request(self, name: str, *references: ReferenceImage, **changes: Any) -> GenerationRequest:
        job = replace(_job(self.catalogue[name], self.share), **changes)
        return GenerationRequest(job, job.prompt, SEED, references)


def option_rows(selection: str, models_dir: Path) -> list[Row]:
    """Draw everything with `tiny` models, built in `models_dir`, the `real` ones that lie there, or the `demo` ones."""
    easel = _easel(selection, models_dir)
    return [*_sdxl_rows(easel), *_wan_rows(easel)]


def _easel(selection: str, models_dir: Path) -> Easel:
    files = ConfigFiles()
    catalogue = dict(parse_catalogue(files.text("job_types.toml")))
    negative = wan_negative(files.texts("prompts"))
    models: ModelsConfig | DemoModels
    match selection:
        case "tiny":
            return Easel(
                catalogue, tiny.MODELS, models_dir, partial(tiny.ensure_built, models_dir), negative, share=0.5
            )
        case "demo":
            models = demo.shipped_models(read_models(files))
            prepare = partial(demo.require_shipped, models, own_language_model=False)
            return Easel(catalogue, models, demo.WEIGHTS, prepare, negative, share=1.0)
        case _:
            models = read_models(files)
            require = partial(require_weights, models, models_dir, own_language_model=False)
            return Easel(catalogue, models, models_dir, require, negative, share=1.0)


def _sdxl_rows(easel: Easel) -> list[Row]:
    full, bare = easel.sdxl(), easel.sdxl(adapters=False)
    name = "sdxl_image_fast"
    one, other = _picture("style"), _picture("character", night=True)
    plain = _row("SDXL: prompt alone, three seeds", full, [easel.request(name, num_images=3)])
    rows = [
        _row("SDXL: weights, and 200 tokens", full, [easel.request(name, prompt=prompt) for prompt in WEIGHTS]),
        _row("SDXL: schedulers", full, [easel.request(name, solver=solver) for solver in SCHEDULERS], "scheduler"),
    ]
    for role in ("style", "composition", "character"):
        strengths = [easel.request(name, _as(one, role, strength)) for strength in STRENGTHS]
        title = f"SDXL: {role}, strength {', '.join(map(str, STRENGTHS))}, another picture"
        rows.append(_row(title, full, [*strengths, easel.request(name, _as(other, role, 1.0))], shown=one))
    together = easel.request(name, _as(one, "style"), _as(other, "composition"), _as(one, "character"))
    rows.append(_row("SDXL: style, composition and character in one job", full, [together], shown=one))
    without = [easel.request(name, _as(one, "style", strength)) for strength in STRENGTHS]
    rows.append(_row(f"SDXL: without adapter weights, {', '.join(map(str, STRENGTHS))}", bare, without, shown=one))
    rows = [plain, *(each for row in rows for each in (row, _changes(row, plain.pictures[0])))]
    wide = easel.request(name, _as(one, "style", 1.0), width=896, height=512)
    rows.append(_row("SDXL: a wide job, reference cropped", bare, [wide], shown=one))
    rows.append(_row("SDXL: a wide job, reference padded", easel.sdxl("pad", adapters=False), [wide], shown=one))
    return rows


def _wan_rows(easel: Easel) -> list[Row]:
    full, bare = easel.wan(), easel.wan(vace=False)
    start, end = _picture("start"), _picture("end", night=True)
    clip = partial(easel.request, "video_fast", num_inference_steps=10)
    return [
        _row("WAN: prompt alone, first, middle and last frame", full, [clip()]),
        _row("WAN: start frame", full, [clip(_as(start, "start", 1.0))], shown=start),
        _row("WAN: end frame", full, [clip(_as(end, "end", 1.0))], shown=end),
        _row("WAN: start and end frame", full, [clip(_as(start, "start", 1.0), _as(end, "end", 1.0))], shown=start),
        _row("WAN: a reference for the whole clip", full, [clip(_as(start, "character"))], shown=start),
        _row("WAN: a still with a reference", full, [easel.request("image_fast", _as(start, "style"))], shown=start),
        _row("WAN: start frame, without VACE weights", bare, [clip(_as(start, "start", 0.8))], shown=start),
    ]


def _row(
    title: str,
    engine: Engine,
    requests: Sequence[GenerationRequest],
    *notes: str,
    shown: ReferenceImage | None = None,
) -> Row:
    """Every picture of the requests, the reference before them; the note names methods and what is asked for."""
    pictures = [] if shown is None else [Image.fromarray(shown.pixels)]
    said: list[str] = []
    for request in requests:
        generation = engine.generate(request, lambda done, total: None)
        frames: Pixels = generation.frames
        chosen = (0, len(frames) // 2, -1) if request.job.is_video else range(len(frames))
        pictures += [Image.fromarray(frames[index]) for index in chosen]
        said += _said(generation.details, notes)
    print(title, flush=True)  # noqa: T201
    return Row(title, ", ".join(dict.fromkeys(said)), pictures)


def _changes(row: Row, plain: Image.Image) -> Row:
    """What differs from the prompt alone, made visible; grey is no difference."""
    differences = [
        ImageChops.subtract(picture, plain, scale=1 / CONTRAST, offset=128)
        for picture in row.pictures
        if picture.size == plain.size
    ]
    leading = [Image.new("RGB", plain.size, "white")] * (len(row.pictures) - len(differences))
    return Row("", f"what changed against the prompt alone, {CONTRAST} times stronger", [*leading, *differences])


def _said(details: Any, notes: Sequence[str]) -> list[str]:
    methods = [f"{followed['type']}: {followed['method']}" for followed in details.get("reference_methods", ())]
    return [*methods, *(str(details[note]) for note in notes)]


def _as(image: ReferenceImage, role: ReferenceRole, strength: float = 0.7) -> ReferenceImage:
    return replace(image, reference=replace(image.reference, role=role, strength=strength))


def _picture(role: ReferenceRole, *, night: bool = False) -> ReferenceImage:
    """A landscape with sky, sun or moon, and a hill; wider than high."""
    sky, light, hill = (
        ((18, 24, 60), (230, 230, 215), (30, 60, 40)) if night else ((250, 190, 120), (255, 240, 90), (70, 120, 60))
    )
    image = Image.new("RGB", (640, 480), sky)
    pen = ImageDraw.Draw(image)
    left = 420 if night else 120
    pen.ellipse((left, 80, left + 110, 190), fill=light)
    pen.polygon([(0, 480), (200, 300), (430, 400), (640, 250), (640, 480)], fill=hill)
    return ReferenceImage(Reference(role, "reference_images/u/ref.png", 0.7, "reference_image_url"), np.asarray(image))


def _job(job_type: JobType, share: float) -> Job:
    return Job(
        id="sheet",
        type=job_type,
        user_id="sheet",
        prompt=PROMPT,
        negative_prompt="",
        bucket=job_type.bucket,
        num_images=1,
        seed=SEED,
        width=int(job_type.width * share) // 16 * 16,
        height=int(job_type.height * share) // 16 * 16,
        num_frames=81 if job_type.media == "video" else 1,
        requested_frames=job_type.num_frames,
        num_inference_steps=job_type.num_inference_steps,
        guidance_scale=job_type.guidance_scale,
        solver=job_type.solver,
        flow_shift=job_type.flow_shift,
    )
