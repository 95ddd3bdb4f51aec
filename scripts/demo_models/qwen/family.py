"""The demo language model: trained on conversations that are made up step by step, and published as a Qwen 2 folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from scripts.demo_models import crew, training
from scripts.demo_models.published import note_steps
from scripts.demo_models.qwen.card import model_card
from scripts.demo_models.qwen.samples import FOREIGN_SHARE, STORYBOARD, WRITERS, Sample, random_sample
from scripts.demo_models.qwen.tokens import CONTEXT, TURN_END, build_tokenizer

COURSE = training.Course("qwen", steps=3500, learning_rate=3e-3, muon=True)
PROMPTS = 16  # conversations in a step
STORYBOARDS = 4
STORYBOARD_SHARE = 0.3  # of the steps
# To find the words of the question again is what such a model learns last, and all else rests on it. Unknown words that
# stand there one by one cannot be guessed, so they teach it first.
ECHOES = 800  # steps
ECHO_SHARE = 0.7  # of the prompts in these
IGNORED = -100
TOKENIZER = "tokenizer"
FIGURES = "measured.json"


def train(work: Path, until: float) -> bool:
    """Whether the model is done at `until`, a time of `time.monotonic`."""
    tokenizer = tokenizer_of(work)
    model = new_model(tokenizer)
    return training.train(
        COURSE,
        Learner(model),
        lambda step, random: _losses(step, random, model, tokenizer),
        work,
        until=until,
    )


def publish(work: Path, folder: Path) -> None:
    """What is learned by now: a folder as transformers reads it, with weights of 16 bits and a model card.

    The card tells what `measure.py` has written into the folder `work`, if it has.
    """
    tokenizer = tokenizer_of(work)
    model = new_model(tokenizer)
    if not training.take_learned(work, COURSE, Learner(model)):
        raise FileNotFoundError(f"nothing is learned in {work} yet; train first")
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    tokenizer.init_kwargs["local_files_only"] = False  # else it tells whether this process is offline
    tokenizer.save_pretrained(folder)
    measured = work / FIGURES
    figures = json.loads(measured.read_text(encoding="utf-8")) if measured.is_file() else {}
    parameters = sum(weight.numel() for weight in model.parameters())
    note_steps([COURSE], work, folder)
    (folder / "README.md").write_text(model_card(parameters, len(tokenizer), figures), encoding="utf-8")


class Learner(nn.Module):
    """The model, its output being its embeddings: they are learned once."""

    def __init__(self, model: Qwen2ForCausalLM) -> None:
        super().__init__()
        self.inner = model.model


def tokenizer_of(work: Path) -> PreTrainedTokenizerFast:
    folder = work / TOKENIZER
    crew.leader_makes(folder / "tokenizer.json", lambda: build_tokenizer(folder))
    return PreTrainedTokenizerFast.from_pretrained(folder)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    torch.manual_seed(COURSE.seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=320,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    return model


def _losses(step: int, random: Random, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> training.Losses:
    """Of the answers alone."""
    first = step < ECHOES
    if random.random() < (0.5 * STORYBOARD_SHARE if first else STORYBOARD_SHARE):
        name, samples = STORYBOARD, [random_sample(random, STORYBOARD) for _ in range(STORYBOARDS)]
    else:
        name = random.choice(list(WRITERS))
        samples = [random_sample(random, name, ECHO_SHARE if first else FOREIGN_SHARE) for _ in range(PROMPTS)]
    tokens, wanted = batch(samples, tokenizer)
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    asked = wanted != IGNORED
    return {name: cross_entropy(model.lm_head(hidden[asked]), wanted[asked])}


def batch(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Tokens, and at each place the token that must come next, where that is part of an answer."""
    rows: list[tuple[list[int], int]] = []
    for sample in samples:
        messages = [{"role": "system", "content": sample.system}, {"role": "user", "content": sample.user}]
        asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        rows.append(([*asked, *tokenizer(sample.answer + TURN_END)["input_ids"]], len(asked)))
    longest = max(len(row) for row, _ in rows)
    tokens = torch.full((len(rows), longest), tokenizer.pad_token_id)
    wanted = torch.full((len(rows), longest), IGNORED)
    for place, (row, asked) in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
        wanted[place, asked - 1 : len(row) - 1] = torch.tensor(row[asked:])
    return tokens, wanted
