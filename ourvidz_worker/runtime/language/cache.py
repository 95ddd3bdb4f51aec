"""Rewritten prompts that were accepted, the latest used ones, by what they were made from."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ourvidz_worker.runtime.language.enhanced import Enhanced


@dataclass(frozen=True, slots=True)
class Question:
    """What decides over an answer but for chance; the version stands for the template's text in its language."""

    template: str
    template_version: str
    model: str
    prompt: str


class AnswerCache:
    """At most `entries` answers; the one that was not asked for the longest time leaves first."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._answers: OrderedDict[Question, Enhanced] = OrderedDict()

    def find(self, question: Question) -> Enhanced | None:
        answer = self._answers.get(question)
        if answer is not None:
            self._answers.move_to_end(question)
        return answer

    def keep(self, question: Question, answer: Enhanced) -> None:
        self._answers[question] = answer
        self._answers.move_to_end(question)
        while len(self._answers) > self._entries:
            self._answers.popitem(last=False)
