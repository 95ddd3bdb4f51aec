"""Faster copies: bit-equal to what they were made of, and used only as long as they fit it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from ourvidz_worker.engines.assembly import assemble
from ourvidz_worker.engines.sdxl.loading import load_sdxl
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.conversion import convert
from ourvidz_worker.engines.volume.converted import MANIFEST, Copy, copies, prefer_copies
from ourvidz_worker.engines.volume.model_config import ModelsConfig, SdxlModel, WanModel
from ourvidz_worker.engines.volume.weights import missing_weights
from ourvidz_worker.engines.wan.loading import load_wan
from ourvidz_worker.errors import ConfigurationError
from tests.engines.single_file import write_single_file
from tests.engines.wan_original import write_diffusers, write_original

SINGLE = SdxlModel("single", "one/model.safetensors", dtype="float16", vae_dtype="bfloat16", config="config")
SDXL = replace(MODELS, sdxl=SINGLE)


@pytest.fixture(scope="module")
def volume(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single SDXL file and its configuration."""
    ensure_built(cache_dir, "sdxl")
    folder, volume = cache_dir / MODELS.sdxl.path, tmp_path_factory.mktemp("volume")
    (volume / "one").mkdir()
    write_single_file(load_sdxl(replace(MODELS.sdxl, path=folder.name), folder.parent), volume / SINGLE.path)
    shutil.copytree(folder, volume / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    return volume


@pytest.fixture
def models_dir(volume: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(volume, tmp_path / "volume"))


def only_copy(models: ModelsConfig, models_dir: Path) -> Copy:
    [copy] = copies(models, models_dir)
    return copy


def weights(pipe: Any) -> dict[str, torch.Tensor]:
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    return {f"{part}.{key}": value for part in parts for key, value in getattr(pipe, part).state_dict().items()}


def test_a_copy_of_a_single_file_is_bit_equal_and_preferred(models_dir: Path) -> None:
    copy = only_copy(SDXL, models_dir)
    assert not copy.fits
    assert prefer_copies(SDXL, models_dir) == SDXL

    gain = convert(copy, SDXL, models_dir)

    assert only_copy(SDXL, models_dir).fits
    assert copy.path == models_dir / "converted" / "sdxl-model-float16"
    assert gain.bytes > 100_000
    assert min(gain.before, gain.after) > 0
    preferred = prefer_copies(SDXL, models_dir)
    assert preferred.sdxl.path == "converted/sdxl-model-float16"
    expected, found = weights(load_sdxl(SINGLE, models_dir)), weights(load_sdxl(preferred.sdxl, models_dir))
    assert expected.keys() == found.keys()
    assert {key: value.dtype for key, value in expected.items()} == {key: value.dtype for key, value in found.items()}
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert sorted(path.name for path in copy.path.parent.iterdir()) == [".sdxl-model-float16.lock", copy.path.name]

    make_unreadable(models_dir / SINGLE.path)
    engines = assemble("sdxl", selection="real", models=SDXL, models_dir=models_dir, cache_dir=models_dir, prompts={})
    engines.engine.load()


def make_unreadable(file: Path) -> None:
    """Other content that looks the same from outside: only who reads it would notice."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_copy_of_wan_s_original_layout_is_bit_equal_and_preferred(tmp_path: Path) -> None:
    model = WanModel("wan", "original", dtype="bfloat16", vae_dtype="float32", device="cpu", config="configs")
    with torch.random.fork_rng(devices=[]):
        write_diffusers(tmp_path / "diffusers")
    shutil.copytree(tmp_path / "diffusers", tmp_path / "configs", ignore=shutil.ignore_patterns("*.safetensors"))
    whole = load_wan(replace(model, path="diffusers", dtype="float32"), tmp_path)
    write_original(whole, tmp_path / "diffusers" / "tokenizer", tmp_path / "original")
    models = replace(MODELS, wan=model)
    copy = only_copy(models, tmp_path)

    convert(copy, models, tmp_path)

    preferred = prefer_copies(models, tmp_path).wan
    assert preferred.path == "converted/wan-original-bfloat16"
    assert missing_weights(replace(models, wan=preferred), tmp_path, "wan", own_language_model=False) == []
    expected, found = load_wan(model, tmp_path), load_wan(preferred, tmp_path)
    for part in ("transformer", "vae", "text_encoder"):
        before, after = getattr(expected, part).state_dict(), getattr(found, part).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[key]) and value.dtype == after[key].dtype for key, value in before.items())


class TestFitting:
    @pytest.fixture
    def copy(self, models_dir: Path) -> Copy:
        """As if it had been made."""
        copy = only_copy(SDXL, models_dir)
        copy.path.mkdir(parents=True)
        (copy.path / "model_index.json").write_text("{}")
        copy.write_manifest(copy.path)
        assert only_copy(SDXL, models_dir).fits
        return copy

    def test_another_file_in_the_same_place(self, copy: Copy, models_dir: Path) -> None:
        os.utime(models_dir / SINGLE.path, ns=(0, 0))
        assert not only_copy(SDXL, models_dir).fits

    @pytest.mark.parametrize("changed", [{"vae_dtype": "float32"}, {"dtype": "float32"}, {"vae": "config/vae"}])
    def test_another_way_to_hold_it(self, copy: Copy, models_dir: Path, changed: dict[str, Any]) -> None:
        other = replace(SDXL, sdxl=replace(SINGLE, **changed))
        assert not only_copy(other, models_dir).fits
        assert prefer_copies(other, models_dir) == other

    def test_another_configuration(self, copy: Copy, models_dir: Path) -> None:
        scheduler = models_dir / "config" / "scheduler" / "scheduler_config.json"
        scheduler.write_text(scheduler.read_text().replace("epsilon", "v_prediction") + " ")
        assert not only_copy(SDXL, models_dir).fits

    def test_a_copy_that_nobody_finished(self, copy: Copy, models_dir: Path) -> None:
        for unfinished in ("{", "[]", "{}", json.dumps({"copy": [], "source": copy.manifest})):
            (copy.path / MANIFEST).write_text(unfinished)
            assert not only_copy(SDXL, models_dir).fits

    def test_a_copy_that_was_cut_off_since(self, copy: Copy, models_dir: Path) -> None:
        (copy.path / "model_index.json").write_text("")
        assert prefer_copies(SDXL, models_dir) == SDXL

    def test_a_volume_that_may_not_be_read(self, copy: Copy, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_path: Path) -> bool:
            raise PermissionError

        monkeypatch.setattr(Path, "exists", refuse)
        assert prefer_copies(SDXL, models_dir) == SDXL

    def test_a_source_that_is_gone_has_no_copy(self, copy: Copy, models_dir: Path) -> None:
        (models_dir / SINGLE.path).unlink()
        assert copies(SDXL, models_dir) == []
        assert prefer_copies(SDXL, models_dir) == SDXL


def test_weights_beside_the_volume_have_their_copy_on_it(models_dir: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    shutil.copy(models_dir / SINGLE.path, elsewhere)
    copy = only_copy(replace(SDXL, sdxl=replace(SINGLE, path=str(elsewhere))), models_dir)
    assert copy.path == models_dir / "converted" / "sdxl-elsewhere-float16"
    assert list(copy.manifest["files"]) == [str(elsewhere)]


def test_a_folder_needs_no_copy(models_dir: Path) -> None:
    assert copies(replace(SDXL, sdxl=replace(SINGLE, path="config")), models_dir) == []


def test_a_conversion_that_fails_leaves_the_old_copy(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = only_copy(SDXL, models_dir)
    copy.path.mkdir(parents=True)
    (copy.path / "old").touch()

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    def save_half(_pipe: Any, folder: Path) -> None:
        (folder / "model_index.json").write_text("{")

    monkeypatch.setattr("diffusers.StableDiffusionXLPipeline.save_pretrained", fail)
    with pytest.raises(OSError, match="No space left"):
        convert(copy, SDXL, models_dir)
    monkeypatch.setattr("diffusers.StableDiffusionXLPipeline.save_pretrained", save_half)
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        convert(copy, SDXL, models_dir)
    assert [path.name for path in copy.path.parent.iterdir() if path.is_dir()] == [copy.path.name]
    assert (copy.path / "old").exists()


def test_too_little_room_is_said_before_anything_is_loaded(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ConfigurationError, match=r"the copy of .*model\.safetensors needs .* GB free: make room"):
        convert(only_copy(SDXL, models_dir), SDXL, models_dir)


def test_two_processes_do_not_write_the_same_copy(models_dir: Path) -> None:
    copy = only_copy(SDXL, models_dir)
    copy.path.parent.mkdir()
    with (copy.path.parent / f".{copy.path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="another process converts"):
            convert(copy, SDXL, models_dir)
