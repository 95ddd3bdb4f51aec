"""`[sources.*]` of `configs/models.toml`: where weights come from, and what they are when they are whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file by its `name` below the source's folder; what is not known of it is None."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Files of `folder` in one repository at one commit, to lie below `path` in the models folder."""

    name: str
    repository: str
    revision: str
    path: str
    files: tuple[SourceFile, ...]
    folder: str = ""

    @property
    def is_hub_entry(self) -> bool:
        """Whether `path` is an entry of the hub's own cache, which keeps a folder for each revision."""
        return PurePosixPath(self.path).name.startswith("models--")

    @property
    def bytes(self) -> int:
        return sum(file.bytes or 0 for file in self.files)

    def place(self, file: SourceFile, models_dir: Path) -> Path:
        root = models_dir / self.path
        return (root / "snapshots" / self.revision if self.is_hub_entry else root) / file.name

    def address(self, file: SourceFile) -> str:
        """The file's path below the hub's address."""
        inside = PurePosixPath(self.folder) / file.name
        return f"{self.repository}/resolve/{self.revision}/{inside}"

    def provides(self, path: str) -> bool:
        """Whether a key of `models.toml` with this path is served: by the whole, or by one of the files."""
        wanted, root = PurePosixPath(path), PurePosixPath(self.path)
        return wanted == root or any(wanted == root / file.name for file in self.files)


def source_problems(tables: Any) -> Iterator[str]:
    """A sentence for everything that is wrong in `[sources.*]`."""
    if not isinstance(tables, dict):
        yield "[sources] in models.toml must hold tables like [sources.sdxl]"
        return
    for name, table in tables.items():
        if isinstance(table, dict):
            yield from _table_problems(f"[sources.{name}]", table)
        else:
            yield f"[sources] {name} in models.toml must be a table [sources.{name}]"


def build_sources(tables: Mapping[str, Any]) -> tuple[Source, ...]:
    """From tables without a problem."""
    return tuple(
        Source(name=name, **{**table, "files": tuple(SourceFile(**file) for file in table["files"])})
        for name, table in tables.items()
    )


def _table_problems(label: str, table: Mapping[str, Any]) -> Iterator[str]:
    known = [field.name for field in fields(Source) if field.name != "name"]
    required = [field.name for field in fields(Source) if field.default is MISSING and field.name != "name"]
    yield from (f"{label} {key} is missing in models.toml" for key in required if key not in table)
    for key, value in table.items():
        if key not in known:
            yield f"{label} {key} is unknown in models.toml; known are {', '.join(known)}"
        elif key == "files":
            yield from _file_problems(label, value)
        elif expected := _mismatch(key, value):
            yield f"{label} {key} = {value!r} in models.toml is wrong: it must be {expected}"


def _file_problems(label: str, files: Any) -> Iterator[str]:
    if not isinstance(files, list) or not files:
        yield f"{label} files in models.toml must be a list of tables with a name"
        return
    for number, file in enumerate(files, start=1):
        if not isinstance(file, dict) or "name" not in file:
            yield f"{label} files: entry {number} in models.toml must be a table with a name"
            continue
        for key, value in file.items():
            if expected := _mismatch(key, value):
                yield f"{label} files: {key} = {value!r} in models.toml is wrong: it must be {expected}"


def _mismatch(key: str, value: Any) -> str | None:
    """What the value should have been, or None when it is fine."""
    text = value if isinstance(value, str) else ""
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    rules: Mapping[str, tuple[bool, str]] = {
        "repository": (REPOSITORY.fullmatch(text) is not None, "an owner and a name, like Qwen/Qwen2.5-7B-Instruct"),
        "revision": (REVISION.fullmatch(text) is not None, "a commit of 40 hexadecimal digits"),
        "path": (stays_below(text), "a path inside the models folder"),
        "folder": (stays_below(text), "a folder inside the repository"),
        "name": (stays_below(text), "a path inside the source's folder"),
        "bytes": (number > 0, "a whole number above 0"),
        "sha256": (SHA256.fullmatch(text) is not None, "64 hexadecimal digits"),
    }
    if key not in rules:
        return "left out: known are name, bytes and sha256"
    fine, expected = rules[key]
    return None if fine else expected


def stays_below(text: str) -> bool:
    path = PurePosixPath(text)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
