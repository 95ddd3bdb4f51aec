"""What WAN reads of a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import WanPipeline
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

from ourvidz_worker.engines.turns import TURNS

PROMPT_TOKENS = 512  # the length WAN was trained with; encode_prompt alone would pad to 226


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Embeddings of shape (1, 512, width of the text encoder), and how many tokens at the end were not read."""

    embeds: torch.Tensor
    tokens_left_out: int


@TURNS.computing()
@torch.no_grad()
def encode_text(pipe: WanPipeline, text: str) -> EncodedText:
    embeds, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=PROMPT_TOKENS)
    assert isinstance(embeds, torch.Tensor)
    return EncodedText(embeds, max(0, len(pipe.tokenizer(prompt_clean(text)).input_ids) - PROMPT_TOKENS))
