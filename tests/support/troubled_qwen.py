"""A real language worker whose test card takes its time: `python -m tests.support.troubled_qwen qwen`.

Each answer takes `ANSWER_SECONDS`, and says so on standard error when it begins and when it was stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from unittest.mock import patch

import structlog

from ourvidz_worker.cli.main import main
from ourvidz_worker.engines.language import testcard
from ourvidz_worker.errors import AnswerTooLate
from ourvidz_worker.ports import Message


class SlowLanguageModel(testcard.TestCardLanguageModel):
    async def answer(
        self, messages: Sequence[Message], *, time_limit: float, **options: Any
    ) -> AsyncGenerator[str, None]:
        log = structlog.get_logger()
        log.info("answer_begun")
        try:
            async with asyncio.timeout(time_limit):
                await asyncio.sleep(float(os.environ["ANSWER_SECONDS"]))
        except TimeoutError:
            raise AnswerTooLate(f"{self.model_name} did not answer within {time_limit:g} s") from None
        except asyncio.CancelledError:
            log.info("answer_stopped")
            raise
        async for piece in super().answer(messages, time_limit=time_limit, **options):
            yield piece


if __name__ == "__main__":
    with patch.object(testcard, "TestCardLanguageModel", SlowLanguageModel):
        sys.exit(main())
