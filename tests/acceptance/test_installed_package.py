"""The package works without the repository around it: `configs/` and the demo models travel with the wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.demo_models.sums import shipped_files
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, ROOT, clean_environment


def test_a_replay_runs_from_the_wheel_alone(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True)
    weights = Path("ourvidz_worker/engines/demo/weights")
    shipped = [file.relative_to(ROOT) for file in shipped_files(ROOT / weights)]
    assert [file.relative_to(installed) for file in shipped_files(installed / weights)] == shipped
    result = subprocess.run(
        [sys.executable, "-m", "ourvidz_worker", "replay", str(PAYLOADS / "sdxl_image_fast.json")],
        cwd=installed,
        env=clean_environment({"OURVIDZ_MODELS": "testcard"}),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "models: testcard, as OURVIDZ_MODELS says" in result.stderr
    assert "completed" in result.stdout
