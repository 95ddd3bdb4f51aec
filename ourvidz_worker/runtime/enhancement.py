"""Rewriting the prompt of an enhanced job: a time limit, two tries, then the original prompt, said in the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import ContentRefused, EnhancementFailed, Restart
from ourvidz_worker.ports import PromptEnhancer

TRIES = 2


@dataclass(frozen=True, slots=True)
class EnhancedPrompt:
    """The prompt to generate with; `problem` says why it is still the original one."""

    prompt: str
    enhanced: bool
    seconds: float
    problem: str | None = None


async def enhance_prompt(
    job: Job, enhancer: PromptEnhancer, *, check: Callable[[str], None], seed: int, limit_seconds: float
) -> EnhancedPrompt:
    """Rewrite within `limit_seconds` for both tries together (contract section 3).

    The rewriter is a model too: what it wrote must pass `check`, which raises `ContentRefused`. Raises `Restart`
    when the process cannot go on; whatever else happens, there is a prompt to generate with.
    """
    begun = time.monotonic()
    problem = "no time was left"
    for attempt in range(TRIES):
        left = limit_seconds - (time.monotonic() - begun)
        if left <= 0:
            break
        try:
            text = await enhancer.enhance(job.prompt, job.type, seed=seed + attempt, time_limit=left)
            check(text)
            return EnhancedPrompt(text, enhanced=True, seconds=time.monotonic() - begun)
        except (EnhancementFailed, ContentRefused) as error:
            problem = str(error)
            structlog.get_logger().warning("enhancement_failed", attempt=attempt + 1, problem=problem)
        except Restart:
            raise
        except Exception:  # noqa: BLE001 - a bug in the rewriter costs the rewriting, not the job
            problem = "the prompt could not be rewritten because of an internal error"
            structlog.get_logger().exception("enhancement_failed", attempt=attempt + 1)
    return EnhancedPrompt(job.prompt, enhanced=False, seconds=time.monotonic() - begun, problem=problem)
