"""What OpenAI-compatible servers say, in the dialects of vLLM, SGLang and llama.cpp."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.errors import AnswerUnusable, EnhancementFailed, ModelUnavailable

_DONE = "[DONE]"
_PLAIN_WORDS = re.compile(r"[\w .-]{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer, empty for news without words; `finished` says that the model has ended.

    `cut_off` says that it ended because it came to its limit of tokens.
    """

    text: str = ""
    finished: bool = False
    cut_off: bool = False


def delta_of(line: str) -> Delta | None:
    """One line of an event stream, None for the last one. Raises `AnswerUnusable` for errors in its midst.

    Comments keep connections alive, usage comes with empty choices, and llama.cpp once wrote `error:` for `data:`.
    """
    field, _, value = line.partition(":")
    value = value.removeprefix(" ")
    if field not in ("data", "error"):
        return Delta()
    if value.strip() == _DONE:
        return None
    document = _document(value)
    if field == "error" or "error" in document:
        raise AnswerUnusable(f"the language model's server broke the answer off ({_reason(document)})")
    return _choice(document, "delta")


def whole_answer(body: bytes) -> Delta:
    """An answer that came at once, because the server does not stream."""
    document = _document(body)
    if document.get("error"):
        raise AnswerUnusable(f"the language model's server did not answer ({_reason(document)})")
    return _choice(document, "message")


def refusal(status: int, body: bytes) -> EnhancementFailed:
    """What an answer other than 200 means. The server's own words may repeat the prompt and are left out."""
    try:
        reason = _reason(_document(body))
    except AnswerUnusable:
        reason = "no reason given"
    said = f"the language model's server answered HTTP {status} ({reason})"
    if status in (401, 403):
        return EnhancementFailed(f"{said}: check OURVIDZ_LANGUAGE_MODEL_KEY")
    if status == 404 or 300 <= status < 400:
        return EnhancementFailed(
            f"{said}: check OURVIDZ_LANGUAGE_MODEL_URL, which usually ends in /v1, and OURVIDZ_LANGUAGE_MODEL_NAME"
        )
    if status == 429 or status >= 500:
        return ModelUnavailable(said)
    return EnhancementFailed(said)


def _choice(document: dict[str, Any], part: str) -> Delta:
    match document.get("choices"):
        case []:
            return Delta()
        case [{"finish_reason": "content_filter"}, *_]:
            raise AnswerUnusable("the language model's server filtered the answer")
        case [dict(choice), *_]:
            said = choice.get(part)
            text = said.get("content") if isinstance(said, dict) else None
            reason = choice.get("finish_reason")
            return Delta(text if isinstance(text, str) else "", finished=reason is not None, cut_off=reason == "length")
        case _:
            raise AnswerUnusable("the language model's server sent what is no chat completion")


def _document(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AnswerUnusable("the language model's server sent what is no JSON object")
    return document


def _reason(document: dict[str, Any]) -> str:
    """The kind of an error in plain words; its message may repeat the prompt."""
    error = document.get("error", document)
    kinds = [error.get(name) for name in ("type", "code")] if isinstance(error, dict) else []
    words = [str(kind) for kind in kinds if isinstance(kind, str | int) and _PLAIN_WORDS.fullmatch(str(kind))]
    return " ".join(words) or "no reason given"
