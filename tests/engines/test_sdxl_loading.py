"""SDXL weights from a single file and from a folder, in the dtypes that `models.toml` asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.loading import fresh_scheduler, load_sdxl
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import GenerationRequest
from tests.engines.single_file import write_single_file

MakeRequest = Callable[..., GenerationRequest]
WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
SINGLE = SdxlModel("single", "model.safetensors", dtype="float32", vae_dtype="float32", config="config")


@pytest.fixture(scope="module")
def folder(cache_dir: Path) -> Path:
    ensure_built(cache_dir, "sdxl")
    return cache_dir / MODELS.sdxl.path


@pytest.fixture(scope="module")
def from_folder(folder: Path) -> Any:
    return load_sdxl(replace(MODELS.sdxl, path=folder.name), folder.parent)


@pytest.fixture(scope="module")
def models_dir(folder: Path, from_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the original layout beside a folder with configurations and no weights."""
    models_dir = tmp_path_factory.mktemp("models")
    write_single_file(from_folder, models_dir / "model.safetensors")
    shutil.copytree(folder, models_dir / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(folder / "vae", models_dir / "vae")
    return models_dir


def test_a_single_file_gives_the_same_weights_as_the_folder(from_folder: Any, models_dir: Path) -> None:
    pipe = load_sdxl(SINGLE, models_dir)
    for name in WEIGHTS:
        expected, found = getattr(from_folder, name).state_dict(), getattr(pipe, name).state_dict()
        assert expected.keys() == found.keys(), name
        assert all(torch.equal(expected[key], found[key]) for key in expected), name


def test_a_single_file_draws_the_same_picture_as_the_folder(
    folder: Path, models_dir: Path, make_request: MakeRequest
) -> None:
    request = make_request("sdxl_image_fast")

    def drawn(model: SdxlModel, root: Path) -> Any:
        return SdxlEngine(model, root, lambda: None).generate(request, lambda done, total: None).frames

    assert np.array_equal(drawn(SINGLE, models_dir), drawn(replace(SINGLE, path=folder.name), folder.parent))


@pytest.mark.parametrize("path", ["model.safetensors", "folder"])
def test_weights_are_held_in_the_dtypes_asked_for(models_dir: Path, folder: Path, path: str) -> None:
    shutil.copytree(folder, models_dir / "folder", dirs_exist_ok=True)
    pipe = load_sdxl(replace(SINGLE, path=path, dtype="float16", vae_dtype="bfloat16"), models_dir)
    assert {pipe.unet.dtype, pipe.text_encoder.dtype, pipe.text_encoder_2.dtype} == {torch.float16}
    assert pipe.vae.dtype == torch.bfloat16


def test_another_vae_takes_the_place_of_the_checkpoint_s(models_dir: Path) -> None:
    pipe = load_sdxl(replace(SINGLE, vae="vae"), models_dir)
    assert pipe.vae.config._name_or_path == str(models_dir / "vae")


def test_the_scheduler_is_fresh_each_time_and_keeps_the_checkpoint_s_schedule(from_folder: Any) -> None:
    one, other = fresh_scheduler(from_folder), fresh_scheduler(from_folder)
    assert one is not other
    assert one.config.beta_end == from_folder.scheduler.config.beta_end == 0.012
    assert type(one).__name__ == "EulerDiscreteScheduler"


def test_a_damaged_file_is_a_clear_error(models_dir: Path) -> None:
    (models_dir / "damaged.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ConfigurationError, match=r"SDXL weights at .*damaged\.safetensors cannot be loaded"):
        load_sdxl(replace(SINGLE, path="damaged.safetensors"), models_dir)


def test_a_device_that_is_not_there_is_a_clear_error(models_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="device = 'cuda:99'"):
        load_sdxl(replace(SINGLE, device="cuda:99"), models_dir)
