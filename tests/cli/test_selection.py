"""Which models `demo`, `replay` and `local` take, and the reason that they give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ourvidz_worker.cli.selection import select_models
from ourvidz_worker.engines.volume.kinds import Kind
from ourvidz_worker.engines.volume.model_config import Part
from ourvidz_worker.settings import QwenSettings, Settings, read_settings
from tests.engines.test_model_config import GOOD
from tests.support.said import set_environment
from tests.volume.weight_files import write_kind, write_text


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a models.toml of the operator's points, with the weights of SDXL alone."""
    weights, configs = tmp_path / "volume", tmp_path / "configs"
    write_text(configs / "models.toml", GOOD.replace("[wan]", 'config = "config"\n[wan]'))
    write_text(weights / "config" / "model_index.json")
    write_kind(weights / "m.safetensors", Kind.SDXL)
    set_environment(monkeypatch, {"OURVIDZ_MODELS_DIR": str(weights), "OURVIDZ_CONFIG_DIR": str(configs)})
    return weights


@pytest.mark.parametrize(
    ("workers", "models", "reason"),
    [
        (["sdxl"], "real", "has all their weights"),
        (["wan"], "demo", "lacks real weights (wan, qwen)"),
        (["sdxl", "wan"], "demo", "lacks real weights (wan, qwen)"),
        (["sdxl", "qwen"], "demo", "lacks real weights (qwen)"),
    ],
)
def test_the_real_ones_where_all_that_the_workers_need_is_there(
    volume: Path, workers: Sequence[Part], models: str, reason: str
) -> None:
    selected = select_models(read_settings(QwenSettings), workers)
    assert selected.models == models
    assert f"{volume} {reason}" in str(selected)


def test_a_language_model_elsewhere_is_not_missed(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_LANGUAGE_MODEL_URL", "https://vllm.example")
    assert select_models(read_settings(QwenSettings), ["sdxl", "qwen"]).models == "real"


@pytest.mark.parametrize("said", ["real", "tiny", "testcard", "demo"])
def test_what_the_environment_says_goes_before(volume: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("OURVIDZ_MODELS", said)
    parts: tuple[Part, ...] = ("sdxl", "wan")
    for part in parts:
        assert str(select_models(read_settings(QwenSettings), [part])) == f"models: {said}, as OURVIDZ_MODELS says"


def test_an_empty_variable_says_nothing(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_MODELS", "")
    assert select_models(read_settings(QwenSettings), ["wan"]).models == "demo"


def test_whoever_serves_a_product_never_takes_them_unasked(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker, an orchestrator and a serverless endpoint read their settings, and nothing else."""
    for name in ("SUPABASE_URL", "UPSTASH_REDIS_REST_URL"):
        monkeypatch.setenv(name, "https://product.example")
    for name in ("SUPABASE_SERVICE_KEY", "UPSTASH_REDIS_REST_TOKEN"):
        monkeypatch.setenv(name, "key")
    assert read_settings(Settings).models == "real"
