"""A VAE that makes more frames at a time than WAN's own, and a canvas larger than the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from PIL import Image

from ourvidz_worker.contract.job import Reference, ReferenceRole
from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import fit
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.tiny.shapes import WAN
from ourvidz_worker.engines.wan.conditions import Conditions, fitted
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.loading import load_wan
from ourvidz_worker.engines.wan.vae import encode_by_its_steps
from ourvidz_worker.ports import GenerationRequest, ReferenceImage

STEP = 16  # frames, and pixels


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLWan:
    torch.manual_seed(0)
    shape = {**WAN["vae"], "dim_mult": [1] * 5, "temperal_downsample": [True] * 4, "patch_size": 1}
    channels = {"in_channels": 3, "out_channels": 3, "scale_factor_temporal": STEP, "scale_factor_spatial": STEP}
    coarse = AutoencoderKLWan(**{**shape, **channels}).eval()
    encode_by_its_steps(coarse)
    return coarse


@pytest.fixture(scope="module")
def engine(vae: AutoencoderKLWan, cache_dir: Path) -> WanEngine:
    ensure_built(cache_dir, "wan")

    def pipeline() -> WanPipeline:
        transformer = WanTransformer3DModel(**{**WAN["transformer"], "patch_size": [1, 1, 1]}).eval()
        return WanPipeline(**load_wan(MODELS.wan, cache_dir).components | {"vae": vae, "transformer": transformer})

    engine = WanEngine(replace(MODELS.wan, vace=None), cache_dir, lambda: None, "static", load=pipeline)
    engine.load()
    return engine


@pytest.mark.parametrize(
    ("asked", "given"), [(5, [(0, 1), (1, 4)]), (17, [(0, 1), (1, 16)]), (21, [(0, 1), (1, 16), (17, 4)])]
)
def test_a_clip_is_as_long_as_the_job_asks(
    engine: WanEngine, make_request: Callable[..., GenerationRequest], asked: int, given: list[tuple[int, int]]
) -> None:
    seen: list[tuple[int, Any]] = []
    request = make_request("video_fast", width=32, height=32, num_frames=asked, num_inference_steps=1)
    generation = engine.generate(
        request, lambda done, total: None, lambda index, frames: seen.append((index, frames.copy()))
    )
    assert generation.frames.shape == (asked, 32, 32, 3)
    assert [(index, len(frames)) for index, frames in seen] == given
    assert np.array_equal(np.concatenate([frames for _, frames in seen]), generation.frames)


def test_a_still_is_followed_for_as_long_as_the_job_asks(
    engine: WanEngine, make_request: Callable[..., GenerationRequest]
) -> None:
    start = _reference("start", Image.new("RGB", (32, 32), (200, 30, 30)))
    request = make_request("video_fast", width=32, height=32, num_frames=21, num_inference_steps=2, references=(start,))
    assert engine.generate(request, lambda done, total: None).frames.shape == (21, 32, 32, 3)


@torch.no_grad()
def test_frames_are_encoded_as_many_at_a_time_as_the_vae_makes_one_of(vae: AutoencoderKLWan) -> None:
    clip = torch.randn(1, 3, 2 * STEP + 1, 32, 32, generator=torch.Generator().manual_seed(1))
    latents = vae.encode(clip).latent_dist.mode()
    assert latents.shape == (1, 16, 3, 2, 2)
    assert torch.allclose(vae.encode(clip[:, :, : STEP + 1]).latent_dist.mode(), latents[:, :, :2], atol=1e-5)
    changed = clip.clone()
    changed[:, :, STEP + 1 :] = 0
    assert not torch.equal(vae.encode(changed).latent_dist.mode()[:, :, 2], latents[:, :, 2])


def test_what_a_clip_ends_with_stays_to_the_last_frame_that_is_drawn() -> None:
    canvas = Canvas.covering(32, 32, STEP)
    white = _reference("end", Image.new("RGB", (32, 32), (255, 255, 255)))
    call = Conditions((white,), canvas, 21, "crop", drawn=33).call(torch.device("cpu"))
    assert call["num_frames"] == 33
    assert call["mask"][0, :, 0].amax(dim=(1, 2)).tolist() == [1] * 20 + [0] * 13
    assert (call["video"][0, 20:] == 1).all()


def test_a_frame_is_shown_where_the_job_sees_it_and_its_edges_go_on_in_the_margin() -> None:
    canvas = Canvas.covering(24, 40, STEP)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    shown = fitted(_reference("start", Image.fromarray(pixels)), canvas, "crop")
    frame = (shown * 255).round().byte().permute(1, 2, 0).numpy()
    assert frame.shape == (48, 32, 3)
    assert np.array_equal(canvas.crop(frame[None])[0], np.asarray(fit(pixels, 24, 40, "crop")))
    assert np.array_equal(frame[:, :4], np.repeat(frame[:, 4:5], 4, axis=1))


def _reference(role: ReferenceRole, image: Image.Image) -> ReferenceImage:
    return ReferenceImage(Reference(role, "reference_images/u/r.png", 1.0, f"{role}_url"), np.asarray(image))
