"""What a language model says, made fit to be a prompt."""

from __future__ import annotations

import re

from ourvidz_worker.errors import EnhancementFailed

# "Enhanced prompt:", "Sure! Here is the rewritten prompt for SDXL:", "**Prompt:**" and the like.
INTRODUCTION = re.compile(
    r"^[*#\s]*(?:(?:sure|certainly|of course)\b[^:]{0,20})?"
    r"(?:here(?:['\u2019]s| is)\b[^:]{0,40}\b(?:prompt|version|description)\b[^:]{0,30}"
    r"|(?:the |your )?(?:enhanced |rewritten |improved |revised |final |expanded )?(?:prompt|answer)[*\s]*):[*\s]*",
    re.IGNORECASE,
)
QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("`", "`"))


def clean_answer(answer: str, max_characters: int) -> str:
    """The prompt alone, on one line, without quotation marks, introductions or control characters.

    Raises `EnhancementFailed` when nothing is left or it is longer than `max_characters`.
    """
    printable = "".join(letter if letter.isprintable() and letter != "\ufffd" else " " for letter in answer)
    prompt = _unquoted(INTRODUCTION.sub("", _unquoted(printable), count=1))
    prompt = " ".join(prompt.split())
    if not prompt:
        raise EnhancementFailed("the language model answered nothing that could be a prompt")
    if len(prompt) > max_characters:
        raise EnhancementFailed(
            f"the rewritten prompt has {len(prompt)} characters where at most {max_characters} were asked for"
        )
    return prompt


def _unquoted(text: str) -> str:
    text = text.strip().strip("*").strip()
    for opening, closing in QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text
