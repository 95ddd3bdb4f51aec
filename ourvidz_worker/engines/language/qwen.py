"""Qwen rewrites prompts: loaded at the first use, asked in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, StoppingCriteriaList

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.language.answers import clean_answer
from ourvidz_worker.engines.language.templates import Template, Templates
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.engines.volume.weights import hub_snapshot
from ourvidz_worker.errors import ConfigurationError, EnhancementFailed, GenerationFailed


@dataclass(frozen=True, slots=True)
class LanguageModel:
    tokenizer: Any
    model: Any


class QwenEnhancer:
    """Rewrites prompts by the template of the job type; `prepare` makes sure that the weights are on disk."""

    def __init__(self, model: QwenModel, models_dir: Path, prepare: Callable[[], None], templates: Templates) -> None:
        self._config = model
        self._path = models_dir / model.path
        self._prepare = prepare
        self._templates = templates
        self._loaded: LanguageModel | None = None
        # One thread: loading and answering never overlap, and the event loop stays free.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qwen")

    async def enhance(self, prompt: str, job_type: JobType, *, seed: int, time_limit: float) -> str:
        """Rewrite a prompt within `time_limit` seconds; raises `EnhancementFailed`.

        Loading counts towards the limit but goes on in its thread, so that a later call finds the model there.
        """
        template = self._templates.for_type(job_type)
        stopped = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(time_limit):
                answer = await loop.run_in_executor(self._thread, self._answer, template, prompt, seed, stopped)
        except TimeoutError:
            raise EnhancementFailed(
                f"{self._config.model_name} did not rewrite the prompt within {time_limit:g} s"
            ) from None
        finally:
            # Also when the caller was cancelled: the thread must not answer a question nobody asks any more.
            stopped.set()
        return clean_answer(answer, template.max_characters)

    def _answer(self, template: Template, prompt: str, seed: int, stopped: threading.Event) -> str:
        try:
            with classified_errors(self._config.model_name):
                if self._loaded is None:
                    self._loaded = self._load()
                return self._generate(self._loaded, template, prompt, seed, stopped)
        except (GenerationFailed, ConfigurationError) as error:
            raise EnhancementFailed(str(error)) from error

    def _load(self) -> LanguageModel:
        self._prepare()
        folder = str(hub_snapshot(self._path))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype_named(self._config.dtype), local_files_only=True
        )
        return LanguageModel(tokenizer, model.to(device_named(self._config.device)).eval())

    def _generate(
        self, loaded: LanguageModel, template: Template, prompt: str, seed: int, stopped: threading.Event
    ) -> str:
        content = _without_marks(prompt, loaded.tokenizer)
        messages = [{"role": "system", "content": template.system}, {"role": "user", "content": content}]
        device = loaded.model.device
        question = loaded.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(device)
        # generate() takes no generator: the seed is global, so the other random numbers are put back.
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            tokens = loaded.model.generate(
                **question,
                max_new_tokens=self._config.max_new_tokens,
                do_sample=True,
                temperature=self._config.temperature,
                top_p=self._config.top_p,
                stopping_criteria=StoppingCriteriaList([StopWhenSet(stopped)]),
            )
        answer: str = loaded.tokenizer.decode(tokens[0, question["input_ids"].shape[1] :], skip_special_tokens=True)
        return answer


def _without_marks(prompt: str, tokenizer: Any) -> str:
    """A prompt is words: the marks that divide a conversation into turns may not stand in it as marks."""
    for mark in tokenizer.get_added_vocab():
        prompt = prompt.replace(mark, f"{mark[0]} {mark[1:]}")
    return prompt


class StopWhenSet(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Ends a generation before its next token once the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ARG002
        return torch.full((input_ids.shape[0],), self._event.is_set(), dtype=torch.bool, device=input_ids.device)
