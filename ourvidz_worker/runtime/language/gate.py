"""The content policy on both sides of the language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import AnswerRefused, ContentRefused
from ourvidz_worker.ports import ContentPolicy

ContentMode = Literal["sfw", "nsfw"]
"""The product's words for whether a prompt is for adults."""


class Gate:
    """`adult_capable` says of a job type whether its checkpoint is, which the policy asks more of."""

    def __init__(self, policy: ContentPolicy, adult_capable: Callable[[JobType], bool]) -> None:
        self._policy = policy
        self._adult_capable = adult_capable

    def check_request(self, text: str, job_type: JobType) -> None:
        """Raises `ContentRefused` for what a user wrote."""
        self._policy.check(text, adult_capable=self._adult_capable(job_type))

    def content_mode(self, text: str) -> ContentMode:
        return "nsfw" if self._policy.is_sexual(text) else "sfw"

    def check_answer(self, text: str, job_type: JobType) -> None:
        """Raises `AnswerRefused` for what the model wrote."""
        try:
            self.check_request(text, job_type)
        except ContentRefused as error:
            raise AnswerRefused(
                "the content policy refuses what the language model wrote; word it otherwise"
            ) from error
