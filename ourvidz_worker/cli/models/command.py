"""`models`: what the weights on the volume are, where they come from, and how they load fast."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from ourvidz_worker.cli.main import INTERRUPTED, USAGE_EXIT
from ourvidz_worker.cli.models import converting, fetching, listing, verifying
from ourvidz_worker.cli.models.shelf import Shelf, UnknownName, open_shelf
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.settings import HubSettings, read_settings

TERMINATED = 143  # as a shell reports the signal

_ACTIONS: Mapping[str, Callable[[Shelf, argparse.Namespace], int]] = {
    "list": listing.show,
    "fetch": fetching.fetch,
    "verify": verifying.verify_pieces,
    "convert": converting.convert_models,
}


def run(arguments: argparse.Namespace) -> int:
    settings = read_settings(HubSettings)
    output = Output(settings.secrets, as_json=arguments.json)
    try:
        with _told_of_sigterm():
            return _ACTIONS[arguments.action](open_shelf(settings, output, arguments.names), arguments)
    except UnknownName as error:
        output.complain(str(error))
        return USAGE_EXIT
    except OSError as error:
        output.complain(f"{error.filename or settings.models_dir} cannot be read: {error.strerror or error}")
        return 1
    except KeyboardInterrupt as interruption:
        output.complain("interrupted; give the same command again to go on")
        return TERMINATED if isinstance(interruption, _Terminated) else INTERRUPTED


class _Terminated(KeyboardInterrupt):
    """SIGTERM is an interruption, too: half a copy is removed, and the terminal has its cursor again."""


@contextmanager
def _told_of_sigterm() -> Iterator[None]:
    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
