"""The judge: a trained network that tells what is in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from scripts.demo_models.judging.facts import CELL_FACTS, CELLS, NOTHING, Seen
from scripts.demo_models.judging.network import SHORT_SIDE, PictureNetwork, as_tensor, read_weights
from scripts.demo_models.painting import Pixels
from scripts.demo_models.scenes import SCENE_FACTS, Thing

WEIGHTS = Path(__file__).parents[3] / "tests" / "demo_models" / "judge.safetensors"
AT_ONCE = 16  # pictures


class Judge:
    """Tells what is in pictures."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = PictureNetwork()
        read_weights(self._network, weights)

    def see(self, pictures: Sequence[Pixels]) -> list[Seen]:
        """`pictures` are RGB of any size, shape (height, width, 3), all alike."""
        seen: list[Seen] = []
        for first in range(0, len(pictures), AT_ONCE):
            small = np.stack([_reduced(picture) for picture in pictures[first : first + AT_ONCE]])
            with torch.inference_mode():
                answers = self._network(as_tensor(small))
            seen += [_seen({name: each[index] for name, each in answers.items()}) for index in range(len(small))]
        return seen


def _reduced(picture: Pixels) -> Pixels:
    """To as many pixels of the shorter side as the network reads, and whole eights of the longer one."""
    height, width = picture.shape[:2]
    scale = SHORT_SIDE / min(width, height)
    size = (_whole(width * scale), _whole(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _whole(pixels: float) -> int:
    return round(pixels / 8) * 8


def _seen(answers: dict[str, Tensor]) -> Seen:
    whole: dict[str, Any] = {name: all_[int(answers[name].argmax())] for name, all_ in SCENE_FACTS.items()}
    things = []
    for index, (_, place) in enumerate(CELLS):
        told: dict[str, Any] = {name: all_[int(answers[name][index].argmax())] for name, all_ in CELL_FACTS.items()}
        if told["kind"] != NOTHING:
            things.append(Thing(**told, place=place))
    return Seen(tuple(things), **whole)
