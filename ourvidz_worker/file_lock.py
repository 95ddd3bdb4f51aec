"""One process at a time, by a lock on a file."""

from __future__ import annotations

import errno
import fcntl
from typing import IO, Any

from ourvidz_worker.errors import ConfigurationError


def lock(file: IO[Any], taken: str) -> None:
    """Until the file is closed; raises `ConfigurationError` with the sentence `taken` where another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(taken) from error
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOLCK):  # some network volumes know no locks
            raise
