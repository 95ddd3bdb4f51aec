"""Writes what ships of the demo models into `configs/models.toml`: each file with its size and SHA-256.

    python -m scripts.demo_models.sums

It says how many files and bytes a family has. Written twice, the file stays the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ourvidz_worker.engines.demo.models import WEIGHTS

MODELS = Path(__file__).parents[2] / "configs" / "models.toml"
TABLE = "[demo.files]\n"


def rewrite(models: Path = MODELS, weights: Path = WEIGHTS) -> None:
    """Replace the table at the end of the file; raises `ValueError` where another one follows it."""
    before, found, after = models.read_text(encoding="utf-8").partition(TABLE)
    if not found or any(line.startswith("[") for line in after.splitlines()):
        raise ValueError(f"{models} must end with the table {TABLE.strip()}")
    models.write_text(before + TABLE + "".join(_lines(weights)), encoding="utf-8")


def shipped_files(weights: Path = WEIGHTS) -> list[Path]:
    """What ships, in the order of the names."""
    return sorted(path for path in weights.rglob("*") if path.is_file() and not path.name.startswith("."))


def _lines(weights: Path) -> list[str]:
    return [_line(path, path.relative_to(weights).as_posix()) for path in shipped_files(weights)]


def _line(path: Path, name: str) -> str:
    content = path.read_bytes()
    return f'"{name}" = {{ bytes = {len(content):_}, sha256 = "{hashlib.sha256(content).hexdigest()}" }}\n'


def main() -> None:
    rewrite()
    for family in sorted({path.relative_to(WEIGHTS).parts[0] for path in shipped_files()}):
        files = [path for path in shipped_files() if path.relative_to(WEIGHTS).parts[0] == family]
        print(f"{family}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
