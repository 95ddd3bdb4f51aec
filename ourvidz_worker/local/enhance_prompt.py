"""The product's `enhance-prompt`: rewritten by the language worker, or openly by a template.

Where a template did it, `fallback_level` is above 0, as in the product's own answers.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ourvidz_worker.contract.catalogue import Catalogue, JobType
from ourvidz_worker.errors import ContentRefused, EnhancementFailed
from ourvidz_worker.local.answers import Answer, refused
from ourvidz_worker.local.prompts import expand

Enhance = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks the language worker: what `POST /enhance` takes, and what it answers.

Raises `ContentRefused`, or `EnhancementFailed` when there is no answer.
"""

CHARACTERS_PER_TOKEN = 4.2  # the product's own estimate
TEMPLATE_LEVEL = 2  # the product's number for what no model wrote
_EXPLICIT = re.compile(r"\b(nude|naked|topless|explicit|erotic|sexual|sensual|lingerie)\b", re.IGNORECASE)


async def enhance_prompt(body: Mapping[str, Any], enhance: Enhance | None, catalogue: Catalogue) -> Answer:
    """400 for a prompt that is none or is refused, and for an unknown type."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        return refused(400, "Prompt is required and must be a string")
    name = body.get("jobType") or body.get("job_type") or f"{body.get('format') or 'image'}_high"
    if not isinstance(name, str) or name not in catalogue:
        return refused(400, f"Invalid job type: {name}", validJobTypes=list(catalogue))
    job_type = catalogue[name]
    asked = {
        "job_type": name,
        "format": body.get("format") or job_type.media,
        "quality": body.get("quality") or job_type.quality,
    }
    begun = time.monotonic()
    try:
        written = await _rewritten(prompt, job_type, enhance, again=body.get("regeneration") is True)
    except ContentRefused as error:
        return refused(400, str(error), error_type=error.error_type)
    milliseconds = round((time.monotonic() - begun) * 1000)
    guessed = "nsfw" if _EXPLICIT.search(prompt) else "sfw"
    mode = body.get("contentType") or written.get("enhancement_metadata", {}).get("content_mode") or guessed
    counted = {**_counted(prompt, str(written["enhanced_prompt"])), "execution_time_ms": milliseconds}
    return Answer(
        200,
        {
            "success": True,
            "original_prompt": prompt,
            "enhanced_prompt": written["enhanced_prompt"],
            "enhancement_strategy": written.get("enhancement_strategy"),
            "enhancement_metadata": {
                **counted,
                **written.get("enhancement_metadata", {}),
                **asked,
                "content_mode": mode,
            },
            "method": written["method"],
        },
    )


async def _rewritten(prompt: str, job_type: JobType, enhance: Enhance | None, *, again: bool) -> Mapping[str, Any]:
    """`again` asks for other words than those that were kept."""
    reason = "no language worker is known here"
    if enhance is not None:
        question = {"prompt": prompt, "job_type": job_type.name, "regeneration": again}
        try:
            return {**await enhance(question), "method": "model"}
        except EnhancementFailed as error:
            reason = str(error)
    return _by_template(prompt, job_type, reason)


def _by_template(prompt: str, job_type: JobType, reason: str) -> Mapping[str, Any]:
    template = f"local_template_{job_type.media}"
    return {
        "method": "template",
        "enhanced_prompt": expand(prompt, job_type),
        "enhancement_strategy": template,
        "enhancement_metadata": {
            "template_name": template,
            "model_used": "none",
            "fallback_level": TEMPLATE_LEVEL,
            "fallback_reason": reason,
        },
    }


def _counted(prompt: str, enhanced: str) -> dict[str, Any]:
    """What can be said without having written it."""
    return {
        "original_length": len(prompt),
        "enhanced_length": len(enhanced),
        "expansion_percentage": f"{len(enhanced) / len(prompt) * 100:.1f}",
        "token_count": math.ceil(len(enhanced) / CHARACTERS_PER_TOKEN),
        "compression_applied": False,
        "fallback_level": 0,
        "cache_hit": False,
    }
