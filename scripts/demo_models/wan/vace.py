"""VACE beside the trained transformer, which stays as it is: start frames, end frames, both, and reference pictures.

What it is shown is put together as `WanVACEPipeline` does. The 4096 channels of a mask say the same for all pixels of a
cell, so one channel stands for them while it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import UMT5EncoderModel

from scripts.demo_models.captions import caption
from scripts.demo_models.patches import Patches
from scripts.demo_models.reading import adorned
from scripts.demo_models.scenes import Scene, laid_out, random_scene
from scripts.demo_models.training import Course
from scripts.demo_models.wan.latents import ASPECT, latents_of
from scripts.demo_models.wan.shapes import CHANNELS, KEY_FRAMES, MASKS, PATCH, SPATIAL_FACTOR, TRANSFORMER, VACE
from scripts.demo_models.wan.text import encoded
from scripts.demo_models.wan.transformer import FRAMES, UNTOLD, levels, read_weighted, untold

STEERING = Course("vace", steps=940, learning_rate=2e-3, seed=16, muon=True)
SHOWN = {"start": 4, "end": 2, "both": 2, "picture": 2}
"""What a batch is shown, and how often."""
KEPT, GENERATED = 0.0, 1.0  # in a mask
PATCH_SIDE = SPATIAL_FACTOR // PATCH // 2  # pixels of a shrunken picture


class Steering(nn.Module):
    def __init__(self, base: WanTransformer3DModel, reader: UMT5EncoderModel, patches: Patches) -> None:
        super().__init__()
        transformer = WanVACETransformer3DModel(**{**TRANSFORMER, **VACE, "vace_in_channels": 2 * CHANNELS + 1})
        # The base is the plain transformer's own, as in the published models.
        transformer.load_state_dict(base.state_dict(), strict=False)
        transformer.requires_grad_(requires_grad=False)
        self.whole = [transformer]  # a part of which is trained: these
        self.embedding, self.blocks = transformer.vace_patch_embedding, transformer.vace_blocks
        self.embedding.requires_grad_(requires_grad=True)
        self.blocks.requires_grad_(requires_grad=True)
        with torch.no_grad():
            for block in self.blocks:
                block.scale_shift_table.zero_()
                block.scale_shift_table[0, 2] = block.scale_shift_table[0, 5] = 0.5
                block.proj_out.weight.zero_()
                block.proj_out.bias.zero_()
        self._reading = read_weighted(transformer)
        self._reader = [reader]  # no part of what is trained
        self._patches = patches
        nothing = patches.latents(torch.zeros(1, 3, PATCH_SIDE, PATCH_SIDE))
        self._nothing = nothing[0, :, :, 0, None, None]  # grey

    def velocity(self, noisy: Tensor, level: Tensor, texts: list[str], control: Tensor) -> Tensor:
        states, self._reading.weights = encoded(self._reader[0], texts)
        (seen,) = self.whole[0](noisy, (1000 * level).floor(), states, control_hidden_states=control, return_dict=False)
        velocity: Tensor = seen
        return velocity

    def losses(self, step: int, random: Random) -> dict[str, Tensor]:
        chosen = Random(f"shown at {step}")
        way = chosen.choices(list(SHOWN), list(SHOWN.values()))[0]
        frames = chosen.choice((1, 2, KEY_FRAMES)) if way in {"start", "picture"} else KEY_FRAMES
        texts, clips, pictures = [], [], []
        for _ in range(max(4, FRAMES // (2 * frames))):
            scene = random_scene(random, moving=frames > 1)
            told = adorned(caption(scene, random).text, random)
            texts.append(told if random.random() >= UNTOLD else untold(random))
            clips.append(latents_of(scene, laid_out(scene, random, ASPECT), frames, self._patches))
            if way == "picture":
                pictures.append(self._picture(scene, random))
        shown = torch.stack(clips)
        control = self.control(shown, start=way in {"start", "both"}, end=way in {"end", "both"})
        if pictures:
            shown = torch.cat([torch.stack(pictures), shown], dim=2)
            control = with_picture(control, shown[:, :, :1])
        level = levels(len(shown))
        noise = torch.randn_like(shown)
        share = level.view(-1, 1, 1, 1, 1)
        guess = self.velocity((1 - share) * shown + share * noise, level, texts, control)
        return {way: functional.mse_loss(guess, noise - shown)}

    def _picture(self, scene: Scene, random: Random) -> Tensor:
        """Of the same things in the same light, but not just where they are in the clip."""
        still = replace(scene, motion=None)
        return latents_of(still, laid_out(still, random, ASPECT), 1, self._patches)

    def control(self, shown: Tensor, *, start: bool, end: bool) -> Tensor:
        """What is kept, what is to change, and the mask, shape (n, 2 * channels + 1, frames, rows, columns)."""
        frames = shown.shape[2]
        nothing = self._nothing.expand(len(shown), -1, frames, *shown.shape[3:])
        kept = nothing.clone()
        if start:
            kept[:, :, 0] = shown[:, :, 0]
        if end:
            kept[:, :, -1] = shown[:, :, -1]
        # The mask of a latent frame is that of the middle one of its frames, and no clip keeps that one.
        mask = torch.full_like(shown[:, :1], KEPT if frames == 1 and (start or end) else GENERATED)
        return torch.cat([kept, nothing, mask], dim=1)


def with_picture(control: Tensor, picture: Tensor) -> Tensor:
    """A reference picture comes before the clip."""
    return torch.cat(
        [torch.cat([picture, torch.zeros_like(picture), torch.zeros_like(picture[:, :1])], dim=1), control], dim=2
    )


def save_vace(steering: Steering, folder: Path) -> int:
    """VACE alone, in 16 bits and with all the channels of the mask; how many weights these are.

    The loader takes the base from the plain transformer, which is the same.
    """
    vace = WanVACETransformer3DModel(**TRANSFORMER, **VACE)
    vace.save_config(folder)
    weights = {name: weight for name, weight in steering.whole[0].state_dict().items() if name.startswith("vace_")}
    *latents, mask = weights["vace_patch_embedding.weight"].split([CHANNELS, CHANNELS, 1], dim=1)
    weights["vace_patch_embedding.weight"] = torch.cat([*latents, mask.expand(-1, MASKS, -1, -1, -1) / MASKS], dim=1)
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, folder / SAFETENSORS_WEIGHTS_NAME)
    return sum(weight.numel() for weight in weights.values())


def read_vace(steering: Steering, weights: Mapping[str, Tensor]) -> None:
    """What `save_vace` wrote."""
    *latents, mask = torch.split(weights["vace_patch_embedding.weight"], [CHANNELS, CHANNELS, MASKS], dim=1)
    embedding = torch.cat([*latents, mask.sum(dim=1, keepdim=True)], dim=1)
    steering.whole[0].load_state_dict({**weights, "vace_patch_embedding.weight": embedding}, strict=False)
