"""The two CLIP text encoders and their tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from scripts.demo_models.reading import Readers, facts, told_scene
from scripts.demo_models.sdxl.shapes import PROJECTION, TEXT, TEXT_2, WIDTH

CORPUS = 20_000
ENTRIES = 1200
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
LENGTH = 77
BATCH = 48
MOVING = 0.2  # the share of the texts that speak of motion, which pictures leave out


def new_tokenizer() -> CLIPTokenizer:
    """Learned from captions: their words are single tokens, and any other text is spelt out in pieces.

    The library numbers letters as it comes upon them, which differs from run to run; so they are numbered here, all
    bytes first and then all bytes that end a word, as in CLIP's own vocabulary.
    """
    random = Random("tokenizer")
    texts = [told_scene(random, moving=True).text for _ in range(CORPUS)]
    learned = CLIPTokenizer().train_new_from_iterator(texts, ENTRIES)
    merges = [tuple(pair) for pair in json.loads(learned.backend_tokenizer.to_str())["model"]["merges"]]
    letters = sorted(ByteLevel.alphabet())
    pieces = [START, END, *letters, *(letter + WORD_END for letter in letters), *map("".join, merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


class TextEncoders(nn.Module):
    """Both, and the readers that teach them."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        words = {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        self.first = CLIPTextModel(CLIPTextConfig(**TEXT, **words))
        self.second = CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_2, **words))
        self.readers = Readers(WIDTH)
        self.readers_of_all = Readers(PROJECTION)

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the UNet reads, shape (n, 77, 192), and what it feels of it all, shape (n, 128)."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        first = self.first(tokens, output_hidden_states=True)
        second = self.second(tokens, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds

    def losses(self, random: Random) -> dict[str, Tensor]:
        told = [told_scene(random, moving=random.random() < MOVING) for _ in range(BATCH)]
        answers = facts(told, random)
        states, pooled = self([each.text for each in told])
        # A state is as large as the UNet's own, so that none of the two drowns the other.
        size = 0.01 * (states.square().mean() - 1).square() + 0.01 * (pooled.square().mean() - 1).square()
        losses = self.readers.losses(states, answers)
        of_all = self.readers_of_all.losses(pooled[:, None], answers)
        return {**losses, "of_all": 0.3 * torch.stack(list(of_all.values())).sum(), "size": size}
