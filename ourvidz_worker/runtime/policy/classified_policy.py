"""The content policy with an operator's picture classifier on top."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from ourvidz_worker.errors import ContentRefused, PicturesUnchecked
from ourvidz_worker.ports import ContentPolicy, PictureClassifier

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

MOST_PICTURES = 16  # of a clip: a frame or more a second for what the product draws


class ClassifiedPolicy:
    """Adds to a policy and replaces nothing of it; a classifier that fails refuses."""

    def __init__(self, policy: ContentPolicy, classifier: PictureClassifier) -> None:
        self._policy = policy
        self._classifier = classifier
        self._one_at_a_time = threading.Lock()

    def check(self, prompt: str, *, adult_capable: bool) -> None:
        self._policy.check(prompt, adult_capable=adult_capable)

    def check_negative(self, negative_prompt: str, *, prompt: str, adult_capable: bool) -> None:
        self._policy.check_negative(negative_prompt, prompt=prompt, adult_capable=adult_capable)

    def is_sexual(self, text: str) -> bool:
        return self._policy.is_sexual(text)

    def check_pictures(self, pictures: Pixels, *, adult_capable: bool) -> None:
        """Of more than `MOST_PICTURES` pictures, as many evenly spaced ones with the first and the last."""
        self._policy.check_pictures(pictures, adult_capable=adult_capable)
        try:
            with self._one_at_a_time:
                allowed = self._classifier(pictures[_spread(len(pictures))], adult_capable=adult_capable)
        except Exception as error:
            structlog.get_logger().exception("picture_classifier_failed")
            raise PicturesUnchecked("the pictures could not be checked by the content policy; try again") from error
        if allowed is not True:
            raise ContentRefused("the content policy refuses a picture of this job; submit one of something else")


def _spread(count: int) -> list[int]:
    last = min(count, MOST_PICTURES) - 1
    return [index * (count - 1) // max(last, 1) for index in range(last + 1)]
