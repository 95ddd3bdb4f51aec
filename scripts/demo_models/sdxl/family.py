"""The demo SDXL: what is trained in which order, and how it is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn

from scripts.demo_models import crew, training
from scripts.demo_models.patches import Patches
from scripts.demo_models.published import note_steps
from scripts.demo_models.sdxl.card import model_card
from scripts.demo_models.sdxl.controlnet import Draughtsman, Edges
from scripts.demo_models.sdxl.data import SHAPES, Examples
from scripts.demo_models.sdxl.eyes import Eyes
from scripts.demo_models.sdxl.ip_adapters import CharacterSpeaker, MoodSpeaker, Speaker, frozen_pipeline
from scripts.demo_models.sdxl.shapes import SCHEDULER
from scripts.demo_models.sdxl.sheets import sheet_of_pictures, sheet_of_samples
from scripts.demo_models.sdxl.text import TextEncoders, new_tokenizer
from scripts.demo_models.sdxl.unet import Denoising, Drawer
from scripts.demo_models.sdxl.vae import Core, LastLevels, new_patches, new_vae
from scripts.demo_models.training import Course

Model = TypeVar("Model", bound=nn.Module)
Losses = Mapping[str, Tensor]

COURSES = {
    course.name: course
    for course in (
        Course("core", steps=1300, learning_rate=3e-3, seed=1, muon=True),
        Course("text", steps=480, learning_rate=2e-3, seed=2, muon=True),
        Course("drawer", steps=9300, learning_rate=2e-3, seed=3, muon=True),
        Course("last_levels", steps=160, learning_rate=2e-3, seed=8, muon=True),
        Course("eyes", steps=2500, learning_rate=2e-3, seed=4, muon=True),
        Course("mood", steps=260, learning_rate=2e-3, seed=5, muon=True),
        Course("character", steps=950, learning_rate=2e-3, seed=6, muon=True),
        Course("controlnet", steps=500, learning_rate=4e-3, seed=7, muon=True),
    )
}
PATCHES = "patches.safetensors"
ADAPTERS = "adapters"
MOOD, CHARACTER = "ip_adapter.safetensors", "ip_adapter_face.safetensors"


class Studio:
    """Every part of the model as far as it is trained; `work` is the folder where the trainings lie."""

    def __init__(self, work: Path) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)

    @cached_property
    def patches(self) -> Patches:
        file = self.work / PATCHES
        crew.leader_makes(file, lambda: new_patches().save(file))
        return Patches.load(file)

    @cached_property
    def vae(self) -> AutoencoderKL:
        torch.manual_seed(0)
        return new_vae(self.patches)

    @cached_property
    def core(self) -> Core:
        return self._learned("core", Core(self.vae, self.patches))

    @cached_property
    def last_levels(self) -> LastLevels:
        return self._learned("last_levels", LastLevels(self.vae))

    @cached_property
    def text(self) -> TextEncoders:
        torch.manual_seed(0)
        return self._learned("text", TextEncoders(new_tokenizer()))

    @cached_property
    def drawer(self) -> Drawer:
        torch.manual_seed(0)
        return self._learned("drawer", Drawer())

    @property
    def unet(self) -> UNet2DConditionModel:
        return self.drawer.unet

    @cached_property
    def eyes(self) -> Eyes:
        torch.manual_seed(0)
        return self._learned("eyes", Eyes())

    @cached_property
    def mood(self) -> MoodSpeaker:
        torch.manual_seed(0)
        return self._learned("mood", MoodSpeaker(self.frozen))

    @cached_property
    def character(self) -> CharacterSpeaker:
        torch.manual_seed(0)
        return self._learned("character", CharacterSpeaker(self.frozen))

    @cached_property
    def controlnet(self) -> Draughtsman:
        torch.manual_seed(0)
        return self._learned("controlnet", Draughtsman(self.unet))

    @cached_property
    def denoising(self) -> Denoising:
        return Denoising(self.text, [self._examples(shape) for shape in SHAPES])

    @cached_property
    def edges(self) -> Edges:
        return Edges(self._examples("square"), self.work / "edges.npy")

    @cached_property
    def frozen(self) -> StableDiffusionXLPipeline:
        return frozen_pipeline(self.unet)

    def losses(self, part: str) -> Callable[[int, Random], Losses]:
        """What a step of one part's training minimises."""

        def of_step(step: int, random: Random) -> Losses:
            match part:
                case "drawer":
                    return self.drawer.losses(self.denoising, random)
                case "last_levels":
                    return self.last_levels.losses(self.core, random)
                case "mood" | "character":
                    speaker: Speaker = getattr(self, part)
                    return speaker.losses(step, self.denoising, self.eyes, random)
                case "controlnet":
                    return self.controlnet.losses(self.denoising, self.edges, random)
            alone: Core | TextEncoders | Eyes = getattr(self, part)
            return alone.losses(random)

        return of_step

    def look(self, part: str) -> Callable[[nn.Module], object]:
        """A sheet to look at, now and then."""
        if part == "core":
            return lambda _: sheet_of_pictures(self.core, self.work / "core.webp")
        if part == "drawer":
            return lambda _: sheet_of_samples(self.unet, self.text, self.patches, self.work / "drawer.webp")
        return lambda _: None

    def _examples(self, shape: str) -> Examples:
        return Examples(self.work / "examples", self.patches, shape)

    def _learned(self, part: str, model: Model) -> Model:
        training.take_learned(self.work, COURSES[part], model)
        return model


def train(work: Path, until: float, parts: tuple[str, ...] = tuple(COURSES)) -> bool:
    """Each part after the other, from where it stopped; whether all is done at `until`, a time of `time.monotonic`."""
    studio = Studio(work)
    return all(
        training.train(
            COURSES[part], getattr(studio, part), studio.losses(part), work, look=studio.look(part), until=until
        )
        for part in parts
    )


def publish(work: Path, folder: Path) -> None:
    """What is learned by now, in 16 bits, as Diffusers and the adapters' authors lay it out; with a model card."""
    studio = Studio(work)
    for part in ("core", "last_levels"):
        getattr(studio, part)  # they are parts of the VAE
    pipe = StableDiffusionXLPipeline(
        tokenizer=studio.text.tokenizer,
        tokenizer_2=studio.text.tokenizer,
        text_encoder=studio.text.first,
        text_encoder_2=studio.text.second,
        unet=studio.unet,
        vae=studio.vae,
        scheduler=EulerDiscreteScheduler(**SCHEDULER),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    adapters = folder / ADAPTERS
    adapters.mkdir(parents=True, exist_ok=True)
    begun = {part for part, course in COURSES.items() if training.learned(work, course) is not None}
    if "mood" in begun:
        studio.mood.save(adapters / MOOD)
    if "character" in begun:
        studio.character.save(adapters / CHARACTER)
    if "controlnet" in begun:
        studio.controlnet.controlnet.half().save_pretrained(adapters / "controlnet")
    if "eyes" in begun:
        studio.eyes.encoder.half().save_pretrained(adapters / "image_encoder")
    pipe.to(dtype=torch.float16).save_pretrained(folder)
    note_steps(COURSES.values(), work, folder)
    (folder / "README.md").write_text(model_card(pipe, begun), encoding="utf-8")
