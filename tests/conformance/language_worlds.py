"""Two ways to the same tiny chat model: in this process, and behind a URL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.errors import AnswerCutOff
from ourvidz_worker.ports import LanguageModel, Message
from tests.support.openai_server import KEY, OpenAIServer

WAIT_SECONDS = 30.0


class Spy:
    """What reached the model: the tokens of each question, and those of each answer."""

    def __init__(self, model: Any) -> None:
        self.questions: list[list[int]] = []
        self.answers: list[list[int]] = []
        self._ended = threading.Semaphore(0)
        self._generate = model.generate
        model.generate = self._spied

    def _spied(self, **question: Any) -> Any:
        self.questions.append(question["input_ids"][0].tolist())
        answer = self._generate(**question)
        self.answers.append(answer[0, question["input_ids"].shape[1] :].tolist())
        self._ended.release()
        return answer

    async def next_end(self) -> int:
        """The length of the next answer to end."""
        assert await asyncio.to_thread(self._ended.acquire, timeout=WAIT_SECONDS), "the generation never ended"
        return len(self.answers[-1])


class Talk:
    """An adapter, loaded and ready to be asked."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def answer(
        self, *messages: Message, seed: int = 1, max_new_tokens: int = 8, time_limit: float = WAIT_SECONDS
    ) -> AsyncGenerator[str, None]:
        return self.model.answer(
            messages, seed=seed, max_new_tokens=max_new_tokens, temperature=0.7, top_p=0.9, time_limit=time_limit
        )

    async def heard(self, *messages: Message, seed: int = 1, max_new_tokens: int = 8) -> tuple[list[str], bool]:
        """The pieces of an answer, and whether it was cut off."""
        pieces: list[str] = []
        try:
            async for piece in self.answer(*messages, seed=seed, max_new_tokens=max_new_tokens):
                pieces.append(piece)  # noqa: PERF401 - also what comes before an error
        except AnswerCutOff:
            return pieces, True
        return pieces, False

    async def whole(self, *messages: Message, seed: int = 1, max_new_tokens: int = 8) -> str:
        """The tiny model comes to no end by itself."""
        pieces, _ = await self.heard(*messages, seed=seed, max_new_tokens=max_new_tokens)
        return "".join(pieces)


class LanguageWorld:
    """One kind of adapter; `spy` sees what its model is asked, `tokenizer` reads it."""

    def __init__(self, adapter: Callable[[], LanguageModel], tokenizer: Any, transformer: Any) -> None:
        self._adapter = adapter
        self.tokenizer = tokenizer
        self.spy = Spy(transformer)
        self._generation = transformer.generation_config

    @contextmanager
    def ending_with(self, token: int) -> Iterator[None]:
        """An answer ends with this token."""
        usual = self._generation.eos_token_id
        self._generation.eos_token_id = [token]
        yield
        self._generation.eos_token_id = usual

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        model = self._adapter()
        await model.load()
        yield Talk(model)
        if isinstance(model, OpenAILanguageModel):
            await model.close()  # its connections belong to the event loop of one test


@contextmanager
def local_world(cache_dir: Path) -> Iterator[LanguageWorld]:
    model = LocalLanguageModel(MODELS.qwen, cache_dir, lambda: ensure_built(cache_dir, "qwen"))
    asyncio.run(model.load())
    assert model._chat is not None
    yield LanguageWorld(lambda: model, model._chat.tokenizer, model._chat.model)
    asyncio.run(model.close())


@contextmanager
def server_world(cache_dir: Path) -> Iterator[LanguageWorld]:
    ensure_built(cache_dir, "qwen")
    folder = cache_dir / MODELS.qwen.path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    transformer = AutoModelForCausalLM.from_pretrained(folder).eval()
    with OpenAIServer(tokenizer, transformer) as server:
        yield LanguageWorld(lambda: OpenAILanguageModel(url=server.url, key=KEY), tokenizer, transformer)
