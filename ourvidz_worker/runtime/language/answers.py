"""What a language model says, made fit to be a prompt."""

from __future__ import annotations

import re

from ourvidz_worker.errors import AnswerUnusable

# "Enhanced prompt:", "Sure! Here is the rewritten prompt for SDXL:", "**Prompt:**" and the like.
INTRODUCTION = re.compile(
    r"^[*#\s]*(?:(?:sure|certainly|of course)\b[^:]{0,20})?"
    r"(?:here(?:['\u2019]s| is)\b[^:]{0,40}\b(?:prompt|version|description)\b[^:]{0,30}"
    r"|(?:the |your )?(?:enhanced |rewritten |improved |revised |final |expanded )?(?:prompt|answer)[*\s]*):[*\s]*",
    re.IGNORECASE,
)
QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("`", "`"))
# Some models think aloud first; a chat template may hold the opening mark.
THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)|\A.*</think>", re.DOTALL)
SENTENCE_ENDS = re.compile(r"[.!?](?=\s|$)|[\u3002\uff01\uff1f]")
PHRASE_ENDS = re.compile(r"[,;](?=\s)|[\uff0c\uff1b]")
LEAST_KEPT = 0.5  # of the limit; less of an answer is no answer
INTRODUCTION_SPAN = 150  # characters in which an introduction may stand


def clean_answer(answer: str) -> str:
    """The prompt alone, on one line, without thoughts, quotation marks, introductions or control characters.

    Raises `AnswerUnusable` when nothing is left.
    """
    prompt = " ".join(_unquoted(_without_introduction(_unquoted(_printable(answer)))).split())
    if not prompt:
        raise AnswerUnusable("the language model answered nothing that could be a prompt")
    return prompt


def begun_answer(answer: str) -> str:
    """The whole sentences of an answer that is still being written, cleaned as far as one can tell by now."""
    ends = [match.end() for match in SENTENCE_ENDS.finditer(answer)]
    if not ends or ends[-1] < INTRODUCTION_SPAN:
        return ""
    prompt = _without_introduction(_printable(answer[: ends[-1]]))
    for opening, _ in QUOTES:
        prompt = prompt.removeprefix(opening)
    return " ".join(prompt.split())


def shortened(prompt: str, max_characters: int) -> str:
    """A prompt within the limit: cut after a sentence, or else after a phrase.

    Raises `AnswerUnusable` when that would leave less than half of what is allowed.
    """
    if len(prompt) <= max_characters:
        return prompt
    for ends in (SENTENCE_ENDS, PHRASE_ENDS):
        cuts = [match.end() for match in ends.finditer(prompt) if match.end() <= max_characters]
        if cuts and cuts[-1] >= max_characters * LEAST_KEPT:
            return prompt[: cuts[-1]].rstrip(",;\uff0c\uff1b ")
    raise AnswerUnusable(
        f"the rewritten prompt has {len(prompt)} characters where at most {max_characters} were asked for"
    )


def without_thoughts(answer: str) -> str:
    return THOUGHTS.sub("", answer, count=1)


def _printable(answer: str) -> str:
    answer = without_thoughts(answer)
    return "".join(letter if letter.isprintable() and letter != "\ufffd" else " " for letter in answer)


def _without_introduction(prompt: str) -> str:
    return INTRODUCTION.sub("", prompt.strip(), count=1)


def _unquoted(text: str) -> str:
    text = text.strip().strip("*").strip()
    for opening, closing in QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text
