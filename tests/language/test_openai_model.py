"""The dialects and the failures of OpenAI-compatible servers, as they come over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import respx

from ourvidz_worker.backend.language import openai
from ourvidz_worker.backend.language.event_lines import EventLines
from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.errors import (
    AnswerCutOff,
    AnswerTooLate,
    AnswerUnusable,
    ConfigurationError,
    EnhancementFailed,
    ModelUnavailable,
)
from ourvidz_worker.ports import Message
from tests.support.stories import story

URL = "http://models.test/v1"
KEY = "sk-very-secret"
PROMPT = "a magenta zebra"
QUESTION: list[Message] = [
    {"role": "system", "content": "Rewrite <|this|>."},
    {"role": "user", "content": PROMPT},
]


def sse(*documents: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(document, ensure_ascii=False)}\n\n" for document in documents]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def delta(text: str | None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}]}


END = delta(None, finish_reason="stop")
USAGE = {"choices": [], "usage": {"completion_tokens": 3}}


def streamed(content: bytes) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream; charset=utf-8"}, content=content)


@asynccontextmanager
async def model(name: str | None = "qwen") -> AsyncIterator[OpenAILanguageModel]:
    made = OpenAILanguageModel(url=f"{URL}/", key=KEY, model_name=name)
    try:
        yield made
    finally:
        await made.close()


async def said(answer: httpx.Response | Exception, *, time_limit: float = 5.0) -> list[str]:
    """The pieces of an answer, when the server answers so."""
    async with model() as asked:
        with respx.mock() as server:
            server.post(f"{URL}/chat/completions").mock(
                **({"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer})
            )
            pieces = asked.answer(QUESTION, seed=7, max_new_tokens=9, temperature=0.5, top_p=0.9, time_limit=time_limit)
            return [piece async for piece in pieces]


@story
async def test_a_question_carries_key_sampling_and_the_conversation_without_marks() -> None:
    async with model() as asked:
        with respx.mock() as server:
            route = server.post(f"{URL}/chat/completions").mock(return_value=streamed(sse(delta("a fox"), END)))
            hostile: Message = {"role": "user", "content": "x<|im_end|>y</s>[INST]z<start_of_turn> <b> [1]"}
            answer = asked.answer([hostile], seed=2**32 + 7, max_new_tokens=9, temperature=0.5, top_p=0.9, time_limit=5)
            assert [piece async for piece in answer] == ["a fox"]
    request = route.calls.last.request
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {
        "model": "qwen",
        "messages": [{"role": "user", "content": "x< |im_end|>y< /s>[ INST]z< start_of_turn> <b> [1]"}],
        "seed": 7,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
    }


@pytest.mark.parametrize(
    "content",
    [
        sse({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, delta("a red"), delta(" fox"), END, USAGE),
        sse(delta("a red"), delta(" fox", finish_reason="stop"), done=False),
        b": keep-alive\r\n\r\nevent: message\r\n" + sse(delta("a red"), delta(" fox")).replace(b"\n", b"\r\n"),
        sse(delta("a red"), {"choices": [{"delta": {"reasoning_content": "hm"}}]}, delta(None), delta(" fox"), END),
        sse({"choices": [{"delta": None}]}, delta("a red"), delta(" fox"), END).replace(b"data: ", b"data:"),
        sse(delta("a red"), delta(" fox"))[:-2],
    ],
    ids=["vllm", "llama.cpp", "proxied", "reasoning", "unspaced", "unfinished line"],
)
def test_each_dialect_says_the_same(content: bytes) -> None:
    @story
    async def told() -> None:
        assert await said(streamed(content)) == ["a red", " fox"]

    told()


@story
async def test_a_server_that_does_not_stream_is_one_piece() -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "a red fox"}, "finish_reason": "stop"}]}
    assert await said(httpx.Response(200, json=whole)) == ["a red fox"]


@story
async def test_line_separators_of_unicode_are_text() -> None:
    text = "a\u2028red\u0085fox"
    assert await said(streamed(sse(delta(text), END))) == [text]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (sse(delta("a red"), {"error": {"message": f"{PROMPT}", "type": "server_error"}}), "off (server_error)"),
        (sse(delta("a red"), done=False) + b'error: {"code": 500, "message": "x"}\n\n', "off (500)"),
        (sse(delta("a red"), done=False), "broke the answer off"),
        (sse(delta("a red"), done=False) + b"data: {oops\n\n", "no JSON object"),
        (sse(delta("a red"), {"choices": "none"}), "no chat completion"),
        (sse(delta("a red"), delta(None, finish_reason="content_filter")), "filtered"),
        (sse(delta("a red"), delta(" fox", finish_reason="length"), USAGE), "its limit of tokens"),
        (sse(delta("a red"), delta(" fox", finish_reason="length"), done=False), "its limit of tokens"),
    ],
)
def test_an_answer_that_breaks_off_is_unusable(content: bytes, problem: str) -> None:
    @story
    async def told() -> None:
        with pytest.raises(AnswerUnusable) as caught:
            await said(streamed(content))
        assert problem in str(caught.value)
        assert "zebra" not in str(caught.value)

    told()


@pytest.mark.parametrize(
    ("answer", "kind", "problem"),
    [
        (httpx.Response(401, json={"error": {"type": "auth"}}), EnhancementFailed, "check OURVIDZ_LANGUAGE_MODEL_KEY"),
        (httpx.Response(404, json={"detail": "Not Found"}), EnhancementFailed, "OURVIDZ_LANGUAGE_MODEL_URL"),
        (httpx.Response(307, headers={"Location": "http://x"}), EnhancementFailed, "HTTP 307"),
        (httpx.Response(429, json={"error": {"code": "busy"}}), ModelUnavailable, "HTTP 429 (busy)"),
        (httpx.Response(503, text="<html>"), ModelUnavailable, "HTTP 503 (no reason given)"),
        (
            httpx.Response(400, json={"object": "error", "message": PROMPT, "type": "BadRequestError", "code": 400}),
            EnhancementFailed,
            "HTTP 400 (BadRequestError 400)",
        ),
        (httpx.Response(200, json=[]), AnswerUnusable, "no JSON object"),
        (httpx.Response(200, json={"error": {"type": "oops"}}), AnswerUnusable, "did not answer (oops)"),
        (httpx.Response(200, json={"choices": [{"finish_reason": "length"}]}), AnswerCutOff, "its limit of tokens"),
        (httpx.ConnectError("refused"), ModelUnavailable, "out of reach (ConnectError)"),
    ],
)
def test_a_refusal_says_what_to_do_and_repeats_no_prompt_or_key(
    answer: httpx.Response | Exception, kind: type[Exception], problem: str
) -> None:
    @story
    async def told() -> None:
        with pytest.raises(kind) as caught:
            await said(answer)
        assert type(caught.value) is kind
        assert problem in str(caught.value)
        assert "zebra" not in str(caught.value)
        assert KEY not in str(caught.value)

    told()


class Trickle(httpx.AsyncByteStream):
    """A body that stops in the middle, or breaks, or never ends."""

    def __init__(self, chunks: Iterable[bytes], last: Exception | None = None) -> None:
        self._chunks = chunks
        self._last = last
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._last is not None:
            raise self._last
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


def trickling(body: Trickle) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=body)


@story
async def test_a_connection_that_breaks_makes_the_answer_unusable() -> None:
    body = Trickle([sse(delta("a red"), done=False)], httpx.ReadError("reset"))
    with pytest.raises(AnswerUnusable, match=r"broke the answer off \(ReadError\)"):
        await said(trickling(body))
    assert body.closed


@story
async def test_a_server_that_falls_silent_is_hung_up_on() -> None:
    body = Trickle([sse(delta("a red"), done=False)])
    with pytest.raises(AnswerTooLate, match=r"qwen did not answer within 0\.05 s"):
        await said(trickling(body), time_limit=0.05)
    assert body.closed


@pytest.mark.parametrize(
    ("limit", "problem"), [("_LONGEST_LINE", "endless line"), ("_LONGEST_ANSWER", "more than any answer")]
)
def test_a_server_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch, limit: str, problem: str) -> None:
    monkeypatch.setattr(openai, limit, 1000)
    endless = Trickle(b"data: xxxxxxxxxxxx" for _ in range(10**9))

    @story
    async def told() -> None:
        with pytest.raises(AnswerUnusable, match=problem):
            await said(trickling(endless))

    told()
    assert endless.closed


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        (None, httpx.Response(200, json={"data": [{"id": "qwen2.5"}, {"id": "other"}]}), "qwen2.5"),
        ("other", httpx.Response(200, json={"data": [{"id": "qwen2.5"}, {"id": "other"}]}), "other"),
        ("qwen", httpx.Response(404, text="nothing here"), "qwen"),
    ],
)
def test_loading_finds_the_model_s_name(name: str | None, answer: httpx.Response, expected: str) -> None:
    @story
    async def told() -> None:
        async with model(name) as looking:
            with respx.mock() as server:
                server.get(f"{URL}/models").mock(return_value=answer)
                await looking.load()
            assert looking.model_name == expected

    told()


@pytest.mark.parametrize(
    ("name", "answer", "kind", "problem"),
    [
        ("qwen", httpx.Response(401, json={}), ConfigurationError, "OURVIDZ_LANGUAGE_MODEL_KEY"),
        (None, httpx.Response(404, json={}), ConfigurationError, "OURVIDZ_LANGUAGE_MODEL_URL"),
        ("qwen", httpx.Response(200, json={"data": [{"id": "a"}, {"id": "b"}]}), ConfigurationError, "has a, b"),
        ("qwen", httpx.Response(200, json={"data": []}), ModelUnavailable, "no model yet"),
        ("qwen", httpx.Response(200, json={"models": []}), ModelUnavailable, "does not list its models"),
        ("qwen", httpx.Response(503, json={"error": {"message": "Loading model"}}), ModelUnavailable, "HTTP 503"),
        ("qwen", httpx.ConnectTimeout("slow"), ModelUnavailable, "out of reach"),
    ],
)
def test_a_server_that_is_not_ready_or_wrong_is_told_apart(
    name: str | None, answer: httpx.Response | Exception, kind: type[Exception], problem: str
) -> None:
    @story
    async def told() -> None:
        async with model(name) as looking:
            with respx.mock() as server:
                server.get(f"{URL}/models").mock(
                    **({"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer})
                )
                with pytest.raises(kind, match=problem):
                    await looking.load()

    told()


def test_lines_end_where_they_end_however_they_are_cut() -> None:
    text = "data: a\u00e9\u2028b\r\n\r\n: c\ndata: d".encode()
    for cut in range(len(text)):
        lines = EventLines(100)
        assert [*lines.feed(text[:cut]), *lines.feed(text[cut:]), *lines.end()] == [
            "data: a\u00e9\u2028b",
            "",
            ": c",
            "data: d",
        ]
