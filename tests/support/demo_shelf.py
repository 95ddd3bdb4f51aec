"""A version that ships demo models, with files of a few bytes in the place of weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models
from scripts.demo_models.sums import MODELS, rewrite

FILES = (
    "sdxl/model_index.json",
    "sdxl/unet/config.json",
    "sdxl/adapters/image_encoder/config.json",
    "sdxl/adapters/ip_adapter.safetensors",
    "wan/model_index.json",
    "wan/vace/config.json",
    "qwen/config.json",
)


class Shelf:
    """Where this process believes that the demo models ship, and `configs/`, whose `models.toml` lists them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.weights = folder / "weights"
        self.configs = folder / "configs"
        self.configs.mkdir(parents=True)
        for entry in MODELS.parent.iterdir():
            (self.configs / entry.name).symlink_to(entry)
        (self.configs / MODELS.name).unlink()
        shutil.copyfile(MODELS, self.configs / MODELS.name)
        patch.setattr("ourvidz_worker.config_files._shipped", lambda: self.configs)
        patch.setattr("ourvidz_worker.engines.demo.models.WEIGHTS", self.weights)
        for name in FILES:
            self.write(name)
        self.publish()

    def write(self, name: str, text: str | None = None) -> Path:
        file = self.weights / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name if text is None else text)
        return file

    def publish(self) -> None:
        """Have `models.toml` list what lies there now."""
        rewrite(self.configs / "models.toml", self.weights)

    def text(self) -> str:
        return (self.configs / "models.toml").read_text()

    def models(self) -> ModelsConfig:
        return parse_models(self.text())
