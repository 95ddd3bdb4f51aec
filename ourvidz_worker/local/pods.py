"""The pods that work for this backend, as their probes tell: workers, running jobs, previews."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from ourvidz_worker.local.json_body import parse_json

LOOK_SECONDS = 0.25
PAUSE_SECONDS = 1.0  # after a pod that did not answer
ANSWER_SECONDS = 2.0
LARGEST_STATUS = 1_000_000
LARGEST_PREVIEW = 64 * 1024


@dataclass(slots=True)
class Pod:
    """One address and what was last heard from it; nothing of a pod that does not answer."""

    address: str
    workers: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)

    def hear(self, status: Any) -> None:
        """Take what `/status` answered; raises `ValueError` for what is no status."""
        try:
            workers = [{"name": str(name), "state": str(told["state"])} for name, told in status["workers"].items()]
            running = [_running(job) for told in status["workers"].values() for job in told["jobs"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no status of a pod: {error!r}") from error
        self.workers, self.running = workers, running

    def forget(self) -> None:
        self.workers, self.running = [], []


class Pods:
    """Asked only while `follow` runs, and for previews. What cannot be reached is no error: nobody works there yet."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._pods = [Pod(address.rstrip("/")) for address in addresses]

    @property
    def workers(self) -> list[dict[str, Any]]:
        return [worker for pod in self._pods for worker in pod.workers]

    @property
    def running(self) -> list[dict[str, Any]]:
        return [job for pod in self._pods for job in pod.running]

    async def follow(self, looked: asyncio.Event) -> None:
        """Ask each pod about four times a second; `looked` is set once all were asked."""
        async with _session() as session:
            await asyncio.gather(*(self._look(pod, session) for pod in self._pods))
            looked.set()
            await asyncio.gather(*(self._keep_looking(pod, session) for pod in self._pods))

    async def preview(self, job_id: str) -> bytes | None:
        """A small WEBP of what is being drawn for a job, from whichever pod has one."""
        async with _session() as session:
            for pod in self._likely_first(job_id):
                with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    return await _get(session, f"{pod.address}/previews/{quote(job_id, safe='')}", LARGEST_PREVIEW)
        return None

    async def _keep_looking(self, pod: Pod, session: aiohttp.ClientSession) -> None:
        while not is_cancelled():
            await asyncio.sleep(LOOK_SECONDS if pod.workers else PAUSE_SECONDS)
            await self._look(pod, session)

    async def _look(self, pod: Pod, session: aiohttp.ClientSession) -> None:
        try:
            pod.hear(parse_json(await _get(session, f"{pod.address}/status", LARGEST_STATUS)))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pod.forget()

    def _likely_first(self, job_id: str) -> Iterator[Pod]:
        yield from sorted(self._pods, key=lambda pod: all(job["id"] != job_id for job in pod.running))


def is_cancelled() -> bool:
    """Whether the task is to end, also where the cancellation was lost in a request that timed out just then."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
    )


async def _get(session: aiohttp.ClientSession, url: str, largest: int) -> bytes:
    """Raises `aiohttp.ClientError`, `TimeoutError`, or `ValueError` for what is too large to be what was asked for."""
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answered {answer.status}")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > largest:
                raise ValueError(f"{url} answered more than {largest} bytes")
        return bytes(body)


def _running(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(job["id"]),
        "phase": str(job["phase"]),
        "step": int(job["step"]),
        "steps": int(job["steps"]),
        "previews": int(job["previews"]),
    }
