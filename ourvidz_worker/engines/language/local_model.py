"""A chat model in this process: loaded once, asked in a thread of its own, heard while it speaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, StoppingCriteriaList, TextStreamer

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.engines.volume.weights import hub_snapshot
from ourvidz_worker.errors import AnswerTooLate, ConfigurationError, GenerationFailed, ModelUnavailable
from ourvidz_worker.ports import Message


@dataclass(frozen=True, slots=True)
class _Loaded:
    tokenizer: Any
    model: Any


@dataclass(frozen=True, slots=True)
class _Question:
    messages: Sequence[Message]
    seed: int
    max_new_tokens: int
    temperature: float
    top_p: float


class LocalLanguageModel:
    """A `LanguageModel` on transformers; `prepare` makes sure that the weights are on disk."""

    def __init__(self, model: QwenModel, models_dir: Path, prepare: Callable[[], None]) -> None:
        self._config = model
        self._path = models_dir / model.path
        self._prepare = prepare
        self._loaded: _Loaded | None = None
        # One thread: loading and answering never overlap, and the event loop stays free.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="language")

    @property
    def model_name(self) -> str:
        return self._config.model_name

    async def load(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
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
        question = _Question(messages, seed, max_new_tokens, temperature, top_p)
        loop = asyncio.get_running_loop()
        end = loop.time() + time_limit
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        stopped = threading.Event()

        def hear(piece: str) -> None:
            if not stopped.is_set():  # else the loop may be gone
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        speaking = loop.run_in_executor(self._thread, self._speak, question, hear, stopped)
        speaking.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while True:
                async with asyncio.timeout_at(end):
                    piece = await pieces.get()
                if piece is None:
                    break
                yield piece
            await speaking
        except TimeoutError:
            raise AnswerTooLate(f"{self.model_name} did not answer within {time_limit:g} s") from None
        except (GenerationFailed, ConfigurationError) as error:
            raise ModelUnavailable(str(error)) from error
        finally:
            # Also when nobody listens any more: the thread must not answer a question nobody asks.
            stopped.set()
            speaking.cancel()

    async def close(self) -> None:
        """Free the model as soon as it has stopped speaking or loading, which is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._loaded = None

    def _load(self) -> _Loaded:
        if self._loaded is None:
            with classified_errors(self.model_name):
                self._loaded = self._read()
        return self._loaded

    def _read(self) -> _Loaded:
        self._prepare()
        folder = str(hub_snapshot(self._path))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype_named(self._config.dtype), local_files_only=True
        )
        return _Loaded(tokenizer, model.to(device_named(self._config.device)).eval())

    def _speak(self, question: _Question, hear: Callable[[str], None], stopped: threading.Event) -> None:
        loaded = self._load()
        device = loaded.model.device
        tokens = loaded.tokenizer.apply_chat_template(
            [_without_marks(message, loaded.tokenizer) for message in question.messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(device)
        # generate() takes no generator: the seed is global, so the other random numbers are put back.
        with (
            classified_errors(self.model_name),
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(question.seed)
            loaded.model.generate(
                **tokens,
                max_new_tokens=question.max_new_tokens,
                do_sample=True,
                temperature=question.temperature,
                top_p=question.top_p,
                streamer=_Voice(loaded.tokenizer, hear),
                stopping_criteria=StoppingCriteriaList([StopWhenSet(stopped)]),
            )


def _without_marks(message: Message, tokenizer: Any) -> Message:
    """A prompt is words: the marks that divide a conversation into turns may not stand in it as marks."""
    content = message["content"]
    for mark in tokenizer.get_added_vocab():
        content = content.replace(mark, f"{mark[0]} {mark[1:]}")
    return {"role": message["role"], "content": content}


class _Voice(TextStreamer):  # type: ignore[misc]  # transformers ships no types
    """Says each word when it is complete."""

    def __init__(self, tokenizer: Any, hear: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._hear = hear

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - transformers' own signature
        if text:
            self._hear(text)


class StopWhenSet(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Ends a generation before its next token once the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ARG002
        return torch.full((input_ids.shape[0],), self._event.is_set(), dtype=torch.bool, device=input_ids.device)
