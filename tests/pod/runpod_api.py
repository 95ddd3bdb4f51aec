"""The few addresses of RunPod's serverless platform that its SDK calls, with what was posted to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.loop_thread import LoopThread


class RunPodApi:
    """`with RunPodApi() as api:` hands out the jobs of `api.offer` one after another."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []
        self._loop = LoopThread("runpod-api")

    def offer(self, job: Mapping[str, Any]) -> None:
        self._jobs.append(dict(job))

    def environment(self) -> dict[str, str]:
        """What RunPod sets in a serverless pod."""
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{self._url}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{self._url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{self._url}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": "runpod-api-key-7Xq2Lm9Vw4",
            "RUNPOD_POD_ID": "pod-1",
            "RUNPOD_ENDPOINT_ID": "endpoint-1",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # they ask the internet
        }

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self._serve())
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._runner.cleanup())
        self._loop.stop()

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_get("/job-take/{pod}", self._take)
        application.router.add_get("/job-stop/{pod}", self._nothing)
        application.router.add_get("/ping/{pod}", self._nothing)
        application.router.add_post("/job-done/{pod}/{job}", self._done)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"

    async def _take(self, _request: web.Request) -> web.Response:
        if self._jobs:
            return web.json_response(self._jobs.pop(0))
        await asyncio.sleep(0.2)  # the platform holds the request, too
        return web.Response(status=204)

    async def _nothing(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _done(self, request: web.Request) -> web.Response:
        self.posted.append({"job": request.match_info["job"], **json.loads(await request.text())})
        return web.Response()
