"""Notations that can stand between the letters of a word: escapes of the web, weights and tags of prompt languages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

_NESTED = 3  # an escape inside an escape inside an escape
_CODE = re.compile(
    r"\\u\{([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\x([0-9a-f]{2})|U\+([0-9a-f]{4,6})\s?", re.IGNORECASE
)
_LAST_CODE = 0x10FFFF
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_TAG = re.compile(r"</?[a-zA-Z!][^<>]{0,200}>")  # <b>, <lora:name:0.8>
_WEIGHT = re.compile(
    r"""(?<=[)\]"'])\s?:?[-+]?\d*\.?\d+  # (word)1.2
    | :\s?[-+]?\d*\.?\d+\s?(?=[)\]])     # (word:1.2)
    | (?<=\w)(?:\++|--+)(?=[\w)])       # wo++rd
    """,
    re.VERBOSE,
)
_LIKE_C = re.compile("\\u03f2|\\u03c2(?=\\w)|(?<=[A-Za-z])\\u03c2")  # sigmas; Greek has the final one before no letter
_TURNED = str.maketrans(
    "\u0250q\u0254p\u01dd\u025f\u0183\u0265\u1d09\u027e\u029el\u026fuodb\u0279s\u0287n\u028c\u028dx\u028ez\u0131\u05df\u0285\u017f\u2200",
    "abcdefghijklmnopqrstuvwxyzillja",
)
_ONLY_TURNED = re.compile("[\u0250\u0254\u01dd\u025f\u0183\u0265\u029e\u1d09\u027e\u026f\u0279\u0287\u028d\u028e]")
_CAPITAL_I = re.compile("(?<=[a-z])I(?=[a-z])|\\bI(?=[a-z]{2})")  # drawn like a small l
_MARKS = re.compile(r"[()\[\]{}\\\"`*|]")


def versions(text: str) -> Iterator[str]:
    """The text, what its escapes stand for, and the same without markup, as far as they differ.

    Where there are turned letters, the text upright as well, and where a capital I or a final sigma stands in a word,
    the text with l or c.
    """
    yield text
    if _CAPITAL_I.search(text):
        yield _CAPITAL_I.sub("l", text)
    if not text.isascii() and _LIKE_C.search(text):
        yield _LIKE_C.sub("c", text)
    if _ONLY_TURNED.search(text):
        yield text.lower().translate(_TURNED)[::-1]
    decoded = _decoded(text)
    if decoded != text:
        yield decoded
    unmarked = _MARKS.sub("", _WEIGHT.sub("", _TAG.sub("", decoded)))
    if unmarked != decoded:
        yield unmarked


def _decoded(text: str) -> str:
    for _ in range(_NESTED):
        before = text
        text = html.unescape(text) if "&" in text else text
        text = _PERCENT.sub(lambda found: unquote(found.group()), text) if "%" in text else text
        text = _CODE.sub(_character, text) if "\\" in text or "+" in text else text
        if text == before:
            break
    return text


def _character(found: re.Match[str]) -> str:
    code = int(next(filter(None, found.groups())), 16)
    return chr(code) if code <= _LAST_CODE else found.group()
