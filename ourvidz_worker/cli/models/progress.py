"""How far long work is, on a terminal; elsewhere nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

ShowBytes = Callable[[str, int, int], None]
"""Is told of which file how much is done, and how much it has."""


@contextmanager
def shown_bytes(*, quiet: bool) -> Iterator[ShowBytes]:
    """The bar is for the file that it was told of last."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = quiet or not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", visible=False)
        current = ""

        def show(name: str, done: int, total: int) -> None:
            nonlocal current
            if name != current:
                current = name
                progress.reset(task, total=total, completed=done, description=escape(name), visible=True)
            progress.update(task, completed=done, total=total)

        yield show


def shown_work(text: str, *, quiet: bool) -> AbstractContextManager[object]:
    """Something moves while nobody can say how far the work is."""
    return nullcontext() if quiet or not sys.stderr.isatty() else Console(stderr=True).status(escape(text))
