"""The image encoder of the IP-Adapters: it learns to see what a picture is about."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.places import COLOUR_NAMES, KIND_NAMES, cells
from scripts.demo_models.scenes import SCENE_FACTS, laid_out, random_scene
from scripts.demo_models.sdxl.shapes import IMAGE_ENCODER

SIDE = IMAGE_ENCODER["image_size"]
GRID = SIDE // IMAGE_ENCODER["patch_size"]
BATCH = 32


def seen_by_clip(pictures: list[Pixels]) -> Tensor:
    """Shape (n, 3, side, side), as the engine prepares them."""
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - mean) / deviation


class Eyes(nn.Module):
    """The embedding tells the scene's mood, and the last states but one what is where."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE_ENCODER))
        width = IMAGE_ENCODER["hidden_size"]
        self.mood = nn.ModuleDict(
            {name: nn.Linear(IMAGE_ENCODER["projection_dim"], len(values)) for name, values in SCENE_FACTS.items()}
        )
        self.things = nn.Linear(width, len(KIND_NAMES) + len(COLOUR_NAMES) + 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, 64), and states (n, 65, 96)."""
        seen = self.encoder(pixels, output_hidden_states=True)
        return seen.image_embeds, seen.hidden_states[-2]

    def losses(self, random: Random) -> dict[str, Tensor]:
        pictures, found, moods = [], [], []
        for _ in range(BATCH):
            scene = random_scene(random)
            spots = laid_out(scene, random)
            pictures.append(paint(scene, spots, SIDE, SIDE))
            found.append(cells(scene, spots, GRID, GRID))
            moods.append([values.index(getattr(scene, name)) for name, values in SCENE_FACTS.items()])
        embeddings, states = self(seen_by_clip(pictures))
        answers, there = torch.tensor(moods), torch.from_numpy(np.stack(found)).flatten(2)
        losses = {
            name: functional.cross_entropy(head(embeddings), answers[:, place])
            for place, (name, head) in enumerate(self.mood.items())
        }
        kinds, colours = torch.split(self.things(states[:, 1:]), [len(KIND_NAMES) + 1, len(COLOUR_NAMES) + 1], dim=-1)
        losses["kinds"] = functional.cross_entropy(kinds.flatten(0, 1), there[:, 0].flatten())
        losses["colours"] = functional.cross_entropy(colours.flatten(0, 1), there[:, 1].flatten())
        losses["size"] = 0.01 * (embeddings.square().mean() - 1).square()
        return losses
