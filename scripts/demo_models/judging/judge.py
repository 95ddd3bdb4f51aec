"""The judges: trained networks that tell what is in a picture, and what moves in a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from scripts.demo_models.judging.facts import (
    CAMERA_MOTIONS,
    CELL_FACTS,
    CELL_MOTIONS,
    CELLS,
    NOTHING,
    SCENE_FACTS,
    Seen,
    SeenMotion,
)
from scripts.demo_models.judging.network import (
    CLIP_SHORT_SIDE,
    MOMENTS,
    SHORT_SIDE,
    ClipNetwork,
    PictureNetwork,
    as_tensor,
    read_weights,
)
from scripts.demo_models.painting import Pixels
from scripts.demo_models.scenes import Thing

WEIGHTS = Path(__file__).parents[3] / "tests" / "demo_models"
PICTURE_WEIGHTS = WEIGHTS / "judge.safetensors"
CLIP_WEIGHTS = WEIGHTS / "motion_judge.safetensors"
AT_ONCE = 16  # pictures or clips


class Judge:
    """Tells what is in pictures."""

    def __init__(self, weights: Path = PICTURE_WEIGHTS) -> None:
        self._network = PictureNetwork()
        read_weights(self._network, weights)

    def see(self, pictures: Sequence[Pixels]) -> list[Seen]:
        """`pictures` are RGB of any size, shape (height, width, 3), all alike."""
        seen: list[Seen] = []
        for first in range(0, len(pictures), AT_ONCE):
            small = np.stack([reduced(picture, SHORT_SIDE) for picture in pictures[first : first + AT_ONCE]])
            seen += [_seen(each) for each in answered(self._network, small)]
        return seen


class MotionJudge:
    """Tells what moves in clips."""

    def __init__(self, weights: Path = CLIP_WEIGHTS) -> None:
        self._network = ClipNetwork()
        read_weights(self._network, weights)

    def see(self, clips: Sequence[Pixels]) -> list[SeenMotion]:
        """`clips` are RGB of any length and size, shape (frames, height, width, 3)."""
        seen: list[SeenMotion] = []
        for clip in clips:
            chosen = [clip[round(moment * (len(clip) - 1))] for moment in MOMENTS]
            small = np.stack([reduced(frame, CLIP_SHORT_SIDE) for frame in chosen])
            (answers,) = answered(self._network, small[None])
            motions, cameras = CELL_MOTIONS["motion"], CAMERA_MOTIONS["camera"]
            of_cells = tuple(motions[int(each)] for each in answers["motion"].argmax(-1))
            seen.append(SeenMotion(of_cells, cameras[int(answers["camera"].argmax())]))
        return seen


def reduced(picture: Pixels, short_side: int) -> Pixels:
    """To that many pixels of the shorter side, and a whole number of eights of the longer one."""
    height, width = picture.shape[:2]
    scale = short_side / min(width, height)
    size = (_whole(width * scale), _whole(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _whole(pixels: float) -> int:
    return round(pixels / 8) * 8


@torch.inference_mode()
def answered(network: PictureNetwork | ClipNetwork, pictures: Pixels) -> list[dict[str, Tensor]]:
    """Logits for each picture, in the size that the network was trained with."""
    answers = network(as_tensor(pictures))
    return [{name: each[index] for name, each in answers.items()} for index in range(len(pictures))]


def _seen(answers: dict[str, Tensor]) -> Seen:
    whole: dict[str, Any] = {name: all_[int(answers[name].argmax())] for name, all_ in SCENE_FACTS.items()}
    things = []
    for index, (_, place) in enumerate(CELLS):
        told: dict[str, Any] = {name: all_[int(answers[name][index].argmax())] for name, all_ in CELL_FACTS.items()}
        if told["kind"] != NOTHING:
            things.append(Thing(**told, place=place))
    return Seen(tuple(things), **whole)
