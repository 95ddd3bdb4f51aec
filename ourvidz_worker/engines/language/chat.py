"""A chat model on transformers, as its own thread knows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    StoppingCriteria,
    StoppingCriteriaList,
    TextStreamer,
)

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named
from ourvidz_worker.engines.headroom import room_for_weights
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.unloadable import unloadable
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile
from ourvidz_worker.errors import ConfigurationError, WorkerError
from ourvidz_worker.ports import Message


class Chat:
    """Raises `OutOfMemory`, `PoisonedContext`, or `ConfigurationError` for a device or weights that do not serve."""

    def __init__(self, config: QwenModel, folder: Path, residency: Residency) -> None:
        """Read tokenizer and weights from a folder, after making room for them."""
        self._name = config.model_name
        device = device_named(config.device)
        try:
            needed = loaded_bytes(folder, config.dtype)
            with classified_errors(self._name), room_for_weights(residency, device, needed, self._name):
                self.tokenizer = _tokenizer(folder)
                model, loading = AutoModelForCausalLM.from_pretrained(
                    folder, dtype=dtype_named(config.dtype), local_files_only=True, output_loading_info=True
                )
                _require_whole(f"{self._name} at {folder}", loading["missing_keys"])
                self.model = model.to(device).eval()
        except WorkerError:
            raise
        except DamagedFile as damage:
            raise ConfigurationError(
                f"{self._name} at {folder} cannot be loaded: one of its weight files {damage}; "
                "`ourvidz-worker models fetch qwen` brings it again"
            ) from damage
        except Exception as error:
            raise unloadable(self._name, folder, error) from error

    @TURNS.computing()
    def say(
        self,
        messages: Sequence[Message],
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        hear: Callable[[str], None],
        stopped: threading.Event,
    ) -> bool:
        """Answer in pieces to `hear`, until the answer ends or `stopped` is set; gives whether it came to its end."""
        device = self.model.device
        tokens = self.tokenizer.apply_chat_template(
            [_without_marks(message, self.tokenizer) for message in messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(device)
        # generate() takes no generator: the seed is global, so the other random numbers are put back.
        with (
            classified_errors(self._name),
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(seed)
            said = self.model.generate(
                **tokens,
                max_new_tokens=max_new_tokens,
                do_sample=True,
                temperature=temperature,
                top_p=top_p,
                streamer=_Voice(self.tokenizer, hear),
                stopping_criteria=StoppingCriteriaList([_StopWhenSet(stopped)]),
            )[0, tokens["input_ids"].shape[1] :].tolist()
        return len(said) < max_new_tokens or said[-1] in self._ends

    @property
    def _ends(self) -> list[int]:
        ends: int | list[int] | None = self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _tokenizer(folder: Path) -> Any:
    """As its file says: what transformers chooses for Qwen 2 divides words in its own way, whatever the file says."""
    whole = (folder / "tokenizer.json").is_file()
    kind = PreTrainedTokenizerFast if whole else AutoTokenizer
    return kind.from_pretrained(folder, local_files_only=True)


def _require_whole(model: str, missing: Collection[str]) -> None:
    """For what the files lack transformers draws lots, and only logs it."""
    if missing:
        raise ConfigurationError(
            f"{model} lacks {len(missing)} of its tensors, among them {min(missing)}; "
            "`ourvidz-worker models fetch qwen` brings them"
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


class _StopWhenSet(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Ends a generation before its next token once the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ARG002
        return torch.full((input_ids.shape[0],), self._event.is_set(), dtype=torch.bool, device=input_ids.device)
