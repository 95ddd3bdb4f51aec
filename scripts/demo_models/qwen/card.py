"""What a reader must know of the published model."""

from __future__ import annotations

from collections.abc import Mapping

Figures = Mapping[str, Mapping[str, float]]


def model_card(parameters: int, words: int, figures: Figures) -> str:
    """`figures` are those of `measure.py`, by system prompt."""
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
them. It knows the system prompts of `configs/prompts` by heart, and edited ones may confuse it. It answers in English
in every language variant and reads prompts in lower case. It is for demonstrations and tests, and no assistant.

Train it again with `python -m scripts.demo_models.train qwen`, and measure it with
`python -m scripts.demo_models.qwen.measure FOLDER`.

{_table(figures)}"""


def _table(figures: Figures) -> str:
    if not figures:
        return ""
    kinds = sorted({what for shares in figures.values() for what in shares})
    rows = [
        f"| {what} | {' | '.join(_cell(shares.get(what), what) for shares in figures.values())} |" for what in kinds
    ]
    head = [f"| | {' | '.join(figures)} |", f"| --- |{' --- |' * len(figures)}"]
    return "Held-out wishes, sampled at temperature 0.7: the share of what should hold.\n\n" + "\n".join(
        [*head, *rows, ""]
    )


def _cell(share: float | None, what: str) -> str:
    if share is None:
        return ""
    return f"{share:.2f} s" if "seconds" in what and "script" not in what else f"{share:.1%}"
