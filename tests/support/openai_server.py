"""A small OpenAI-compatible server around a transformers model, on a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import torch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers import AsyncTextIteratorStreamer, StoppingCriteria, StoppingCriteriaList

from ourvidz_worker.local.server import LocalServer
from tests.support.loop_thread import LoopThread

MODEL = "tiny-qwen"
KEY = "a-key-of-the-server"


class OpenAIServer:
    """`with OpenAIServer(tokenizer, model) as server:` answers below `server.url`, in vLLM's dialect.

    Marks in a prompt count as marks, as they do for real servers.
    """

    def __init__(self, tokenizer: Any, model: Any, *, port: int = 0) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._loop = LoopThread("openai-server")
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._completions, methods=["POST"]),
        ]
        self._http = LocalServer(Starlette(routes=routes), "127.0.0.1", port)
        self._generating: set[threading.Thread] = set()
        self._turn = threading.Lock()  # the random numbers are torch's own

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.port}/v1"

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self._http.start())
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._http.stop())
        self._loop.stop()
        for thread in self._generating:
            thread.join()

    async def _models(self, request: Request) -> Response:
        if refusal := _without_key(request):
            return refusal
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _completions(self, request: Request) -> Response:
        if refusal := _without_key(request):
            return refusal
        question = await request.json()
        if question["model"] != MODEL:
            return JSONResponse({"object": "error", "message": "no such model", "code": 404}, 404)
        return StreamingResponse(self._events(question), media_type="text/event-stream")

    async def _events(self, question: dict[str, Any]) -> AsyncIterator[str]:
        stopped = threading.Event()
        try:
            yield _chunk({"role": "assistant", "content": ""})
            said: list[int] = []
            async for text in self._say(question, stopped, said):
                yield _chunk({"content": text})
            ended = said[-1:] == self._model.generation_config.eos_token_id
            yield _chunk({}, finish_reason="stop" if ended else "length")
            yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': 1}})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            stopped.set()

    async def _say(self, question: dict[str, Any], stopped: threading.Event, said: list[int]) -> AsyncIterator[str]:
        """The answer's words; `said` has its tokens at the end."""
        tokens = self._tokenizer.apply_chat_template(
            question["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = AsyncTextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)

        def generate() -> None:
            with self._turn, torch.no_grad():
                torch.manual_seed(question["seed"])
                answer = self._model.generate(
                    **tokens,
                    max_new_tokens=question["max_tokens"],
                    do_sample=True,
                    temperature=question["temperature"],
                    top_p=question["top_p"],
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([_Stop(stopped)]),
                )
            said.extend(answer[0].tolist())

        thread = threading.Thread(target=generate)
        self._generating.add(thread)
        thread.start()
        async for text in streamer:
            if text:
                yield text
        await asyncio.to_thread(thread.join)


class _Stop(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._event.is_set(), dtype=torch.bool)


def _without_key(request: Request) -> Response | None:
    if request.headers.get("authorization") == f"Bearer {KEY}":
        return None
    return JSONResponse({"error": {"message": "Incorrect API key", "type": "invalid_request_error"}}, 401)


def _chunk(delta: dict[str, str], *, finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"
