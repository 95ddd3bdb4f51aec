"""`scripts/bench/quality`: how far the tiers of speed, and each kind of arithmetic, deviate from what they replace.

The same prompts and seeds through the engine in each variant: every tier against `exact`, and the arithmetic that
ships, piece by piece, against float32 throughout. PSNR is in dB over all values, SSIM over luma, both computed here.

With random weights, tiny or full, pictures are noise with structure: they show that a tier does what it says and how
far rounding carries, not how a tier looks. `--models-dir` draws the same from trained weights; the sheet is for eyes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ourvidz_worker.engines.quiet import quieten_model_libraries
from tests.bench.bars import bar_chart
from tests.bench.contact_sheet import Row, contact_sheet
from tests.bench.contenders import EXACT, Contender, Family, Studio
from tests.bench.likeness import psnr, ssim
from tests.bench.random_models import Size
from tests.bench.report import REPORTS, machine, write_plot, write_report
from tests.bench.rounds import free_card, rounded
from tests.bench.stage_clock import synchronise

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

COMMAND = "scripts/bench/quality"
JOB_TYPE: Mapping[Family, str] = {"sdxl": "sdxl_image_fast", "wan": "video_fast"}
CHANGES: Mapping[Size, Mapping[Family, Mapping[str, Any]]] = {
    "full": {"sdxl": {}, "wan": {"num_frames": 17, "num_inference_steps": 12}},
    "tiny": {
        "sdxl": {"width": 64, "height": 64, "num_inference_steps": 4},
        "wan": {"width": 64, "height": 64, "num_frames": 5, "num_inference_steps": 6},
    },
}
_WHOLE = {"dtype": "float32", "vae_dtype": "float32", "attention": "sdpa", "compile": "off"}
WHOLE: Mapping[Family, Mapping[str, Any]] = {"sdxl": _WHOLE, "wan": {**_WHOLE, "vae_decode_dtype": "float32"}}
KERNELS: Mapping[str, Mapping[str, Any]] = {
    "FlashAttention 3": {"attention": "flash3"},
    "xformers": {"attention": "xformers"},
    "SageAttention": {"attention": "sage"},
}
IN_BFLOAT16: Mapping[str, Mapping[str, Any]] = {"models in bfloat16": {"dtype": "bfloat16"}}
NUMERICS: Mapping[Size, Mapping[Family, Mapping[str, Mapping[str, Any]]]] = {
    "full": {
        "sdxl": {
            "as shipped": {},
            "not compiled": {"compile": "off"},
            **IN_BFLOAT16,
            "VAE in float32": {"vae_dtype": "float32"},
            **KERNELS,
        },
        "wan": {
            "as shipped": {},
            "not compiled": {"compile": "off"},
            "decoded in float32": {"vae_decode_dtype": "float32"},
            **KERNELS,
        },
    },
    "tiny": {"sdxl": IN_BFLOAT16, "wan": IN_BFLOAT16},  # a processor has no other kernels, and compiles nothing
}
FLOAT32 = "float32 throughout"
MOST_FRAMES = 5  # of a clip that SSIM looks at
SHOWN_DIFFERENCE = 8  # times, in the sheet
NOTES = {
    "random": "random weights: whether a tier does what it says and how far rounding carries, not how it looks",
    "trained": "trained weights",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """Pictures of all seeds, shape (n, height, width, 3) each, and the seconds that one of them took."""

    name: str
    pictures: Sequence[Pixels]
    seconds: float
    details: Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.size == "full" and not torch.cuda.is_available():
        print("models of full size take a CUDA device, and PyTorch finds none here; try --size tiny", file=sys.stderr)  # noqa: T201
        return 2
    quieten_model_libraries()
    device = torch.device("cuda" if arguments.size == "full" else "cpu")
    studio = Studio(arguments.size, device, arguments.models_dir)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    sheet: list[Row] = []
    for family in arguments.only:
        for reference, variants in (
            ((EXACT, {}), {name: {"tier": name} for name in studio.tiers[family]}),
            ((FLOAT32, WHOLE[family]), NUMERICS[arguments.size][family]),
        ):
            original = _drawn(studio, family, reference[0], reference[1], arguments.seeds)
            sheet.append(_shown(family, original, None))
            for name, changes in variants.items():
                variant = _drawn(studio, family, name, changes, arguments.seeds)
                fallback = variant.details.get("attention_fallback")
                if fallback and "attention" in changes:
                    left_out[f"{family}, {name}"] = fallback
                    continue
                rows.append(compared(family, variant, original))
                sheet.append(_shown(family, variant, original))
            _write(arguments, rows, left_out, device)
    contact_sheet(f"Every variant beside what it replaces ({arguments.size} models)", sheet).save(
        arguments.folder / "quality.jpg", quality=88
    )
    return 0


def compared(family: str, variant: Variant, original: Variant) -> dict[str, Any]:
    """A row of the report: the mean and the worst likeness of all seeds; no PSNR where all pictures are equal."""
    pairs = list(zip(variant.pictures, original.pictures, strict=True))
    noises = [psnr(one, other) for one, other in pairs]
    alike = [_alike(one, other) for one, other in pairs]
    finite = [noise for noise in noises if math.isfinite(noise)]
    return {
        "model": family,
        "variant": variant.name,
        "against": original.name,
        "equal": not finite,
        "psnr_db": rounded(statistics.mean(finite)) if finite else None,
        "least_psnr_db": rounded(min(finite)) if finite else None,
        "ssim": rounded(statistics.mean(alike)),
        "least_ssim": rounded(min(alike)),
        "largest_difference": max(int(np.abs(one.astype(int) - other.astype(int)).max()) for one, other in pairs),
        "seconds": variant.seconds,
        "times_as_fast": rounded(original.seconds / variant.seconds),
        **{key: variant.details[key] for key in _TOLD if key in variant.details},
    }


_TOLD = ("attention", "attention_fallback", "compile", "compile_reason", "first_block_cache_hits")


def _alike(one: Pixels, other: Pixels) -> float:
    """Mean SSIM of the pictures, or of frames at equal distances in a clip."""
    chosen = np.linspace(0, len(one) - 1, min(len(one), MOST_FRAMES)).astype(int)
    return statistics.mean(ssim(one[index], other[index]) for index in chosen)


def _drawn(studio: Studio, family: Family, name: str, changes: Mapping[str, Any], seeds: int) -> Variant:
    tier = changes.get("tier", EXACT)
    contender = studio.contender(family, tier, **{key: value for key, value in changes.items() if key != "tier"})
    try:
        if studio.device.type == "cuda":  # eagerly, and compiled
            for _ in range(2):
                _draw(studio, family, contender, 0)
                contender.settle()
        runs = [_draw(studio, family, contender, seed) for seed in range(1, seeds + 1)]
    finally:
        del contender
        free_card()
    pictures = [pixels for pixels, _, _ in runs]
    seconds = rounded(statistics.median(seconds for _, seconds, _ in runs))
    return Variant(name, pictures, seconds, runs[-1][2])


def _draw(studio: Studio, family: Family, contender: Contender, seed: int) -> tuple[Pixels, float, Mapping[str, Any]]:
    request = studio.request(JOB_TYPE[family], seed, **CHANGES[studio.size][family])
    synchronise(studio.device)
    begun = time.perf_counter()
    drawn = contender.draw(request)
    seconds = time.perf_counter() - begun
    assert drawn.pixels is not None
    return drawn.pixels, seconds, drawn.details


def _shown(family: str, variant: Variant, original: Variant | None) -> Row:
    """A picture of each seed, and beside it what is different."""
    pictures = []
    for index, pixels in enumerate(variant.pictures):
        pictures.append(Image.fromarray(pixels[0]))
        if original is not None:
            far = np.abs(pixels[0].astype(int) - original.pictures[index][0].astype(int)) * SHOWN_DIFFERENCE
            pictures.append(Image.fromarray(far.clip(0, 255).astype(np.uint8)))
    note = f"the difference from {original.name}, times {SHOWN_DIFFERENCE}, beside each" if original else "the original"
    return Row(f"{family}: {variant.name}", note, pictures)


def _write(
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
    device: torch.device,
) -> None:
    figures = {
        "size": arguments.size,
        "card": torch.cuda.get_device_name() if device.type == "cuda" else machine()["cpu"],
        "note": NOTES["trained" if arguments.models_dir else "random"],
        "seeds": arguments.seeds,
        "rows": rows,
        "left out": left_out,
    }
    write_report("quality", figures, command=[COMMAND, *sys.argv[1:]], folder=arguments.folder)
    bars = {f"{row['model']}, {row['variant']}": row["psnr_db"] for row in rows if row["psnr_db"]}
    if bars:
        title = f"PSNR against what is replaced, {arguments.size} models; equal pictures have no bar"
        write_plot("quality", bar_chart(title, bars, "dB"), folder=arguments.folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", choices=tuple(CHANGES), default="tiny", help="full takes a GPU (default: %(default)s)"
    )
    parser.add_argument("--models-dir", type=Path, help="trained weights as models.toml names them, with --size full")
    parser.add_argument("--seeds", type=int, default=2, help="pictures or clips per variant (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=tuple(JOB_TYPE), default=tuple(JOB_TYPE), help="which models")
    parser.add_argument("--folder", type=Path, default=REPORTS, help="for quality.* (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
