"""Asking the qwen worker: what it answers, what it refuses, and how long it is waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from ourvidz_worker.backend.enhancer_client import EnhancerClient
from ourvidz_worker.backend.health import check_qwen
from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.backend.retrying import Sleep
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.errors import ContentRefused, EnhancementFailed
from tests.backend.pauses import Pauses
from tests.support.echo_server import HTML, JSON, TEXT, EchoServer

URL = "http://qwen.example:8791"
TOKEN = "a-very-secret-qwen-token"
PROMPT = "a lighthouse \ud83d at dawn"  # half of a surrogate pair, as JavaScript cuts texts
JOB_TYPE = parse_catalogue((Path(__file__).parents[2] / "configs" / "job_types.toml").read_text())["video_fast"]
ENHANCED = httpx.Response(200, json={"success": True, "enhanced_prompt": "a tall lighthouse"})
BUSY = httpx.Response(503, json={"success": False, "error": "busy"}, headers={"Retry-After": "3"})
NOBODY = httpx.ConnectError("refused")


def enhance(
    answers: Iterable[httpx.Response | Exception],
    *,
    pauses: Sleep | None = None,
    patient: bool = True,
    time_limit: float = 60.0,
    times: int = 1,
    seed: int = 7,
) -> tuple[str, httpx.Request]:
    """The answer to the last of so many calls on one client, and what was asked."""

    async def run() -> str:
        client = EnhancerClient(url=f"{URL}/", token=TOKEN, patient=patient, sleep=pauses or Pauses())
        try:
            for _ in range(times - 1):
                with pytest.raises(EnhancementFailed):
                    await client.enhance(PROMPT, JOB_TYPE, seed=seed, time_limit=time_limit)
            return await client.enhance(PROMPT, JOB_TYPE, seed=seed, time_limit=time_limit)
        finally:
            await client.close()

    with respx.mock as router:
        router.post(f"{URL}/enhance").mock(side_effect=list(answers))
        return asyncio.run(run()), router.calls.last.request


def problem(*answers: httpx.Response | Exception, **options: Any) -> str:
    with pytest.raises(EnhancementFailed) as caught:
        enhance(answers, **options)
    return str(caught.value)


def test_a_question_names_the_job_type_and_the_seed_and_carries_the_token() -> None:
    enhanced, request = enhance([ENHANCED])
    assert enhanced == "a tall lighthouse"
    assert json.loads(request.content) == {
        "prompt": PROMPT,
        "job_type": "video_fast",
        "format": "video",
        "quality": "fast",
        "seed": 7,
    }
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in str(request.url)


def test_a_seed_that_json_does_not_carry_is_made_smaller_always_the_same_way() -> None:
    _, request = enhance([ENHANCED], seed=2**62 + 7)
    assert json.loads(request.content)["seed"] == 7


@pytest.mark.parametrize("trouble", [NOBODY, httpx.ReadError("cut off"), BUSY], ids=["nobody", "cut off", "busy"])
def test_a_worker_that_is_started_or_busy_is_waited_for(trouble: httpx.Response | Exception) -> None:
    pauses = Pauses()
    enhanced, _ = enhance([trouble, trouble, ENHANCED], pauses=pauses)
    assert enhanced == "a tall lighthouse"
    assert pauses.seconds == ([3.0, 3.0] if trouble is BUSY else [1.0, 1.0])


@pytest.mark.parametrize("asked", ["100000", "soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_nobody_is_waited_for_longer_than_makes_sense(asked: str) -> None:
    pauses = Pauses()
    enhance([httpx.Response(503, headers={"Retry-After": asked}), ENHANCED], pauses=pauses)
    assert pauses.seconds == [10.0 if asked == "100000" else 1.0]


def test_an_impatient_client_tries_once() -> None:
    assert problem(NOBODY, patient=False) == f"the qwen worker at {URL} is out of reach"
    assert problem(BUSY, patient=False) == "the qwen worker answered HTTP 503: busy"


def test_the_time_limit_ends_the_waiting() -> None:
    assert problem(NOBODY, pauses=Endless(), time_limit=0.01) == f"the qwen worker at {URL} was out of reach for 0.01 s"
    assert problem(BUSY, pauses=Endless(), time_limit=0.01) == f"the qwen worker at {URL} did not answer for 0.01 s"


def test_a_worker_that_stayed_away_costs_the_next_jobs_no_time_until_it_is_back() -> None:
    back: list[httpx.Response | Exception] = [NOBODY, NOBODY, ENHANCED]
    assert enhance(back, pauses=Endless(), time_limit=0.01, times=3)[0] == "a tall lighthouse"
    away_again: list[httpx.Response | Exception] = [NOBODY, NOBODY, httpx.Response(500), NOBODY, ENHANCED]
    assert enhance(away_again, pauses=Endless(1), time_limit=0.01, times=4)[0] == "a tall lighthouse"


def test_a_busy_worker_is_waited_for_again() -> None:
    assert enhance([BUSY, BUSY, ENHANCED], pauses=Endless(1), time_limit=0.01, times=2)[0] == "a tall lighthouse"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, json={"error": "who are you"}), "set OURVIDZ_QWEN_TOKEN to the one it was given"),
        (httpx.Response(504, json={"error": "too late"}), "answered HTTP 504: too late"),
        (httpx.Response(500, json={"error": f"broken {TOKEN}"}), "answered HTTP 500: broken ***"),
        (httpx.Response(422, content=json.dumps({"error": f"what is {PROMPT}?"})), "answered HTTP 422: what is ***?"),
        (httpx.Response(422, json={"success": False}), "answered HTTP 422: no reason given"),
        (httpx.Response(200, json={"success": True}), "answered HTTP 200: no reason given"),
        (httpx.Response(200, json={"enhanced_prompt": 7}), "answered HTTP 200: no reason given"),
        (httpx.Response(200, json=["x"]), f"what answered HTTP 200 at {URL} is no qwen worker"),
        (httpx.Response(502, text="<html>bad gateway</html>"), f"what answered HTTP 502 at {URL} is no qwen worker"),
        (httpx.Response(302, headers={"Location": "http://x"}), f"what answered HTTP 302 at {URL} is no qwen worker"),
        (httpx.Response(200, content=b"\xff\xfe{"), f"what answered HTTP 200 at {URL} is no qwen worker"),
    ],
)
def test_what_is_no_answer_is_a_sentence(answer: httpx.Response, said: str) -> None:
    assert said in problem(answer)


def test_the_prompt_as_it_came_is_no_answer() -> None:
    metadata = {"fallback_level": 3, "problem": f"not a word of {PROMPT}"}
    body = {"success": True, "enhanced_prompt": PROMPT, "enhancement_metadata": metadata}
    given_back = httpx.Response(200, content=json.dumps(body))
    assert problem(given_back) == "the qwen worker gave the prompt back as it came: not a word of ***"


def test_a_refused_prompt_is_refused() -> None:
    refusal = {"success": False, "error": "the content policy refuses this prompt", "error_type": "content_policy"}
    with pytest.raises(ContentRefused, match="the content policy refuses this prompt"):
        enhance([httpx.Response(422, json=refusal)])


@pytest.mark.parametrize("media_type", [HTML, TEXT, JSON])
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_what_a_server_repeats_goes_no_further(status: int, media_type: str) -> None:
    async def run(url: str) -> None:
        client = EnhancerClient(url=url, token=TOKEN)
        try:
            await client.ask({"prompt": "a secret idea"}, time_limit=10)
        finally:
            await client.close()

    with EchoServer(status, media_type=media_type) as server:
        with pytest.raises(EnhancementFailed) as caught:
            asyncio.run(run(server.url))
        assert TOKEN in server.echoed[0]
    assert TOKEN not in str(caught.value)
    assert "a secret idea" not in str(caught.value)


async def ask_a_worker(url: str) -> None:
    client = EnhancerClient(url=url, token=TOKEN, patient=False)
    with suppress(EnhancementFailed):
        await client.ask({"prompt": "x"}, time_limit=10)
    await client.close()


async def ask_a_model(url: str) -> None:
    model = OpenAILanguageModel(url=url, key=TOKEN)
    with suppress(EnhancementFailed):
        await model.load()
    await model.close()


async def ask_as_the_doctor(url: str) -> None:
    await check_qwen(url=url, token=TOKEN)


@pytest.mark.parametrize("ask", [ask_a_worker, ask_a_model, ask_as_the_doctor])
@pytest.mark.parametrize(("url", "through_it"), [(URL, True), ("http://127.0.0.1:1", False), ("http://[::1]:1", False)])
def test_a_proxy_is_asked_only_where_it_can_lead(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[str], Coroutine[Any, Any, None]], url: str, through_it: object
) -> None:
    """The token and the prompts of a server on this machine do not leave it."""
    with EchoServer(500) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        asyncio.run(ask(url))
        assert bool(proxy.targets) == through_it


class Endless:
    """A pause that never ends, so that only the limit does; after `count` of them, pauses take no time."""

    def __init__(self, count: int = 1000) -> None:
        self._left = count

    async def __call__(self, _seconds: float) -> None:
        self._left -= 1
        if self._left >= 0:
            await asyncio.Event().wait()
