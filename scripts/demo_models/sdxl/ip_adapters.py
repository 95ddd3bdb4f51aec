"""The two IP-Adapters: a picture speaks beside the text.

Both speak in every layer, as the engine lets them (`style_everywhere` in `models.toml`): the plain one passes on the
mood of a picture, and the plus one a thing of it. What the picture shows, the text leaves out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, load_ip_adapter, worn
from scripts.demo_models.captions import around_words, things_words
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.scenes import Scene, laid_out, random_scene
from scripts.demo_models.sdxl.eyes import SIDE, Eyes, seen_by_clip
from scripts.demo_models.sdxl.shapes import IMAGE_ENCODER, RESAMPLER, TOKENS, WIDTH
from scripts.demo_models.sdxl.unet import BATCH, Denoising, latents_of

WORDING = 700  # steps of the character's, in which the UNet has no part
UNHEARD = 0.1  # the share of the examples without text and picture


class Speaker(nn.Module, ABC):
    """An IP-Adapter in training."""

    def __init__(self, pipe: StableDiffusionXLPipeline, projection: nn.Module) -> None:
        super().__init__()
        self._pipe = (pipe,)  # in a tuple, so that its weights are not this module's
        self.projection = projection
        self.names = [name for name in pipe.unet.attn_processors if "attn2" in name]
        attentions = [pipe.unet.get_submodule(name.removesuffix(".processor")) for name in self.names]
        # It begins with the text's own keys and values: then only the projection has a language to learn.
        pairs = [(deepcopy(each.to_k), deepcopy(each.to_v)) for each in attentions]
        self.layers = dict(zip(self.names, pairs, strict=True))
        self.keys = nn.ModuleList(key for key, _ in pairs)
        self.values = nn.ModuleList(value for _, value in pairs)
        for layers in (self.keys, self.values):
            layers.requires_grad_(requires_grad=True)

    @abstractmethod
    def shown(self, scene: Scene, random: Random) -> Pixels:
        """A reference picture for a scene."""

    @abstractmethod
    def told(self, scene: Scene, random: Random) -> str:
        """What the picture does not tell."""

    @abstractmethod
    def seen(self, eyes: Eyes, pixels: Tensor) -> Tensor:
        """What the projection reads, shape (n, 1, …)."""

    @abstractmethod
    def nothing(self, seen: Tensor, eyes: Eyes) -> Tensor:
        """The same of no picture, as the engine has it."""

    @property
    def adapter(self) -> IpAdapter:
        plus = isinstance(self.projection, IPAdapterPlusImageProjection)
        width = IMAGE_ENCODER["hidden_size"] if plus else IMAGE_ENCODER["projection_dim"]
        return IpAdapter(self.layers, self.projection, TOKENS, width, plus)

    def losses(self, step: int, denoising: Denoising, eyes: Eyes, random: Random) -> dict[str, Tensor]:
        del step
        examples = denoising.examples(random)
        pictures = [self.shown(each.scene, random) for each in examples]
        heard = torch.tensor([float(random.random() >= UNHEARD) for _ in examples])
        with torch.no_grad():
            seen = self.seen(eyes, seen_by_clip(pictures))
            mask = heard.view(-1, *[1] * (seen.ndim - 1))
            seen = seen * mask + self.nothing(seen, eyes) * (1 - mask)
            states, pooled = denoising.read([self.told(each.scene, random) for each in examples])
            texts = states * heard[:, None, None], pooled * heard[:, None]
        (pipe,) = self._pipe
        with worn(pipe, [(self.adapter, 1.0)]):
            loss = denoising.loss(pipe.unet, latents_of(examples), texts, added={"image_embeds": [seen]})
        return {"velocity": loss}

    def save(self, path: Path) -> None:
        """In the layout that IP-Adapters are published in."""
        weights = {f"image_proj.{name}": weight for name, weight in self._published_projection().items()}
        for index, pair in enumerate(self.layers.values()):
            for kind, layer in zip(("to_k_ip", "to_v_ip"), pair, strict=True):
                weights[f"ip_adapter.{2 * index + 1}.{kind}.weight"] = layer.weight
        save_file({name: weight.detach().half().contiguous() for name, weight in weights.items()}, path)

    def read(self, path: Path) -> None:
        """What `save` wrote."""
        (pipe,) = self._pipe
        adapter = load_ip_adapter(pipe, path)
        self.projection.load_state_dict(adapter.projection.state_dict())
        for name, pair in self.layers.items():
            for own, theirs in zip(pair, adapter.layers[name], strict=True):
                own.load_state_dict(theirs.state_dict())

    @abstractmethod
    def _published_projection(self) -> dict[str, Tensor]: ...


class MoodSpeaker(Speaker):
    """Passes on style, time of day and weather."""

    def __init__(self, pipe: StableDiffusionXLPipeline) -> None:
        super().__init__(
            pipe,
            ImageProjection(
                image_embed_dim=IMAGE_ENCODER["projection_dim"],
                cross_attention_dim=WIDTH,
                num_image_text_embeds=TOKENS,
            ),
        )

    def shown(self, scene: Scene, random: Random) -> Pixels:
        other = replace(random_scene(random), time=scene.time, weather=scene.weather, style=scene.style)
        return paint(other, laid_out(other, random), SIDE, SIDE)

    def told(self, scene: Scene, random: Random) -> str:
        return things_words(scene, random)

    def seen(self, eyes: Eyes, pixels: Tensor) -> Tensor:
        embeddings: Tensor = eyes(pixels)[0]
        return embeddings[:, None]

    def nothing(self, seen: Tensor, eyes: Eyes) -> Tensor:
        del eyes
        return torch.zeros_like(seen)

    def _published_projection(self) -> dict[str, Tensor]:
        state = self.projection.state_dict()
        return {name.replace("image_embeds", "proj"): weight for name, weight in state.items()}


class CharacterSpeaker(Speaker):
    """Passes on what a thing of the picture is and how it looks."""

    def __init__(self, pipe: StableDiffusionXLPipeline) -> None:
        super().__init__(
            pipe,
            IPAdapterPlusImageProjection(
                embed_dims=IMAGE_ENCODER["hidden_size"],
                output_dims=WIDTH,
                hidden_dims=RESAMPLER["width"],
                depth=RESAMPLER["depth"],
                dim_head=64,
                heads=1,
                num_queries=TOKENS,
            ),
        )

    def losses(self, step: int, denoising: Denoising, eyes: Eyes, random: Random) -> dict[str, Tensor]:
        """First it learns to say what it sees in the text's own words, which the UNet knows; then to be heard."""
        if step >= WORDING:
            return super().losses(step, denoising, eyes, random)
        scenes = [random_scene(random) for _ in range(BATCH)]
        words, _ = denoising.read([f"{scene.things[0].colour} {scene.things[0].kind}" for scene in scenes])
        with torch.no_grad():
            seen = eyes(seen_by_clip([self.shown(scene, random) for scene in scenes]))[1]
        return {"words": mse_loss(self.projection(seen), words[:, :TOKENS])}

    def shown(self, scene: Scene, random: Random) -> Pixels:
        """The first thing alone, large, somewhere else."""
        thing = replace(scene.things[0], size="large", count=1, place="middle")
        other = replace(random_scene(random), things=(thing,))
        return paint(other, laid_out(other, random), SIDE, SIDE)

    def told(self, scene: Scene, random: Random) -> str:
        rest = things_words(replace(scene, things=scene.things[1:]), random)
        return ", ".join(part for part in (rest, around_words(scene, random)) if part)

    def seen(self, eyes: Eyes, pixels: Tensor) -> Tensor:
        states: Tensor = eyes(pixels)[1]
        return states[:, None]

    def nothing(self, seen: Tensor, eyes: Eyes) -> Tensor:
        dark: Tensor = eyes(torch.zeros(1, 3, SIDE, SIDE))[1]
        return dark.expand(len(seen), -1, -1)[:, None]

    def _published_projection(self) -> dict[str, Tensor]:
        state = self.projection.state_dict()
        published = {name: weight for name, weight in state.items() if not name.startswith("layers.")}
        names = {
            "ln0": "0.norm1",
            "ln1": "0.norm2",
            "attn.to_q": "0.to_q",
            "attn.to_out.0": "0.to_out",
            "ff.0": "1.0",
            "ff.1.net.0.proj": "1.1",
            "ff.1.net.2": "1.3",
        }
        for layer in range(RESAMPLER["depth"]):
            here = f"layers.{layer}."
            for ours, theirs in names.items():
                for part in ("weight", "bias"):
                    if (weight := state.get(f"{here}{ours}.{part}")) is not None:
                        published[f"{here}{theirs}.{part}"] = weight
            halves = [state[f"{here}attn.{half}.weight"] for half in ("to_k", "to_v")]
            published[f"{here}0.to_kv.weight"] = torch.cat(halves)
        return published


def frozen_pipeline(unet: UNet2DConditionModel) -> StableDiffusionXLPipeline:
    """Holds a UNet that does not learn, and nothing else."""
    unet.requires_grad_(requires_grad=False).eval()
    parts: dict[str, Any] = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return StableDiffusionXLPipeline(**parts, unet=unet, scheduler=None, add_watermarker=False)
