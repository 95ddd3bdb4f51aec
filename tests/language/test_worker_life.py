"""The language worker from its start to its drain, with a model that does as it is told and real requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ourvidz_worker.control import Message, WorkerState
from ourvidz_worker.enhancer import worker as worker_module
from ourvidz_worker.enhancer.doorkeeper import Doorkeeper
from ourvidz_worker.enhancer.worker import LanguageWorker
from ourvidz_worker.errors import ConfigurationError, ModelUnavailable, PoisonedContext
from ourvidz_worker.local.server import LocalServer
from ourvidz_worker.runtime.language.service import PromptService
from tests.support.fakes import Listener
from tests.support.stories import story
from tests.support.waiting import eventually

FOREVER = 1000.0


class Service:
    """The part of a `PromptService` that its worker looks at; `loads` are the outcomes of loading, None for ready."""

    model_name = "scripted"

    def __init__(self, *loads: Exception | None) -> None:
        self._loads = list(loads)
        self._loaded = False
        self.busy = False
        self.stuck = False
        self.waiting = 0

    @property
    def state(self) -> str:
        if not self._loaded:
            return "LOADING"
        return "BUSY" if self.busy else "READY"

    async def load(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        outcome = self._loads.pop(0) if self._loads else None
        if outcome is not None:
            raise outcome
        self._loaded = True


class Scene:
    """A running worker, and requests that are answered when `go` is set."""

    def __init__(self, service: Service, *, grace: float, hang_limit: float) -> None:
        self.listener = Listener()
        self.go = asyncio.Event()
        self.asked = 0
        self.worker = LanguageWorker(
            cast(PromptService, service), announcer=self.listener, grace_period=grace, hang_limit=hang_limit
        )
        doors = Doorkeeper(Starlette(routes=[Route("/", self._answer), Route("/stream", self._stream)]))
        server = LocalServer(doors, "127.0.0.1", 0)
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        self.running = asyncio.create_task(self.worker.run(server, doors))

    async def ask(self, path: str = "/") -> httpx.Response:
        return await self._http.get(path)

    async def close(self) -> None:
        self.worker.stop(at_once=True)
        await asyncio.gather(self.running, return_exceptions=True)
        await self._http.aclose()

    async def _answer(self, _request: Request) -> Response:
        self.asked += 1
        await self.go.wait()
        return PlainTextResponse("done")

    async def _stream(self, _request: Request) -> Response:
        return StreamingResponse(self._pieces())

    async def _pieces(self) -> AsyncIterator[str]:
        yield "begun"
        self.asked += 1
        await self.go.wait()


@asynccontextmanager
async def living(service: Service, *, grace: float = 10.0, hang_limit: float = FOREVER) -> AsyncIterator[Scene]:
    scene = Scene(service, grace=grace, hang_limit=hang_limit)
    try:
        yield scene
    finally:
        await scene.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(worker_module, "_LOOK_SECONDS", 0.01)


def told(scene: Scene, **wanted: Any) -> bool:
    return any(all(getattr(m, name) == value for name, value in wanted.items()) for m in scene.listener.messages)


@story
async def test_it_loads_and_tells_what_it_is_at() -> None:
    service = Service()
    async with living(service) as scene:
        await eventually(lambda: told(scene, state=WorkerState.READY), "being ready")
        service.busy, service.waiting = True, 3
        await eventually(lambda: told(scene, state=WorkerState.BUSY) and told(scene, waiting=3), "being busy")
        scene.worker.stop()
        await scene.running
        assert scene.listener.messages[-1] == Message("state", state=WorkerState.DRAINING)


@story
async def test_a_model_out_of_reach_is_tried_again_and_requests_are_let_in_meanwhile() -> None:
    async with living(Service(ModelUnavailable("nobody there"), ModelUnavailable("nobody there"))) as scene:
        await eventually(lambda: told(scene, state=WorkerState.LOADING, reason="nobody there"), "the problem")
        scene.go.set()
        assert (await scene.ask()).text == "done"
        await eventually(lambda: told(scene, state=WorkerState.READY), "being ready")


@story
async def test_a_model_that_a_person_must_mend_ends_it() -> None:
    async with living(Service(ConfigurationError("the weights are missing"))) as scene:
        with pytest.raises(ConfigurationError, match="the weights are missing"):
            await scene.running


@story
async def test_a_model_that_hangs_ends_it() -> None:
    service = Service()
    async with living(service, hang_limit=0.05) as scene:
        await eventually(lambda: told(scene, state=WorkerState.READY), "being ready")
        service.stuck = True
        with pytest.raises(PoisonedContext, match=r"scripted gave no sign of life for 0\.05 s"):
            await scene.running


@story
async def test_a_model_that_goes_away_later_does_not_end_it() -> None:
    service = Service(None, ModelUnavailable("gone"), ConfigurationError("another key"))
    async with living(service, hang_limit=0.05) as scene:
        await eventually(lambda: not service._loads, "both looks")
        scene.go.set()
        assert (await scene.ask()).status_code == 200
        assert not scene.running.done()


@story
async def test_a_stop_lets_answers_end_and_nobody_else_in() -> None:
    async with living(Service()) as scene:
        inside = asyncio.create_task(scene.ask())
        await eventually(lambda: scene.asked, "the request")
        scene.worker.stop()
        await eventually(lambda: told(scene, state=WorkerState.DRAINING), "draining")
        late = await scene.ask()
        assert (late.status_code, late.json()["success"], late.json()["state"]) == (503, False, "DRAINING")
        assert int(late.headers["retry-after"]) > 0
        assert not scene.running.done()
        scene.go.set()
        assert (await inside).text == "done"
        await scene.running


@pytest.mark.parametrize("grace", [0.05, FOREVER])
@story
async def test_what_is_not_answered_within_the_grace_or_at_once_is_turned_away(grace: float) -> None:
    async with living(Service(), grace=grace) as scene:
        inside = asyncio.create_task(scene.ask())
        await eventually(lambda: scene.asked, "the request")
        scene.worker.stop()
        if grace == FOREVER:
            scene.worker.stop(at_once=True)
        await scene.running
        refused = await inside
        assert (refused.status_code, refused.json()["state"]) == (503, "DRAINING")


@story
async def test_an_answer_that_has_begun_breaks_off_at_the_end_of_the_grace() -> None:
    async with living(Service(), grace=0.05) as scene:
        inside = asyncio.create_task(scene.ask("/stream"))
        await eventually(lambda: scene.asked, "the request")
        scene.worker.stop()
        await scene.running
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await inside


@story
async def test_a_stop_while_loading_ends_it() -> None:
    service = Service()
    service.stuck = True
    async with living(service) as scene:
        scene.worker.stop()
        await scene.running
