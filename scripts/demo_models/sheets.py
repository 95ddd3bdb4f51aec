"""Sheets of what the demo models draw: `python -m scripts.demo_models.sheets {pictures,clips,references,ideas}`.

Written as WebP into `scripts/demo_models/reports/`, and ideas as single pictures for the studio's empty gallery, beside
the prompts in its `ideas.json`. Pictures are kept under `build/demo_models/sheets/` by the digest of the weights, so a
sheet that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from PIL import Image

from ourvidz_worker.cli import headlines
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.local.page import STATIC
from scripts.demo_models.easel import Easel, Guide, weights_digest
from scripts.demo_models.painting import Pixels
from scripts.demo_models.proof import REPORTS
from scripts.demo_models.proving.album import Album
from scripts.demo_models.proving.picture_options import painted
from scripts.demo_models.scenes import Scene, Thing
from tests.bench.contact_sheet import Row, contact_sheet

WORK = Path("build/demo_models/sheets")
PICTURES = (
    headlines.PICTURE,
    "a blue house and a pink flower on a green hill, in the morning",
    "three yellow stars and a purple castle in the snow at night",
    "a large orange balloon on the right, sand dunes, at noon",
    "a white lighthouse on the left by the sea, rain",
    "a green cactus in the middle and a red sun on the left, in the desert, line drawing",
    "two small white boats at sea at sunset, oil painting",
    "a black windmill in thick fog, on a meadow",
    "three pink mushrooms in the snow, it is snowing",
    "a yellow bridge in front of a city skyline at night, crescent moon on the right",
    "a blue mountain and an orange tent on the right, painterly style",
    "a red kite on the left and a white cloud on the right, flat illustration",
)
CLIPS = (
    "a red lighthouse on a green hill at dusk, two gulls fly to the left",
    "a white boat sails to the right, on the sea, in the morning",
    "a purple balloon rises in the desert at noon",
    "the sun sets, in the city",
    "a blue house in the snow, the camera pans left",
    "a red windmill on a meadow, slow zoom in",
)
SEEDS = (1, 2, 3, 4)
STRENGTHS = (0.3, 0.6, 1.0)
OPEN = "a red lighthouse"
RULED_OUT = ("", "on a green hill", "by the sea", "in the snow", "in the city")
SHOWN_FRAMES = 5
IDEA_SIDE = 176  # pixels: twice as many as the page's, for fine screens


@dataclass(frozen=True, slots=True)
class Studio:
    """An easel that remembers what it drew."""

    easel: Easel
    album: Album
    job_type: str

    def frames(self, prompt: str, *, seed: int, guides: Sequence[Guide] = (), negative: str = "") -> Pixels:
        told = "+".join(f"{guide.role}-{guide.strength}" for guide in guides)
        name = "/".join(["_".join(part.split()) for part in (prompt, negative, told) if part] + [str(seed)])
        return self.album.kept(
            name, lambda: self.easel.draw(self.job_type, prompt, seed=seed, guides=guides, negative=negative)
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_models.sheets", description=__doc__)
    parser.add_argument("sheet", choices=(*SHEETS, "ideas"))
    parser.add_argument("--threads", type=int, metavar="N", help="of PyTorch, if not one for each core")
    parser.add_argument("--folder", type=Path, default=REPORTS, help=f"where the sheet goes (default {REPORTS})")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    if arguments.sheet == "ideas":
        _draw_ideas()
    else:
        _draw_sheet(arguments.sheet, arguments.folder)


def _draw_sheet(name: str, folder: Path) -> None:
    heading, rows = SHEETS[name]()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.webp"
    contact_sheet(heading, list(rows)).save(file, quality=80, method=6)
    print(f"{file}: {file.stat().st_size // 1024} KiB")


def _studio(family: ModelFamily, job_type: str) -> Studio:
    return Studio(Easel(family), Album(WORK / weights_digest(family)), job_type)


def _pictures() -> tuple[str, Iterator[Row]]:
    studio = _studio("sdxl", "sdxl_image_fast")
    rows = (Row(prompt, "", [_image(studio.frames(prompt, seed=seed)[0]) for seed in SEEDS]) for prompt in PICTURES)
    return f"Demo SDXL: four seeds of each prompt, as {studio.job_type} draws them", rows


def _clips() -> tuple[str, Iterator[Row]]:
    studio = _studio("wan", "video_fast")

    def strip(prompt: str) -> Row:
        frames = studio.frames(prompt, seed=SEEDS[0])
        step = (len(frames) - 1) / (SHOWN_FRAMES - 1)
        return Row(prompt, "", [_image(frames[round(index * step)]) for index in range(SHOWN_FRAMES)])

    return f"Demo WAN: clips as {studio.job_type} draws them", (strip(prompt) for prompt in CLIPS)


def _references() -> tuple[str, Iterator[Row]]:
    studio = _studio("sdxl", "sdxl_image_fast")
    style = painted(Scene((Thing("tree", "pink", place="right"), Thing("sun", "red")), time="dusk", style="line"), 1)
    thing = painted(Scene((Thing("castle", "blue"),), ground="snow"), 2)
    places = painted(Scene((Thing("house", "red", place="right"), Thing("balloon", "yellow", place="left"))), 3)

    def rows() -> Iterator[Row]:
        yield _guided(studio, "a white lighthouse on a green hill", "style", style)
        yield _guided(studio, "a castle in the desert", "character", thing)
        yield _guided(studio, "a blue house and a red balloon, by day", "composition", places)
        pictures = [studio.frames(OPEN, seed=SEEDS[0], negative=each)[0] for each in RULED_OUT]
        yield Row(OPEN, f"negative prompts: none, {', '.join(RULED_OUT[1:])}", [_image(each) for each in pictures])

    return "Demo SDXL: references, with strengths from none to full, and negative prompts", rows()


SHEETS = {"pictures": _pictures, "clips": _clips, "references": _references}


def _draw_ideas() -> None:
    studio = _studio("sdxl", "sdxl_image_fast")
    for idea in json.loads((STATIC / "ideas.json").read_text(encoding="utf-8")):
        file = STATIC / idea["picture"]
        file.parent.mkdir(exist_ok=True)
        picture = _image(studio.frames(idea["prompt"], seed=SEEDS[0])[0])
        picture.resize((IDEA_SIDE, IDEA_SIDE), Image.Resampling.LANCZOS).save(file, quality=80, method=6)
        print(f"{file.name}: {file.stat().st_size // 1024} KiB")


def _guided(studio: Studio, prompt: str, role: ReferenceRole, reference: Pixels) -> Row:
    """The reference first, then the picture without it."""
    pictures = [studio.frames(prompt, seed=SEEDS[0])[0]]
    for strength in STRENGTHS:
        guide = Guide(role, reference, strength)
        pictures.append(studio.frames(prompt, seed=SEEDS[0], guides=(guide,))[0])
    return Row(prompt, f"{role} reference", [_image(each) for each in (reference, *pictures)])


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture)


if __name__ == "__main__":
    main()
