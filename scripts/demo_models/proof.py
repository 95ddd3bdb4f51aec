"""Does the picture show what the prompt says? `python -m scripts.demo_models.proof {sdxl,wan,wan-stills}`.

Draws held-out prompts with the real engine, at the product's own settings and at guidance 1, has the judge compare
each picture with its prompt, and measures what each option does. Pictures are kept under `build/demo_models/proof/`
by the digest of the weights, so a proof that was stopped goes on; the report is written anew after each part.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console

from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.engines.volume.tiers import EXACT
from scripts.demo_models.easel import Easel, weights_digest
from scripts.demo_models.enhancing import Enhancer
from scripts.demo_models.held_out import HeldOut, first_held_out
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.painting import Pixels
from scripts.demo_models.proving import clip_options, picture_options
from scripts.demo_models.proving.adherence import Drawn, measured
from scripts.demo_models.proving.album import Album
from scripts.demo_models.proving.tables import Effect, as_chart, as_json, as_markdown
from scripts.demo_models.proving.trials import Bench, Option

WORK = Path("build/demo_models/proof")
REPORTS = Path(__file__).parent / "reports"
ADAPTERS = ("image_encoder", "ip_adapter", "ip_adapter_face", "controlnet")
SEED_STEP = 1000
"""The seed of a held-out prompt is its index and this much more, so that none is that of a training."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is drawn for the proof: jobs of one type, and how often each attribute should be right."""

    family: ModelFamily
    job_type: str
    moving: bool
    aim: float
    what: str


SUBJECTS = {
    "sdxl": Subject("sdxl", "sdxl_image_fast", moving=False, aim=0.9, what="pictures, 1024 x 1024, 15 steps"),
    "wan": Subject("wan", "video_fast", moving=True, aim=0.8, what="clips, 480 x 832, 25 steps"),
    "wan-stills": Subject("wan", "image_fast", moving=False, aim=0.8, what="stills, 480 x 832, 25 steps"),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """One run: `settings` are in the payload's `config` of all that is drawn, in that `tier` of speed."""

    name: str
    tier: str
    subject: Subject
    easel: Easel
    judge: Judge
    settings: Mapping[str, Any]

    def album(self, part: str) -> Album:
        told = "-".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        weights = weights_digest(self.subject.family)
        return Album(WORK / f"{self.name}-{weights}" / self.tier / (told or "product") / part)

    @property
    def report(self) -> str:
        return self.name if self.tier == EXACT.name else f"{self.name}-{self.tier}"

    def drawn(self, album: Album, **changes: Any) -> Drawn:
        def draw_one(prompt: HeldOut) -> Pixels:
            return album.kept(
                str(prompt.index),
                lambda: self.easel.draw(
                    self.subject.job_type,
                    prompt.text,
                    seed=SEED_STEP + prompt.index,
                    settings={**self.settings, **changes},
                ),
            )

        return draw_one

    def effects(self, count: int, *, enhanced: bool) -> Iterator[Effect]:
        """With `enhanced`, those of the language model as well."""
        if self.name == "sdxl":
            yield from self._effects(self.easel, picture_options.options(), count)
            yield from self._effects(Easel("sdxl", without=ADAPTERS), picture_options.options_without_adapters(), count)
            if enhanced:
                enhancer = Enhancer(self.subject.job_type)
                yield from self._effects(self.easel, [picture_options.enhancement(enhancer.enhanced, count)], count)
        if self.name == "wan":
            yield from self._effects(self.easel, clip_options.options(self.settings), count)

    def _effects(self, easel: Easel, options: Iterable[Option], count: int) -> Iterator[Effect]:
        bench = Bench(easel, self.album("options"), self.judge, self.subject.job_type)
        for option in options:
            yield from bench.effects(option, count)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    console = Console()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    subject = SUBJECTS[arguments.subject]
    settings = {"frame_num": arguments.frames} if arguments.frames else {}
    proof = Proof(
        arguments.subject,
        arguments.tier,
        subject,
        Easel(subject.family, tier=arguments.tier),
        Judge(),
        settings,
    )
    prompts = list(first_held_out(arguments.prompts, moving=subject.moving))
    album = proof.album("told")
    plain = proof.drawn(proof.album("guidance 1"), guidance_scale=1.0) if not arguments.no_guidance_1 else None
    adherence = measured(prompts, proof.judge, proof.drawn(album), plain)
    effects: list[Effect] = []
    _write(arguments, proof, as_json(adherence, effects), album.median_seconds)
    for effect in proof.effects(arguments.trials, enhanced=arguments.enhanced) if arguments.trials else ():
        effects.append(effect)
        _write(arguments, proof, as_json(adherence, effects), album.median_seconds)
    console.print(as_markdown(as_json(adherence, effects)), markup=False, soft_wrap=True)


def _write(arguments: argparse.Namespace, proof: Proof, figures: Mapping[str, Any], seconds: float | None) -> None:
    report = {
        "subject": proof.subject.what,
        "prompts": arguments.prompts,
        "tier": proof.tier,
        "settings": dict(proof.settings),
        "aim": 100 * proof.subject.aim,
        "weights": weights_digest(proof.subject.family),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "median_seconds": seconds,
        **figures,
    }
    folder: Path = arguments.reports
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{proof.report}.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / f"{proof.report}.md").write_text(as_markdown(report), encoding="utf-8")
    title = f"{proof.subject.what}: {arguments.prompts} held-out prompts; dashed: the aim"
    (folder / f"{proof.report}.svg").write_text(as_chart(title, report, proof.subject.aim), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_models.proof", description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS, help="what is drawn")
    parser.add_argument("--prompts", type=int, default=200, metavar="N", help="held-out prompts (default 200)")
    parser.add_argument("--trials", type=int, default=24, metavar="N", help="of each option; 0 for none (default 24)")
    parser.add_argument("--frames", type=int, metavar="N", help="of each clip, if not as many as the product asks for")
    parser.add_argument("--tier", default=EXACT.name, help=f"of speed, as models.toml has them (default {EXACT.name})")
    parser.add_argument("--no-guidance-1", action="store_true", help="leave the comparison with guidance 1 out")
    parser.add_argument("--enhanced", action="store_true", help="also what the language model makes of short prompts")
    parser.add_argument("--threads", type=int, metavar="N", help="of PyTorch, if not one for each core")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help=f"default {REPORTS}")
    return parser


if __name__ == "__main__":
    main()
