"""Trainings: they stop and go on as if they had not, and end with what they learned."""

from __future__ import annotations

import math
import time
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from scripts.demo_models.muon import Muon
from scripts.demo_models.training import Course, is_done, learned, train

COURSE = Course("toy", steps=200, learning_rate=2e-2, muon=True)


def toy() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(12, 24), nn.SiLU(), nn.Linear(24, 12))


def mirrored(model: nn.Module) -> dict[str, Tensor]:
    """How far the model is from mirroring what it gets."""
    given = torch.randn(32, 12)
    return {"mirrored": (model(given) - given.flip(1)).square().mean()}


def run(folder: Path, model: nn.Module, steps_of_this_run: float = math.inf) -> bool:
    taken = 0

    def losses(_: int, __: Random) -> dict[str, Tensor]:
        nonlocal taken
        taken += 1
        if taken > steps_of_this_run:
            raise KeyboardInterrupt
        return mirrored(model)

    return train(COURSE, model, losses, folder)


def test_a_training_learns_and_leaves_its_mean_weights(tmp_path: Path) -> None:
    model = toy()
    before = float(mirrored(model)["mirrored"].detach())

    assert run(tmp_path, model)

    assert float(mirrored(model)["mirrored"].detach()) < before / 3
    kept = learned(tmp_path, COURSE)
    assert kept is not None
    assert all(torch.equal(weight, kept[name]) for name, weight in model.state_dict().items())


def test_a_training_that_is_out_of_time_says_so_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    at_once = toy()
    run(tmp_path / "at once", at_once)

    assert not train(COURSE, toy(), lambda _, __: pytest.fail("no time"), tmp_path / "twice", until=time.monotonic())
    assert learned(tmp_path / "twice", COURSE) is not None
    assert not is_done(tmp_path / "twice", COURSE)
    second = toy()
    assert run(tmp_path / "twice", second)

    assert all(torch.equal(a, b) for a, b in zip(at_once.parameters(), second.parameters(), strict=True))


def test_what_is_done_is_not_trained_again(tmp_path: Path) -> None:
    run(tmp_path, toy())

    assert run(tmp_path, toy(), steps_of_this_run=0)


def test_muon_moves_in_all_directions_alike() -> None:
    weight = nn.Parameter(torch.zeros(4, 6))
    weight.grad = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))

    Muon([weight], lr=1.0, weight_decay=0.0).step()

    spreads = torch.linalg.svdvals(weight.detach())
    assert float(spreads.max() / spreads.min()) < 2.0
    assert float((weight.detach() * weight.grad).sum()) < 0
