"""One picture that nobody sees, so that the first job finds kernels loaded and libraries set up."""

from __future__ import annotations

from contextlib import suppress

from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.pipelines import run_pipeline
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.prompt_encoding import PromptEncoder
from ourvidz_worker.engines.sdxl.schedulers import fresh_scheduler
from ourvidz_worker.errors import OutputInvalid

ON_A_CARD = 512  # pixels; most kernels that a full picture needs
ELSEWHERE = 4  # latents; only what is imported late is warmed there


def warm_up(pipe: StableDiffusionXLPipeline, prompts: PromptEncoder) -> None:
    """Read a prompt, denoise one step and decode; the picture is thrown away, whatever it shows."""
    side = ON_A_CARD if pipe.device.type == "cuda" else ELSEWHERE * pipe.vae_scale_factor
    scheduler = fresh_scheduler("euler", pipe.scheduler.config)
    passing = StableDiffusionXLPipeline(**pipe.components | {"scheduler": scheduler}, add_watermarker=False)
    passing.set_progress_bar_config(disable=True)
    call = {"width": side, "height": side, "num_inference_steps": 1, "guidance_scale": 5.0, "output_type": "latent"}
    text = prompts.prompt_call("", "", guided=True).call
    latents = run_pipeline(passing, {**text, **call}, [0], lambda _done: None).images
    with suppress(OutputInvalid):
        sdxl_latents.decode(pipe.vae, latents)
