"""The language worker's address at the product: what is sent, when, and that a failure costs nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ourvidz_worker.backend.supabase.registration import Registration
from ourvidz_worker.cli.registering import ReadyListener, registered
from ourvidz_worker.control import Message, WorkerState
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.settings import QwenSettings, qwen_settings, read_settings
from tests.support.said import set_environment
from tests.support.waiting import eventually

KEY = "service-key-Zx81Lw5Pq0"
ADDRESS = "https://pod-1-8791.proxy.runpod.net"
POD = {
    "OURVIDZ_REGISTER_FUNCTION": "register-chat-worker",
    "OURVIDZ_QWEN_HOST": "0.0.0.0",
    "OURVIDZ_QWEN_TOKEN": "token",
    "SUPABASE_URL": "https://project.example",
    "SUPABASE_SERVICE_KEY": KEY,
    "RUNPOD_POD_ID": "pod-1",
}


class Product:
    """The product's function, with its next answers."""

    def __init__(self, *answers: tuple[int, Mapping[str, Any]]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str], dict[str, Any]]] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/functions/v1/{name}", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.match_info["name"], request.headers.copy(), await request.json()))
        status, body = self._answers.pop(0)
        return web.json_response(body, status=status)


async def no_pause(_seconds: float) -> None:
    return


def registering(product: Product) -> str:
    async def story() -> str:
        async with product.serving() as url:
            registration = Registration(
                url=url,
                service_key=KEY,
                function="update-worker-url",
                address=ADDRESS,
                found_by="RUNPOD_POD_ID",
                sleep=no_pause,
            )
            try:
                return await registration.register()
            finally:
                await registration.close()

    return asyncio.run(story())


def test_both_of_the_products_functions_find_what_they_read() -> None:
    product = Product((200, {"success": True, "healthStatus": "healthy"}))
    assert registering(product) == "healthy"
    [(name, headers, body)] = product.asked
    assert name == "update-worker-url"
    assert (headers["apikey"], headers["Authorization"]) == (KEY, f"Bearer {KEY}")
    assert (body["worker_url"], body["auto_registered"]) == (ADDRESS, True)
    assert (body["workerUrl"], body["autoRegistered"]) == (ADDRESS, True)
    assert (body["registrationMethod"], body["detectionMethod"]) == ("startup", "RUNPOD_POD_ID")


def test_what_may_pass_is_tried_again() -> None:
    """The proxy needs a while until it leads to a new pod, and the function looks through it."""
    product = Product(
        (400, {"success": False, "error": "Worker URL is not responding"}),
        (500, {"success": False, "error": "boom"}),
        (200, {"success": True}),
    )
    assert registering(product) == ""
    assert len(product.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, {"message": f"no {KEY}"}, ConfigurationError, r"401 \(no \*\*\*\): check SUPABASE_SERVICE_KEY"),
        (404, {}, ConfigurationError, "deploy the function, or correct OURVIDZ_REGISTER_FUNCTION"),
        (400, {"error": "Invalid URL format"}, BackendRefused, "HTTP 400: Invalid URL format"),
        (200, {"success": False, "error": "not now"}, BackendRefused, "HTTP 200: not now"),
    ],
)
def test_what_never_passes_is_not(status: int, body: dict[str, Any], error: type[Exception], said: str) -> None:
    product = Product((status, body))
    with pytest.raises(error, match=said):
        registering(product)
    assert len(product.asked) == 1


def test_an_endless_outage_ends() -> None:
    with pytest.raises(BackendUnavailable, match="HTTP 503"):
        registering(Product(*[(503, {})] * 1000))


def pod(monkeypatch: pytest.MonkeyPatch, **changes: str) -> QwenSettings:
    set_environment(monkeypatch, {name: value for name, value in {**POD, **changes}.items() if value})
    if "RUNPOD_POD_ID" in changes and not changes["RUNPOD_POD_ID"]:
        monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    return read_settings(qwen_settings())


def story_of(settings: Callable[[str], QwenSettings], product: Product, event: str) -> dict[str, Any]:
    """What is logged after the worker said that it is ready."""

    async def story() -> dict[str, Any]:
        async with product.serving() as url:
            voice = ReadyListener(Silent())
            with capture_logs() as logs:
                async with registered(settings(url), voice.ready):
                    voice.announce(Message("state", state=WorkerState.LOADING))
                    await asyncio.sleep(0)
                    assert not product.asked
                    voice.announce(Message("state", state=WorkerState.READY))
                    await eventually(lambda: [entry for entry in logs if entry["event"] == event], event)
            return dict(next(entry for entry in logs if entry["event"] == event))

    return asyncio.run(story())


def test_a_worker_registers_once_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    product = Product((200, {"success": True, "healthStatus": "healthy"}))
    said = story_of(lambda url: pod(monkeypatch, SUPABASE_URL=url), product, "registered")
    assert (said["address"], said["health"]) == (ADDRESS, "healthy")
    assert product.asked[0][0] == "register-chat-worker"


def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said = story_of(lambda url: pod(monkeypatch, SUPABASE_URL=url), Product((404, {})), "not_registered")
    assert said["log_level"] == "warning"
    assert "answered 404" in said["problem"]


def test_without_a_functions_name_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pod(monkeypatch, OURVIDZ_REGISTER_FUNCTION="", SUPABASE_URL="")
    assert type(settings) is QwenSettings

    async def story() -> None:
        ready = asyncio.Event()
        ready.set()
        async with registered(settings, ready):
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OURVIDZ_QWEN_HOST": "127.0.0.1"}, ["OURVIDZ_QWEN_HOST is 127.0.0.1, where only this machine"]),
        ({"OURVIDZ_QWEN_HOST": "::1"}, ["OURVIDZ_QWEN_HOST is ::1, where only this machine"]),
        ({"RUNPOD_POD_ID": ""}, ["OURVIDZ_PUBLIC_URL is not set, and neither is RUNPOD_POD_ID"]),
        ({"OURVIDZ_QWEN_TOKEN": ""}, ["OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_REGISTER_FUNCTION is"]),
        (
            {"SUPABASE_URL": "", "SUPABASE_SERVICE_KEY": ""},
            ["SUPABASE_URL is not set", "SUPABASE_SERVICE_KEY is not set"],
        ),
        ({"OURVIDZ_REGISTER_FUNCTION": "a/../b"}, ["OURVIDZ_REGISTER_FUNCTION is wrong"]),
        ({"OURVIDZ_PUBLIC_URL": "http://qwen.example"}, ["OURVIDZ_PUBLIC_URL is wrong: must begin with https://"]),
        (
            {"OURVIDZ_QWEN_HOST": "", "RUNPOD_POD_ID": "", "OURVIDZ_QWEN_TOKEN": " "},
            ["OURVIDZ_QWEN_HOST is 127.0.0.1", "OURVIDZ_PUBLIC_URL is not set", "OURVIDZ_QWEN_TOKEN is not set"],
        ),
    ],
    ids=json.dumps,
)
def test_what_keeps_the_product_from_the_worker_is_told(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        pod(monkeypatch, **changes)
    for problem, start in zip(wrong.value.problems, said, strict=True):
        assert problem.startswith(start)
    assert not any(KEY in problem for problem in wrong.value.problems)


def test_an_address_of_its_own_goes_over_the_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a tunnel, which reaches the worker on this machine."""
    settings = pod(monkeypatch, OURVIDZ_PUBLIC_URL="https://qwen.example/", OURVIDZ_QWEN_HOST="127.0.0.1")
    assert getattr(settings, "public_address", None) == ("https://qwen.example", "OURVIDZ_PUBLIC_URL")
    assert KEY in settings.secrets
