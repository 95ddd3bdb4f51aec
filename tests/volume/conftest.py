"""The tiny models, built once, and what the shipped `models.toml` says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models stay between runs where OURVIDZ_CACHE names a place for them."""
    configured = os.environ.get("OURVIDZ_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def models() -> ModelsConfig:
    return parse_models((CONFIGS / "models.toml").read_text(), configs={"sdxl": str(CONFIGS / "sdxl")})
