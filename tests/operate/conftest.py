from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.operate.scene import Scene, operated_scene
from tests.support.logs import logging_restored


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with operated_scene(tmp_path_factory.mktemp("operated")) as scene:
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    stage.clear()
    return stage


@pytest.fixture
def own_logging() -> Iterator[None]:
    """For commands that run inside the test's own process, and set its logging up."""
    with logging_restored():
        yield
