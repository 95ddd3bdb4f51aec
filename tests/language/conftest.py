from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from tests.language.scripted import CONFIGS, PROMPTS


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return parse_catalogue((CONFIGS / "job_types.toml").read_text())


@pytest.fixture(scope="session")
def prompts() -> Mapping[str, str]:
    return PROMPTS


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models stay between runs where OURVIDZ_CACHE names a place for them."""
    configured = os.environ.get("OURVIDZ_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")
