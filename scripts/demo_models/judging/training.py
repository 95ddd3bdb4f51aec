"""The training of the judge: `python -m scripts.demo_models.judging.training`, about half an hour of one core.

Its scenes are drawn from seeds of its own, which no training of a model and no held-out prompt uses.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from scripts.demo_models import training
from scripts.demo_models.judging.examples import pictures
from scripts.demo_models.judging.facts import CELL_FACTS, CELLS, cell_of
from scripts.demo_models.judging.judge import WEIGHTS
from scripts.demo_models.judging.network import SHORT_SIDE, Answers, PictureNetwork, as_tensor, save_weights
from scripts.demo_models.scenes import SCENE_FACTS, Scene

FOLDER = Path("build/demo_models/judge")
COURSE = training.Course("judge", steps=900, learning_rate=4e-3, seed=77, muon=True)
BATCH = 48
PORTRAIT = 1.75
"""Of the longer side by the shorter one, as in a clip."""
SHARE_OF_PORTRAITS = 0.35
UNASKED = -1


def train(work: Path, until: float = math.inf) -> bool:
    """Whether all steps are done."""
    network = PictureNetwork()

    def step_losses(_: int, random: Random) -> dict[str, Tensor]:
        portrait = random.random() < SHARE_OF_PORTRAITS
        height, count = (round(SHORT_SIDE * PORTRAIT), BATCH * 2 // 3) if portrait else (SHORT_SIDE, BATCH)
        scenes, drawn = pictures(random, count, SHORT_SIDE, height)
        return losses(network(as_tensor(drawn)), labels(scenes))

    done = training.train(COURSE, network, step_losses, work, until=until)
    save_weights(network, WEIGHTS)
    return done


def losses(answers: Answers, right: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is not there is not asked for its colour."""
    return {
        name: functional.cross_entropy(logits.flatten(0, -2), right[name].flatten(), ignore_index=UNASKED)
        for name, logits in answers.items()
    }


def labels(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Places among the answers: of the scene's facts (n,), and of the cells' (n, cells)."""
    of_scenes = {
        name: torch.tensor([answers.index(getattr(scene, name)) for scene in scenes])
        for name, answers in SCENE_FACTS.items()
    }
    of_cells = {name: torch.full((len(scenes), len(CELLS)), UNASKED) for name in CELL_FACTS}
    of_cells["kind"].zero_()
    for index, scene in enumerate(scenes):
        for thing in scene.things:
            for name, answers in CELL_FACTS.items():
                of_cells[name][index, cell_of(thing)] = answers.index(getattr(thing, name))
    return of_scenes | of_cells


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_models.judging.training", description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; another call goes on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(COURSE.seed)
    train(FOLDER, time.monotonic() + arguments.minutes * 60)


if __name__ == "__main__":
    main()
