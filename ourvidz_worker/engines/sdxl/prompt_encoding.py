"""Prompts of any length and with weights into what SDXL's UNet reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from compel import CompelForSDXL
from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.embedding_cache import EmbeddingCache
from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.sdxl.components import TEXT_ENCODERS
from ourvidz_worker.engines.sdxl.prompt_weights import WeightedPrompt, read_weights
from ourvidz_worker.engines.turns import TURNS


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """`embeds` has the shape (1, 77 x chunks, 2048) and `pooled` (1, 1280) for SDXL's own text encoders.

    `note` says what became of the weights in the text, and is None where it held none.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    note: str | None


@dataclass(frozen=True, slots=True)
class PromptCall:
    """What a pipeline takes in place of the texts, and what the result metadata says of them."""

    call: dict[str, torch.Tensor]
    details: dict[str, Any]

    @property
    def tokens(self) -> int:
        """How long the texts are for the UNet, padding included."""
        return self.call["prompt_embeds"].shape[1]


class PromptEncoder:
    """The two text encoders of a pipeline; callable from any thread.

    A plain prompt that fits into one chunk goes the way of diffusers alone, so it gives the same picture. Anything
    else goes through Compel: a longer text is read in chunks, cut between sentences, phrases or words. As in other
    tools, the pooled embedding, which carries the general impression, is that of the beginning alone.
    """

    def __init__(self, pipe: StableDiffusionXLPipeline, residency: Residency) -> None:
        self._pipe = pipe
        self._residency = residency
        compel = CompelForSDXL(pipe)
        self._halves = [each.conditioning_provider for each in (compel.compel_1, compel.compel_2)]
        self._kept = EmbeddingCache(self._encode)

    def prompt_call(self, prompt: str, negative_prompt: str, *, guided: bool) -> PromptCall:
        """Both prompts, padded to one length with the embedding of nothing; only the first where none guides."""
        positive = self._kept.get(prompt)
        negative = self._negative(negative_prompt, positive) if guided else None
        call = {"prompt_embeds": positive.embeds, "pooled_prompt_embeds": positive.pooled}
        if negative is not None:
            both, nothing = (positive.embeds, negative.embeds), self._kept.get("", pinned=True).embeds
            call["prompt_embeds"], call["negative_prompt_embeds"] = _as_long_as_the_longest(both, (nothing, nothing))
            call["negative_pooled_prompt_embeds"] = negative.pooled
        notes = {"prompt_weights": positive.note, "negative_prompt_weights": negative and negative.note}
        return PromptCall(call, {name: note for name, note in notes.items() if note})

    def _negative(self, text: str, positive: EncodedPrompt) -> EncodedPrompt:
        """An empty negative prompt is all zeros where the checkpoint was trained so."""
        if text or not self._pipe.config.force_zeros_for_empty_prompt:
            return self._kept.get(text, pinned=True)
        return EncodedPrompt(torch.zeros_like(positive.embeds), torch.zeros_like(positive.pooled), None)

    @TURNS.computing()
    @torch.no_grad()
    def _encode(self, text: str) -> EncodedPrompt:
        read = read_weights(text)
        with self._residency.stage("text", needs=(TEXT_ENCODERS,), workspace=workspace.text()):
            embeds, _, pooled, _ = self._pipe.encode_prompt(read.text, do_classifier_free_guidance=False)
            if not (read.is_plain and self._fits(read.text)):
                embeds = self._in_chunks(read)
        return EncodedPrompt(embeds, pooled, read.note)

    def _fits(self, text: str) -> bool:
        tokenizers = (self._pipe.tokenizer, self._pipe.tokenizer_2)
        return all(len(tokenizer(text).input_ids) <= tokenizer.model_max_length for tokenizer in tokenizers)

    def _in_chunks(self, read: WeightedPrompt) -> torch.Tensor:
        """Exclamation marks can make the two tokenizers disagree on the number of chunks."""
        halves = _as_long_as_the_longest(
            [_encoded(provider, read) for provider in self._halves], [provider.empty_z for provider in self._halves]
        )
        return torch.cat(halves, dim=-1).to(self._pipe.text_encoder_2.dtype)


def _encoded(provider: Any, read: WeightedPrompt) -> torch.Tensor:
    """One text encoder's half of the embeddings."""
    tokens = provider.get_token_ids([each.text for each in read.fragments], include_start_and_end_markers=False)
    fragments = [each for each, ids in zip(read.fragments, tokens, strict=True) if ids]
    texts, weights = [each.text for each in fragments], [each.weight for each in fragments]
    device = provider.text_encoder.device
    encoded: torch.Tensor
    if read.is_plain:
        encoded = provider.build_weighted_embedding_tensor(
            *provider.get_token_ids_and_expand_weights(texts, weights, device=device), device=device
        )
    else:
        encoded = provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights], device=device)
    return encoded


def _as_long_as_the_longest(embeds: Sequence[torch.Tensor], nothings: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Pad with the embedding of nothing, chunk by chunk; all shapes are (1, 77 x chunks, width)."""
    length = max(each.shape[1] for each in embeds)
    return [
        torch.cat([each, *[nothing] * ((length - each.shape[1]) // nothing.shape[1])], dim=1)
        for each, nothing in zip(embeds, nothings, strict=True)
    ]
