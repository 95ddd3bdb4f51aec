"""The pods that the studio asks how far their jobs are."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from ourvidz_worker.local import pods
from ourvidz_worker.local.pods import Pods


def test_looking_ends_although_a_request_took_the_cancellation_for_its_own_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lossy(*_: object) -> NoReturn:
        try:
            asked.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TimeoutError from None
        raise AssertionError

    async def follow_and_stop() -> None:
        looking = asyncio.create_task(Pods(["http://127.0.0.1:1"])._keep_looking(pods.Pod("x"), None))  # type: ignore[arg-type]
        await asked.wait()
        looking.cancel()
        await asyncio.wait_for(asyncio.wait([looking]), 30)

    asked = asyncio.Event()
    monkeypatch.setattr(pods, "_get", lossy)
    monkeypatch.setattr(pods, "PAUSE_SECONDS", 0.0)
    asyncio.run(follow_and_stop())
