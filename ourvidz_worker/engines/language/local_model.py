"""A chat model in this process: loaded once, asked in a thread of its own, heard while it speaks.

Importing this module imports no model library; the thread brings its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.engines.volume.weights import hub_snapshot
from ourvidz_worker.errors import (
    AnswerCutOff,
    AnswerTooLate,
    AnswerUnusable,
    ConfigurationError,
    GenerationFailed,
    ModelUnavailable,
)
from ourvidz_worker.ports import Message

if TYPE_CHECKING:
    from ourvidz_worker.engines.language.chat import Chat

COMPONENT = "qwen"


class LocalLanguageModel:
    """A `LanguageModel` on transformers; `prepare` makes sure that the weights are on disk.

    While nobody asks, its place on the card is for others.
    """

    def __init__(
        self, model: QwenModel, models_dir: Path, prepare: Callable[[], None], residency: Residency | None = None
    ) -> None:
        self._config = model
        self._path = models_dir / model.path
        self._prepare = prepare
        self._residency = residency or Residency()
        self._chat: Chat | None = None
        # One thread: loading and answering never overlap, and the event loop stays free.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="language")

    @property
    def model_name(self) -> str:
        return self._config.model_name

    async def load(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)
        except GenerationFailed as error:
            raise ModelUnavailable(str(error)) from error

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
        loop = asyncio.get_running_loop()
        end = loop.time() + time_limit
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        stopped = threading.Event()

        def hear(piece: str) -> None:
            if not stopped.is_set():  # else the loop may be gone
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def speak() -> bool:
            chat = self._loaded()
            with self._residency.stage("answer", needs=(COMPONENT,), workspace=workspace.answer(max_new_tokens)):
                return chat.say(
                    messages,
                    seed=seed,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    top_p=top_p,
                    hear=hear,
                    stopped=stopped,
                )

        speaking = loop.run_in_executor(self._thread, speak)
        speaking.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while True:
                async with asyncio.timeout_at(end):
                    piece = await pieces.get()
                if piece is None:
                    break
                yield piece
            if not await speaking:
                raise AnswerCutOff
        except TimeoutError:
            raise AnswerTooLate(f"{self.model_name} did not answer within {time_limit:g} s") from None
        except AnswerUnusable:
            raise
        except (GenerationFailed, ConfigurationError) as error:
            raise ModelUnavailable(str(error)) from error
        finally:
            # Also when nobody listens any more: the thread must not answer a question nobody asks.
            stopped.set()
            speaking.cancel()

    async def close(self) -> None:
        """Free the model as soon as it has stopped speaking or loading, which is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._chat = None
        self._residency.remove(COMPONENT)

    def _loaded(self) -> Chat:
        if self._chat is None:
            self._prepare()
            from ourvidz_worker.engines.quiet import quieten_transformers  # noqa: PLC0415 - brings torch, in seconds

            quieten_transformers()
            from ourvidz_worker.engines.language.chat import Chat  # noqa: PLC0415
            from ourvidz_worker.engines.residency.weights import ModuleWeights  # noqa: PLC0415

            chat = Chat(self._config, hub_snapshot(self._path), self._residency)
            weights = ModuleWeights([chat.model], chat.model.device)
            self._residency.add(COMPONENT, weights, rank=Rank.LANGUAGE)
            self._chat = chat
        return self._chat
