"""Train the demo models of a family: `python scripts/demo_models/train.py sdxl`; see `--help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from ourvidz_worker.engines.demo.models import WEIGHTS  # noqa: E402 - found from the root of the repository
from scripts.demo_models import crew, published, sums  # noqa: E402

FAMILIES = ("sdxl", "wan", "qwen")
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "200000000",
}
"""For glibc, which else gives the memory of tensors back after each step: a fifth of a step went into new pages."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo models of a family, from where the training stopped.")
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after so long, to go on another time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo_models", help="where trainings are kept")
    parser.add_argument(
        "--from-published", action="store_true", help="where no training is kept, go on from what is published"
    )
    parser.add_argument("--publish", action="store_true", help="only publish what is learned by now")
    chosen = parser.parse_args()
    if not KEPT_MEMORY.items() <= os.environ.items():  # it is read when a process begins
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT_MEMORY})  # noqa: S606 - ourselves
    family = import_module(f"scripts.demo_models.{chosen.family}.family")
    work, folder = chosen.work / chosen.family, WEIGHTS / chosen.family
    if chosen.from_published and crew.leads():
        models = import_module(f"scripts.demo_models.{chosen.family}.taking_up").published_models(folder, work)
        for course in published.take_up(models, folder, work):
            print(f"{course}: taken up from what is published", flush=True)
    crew.join()  # where the others have waited for what they will read
    done = chosen.publish or family.train(work, time.monotonic() + chosen.minutes * 60)
    if not done:
        print(f"not done yet; the same command goes on from here, and --publish publishes what is in {work}")
        return
    if not crew.leads():
        return
    family.publish(work, folder)
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # the library makes them their owner's alone
    sums.rewrite()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"published {folder}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
