"""What the language worker answers: rewritten prompts as the product's `enhance-prompt` tells them, and scenes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ourvidz_worker.enhancer.bodies import EnhanceRequest
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.runtime.language.enhanced import Enhanced, estimated_tokens
from ourvidz_worker.runtime.language.gate import ContentMode
from ourvidz_worker.runtime.language.storyboard import Storyboard

ORIGINAL = "original_prompt"
NO_FALLBACK, LAST_FALLBACK = 0, 3  # the product's numbers: 3 is the prompt as it came


def enhanced_answer(request: EnhanceRequest, enhanced: Enhanced, mode: ContentMode) -> dict[str, Any]:
    return _answer(
        request,
        enhanced.enhanced,
        mode,
        strategy=enhanced.template,
        metadata={
            "template_name": enhanced.template,
            "template_version": enhanced.template_version,
            "language": enhanced.language,
            "model_used": enhanced.model,
            "seed": enhanced.seed,
            "token_count": enhanced.token_count,
            "compression_applied": enhanced.compressed,
            "fallback_level": NO_FALLBACK,
            "attempts": enhanced.attempts,
            "execution_time_ms": round(enhanced.seconds * 1000),
            "cache_hit": enhanced.cache_hit,
        },
    )


def original_answer(request: EnhanceRequest, problem: WorkerError, seconds: float, mode: ContentMode) -> dict[str, Any]:
    """The prompt as it came, and why; the content policy has passed it."""
    return _answer(
        request,
        request.prompt,
        mode,
        strategy=ORIGINAL,
        metadata={
            "template_name": "none",
            "model_used": "none",
            "token_count": estimated_tokens(request.prompt),
            "compression_applied": False,
            "fallback_level": LAST_FALLBACK,
            "problem": str(problem),
            "execution_time_ms": round(seconds * 1000),
            "cache_hit": False,
        },
    )


def storyboard_answer(storyboard: Storyboard) -> dict[str, Any]:
    return {
        "success": True,
        "job_type": storyboard.job_type.name,
        "scenes": [asdict(scene) for scene in storyboard.scenes],
        "jobs": storyboard.jobs(),
        "storyboard_metadata": {
            "scene_count": len(storyboard.scenes),
            "total_seconds": round(sum(scene.duration for scene in storyboard.scenes), 3),
            "template_name": storyboard.template,
            "template_version": storyboard.template_version,
            "language": storyboard.language,
            "model_used": storyboard.model,
            "seed": storyboard.seed,
            "attempts": storyboard.attempts,
            "execution_time_ms": round(storyboard.seconds * 1000),
        },
    }


def _answer(
    request: EnhanceRequest, enhanced: str, mode: ContentMode, *, strategy: str, metadata: dict[str, Any]
) -> dict[str, Any]:
    original = request.prompt
    return {
        "success": True,
        "original_prompt": original,
        "enhanced_prompt": enhanced,
        "enhancement_strategy": strategy,
        "enhancement_metadata": {
            "original_length": len(original),
            "enhanced_length": len(enhanced),
            "expansion_percentage": f"{len(enhanced) / len(original) * 100:.1f}",
            "job_type": request.job_type.name,
            "format": request.format,
            "quality": request.quality,
            "content_mode": mode,
            **metadata,
        },
    }
