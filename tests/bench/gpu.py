"""`scripts/bench/gpu`: what the models cost on this card, beside plain diffusers and the settings that came before.

Full-size SDXL, WAN 1.3B, UMT5-XXL and Qwen 2.5 7B with random weights drawn on the card, through the engines that
ship. Contenders take turns with the same prompts and seeds, warm-up and compilation are told apart, and figures are
written after every case. What does not fit into the time is left out and named; `--continue` measures it later.

Random weights cost what trained ones do, with one exception: how many steps a first-block cache skips depends on the
pictures. `denoiser_calls` and the tier's own entries tell what was really run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.engines.language.chat import Chat
from ourvidz_worker.engines.quiet import quieten_model_libraries
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.ports import GenerationRequest, Message, Order
from tests.bench.arithmetic import (
    copied_gb_per_second,
    measured_tflops,
    published_tflops,
    sdxl_tflop,
    wan_tflop,
)
from tests.bench.bars import bar_chart
from tests.bench.contenders import EXACT, PLAIN, REPLACED, Contender, Family, Studio, gigabytes
from tests.bench.random_models import Size, qwen_model
from tests.bench.report import REPORTS, machine, write_plot, write_report
from tests.bench.rounds import Budget, Expected, TooLate, compare, faster, free_card, require_time, rounded, spread
from tests.bench.stage_clock import synchronise

COMMAND = "scripts/bench/gpu"
BUDGET_SECONDS = 540.0
SPEED = 0.3  # share of the floor, for guessing how long a case takes before a like one was measured
PARTS = ("sdxl", "wan", "qwen", "files")
WARM_UP_STEPS = 2
LANGUAGE_SECONDS = 40.0  # to draw the weights and answer four times
CLIP_STEPS = 4  # of clips whose length in steps is computed
NOTE = "random weights: times and memory are those of trained ones, pictures are not"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the work is: batches of one user's pictures, and of several users with one each.

    `side` of pictures and clips, `frames` and `steps` take the place of what the catalogue says of a type.
    """

    size: Size
    rounds: int
    most_warm_ups: int
    qualities: Sequence[str]
    batches: Sequence[int]
    users: Sequence[int]
    matrix: int
    copy_gb: float
    tokens: int
    side: int | None = None
    frames: int | None = None
    steps: Mapping[str, int] = field(default_factory=dict)

    def types(self, media: str) -> list[str]:
        return [f"{media}_{quality}" for quality in self.qualities]

    def changes(self, kind: JobType) -> dict[str, Any]:
        changes: dict[str, Any] = {"width": self.side, "height": self.side} if self.side else {}
        if self.frames and kind.media == "video":
            changes["num_frames"] = self.frames
        if kind.name in self.steps:
            changes["num_inference_steps"] = self.steps[kind.name]
        return changes


SCALES: Mapping[Size, Scale] = {
    "full": Scale(
        "full",
        rounds=3,
        most_warm_ups=3,
        qualities=("fast", "high"),
        batches=(6, 3),
        users=(1, 3, 6),
        matrix=8192,
        copy_gb=4.0,
        tokens=256,
    ),
    "tiny": Scale(
        "tiny",
        rounds=1,
        most_warm_ups=0,
        qualities=("fast",),
        batches=(3,),
        users=(3,),
        matrix=128,
        copy_gb=0.001,
        tokens=4,
        side=64,
        frames=5,
        steps={
            "sdxl_image_fast": 2,
            "sdxl_image_high": 3,
            "image_fast": 1,
            "image_high": 2,
            "video_fast": 2,
            "video_high": 3,
        },
    ),
}


class Bench:
    """One run: its device, the figures so far, and where they go."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.scale = SCALES[arguments.size]
        self.device = torch.device("cuda" if torch.cuda.is_available() and arguments.size == "full" else "cpu")
        self.card = torch.cuda.get_device_name() if self.device.type == "cuda" else machine()["cpu"]
        self.studio = Studio(self.scale.size, self.device)
        self.budget = Budget(arguments.budget)
        self._parts: Sequence[str] = arguments.only
        self._folder: Path = arguments.folder
        self.cases: dict[str, Any] = _kept(self._folder, self.card) if arguments.resume else {}
        self.left_out: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.ceilings: dict[str, float | None] = {}
        self.speed: dict[Family, float] = {}

    def run(self) -> None:
        self._ceilings()
        for part, share, act in ACTS:
            if part not in self._parts:
                continue
            budget = self.budget.part(share)
            act(self, budget)
            free_card()
        self.save()

    def case(self, name: str, measure: Callable[[], Mapping[str, Any]]) -> None:
        """Measure a case, unless that was done before; what did not fit is named instead."""
        if name in self.cases:
            return
        print(f"{name} …", file=sys.stderr, flush=True)  # noqa: T201
        try:
            found = measure()
        except TooLate as late:
            self.left_out[name] = str(late)
        except Exception as error:  # noqa: BLE001 - one case that fails must not cost the others their time
            self.failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            traceback.print_exc()
        else:
            self.cases[name] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **found}
        self.save()

    def save(self) -> None:
        figures = {
            "size": self.scale.size,
            "card": self.card,
            "note": NOTE,
            "libraries": {name: version(name) for name in ("torch", "diffusers", "transformers")},
            "ceilings": self.ceilings,
            "cases": self.cases,
            "left out": self.left_out,
            "failed": self.failed,
        }
        write_report("gpu", figures, command=[COMMAND, *sys.argv[1:]], folder=self._folder)
        bars = {
            f"{case}: {name}": found["seconds"]["median"]
            for case, measured in self.cases.items()
            for name, found in measured.get("contenders", {}).items()
            if "seconds" in found
        }
        if bars:
            title = f"Seconds per job, {self.card}, {self.scale.size} models with random weights, logarithmic"
            write_plot("gpu", bar_chart(title, bars), folder=self._folder)

    def request(self, job_type: str, number: int, **changes: Any) -> GenerationRequest:
        return self.studio.request(job_type, number, **self.scale.changes(self.studio.catalogue[job_type]) | changes)

    @contextmanager
    def contenders(self, family: Family, *names: str) -> Iterator[list[Contender]]:
        made = [self.studio.contender(family, name) for name in names]
        try:
            yield made
        finally:
            made.clear()
            free_card()

    def floor_seconds(self, request: GenerationRequest) -> float:
        """What the arithmetic of a job takes at the rate at which this card multiplies large matrices."""
        job = request.job
        if job.type.model_family == "sdxl":
            tflop = sdxl_tflop(self.scale.size, job.width, job.height)
        else:
            tflop = wan_tflop(self.scale.size, job.width, job.height, job.num_frames)
        work = (job.num_inference_steps * tflop.step + tflop.decode) * job.num_images
        rate = self.ceilings["measured TFLOP/s"]
        assert rate is not None
        return work / rate

    def expected_seconds(self, request: GenerationRequest) -> float:
        """As slow as the slowest contender so far; a processor is not asked to hurry."""
        speed = self.speed.get(request.job.type.model_family, SPEED)
        return self.floor_seconds(request) / speed if self.device.type == "cuda" else 0.0

    def _ceilings(self) -> None:
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.ceilings = {
            "measured TFLOP/s": rounded(measured_tflops(self.device, dtype, side=self.scale.matrix)),
            "published TFLOP/s": published_tflops(self.card),
            "measured GB/s": rounded(copied_gb_per_second(self.device, gigabytes=self.scale.copy_gb)),
        }


def compared(
    bench: Bench, budget: Budget, contenders: Sequence[Contender], job_type: str, **changes: Any
) -> dict[str, Any]:
    """One type of job by all contenders, with their shares of the floor and their ratios to the exact engine."""
    request = bench.request(job_type, 0, **changes)
    family, steps = request.job.type.model_family, request.job.num_inference_steps
    floor = bench.floor_seconds(request)
    run = bench.expected_seconds(request)
    # WAN's steps are so long that a few of them warm up everything.
    few = {**changes, "num_inference_steps": min(steps, WARM_UP_STEPS) if family == "wan" else steps}
    figures = compare(
        contenders,
        lambda number: bench.request(job_type, number, **changes),
        device=bench.device,
        budget=budget,
        rounds=bench.scale.rounds if request.job.num_images == 1 else min(2, bench.scale.rounds),
        most_warm_ups=bench.scale.most_warm_ups,
        expected=Expected(run, 2 * run * few["num_inference_steps"] / steps),
        make_warm_up=lambda number: bench.request(job_type, number, **few),
    )
    for name in (EXACT, PLAIN, REPLACED):
        if "seconds" in figures.get(name, {}):
            share = floor / figures[name]["seconds"]["median"]
            figures[name]["share of the floor"] = rounded(share)
            bench.speed[family] = min(share, bench.speed.get(family, 1.0))
    return {
        "images": request.job.num_images,
        "steps": request.job.num_inference_steps,
        "floor_seconds": rounded(floor),
        "contenders": figures,
        "exact is faster than": {
            name: ratio
            for name in figures
            if name in (PLAIN, REPLACED) and (ratio := faster(figures, name, EXACT)) is not None
        },
        "faster than exact": {
            name: ratio
            for name in figures
            if name not in (EXACT, PLAIN, REPLACED) and (ratio := faster(figures, EXACT, name)) is not None
        },
    }


def sdxl_pictures(bench: Bench, budget: Budget) -> None:
    with bench.contenders("sdxl", EXACT, PLAIN, REPLACED) as contenders:
        types = bench.scale.types("sdxl_image")
        for job_type, images in [*product(types, (1,)), *product(types, bench.scale.batches)]:
            measure = partial(compared, bench, budget, contenders, job_type, num_images=images)
            bench.case(f"{job_type}, {images} image{'s' * (images > 1)}", measure)
        vae, job = contenders[0].pipe.vae, bench.request("sdxl_image_fast", 0).job
        picture = Image.effect_noise((job.width, job.height), 60).convert("RGB")
        bench.case("SDXL: a reference into latents", lambda: _timed(bench, lambda: sdxl_latents.encode(vae, picture)))


def wan_clips(bench: Bench, budget: Budget) -> None:
    """A few steps of a whole clip tell what any number of them takes: all steps compute the same.

    That is not so for a first-block cache, so `denoiser_calls` and the entries of the tier must be looked at.
    """
    with bench.contenders("wan", EXACT, PLAIN, REPLACED, *bench.studio.tiers["wan"]) as contenders:
        job = bench.request("video_fast", 0).job
        steps = min(CLIP_STEPS, job.num_inference_steps)

        def measure() -> dict[str, Any]:
            found = compared(bench, budget, contenders, "video_fast", num_inference_steps=steps)
            for figures in found["contenders"].values():
                if "seconds" in figures:
                    figures["computed_seconds"] = {
                        job_type: _for_steps(figures, steps, bench.request(job_type, 0).job.num_inference_steps)
                        for job_type in ("video_fast", "video_high")
                    }
            return found | {"computed, exact is faster than": _computed_ratios(found["contenders"])}

        bench.case(f"video of {job.width} x {job.height} x {job.num_frames} in {steps} steps", measure)
        vae = contenders[0].pipe.vae
        bench.case("WAN: a clip into latents", lambda: _timed(bench, lambda: _clip_encoded(vae, job, bench.device)))


def wan_stills(bench: Bench, budget: Budget) -> None:
    with bench.contenders("wan", EXACT, PLAIN) as contenders:
        for job_type in bench.scale.types("image"):
            bench.case(job_type, partial(compared, bench, budget, contenders, job_type))


def wan_whole(bench: Bench, budget: Budget) -> None:
    """Clips at their full number of steps, to prove what was computed."""
    with bench.contenders("wan", EXACT, PLAIN) as contenders:
        for job_type in bench.scale.types("video"):
            bench.case(job_type, partial(compared, bench, budget, contenders, job_type))


def sdxl_tiers(bench: Bench, budget: Budget) -> None:
    with bench.contenders("sdxl", EXACT, *bench.studio.tiers["sdxl"]) as contenders:
        for job_type in bench.scale.types("sdxl_image"):
            bench.case(f"tiers: {job_type}", partial(compared, bench, budget, contenders, job_type))


def shared_batches(bench: Bench, budget: Budget) -> None:
    """One picture for each of several users: in one batch, and one user after the other."""
    with bench.contenders("sdxl", EXACT) as (contender,):
        for users in bench.scale.users:
            measure = partial(_shared, bench, budget, contender, users)
            bench.case(f"one batch for {users} user{'s' * (users > 1)}", measure)


def _shared(bench: Bench, budget: Budget, contender: Contender, users: int) -> dict[str, Any]:
    engine = contender.engine
    assert engine is not None
    warm_ups = min(3, bench.scale.most_warm_ups)  # eagerly, compiled, and once more
    one = bench.expected_seconds(bench.request("sdxl_image_fast", 0))
    require_time(budget, 2 * users * one * (warm_ups + 1))

    def together(number: int) -> None:
        orders = [Order(bench.request("sdxl_image_fast", number * users + user), _unheard) for user in range(users)]
        for outcome in engine.generate_together(orders):
            if isinstance(outcome, BaseException):
                raise outcome

    def in_turn(number: int) -> None:
        for user in range(users):
            engine.generate(bench.request("sdxl_image_fast", number * users + user), _unheard)

    for _ in range(warm_ups):
        together(0)
        contender.settle()
        in_turn(0)
    batched, alone = [], []
    for number in range(1, bench.scale.rounds + 1):
        batched.append(_seconds(bench.device, partial(together, number)) / users)
        alone.append(_seconds(bench.device, partial(in_turn, number + bench.scale.rounds)) / users)
    return {
        "users": users,
        "seconds per picture, in one batch": spread(batched),
        "seconds per picture, one after the other": spread(alone),
        "the batch is faster": rounded(statistics.median(alone) / statistics.median(batched)),
    }


class RandomChat(Chat):
    """The language worker's own chat on a model that was not read from disk."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._name = "random"
        self.tokenizer = tokenizer
        self.model = model


def language(bench: Bench, budget: Budget) -> None:
    def measure() -> dict[str, Any]:
        require_time(budget, LANGUAGE_SECONDS if bench.device.type == "cuda" else 0.0)
        tokenizer, model = qwen_model(bench.scale.size, bench.studio.models.qwen, bench.device)
        chat = RandomChat(tokenizer, model)
        messages: list[Message] = [{"role": "user", "content": "a lighthouse on a cliff at dawn"}]

        def answer(seed: int) -> None:
            chat.say(
                messages,
                seed=seed,
                max_new_tokens=bench.scale.tokens,
                temperature=0.7,
                top_p=0.9,
                hear=lambda _: None,
                stopped=threading.Event(),
            )

        answer(0)
        seconds = [_seconds(bench.device, partial(answer, seed)) for seed in range(1, bench.scale.rounds + 1)]
        weights = sum(weight.nbytes for weight in model.parameters())
        bandwidth = bench.ceilings["measured GB/s"]
        assert bandwidth is not None
        floor = bench.scale.tokens * weights / 10**9 / bandwidth
        return {
            "tokens": bench.scale.tokens,
            "seconds": spread(seconds),
            "tokens per second": rounded(bench.scale.tokens / statistics.median(seconds)),
            "floor_seconds": rounded(floor),
            "share of the floor": rounded(floor / statistics.median(seconds)),
            "weights_gb": gigabytes(weights),
        }

    bench.case("Qwen 2.5 7B: an answer", measure)


def files(bench: Bench, _budget: Budget) -> None:
    """What the processor, or the card's own encoder, takes to write the files; noise is the hardest to compress."""
    from ourvidz_worker.engines.media.encoder import FileEncoder
    from ourvidz_worker.engines.media.options import DEFAULT_OPTIONS
    from ourvidz_worker.ports import BucketLimit, Generation

    for job_type, name in (("sdxl_image_fast", "PNG of a picture"), ("video_fast", "MP4 of a clip")):
        request = bench.request(job_type, 0)
        job = request.job
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randint(0, 256, (job.num_frames, 3, job.height // 16, job.width // 16), generator=generator)
        smooth = torch.nn.functional.interpolate(coarse.float(), (job.height, job.width), mode="bilinear")
        frames = smooth.permute(0, 2, 3, 1).to(torch.uint8).numpy()

        def measure(request: GenerationRequest = request, frames: Any = frames) -> dict[str, Any]:
            encoder = FileEncoder("bench", DEFAULT_OPTIONS)
            seconds, details, size = [], {}, 0
            for _ in range(bench.scale.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    begun = time.perf_counter()
                    encoded = encoder.encode(request, Generation(frames, {}), Path(folder), BucketLimit())
                    seconds.append(time.perf_counter() - begun)
                    details, size = dict(encoded.details), sum(asset.bytes for asset in encoded.assets)
            return {"seconds": spread(seconds), "bytes": size, "details": details}

        bench.case(name, measure)


Act = Callable[[Bench, Budget], None]
# What belongs to it, its share of the time that is left when it begins, and what it does; the dearest facts first.
ACTS: Sequence[tuple[str, float, Act]] = (
    ("sdxl", 0.35, sdxl_pictures),
    ("wan", 0.6, wan_clips),
    ("qwen", 0.3, language),
    ("sdxl", 0.3, sdxl_tiers),
    ("sdxl", 0.3, shared_batches),
    ("wan", 0.5, wan_stills),
    ("wan", 0.9, wan_whole),
    ("files", 1.0, files),
)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.size == "full" and not torch.cuda.is_available():
        print("models of full size take a CUDA device, and PyTorch finds none here; try --size tiny", file=sys.stderr)  # noqa: T201
        return 2
    quieten_model_libraries()
    bench = Bench(arguments)
    bench.run()
    for name, reason in bench.left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)  # noqa: T201
    return 1 if bench.failed else 0


def _for_steps(figures: Mapping[str, Any], measured: int, wanted: int) -> float:
    other = figures["seconds"]["median"] - figures["stages"]["denoise"]
    return rounded(other + figures["stages"]["denoise"] / measured * wanted)


def _computed_ratios(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    computed = {name: found["computed_seconds"] for name, found in figures.items() if "computed_seconds" in found}
    exact = computed.get(EXACT, {})
    return {
        name: {job_type: rounded(seconds / exact[job_type]) for job_type, seconds in others.items()}
        for name, others in computed.items()
        if name != EXACT and exact
    }


@torch.no_grad()
def _clip_encoded(vae: Any, job: Any, device: torch.device) -> None:
    vae.encode(torch.rand(1, 3, job.num_frames, job.height, job.width, device=device, dtype=vae.dtype) * 2 - 1)


def _timed(bench: Bench, work: Callable[[], Any]) -> dict[str, Any]:
    work()
    return {"seconds": spread([_seconds(bench.device, work) for _ in range(bench.scale.rounds)])}


def _seconds(device: torch.device, work: Callable[[], Any]) -> float:
    synchronise(device)
    begun = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begun


def _kept(folder: Path, card: str) -> dict[str, Any]:
    """The cases of an earlier run, if they are of this very card."""
    file = folder / "gpu.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if earlier and earlier["card"] != card:
        raise SystemExit(
            f"{file} is about {earlier['card']}, and this is {card}; write to another folder with --folder"
        )
    cases: dict[str, Any] = earlier.get("cases", {})
    return cases


def _unheard(_done: int, _total: int) -> None: ...


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", choices=tuple(SCALES), default="full", help="tiny runs on a CPU (default: %(default)s)"
    )
    parser.add_argument(
        "--budget", type=float, default=BUDGET_SECONDS, metavar="SECONDS", help="time to spend (default: %(default)g)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="which models (default: all)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="keep the figures that are there")
    parser.add_argument("--folder", type=Path, default=REPORTS, help="for gpu.json and gpu.svg (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
