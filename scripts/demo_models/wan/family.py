"""The demo WAN: what it learns in which order, and how it is published as a folder of Diffusers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import nn
from transformers import UMT5EncoderModel

from scripts.demo_models import training
from scripts.demo_models.patches import Patches
from scripts.demo_models.published import note_steps
from scripts.demo_models.training import take_learned
from scripts.demo_models.wan.card import model_card
from scripts.demo_models.wan.latents import patches
from scripts.demo_models.wan.shapes import FLOW_SHIFT, VACE_FOLDER
from scripts.demo_models.wan.text import READING, Reading, new_tokenizer
from scripts.demo_models.wan.transformer import DRAWING, Drawing
from scripts.demo_models.wan.vace import STEERING, Steering, save_vace
from scripts.demo_models.wan.vae import BETWEEN, PIXELS, STILLS, Between, Pixels, Stills, new_vae

COURSES = (READING, STILLS, BETWEEN, PIXELS, DRAWING, STEERING)
STEERING_SHARE = 0.15  # of the time that is left for the transformers


def train(work: Path, until: float) -> bool:
    """Whether everything is learned at `until`, a time of `time.monotonic`."""
    seen = patches(work)
    torch.manual_seed(READING.seed)
    reading, stills = Reading(), Stills(seen)
    if not _learned(READING, reading, at_any_step(reading.losses), work, until):
        return False
    if not _learned(STILLS, stills, at_any_step(stills.losses), work, until):
        return False
    between = Between(stills, seen)
    if not _learned(BETWEEN, between, at_any_step(between.losses), work, until):
        return False
    pixels = Pixels(between.decoder, stills, seen)
    if not _learned(PIXELS, pixels, at_any_step(pixels.losses), work, until):
        return False
    drawing = Drawing(reading.encoder, seen)
    left = until - time.monotonic()
    drawn = _learned(
        DRAWING, drawing, drawing.losses, work, until - STEERING_SHARE * left if left < math.inf else until
    )
    steering = Steering(drawing.transformer, reading.encoder, seen)
    return _learned(STEERING, steering, steering.losses, work, until) and drawn


def at_any_step(losses: Callable[[Random], training.Losses]) -> Callable[[int, Random], training.Losses]:
    return lambda _, random: losses(random)


def _learned(
    course: training.Course,
    model: nn.Module,
    losses: Callable[[int, Random], training.Losses],
    work: Path,
    until: float,
) -> bool:
    return training.train(course, model, losses, work, until=until)


def publish(work: Path, folder: Path) -> None:
    """What is learned by now: weights of 16 bits and a model card.

    VACE is left out until it has begun to learn.
    """
    seen = patches(work)
    reader = text_encoder(work)
    drawing = Drawing(reader, seen)
    take_learned(work, DRAWING, drawing)
    transformer = WanTransformer3DModel.from_config(drawing.transformer.config)
    transformer.load_state_dict(drawing.transformer.state_dict())
    parts = {"text_encoder": reader, "transformer": transformer, "vae": vae(work, seen)}
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT)
    WanPipeline(
        tokenizer=new_tokenizer(), scheduler=scheduler, **{name: part.half() for name, part in parts.items()}
    ).save_pretrained(folder)
    sizes = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    steering = Steering(drawing.transformer, reader, seen)
    if take_learned(work, STEERING, steering):
        sizes["vace"] = save_vace(steering, folder / VACE_FOLDER)
    note_steps(COURSES, work, folder)
    (folder / "README.md").write_text(model_card(sizes), encoding="utf-8")


def text_encoder(work: Path) -> UMT5EncoderModel:
    reading = Reading()
    take_learned(work, READING, reading)
    return reading.encoder.eval()


def vae(work: Path, seen: Patches) -> AutoencoderKLWan:
    stills = Stills(seen)
    take_learned(work, STILLS, stills)
    between = Between(stills, seen)
    take_learned(work, BETWEEN, between)
    pixels = Pixels(between.decoder, stills, seen)
    take_learned(work, PIXELS, pixels)
    torch.manual_seed(STILLS.seed)  # what takes no part is left to chance, and a publication is to stay the same
    whole = new_vae(seen)
    whole.decoder.load_state_dict(pixels.decoder.state_dict())
    return whole.eval()
