"""A chat model on any OpenAI-compatible server: vLLM, SGLang, llama.cpp and the like."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import httpx

from ourvidz_worker.backend.language.completions import delta_of, refusal, whole_answer
from ourvidz_worker.backend.language.event_lines import EventLines, LineTooLong
from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.backend.trust import trusted
from ourvidz_worker.errors import (
    AnswerCutOff,
    AnswerTooLate,
    AnswerUnusable,
    ConfigurationError,
    ModelUnavailable,
)
from ourvidz_worker.ports import Message

_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 30.0
_LONGEST_LINE = 1024 * 1024  # bytes
_LONGEST_ANSWER = 4 * 1024 * 1024
_SEEDS = 2**32  # llama.cpp keeps them in so many bits
# The marks that divide turns for Qwen and Llama 3, Gemma, Mistral and Llama 2; servers take them for marks everywhere.
_MARKS = re.compile(r"<(?=\||/?(?:s|start_of_turn|end_of_turn|bos|eos|think)>)|\[(?=/?INST\])")


class OpenAILanguageModel:
    """A `LanguageModel` at `url`, like http://host:8000/v1; without a name, the first model that the server lists."""

    def __init__(self, *, url: str, key: str | None = None, model_name: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._name = model_name
        self._http = httpx.AsyncClient(
            verify=trusted(),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),  # each call has a limit of its own
            trust_env=not is_loopback(url),
        )

    @property
    def model_name(self) -> str:
        return self._name or "language model"

    async def load(self) -> None:
        """See whether the server is there and serves the model."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                answer = await self._http.get(f"{self._url}/models")
        except (TimeoutError, httpx.HTTPError) as error:
            raise self._out_of_reach(error) from error
        if answer.status_code == 404 and self._name:
            return  # a server may list nothing
        if answer.status_code in (401, 403, 404):
            raise ConfigurationError(str(refusal(answer.status_code, answer.content)))
        served = _served(answer)
        if self._name is None:
            self._name = served[0]
        elif self._name not in served:
            raise ConfigurationError(
                f"OURVIDZ_LANGUAGE_MODEL_NAME is {self._name!r}, but the server has {', '.join(served)[:300]}"
            )

    async def answer(
        self,
        messages: Sequence[Message],
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        time_limit: float,
    ) -> AsyncGenerator[str, None]:
        question = {
            "model": self._name,
            "messages": [_without_marks(message) for message in messages],
            "seed": seed % _SEEDS,
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "stream": True,
        }
        end = asyncio.get_running_loop().time() + time_limit
        try:
            async with asyncio.timeout_at(end):
                response = await self._ask(question)
            # Closing it tells the server to stop.
            async with aclosing(response), aclosing(_pieces(response)) as pieces:
                while True:
                    async with asyncio.timeout_at(end):
                        piece = await anext(pieces, None)
                    if piece is None:
                        return
                    yield piece
        except TimeoutError:
            raise AnswerTooLate(f"{self.model_name} did not answer within {time_limit:g} s") from None

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, question: dict[str, Any]) -> httpx.Response:
        request = self._http.build_request("POST", f"{self._url}/chat/completions", json=question)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._out_of_reach(error) from error
        if response.status_code == 200:
            return response
        async with aclosing(response):
            raise refusal(response.status_code, await _body(response))

    def _out_of_reach(self, error: Exception) -> ModelUnavailable:
        return ModelUnavailable(
            f"the language model's server is out of reach ({type(error).__name__}): check OURVIDZ_LANGUAGE_MODEL_URL"
        )


async def _pieces(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The words of a streamed answer, or of one that came at once."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        whole = whole_answer(await _body(response))
        yield whole.text
        if whole.cut_off:
            raise AnswerCutOff
        return
    finished = cut_off = False
    async for line in _lines(response):
        delta = delta_of(line)
        if delta is None:
            finished = True
            break
        finished = finished or delta.finished
        cut_off = cut_off or delta.cut_off
        if delta.text:
            yield delta.text
    if not finished:
        raise AnswerUnusable("the language model's server broke the answer off")
    if cut_off:
        raise AnswerCutOff


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    lines = EventLines(_LONGEST_LINE)
    try:
        async for chunk in _limited(response):
            for line in lines.feed(chunk):
                yield line
    except LineTooLong:
        raise AnswerUnusable("the language model's server sent an endless line") from None
    for line in lines.end():
        yield line


async def _body(response: httpx.Response) -> bytes:
    return b"".join([chunk async for chunk in _limited(response)])


async def _limited(response: httpx.Response) -> AsyncIterator[bytes]:
    received = 0
    try:
        async for chunk in response.aiter_bytes():
            received += len(chunk)
            if received > _LONGEST_ANSWER:
                raise AnswerUnusable("the language model's server sent more than any answer takes")
            yield chunk
    except httpx.HTTPError as error:
        raise AnswerUnusable(f"the language model's server broke the answer off ({type(error).__name__})") from error


def _served(answer: httpx.Response) -> list[str]:
    try:
        names = [str(model["id"]) for model in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPStatusError, ValueError, LookupError, TypeError):
        raise ModelUnavailable(
            f"the language model's server does not list its models (HTTP {answer.status_code})"
        ) from None
    if not names:
        raise ModelUnavailable("the language model's server has no model yet")
    return names


def _without_marks(message: Message) -> Message:
    content = _MARKS.sub(lambda mark: f"{mark[0]} ", message["content"])
    return {"role": message["role"], "content": content}
