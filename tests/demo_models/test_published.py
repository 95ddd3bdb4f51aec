"""Trainings go on from what ships: taken up and published again, it is the same."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ourvidz_worker.engines.demo.models import WEIGHTS
from scripts.demo_models.published import take_up
from scripts.demo_models.sums import shipped_files

FAMILIES = {"sdxl": "drawer", "wan": "transformer", "qwen": "qwen"}
"""Of each family one of the courses."""


@pytest.mark.parametrize("family", FAMILIES)
def test_what_ships_is_taken_up_and_published_again_the_same(family: str, tmp_path: Path) -> None:
    shipped, work, again = WEIGHTS / family, tmp_path / "work", tmp_path / "again"
    models = import_module(f"scripts.demo_models.{family}.taking_up").published_models(shipped, work)
    assert FAMILIES[family] in take_up(models, shipped, work)
    import_module(f"scripts.demo_models.{family}.family").publish(work, again)

    names = [file.relative_to(shipped) for file in shipped_files(shipped)]
    assert [file.relative_to(again) for file in shipped_files(again)] == names
    for name in names:
        if name.suffix == ".safetensors":
            ours, theirs = load_file(again / name), load_file(shipped / name)
            assert ours.keys() == theirs.keys(), name
            assert [part for part in ours if not torch.equal(ours[part], theirs[part])] == [], name
        elif (family, str(name)) != ("qwen", "README.md"):  # its figures are measured again
            assert (again / name).read_bytes() == (shipped / name).read_bytes(), name
