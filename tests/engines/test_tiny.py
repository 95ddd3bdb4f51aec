"""The tiny models: built once, whole or not at all, the same on every machine that builds them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.engines.tiny import models as tiny
from ourvidz_worker.engines.tiny import shapes
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part
from ourvidz_worker.engines.volume.weights import missing_weights
from ourvidz_worker.ports import GenerationRequest

PARTS: tuple[Part, ...] = ("sdxl", "wan", "qwen")
SILENT_START = """
import asyncio, sys
from pathlib import Path
from ourvidz_worker.engines.assembly import assemble
from ourvidz_worker.engines.volume.model_config import parse_models
models = parse_models(Path("configs/models.toml").read_text())
prompts = {path.stem: path.read_text() for path in Path("configs/prompts").iterdir()}
for family in ("sdxl", "wan"):
    engines = assemble(
        family, selection="tiny", models=models, models_dir=Path(), cache_dir=Path(sys.argv[1]), prompts=prompts
    )
    engines.engine.load()
"""


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.parametrize("part", PARTS)
def test_a_tiny_model_is_complete_like_a_real_one(cache_dir: Path, part: Part) -> None:
    for each in PARTS:
        ensure_built(cache_dir, each)
    assert missing_weights(MODELS, cache_dir, part) == []


@pytest.mark.parametrize("part", PARTS)
def test_every_machine_builds_the_same_weights(cache_dir: Path, tmp_path: Path, part: Part) -> None:
    ensure_built(cache_dir, part)
    ensure_built(tmp_path, part)
    name = shapes.folder_name(part)
    built = digest(tmp_path / name)
    assert built
    assert built == digest(cache_dir / name)


def test_what_is_in_the_cache_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_built(tmp_path, "qwen")
    before = digest(tmp_path)

    def refuse(*args: Any) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr("ourvidz_worker.engines.tiny.build.build", refuse)
    ensure_built(tmp_path, "qwen")
    assert digest(tmp_path) == before


def test_two_workers_that_build_at_once_both_find_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second to finish finds the folder there and drops its own copy."""
    from ourvidz_worker.engines.tiny import build as building

    both_built = threading.Barrier(2)
    original = building.build

    def build(part: Part, folder: Path) -> None:
        original(part, folder)
        both_built.wait(30)

    monkeypatch.setattr(building, "build", build)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ensure_built(tmp_path, "qwen")
        except BaseException as error:  # noqa: BLE001 - a thread has no other way to tell
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert [entry.name for entry in tmp_path.iterdir()] == [shapes.folder_name("qwen")]
    assert missing_weights(MODELS, tmp_path, "qwen") == []


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(part: Part, folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("disk full")

    monkeypatch.setattr("ourvidz_worker.engines.tiny.build.build", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_built(tmp_path, "qwen")
    assert list(tmp_path.iterdir()) == []


def test_another_shape_or_version_gets_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {shapes.folder_name(part) for part in PARTS}
    assert len(names) == 3
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    assert shapes.folder_name("sdxl") not in names


def test_tiny_models_are_not_adult_capable(models: ModelsConfig) -> None:
    assert models.sdxl.adult_capable
    assert not tiny.MODELS.sdxl.adult_capable


def test_building_and_loading_say_nothing(tmp_path: Path) -> None:
    """Model libraries would print progress bars and warnings into the worker's log."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SILENT_START, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_job_of_full_size_comes_out_as_asked(tiny_wan: Any, make_request: Callable[..., GenerationRequest]) -> None:
    """The tiny VAE is coarser than the size; what the payload asks for is what comes out."""
    request = make_request(
        "video_fast", width=480, height=832, num_frames=81, requested_frames=83, num_inference_steps=2
    )
    frames = tiny_wan.engine.generate(request, lambda done, total: None).frames
    assert frames.shape == (81, 832, 480, 3)
