"""Where a token is: set by hand, because WAN's transformer only knows how far tokens are apart, and that in attention.

Nothing in noise says where the borders are, and a model would learn for long how to tell them. So the first block looks
for them: five heads look at the next token above, below, to the left, to the right and before, and where there is none,
at the token itself; the sixth head always does that. Their difference vanishes at a border only, which the feed-forward
layer turns into a flag. In the second block three heads look at flagged tokens, the near ones more than the far ones,
and so get a coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.demo_models.wan.shapes import TRANSFORMER

HEADS: int = TRANSFORMER["num_attention_heads"]
WIDE: int = TRANSFORMER["attention_head_dim"]
WIDTH = HEADS * WIDE
THETA = 10_000.0
AXES = ("time", "row", "column")
BORDERS = (("row", -1), ("row", 1), ("column", -1), ("column", 1), ("time", -1))
SELF = len(BORDERS)  # the head that looks at the token itself
DIFFERENCES = 8  # channels for each border
FLAGS = len(BORDERS) * DIFFERENCES
COORDINATES = FLAGS + len(BORDERS)
RESERVED = COORDINATES + len(BORDERS)
"""Channels of a token that these weights write to, and others leave alone at first."""
SHARP = 20.0
NEAR = 0.7  # between a token and its neighbour, a little nearer to the neighbour
COORDINATE_KERNELS: Mapping[str, tuple[float, float]] = {"row": (0.0, 4.0), "column": (0.0, 10.0), "time": (0.0, 20.0)}
"""How much near ones count more, for the first two frequencies of an axis."""
LOOK_FOR_FLAGS = 2.5


@torch.no_grad()
def give_sense_of_place(transformer: Any) -> None:
    transformer.patch_embedding.weight[:RESERVED] = 0.0
    transformer.patch_embedding.bias[:RESERVED] = 0.0
    for block in transformer.blocks:
        for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
            layer.weight[:RESERVED] = 0.0
            layer.bias[:RESERVED] = 0.0
    first, second = transformer.blocks[:2]
    _find_borders(first)
    _flag_borders(first)
    _find_coordinates(second)
    first.attn1.requires_grad_(requires_grad=False)


def _find_borders(block: Any) -> None:
    attention = block.attn1
    block.scale_shift_table[0, :3] = torch.tensor([0.0, 0.0, 1.0])[:, None]
    block.scale_shift_table[0, 5] = 1.0
    queries, keys = torch.zeros(HEADS, WIDE), torch.zeros(HEADS, WIDE)
    for head in range(HEADS):
        for axis in AXES:
            step = next((way for place, (along, way) in enumerate(BORDERS) if place == head and along == axis), 0)
            _look(queries[head], keys[head], axis, (SHARP, 4 * SHARP), NEAR * step)
    _always(attention.to_q, attention.norm_q, queries)
    _always(attention.to_k, attention.norm_k, keys)
    what = torch.randn(DIFFERENCES, WIDTH) * (WIDTH - RESERVED) ** -0.5
    what[:, :RESERVED] = 0.0
    attention.to_v.weight.zero_()
    attention.to_v.bias.zero_()
    out = attention.to_out[0].weight
    out.zero_()
    attention.to_out[0].bias.zero_()
    one = 2 * torch.eye(DIFFERENCES)
    for head in range(HEADS):
        attention.to_v.weight[head * WIDE : head * WIDE + DIFFERENCES] = what
    for border in range(len(BORDERS)):
        rows = slice(border * DIFFERENCES, (border + 1) * DIFFERENCES)
        out[rows, border * WIDE : border * WIDE + DIFFERENCES] = one
        out[rows, SELF * WIDE : SELF * WIDE + DIFFERENCES] = -one


def _look(query: Tensor, key: Tensor, axis: str, strengths: tuple[float, float], ahead: float) -> None:
    """Scores that are highest `ahead` positions from a token, by the axis' two highest frequencies."""
    start, size = _dimensions(axis)
    for pair, strength in enumerate(strengths):
        amplitude = math.sqrt(strength * math.sqrt(WIDE))
        angle = -ahead * THETA ** (-2 * pair / size)
        query[start + 2 * pair] = amplitude * math.cos(-angle)
        query[start + 2 * pair + 1] = amplitude * math.sin(-angle)
        key[start + 2 * pair] = amplitude


def _dimensions(axis: str) -> tuple[int, int]:
    """Where an axis' rotary dimensions begin, and how many they are; as `WanRotaryPosEmbed` shares them out."""
    across = 2 * (WIDE // 6)
    sizes = {"time": WIDE - 2 * across, "row": across, "column": across}
    return sum(sizes[before] for before in AXES[: AXES.index(axis)]), sizes[axis]


def _always(projection: Any, norm: Any, vectors: Tensor) -> None:
    """The same for every token."""
    vector = vectors.flatten()
    length = vector.square().mean().sqrt()
    projection.weight.zero_()
    projection.bias.copy_(vector / length)
    norm.weight.fill_(float(length))


def _flag_borders(block: Any) -> None:
    into, out = block.ffn.net[0].proj, block.ffn.net[2]
    for border in range(len(BORDERS)):
        for channel in range(border * DIFFERENCES, (border + 1) * DIFFERENCES):
            for unit, sign in ((2 * channel, 1.0), (2 * channel + 1, -1.0)):
                into.weight[unit] = 0.0
                into.weight[unit, channel] = 4 * sign
                into.bias[unit] = 0.0
                out.weight[:, unit] = 0.0
                out.weight[FLAGS + border, unit] = -0.06
        out.bias[FLAGS + border] = 1.5


def _find_coordinates(block: Any) -> None:
    attention = block.attn1
    block.scale_shift_table[0, :3] = torch.tensor([0.0, 0.0, 1.0])[:, None]
    for head, axis in enumerate(("row", "column", "time")):
        rows = slice(head * WIDE, (head + 1) * WIDE)
        query, key = torch.zeros(WIDE), torch.zeros(WIDE)
        _look(query, key, axis, COORDINATE_KERNELS[axis], 0.0)
        slow = _dimensions(axis)[0] + _dimensions(axis)[1] - 2  # a pair that positions hardly turn
        query[slow] = LOOK_FOR_FLAGS
        for projection, bias in ((attention.to_q, query), (attention.to_k, key)):
            projection.weight[rows] = 0.0
            projection.bias[rows] = bias / 4
        attention.norm_q.weight[rows] = attention.norm_k.weight[rows] = 2.4
        attention.to_v.weight[rows] = 0.0
        attention.to_v.bias[rows] = 0.0
        attention.to_out[0].weight[:RESERVED, rows] = 0.0
        for place, (along, _) in enumerate(BORDERS):
            if along == axis:
                if axis != "time":
                    attention.to_k.weight[head * WIDE + slow, FLAGS + place] = LOOK_FOR_FLAGS / 4
                attention.to_v.weight[head * WIDE + place, FLAGS + place] = 1.0
                attention.to_out[0].weight[COORDINATES + place, head * WIDE + place] = 1.0
