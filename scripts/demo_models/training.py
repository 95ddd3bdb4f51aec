"""One training at a time: seeded, resumable, with progress and a mean of the weights over the last steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from scripts.demo_models import crew
from scripts.demo_models.muon import Muon

SAVE_EVERY = 120.0  # seconds
LOOK_EVERY = 600.0
SAY_EVERY = 20.0
WARM_UP = 100  # steps
COOL_DOWN = 0.3  # the share of the steps at the end over which the learning rate falls to nothing
MEMORY = 0.998  # how much of the mean weights a step leaves as it was
CLIP = 1.0
OTHERS = 500_000  # by which the chance of a crew's other processes is apart

Losses = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Course:
    """What is trained: `steps` in all, the highest `learning_rate`, and a `seed` for what every step draws.

    With `muon`, the matrices of the model go Muon's way (kellerjordan.github.io/posts/muon), which takes fewer steps.
    """

    name: str
    steps: int
    learning_rate: float
    seed: int = 0
    muon: bool = False


def is_done(folder: Path, course: Course) -> bool:
    return weights_file(folder, course).is_file()


def weights_file(folder: Path, course: Course) -> Path:
    return folder / f"{course.name}.safetensors"


def learned(folder: Path, course: Course) -> dict[str, Tensor] | None:
    """The mean weights so far, whether or not the training is done; None where it has not begun."""
    if is_done(folder, course):
        return load_file(weights_file(folder, course))
    state = folder / f"{course.name}.state.pt"
    if not state.is_file():
        return None
    mean: dict[str, Tensor] = torch.load(state, weights_only=True)["mean"]
    return mean


def steps_taken(folder: Path, course: Course) -> int:
    """By a training that has begun; all of them where its weights are here and its state is not."""
    state = folder / f"{course.name}.state.pt"
    return int(torch.load(state, weights_only=True)["step"]) if state.is_file() else course.steps


def take_learned(folder: Path, course: Course, model: nn.Module) -> bool:
    """Give the model what is learned so far; False, and the model as it was, where its training has not begun."""
    weights = learned(folder, course)
    if weights is not None:
        model.load_state_dict(weights)
    return weights is not None


def take_up(folder: Path, course: Course, model: nn.Module, step: int) -> bool:
    """Let a training go on at `step` from the model's weights alone; False, and nothing, where it has begun already.

    The optimizers have forgotten their momentum then, and what never was published begins anew.
    """
    if learned(folder, course) is not None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(course, model, folder)
    run.step = step
    run.save(with_optimizers=False)
    return True


def train(
    course: Course,
    model: nn.Module,
    losses: Callable[[int, Random], Losses],
    folder: Path,
    *,
    look: Callable[[nn.Module], object] = lambda _: None,
    until: float = math.inf,
) -> bool:
    """Train `model` on the sum of `losses` from where the last call stopped; whether all steps are done.

    `losses` gets the number of the step and a source of chance that only depends on the seed, that number and the
    process's place in its crew. The model ends with its mean weights, which are also in `NAME.safetensors` of the
    folder. `look` is called with the mean weights in place now and then. `until` is a time of `time.monotonic` at which
    to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if crew.agreed(by_leader=is_done(folder, course)):
        model.load_state_dict(load_file(weights_file(folder, course)))
        return True
    run = _Run(course, model, folder)
    run.resume()
    model.train()
    for step in run.steps_left(until):
        torch.manual_seed(course.seed * 1_000_003 + step + OTHERS * crew.place())
        parts = losses(step, Random(f"{course.seed}-{step}" + f"-{crew.place()}" * (not crew.leads())))
        run.learn(parts)
        if crew.leads() and run.is_time_to_save():
            run.save()
        if crew.leads() and run.is_time_to_look():
            with run.mean_weights():
                look(model)
    done = run.step >= course.steps
    if crew.leads():
        run.save()
    run.mean.copy_to(model)
    if crew.leads():
        look(model)
        if done:
            save_file(
                {name: weight.detach().clone().contiguous() for name, weight in run.mean.weights.items()},
                weights_file(folder, course),
            )
    model.eval()
    return crew.agreed(by_leader=done)


class _Mean:
    """The weights as they were on average over the last steps."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        share = 1 - min(MEMORY, (step + 1) / (step + 10))
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                self.weights[name].lerp_(weight, share)
            else:
                self.weights[name].copy_(weight)

    def copy_to(self, model: nn.Module) -> None:
        model.load_state_dict(self.weights)


class _Run:
    def __init__(self, course: Course, model: nn.Module, folder: Path) -> None:
        self._course = course
        self._model = model
        self._folder = folder
        self._optimizers = _optimizers(model, course)
        self.mean = _Mean(model)
        self.step = 0
        self._saved = self._looked = self._said = self._began = time.monotonic()
        self._since: list[dict[str, float]] = []
        self._began_at = 0

    @property
    def _state_file(self) -> Path:
        return self._folder / f"{self._course.name}.state.pt"

    def resume(self) -> None:
        if not self._state_file.is_file():
            return
        state = torch.load(self._state_file, weights_only=True)
        self._model.load_state_dict(state["model"])
        self.mean.weights = state["mean"]
        if state["optimizers"]:
            for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
        self.step = self._began_at = state["step"]
        self._say(f"goes on at step {self.step}")

    def steps_left(self, until: float) -> Iterator[int]:
        while self.step < self._course.steps and crew.agreed(by_leader=time.monotonic() < until):
            yield self.step
            if crew.leads() and time.monotonic() - self._said > SAY_EVERY:
                self._report()

    def learn(self, parts: Losses) -> None:
        loss: Any = sum(parts.values())
        rate = self._course.learning_rate * _pace(self.step, self._course.steps)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        crew.share_gradients(self._model)
        nn.utils.clip_grad_norm_((p for p in self._model.parameters() if p.grad is not None), CLIP)
        for optimizer in self._optimizers:
            optimizer.step()
        self.mean.follow(self._model, self.step)
        self.step += 1
        self._since.append({name: float(part.detach()) for name, part in parts.items()})

    def is_time_to_save(self) -> bool:
        return time.monotonic() - self._saved > SAVE_EVERY

    def is_time_to_look(self) -> bool:
        if time.monotonic() - self._looked <= LOOK_EVERY:
            return False
        self._looked = time.monotonic()
        return True

    def save(self, *, with_optimizers: bool = True) -> None:
        state = {
            "model": self._model.state_dict(),
            "mean": self.mean.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers] if with_optimizers else [],
            "step": self.step,
        }
        aside = self._state_file.with_suffix(".new")
        torch.save(state, aside)
        aside.replace(self._state_file)
        self._saved = time.monotonic()

    def mean_weights(self) -> _Swapped:
        return _Swapped(self._model, self.mean)

    def _report(self) -> None:
        self._said = time.monotonic()
        names = sorted({name for parts in self._since for name in parts})
        means = {
            name: sum(values) / len(values)
            for name in names
            if (values := [parts[name] for parts in self._since if name in parts])
        }
        self._since.clear()
        pace = (self.step - self._began_at) / (self._said - self._began)
        left = (self._course.steps - self.step) / pace / 60
        figures = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        self._say(f"step {self.step} of {self._course.steps}: {figures} ({pace:.2f} steps/s, {left:.0f} min left)")
        with (self._folder / f"{self._course.name}.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, **means}) + "\n")

    def _say(self, what: str) -> None:
        print(f"{self._course.name}: {what}", flush=True)


class _Swapped:
    """The mean weights in place of the model's own, for a look."""

    def __init__(self, model: nn.Module, mean: _Mean) -> None:
        self._model = model
        self._mean = mean
        self._own: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        self._own = {name: weight.detach().clone() for name, weight in self._model.state_dict().items()}
        self._mean.copy_to(self._model)
        self._model.eval()

    def __exit__(self, *_: object) -> None:
        self._model.load_state_dict(self._own)
        self._model.train()


def _pace(step: int, steps: int) -> float:
    """Of the learning rate: up, level, and down along a cosine."""
    cooling = max(0.0, (step - (1 - COOL_DOWN) * steps) / (COOL_DOWN * steps))
    return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, cooling)))


def _optimizers(model: nn.Module, course: Course) -> list[torch.optim.Optimizer]:
    learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [
        weight
        for name, weight in learning
        if course.muon and weight.ndim >= 2 and min(weight.flatten(1).shape) > 4 and "embed" not in name
    ]
    chosen = {id(weight) for weight in matrices}
    others = [weight for _, weight in learning if id(weight) not in chosen]
    rate = course.learning_rate
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.01))
    if matrices:
        optimizers.append(Muon(matrices, lr=rate))
    return optimizers
