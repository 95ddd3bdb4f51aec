"""What the product asks to know about a result or a failure (contract section 5, `metadata`)."""

from __future__ import annotations

from typing import Any

from ourvidz_worker import __version__
from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory
from ourvidz_worker.runtime.enhancement import EnhancedPrompt


def job_metadata(job: Job) -> dict[str, Any]:
    """What is known before anything was drawn."""
    return {
        "model_type": job.type.model_type,
        "worker_version": __version__,
        "attempt": job.attempt,
    }


def result_metadata(
    request: GenerationRequest,
    generation: Generation,
    *,
    model_name: str,
    generation_seconds: float,
    memory: GpuMemory | None,
    enhancement: EnhancedPrompt | None,
    sharers: int = 1,
) -> dict[str, Any]:
    """Seconds as `*_time`, memory in GB or null without a card.

    `performance_ratio` is generation time over expected time: below 1 is faster than the catalogue expects. Where one
    batch was for several jobs, `shared_batch` says how many, and the time is that of the whole batch.
    """
    job = request.job
    seeds = job.seeds(request.seed)
    metadata = job_metadata(job) | {
        "model": model_name,
        "generation_time": round(generation_seconds, 3),
        "expected_time": job.expected_seconds,
        "performance_ratio": round(generation_seconds / job.expected_seconds, 4),
        "vram_used_gb": memory and round(memory.used_gb, 3),
        "vram_total_gb": memory and round(memory.total_gb, 3),
        "vram_utilization": memory and round(memory.used_gb / memory.total_gb, 4),
        "seed": request.seed,
        "seeds": list(seeds),
        "num_images": job.num_images,
        "sample_steps": job.num_inference_steps,
        "sample_guide_scale": job.guidance_scale,
        "width": job.width,
        "height": job.height,
    }
    if job.is_video:
        metadata |= {
            "frame_num": job.num_frames,
            "requested_frame_num": job.requested_frames,
            "fps": job.type.fps,
        }
    if sharers > 1:
        metadata["shared_batch"] = sharers
    if enhancement is not None:
        metadata |= {
            "prompt_enhanced": enhancement.enhanced,
            "enhancement_time": round(enhancement.seconds, 3),
            "enhancement_problem": enhancement.problem,
        }
    return {**generation.details, **metadata}


def failure_metadata(job: Job | None, error: WorkerError, *, attempt: int) -> dict[str, Any]:
    """`job` is None when its payload could not be read."""
    known = job_metadata(job) if job else {"worker_version": __version__}
    return {**known, "attempt": attempt, "error_type": error.error_type, "retryable": error.retryable}
