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
# A code block is the answer, whatever is said around it.
FENCE = re.compile(r"```[\w-]{0,20}[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_LINE_START = r"^[ \t*#]{0,8}"
_COLON = r"[ \t*]{0,4}[:\uff1a][ \t*]{0,4}"
# Not asked for, and as part of the prompt it would ask for what it names.
NEGATIVE = re.compile(_LINE_START + r"negative prompt" + _COLON + r".*\Z", re.IGNORECASE | re.MULTILINE | re.DOTALL)
# "English:" and "**Prompt (Chinese):**" before the languages of a bilingual answer, and the same in Chinese.
LABELS = re.compile(
    _LINE_START
    + r"(?:(?:prompt \()?(?:english|(?:simplified )?chinese)\)?(?: prompt| version)?"
    + r"|英文|中文|简体中文|[\u4e00-\u9fff]{0,8}提示词)"
    + _COLON,
    re.IGNORECASE | re.MULTILINE,
)
# A model that declines speaks of itself, which a prompt does not.
DECLINED = re.compile(
    r"(?:unfortunately,? )?(?:"
    r"(?:i['\u2019]m |i am )(?:very |so |really )?(?:sorry|unable|not able)\b|sorry,? (?:but )?i\b|as an ai\b"
    r"|i (?:can['\u2019]t|cannot|can not|won['\u2019]t|will not|must decline|apologi[sz]e)\b"
    r"|(?:很|非常)?抱歉|对不起|我无法|我不能)",
    re.IGNORECASE,
)
LEAST_KEPT = 0.5  # of the limit; less of an answer is no answer
INTRODUCTION_SPAN = 150  # characters in which an introduction may stand


def clean_answer(answer: str) -> str:
    """The prompt alone, on one line, without thoughts, marks, labels, introductions or control characters.

    Raises `AnswerUnusable` when nothing is left, or when the model declined.
    """
    prompt = " ".join(_unquoted(_without_introduction(_unquoted(_printable(answer)))).split())
    if not prompt:
        raise AnswerUnusable("the language model answered nothing that could be a prompt")
    if DECLINED.match(prompt):
        raise AnswerUnusable("the language model declined to rewrite the prompt")
    return prompt


def begun_answer(answer: str) -> str:
    """The whole sentences of an answer that is still being written, cleaned as far as one can tell by now."""
    ends = [match.end() for match in SENTENCE_ENDS.finditer(answer)]
    if not ends or ends[-1] < INTRODUCTION_SPAN:
        return ""
    prompt = _without_introduction(_printable(answer[: ends[-1]]))
    for opening, _ in QUOTES:
        prompt = prompt.removeprefix(opening)
    return "" if DECLINED.match(prompt.strip()) else " ".join(prompt.split())


def shortened(prompt: str, max_characters: int) -> str:
    """A prompt within the limit: cut after a sentence, or else after a phrase.

    Raises `AnswerUnusable` when that would leave less than half of what is allowed.
    """
    if len(prompt) <= max_characters:
        return prompt
    if kept := _whole_phrases(prompt, max_characters):
        return kept
    raise AnswerUnusable(
        f"the rewritten prompt has {len(prompt)} characters where at most {max_characters} were asked for"
    )


def without_loose_end(prompt: str) -> str:
    """A prompt that broke off, up to its last sentence or phrase, unless that would leave less than half of it."""
    return _whole_phrases(prompt, len(prompt)) or prompt


def _whole_phrases(prompt: str, max_characters: int) -> str:
    for ends in (SENTENCE_ENDS, PHRASE_ENDS):
        cuts = [match.end() for match in ends.finditer(prompt) if match.end() <= max_characters]
        if cuts and cuts[-1] >= max_characters * LEAST_KEPT:
            return prompt[: cuts[-1]].rstrip(",;\uff0c\uff1b ")
    return ""


def without_thoughts(answer: str) -> str:
    return THOUGHTS.sub("", answer, count=1)


def _printable(answer: str) -> str:
    answer = without_thoughts(answer)
    if block := FENCE.search(answer):
        answer = block[1]
    answer = LABELS.sub("", NEGATIVE.sub("", answer, count=1))
    return "".join(letter if letter.isprintable() and letter != "\ufffd" else " " for letter in answer)


def _without_introduction(prompt: str) -> str:
    return INTRODUCTION.sub("", prompt.strip(), count=1)


def _unquoted(text: str) -> str:
    text = text.strip().strip("*").strip()
    for opening, closing in QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text
