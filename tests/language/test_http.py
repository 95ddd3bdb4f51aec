"""The language worker over HTTP: what it takes, what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.enhancer import bodies
from ourvidz_worker.enhancer.app import build_app
from ourvidz_worker.enhancer.bodies import MAX_BODY
from ourvidz_worker.errors import AnswerTooLate, ModelUnavailable, PoisonedContext, Restart
from ourvidz_worker.runtime.language.service import PromptService
from tests.language.scripted import Scripted, ScriptedModel, service_over
from tests.language.test_storyboard import SCRIPT, board, scene
from tests.language.test_streaming import LAST, NEXT, OPENING
from tests.support.stories import story
from tests.support.waiting import eventually

TOKEN = "the-token"
FOX = {"prompt": "a fox", "job_type": "video7b_fast_enhanced"}
EVENTS = {"Accept": "text/event-stream"}


class Door:
    """The worker behind its routes; `client` carries the token."""

    def __init__(self, model: ScriptedModel, service: PromptService, client: httpx.AsyncClient) -> None:
        self.model = model
        self.service = service
        self.client = client
        self.restarts: list[Restart] = []

    async def enhance(self, **body: Any) -> httpx.Response:
        return await self.client.post("/enhance", json=body)


@asynccontextmanager
async def door(
    catalogue: Catalogue, *answers: Scripted, queue_limit: int | None = None, gate: asyncio.Event | None = None
) -> AsyncIterator[Door]:
    model = ScriptedModel(*answers, gate=gate)
    service = service_over(model, queue_limit=queue_limit)
    restarts: list[Restart] = []
    app = build_app(service, token=TOKEN, time_limit=10.0, catalogue=catalogue, on_restart=restarts.append)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://worker", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        opened = Door(model, service, client)
        opened.restarts = restarts
        yield opened


def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


@story
async def test_an_enhanced_prompt_comes_with_the_product_s_metadata(catalogue: Catalogue) -> None:
    async with door(catalogue, "A red fox trots through snow.") as worker:
        answer = await worker.enhance(
            prompt="a fox", jobType="video_high", format="video", quality="high", seed=7, selectedModel="qwen_instruct"
        )
    assert answer.status_code == 200
    body = answer.json()
    metadata = body.pop("enhancement_metadata")
    assert body == {
        "success": True,
        "original_prompt": "a fox",
        "enhanced_prompt": "A red fox trots through snow.",
        "enhancement_strategy": "wan_video",
    }
    assert metadata.pop("execution_time_ms") >= 0
    assert len(metadata.pop("template_version")) == 12
    assert metadata == {
        "original_length": 5,
        "enhanced_length": 29,
        "expansion_percentage": "580.0",
        "job_type": "video_high",
        "format": "video",
        "quality": "high",
        "content_mode": "sfw",
        "template_name": "wan_video",
        "language": "en",
        "model_used": "scripted",
        "seed": 7,
        "token_count": 7,
        "compression_applied": False,
        "fallback_level": 0,
        "attempts": 1,
        "cache_hit": False,
    }


@story
async def test_the_second_time_it_comes_from_memory_unless_another_is_wanted(catalogue: Catalogue) -> None:
    async with door(catalogue, "a red fox", "a grey fox") as worker:
        answers = [await worker.enhance(**FOX), await worker.enhance(**FOX)]
        answers.append(await worker.enhance(**FOX, regeneration=True))
    told = [(body["enhanced_prompt"], body["enhancement_metadata"]["cache_hit"]) for body in map(_json, answers)]
    assert told == [("a red fox", False), ("a red fox", True), ("a grey fox", False)]


@story
async def test_a_prompt_that_could_not_be_rewritten_comes_back_and_says_why(catalogue: Catalogue) -> None:
    async with door(catalogue, "", "something forbidden") as worker:
        answer = await worker.enhance(**FOX)
        body = answer.json()
    assert answer.status_code == 200
    assert body["enhanced_prompt"] == "a fox"
    assert body["enhancement_strategy"] == "original_prompt"
    metadata = body["enhancement_metadata"]
    assert (metadata["fallback_level"], metadata["model_used"], metadata["cache_hit"]) == (3, "none", False)
    assert "content policy refuses" in metadata["problem"]
    assert worker.model.answers == []


@story
async def test_a_request_with_a_seed_gets_one_try(catalogue: Catalogue) -> None:
    async with door(catalogue, "", "too late") as worker:
        answer = await worker.enhance(**FOX, seed="7")
    assert answer.json()["enhancement_metadata"]["fallback_level"] == 3
    assert [asked.seed for asked in worker.model.asked] == [7]


@story
async def test_without_a_job_type_format_and_quality_choose(catalogue: Catalogue) -> None:
    async with door(catalogue, "one", "two") as worker:
        first = (await worker.enhance(prompt="a fox")).json()["enhancement_metadata"]
        marked = b'\xef\xbb\xbf{"prompt": "a fox", "format": "video", "quality": "fast"}'  # as Windows begins a text
        second = (await worker.client.post("/enhance", content=marked)).json()["enhancement_metadata"]
    assert (first["job_type"], first["template_name"]) == ("image_high", "wan_image")
    assert (second["job_type"], second["template_name"]) == ("video_fast", "wan_video")


@story
async def test_beside_a_job_type_format_and_quality_yield_to_it(catalogue: Catalogue) -> None:
    """The product's page keeps the three apart."""
    async with door(catalogue, "one") as worker:
        answer = await worker.enhance(prompt="a fox", job_type="video_fast", format="image", quality="high")
    metadata = answer.json()["enhancement_metadata"]
    assert (metadata["job_type"], metadata["format"], metadata["quality"]) == ("video_fast", "video", "fast")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_nobody_gets_past_without_the_token(catalogue: Catalogue, headers: Mapping[str, str]) -> None:
    @story
    async def told() -> None:
        async with door(catalogue) as worker:
            del worker.client.headers["Authorization"]
            for method, path in (("POST", "/enhance"), ("POST", "/storyboard"), ("POST", "/health"), ("GET", "/x")):
                answer = await worker.client.request(method, path, json=FOX, headers=headers)
                assert answer.status_code == 401
                assert answer.json() == {"success": False, "error": "the bearer token is missing or wrong"}
            assert worker.model.asked == []

    told()


@story
async def test_health_is_open_and_tells_no_secrets(catalogue: Catalogue) -> None:
    gate = asyncio.Event()
    async with door(catalogue, "a red fox", "a wolf", gate=gate) as worker:
        del worker.client.headers["Authorization"]

        async def health() -> dict[str, Any]:
            return dict((await worker.client.get("/health")).json())

        assert await health() == {"state": "LOADING", "model": "scripted", "queue_length": 0}
        await worker.service.load()
        assert (await health())["state"] == "READY"
        worker.client.headers["Authorization"] = f"Bearer {TOKEN}"
        asking = [asyncio.create_task(worker.enhance(prompt=prompt)) for prompt in ("a", "b")]
        await eventually(lambda: worker.service.waiting == 1, "one to wait")
        assert await health() == {"state": "BUSY", "model": "scripted", "queue_length": 1}
        gate.set()
        await asyncio.gather(*asking)
        assert await health() == {"state": "READY", "model": "scripted", "queue_length": 0}


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ({}, "prompt", "is required"),
        ({"prompt": " \n"}, "prompt", "is required"),
        ({"prompt": 5}, "prompt", "must be a string, got 5"),
        ({"prompt": "x" * 10_001}, "prompt", "has 10001 characters; at most 10000"),
        ({"prompt": "a\u0000b"}, "prompt", "holds a NUL"),
        ({"prompt": "a", "job_type": "poster"}, "job_type", "must be one of sdxl_image_fast"),
        ({"prompt": "a", "jobType": 3}, "jobType", "must be a string"),
        ({"prompt": "a", "language": "fr"}, "language", "must be one of en, zh, bilingual"),
        ({"prompt": "a", "language": ["en"]}, "language", "must be a string"),
        ({"prompt": "a", "format": "x" * 41}, "format", "must be one word"),
        ({"prompt": "a", "format": "gif"}, "format", "must be image or video, got 'gif'"),
        ({"prompt": "a", "quality": "ultra"}, "quality", "must be fast or high, got 'ultra'"),
        ({"prompt": "a", "seed": -1}, "seed", "must be 0 to 9007199254740992, got -1"),
        ({"prompt": "a", "stream": "yes"}, "stream", "must be true or false"),
    ],
)
def test_a_wrong_field_is_named(catalogue: Catalogue, body: Mapping[str, Any], field: str, problem: str) -> None:
    @story
    async def told() -> None:
        async with door(catalogue) as worker:
            answer = await worker.enhance(**body)
        assert answer.status_code == 400
        assert answer.json()["success"] is False
        assert answer.json()["field"] == field
        assert problem in answer.json()["error"]
        assert worker.model.asked == []

    told()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "must be a JSON object, got a list of 0"),
        (b'"a fox"', "must be a JSON object"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"prompt": NaN}', "is NaN"),
        (b'{"prompt": "a", "prompt": "b"}', "is given twice"),
        (b"[" * 100_000, "nested more than"),
    ],
)
def test_a_body_that_is_no_clear_json_is_refused(catalogue: Catalogue, content: bytes, problem: str) -> None:
    @story
    async def told() -> None:
        async with door(catalogue) as worker:
            answer = await worker.client.post("/enhance", content=content)
        assert answer.status_code == 400
        assert problem in answer.json()["error"]

    told()


@story
async def test_a_body_that_is_too_large_is_refused(
    catalogue: Catalogue,
) -> None:
    async with door(catalogue) as worker:
        answer = await worker.client.post("/enhance", content=b" " * (MAX_BODY + 1))
        assert (answer.status_code, answer.json()["success"]) == (413, False)


@story
async def test_the_longest_prompt_fits_also_when_every_letter_is_escaped(catalogue: Catalogue) -> None:
    content = json.dumps({"prompt": "\U0001f98a" * 10_000})
    async with door(catalogue, "a red fox") as worker:
        assert len(content) < MAX_BODY
        assert (await worker.client.post("/enhance", content=content)).status_code == 200


@story
async def test_a_refused_prompt_is_a_neutral_sentence(catalogue: Catalogue) -> None:
    async with door(catalogue) as worker:
        for path, body in (("/enhance", {"prompt": "forbidden zebra"}), ("/storyboard", {"script": "forbidden zebra"})):
            with capture_logs() as lines:
                answer = await worker.client.post(path, json=body)
            assert answer.status_code == 422
            assert answer.json()["error_type"] == "content_policy"
            assert "zebra" not in answer.text + str(lines)


@story
async def test_a_full_line_asks_to_come_back_later(catalogue: Catalogue) -> None:
    gate = asyncio.Event()
    async with door(catalogue, "one", "two", queue_limit=1, gate=gate) as worker:
        asking = [asyncio.create_task(worker.enhance(prompt=prompt)) for prompt in ("a", "b")]
        await eventually(lambda: worker.service.waiting == 1, "one to wait")
        answer = await worker.enhance(prompt="c")
        assert answer.status_code == 503
        assert answer.json()["error"] == "the language model is busy and its line is full (1 waiting); try again later"
        assert int(answer.headers["retry-after"]) > 0
        gate.set()
        assert [done.status_code for done in await asyncio.gather(*asking)] == [200, 200]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AnswerTooLate("it took too long"), 504),
        (ModelUnavailable("the server is out of reach"), 503),
        (PoisonedContext("CUDA refuses further work"), 503),
        (RuntimeError("a bug"), 500),
    ],
)
def test_what_fails_has_a_status_of_its_own(catalogue: Catalogue, error: Exception, status: int) -> None:
    @story
    async def told() -> None:
        async with door(catalogue, error, error, error) as worker:
            with capture_logs():
                for answer in (
                    await worker.enhance(**FOX),
                    await worker.client.post("/enhance", json=FOX, headers=EVENTS),
                    await worker.client.post("/storyboard", json={"script": SCRIPT}),
                ):
                    assert answer.status_code == status
                    assert answer.json()["success"] is False
                    assert "bug" not in answer.text
            assert worker.restarts == ([error] * 3 if isinstance(error, Restart) else [])
            assert worker.service.state == "READY"

    told()


@story
async def test_an_answer_is_streamed_by_sentences(catalogue: Catalogue) -> None:
    words = [f"{word} " for word in (OPENING + NEXT + LAST).split()]
    async with door(catalogue, words, words) as worker:
        by_header = events(await worker.client.post("/enhance", json=FOX, headers=EVENTS))
        by_field = events(await worker.enhance(prompt="another fox", stream=True))
    for told in (by_header, by_field):
        *pieces, (name, result) = told
        assert [piece for piece, _ in pieces] == ["piece"] * 3
        assert name == "result"
        assert "".join(data["text"] for _, data in pieces) == result["enhanced_prompt"] == OPENING + NEXT + LAST
        assert result["enhancement_metadata"]["fallback_level"] == 0


@story
async def test_a_refusal_in_the_midst_of_a_stream_is_its_last_event(catalogue: Catalogue) -> None:
    async with door(catalogue, [OPENING, "A forbidden thing. ", LAST]) as worker:
        *pieces, (name, error) = events(await worker.enhance(**FOX, stream=True))
    assert [data["text"] for _, data in pieces] == [OPENING.strip()]
    assert name == "error"
    assert (error["status"], error["error_type"]) == (422, "content_policy")


@story
async def test_a_stream_without_a_usable_answer_ends_with_the_original_prompt(catalogue: Catalogue) -> None:
    broken = [OPENING, "x" * 5000]
    async with door(catalogue, "", broken) as worker:
        at_once = (await worker.enhance(**FOX, stream=True)).json()
        (_, _), (name, later) = events(await worker.enhance(**FOX, stream=True))
    assert name == "result"
    for result in (at_once, later):
        assert result["enhanced_prompt"] == "a fox"
        assert result["enhancement_metadata"]["fallback_level"] == 3


@story
async def test_a_refused_prompt_has_its_status_also_as_a_stream(catalogue: Catalogue) -> None:
    async with door(catalogue, "something forbidden") as worker:
        assert (await worker.enhance(prompt="forbidden", stream=True)).status_code == 422
        assert (await worker.enhance(prompt="a fox", stream=True)).status_code == 422
        assert worker.service.state == "READY"


@story
async def test_a_storyboard_comes_with_jobs_for_the_queue(catalogue: Catalogue) -> None:
    async with door(catalogue, board(scene(), scene(title="Dusk", duration=3))) as worker:
        answer = await worker.client.post("/storyboard", json={"script": SCRIPT, "scenes": 2, "seed": 7})
    assert answer.status_code == 200
    body = answer.json()
    assert body["scenes"] == [scene(), scene(title="Dusk", duration=3.0)]
    assert [job["jobType"] for job in body["jobs"]] == ["video_fast"] * 2
    assert body["jobs"][0]["metadata"]["prompt"] == "A red fox opens its eyes in tall grass. Slow push in."
    metadata = body["storyboard_metadata"]
    assert (metadata["scene_count"], metadata["total_seconds"], metadata["attempts"]) == (2, 7.5, 1)


@story
async def test_a_storyboard_that_never_comes_out_is_a_bad_gateway(catalogue: Catalogue) -> None:
    async with door(catalogue, "grey sky", "grey sea") as worker:
        answer = await worker.client.post("/storyboard", json={"script": SCRIPT})
    assert answer.status_code == 502
    assert answer.json()["error"] == "the language model answered no usable storyboard: it holds no JSON object"


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ({}, "script", "is required"),
        ({"script": SCRIPT, "scenes": 13}, "scenes", "must be 1 to 12"),
        ({"script": SCRIPT, "scenes": 0}, "scenes", "must be 1 to 12"),
        ({"script": SCRIPT, "job_type": "image_fast"}, "job_type", "must be one of video_fast, video_high, video7b_"),
    ],
)
def test_a_wrong_field_of_a_storyboard_is_named(
    catalogue: Catalogue, body: Mapping[str, Any], field: str, problem: str
) -> None:
    @story
    async def told() -> None:
        async with door(catalogue) as worker:
            answer = await worker.client.post("/storyboard", json=body)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert problem in answer.json()["error"]

    told()


@story
async def test_unknown_places_answer_in_json_too(catalogue: Catalogue) -> None:
    async with door(catalogue) as worker:
        for method, path, status in (("GET", "/nowhere", 404), ("POST", "/enhance/", 404), ("GET", "/enhance", 405)):
            answer = await worker.client.request(method, path)
            assert answer.status_code == status
            problem = f"there is no {method} {path}: ask GET /health, POST /enhance or POST /storyboard"
            assert answer.json() == {"success": False, "error": problem}


@story
async def test_a_body_that_never_comes_is_not_waited_for(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)

    async def trickle() -> AsyncIterator[bytes]:
        yield b'{"prompt": '
        await asyncio.Event().wait()

    async with door(catalogue) as worker:
        answer = await worker.client.post("/enhance", content=trickle())
    assert answer.status_code == 408


def _json(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.json())
