"""Where a token is: set by hand, because WAN's transformer only knows how far tokens are apart, and that in attention.

Nothing in noise says where the borders are, and a model would learn for long how to tell them. So the first block looks
for them: five heads look at the next token above, below, to the left, to the right and before, and where there is none,
at the token itself; the sixth head always does that. Their difference vanishes at a border only, which the feed-forward
layer turns into a flag. In the second block three heads look at flagged tokens, the near ones more than the far ones,
and so get a coordinate.

Which frame a token is in must be as plain at every level of noise, for only few examples are clips: set as weakly as
the borders of a frame, the sense of time was unlearned while stills were, and nothing moved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
AXES_FOUND = ("row", "column", "time")
"""What the first heads of the second block look for."""
SELF = len(BORDERS)  # the head that looks at the token itself
DIFFERENCES = 8  # channels for each border
FLAGS = len(BORDERS) * DIFFERENCES
COORDINATES = FLAGS + len(BORDERS)
RESERVED = COORDINATES + len(BORDERS)
"""Channels of a token that these weights write to, and others leave alone at first."""
SHARP = 20.0
NEAR = 0.7  # between a token and its neighbour, a little nearer to the neighbour
COORDINATE_KERNELS: Mapping[str, tuple[float, float]] = {"row": (0.0, 4.0), "column": (0.0, 10.0), "time": (0.0, 12.0)}
"""How much near ones count more, for the first two frequencies of an axis."""
LOOK_FOR_FLAGS = 2.5
TIME = BORDERS.index(("time", -1))
FIRST = TIME * DIFFERENCES
"""The first of the channels that differ between a frame and the one before it."""
ANTI_FLAG = FIRST + DIFFERENCES - 2
"""The flag of the first frame with the opposite sign: what norms add to both of them cancels out."""
PLAIN = 40.0  # times as large is a difference taken
ENOUGH = 2.0  # of it, and the rest is cut off
FLAG = 4.2  # how large the flag of the first frame is
TIME_GAIN = 12.0  # of the share of attention that goes to flagged tokens
LOUDNESS = 0.6  # root mean square of a new transformer's queries and keys in the second block, before their norms


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
    _give_sense_of_time(transformer)
    first.attn1.requires_grad_(requires_grad=False)


def _give_sense_of_time(transformer: Any) -> None:
    """Flag the first frame, and tell every token how near it is."""
    first, second = transformer.blocks[:2]
    differences = range(FIRST, FIRST + DIFFERENCES)
    _leave_alone(transformer, (FLAGS + TIME, COORDINATES + TIME))
    for channel in differences:
        for layer in (transformer.patch_embedding, first.attn2.to_out[0]):
            layer.weight[channel] = 0.0
            layer.bias[channel] = 0.0
    _modulate(transformer, first, differences, gate=(2,), plain=(3, 4))
    _modulate(transformer, first, (FLAGS + TIME, ANTI_FLAG), gate=(5,))
    _modulate(transformer, second, (FLAGS + TIME, ANTI_FLAG), plain=(0, 1))
    _modulate(transformer, second, (COORDINATES + TIME,), gate=(2,))
    _flag_first_frame(first)
    _find_time(second.attn1)


def _leave_alone(transformer: Any, channels: Sequence[int]) -> None:
    """Nothing writes to these channels of a token."""
    layers = [transformer.patch_embedding]
    for block in transformer.blocks:
        layers += [block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]]
    for layer in layers:
        layer.weight[list(channels)] = 0.0
        layer.bias[list(channels)] = 0.0


def _modulate(
    transformer: Any, block: Any, channels: Sequence[int], *, gate: Sequence[int] = (), plain: Sequence[int] = ()
) -> None:
    """At all levels of noise alike: gates of one, and shifts and scales that change nothing."""
    told = transformer.condition_embedder.time_proj
    for kind in (*gate, *plain):
        for channel in channels:
            block.scale_shift_table[0, kind, channel] = 1.0 if kind in gate else 0.0
            told.weight[kind * WIDTH + channel] = 0.0
            told.bias[kind * WIDTH + channel] = 0.0


def _flag_first_frame(block: Any) -> None:
    """Pairs of differences, for any shift cancels out in a pair, and each cut off where it is plainly there."""
    into, out = block.ffn.net[0].proj, block.ffn.net[2]
    block.attn1.to_out[0].weight[ANTI_FLAG : FIRST + DIFFERENCES] = 0.0
    rows = [(FLAGS + TIME, 1.0), (ANTI_FLAG, -1.0)]
    for row, _ in rows:
        out.weight[row] = 0.0
    unit = 2 * FIRST
    pairs = range(FIRST, ANTI_FLAG, 2)
    step = FLAG / (ENOUGH * len(pairs))
    for channel in pairs:
        for sign in (PLAIN, -PLAIN):
            for limit, share in ((0.0, -step), (ENOUGH, step)):
                into.weight[unit] = 0.0
                into.weight[unit, channel], into.weight[unit, channel + 1] = sign, -sign
                into.bias[unit] = -limit
                out.weight[:, unit] = 0.0
                for row, way in rows:
                    out.weight[row, unit] = way * share
                unit += 1
    for row, way in rows:
        out.bias[row] = way * FLAG


def _find_time(attention: Any) -> None:
    head = AXES_FOUND.index("time")
    rows = slice(head * WIDE, (head + 1) * WIDE)
    query, key = torch.zeros(WIDE), torch.zeros(WIDE)
    _look(query, key, "time", COORDINATE_KERNELS["time"], 0.0)
    for projection, norm, bias in (
        (attention.to_q, attention.norm_q, query),
        (attention.to_k, attention.norm_k, key),
    ):
        projection.weight[rows] = 0.0
        projection.bias[rows] = bias * LOUDNESS / norm.weight[rows]
    attention.to_v.weight[rows] = 0.0
    attention.to_v.bias[rows] = 0.0
    attention.to_v.weight[head * WIDE + TIME, FLAGS + TIME] = 0.5
    attention.to_v.weight[head * WIDE + TIME, ANTI_FLAG] = -0.5
    attention.to_out[0].weight[:, rows] = 0.0
    attention.to_out[0].weight[COORDINATES + TIME, head * WIDE + TIME] = TIME_GAIN


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
    for border in range(TIME):
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
    for head, axis in enumerate(AXES_FOUND[:2]):
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
                attention.to_k.weight[head * WIDE + slow, FLAGS + place] = LOOK_FOR_FLAGS / 4
                attention.to_v.weight[head * WIDE + place, FLAGS + place] = 1.0
                attention.to_out[0].weight[COORDINATES + place, head * WIDE + place] = 1.0
