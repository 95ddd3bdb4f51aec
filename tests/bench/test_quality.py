"""The benchmark of quality runs from end to end at tiny size, and knows equal pictures from others."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.bench.quality import Variant, compared, main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    assert main(["--size", "tiny", "--seeds", "1", "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads((folder / "quality.json").read_text())["rows"]
    return {(row["model"], row["variant"]): row for row in found}


@pytest.mark.parametrize("model", ["sdxl", "wan"])
def test_each_tier_and_each_arithmetic_is_compared(rows: dict[tuple[str, str], dict[str, Any]], model: str) -> None:
    against = {variant: row["against"] for (family, variant), row in rows.items() if family == model}
    assert against == {"balanced": "exact", "turbo": "exact", "models in bfloat16": "float32 throughout"}


def test_tiers_deviate_and_stay_alike(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for row in rows.values():
        assert not row["equal"]
        assert 20 < row["psnr_db"] < 80
        assert 0.9 < row["ssim"] < 1


def test_the_sheet_shows_every_variant(folder: Path) -> None:
    with Image.open(folder / "quality.jpg") as sheet:
        assert sheet.height > 10 * 176
    assert (folder / "quality.svg").read_text().startswith("<svg")


def test_equal_pictures_have_no_noise_to_tell() -> None:
    pictures = [np.full((1, 16, 16, 3), shade, dtype=np.uint8) for shade in (10, 20)]
    other = [pictures[0], pictures[1] + np.uint8(1)]
    same = compared("sdxl", Variant("same", pictures, 1.0, {}), Variant("exact", pictures, 2.0, {}))
    assert (same["equal"], same["psnr_db"], same["ssim"], same["times_as_fast"]) == (True, None, 1.0, 2.0)
    near = compared("sdxl", Variant("near", other, 1.0, {}), Variant("exact", pictures, 2.0, {}))
    assert (near["equal"], near["largest_difference"]) == (False, 1)
    assert near["psnr_db"] == pytest.approx(20 * math.log10(255), abs=0.01)
