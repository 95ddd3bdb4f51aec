"""Files that survive a crash between any two steps, in folders that belong to this user alone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

PROBE_BYTES = 1024 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LEFTOVER = "."  # no job id begins with a dot


def flush(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """The file has the old content or the new one, never a part of it."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    flush(draft)
    draft.replace(path)
    flush(path.parent)


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can look into, or take these rights from others where it exists.

    Raises `OSError` with a sentence where it is no folder, belongs to somebody else, or stays open to others.
    """
    _make(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder: remove it")
    if found.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to another user (uid {found.st_uid}), who could change what lies there"
        )
    if found.st_mode & _OTHERS:
        folder.chmod(stat.S_IRWXU)
        if folder.lstat().st_mode & _OTHERS:
            raise PermissionError(f"{folder} is open to other users, and its file system keeps it so")


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        flush(folder.parent)


def draft_of(folder: Path) -> Path:
    """A new folder beside this one, to become it with `move`."""
    draft = _leftover(folder)
    draft.mkdir(mode=stat.S_IRWXU)
    return draft


def drafts_of(folder: Path) -> Iterator[Path]:
    """The drafts beside this one that have not become it, of whatever process."""
    name = re.compile(rf"{re.escape(_LEFTOVER + folder.name)}-[0-9a-f]{{8}}")
    return (path for path in leftovers(folder.parent) if name.fullmatch(path.name))


def give_name(draft: Path, folder: Path) -> bool:
    """Make a draft the folder; False where there is one of that name, which then stays, as the draft does."""
    try:
        draft.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    flush(folder.parent)
    return True


def move(source: Path, target: Path) -> None:
    """Give a folder its new name; what had that name before is removed."""
    former = _put_aside(target)
    source.rename(target)
    flush(target.parent)
    flush(source.parent)
    _erase(former)


def remove(folder: Path) -> None:
    """Gone in one step, so that nobody finds half of it. Removing what is not there is harmless."""
    _erase(_put_aside(folder))


def probe(folder: Path) -> None:
    """Raises the `OSError` that keeps files from being written here: no space, quota, rights, a read-only disk."""
    file = _leftover(folder / "probe")
    try:
        file.write_bytes(bytes(PROBE_BYTES))
        flush(file)
    finally:
        file.unlink(missing_ok=True)


def entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder under a name of its own."""
    return (path for path in _children(folder) if not path.name.startswith(_LEFTOVER))


def leftovers(folder: Path) -> Iterator[Path]:
    """What a crash left here on its way in or out."""
    return (path for path in _children(folder) if path.name.startswith(_LEFTOVER))


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _put_aside(folder: Path) -> Path:
    aside = _leftover(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    return aside


def _erase(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _leftover(path: Path) -> Path:
    return path.with_name(f"{_LEFTOVER}{path.name}-{secrets.token_hex(4)}")
