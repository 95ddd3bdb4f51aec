"""What goes on right now, for whoever watches: which jobs run, which wait in which place, and who works."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ourvidz_worker.local.changes import Changes
from ourvidz_worker.local.pods import Pods, is_cancelled
from ourvidz_worker.local.redis_commands import CommandFailed, RedisUnreachable
from ourvidz_worker.local.waiting_line import WaitingLine

LOOK_SECONDS = 0.25
FIRST_LOOK_SECONDS = 0.5  # what a pod may take to answer before the watcher sees something without it
HEARTBEAT = 15.0
BREATH_SECONDS = 0.1  # a report changes several rows, and its reader wants to hear of it once

Progress = dict[str, Any]


class Live:
    """Looks at pods and queues only while somebody watches, once for all watchers."""

    def __init__(self, pods: Pods, line: WaitingLine) -> None:
        self._pods = pods
        self._line = line
        self._stirred = Changes()
        self._row_changes = itertools.count(1)
        self._rows = 0
        self._progress: Progress = {}
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._known = asyncio.Event()

    def open(self) -> None:
        self._stirred.open()

    def rows_changed(self) -> None:
        """May be called from any thread."""
        self._rows = next(self._row_changes)
        self._stirred.announce()

    def close(self) -> None:
        """End every event stream."""
        self._stirred.close()

    async def closed(self) -> None:
        """Return when nothing is looked at any more."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: `jobs` and `progress` at once, and each again when there is something new.

        Comments in between keep the line open.
        """
        rows, progress = -1, None
        async with self._watched():
            async for _ in self._stirred.follow(HEARTBEAT):
                news = ""
                if rows != self._rows:
                    rows, news = self._rows, "event: jobs\ndata: changed\n\n"
                if progress != self._progress:
                    progress = self._progress
                    news += f"event: progress\ndata: {json.dumps(progress, separators=(',', ':'))}\n\n"
                yield news or ": still here\n\n"
                await asyncio.sleep(BREATH_SECONDS)

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """The progress is kept up to date within."""
        self._watchers += 1
        if self._looking is None:
            self._known = asyncio.Event()
            self._looking = asyncio.create_task(self._look())
            self._ending.add(self._looking)
            self._looking.add_done_callback(self._ending.discard)
        try:
            await self._known.wait()
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0:
                self._looking.cancel()  # not waited for: whoever closes a stream may wait for nothing
                self._looking = None

    async def _look(self) -> None:
        looked = asyncio.Event()
        following = asyncio.create_task(self._pods.follow(looked))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(looked.wait(), FIRST_LOOK_SECONDS)
            while not is_cancelled():
                await self._look_once()
                self._known.set()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._known.set()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _look_once(self) -> None:
        queued: dict[str, int] = {}
        with suppress(CommandFailed, RedisUnreachable):
            queued = await self._line.positions()
        running = self._pods.running
        for job in running:  # claimed between the two looks
            queued.pop(job["id"], None)
        progress = {"running": running, "queued": queued, "workers": self._pods.workers}
        if progress != self._progress:
            self._progress = progress
            self._stirred.announce()
