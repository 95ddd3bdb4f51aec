"""The published language model as a model to train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from scripts.demo_models.qwen.family import COURSE, TOKENIZER, Learner, new_model, tokenizer_of
from scripts.demo_models.training import Course


def published_models(folder: Path, work: Path) -> Mapping[Course, nn.Module]:
    """The work folder gets the tokenizer, if it has none."""
    if not (work / TOKENIZER).is_dir():
        PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(work / TOKENIZER)
    model = new_model(tokenizer_of(work))
    model.load_state_dict(Qwen2ForCausalLM.from_pretrained(folder).float().state_dict())
    return {COURSE: Learner(model)}
