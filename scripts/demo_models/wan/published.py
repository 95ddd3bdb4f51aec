"""To go on from what is published, where no work folder is left: every part is taken up where its training stopped.

What the publication has no use for begins anew: the readers of the text encoder, and the transformer's probes. The
decoder of stills is taken from that of clips, which has learned on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from scripts.demo_models import training
from scripts.demo_models.patches import Patches
from scripts.demo_models.wan.latents import patches
from scripts.demo_models.wan.shapes import PATCH
from scripts.demo_models.wan.text import READING, Reading
from scripts.demo_models.wan.transformer import DRAWING, Drawing
from scripts.demo_models.wan.vace import STEERING, Steering, read_vace
from scripts.demo_models.wan.vae import BETWEEN, PIXELS, STILLS, Between, Pixels, Stills, patches_of

STEPS = "steps.json"
"""How many steps each course of a publication had taken."""
COURSES = (READING, STILLS, BETWEEN, PIXELS, DRAWING, STEERING)


def note_steps(work: Path, folder: Path) -> None:
    taken = {course.name: training.steps_taken(work, course) for course in COURSES if training.learned(work, course)}
    (folder / STEPS).write_text(json.dumps(taken, indent=2) + "\n", encoding="utf-8")


def take_up(folder: Path, work: Path) -> list[str]:
    """The names of the courses that now stand where they stood when `folder` was published.

    Those that have begun in the work folder stay as they are.
    """
    taken: Mapping[str, int] = json.loads((folder / STEPS).read_text(encoding="utf-8"))
    vae = AutoencoderKLWan.from_pretrained(folder / "vae").float()
    if not (work / "patches.safetensors").is_file():
        work.mkdir(parents=True, exist_ok=True)
        patches_of(vae.encoder).save(work / "patches.safetensors")
    models = _models(folder, vae, patches(work))
    return [
        course.name
        for course in COURSES
        if course.name in taken and training.take_up(work, course, models[course.name], taken[course.name])
    ]


@torch.no_grad()
def _models(folder: Path, vae: AutoencoderKLWan, seen: Patches) -> Mapping[str, nn.Module]:
    torch.manual_seed(READING.seed)
    reading, stills = Reading(), Stills(seen)
    reader = UMT5EncoderModel.from_pretrained(folder / "text_encoder")
    reading.encoder.load_state_dict(reader.float().state_dict())
    stills.decoder.load_state_dict(vae.decoder.state_dict())
    shown = vae.decoder.conv_out
    stills.show.weight.copy_(shown.weight[:, :, -1].unflatten(0, (-1, PATCH**2)).mean(dim=1))
    stills.show.get_parameter("bias").copy_(shown.bias.unflatten(0, (-1, PATCH**2)).mean(dim=1))
    between = Between(stills, seen)
    pixels = Pixels(between.decoder, stills, seen)
    pixels.decoder.load_state_dict(vae.decoder.state_dict())
    drawing = Drawing(reading.encoder, seen)
    drawing.transformer.load_state_dict(_weights(folder / "transformer" / SAFETENSORS_WEIGHTS_NAME))
    steering = Steering(drawing.transformer, reading.encoder, seen)
    if (folder / "vace").is_dir():
        read_vace(steering, _weights(folder / "vace" / SAFETENSORS_WEIGHTS_NAME))
    return {
        READING.name: reading,
        STILLS.name: stills,
        BETWEEN.name: between,
        PIXELS.name: pixels,
        DRAWING.name: drawing,
        STEERING.name: steering,
    }


def _weights(file: Path) -> Mapping[str, Tensor]:
    return {name: weight.float() for name, weight in load_file(file).items()}
