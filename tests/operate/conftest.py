from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.operate.scene import Scene, operated_scene


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with operated_scene(tmp_path_factory.mktemp("operated")) as scene:
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    stage.clear()
    return stage
