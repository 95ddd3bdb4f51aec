"""To go on from what is published, where no work folder is left: every course is taken up where it had stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from scripts.demo_models import training
from scripts.demo_models.training import Course

STEPS = "steps.json"
"""In a published folder: how many steps each of its courses had taken."""


def note_steps(courses: Iterable[Course], work: Path, folder: Path) -> None:
    begun = [course for course in courses if training.learned(work, course) is not None]
    taken = {course.name: training.steps_taken(work, course) for course in begun}
    (folder / STEPS).write_text(json.dumps(taken, indent=2) + "\n", encoding="utf-8")


def take_up(models: Mapping[Course, nn.Module], folder: Path, work: Path) -> list[str]:
    """Each course's model has its published weights; the names of those that go on from there now.

    Those that have begun in the work folder stay as they are.
    """
    taken: Mapping[str, int] = json.loads((folder / STEPS).read_text(encoding="utf-8"))
    return [
        course.name
        for course, model in models.items()
        if course.name in taken and training.take_up(work, course, model, taken[course.name])
    ]


def published_weights(file: Path) -> dict[str, Tensor]:
    return {name: weight.float() for name, weight in load_file(file).items()}
