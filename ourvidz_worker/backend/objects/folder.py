"""Objects as files in a folder of this machine or of a volume."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path, PurePosixPath

from ourvidz_worker.backend.references.stored import missing, too_large
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from ourvidz_worker.ports import Asset
from ourvidz_worker.runtime.durable import flush, probe

_FOR_A_PERSON = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


class FolderObjects:
    """`Objects` below `root`, which must be there: a folder made in place of a volume would be gone with the machine.

    A file has its old content or its new one, never a part of it, and is on the disk when `put` returns.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, name: str, asset: Asset) -> None:
        try:
            await asyncio.to_thread(self._write, name, asset.path)
        except OSError as error:
            raise self._problem(name, error) from error

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        try:
            return await asyncio.to_thread(self._read, name, max_bytes)
        except (FileNotFoundError, BackendRefused) as error:
            raise missing() from error
        except OSError as error:
            raise BackendUnavailable(f"the store's folder could not be read ({error.strerror})") from error

    async def check(self) -> None:
        try:
            await asyncio.to_thread(self._probe)
        except OSError as error:
            raise self._problem("files", error) from error

    async def close(self) -> None:
        """There is nothing to close."""

    def _path(self, name: str) -> Path:
        """Where an object lies; raises `BackendRefused` for a name that leads out of the folder, also over links."""
        parts = PurePosixPath(name).parts
        path = self._root.joinpath(*parts)
        plain = not {"..", "/"} & set(parts) and "\0" not in name
        # Unlike `resolve` it takes links that lead to themselves, which then cannot be opened.
        if not plain or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._root)):
            raise BackendRefused(f"{name!r} leads out of the store's folder")
        return path

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise ConfigurationError(
                f"the store's folder {self._root} does not exist: create it, or mount the volume that it belongs to"
            )

    def _probe(self) -> None:
        self._check_root()
        probe(self._root)

    def _write(self, name: str, source: Path) -> None:
        self._check_root()
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
        try:
            shutil.copyfile(source, draft)
            flush(draft)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        flush(path.parent)

    def _read(self, name: str, max_bytes: int) -> bytes:
        # Opening what is no file, like a pipe, might never return.
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise missing()
            if found.st_size > max_bytes:
                raise too_large(max_bytes)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)

    def _problem(self, name: str, error: OSError) -> WorkerError:
        reason = error.strerror or type(error).__name__
        if error.errno in _FOR_A_PERSON:
            return ConfigurationError(
                f"the store's folder {self._root} takes no files ({reason}): make it writable for this user, or "
                "correct OURVIDZ_STORE_URL"
            )
        return BackendUnavailable(f"the store's folder could not take {name} ({reason})")
