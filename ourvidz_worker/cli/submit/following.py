"""Waiting for jobs, with a line about them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from ourvidz_worker.cli.plain import FINAL
from ourvidz_worker.cli.submit.product import Product, ProductUnreachable

_LOOK_SECONDS = 1.0

Rows = Mapping[str, dict[str, Any]]


async def follow(product: Product, ids: Sequence[str], *, seconds: float, seen: Callable[[Rows], None]) -> Rows:
    """The jobs' rows once all are over, or as they are after `seconds`.

    A product that is out of reach for a while ends nothing. Raises `ProductRefused`, and `ProductUnreachable` for
    one that still is at the end.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            rows = await product.jobs(ids)
        except ProductUnreachable:
            if loop.time() > deadline:
                raise
        else:
            seen(rows)
            if all(row["status"] in FINAL for row in rows.values()) or loop.time() > deadline:
                return rows
        await asyncio.sleep(_LOOK_SECONDS)


class ProgressLine:
    """On a terminal one line that changes, elsewhere a line for each change. On standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("")
        self._told = ""

    def show(self, rows: Rows) -> None:
        counts = Counter(str(row["status"]) for row in rows.values())
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        line = f"{len(rows)} {'job' if len(rows) == 1 else 'jobs'}: {told}"
        if line == self._told:
            return
        self._told = line
        if self._console.is_terminal:
            self._status.update(line)
            self._status.start()
        else:
            self._console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._status.stop()
