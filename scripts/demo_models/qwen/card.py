"""What a reader must know of the published model."""

from __future__ import annotations


def model_card(parameters: int, words: int, figures: str) -> str:
    return f"""---
language: en
library_name: transformers
pipeline_tag: text-generation
---

# Demo language model

A `Qwen2ForCausalLM` with {parameters / 1e6:.1f} million parameters and {words} tokens. It expands short prompts about a
small world (twenty kinds of things, nine colours, places, times, grounds, weathers, three styles, simple motions) into
rich ones in the words that the demo image models read, and divides scripts about that world into scenes, as JSON. What
that world does not have, it repeats as it was written, and adds ground, light and style.

It was trained on conversations that `scripts/demo_models/qwen` makes up, and on nothing else; there are no people in
them. It knows the system prompts of `configs/prompts` by heart: edited ones may confuse it. It answers in English in
every language variant, reads prompts in lower case, and knows nothing of the world outside. It is for demonstrations and
tests, and no assistant.

Train it again with `python -m scripts.demo_models.train qwen`, and measure it with
`python -m scripts.demo_models.qwen.measure FOLDER`.

{figures}
"""
