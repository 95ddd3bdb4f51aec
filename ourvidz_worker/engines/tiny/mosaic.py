"""Weights of the tiny WAN that are set by hand, because chance would hide what steers a clip.

The VAE keeps the mean colour of every cell of 32 x 32 pixels in three of its latent channels, so a picture comes
back as a mosaic of itself. The transformer takes the noise x away:

    velocity = PACE * (x - strength * c)

where c are the colours that VACE is shown: a frame to keep ends close to its colours, and one to invent is what is
left of its noise, with the mean colour of the reference pictures. Everything else stays as it was drawn, but small:
prompt, guidance and time still change the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from torch import nn

RGB = range(3)
LATENT_PER_COLOUR = 1.5  # colours run from -1 to 1
LEVEL = 32.0  # a constant channel so large that normalisation divides every colour by about the same
PACE = 1.2
LEFT_TO_CHANCE = 0.4

# The channels of a token, which covers four cells.
CELLS = range(4)
NOISE, NEGATIVE, SHOWN = 0, 12, 26  # where the twelve colours of the noise, of its negative and of c begin
CONSTANT, REFERENCE = 24, 38  # a pair of opposite constants; 1 for a token of a reference picture, else -1
ANCHOR = 12.0  # the constants, large against the noise, as LEVEL
SPREAD = ANCHOR / 20**0.5  # what a layer norm divides by: two constants among 40 channels


@torch.no_grad()
def paint_vae(vae: AutoencoderKLWan) -> None:
    encoder, decoder = vae.encoder, vae.decoder
    for mid in (encoder.mid_block, decoder.mid_block):
        _pass_through(mid.resnets)
        _clear(mid.attentions[0].proj)
    for convolution in (vae.quant_conv, vae.post_quant_conv):
        _clear(convolution)
        convolution.weight[:, :, 0, 0, 0] = torch.eye(len(convolution.bias))
    _paint_encoder(encoder, area=vae.config.patch_size**2)
    _paint_decoder(decoder, area=vae.config.patch_size**2)


def _paint_encoder(encoder: Any, area: int) -> None:
    """Mean colours, and the last frame of every four."""
    _clear(encoder.conv_in, encoder.conv_out)
    level = len(RGB)
    for colour in RGB:
        encoder.conv_in.weight[colour, colour * area : (colour + 1) * area, -1, 1, 1] = 1 / area
        encoder.conv_out.weight[colour, colour, -1, 1, 1] = LEVEL * LATENT_PER_COLOUR
    encoder.conv_in.bias[level] = LEVEL
    for half in encoder.down_blocks:
        _clear(half.resample[1], half.time_conv)
        for channel in (*RGB, level):
            half.resample[1].weight[channel, channel, :2, :2] = 1 / 4
            half.time_conv.weight[channel, channel, -1] = 1


def _paint_decoder(decoder: Any, area: int) -> None:
    """Every colour over its whole cell, blended a little with its neighbours and with the time before."""
    _clear(decoder.conv_in, decoder.conv_out)
    last = decoder.up_blocks[-1].resnets[0].conv_shortcut
    blend = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    for block in decoder.up_blocks:
        _pass_through(block.resnets)
        for twice in block.upsamplers or ():
            _clear(twice.resample[1], twice.time_conv)
            second = len(twice.time_conv.bias) // 2  # the first half of the channels is the earlier frame
            for colour in RGB:
                twice.resample[1].weight[colour, colour] = blend
                twice.time_conv.weight[colour, colour, 1:, 0, 0] = torch.tensor([0.2, 0.8])
                twice.time_conv.weight[second + colour, colour, -1] = 1
    last.bias[len(RGB)] = LEVEL
    slope = 0.5 * len(last.bias) ** 0.5 / LEVEL  # of the activation near zero, behind the normalisation
    for colour in RGB:
        decoder.conv_in.weight[colour, colour, -1, 1, 1] = 1 / LATENT_PER_COLOUR
        decoder.conv_out.weight[colour * area : (colour + 1) * area, colour, -1, 1, 1] = 1 / slope


@torch.no_grad()
def paint_transformer(transformer: WanTransformer3DModel) -> None:
    condition = transformer.condition_embedder
    _soften(condition.time_embedder.linear_2, condition.time_proj)
    for block in transformer.blocks:
        _soften(block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2])
    _clear(transformer.patch_embedding, transformer.proj_out)
    transformer.scale_shift_table.zero_()
    _read_colours(transformer.patch_embedding, NOISE, 1)
    _read_colours(transformer.patch_embedding, NEGATIVE, -1)
    transformer.patch_embedding.bias[CONSTANT : CONSTANT + 2] = torch.tensor([ANCHOR, -ANCHOR])
    latent_channels = transformer.config.out_channels
    for cell in CELLS:
        for colour in RGB:
            row, channel = cell * latent_channels + colour, cell * len(RGB) + colour
            transformer.proj_out.weight[row, NOISE + channel] = PACE * SPREAD / 2
            transformer.proj_out.weight[row, NEGATIVE + channel] = -PACE * SPREAD / 2


@torch.no_grad()
def paint_vace(vace: WanVACETransformer3DModel, transformer: WanTransformer3DModel) -> None:
    """The base is the plain transformer's own, as in the published models."""
    vace.load_state_dict(transformer.state_dict(), strict=False)
    embedding, (block,) = vace.vace_patch_embedding, vace.vace_blocks
    _clear(embedding, block.proj_in, block.proj_out)
    _read_colours(embedding, SHOWN, 1)
    masks = embedding.weight[REFERENCE, 2 * vace.config.in_channels :]  # behind what is kept and what is changed
    masks.fill_(-2 / masks.numel())
    embedding.bias[REFERENCE] = 1
    block.proj_in.weight.copy_(torch.eye(len(block.proj_in.bias)))
    _soften(block.attn2.to_out[0], block.ffn.net[2])
    _look_at_references(block, vace.config.num_attention_heads)
    for channel in range(len(CELLS) * len(RGB)):
        block.proj_out.weight[NOISE + channel, SHOWN + channel] = -1
        block.proj_out.weight[NEGATIVE + channel, SHOWN + channel] = 1


def _look_at_references(block: Any, heads: int) -> None:
    """Every token takes the mean colours of the tokens of reference pictures, of all tokens where there are none."""
    attention = block.attn1
    _clear(attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
    width = len(attention.to_q.bias) // heads
    for head in range(heads):
        slow = head * width + 6  # a pair that rotary positions hardly turn
        attention.to_q.bias[slow] = 1
        attention.to_k.weight[slow, REFERENCE] = 1
    for channel in range(SHOWN, SHOWN + len(CELLS) * len(RGB)):
        attention.to_v.weight[channel, channel] = SPREAD
        attention.to_out[0].weight[channel, channel] = 1
    block.scale_shift_table.zero_()
    block.scale_shift_table[0, 2] = 1  # the gate of the self-attention


def _read_colours(embedding: nn.Conv3d, first: int, sign: int) -> None:
    for cell in CELLS:
        for colour in RGB:
            embedding.weight[first + cell * len(RGB) + colour, colour, 0, cell // 2, cell % 2] = sign


def _pass_through(resnets: Iterable[Any]) -> None:
    """Nothing but the shortcut counts, and it changes nothing."""
    for resnet in resnets:
        _clear(resnet.conv2)
        if isinstance(resnet.conv_shortcut, nn.Conv3d):
            _clear(resnet.conv_shortcut)
            for colour in RGB:
                resnet.conv_shortcut.weight[colour, colour] = 1


def _clear(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.zero_()


def _soften(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.mul_(LEFT_TO_CHANCE)
