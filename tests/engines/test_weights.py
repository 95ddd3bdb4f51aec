"""Missing weights are found before anything is loaded, each with the path looked at and the cure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.engines.volume.weights import (
    SDXL_COMPONENTS,
    WAN_COMPONENTS,
    WITHOUT_WEIGHTS,
    hub_snapshot,
    missing_weights,
    require_weights,
)
from ourvidz_worker.errors import ConfigurationError


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_pipeline(folder: Path, components: tuple[str, ...]) -> None:
    write(folder / "model_index.json", "{}")
    for name in components:
        write(folder / name / ("config.json" if name in WITHOUT_WEIGHTS else "model.safetensors"))


def write_language_model(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        write(folder / name)


def test_an_empty_models_folder_misses_everything(models: ModelsConfig, tmp_path: Path) -> None:
    [sdxl] = missing_weights(models, tmp_path, "sdxl")
    assert str(tmp_path / models.sdxl.path) in sdxl
    assert "OURVIDZ_MODELS_DIR" in sdxl
    wan, qwen = missing_weights(models, tmp_path, "wan")
    assert "[wan] path" in wan
    assert "[qwen] path" in qwen


def test_complete_weights_have_no_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write(tmp_path / models.sdxl.path)
    write_pipeline(tmp_path / models.wan.path, WAN_COMPONENTS)
    entry = tmp_path / models.qwen.path
    write_language_model(entry / "snapshots" / "abc")
    write(entry / "refs" / "main", "abc\n")
    assert missing_weights(models, tmp_path, "sdxl") == []
    assert missing_weights(models, tmp_path, "wan") == []
    require_weights(models, tmp_path, "wan")


def test_an_empty_checkpoint_file_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write(tmp_path / models.sdxl.path, "")
    assert "is empty" in missing_weights(models, tmp_path, "sdxl")[0]


def test_a_folder_a_config_and_a_vae_are_looked_into(models: ModelsConfig, tmp_path: Path) -> None:
    folders = replace(models, sdxl=replace(models.sdxl, path="folder", config="config", vae="vae"))
    write_pipeline(tmp_path / "folder", SDXL_COMPONENTS)
    (tmp_path / "folder" / "unet" / "model.safetensors").unlink()
    (tmp_path / "vae").mkdir()
    unet, config, vae = missing_weights(folders, tmp_path, "sdxl")
    assert f"{tmp_path / 'folder' / 'unet'} holds no .safetensors weights" in unet
    assert "[sdxl] config" in config
    assert "[sdxl] vae" in vae


def test_the_original_wan_layout_is_told_from_the_diffusers_layout(models: ModelsConfig, tmp_path: Path) -> None:
    write(tmp_path / models.wan.path / "Wan2.1_VAE.pth")
    assert "original layout" in missing_weights(models, tmp_path, "wan")[0]


def test_a_folder_that_is_no_pipeline_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write(tmp_path / models.wan.path / "readme.txt")
    assert "has no model_index.json" in missing_weights(models, tmp_path, "wan")[0]


def test_a_missing_tokenizer_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_pipeline(tmp_path / models.wan.path, tuple(name for name in WAN_COMPONENTS if name != "tokenizer"))
    assert str(tmp_path / models.wan.path / "tokenizer") in missing_weights(models, tmp_path, "wan")[0]


def test_a_missing_shard_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    entry = tmp_path / models.qwen.path
    write_language_model(entry)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    write(entry / "model.safetensors.index.json", json.dumps(index))
    assert "lacks model-2.safetensors" in missing_weights(models, tmp_path, "qwen")[0]
    write(entry / "model.safetensors.index.json", "{")
    assert "is damaged" in missing_weights(models, tmp_path, "qwen")[0]


def test_a_language_model_without_its_tokenizer_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_language_model(tmp_path / models.qwen.path)
    (tmp_path / models.qwen.path / "tokenizer_config.json").unlink()
    assert "tokenizer_config.json is missing" in missing_weights(models, tmp_path, "qwen")[0]


def test_a_cache_entry_leads_to_its_snapshot(tmp_path: Path) -> None:
    write(tmp_path / "snapshots" / "old" / "config.json")
    write(tmp_path / "snapshots" / "new" / "config.json")
    write(tmp_path / "refs" / "main", "old")
    assert hub_snapshot(tmp_path) == tmp_path / "snapshots" / "old"


def test_a_cache_entry_without_a_reference_leads_to_some_snapshot(tmp_path: Path) -> None:
    write(tmp_path / "snapshots" / "only" / "config.json")
    assert hub_snapshot(tmp_path) == tmp_path / "snapshots" / "only"
    assert hub_snapshot(tmp_path / "snapshots" / "only") == tmp_path / "snapshots" / "only"


def test_requiring_missing_weights_lists_all_findings(models: ModelsConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_weights(models, tmp_path, "wan")
    assert len(caught.value.problems) == 2
