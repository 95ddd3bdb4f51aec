"""Trainings: they stop and go on as if they had not, and end with what they learned."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from scripts.demo_models.muon import Muon
from scripts.demo_models.training import Course, is_done, learned, steps_taken, take_up, train

ROOT = Path(__file__).parents[2]
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


def test_a_training_goes_on_from_published_weights_where_none_is_kept(tmp_path: Path) -> None:
    published = toy()
    run(tmp_path / "lost", published)
    longer = replace(COURSE, steps=COURSE.steps + 3)

    assert take_up(tmp_path, longer, published, COURSE.steps)
    assert steps_taken(tmp_path, longer) == COURSE.steps
    taken: list[int] = []
    model = toy()

    def losses(step: int, _: Random) -> dict[str, Tensor]:
        taken.append(step)
        return mirrored(model)

    assert train(longer, model, losses, tmp_path)
    assert taken == [COURSE.steps, COURSE.steps + 1, COURSE.steps + 2]
    assert float(mirrored(model)["mirrored"].detach()) < 2 * float(mirrored(published)["mirrored"].detach())
    assert not take_up(tmp_path, longer, toy(), 0), "what has begun stays as it is"


CREW = """
import sys
from pathlib import Path
import torch
from scripts.demo_models import crew
from scripts.demo_models.training import Course, train
crew.join()
torch.manual_seed(5)
model = torch.nn.Linear(3, 3)
drawn = []
def losses(step, random):
    drawn.append(random.random())
    return {"any": (model(torch.randn(4, 3)) - 1).square().mean()}
folder = Path(sys.argv[1])
course = Course("toy", steps=4, learning_rate=0.1)
done = train(course, model, losses, folder)
again = train(course, model, losses, folder)
made = folder / "made"
crew.leader_makes(made, lambda: made.write_text(str(crew.place())))
found = {"weights": model.state_dict(), "drawn": drawn, "done": done and again, "made": made.read_text()}
torch.save(found, folder / f"{crew.place()}.pt")
"""


def test_a_crew_takes_the_same_steps_on_examples_of_their_own(tmp_path: Path) -> None:
    script = tmp_path / "crew.py"
    script.write_text(CREW, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    subprocess.run([*command, script, tmp_path], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)

    first, second = (torch.load(tmp_path / f"{place}.pt") for place in (0, 1))
    assert first["done"]
    assert second["done"]
    assert len(first["drawn"]) == len(second["drawn"]) == 4
    assert set(first["drawn"]).isdisjoint(second["drawn"])
    assert first["made"] == second["made"] == "0"
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name])


def test_muon_moves_in_all_directions_alike() -> None:
    weight = nn.Parameter(torch.zeros(4, 6))
    weight.grad = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))

    Muon([weight], lr=1.0, weight_decay=0.0).step()

    spreads = torch.linalg.svdvals(weight.detach())
    assert float(spreads.max() / spreads.min()) < 2.0
    assert float((weight.detach() * weight.grad).sum()) < 0
