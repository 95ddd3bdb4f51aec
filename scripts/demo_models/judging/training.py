"""The training of the judges: `python -m scripts.demo_models.judging.training {pictures,clips}`.

Their scenes are drawn from seeds of their own, which no training of a model and no held-out prompt uses. On one core
the one of pictures takes about forty minutes, that of clips about twenty.
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
from scripts.demo_models.judging.examples import clips, pictures
from scripts.demo_models.judging.facts import (
    CAMERA_MOTIONS,
    CELL_FACTS,
    CELL_MOTIONS,
    CELLS,
    SCENE_FACTS,
    STILL,
    cell_of,
)
from scripts.demo_models.judging.judge import CLIP_WEIGHTS, PICTURE_WEIGHTS
from scripts.demo_models.judging.network import (
    CLIP_SHORT_SIDE,
    MOMENTS,
    SHORT_SIDE,
    Answers,
    ClipNetwork,
    PictureNetwork,
    as_tensor,
    save_weights,
)
from scripts.demo_models.scenes import CAMERA, Scene

FOLDER = Path("build/demo_models/judge")
PICTURES = training.Course("judge", steps=2600, learning_rate=2e-3, seed=77)
CLIPS = training.Course("motion_judge", steps=1000, learning_rate=2e-3, seed=78)
BATCH = 48
CLIP_BATCH = 32
PORTRAIT = 1.75
"""Of the longer side by the shorter one, as in a clip."""
SHARE_OF_PORTRAITS = 0.35
UNASKED = -1


def train_pictures(work: Path, until: float = math.inf) -> bool:
    """Whether all steps are done."""
    network = PictureNetwork()

    def step_losses(_: int, random: Random) -> dict[str, Tensor]:
        portrait = random.random() < SHARE_OF_PORTRAITS
        height, count = (round(SHORT_SIDE * PORTRAIT), BATCH * 2 // 3) if portrait else (SHORT_SIDE, BATCH)
        scenes, drawn = pictures(random, count, SHORT_SIDE, height)
        return losses(network(as_tensor(drawn)), labels(scenes))

    done = training.train(PICTURES, network, step_losses, work, until=until)
    save_weights(network, PICTURE_WEIGHTS)
    return done


def train_clips(work: Path, until: float = math.inf) -> bool:
    """Whether all steps are done."""
    network = ClipNetwork()

    def step_losses(_: int, random: Random) -> dict[str, Tensor]:
        scenes, drawn = clips(random, CLIP_BATCH, CLIP_SHORT_SIDE, round(CLIP_SHORT_SIDE * PORTRAIT), MOMENTS)
        return losses(network(as_tensor(drawn)), motion_labels(scenes))

    done = training.train(CLIPS, network, step_losses, work, until=until)
    save_weights(network, CLIP_WEIGHTS)
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


def motion_labels(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """As `labels`, of what moves; where nothing is, nothing is asked."""
    ways, cameras = CELL_MOTIONS["motion"], CAMERA_MOTIONS["camera"]
    of_cells = torch.full((len(scenes), len(CELLS)), UNASKED)
    of_cameras = torch.zeros(len(scenes), dtype=torch.long)
    for index, scene in enumerate(scenes):
        for thing in scene.things:
            of_cells[index, cell_of(thing)] = ways.index(STILL)
        if scene.motion is None:
            continue
        if scene.motion.subject == CAMERA:
            of_cameras[index] = cameras.index(scene.motion.direction)
        else:
            of_cells[index, cell_of(scene.things[scene.motion.subject])] = ways.index(scene.motion.direction)
    return {"motion": of_cells, "camera": of_cameras}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_models.judging.training", description=__doc__)
    parser.add_argument("judge", choices=("pictures", "clips"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; another call goes on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    course, train = {"pictures": (PICTURES, train_pictures), "clips": (CLIPS, train_clips)}[arguments.judge]
    torch.manual_seed(course.seed)
    train(FOLDER, time.monotonic() + arguments.minutes * 60)


if __name__ == "__main__":
    main()
