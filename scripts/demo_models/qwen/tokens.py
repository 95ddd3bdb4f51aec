"""A byte-level BPE tokenizer that knows the words of the world, and the sentences of the system prompts, as one token.

Every text is made of its tokens: an unknown word falls into pieces, in the end into bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from scripts.demo_models.qwen.samples import random_sample, system_pieces
from scripts.demo_models.qwen.storyboards import JOINTS, MOST_SCENES
from scripts.demo_models.qwen.words import FOREIGN_ADJECTIVES, FOREIGN_NOUNS, FOREIGN_VERBS, invented

END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
ROLES = ("system\n", "user\n", "assistant\n")
WORDS = r" ?\p{L}+| ?\p{N}{1,2}|\s| ?[^\s\p{L}\p{N}]"
PIECES = 800  # tokens for parts of unknown words, bytes included
SAMPLES = 6000
OFTEN = 12  # in those samples
# A user's words are read in lower case, and each with a space before it: it is the same token wherever it stands. What
# JSON would want escaped is read as its like.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['role'] == 'user' -%}"
    "{{ ' ' + (message['content'] | trim | lower "
    "| replace('\n', '\n ') | replace('\"', '\\'') | replace('\\\\', '/')) }}"
    "{%- else -%}{{ message['content'] }}{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
CONTEXT = 4096  # tokens


def build_tokenizer(folder: Path, seed: int = 0) -> PreTrainedTokenizerFast:
    """Learn the words from samples, and save it in a folder."""
    random = Random(f"words-{seed}")
    whole = sorted({*JOINTS, *ROLES, *system_pieces()}, key=lambda piece: (-len(piece), piece))
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("|".join([*map(_literal, whole), WORDS])), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    vocabulary, merges = _pieces(random)
    for word in [*_encoded(whole, splitter), *_frequent(splitter, random)]:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in (END, TURN, TURN_END)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END,
        extra_special_tokens=[TURN],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return fast


def _literal(piece: str) -> str:
    return re.escape(piece).replace("\\ ", " ").replace("\\\n", "\\n").replace('\\"', '"')


def _encoded(pieces: list[str], splitter: pre_tokenizers.PreTokenizer) -> list[str]:
    return [token for piece in pieces for token, _ in splitter.pre_tokenize_str(piece)]


def _pieces(random: Random) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes, and what unknown words are often made of."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=PIECES, initial_alphabet=sorted(alphabet), show_progress=False)
    known = [*FOREIGN_NOUNS, *FOREIGN_ADJECTIVES, *FOREIGN_VERBS]
    learner.train_from_iterator([f" {word}" for word in [*known, *(invented(random) for _ in range(4000))]], trainer)
    model: dict[str, object] = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]  # type: ignore[assignment]
    merges: list[list[str]] = model["merges"]  # type: ignore[assignment]
    return dict(sorted(vocabulary.items(), key=lambda item: item[1])), [(left, right) for left, right in merges]


def _frequent(splitter: pre_tokenizers.PreTokenizer, random: Random) -> list[str]:
    counts: Counter[str] = Counter()
    for _ in range(SAMPLES):
        sample = random_sample(random)
        user = f" {sample.user}".replace("\n", "\n ")
        counts.update(
            token for text in (sample.system, user, sample.answer) for token, _ in splitter.pre_tokenize_str(text)
        )
    numbers = [f"\u0120{number}" for number in range(MOST_SCENES + 1)]
    return [*numbers, *sorted(token for token, count in counts.items() if count >= OFTEN)]
