"""Weights written into a prompt: `(red hat)1.3`, `(red hat)++`, `hat++`, `hat--`, nested as one likes.

The syntax is Compel's, but Compel's own parser takes exponential time over nested brackets (over 20 s for
`((((((masterpiece))))))`, a habit of other tools) and drops brackets that mean nothing. So the weights are read here,
in linear time, and Compel applies them. What merely looks like syntax stays text: nothing a user writes is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

PLUS, MINUS = 1.1, 0.9  # what one sign multiplies by
HEAVIEST = 2.0  # beyond this, embeddings leave what the UNet has seen, and pictures break
ABSURD = 1000.0  # what a factor may be before products of factors leave the range of a float
MOST_WEIGHTS = 32  # each light fragment costs another pass through the text encoders
DEEPEST = 16

_TOKENS = re.compile(r"\\[()]|[()]|\s+|[^\s()\\]+|\\")
_GROUP_WEIGHT = re.compile(r"(?P<number>\d+(\.\d+)?|\.\d+)(?!\.?[0-9A-Za-z_])|(?P<signs>\++|-+)(?=[\s,.;:!?)\"']|$)")
_WEIGHTED_WORD = re.compile(r"(?P<word>.*?[^\W\d])(?P<signs>\++|-+)(?P<rest>[,.;:!?\"']*)")
# Weights and operators of Compel and of other tools that are not read here.
_UNREAD = re.compile(
    r":\s*\d*\.?\d+\s*[)\]]|\(\(|\[\[|(?-i:\bBREAK\b)|[)\"][-+]*\.?\d|\"[-+]|\.(and|blend|swap|attend)\(|<?lora[:(]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Fragment:
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class WeightedPrompt:
    """A prompt in fragments; `note` says what became of its weights, and is None where it holds none."""

    fragments: tuple[Fragment, ...]
    note: str | None = None

    @property
    def text(self) -> str:
        """The prompt without its weights."""
        return "".join(fragment.text for fragment in self.fragments)

    @property
    def is_plain(self) -> bool:
        return all(fragment.weight == 1.0 for fragment in self.fragments)


def read_weights(prompt: str) -> WeightedPrompt:
    """Split a prompt where the weight changes; without weights it is one fragment, letter for letter."""
    read, found = _read(prompt)
    fragments = tuple(_fused(read))
    if not found or not fragments:
        return WeightedPrompt((Fragment(prompt),), "ignored" if _UNREAD.search(prompt) else None)
    heaviest = max(fragment.weight for fragment in fragments)
    weighted = WeightedPrompt(tuple(Fragment(each.text, min(each.weight, HEAVIEST)) for each in fragments))
    if sum(fragment.weight != 1.0 for fragment in fragments) > MOST_WEIGHTS:
        return WeightedPrompt((Fragment(weighted.text),), "ignored")
    if _UNREAD.search(weighted.text):
        return replace(weighted, note="partly applied")
    return replace(weighted, note="bounded" if heaviest > HEAVIEST else "applied")


def _read(prompt: str) -> tuple[list[Fragment], bool]:
    """The pieces of a prompt, and whether any weight was found."""
    groups: list[list[Fragment]] = [[]]  # of the brackets that are open, the innermost last
    position, found = 0, False
    while token := _TOKENS.match(prompt, position):
        position = token.end()
        match token[0]:
            case "(" if len(groups) <= DEEPEST:
                groups.append([])
            case ")" if len(groups) > 1:
                inside = groups.pop()
                weight = _GROUP_WEIGHT.match(prompt, position)
                if weight is None:
                    groups[-1] += [Fragment("("), *inside, Fragment(")")]
                else:
                    position, found = weight.end(), True
                    groups[-1] += _weighed(inside, _factor(weight))
            case "\\(" | "\\)":
                groups[-1].append(Fragment(token[0][1]))
            case text if weighted := _WEIGHTED_WORD.fullmatch(text):
                found = True
                groups[-1] += [Fragment(weighted["word"], _signed(weighted["signs"])), Fragment(weighted["rest"])]
            case text:
                groups[-1].append(Fragment(text))
    first, *unclosed = groups
    for inside in unclosed:
        first += [Fragment("("), *inside]
    return first, found


def _weighed(inside: Iterable[Fragment], factor: float) -> list[Fragment]:
    """Words of their own: brackets never join two halves into a word that the content policy did not see."""
    return [Fragment(" "), *(Fragment(each.text, each.weight * factor) for each in inside), Fragment(" ")]


def _factor(weight: re.Match[str]) -> float:
    return _signed(weight["signs"]) if weight["signs"] else min(float(weight["number"]), ABSURD)


def _signed(signs: str) -> float:
    return min(float((PLUS if signs[0] == "+" else MINUS) ** min(len(signs), 100)), ABSURD)


def _fused(fragments: Sequence[Fragment]) -> Iterator[Fragment]:
    """Neighbours of one weight become one fragment; blanks have no weight of their own."""
    weight = next((fragment.weight for fragment in fragments if fragment.text.strip()), 1.0)
    weighed = []
    for fragment in fragments:
        weight = fragment.weight if fragment.text.strip() else weight
        weighed.append(Fragment(fragment.text, weight))
    for each, run in groupby(weighed, lambda fragment: fragment.weight):
        if text := "".join(fragment.text for fragment in run):
            yield Fragment(text, each)
