"""The test card's language model: an openly named engine that repeats what it was asked, without any model."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence

from ourvidz_worker.ports import Message

STYLE = "test card wording, natural light, fine detail"
SENTENCE = re.compile(r"[^.!?]+[.!?]*")


class TestCardLanguageModel:
    """A prompt comes back with a fixed style; where JSON is asked for, each sentence of a script becomes a scene."""

    __test__ = False  # pytest takes a name that begins with Test for a test class

    model_name = "testcard"

    async def load(self) -> None:
        """Nothing to load."""

    async def answer(
        self,
        messages: Sequence[Message],
        *,
        seed: int,  # noqa: ARG002 - the port's
        max_new_tokens: int,  # noqa: ARG002
        temperature: float,  # noqa: ARG002
        top_p: float,  # noqa: ARG002
        time_limit: float,  # noqa: ARG002
    ) -> AsyncGenerator[str, None]:
        task, asked = messages[0]["content"], messages[1]["content"]
        yield _scenes(asked, task) if "JSON" in task else f"{asked}, {STYLE}"

    async def close(self) -> None:
        """Nothing to free."""


def _scenes(script: str, task: str) -> str:
    """As many scenes as the task names exactly, or one for each sentence."""
    sentences = [sentence.strip() for sentence in SENTENCE.findall(script)][:12] or [script]
    exactly = re.search(r"exactly (\d+)", task)
    count = int(exactly[1]) if exactly else len(sentences)
    scenes = [
        {
            "title": f"Scene {number + 1}",
            "prompt": f"{sentences[number % len(sentences)]} {STYLE}.",
            "duration": 5,
            "camera": "Fixed camera.",
            "continuity": "",
        }
        for number in range(count)
    ]
    return json.dumps({"scenes": scenes}, ensure_ascii=False)
