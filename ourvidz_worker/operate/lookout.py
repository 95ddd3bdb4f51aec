"""Keeps the facts fresh for everyone who looks, without asking anybody more often than is of use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.errors import WorkerError
from ourvidz_worker.operate.desk import Desk, Papers
from ourvidz_worker.operate.facts import facts_of
from ourvidz_worker.operate.pods import Pod, Pods

_PODS_SECONDS = 0.5


class Lookout:
    """`desk` is None where there is no backend, or none in reach: `problem` then says why.

    Pods are asked at most twice a second. Redis bills each command, so the desk is looked at only every
    `desk_seconds`, and after each action.
    """

    def __init__(
        self, pods: Sequence[str], desk: Desk | None, *, desk_seconds: float, problem: str | None = None
    ) -> None:
        self._pods = Pods(pods)
        self._desk = desk
        self._desk_seconds = desk_seconds
        self._nothing = Papers(problems=(problem,) if problem else ())
        self._looking = asyncio.Lock()
        self._told: list[Pod] = []
        self._told_at: float | None = None
        self._papers = self._nothing
        self._papers_at: float | None = None
        self._papers_time: datetime | None = None

    @property
    def desk(self) -> Desk | None:
        return self._desk

    async def facts(self) -> dict[str, Any]:
        """Never raises: what cannot be reached is said in the document."""
        async with self._looking:  # several pages ask at once, and one look answers them all
            await asyncio.gather(self._look_at_pods(), self._look_at_desk())
            return facts_of(self._told, self._papers, seen_at=self._papers_time)

    def acted(self) -> None:
        """Something on the desk is not any more as it was seen."""
        self._papers_at = None

    async def close(self) -> None:
        await self._pods.close()

    async def _look_at_pods(self) -> None:
        if _is_older(self._told_at, _PODS_SECONDS):
            self._told = await self._pods.look()
            self._told_at = time.monotonic()

    async def _look_at_desk(self) -> None:
        if self._desk is None or not _is_older(self._papers_at, self._desk_seconds):
            return
        try:
            self._papers = await self._desk.look()
        except WorkerError as error:
            self._papers = Papers(problems=(str(error),))
        self._papers_at, self._papers_time = time.monotonic(), datetime.now(UTC)


def _is_older(moment: float | None, seconds: float) -> bool:
    return moment is None or time.monotonic() - moment >= seconds
