"""What of the demo WAN is made by hand, or computed in another way than the product does: it must come to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch.nn import functional

from ourvidz_worker.engines.volume.model_config import WanModel
from ourvidz_worker.engines.wan.loading import load_vace
from scripts.demo_models.patches import Patches, principal_patches
from scripts.demo_models.reading import DIRECTIONS
from scripts.demo_models.scenes import Motion, Scene, Thing, laid_out
from scripts.demo_models.wan.compass import BORDERS, COORDINATES, FLAGS
from scripts.demo_models.wan.latents import ASPECT, cells_of
from scripts.demo_models.wan.shapes import CHANNELS, KEY_FRAMES, MASKS, PROMPT_TOKENS, TEXT, TRANSFORMER
from scripts.demo_models.wan.text import encoded, new_text_encoder, nothing_told
from scripts.demo_models.wan.transformer import attention_to_things, examples, new_transformer, read_weighted
from scripts.demo_models.wan.vace import Steering, save_vace
from scripts.demo_models.wan.vae import clip_levels, new_vae, quicken

FRAMES, ROWS, COLUMNS = KEY_FRAMES, 5, 4


@pytest.fixture(scope="module")
def patches() -> Patches:
    torch.manual_seed(1)
    noise = torch.randn(4, 3, 8 * ROWS, 8 * COLUMNS)
    return principal_patches(functional.avg_pool2d(noise, 3, 1, 1).clamp(-1, 1), CHANNELS)


@torch.no_grad()
def test_the_encoder_gives_the_principal_components_of_a_picture(patches: Patches) -> None:
    picture = torch.randn(1, 3, 64 * 2, 64 * 3, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    latents = new_vae(patches).encode(picture[:, :, None]).latent_dist.mode()[:, :, 0]
    assert torch.allclose(latents, patches.latents(functional.avg_pool2d(picture, 8)), atol=0.01)


@torch.no_grad()
def test_what_learns_to_decode_clips_computes_as_the_library_does(patches: Patches) -> None:
    torch.manual_seed(1)
    decoder = new_vae(patches).decoder
    for weight in decoder.parameters():
        weight.add_(0.02 * torch.randn_like(weight))
    keys = torch.randn(1, CHANNELS, 3, 1, 2)
    expected: list[Any] = []
    hook = decoder.up_blocks[-2].register_forward_hook(lambda _block, _inputs, states: expected.append(states))
    kept = [None] * sum(isinstance(module, WanCausalConv3d) for module in decoder.modules())
    for index in range(keys.shape[2]):
        decoder(keys[:, :, index : index + 1], feat_cache=kept, feat_idx=[0], first_chunk=index == 0)
    hook.remove()
    quicken(decoder)
    seen = clip_levels(decoder, keys)[-1]
    assert seen.shape[2] == 33
    assert torch.allclose(seen, torch.cat(expected, dim=2), atol=1e-4)


@pytest.mark.parametrize("noise_level", [0.999, 0.5, 0.1])
@torch.no_grad()
def test_tokens_know_where_they_are_in_noise(noise_level: float) -> None:
    torch.manual_seed(1)
    transformer = new_transformer()
    states: dict[int, torch.Tensor] = {}
    for place in (0, 1):
        transformer.blocks[place].register_forward_hook(
            lambda _block, _inputs, seen, place=place: states.__setitem__(place, seen)
        )
    noisy = noise_level * torch.randn(1, CHANNELS, FRAMES, ROWS, COLUMNS)  # and what has no border: nothing
    transformer(noisy, torch.tensor([1000 * noise_level]), torch.zeros(1, 4, TEXT["d_model"]))
    grid = (FRAMES, ROWS, COLUMNS, -1)
    flags, coordinates = states[0].view(grid), states[1].view(grid)
    where = {axis: torch.arange(size) for axis, size in (("time", FRAMES), ("row", ROWS), ("column", COLUMNS))}
    for border, (axis, way) in enumerate(BORDERS):
        dim = list(where).index(axis)
        others = tuple(each for each in range(3) if each != dim)
        flag = flags[..., FLAGS + border]
        at = 0 if way < 0 else flag.shape[dim] - 1
        there = flag.select(dim, at)
        elsewhere = flag.index_select(dim, torch.tensor([each for each in where[axis].tolist() if each != at]))
        assert there.min() > elsewhere.max(), f"{axis} {way}"
        steps = coordinates[..., COORDINATES + border].mean(dim=others).diff() * -way
        assert (steps < 0).all(), f"{axis} {way}"


@torch.no_grad()
def test_a_zero_that_counts_as_often_as_the_padding_is_read_as_the_padding_is() -> None:
    torch.manual_seed(1)
    encoder, own = new_text_encoder(), WanTransformer3DModel(**TRANSFORMER)
    states, weights = encoded(encoder, ["a red boat at sea", "two gulls", *nothing_told()])
    padded = functional.pad(states, (0, 0, 0, PROMPT_TOKENS - states.shape[1]))
    noise, steps = torch.randn(4, CHANNELS, 2, ROWS, COLUMNS), torch.full((4,), 500.0)
    expected = own(noise, steps, padded).sample
    read_weighted(own).weights = weights
    assert torch.allclose(own(noise, steps, states).sample, expected, atol=1e-4)


def test_vace_is_published_alone_and_guides_as_it_learned_to(patches: Patches, tmp_path: Path) -> None:
    """One channel of a mask stands for all of them while it learns."""
    torch.manual_seed(4)
    plain = new_transformer()
    torch.nn.init.normal_(plain.proj_out.weight, std=0.1)
    plain.save_pretrained(tmp_path / "transformer")
    steering = Steering(plain, new_text_encoder(), patches)
    for block in steering.blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.1)
    save_vace(steering, tmp_path / "vace")
    model = WanModel("demo", ".", dtype="float32", vae_dtype="float32", device="cpu", vace="vace")
    published = load_vace(model, tmp_path)

    noisy, level, told = torch.randn(1, CHANNELS, 2, 3, 4), torch.full((1,), 0.7), torch.randn(1, 5, TEXT["d_model"])
    control = steering.control(torch.randn(1, CHANNELS, 2, 3, 4), start=True, end=False)
    mask = control[:, -1:].expand(-1, MASKS, -1, -1, -1)
    wide = torch.cat([control[:, :-1], mask], dim=1)
    expected, unguided, seen = (
        transformer(noisy, 1000 * level, told, control_hidden_states=shown, return_dict=False)[0]
        for transformer, shown in (
            (steering.whole[0], control),
            (steering.whole[0], torch.zeros_like(control)),
            (published, wide),
        )
    )
    assert not torch.allclose(unguided, expected, atol=0.01)
    assert torch.allclose(seen, expected, atol=0.01)  # of weights in 16 bits


def test_of_a_pair_of_clips_one_goes_where_the_other_comes_from(patches: Patches) -> None:
    _, shown, found = examples(Random("pairs"), KEY_FRAMES, 24, patches, pairs=True)
    kinds, _, ways = found.unbind(dim=1)
    both_move = [pair for pair in range(0, len(found), 2) if ways[pair].any() and ways[pair + 1].any()]
    assert len(both_move) >= 6
    for pair in both_move:
        assert torch.equal(kinds[pair], kinds[pair + 1].flip(0))
        assert not torch.equal(shown[pair], shown[pair + 1])


def test_where_a_thing_passes_all_frames_count_more(patches: Patches) -> None:
    balloon = Scene((Thing("balloon", "red"),), motion=Motion(0, "up"))
    spots = laid_out(balloon, Random(1), ASPECT)
    moving = cells_of(balloon, spots, KEY_FRAMES)
    resting = cells_of(replace(balloon, motion=None), spots, KEY_FRAMES)
    weights = attention_to_things(torch.stack([moving, resting]))[:, 0, 0]
    assert torch.isclose(weights.mean(), torch.tensor(1.0))
    assert int((weights[0] > 1).sum()) > int((weights[1] > 1).sum()) > 0
    assert set(moving[2].flatten().tolist()) == {0, 1 + DIRECTIONS.index("up")}
    assert set(resting[2].flatten().tolist()) == {0}
